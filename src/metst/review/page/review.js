/** The review of one recording: brings its parts together and keeps them in step. */

import { get } from "./api.js";
import { bar } from "./bar.js";
import { advancesAtFirst, commandsOf } from "./commands.js";
import { byId, el, oncePerPaint } from "./dom.js";
import { dragging } from "./dragging.js";
import { Faces } from "./faces.js";
import { listen } from "./keys.js";
import { OwnLayer } from "./layer.js";
import { Panel } from "./panel.js";
import { Pictures } from "./pictures.js";
import { Player } from "./player.js";
import { loadLayers, loadRecording, loadRegions } from "./recording.js";
import { Saving } from "./saving.js";
import { SeekBar } from "./seekbar.js";
import { Selection } from "./selection.js";
import { FILTERS, ORDERS, EventTable } from "./table.js";
import { Timeline } from "./timeline.js";
import { transport } from "./transport.js";
import { unlocking } from "./unlocking.js";
import { Classes } from "./words.js";

const query = (name) => (name ? `?layer=${encodeURIComponent(name)}` : "");

/** Why a layer has no events, by what it began from. */
const WITHOUT_EVENTS = {
  machine: "The machine found no candidates in this recording.",
  nothing: "There are no events yet.",
};

/** Opens a recording in ``main``; resolves to the page once it is shown, to null where it is no longer wanted. */
export async function openReview({ rid, layerName, session: asked, status, wanted }) {
  const reviewPath = `/api/recordings/${rid}/review${query(layerName)}`;
  const [session, loaded, review] = await Promise.all([asked, loadRecording(rid), get(reviewPath)]);
  if (!wanted()) return null;
  const page = new ReviewPage({ ...loaded, session, status, layerName });
  page.layer.load(review);
  page.start();
  return page;
}

class ReviewPage {
  constructor({ rec, timebase, series, session, status, layerName }) {
    Object.assign(this, { rec, timebase, series, session, status, layerName });
    this.others = [];
    this.classes = new Classes(rec.classes, rec.labels);
    this.selection = new Selection();
    this.layer = new OwnLayer();
    this.layer.coder = session.coder;
    this.saving = new Saving(rec.path, this.layer, layerName);
    this.advances = advancesAtFirst();
    this.ending = new AbortController();
  }

  get readOnly() {
    return (
      this.rec.read_only ||
      (this.layer.released ? "This layer is released: take the release back to change it (Layer, above)." : "")
    );
  }

  say(words) {
    this.status.say(words);
  }

  start() {
    const main = byId("main");
    const host = (name, ...inside) => (this[`${name}Host`] = el("section", { class: `part part-${name}` }, ...inside));
    this.canvas = el("canvas", {
      class: "picture",
      width: 16,
      height: 9,
      role: "img",
      "aria-label": "Picture of the recording",
    });
    main.replaceChildren(
      el("div", { class: "review" }, host("picture"), host("panel"), host("table"), host("timeline"), host("seek")),
    );
    this.#makePlayer();
    this.#makeTimeline();
    this.#makeTable();
    this.#makePanel();
    this.commands = commandsOf(this);
    transport(this);
    bar(this);
    dragging(this);
    listen(this.commands, this.ending.signal);
    this.#connect();
    this.#arrange();
    this.status.follow(this.saving);
    this.saving.resume();
    this.#comeBack();
    this.timeline.paint();
    this.seekBar.paint();
    performance.mark("metst:ready");
    document.documentElement.dataset.ready = this.rec.id;
    this.#later();
  }

