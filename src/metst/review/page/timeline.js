/** The zoomable timeline: ruler, curves, events, conditions and regions, in step with the picture. */

import { Boxes } from "./boxes.js";
import { colours } from "./colours.js";
import { Curves } from "./curves.js";
import { el, fit, oncePerPaint, Signal } from "./dom.js";
import { Pyramid } from "./pyramid.js";
import { CONDITIONS_PX, KINDS, Rows } from "./rows.js";
import { drawRuler, RULER_PX } from "./ruler.js";
import { TimelinePointer } from "./pointer.js";
import { View } from "./view.js";
import { clock, share } from "./words.js";

const SCORE_PX = 78;
const CLASSES_PX = 62;
const GUTTER_PX = 132;
const NARROW_GUTTER_PX = 62;
const RIGHT_PX = 10;
/** Where the playhead may go before the view follows it, share of the plots. */
const FOLLOW = 0.92;

/** Tells ``view``, ``seek`` (frame), ``rows`` (another kind), ``select`` {key, more}, ``drag`` {event, edges, done} and ``draw`` {onset, offset}. */
export class Timeline extends Signal {
  constructor(host, { timebase, rec, classes, layers, selection }) {
    super();
    this.host = host;
    this.timebase = timebase;
    this.rec = rec;
    this.classes = classes;
    this.layers = layers;
    this.selection = selection;
    this.frame = 1;
    this.draft = null; // an event as it is while it is dragged or marked
    this.view = new View(timebase, { gutter: window.innerWidth < 700 ? NARROW_GUTTER_PX : GUTTER_PX, right: RIGHT_PX });
    this.boxes = new Boxes({ view: this.view, timebase, classes });
    this.rows = new Rows({
      view: this.view,
      timebase,
      regions: rec.regions,
      conditions: rec.conditions,
      gaps: rec.gaps,
    });
    this.draw = oncePerPaint(() => this.paint());
    this.#build();
    new TimelinePointer(this);
    this.watch = new ResizeObserver(() => this.draw());
    this.watch.observe(host);
  }

