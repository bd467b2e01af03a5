/** Frames (from 1) and the timestamps of the recording; never number / rate. */
export class Timebase {
  /** ``time_s``: one timestamp per frame, rising. */
  constructor(time_s) {
    this.time_s = time_s;
    this.frames = time_s.length;
    const last = this.frames - 1;
    this.usual_s = last > 0 ? (time_s[last] - time_s[0]) / last : 1 / 30;
    this.first_s = time_s[0] ?? 0;
    this.end_s = (time_s[last] ?? 0) + this.usual_s;
  }

  clamp(frame) {
    return Math.min(Math.max(Math.round(frame), 1), this.frames);
  }

  /** When a frame begins to be seen. */
  start(frame) {
    return frame > this.frames ? this.end_s : this.time_s[Math.max(frame, 1) - 1];
  }

  /** When the next one takes its place. */
  stop(frame) {
    return this.start(frame + 1);
  }

  /** The frame that is seen at a time. */
  at(seconds) {
    let [low, high] = [0, this.frames];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.time_s[middle] <= seconds) low = middle + 1;
      else high = middle;
    }
    return this.clamp(low);
  }

  /** The edge between frames that is nearest to a time, as the frame that begins there. */
  nearest(seconds) {
    const frame = this.at(seconds);
    return seconds - this.start(frame) > this.stop(frame) - seconds ? frame + 1 : frame;
  }
}