  /** Where this window was when it left the recording, or was loaded anew. */
  #comeBack() {
    const kept = `metst-place:${this.rec.path}:${this.layerName ?? ""}`;
    const { key, frame } = JSON.parse(sessionStorage.getItem(kept) ?? "{}");
    if (key && this.layer.get(key)) {
      this.selection.only(key);
      this.table.reveal(key);
    }
    this.player.seek(frame ?? 1);
    this.leave = () =>
      sessionStorage.setItem(kept, JSON.stringify({ key: this.selection.current, frame: this.player.frame }));
    window.addEventListener("pagehide", () => this.leave(), { signal: this.ending.signal });
  }

  /** What takes longer, once the page can be used. */
  async #later() {
    try {
      const [others, motion] = await Promise.all([
        loadLayers(this.rec, { shown: this.layer.name, coder: this.session.coder }),
        loadRegions(this.rec, "movement"),
      ]);
      this.others = others;
      this.timeline.addRegions("movement", motion);
      // they are read with the motion
      this.timeline.rows.addConditions(await get(`${this.rec.path}/conditions`));
      this.#arrange();
      if (!this.ending.signal.aborted) document.documentElement.dataset.whole = this.rec.id;
    } catch (error) {
      this.say(`Other layers and the motion of the regions could not be loaded: ${error.message}`);
    }
  }

  #makePlayer() {
    const { source, video } = this.rec;
    this.pictures = new Pictures(this.rec.path, {
      frames: this.timebase.frames,
      widest: source.width,
      missing: video.state === "found" ? "" : video.hint || "There is no video of this recording.",
    });
    this.player = new Player(this.canvas, { pictures: this.pictures, timebase: this.timebase });
    unlocking(this);
    this.pictureHost.style.setProperty("--ratio", `${source.width} / ${source.height}`);
    const resize = oncePerPaint(() => {
      if (this.pictures.resize(this.canvas.clientWidth * (window.devicePixelRatio || 1))) this.player.refresh();
    });
    this.watch = new ResizeObserver(resize);
    this.watch.observe(this.pictureHost);
    this.pictures.resize(Math.max(this.pictureHost.clientWidth, 320) * (window.devicePixelRatio || 1));
  }

  #makeTimeline() {
    const { rec, timebase, classes } = this;
    this.timeline = new Timeline(this.timelineHost, { timebase, rec, classes, selection: this.selection });
    this.timeline.addScores(this.series);
    this.seekBar = new SeekBar(this.seekHost, { timebase, view: this.timeline.view, classes, gaps: rec.gaps });
    this.seekBar.set({ score: this.timeline.scorePyramid });
  }

  #makeTable() {
    const conditionsOf = (event) => this.conditionsOf(event);
    const choice = (values, words, change) =>
      el(
        "select",
        { "aria-label": words, onchange: (event) => change(event.target.value) },
        Object.entries(values).map(([value, each]) => el("option", { value }, each.words ?? each)),
      );
    const arrange = (name) => (value) => {
      this.table[name] = value;
      this.table.arrange();
      this.table.reveal(this.selection.current);
    };
    this.tally = el("p", { class: "tally", "aria-live": "off" });
    const body = el("div", { class: "table-host" });
    const labels = Object.fromEntries([["", "every class"], ...this.classes.names.map((name) => [name, name])]);
    this.search = this.#searchField();
    const advance = el("input", {
      type: "checkbox",
      checked: this.advances,
      onchange: (event) => this.commands.advance(event.target.checked),
    });
    this.tableHost.append(
      el(
        "div",
        { class: "table-tools" },
        el("h2", {}, "Candidates"),
        this.search,
        this.tally,
        el("label", {}, "show ", choice(FILTERS, "Which events", arrange("filter"))),
        choice(labels, "Class", arrange("label")),
        el("label", {}, "by ", choice(ORDERS, "Order", arrange("order"))),
        el(
          "label",
          { class: "check", title: "After accept or reject, go to the next one that is to review" },
          advance,
          " then go on",
        ),
      ),
      body,
    );
    this.table = new EventTable(body, {
      classes: this.classes,
      timebase: this.timebase,
      conditionsOf,
      selection: this.selection,
    });
  }

  /** Enter goes to the first event that is found, Escape shows all again. */
  #searchField() {
    const field = el("input", {
      type: "search",
      class: "search",
      placeholder: "search  /",
      title: "Words in label, note, coder or units (/)",
      "aria-label": "Search label, note, coder, units",
      autocomplete: "off",
      spellcheck: false,
      oninput: oncePerPaint(() => this.table.search(field.value)),
    });
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      if (event.key === "Escape") field.value = "";
      this.table.search(field.value);
      field.blur();
      const [first] = this.table.shown;
      if (event.key === "Enter" && first) this.table.tell("choose", { key: first.key, more: false, range: false });
      else this.table.reveal(this.selection.current);
    });
    return field;
  }

  #makePanel() {
    this.faces = new Faces({
      address: (frame, options) => this.faceAddress(frame, options),
      seek: (frame) => this.player.step(frame - this.player.frame),
    });
    this.panel = new Panel(this.panelHost, {
      classes: this.classes,
      timebase: this.timebase,
      conditionsOf: (event) => this.conditionsOf(event),
      faces: this.faces,
    });
  }

  faceAddress(frame, options) {
    if (this.rec.video.state !== "found") return "";
    const values = new URLSearchParams({ face: "1", width: "320", ...options });
    if (this.pictures.faces) values.set("faces", this.pictures.faces);
    return `${this.rec.path}/frames/${frame}.jpg?${values}`;
  }

  conditionsOf(event) {
    return this.timeline.rows.conditionsInWords(event.onset_frame, event.offset_frame).join(", ");
  }

  /** The rows of the regions show movement or quality, which is loaded when it is first asked for. */
  async toggleRows() {
    const kind = this.timeline.rows.kind === "movement" ? "quality" : "movement";
    this.timeline.showRows(kind);
    if (this.timeline.rows.pyramidsOf[kind]) return;
    try {
      this.timeline.addRegions(kind, await loadRegions(this.rec, kind));
    } catch (error) {
      this.say(`How well the regions were seen could not be loaded: ${error.message}`);
    }
  }

  #connect() {
    const { player, timeline, seekBar, table, panel, selection, layer, saving, commands } = this;
    player.on("frame", (frame) => {
      timeline.moveTo(frame);
      seekBar.moveTo(frame);
    });
    timeline.on("rows", () => this.toggleRows());
    for (const part of [timeline, seekBar]) part.on("seek", (frame) => player.step(frame - player.frame));
    timeline.on("view", () => seekBar.draw());
    timeline.on("select", ({ key, own, event, more }) => {
      if (!own) player.step(event.onset_frame - player.frame);
      else if (more) selection.toggle(key);
      else if (!selection.has(key) || selection.keys.size > 1) selection.only(key);
    });
    table.on("choose", ({ key, more, range }) => {
      if (range) selection.set([...new Set([...selection.keys, ...table.between(selection.current, key)])], key);
      else if (more) selection.toggle(key);
      else selection.only(key);
      this.visit(layer.get(key));
    });
    panel.on("command", (name) => commands[name]());
    panel.on("take", (at) => commands.take(at));
    panel.on("nudge", ({ edge, by }) => commands[edge](by));
    panel.on("label", (name) => commands.setLabel(name));
    panel.on("units", (units) => commands.setUnits(units));
    panel.on("note", (note) => commands.setNote(note));
    panel.on("seek", (frame) => player.step(frame - player.frame));
    selection.on(
      "change",
      oncePerPaint(() => {
        this.#arrange(false);
        this.#cut();
      }),
    );
    layer.on(
      "change",
      oncePerPaint(() => this.#arrange()),
    );
    saving.on("renamed", (names) => selection.rename(names));
    // somebody else changed something meanwhile
    saving.on("late", () => this.#refresh());
    saving.on("confirmed", ({ edit, answer }) => {
      if (answer.revision > layer.revision) this.#refresh();
      if (edit.kind !== "edit") this.#goBackTo(answer.events, edit.where);
    });
    saving.channel.onmessage = (event) => this.#elsewhere(event.data);
    document.addEventListener("visibilitychange", () => !document.hidden && this.#refresh(), {
      signal: this.ending.signal,
    });
    window.addEventListener("beforeunload", (event) => saving.queue.length && event.preventDefault(), {
      signal: this.ending.signal,
    });
    document.addEventListener("metst:scheme", () => this.redraw(), { signal: this.ending.signal });
  }

  /** Shows the events as they are now. */
  #arrange(changed = true) {
    const { layer, selection } = this;
    selection.keep((key) => layer.get(key) !== undefined);
    if (changed) {
      this.table.nothing = WITHOUT_EVENTS[layer.begun] ?? WITHOUT_EVENTS.nothing;
      const own = { name: layer.name ?? this.session.coder, own: true, events: layer.events };
      this.timeline.setLanes([own, ...this.others]);
      this.timeline.editable = !this.readOnly;
      if (this.player.loop) this.player.setLoop(layer.get(this.player.loop.key) ?? null);
      this.seekBar.set({ events: layer.events });
      this.table.set(layer.events);
      const { open, accepted, rejected } = layer.tally;
      this.tally.textContent = `${open} to review · ${accepted} accepted · ${rejected} rejected${layer.released ? " · released" : ""}`;
    } else {
      this.timeline.draw();
      this.table.draw();
    }
    this.panel.show([...selection.keys].map((key) => layer.get(key)).filter(Boolean), layer.get(selection.current));
    this.showBar?.();
  }

  /** The picture shows the face of the event, or all. */
  toggleClose() {
    this.closeUp = !this.closeUp;
    this.cutButton.setAttribute("aria-pressed", String(this.closeUp));
    if (this.closeUp && !this.selection.current) this.say("Choose an event: its face is shown.");
    this.#cut();
  }

  #cut() {
    const event = this.closeUp && this.layer.get(this.selection.current);
    const around = event ? Math.round((event.onset_frame + event.offset_frame) / 2) : 0;
    if (this.pictures.cut(around)) this.player.refresh();
  }

  /** Goes to an event: table, timeline and picture show it. */
  visit(event) {
    if (!event) return;
    this.table.reveal(event.key);
    this.timeline.reveal(event);
    // who watches events again and again goes on to do so with the next one
    if (this.player.loop && this.player.playing) {
      this.player.playLoop(event);
      return;
    }
    this.player.pause();
    this.player.setLoop(null);
    this.player.seek(event.apex_frame ?? event.onset_frame);
  }

  /** To what was undone, unless the coder is at something else by now. */
  #goBackTo([event], where) {
    const busy = this.saving.queue.length || this.commands.marked() !== null || document.activeElement !== document.body;
    if (!event || busy || where !== this.selection.current) return;
    this.selection.only(event.key);
    this.visit(this.layer.get(event.key));
  }

  /** Another window of this coder changed something. */
  #elsewhere(answer) {
    if (this.saving.queue.length || answer.revision <= this.layer.revision) return;
    if (this.layer.follows(answer)) this.#takeOver(() => this.layer.take(answer));
    else this.#refresh();
  }

  /** Takes what was changed elsewhere, whichever way it became known, and tells if it is what the coder looks at. */
  #takeOver(take) {
    const key = this.selection.current;
    const before = this.layer.get(key)?.revision;
    take();
    if (before !== undefined && this.layer.get(key)?.revision !== before)
      this.status.warn("The event that you look at was just changed in another window; this is how it is now.");
  }

  async #refresh() {
    if (this.saving.queue.length) return;
    try {
      const answer = await get(`${this.rec.path}/review${query(this.layerName)}`);
      if (
        !this.saving.queue.length &&
        (answer.revision !== this.layer.revision || answer.released !== this.layer.released)
      )
        this.#takeOver(() => this.layer.load(answer));
    } catch {
      // told when something is to be saved
    }
  }

  redraw() {
    this.timeline.draw();
    this.seekBar.redraw();
    this.table.draw();
  }

  close() {
    this.leave();
    this.ending.abort();
    this.player.pause();
    this.pictures.clear();
    this.status.leave(this.saving);
    for (const part of [this, this.timeline, this.seekBar, this.table]) part.watch.disconnect();
    delete document.documentElement.dataset.ready;
    delete document.documentElement.dataset.whole;
  }
}
