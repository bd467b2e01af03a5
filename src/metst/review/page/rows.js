/** Rows of the regions: how far each moved, as shades; where something made the measurement doubtful, as marks. */

import { colours } from "./colours.js";

/** Displacement that is drawn in full strength, face units (distance between the outer eye corners); set by hand. */
const FULL = 0.03;
const SHADES = 256;
/** Height of a row; less where the window is low. */
const ROW_PX = window.innerHeight < 840 ? 5 : 8;
export const CONDITIONS_PX = 14;

/** Least height of a name beside the rows; set by hand. */
const NAME_PX = 14;
/** Regions of one place stand one below the other: what they have in their names, and what they are called together. */
const PLACES = [
  [/^left .*brow/, "left brow"],
  [/^right .*brow/, "right brow"],
  [/mouth|lip/, "mouth"],
  [/nose/, "nose"],
  [/eyelid/, "eyelids"],
];

export class Rows {
  constructor({ view, timebase, regions, conditions, gaps }) {
    this.view = view;
    this.timebase = timebase;
    this.regions = regions;
    this.gaps = gaps;
    this.pyramids = [];
    this.conditions = sortedRuns(conditions);
    this.places = new Map(regions.map((name, i) => [name, i]));
    this.sheet = document.createElement("canvas");
    this.sheet.height = regions.length;
  }

  get height() {
    return CONDITIONS_PX + this.regions.length * ROW_PX;
  }

  /** Names beside the rows, {words, height}: of places, those together that would be too low alone. */
  get names() {
    const found = [];
    for (const region of this.regions) {
      const place = PLACES.find(([part]) => part.test(region))?.[1] ?? region;
      const last = found.at(-1);
      if (last && (last.places.has(place) || last.height < NAME_PX)) {
        last.places.add(place);
        last.height += ROW_PX;
      } else found.push({ places: new Set([place]), height: ROW_PX });
    }
    if (found.length > 1 && found.at(-1).height < NAME_PX) {
      const { places, height } = found.pop();
      places.forEach((place) => found.at(-1).places.add(place));
      found.at(-1).height += height;
    }
    return found.map(({ places, height }) => ({ words: [...places].join(", "), height }));
  }

  /** The region whose row is there, and how far down its row lies; null beside the rows. */
  at(y) {
    const row = Math.floor((y - CONDITIONS_PX) / ROW_PX);
    return row >= 0 && row < this.regions.length
      ? { name: this.regions[row], top: CONDITIONS_PX + row * ROW_PX, height: ROW_PX }
      : null;
  }

