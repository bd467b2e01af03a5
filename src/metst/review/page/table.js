/** The candidates as a table: sorted, filtered, only the rows in sight are elements. */

import { el, oncePerPaint, Signal } from "./dom.js";
import { apart, clock, percent, sureness, VERDICT_SIGNS, VERDICTS } from "./words.js";

const ROW_PX = 30;
const BEYOND = 6; // rows above and below those in sight
const NEVER = 2; // after every confidence

const by = (value) => (a, b) => {
  const [x, y] = [value(a), value(b)];
  return x < y ? -1 : x > y ? 1 : a.onset_frame - b.onset_frame;
};

export const ORDERS = {
  time: { words: "time", compare: by((event) => event.onset_frame) },
  unsure: { words: "most unsure first", compare: by(sureness) },
  confidence: { words: "highest probability first", compare: by((event) => -(event.confidence ?? -NEVER)) },
  label: { words: "class", compare: by((event) => event.label) },
  condition: { words: "conditions first", compare: null },
  verdict: {
    words: "to review first",
    compare: by((event) => ["open", "accepted", "rejected"].indexOf(event.verdict)),
  },
};

export const FILTERS = {
  all: "all",
  open: "to review",
  accepted: "accepted",
  rejected: "rejected",
  reviewed: "reviewed",
};

const passes = (event, filter) =>
  filter === "all" || event.verdict === filter || (filter === "reviewed" && event.verdict !== "open");

/** Whether each word stands in what is said of an event, or in who says so. */
function holds(event, words) {
  if (!words.length) return true;
  const said = [event, ...(event.proposals ?? [])].flatMap((each) => [each.label, each.note, each.by, ...each.action_units]);
  const text = said.join("\n").toLocaleLowerCase();
  return words.every((word) => text.includes(word));
}

