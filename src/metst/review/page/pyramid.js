/** Least and greatest of long series over stretches of 1, 2, 4, ... frames, so that drawing costs what is seen. */
export class Pyramid {
  /** ``values``: one per frame; not a number where nothing was measured. */
  constructor(values) {
    this.values = values;
    this.least = [values];
    this.most = [values];
    for (let level = 1; this.least[level - 1].length > 1; level += 1) this.#add(level);
  }

  #add(level) {
    const [finer, higher] = [this.least[level - 1], this.most[level - 1]];
    const length = Math.ceil(finer.length / 2);
    const [least, most] = [new Float32Array(length), new Float32Array(length)];
    for (let i = 0; i < length; i += 1) {
      const [left, right] = [2 * i, Math.min(2 * i + 1, finer.length - 1)];
      // a comparison with what is no number is false: the other one is taken
      least[i] = finer[right] < finer[left] || finer[left] !== finer[left] ? finer[right] : finer[left];
      most[i] = higher[right] > higher[left] || higher[left] !== higher[left] ? higher[right] : higher[left];
    }
    this.least.push(least);
    this.most.push(most);
  }

  /** The finest level at which ``frames`` are at most ``columns`` stretches. */
  static level(frames, columns) {
    return Math.max(0, Math.ceil(Math.log2(Math.max(frames, 1) / Math.max(columns, 1))));
  }

  level(frames, columns) {
    return Math.min(Pyramid.level(frames, columns), this.least.length - 1);
  }
}

/**
 * Series as zigzags between least and greatest, for a plot with one axis of times.
 * ``first`` up to, not including, ``after`` are indices of frames; gives [times, one list per series].
 */
export function zigzag(pyramids, timebase, { first, after, columns }) {
  const level = pyramids[0].level(after - first, columns);
  const step = 1 << level;
  const [from, to] = [Math.floor(first / step), Math.ceil(after / step)];
  const times = [];
  const lines = pyramids.map(() => []);
  for (let i = from; i < to; i += 1) {
    // a single frame is marked in the middle of the time for which it is seen
    if (!level) times.push((timebase.start(i + 1) + timebase.stop(i + 1)) / 2);
    else
      times.push(timebase.start(i * step + 1), timebase.start(Math.min(i * step + (step >> 1) + 1, timebase.frames)));
  }
  pyramids.forEach((pyramid, k) => {
    const [least, most, line] = [pyramid.least[level], pyramid.most[level], lines[k]];
    for (let i = from; i < to; i += 1) {
      const missing = least[i] !== least[i];
      line.push(missing ? null : most[i]);
      if (level) line.push(missing ? null : least[i]);
    }
  });
  return [times, ...lines];
}
