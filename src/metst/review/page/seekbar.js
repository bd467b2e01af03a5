/** The whole recording at a glance: greatest score, events, what is reviewed, gaps; a click goes there. */

import { colours } from "./colours.js";
import { el, fit, oncePerPaint, Signal } from "./dom.js";
import { clock } from "./words.js";

const HEIGHT_PX = 46;
const STRIP_PX = 26;

export class SeekBar extends Signal {
  constructor(host, { timebase, view, classes, gaps }) {
    super();
    this.host = host;
    this.timebase = timebase;
    this.view = view;
    this.classes = classes;
    this.gaps = gaps;
    this.events = [];
    this.frame = 1;
    this.base = document.createElement("canvas");
    this.canvas = el("canvas", {
      class: "seekbar",
      tabindex: "0",
      role: "slider",
      "aria-label": "Position in the recording",
      "aria-valuemin": "1",
      "aria-valuemax": String(timebase.frames),
    });
    host.replaceChildren(this.canvas);
    this.draw = oncePerPaint(() => this.paint());
    this.redraw = oncePerPaint(() => {
      this.stale = true;
      this.paint();
    });
    this.stale = true;
    this.watch = new ResizeObserver(() => this.redraw());
    this.watch.observe(host);
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.held = true;
      this.#seek(event);
    });
    this.canvas.addEventListener("pointermove", (event) => this.held && this.#seek(event));
    this.canvas.addEventListener("pointerup", () => (this.held = false));
  }

  #seek(event) {
    const x = event.clientX - this.canvas.getBoundingClientRect().left;
    this.tell("seek", this.timebase.at(this.timebase.first_s + (x / this.width) * this.#whole));
  }

  get #whole() {
    return this.timebase.end_s - this.timebase.first_s;
  }

  #x(seconds) {
    return ((seconds - this.timebase.first_s) / this.#whole) * this.width;
  }

  set({ score, events }) {
    if (score !== undefined) this.score = score;
    if (events !== undefined) this.events = events;
    this.redraw();
  }

  moveTo(frame) {
    this.frame = frame;
    this.canvas.setAttribute("aria-valuenow", String(frame));
    this.canvas.setAttribute("aria-valuetext", `frame ${frame}, ${clock(this.timebase.start(frame), 1)}`);
    this.draw();
  }

  paint() {
    const width = Math.max(this.host.clientWidth, 100);
    if (this.width !== width) this.stale = true;
    this.width = width;
    if (this.stale) this.#paintBase();
    const context = fit(this.canvas, width, HEIGHT_PX);
    context.drawImage(this.base, 0, 0, width, HEIGHT_PX);
    const [left, right] = [this.#x(this.view.from), this.#x(this.view.to)];
    context.strokeStyle = colours.accent;
    context.lineWidth = 1.5;
    context.fillStyle = colours.accent;
    context.globalAlpha = 0.1;
    context.fillRect(left, 1, right - left, HEIGHT_PX - 2);
    context.globalAlpha = 1;
    context.strokeRect(left + 0.75, 1, Math.max(right - left - 1.5, 1), HEIGHT_PX - 2);
    context.fillRect(Math.round(this.#x(this.timebase.start(this.frame))) - 1, 0, 2, HEIGHT_PX);
  }

  #paintBase() {
    this.stale = false;
    const { width } = this;
    const context = fit(this.base, width, HEIGHT_PX);
    context.fillStyle = colours.lane;
    context.fillRect(0, 0, width, HEIGHT_PX);
    if (this.score) this.#paintScore(context);
    context.fillStyle = colours.gap;
    for (const gap of this.gaps) {
      const left = this.#x(this.timebase.start(gap.first_frame));
      context.fillRect(left, 0, Math.max(this.#x(this.timebase.stop(gap.last_frame)) - left, 1), HEIGHT_PX);
    }
    this.#paintEvents(context);
  }

  #paintScore(context) {
    const { width, timebase } = this;
    const columns = Math.round(width);
    const level = this.score.level(timebase.frames, 2 * columns);
    const most = this.score.most[level];
    const step = 1 << level;
    context.fillStyle = colours.muted;
    context.globalAlpha = 0.55;
    for (let i = 0; i < most.length; i += 1) {
      if (!(most[i] > 0)) continue;
      const left = this.#x(timebase.start(i * step + 1));
      const height = most[i] * STRIP_PX;
      context.fillRect(left, STRIP_PX - height + 1, Math.max(width / most.length, 0.6), height);
    }
    context.globalAlpha = 1;
  }

  /** A mark for each event, below the score: hollow while it is to review. */
  #paintEvents(context) {
    const marked = new Map();
    for (const event of this.events) {
      const x = Math.round(this.#x(this.timebase.start(event.onset_frame)));
      const rank = event.verdict === "open" ? 3 : event.verdict === "accepted" ? 2 : 1;
      if ((marked.get(x)?.rank ?? 0) < rank) marked.set(x, { rank, event });
    }
    for (const [x, { rank, event }] of marked) {
      context.fillStyle = rank === 1 ? colours.muted : colours.classes[this.classes.of(event.label)];
      if (rank === 3) context.fillRect(x - 1, STRIP_PX + 3, 3, 15);
      else context.fillRect(x - 1, STRIP_PX + 13, 3, 5);
    }
  }
}