  #build() {
    const lane = (name, words, ...inside) =>
      el("div", { class: `lane lane-${name}` }, el("div", { class: "lane-name" }, words), ...inside);
    this.ruler = el("canvas", { class: "ruler" });
    this.boxCanvas = el("canvas", { class: "boxes" });
    this.rowCanvas = el("canvas", { class: "rows" });
    this.scoreHost = lane("score", "score");
    this.classHost = lane("classes", "probability");
    this.boxLane = lane("boxes", "", this.boxCanvas);
    this.boxNames = this.boxLane.firstChild;
    this.rowLane = lane("rows", "", this.rowCanvas);
    this.cursor = el("div", { class: "cursor", "aria-hidden": "true" });
    this.reading = el("div", { class: "reading", "aria-hidden": "true" });
    this.stack = el(
      "div",
      { class: "stack" },
      lane("ruler", "", this.ruler),
      this.scoreHost,
      this.classHost,
      this.boxLane,
      this.rowLane,
      this.cursor,
      this.reading,
    );
    this.host.replaceChildren(this.stack);
    this.#nameRows();
  }

  #nameRows() {
    const names = el("ol", { class: "row-names" });
    for (const { words, height } of this.rows.names) {
      const name = el("li", { title: words }, words);
      name.style.height = `${height}px`;
      names.append(name);
    }
    this.rowName = el("div", { class: "row-name", hidden: true });
    this.rowKind = el("button", { type: "button", class: "row-kind", onclick: () => this.tell("rows") });
    this.rowLane.firstChild.replaceChildren(
      el("div", { class: "row-conditions" }, "conditions", this.rowKind),
      names,
      this.rowName,
    );
    this.#nameKind();
    this.rowLane.style.setProperty("--conditions", `${CONDITIONS_PX}px`);
  }

  /** Curves, once their values are here; none where the coder works without the machine. */
  addScores(series) {
    const options = { view: this.view, timebase: this.timebase };
    this.view.width = this.#width();
    this.series = series;
    this.score?.destroy();
    this.probabilities?.destroy();
    this.scoreHost.hidden = !series.spot_score;
    const classLines = this.classes.names.filter((name) => series[`p_${name}`]);
    this.classHost.hidden = !classLines.length;
    if (series.spot_score) {
      this.scorePyramid = new Pyramid(series.spot_score);
      const lines = [{ name: "score", colour: () => colours.ink, pyramid: this.scorePyramid, width: 1.25 }];
      this.score = new Curves(this.scoreHost, { ...options, lines, height: SCORE_PX, threshold: this.rec.threshold });
    }
    if (classLines.length) {
      const lines = classLines.map((name) => ({
        name,
        colour: () => colours.classes[this.classes.of(name)],
        pyramid: new Pyramid(series[`p_${name}`]),
      }));
      this.probabilities = new Curves(this.classHost, { ...options, lines, height: CLASSES_PX });
    }
    this.draw();
  }

  /** What was measured of the regions, of one kind. */
  addRegions(kind, values) {
    this.rows.set(kind, values);
    this.draw();
  }

  /** Shows another kind of rows. */
  showRows(kind) {
    this.rows.kind = kind;
    this.#nameKind();
    this.draw();
  }

  #nameKind() {
    const { words, long } = KINDS[this.rows.kind];
    this.rowKind.title = `The rows show ${long}. Click or B for the other.`;
    this.rowKind.replaceChildren(words, el("kbd", {}, "B"));
  }

  setLanes(lanes) {
    this.boxes.set(lanes);
    this.boxNames.replaceChildren(
      ...this.boxes.lanes.map((lane) => {
        const name = el("span", { class: lane.own ? "own" : "", title: lane.name }, lane.name);
        name.style.height = `${lane.height}px`;
        return name;
      }),
    );
    this.draw();
  }

  #width() {
    return Math.max(this.stack.clientWidth, 200);
  }

  /** Draws all that is seen now; tells how long that took. */
  paint() {
    const begun = performance.now();
    const { view } = this;
    view.width = this.#width();
    drawRuler(fit(this.ruler, view.width, RULER_PX), view, this.timebase);
    this.score?.draw();
    this.probabilities?.draw();
    const lanes = this.boxes.lanes;
    if (this.draft && lanes[0]?.own) this.#drawWithDraft();
    else this.boxes.draw(fit(this.boxCanvas, view.width, this.boxes.height), this.selection);
    this.rows.draw(fit(this.rowCanvas, view.width, this.rows.height));
    this.#placeCursor();
    document.dispatchEvent(new CustomEvent("metst:drawn", { detail: performance.now() - begun }));
    this.tell("view");
  }

  #drawWithDraft() {
    const [own, ...others] = this.boxes.lanes;
    const events = own.events.filter((event) => event.key !== this.draft.key);
    const at = events.findIndex((event) => event.onset_frame > this.draft.onset_frame);
    events.splice(at < 0 ? events.length : at, 0, this.draft);
    const longest = Math.max(own.longest, this.draft.offset_frame - this.draft.onset_frame);
    this.boxes.lanes = [{ ...own, events, longest }, ...others];
    this.boxes.draw(fit(this.boxCanvas, this.view.width, this.boxes.height), this.selection);
    this.boxes.lanes = [own, ...others];
  }

  /** Where the picture is: the cursor moves, nothing is drawn unless the view has to follow. */
  moveTo(frame, { follow = true } = {}) {
    this.frame = frame;
    const { view } = this;
    const [left, right] = [this.timebase.start(frame), this.timebase.stop(frame)];
    if (
      follow &&
      (left < view.from || right > view.from + FOLLOW * view.span) &&
      view.span < this.timebase.end_s - this.timebase.first_s
    ) {
      const into = left < view.from || left > view.to + view.span ? 0.5 : 1 - FOLLOW;
      view.set(left - into * view.span, left + (1 - into) * view.span);
      this.draw();
    }
    this.#placeCursor();
  }

  #placeCursor() {
    const { view } = this;
    const left = view.x(this.timebase.start(this.frame));
    const right = view.x(this.timebase.stop(this.frame));
    this.cursor.hidden = right < 0 || left > view.plot;
    this.cursor.style.transform = `translateX(${view.gutter + left}px)`;
    this.cursor.style.width = `${Math.max(right - left, 1)}px`;
  }

  zoom(factor, seconds = this.#middle()) {
    this.view.zoom(factor, seconds);
    this.draw();
  }

  #middle() {
    const at = this.timebase.start(this.frame);
    return at >= this.view.from && at <= this.view.to ? at : (this.view.from + this.view.to) / 2;
  }

  show(from, to) {
    this.view.set(from, to);
    this.draw();
  }

  showAll() {
    this.show(this.timebase.first_s, this.timebase.end_s);
  }

  /** Zooms so that an event fills a fifth of the width, and at least two seconds are seen. */
  showEvent(event) {
    const [start, stop] = [this.timebase.start(event.onset_frame), this.timebase.stop(event.offset_frame)];
    const half = Math.max(2.5 * (stop - start), 1);
    this.show((start + stop) / 2 - half, (start + stop) / 2 + half);
  }

  /** Moves the view if the event is not seen in it. */
  reveal(event) {
    const [start, stop] = [this.timebase.start(event.onset_frame), this.timebase.stop(event.offset_frame)];
    if (start >= this.view.from && stop <= this.view.to) return;
    const half = this.view.span / 2;
    this.show((start + stop) / 2 - half, (start + stop) / 2 + half);
  }

  read(x, y, target) {
    const frame = this.timebase.at(this.view.seconds(x));
    const words = [`frame ${frame}`, clock(this.timebase.start(frame), 2)];
    if (this.scorePyramid && target !== this.rowCanvas) words.push(`score ${share(this.series.spot_score[frame - 1])}`);
    if (target === this.rowCanvas) words.push(this.rows.read(y, frame));
    this.reading.textContent = words.filter(Boolean).join(" · ");
    this.#nameRow(target === this.rowCanvas ? this.rows.at(y) : null);
  }

  /** The pointer has left. */
  unread() {
    this.reading.textContent = "";
    this.#nameRow(null);
  }

  /** The row under the pointer is called in full, beside it. */
  #nameRow(row) {
    this.rowName.hidden = !row;
    if (!row) return;
    this.rowName.textContent = row.name;
    this.rowName.style.top = `${row.top + row.height / 2}px`;
  }
}