  #shades() {
    const [red, green, blue] = colours.heat;
    const key = colours.heat.join();
    if (this.shadesOf === key) return this.shades;
    const bytes = new Uint8ClampedArray(4 * SHADES);
    for (let i = 0; i < SHADES; i += 1) bytes.set([red, green, blue, i], 4 * i);
    this.shadesOf = key;
    this.shades = new Uint32Array(bytes.buffer);
    return this.shades;
  }

  draw(context) {
    const { view } = this;
    context.fillStyle = colours.lane;
    context.fillRect(view.gutter, 0, view.plot, CONDITIONS_PX - 3);
    context.fillRect(view.gutter, CONDITIONS_PX, view.plot, this.height - CONDITIONS_PX);
    context.save();
    context.beginPath();
    context.rect(view.gutter, 0, view.plot, this.height);
    context.clip();
    context.translate(view.gutter, 0);
    if (this.pyramids.length) this.#drawMotion(context);
    this.#drawConditions(context);
    this.#drawGaps(context);
    context.restore();
  }

  /** For each column of the screen the stretch of frames that it shows, at the level of the pyramids. */
  #columns(width, level) {
    const { view, timebase } = this;
    const columns = new Int32Array(width);
    const step = 1 << level;
    const pixels = width / view.span;
    let column = 0;
    let at = Math.floor((timebase.at(view.from) - 1) / step);
    while (column < width) {
      const end = Math.min(Math.ceil((timebase.start((at + 1) * step + 1) - view.from) * pixels), width);
      for (; column < end; column += 1) columns[column] = at;
      if ((at + 1) * step >= timebase.frames) {
        columns.fill(at, column);
        break;
      }
      at += 1;
    }
    return columns;
  }

  #drawMotion(context) {
    const width = Math.max(Math.round(this.view.plot), 1);
    if (this.sheet.width !== width) this.sheet.width = width;
    const sheet = this.sheet.getContext("2d");
    const picture = sheet.createImageData(width, this.regions.length);
    const pixels = new Uint32Array(picture.data.buffer);
    const shades = this.#shades();
    const [first, after] = this.view.indices;
    const level = this.pyramids[0].level(after - first, width);
    const columns = this.#columns(width, level);
    this.pyramids.forEach((pyramid, row) => {
      const most = pyramid.most[level];
      for (let i = 0; i < width; i += 1) {
        const value = most[columns[i]];
        // what is no number is not greater than 0, and left clear
        if (value > 0) pixels[row * width + i] = shades[Math.min((value / FULL) * SHADES, SHADES - 1) | 0];
      }
    });
    sheet.putImageData(picture, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.sheet, 0, CONDITIONS_PX, this.view.plot, this.regions.length * ROW_PX);
    context.fillStyle = colours.surface;
    for (let row = 1; row < this.regions.length; row += 1)
      context.fillRect(0, CONDITIONS_PX + row * ROW_PX, this.view.plot, 1);
  }

  #drawConditions(context) {
    context.fillStyle = colours.caution;
    const drawn = new Map();
    this.#visible(this.conditions, (run, left, width) => {
      const row = run.region === null ? -1 : this.places.get(run.region);
      if (row === undefined || left + width <= (drawn.get(row) ?? -1)) return;
      drawn.set(row, left + width);
      if (row < 0) context.fillRect(left, 0, width, CONDITIONS_PX - 3);
      else context.fillRect(left, CONDITIONS_PX + row * ROW_PX + ROW_PX - 3, width, 2);
    });
  }

  #drawGaps(context) {
    this.#visible({ runs: this.gaps, longest: Infinity }, (run, left, width) => {
      context.fillStyle = colours.gap;
      context.fillRect(left, 0, width, this.height);
      if (width < 60) return;
      context.fillStyle = colours.muted;
      context.font = colours.font;
      context.textBaseline = "middle";
      context.fillText(run.reason, left + 6, CONDITIONS_PX + 10, width - 10);
    });
  }

  #visible({ runs, longest }, each) {
    const [first, after] = this.view.indices;
    let [low, high] = [0, runs.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (runs[middle].first_frame < first - longest) low = middle + 1;
      else high = middle;
    }
    for (let i = low; i < runs.length && runs[i].first_frame <= after; i += 1) {
      if (runs[i].last_frame <= first) continue;
      const left = this.view.x(this.timebase.start(runs[i].first_frame));
      each(
        runs[i],
        Math.round(left),
        Math.max(Math.round(this.view.x(this.timebase.stop(runs[i].last_frame)) - left), 1),
      );
    }
  }

  /** Words for what lies under the pointer. */
  read(y, frame) {
    const region = this.at(y)?.name ?? null;
    const noticed = this.conditionsAt(frame, frame).filter((run) => run.region === null || run.region === region);
    const words = [...new Set(noticed.map((run) => run.condition))].join(", ");
    const value = region && this.pyramids[this.places.get(region)]?.values[frame - 1];
    const moved = value >= 0 ? `${region}: moved ${value.toFixed(4)}` : region;
    return [moved, words].filter(Boolean).join(" · ");
  }

  /** Conditions that touch the frames ``first`` to ``last``. */
  conditionsAt(first, last) {
    const { runs, longest } = this.conditions;
    let [low, high] = [0, runs.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (runs[middle].first_frame < first - longest) low = middle + 1;
      else high = middle;
    }
    const found = [];
    for (let i = low; i < runs.length && runs[i].first_frame <= last; i += 1)
      if (runs[i].last_frame >= first) found.push(runs[i]);
    return found;
  }
}

function sortedRuns(conditions) {
  const runs = [...conditions].sort((a, b) => a.first_frame - b.first_frame);
  return { runs, longest: runs.reduce((most, run) => Math.max(most, run.last_frame - run.first_frame), 0) };
}
