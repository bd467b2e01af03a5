/** Pictures of one event: onset, apex, offset; neutral against candidate, with its motion drawn larger. */

import { getPicture } from "./api.js";
import { el } from "./dom.js";

const MAGNIFICATIONS = [1, 2, 4, 8];
const KEPT = "metst-magnify";
const LARGER = "How many times larger the motion is drawn";

export class Faces {
  /** ``address(frame, options)`` gives where a picture is; ``seek(frame)`` goes there. */
  constructor({ address, seek }) {
    this.address = address;
    this.seek = seek;
    this.magnify = Number(localStorage.getItem(KEPT)) || 4;
    this.tiles = Object.fromEntries(["onset", "apex", "offset"].map((name) => [name, this.#tile(name)]));
    this.neutral = this.#tile("neutral");
    this.candidate = this.#tile("candidate");
    this.select = el(
      "select",
      { "aria-label": LARGER, title: LARGER, onchange: () => this.#choose() },
      MAGNIFICATIONS.map((each) =>
        el("option", { value: String(each), selected: each === this.magnify }, `× ${each}`),
      ),
    );
    this.flick = el(
      "button",
      {
        type: "button",
        class: "small",
        title: "Hold to see the neutral face in the place of the candidate",
        onpointerdown: () => this.#flip(true),
        onpointerup: () => this.#flip(false),
        onpointerleave: () => this.#flip(false),
        onkeydown: (event) => event.key === " " && this.#flip(true),
        onkeyup: () => this.#flip(false),
        onblur: () => this.#flip(false),
      },
      "Hold to compare",
    );
    this.element = el(
      "section",
      { class: "faces", "aria-label": "Pictures of the event" },
      el(
        "div",
        { class: "tiles three" },
        Object.values(this.tiles).map((tile) => tile.element),
      ),
      el("div", { class: "compare-head" }, el("h3", {}, "Against onset"), this.select, this.flick),
      el("div", { class: "tiles two" }, this.neutral.element, this.candidate.element),
    );
  }

  #tile(name) {
    const image = el("img", { alt: "", draggable: false });
    const caption = el("span", { class: "caption" });
    const element = el(
      "button",
      { type: "button", class: "tile", onclick: () => tile.frame && this.seek(tile.frame) },
      image,
      caption,
    );
    const tile = { name, image, caption, element, frame: 0, words: "", larger: "" };
    return tile;
  }

  #fill(tile, frame, words, options) {
    tile.frame = frame;
    tile.element.disabled = !frame;
    tile.words = words;
    const address = frame ? this.address(frame, options) : "";
    if (tile.address !== address) {
      tile.address = address;
      tile.flight?.abort();
      tile.larger = "";
      if (address) this.#load(tile, address, words);
      else this.#put(tile, null);
    }
    this.#caption(tile);
  }

  /** A picture whose motion is drawn larger says so for as long as it is shown. */
  #caption(tile) {
    tile.caption.textContent = tile.words + tile.larger;
  }

  async #load(tile, address, words) {
    tile.flight = new AbortController();
    tile.element.classList.add("loading");
    try {
      const { blob, magnified } = await getPicture(address, tile.flight.signal);
      if (tile.address !== address) return;
      this.#put(tile, URL.createObjectURL(blob), words);
      // how much larger it could be drawn: less than wanted where the face would be torn
      if (magnified > 1) tile.larger = `, motion × ${Number(magnified.toFixed(1))}`;
      this.#caption(tile);
    } catch (error) {
      if (error.name === "AbortError" || tile.address !== address) return;
      this.#put(tile, null);
      tile.element.title = error.message;
    }
  }

  #put(tile, url, words = "") {
    if (tile.url) URL.revokeObjectURL(tile.url);
    tile.url = url;
    tile.image.alt = words;
    tile.element.title = "";
    tile.element.classList.remove("loading");
    tile.element.classList.toggle("missing", !url);
    if (url) tile.image.src = url;
    else tile.image.removeAttribute("src");
  }

  /** Shows an event; the same cut of the face for all its pictures. */
  show(event, { onset = event.onset_frame } = {}) {
    this.event = event;
    const around = Math.round((event.onset_frame + event.offset_frame) / 2);
    const apex = event.apex_frame ?? around;
    this.#fill(this.tiles.onset, onset, `onset ${onset}`, { around });
    this.#fill(this.tiles.apex, apex, event.apex_frame === null ? `middle ${apex} (no apex)` : `apex ${apex}`, {
      around,
    });
    this.#fill(this.tiles.offset, event.offset_frame, `offset ${event.offset_frame}`, { around });
    this.#fill(this.neutral, onset, `neutral: onset ${onset}`, { around });
    this.#fill(
      this.candidate,
      apex,
      `candidate ${apex}`,
      this.magnify > 1 ? { around, magnify: this.magnify, since: onset } : { around },
    );
  }

  #choose() {
    this.magnify = Number(this.select.value);
    localStorage.setItem(KEPT, String(this.magnify));
    if (this.event) this.show(this.event);
  }

  #flip(neutral) {
    const url = neutral ? this.neutral.url : this.candidate.url;
    if (url) this.candidate.image.src = url;
    this.candidate.element.classList.toggle("flipped", neutral);
    if (neutral) this.candidate.caption.textContent = this.neutral.words;
    else this.#caption(this.candidate);
  }

  /** What was shown may not be shown any more, or more may be. */
  forget() {
    for (const tile of [...Object.values(this.tiles), this.neutral, this.candidate]) tile.address = null;
    if (this.event) this.show(this.event);
  }
}
