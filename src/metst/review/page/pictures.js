/** Numbered pictures of a recording: fetched ahead, kept for a while, each with the frame that the server says it is. */

import { getPicture } from "./api.js";

/** Decoded pictures that are kept; at 1280 x 720 one takes 3.7 MB. */
const DECODED = 40;
/** Compressed pictures that are kept, some 60 kB each. */
const COMPRESSED = 900;
/** Requests at a time; browsers open six connections to one server, and edits need one. */
const AT_ONCE = 4;
/** Widths that are asked for, pixels: few, so that pictures are found again. */
const WIDTHS = [320, 480, 640, 960, 1280, 1920];

export class Pictures {
  /** ``path``: of the recording's requests; ``frames``: how many there are; ``widest``: of the source; ``missing``: why there are none. */
  constructor(path, { frames, widest, missing = "" }) {
    this.missing = missing;
    this.path = path;
    this.frames = frames;
    this.widest = widest;
    this.faces = "";
    this.around = 0;
    this.width = 640;
    this.clear();
  }

  clear() {
    for (const each of this.flying?.values() ?? []) each.abort.abort();
    for (const picture of this.decoded?.values() ?? []) picture.bitmap.close();
    this.compressed = new Map();
    this.decoded = new Map();
    this.flying = new Map();
    this.wanted = [];
  }

  /** Asks for pictures no wider than they are shown; true when that changes what is asked for. */
  resize(pixels) {
    const width = Math.min(WIDTHS.find((each) => each >= pixels) ?? WIDTHS.at(-1), Math.max(this.widest, 2));
    if (width === this.width) return false;
    this.width = width;
    this.clear();
    return true;
  }

  show(faces) {
    this.faces = faces;
    this.clear();
  }

  /** Asks for the face as it lies around a frame, or with 0 for all; true when that is something else. */
  cut(around) {
    if (around === this.around) return false;
    this.around = around;
    this.clear();
    return true;
  }

  address(frame) {
    const cut = this.around ? `&face=1&around=${this.around}` : "";
    return `${this.path}/frames/${frame}.jpg?width=${this.width}${cut}${this.faces ? `&faces=${this.faces}` : ""}`;
  }

  /** The picture if it is here and decoded. */
  ready(frame) {
    return this.decoded.get(frame);
  }

  /** The picture of a frame, before all others; ``{bitmap, frame, time_s}``. */
  async take(frame) {
    const here = this.decoded.get(frame);
    if (here) return here;
    if (this.missing) throw new Error(this.missing);
    if (!this.compressed.has(frame)) await this.#fetch(frame);
    return this.#decode(frame);
  }

  /** Fetches and decodes the frames, soonest first; what is on its way and not among them any more is given up. */
  ahead(frames) {
    if (this.missing) return;
    const wanted = frames.filter((frame) => frame >= 1 && frame <= this.frames);
    const still = new Set(wanted);
    for (const [frame, each] of this.flying) if (!still.has(frame) && !each.urgent) each.abort.abort();
    this.wanted = wanted;
    this.#next();
  }

  #next() {
    while (this.flying.size < AT_ONCE) {
      const frame = this.wanted.find((each) => !this.decoded.has(each) && !this.flying.has(each));
      if (frame === undefined) return;
      this.#prepare(frame);
    }
  }

  async #prepare(frame) {
    const { flying } = this;
    try {
      if (!this.compressed.has(frame)) await this.#fetch(frame, false);
      else flying.set(frame, { abort: new AbortController(), urgent: false });
      await this.#decode(frame);
    } catch {
      this.wanted = this.wanted.filter((each) => each !== frame); // told when the picture itself is wanted
    } finally {
      flying.delete(frame);
      this.#next();
    }
  }

  #fetch(frame, urgent = true) {
    const flying = this.flying.get(frame);
    if (flying?.answer) {
      flying.urgent ||= urgent;
      return flying.answer;
    }
    const abort = new AbortController();
    const address = this.address(frame);
    const answer = getPicture(address, abort.signal).then((picture) => {
      if (address !== this.address(frame)) throw new DOMException("no longer wanted", "AbortError");
      if (picture.frame && picture.frame !== frame) throw new Error(`asked for frame ${frame}, got ${picture.frame}`);
      this.compressed.set(frame, { ...picture, frame });
      forget(this.compressed, COMPRESSED);
    });
    this.flying.set(frame, { abort, urgent, answer });
    const done = answer.finally(() => urgent && this.flying.get(frame)?.abort === abort && this.flying.delete(frame));
    return done;
  }

  async #decode(frame) {
    const here = this.decoded.get(frame);
    if (here) return here;
    const { decoded } = this;
    const { blob, time_s } = this.compressed.get(frame);
    const bitmap = await createImageBitmap(blob);
    if (decoded !== this.decoded) {
      bitmap.close();
      throw new DOMException("no longer wanted", "AbortError");
    }
    const picture = { bitmap, frame, time_s };
    this.decoded.get(frame)?.bitmap.close();
    this.decoded.set(frame, picture);
    forget(this.decoded, DECODED, (old) => old.bitmap.close());
    return picture;
  }
}

/** Leaves the newest of a map. */
function forget(map, most, release = () => {}) {
  while (map.size > most) {
    const [key, value] = map.entries().next().value;
    map.delete(key);
    release(value);
  }
}
