/** The chosen event: what was proposed beside what the coder says, who said it when, buttons with their keys. */

import { button, el, Signal } from "./dom.js";
import { UnitField, unitInWords } from "./facs.js";
import { apart, clock, moment, percent, VERDICTS, VERDICT_SIGNS } from "./words.js";

const EDGES = ["onset", "apex", "offset"];
const EDGE_KEYS = { onset: ["D", "F"], apex: ["G", "H"], offset: ["J", "K"] };

/** Tells ``command`` (name), ``nudge`` {edge, by}, ``take`` (number of a proposal), ``label``, ``units``, ``note``, ``seek`` (frame). */
export class Panel extends Signal {
  constructor(host, { classes, timebase, conditionsOf, faces }) {
    super();
    this.classes = classes;
    this.timebase = timebase;
    this.conditionsOf = conditionsOf;
    this.faces = faces;
    this.#build(host);
  }

  #command(words, key, name, kind = "", title = null) {
    return button(words, { key, kind, title, run: () => this.tell("command", name), "data-command": name });
  }

  #build(host) {
    this.title = el("h2", { id: "panel-title" });
    this.badge = el("span", { class: "badge" });
    this.facts = el("p", { class: "facts" });
    this.verdicts = el(
      "div",
      { class: "verdicts" },
      this.#command("Accept", "A", "accept", "yes", "A short movement of the face by itself"),
      this.#command("Reject", "X", "reject", "no", "Speech, a blink, a turn of the head, or nothing"),
      this.#command("To review", "R", "reopen"),
    );
    this.takes = el("div", { class: "verdicts takes", hidden: true });
    this.several = el(
      "div",
      { class: "verdicts", hidden: true },
      this.#command("Merge", "M", "merge"),
      this.#command("Paste label, units", "Ctrl V", "paste"),
      this.#command("Clear", "Esc", "clear"),
    );
    this.edges = Object.fromEntries(EDGES.map((edge) => [edge, this.#edgeRow(edge)]));
    this.lasting = this.#row("lasting");
    this.labelRow = this.#row("class");
    this.labels = el("div", { class: "labels", role: "radiogroup", "aria-label": "Class" });
    this.labelRow.own.append(this.labels);
    this.unitRow = this.#row("units", "C");
    this.units = new UnitField();
    this.units.on("change", (units) => this.tell("units", units));
    this.units.on("leave", () => document.activeElement?.blur());
    this.unitRow.own.append(this.units.element);
    this.noteRow = this.#row("note", "T");
    this.note = el("textarea", {
      rows: 1,
      dir: "auto",
      "aria-label": "Note",
      placeholder: "one line",
      onchange: () => this.tell("note", this.note.value.replace(/\s+/g, " ").trim()),
    });
    this.note.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      if (event.key === "Escape") this.note.value = this.event?.note ?? "";
      this.note.blur();
    });
    this.noteRow.own.append(this.note);
    const head = el("tr", {}, el("td"), el("th", { scope: "col" }, "proposed"), el("th", { scope: "col" }, "yours"));
    const rows = [...Object.values(this.edges), this.lasting, this.labelRow, this.unitRow, this.noteRow].map(
      (row) => row.element,
    );
    this.values = el("table", { class: "values" }, el("thead", {}, head), el("tbody", {}, rows));
    this.who = el("p", { class: "who" });
    const more = el(
      "div",
      { class: "more" },
      this.#command("Split", "S", "split"),
      this.#command("Zoom", "Z", "zoom"),
      this.#command("Copy", "Ctrl C", "copy"),
      this.#command("Remove", "Del", "remove"),
    );
    this.some = el(
      "div",
      { class: "some" },
      el("div", { class: "panel-head" }, this.title, this.badge),
      this.facts,
      this.verdicts,
      this.takes,
      this.several,
      this.values,
      this.who,
      more,
      this.faces.element,
    );
    this.none = el(
      "div",
      { class: "none" },
      el("p", {}, "No event is chosen."),
      el(
        "p",
        { class: "hint" },
        "Press ",
        el("kbd", {}, "N"),
        " for the next one, ",
        el("kbd", {}, "U"),
        " for the one that the machine is least sure of, or hold ",
        el("kbd", {}, "E"),
        " while a movement lasts to add one.",
      ),
    );
    this.none.append(
      el(
        "p",
        { class: "hint" },
        "Accept a short movement of the face by itself; reject speech, blinks and turns of the head. A candidate is no proven micro-expression.",
      ),
    );
    host.replaceChildren(this.none, this.some);
    this.some.hidden = true;
  }

  #row(name, key = null) {
    const proposed = el("td", { class: "proposed" });
    const own = el("td", { class: "own" });
    return {
      element: el(
        "tr",
        { class: `row-${name}` },
        el("th", { scope: "row" }, name, key && el("kbd", {}, key)),
        proposed,
        own,
      ),
      proposed,
      own,
    };
  }

  #edgeRow(edge) {
    const row = this.#row(edge);
    const [less, more] = EDGE_KEYS[edge];
    row.go = el("button", {
      type: "button",
      class: "go",
      title: "show this frame",
      onclick: () => this.tell("seek", Number(row.go.dataset.frame)),
    });
    const step = (by, key, sign) =>
      el(
        "button",
        {
          type: "button",
          class: "step",
          title: `${edge} one frame ${by < 0 ? "earlier" : "later"} (${key})`,
          "aria-label": `${edge} one frame ${by < 0 ? "earlier" : "later"}`,
          onclick: () => this.tell("nudge", { edge, by }),
        },
        sign,
        el("kbd", {}, key),
      );
    row.own.append(el("span", { class: "edge" }, step(-1, less, "‹"), row.go, step(1, more, "›")));
    return row;
  }

  show(events, current) {
    this.event = current;
    this.none.hidden = Boolean(current);
    this.some.hidden = !current;
    if (!current) return;
    const many = events.length > 1;
    this.several.hidden = !many;
    this.title.textContent = many
      ? `${events.length} events`
      : current.proposals?.length
        ? "Movement candidate"
        : "Added event";
    this.badge.textContent = `${VERDICT_SIGNS[current.verdict]} ${VERDICTS[current.verdict]}`;
    this.badge.className = `badge verdict-${current.verdict}`;
    this.badge.hidden = many;
    this.#showFacts(current, many);
    for (const each of this.verdicts.children)
      each.setAttribute(
        "aria-pressed",
        String(
          !many && { accept: "accepted", reject: "rejected", reopen: "open" }[each.dataset.command] === current.verdict,
        ),
      );
    this.#showTakes(current, many);
    this.#showValues(current);
    this.#showWho(current);
    this.faces.show(current);
  }

  /** With several proposals, one decision: whose it is. */
  #showTakes(event, many) {
    const proposals = event.proposals ?? [];
    this.takes.hidden = many || proposals.length < 2;
    this.takes.replaceChildren(
      ...proposals
        .slice(0, 2)
        .map((each, i) => button(`As ${apart(each.by)} says`, { key: "QW"[i], run: () => this.tell("take", i) })),
    );
  }

  #showFacts(event, many) {
    const start = this.timebase.start(event.onset_frame);
    const words = [clock(start, 2), event.key.startsWith("new-") ? "" : event.key];
    if (event.confidence !== null) words.push(`probability ${percent(event.confidence)}`);
    const conditions = this.conditionsOf(event);
    this.facts.replaceChildren(
      words.filter(Boolean).join(" · "),
      conditions ? el("span", { class: "caution" }, ` ${conditions}`) : "",
    );
    if (many) this.facts.prepend("shown: ");
  }

  #frame(frame) {
    return frame === null || frame === undefined ? "–" : `${frame}`;
  }

  #showValues(event) {
    const proposal = event.proposals?.[0];
    for (const edge of EDGES) {
      const row = this.edges[edge];
      const frame = event[`${edge}_frame`];
      row.go.textContent = this.#frame(frame);
      row.go.dataset.frame = frame ?? "";
      row.go.disabled = frame === null;
      this.#propose(row, event, (each) => this.#frame(each[`${edge}_frame`]), this.#frame(frame));
    }
    const lasting = (each) =>
      `${Math.round(1000 * (this.timebase.stop(each.offset_frame) - this.timebase.start(each.onset_frame)))} ms`;
    this.lasting.own.textContent = lasting(event);
    this.#propose(this.lasting, event, lasting, lasting(event));
    this.#showLabels(event);
    this.#propose(
      this.labelRow,
      event,
      (each) => `${this.classes.shape(each.label)} ${apart(each.label)}`,
      `${this.classes.shape(event.label)} ${apart(event.label)}`,
    );
    this.units.show(event.action_units);
    this.#propose(
      this.unitRow,
      event,
      (each) => each.action_units.join(" ") || "–",
      event.action_units.join(" ") || "–",
    );
    if (document.activeElement !== this.note) this.note.value = event.note;
    this.#propose(this.noteRow, event, (each) => each.note || "–", event.note || "–");
    this.values.classList.toggle("unproposed", !proposal);
    this.unitRow.own.title = event.action_units.map(unitInWords).join("\n");
  }

  /** What each proposal says, with whose it is when there are several; marked where the coder says otherwise. */
  #propose(row, event, words, own) {
    const proposals = event.proposals ?? [];
    row.proposed.replaceChildren(
      ...proposals.map((each) =>
        el("span", { title: `by ${apart(each.by)}` }, proposals.length > 1 ? `${apart(each.by)}: ${words(each)}` : words(each)),
      ),
    );
    if (!proposals.length) row.proposed.textContent = "–";
    row.element.classList.toggle("differs", proposals.length > 0 && words(proposals[0]) !== own);
  }

  #showLabels(event) {
    const names = this.classes.choices.includes(event.label)
      ? this.classes.choices
      : [...this.classes.choices, event.label];
    this.labels.replaceChildren(
      ...names.map((name, i) =>
        el(
          "button",
          {
            type: "button",
            role: "radio",
            "aria-checked": String(name === event.label),
            class: `label-choice class-${this.classes.of(name)}`,
            onclick: () => this.tell("label", name),
          },
          el("i", { "aria-hidden": "true" }, this.classes.shape(name)),
          el("span", {}, name),
          i < Math.min(9, this.classes.choices.length) && el("kbd", {}, String(i + 1)),
        ),
      ),
    );
  }

  #showWho(event) {
    const proposed = [...new Set((event.proposals ?? []).map((each) => apart(each.by)))].join(", ");
    const words = event.saving
      ? "saving…"
      : event.by
        ? `last changed by ${apart(event.by)}, ${moment(event.at)}`
        : "nobody has judged it yet";
    this.who.textContent = [proposed && `proposed by ${proposed}`, words].filter(Boolean).join("; ");
  }
}
