/** Rows of the regions: how far each moved, or how well it was seen, as shades; what makes that doubtful, as marks. */

import { colours } from "./colours.js";
import { Pyramid } from "./pyramid.js";

/**
 * What the rows may show: its words, the value that is drawn in full strength, and what is drawn of a value.
 * Movement is in face units (distance between the outer eye corners), without slow drift; set by hand.
 */
export const KINDS = {
  movement: {
    words: "moved",
    long: "movement without slow drift: how far each region is from where it was in the seconds around",
    full: 0.03,
    shade: (values) => values,
    read: (region, value) => `${region}: moved ${value.toFixed(4)}`,
  },
  quality: {
    words: "doubt",
    long: "how badly each region was seen: dark where its motion is doubtful",
    full: 1,
    shade: (values) => values.map((value) => 1 - value),
    read: (region, value) => `${region}: quality ${(1 - value).toFixed(2)}`,
  },
};
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

const placeOf = (region) => PLACES.find(([part]) => part.test(region))?.[1] ?? region;

export class Rows {
  constructor({ view, timebase, regions, conditions, gaps }) {
    this.view = view;
    this.timebase = timebase;
    this.regions = regions;
    this.gaps = gaps;
    this.kind = "movement";
    this.pyramidsOf = {};
    this.conditions = sortedRuns(conditions);
    this.places = new Map(regions.map((name, i) => [name, i]));
    this.sheet = document.createElement("canvas");
    this.sheet.height = regions.length;
  }

  get pyramids() {
    return this.pyramidsOf[this.kind] ?? [];
  }

  /** Values of one kind, one list per region. */
  set(kind, values) {
    this.pyramidsOf[kind] = values.map((each) => new Pyramid(KINDS[kind].shade(each)));
  }

  /** Conditions of the regions, beside those of the whole face. */
  addConditions(conditions) {
    this.regional = sortedRuns(conditions);
  }

  get height() {
    return CONDITIONS_PX + this.regions.length * ROW_PX;
  }

  /** Names beside the rows, {words, height}: of places, those together that would be too low alone. */
  get names() {
    const found = [];
    for (const region of this.regions) {
      const place = placeOf(region);
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
    const scale = SHADES / KINDS[this.kind].full;
    this.pyramids.forEach((pyramid, row) => {
      const most = pyramid.most[level];
      for (let i = 0; i < width; i += 1) {
        const value = most[columns[i]];
        // what is no number is not greater than 0, and left clear
        if (value > 0) pixels[row * width + i] = shades[Math.min(value * scale, SHADES - 1) | 0];
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
    const draw = (run, left, width) => {
      const row = run.region === null ? -1 : this.places.get(run.region);
      if (row === undefined || left + width <= (drawn.get(row) ?? -1)) return;
      drawn.set(row, left + width);
      if (row < 0) context.fillRect(left, 0, width, CONDITIONS_PX - 3);
      else context.fillRect(left, CONDITIONS_PX + row * ROW_PX + ROW_PX - 3, width, 2);
    };
    this.#visible(this.conditions, draw);
    if (this.regional) this.#visible(this.regional, draw);
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
    for (let i = beginning(runs, first - longest); i < runs.length && runs[i].first_frame <= after; i += 1) {
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
    const noticed = this.conditionsAt(frame, frame, region);
    const words = [...new Set(noticed.map((run) => run.condition))].join(", ");
    const value = region && this.pyramids[this.places.get(region)]?.values[frame - 1];
    return [value >= 0 ? KINDS[this.kind].read(region, value) : region, words].filter(Boolean).join(" · ");
  }

  /** Conditions that touch the frames ``first`` to ``last``: of the face, or of one region where those are known. */
  conditionsAt(first, last, region = null) {
    const own = region === null || !this.regional;
    return touching(own ? this.conditions : this.regional, first, last).filter((run) => own || run.region === region);
  }

  /** Conditions that touch these frames, each with its places where those are known: "blink (eyelids)". */
  conditionsInWords(first, last) {
    const found = new Map(this.conditionsAt(first, last).map((run) => [run.condition, new Set()]));
    for (const run of this.regional ? touching(this.regional, first, last) : []) found.get(run.condition)?.add(run.region);
    return [...found].map(([condition, regions]) => {
      if (!regions.size || regions.size === this.regions.length) return condition;
      return `${condition} (${[...new Set([...regions].map(placeOf))].join(", ")})`;
    });
  }
}

function touching({ runs, longest }, first, last) {
  const found = [];
  for (let i = beginning(runs, first - longest); i < runs.length && runs[i].first_frame <= last; i += 1)
    if (runs[i].last_frame >= first) found.push(runs[i]);
  return found;
}

/** Index of the first run that begins at a frame or after it. */
function beginning(runs, frame) {
  let [low, high] = [0, runs.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (runs[middle].first_frame < frame) low = middle + 1;
    else high = middle;
  }
  return low;
}

function sortedRuns(conditions) {
  const runs = [...conditions].sort((a, b) => a.first_frame - b.first_frame);
  return { runs, longest: runs.reduce((most, run) => Math.max(most, run.last_frame - run.first_frame), 0) };
}