/** Tells ``choose`` {key, more, range}. */
export class EventTable extends Signal {
  constructor(host, { classes, timebase, conditionsOf, selection }) {
    super();
    this.host = host;
    this.classes = classes;
    this.timebase = timebase;
    this.conditionsOf = conditionsOf;
    this.selection = selection;
    this.events = [];
    this.shown = [];
    this.order = "time";
    this.filter = "all";
    this.label = "";
    this.words = [];
    this.nothing = "There are no events yet.";
    this.body = el("div", { class: "table-body", role: "rowgroup" });
    const titles = ["", "Time", "Frames", "Class", "Probability", "Units, note"];
    this.head = el(
      "div",
      { class: "table-head", role: "row" },
      titles.map((title) => el("span", { role: "columnheader" }, title || el("span", { class: "unseen" }, "Verdict"))),
    );
    this.pane = el(
      "div",
      {
        class: "table-pane",
        tabindex: "0",
        role: "grid",
        "aria-label": "Movement candidates",
        "aria-multiselectable": "true",
      },
      this.head,
      this.body,
    );
    this.empty = el("p", { class: "empty", hidden: true });
    host.replaceChildren(this.pane, this.empty);
    this.draw = oncePerPaint(() => this.#draw());
    this.pane.addEventListener("scroll", () => this.draw());
    this.watch = new ResizeObserver(() => this.draw());
    this.watch.observe(this.pane);
    this.body.addEventListener("click", (event) => this.#click(event));
    this.pane.addEventListener("keydown", (event) => this.#key(event));
  }

  set(events) {
    this.events = events;
    this.arrange();
  }

  /** Shows only events in which all of these words stand. */
  search(text) {
    this.words = text.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    this.arrange();
  }

  arrange() {
    const kept = this.events.filter(
      (event) =>
        passes(event, this.filter) && (!this.label || event.label === this.label) && holds(event, this.words),
    );
    const compare =
      this.order === "condition" ? by((event) => this.conditionsOf(event) || "~") : ORDERS[this.order].compare;
    this.shown = this.order === "time" ? kept : kept.sort(compare);
    this.places = new Map(this.shown.map((event, i) => [event.key, i]));
    this.pane.setAttribute("aria-rowcount", String(this.shown.length + 1));
    this.empty.hidden = this.shown.length > 0;
    this.pane.classList.toggle("bare", !this.shown.length);
    this.empty.textContent = this.events.length
      ? `No event passes the filter${this.words.length ? " and the search" : ""}.`
      : `${this.nothing} Play the recording and hold E while a movement lasts to add one.`;
    this.draw();
  }

  #draw() {
    const top = this.pane.scrollTop;
    const first = Math.max(Math.floor(top / ROW_PX) - BEYOND, 0);
    const last = Math.min(Math.ceil((top + this.pane.clientHeight) / ROW_PX) + BEYOND, this.shown.length);
    this.body.style.height = `${this.shown.length * ROW_PX}px`;
    const rows = [];
    for (let i = first; i < last; i += 1) rows.push(this.#row(this.shown[i], i));
    this.body.replaceChildren(...rows);
    const current = this.selection.current;
    if (this.places?.has(current)) this.pane.setAttribute("aria-activedescendant", `row-${current}`);
    else this.pane.removeAttribute("aria-activedescendant");
  }

  #row(event, i) {
    const chosen = this.selection.has(event.key);
    const conditions = this.conditionsOf(event);
    const units = event.action_units.join(" ");
    const rest = [units, conditions, event.note && apart(event.note)].filter(Boolean).join(" · ");
    const row = el(
      "div",
      {
        id: `row-${event.key}`,
        class: `row verdict-${event.verdict}${event.key === this.selection.current ? " current" : ""}${event.saving ? " saving" : ""}`,
        role: "row",
        "aria-rowindex": String(i + 2),
        "aria-selected": String(chosen),
        "data-key": event.key,
      },
      el(
        "span",
        { role: "gridcell", class: "sign", title: VERDICTS[event.verdict], "aria-label": VERDICTS[event.verdict] },
        VERDICT_SIGNS[event.verdict],
      ),
      el("span", { role: "gridcell", class: "number" }, clock(this.timebase.start(event.onset_frame), 1)),
      el("span", { role: "gridcell", class: "number frames" }, `${event.onset_frame}–${event.offset_frame}`),
      el(
        "span",
        { role: "gridcell", class: "label", title: event.label },
        el(
          "i",
          { class: `shape class-${this.classes.of(event.label)}`, "aria-hidden": "true" },
          this.classes.shape(event.label),
        ),
        event.label,
      ),
      el("span", { role: "gridcell", class: "number probability" }, this.#bar(event), percent(event.confidence)),
      el("span", { role: "gridcell", class: "rest", title: rest }, rest),
    );
    row.style.transform = `translateY(${i * ROW_PX}px)`;
    return row;
  }

  #bar(event) {
    const fill = el("i");
    fill.style.width = `${100 * (event.confidence ?? 0)}%`;
    return el("i", { class: "bar", "aria-hidden": "true" }, fill);
  }

  #click(event) {
    const key = event.target.closest(".row")?.dataset.key;
    if (!key) return;
    this.pane.focus({ preventScroll: true });
    this.tell("choose", { key, more: event.ctrlKey || event.metaKey, range: event.shiftKey });
  }

  #key(event) {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const next = this.neighbour(by);
    if (next) this.tell("choose", { key: next.key, more: false, range: event.shiftKey });
  }

  /** The event so many rows below the current one. */
  neighbour(by) {
    const at = this.places.get(this.selection.current);
    if (at === undefined) return this.shown[by > 0 ? 0 : this.shown.length - 1];
    return this.shown[Math.min(Math.max(at + by, 0), this.shown.length - 1)];
  }

  /** Keys from the current row to another one. */
  between(from, to) {
    const [a, b] = [this.places.get(from), this.places.get(to)];
    if (a === undefined || b === undefined) return [to];
    return this.shown.slice(Math.min(a, b), Math.max(a, b) + 1).map((event) => event.key);
  }

  reveal(key) {
    const at = this.places.get(key);
    if (at === undefined) return;
    const [top, height] = [at * ROW_PX, this.pane.clientHeight - this.head.offsetHeight];
    if (top < this.pane.scrollTop) this.pane.scrollTop = top;
    else if (top + ROW_PX > this.pane.scrollTop + height) this.pane.scrollTop = top + ROW_PX - height;
    this.draw();
  }
}
