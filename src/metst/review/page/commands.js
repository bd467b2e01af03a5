/** What keys and buttons do: each command by its name, upon the chosen events. */

import * as editing from "./editing.js";
import { sureness } from "./words.js";
import { showKeys } from "./help.js";

const ADVANCE = "metst-advance";
/** As events of other programs are called that have no label. */
const UNLABELLED = "unlabelled";

/** ``page``: the review page, with its layer, selection, player, timeline, table, saving. */
export function commandsOf(page) {
  const { layer, selection, player, timeline, table } = page;
  const length = page.timebase.frames;
  const chosen = () => [...selection.keys].map((key) => layer.get(key)).filter(Boolean);
  const current = () => (selection.current ? layer.get(selection.current) : undefined);
  let copied = [];
  let marked = null;

  /** Sends an edit; tells why there is none. */
  function send(edit, otherwise) {
    if (page.readOnly) page.say(page.readOnly);
    else if (edit) {
      if (edit.changes.some((change) => change.corrected))
        page.say("Accepted, as it was corrected: R puts it back to review.");
      return page.saving.edit(edit);
    }
    else if (otherwise) page.say(otherwise);
    return null;
  }

  function some(act, otherwise) {
    const events = chosen();
    if (events.length) return act(events);
    page.say(otherwise ?? "Choose an event first: N for the next one.");
    return null;
  }

  function go(event) {
    selection.only(event.key);
    page.visit(event);
  }

  function judge(verdict) {
    some((events) => {
      const next = openAfter(events);
      const added = events.every((event) => !event.proposals?.length);
      const already = `Already ${verdict === "open" ? "to review" : verdict}.`;
      const sent = send(editing.judge(events, verdict), added ? "An event that was added is accepted; Delete removes it." : already);
      if (verdict === "open" || page.readOnly) return;
      if (next && page.advances) go(next);
      if (sent && !next)
        page.say(layer.tally.open ? "No more of the table is to review." : "All are reviewed: Layer, above, releases them.");
    });
  }

  /** The next one to review, in the order of the table; from the start again after the last. */
  function openAfter(skipped = []) {
    const skip = new Set(skipped.map((event) => event.key));
    const all = table.shown.length ? table.shown : layer.events;
    const at = all.findIndex((event) => event.key === selection.current);
    const round = [...all.slice(at + 1), ...all.slice(0, at + 1)];
    return round.find((event) => event.verdict === "open" && !skip.has(event.key));
  }

  /** Into a field of the panel, which is drawn first: the event may have been chosen since the last paint. */
  function write(field) {
    some((events) => {
      page.panel.show(events, current());
      field(page.panel).focus();
    });
  }

  function nudge(edge, by) {
    some((events) => {
      send(editing.nudge(events, edge, by, length), `The ${edge} cannot go further.`);
      const now = current();
      if (now) player.step((now[`${edge}_frame`] ?? now.onset_frame) - player.frame);
    });
  }

  return {
    send,
    play: () => player.toggle(),
    step: (by) => player.step(by),
    ends: (end) => player.step(end < 0 ? -length : length),
    speed: (by) => player.faster(by),
    loop() {
      const event = current();
      if (player.loop || !event) player.setLoop(null);
      else player.playLoop(event);
      if (!event) page.say("Choose an event to loop.");
    },
    zoomBy: (factor) => timeline.zoom(factor),
    zoom: () => some(() => timeline.showEvent(current())),
    zoomOut: () => timeline.showAll(),
    faces: () => page.toggleFaces(),
    close: () => page.toggleClose(),
    rows: () => page.toggleRows(),
    search: () => page.search.focus(),

    neighbour(by) {
      const event = table.neighbour(by);
      if (event) go(event);
      else page.say(table.empty.textContent);
    },
    extend(by) {
      const event = table.neighbour(by);
      if (!event) return;
      selection.keys.add(event.key);
      selection.set([...selection.keys], event.key);
      page.visit(event);
    },
    unsure() {
      const open = layer.events.filter((event) => event.verdict === "open");
      // the current one is passed over, or the key would stand still on it
      const others = open.filter((event) => event.key !== selection.current);
      const event = others.reduce((best, each) => (best && sureness(best) <= sureness(each) ? best : each), open[0]);
      if (event) go(event);
      else page.say("Everything is reviewed.");
    },
    unreviewed() {
      const event = openAfter();
      if (event) go(event);
      else page.say("Everything is reviewed.");
    },
    goEdge(edge) {
      const event = current();
      if (event) player.step((event[`${edge}_frame`] ?? event.onset_frame) - player.frame);
    },

    accept: () => judge("accepted"),
    reject: () => judge("rejected"),
    reopen: () => judge("open"),
    take: (at) =>
      some(() => {
        const proposal = current().proposals?.[at];
        send(
          proposal && editing.take(current(), proposal),
          proposal ? "It is so already." : at ? "There is no second proposal." : "Nobody proposed this event.",
        );
      }),
    label: (key) => {
      const name = page.classes.choices[Number(key) - 1];
      if (name) some((events) => send(editing.relabel(events, name), `Already ${name}.`));
    },
    setLabel: (name) => some((events) => send(editing.relabel(events, name))),
    setUnits: (units) => some((events) => send(editing.codeUnits(events, units))),
    setNote: (note) => some((events) => send(editing.annotate(events, note))),
    units: () => write((panel) => panel.units.input),
    note: () => write((panel) => panel.note),

    mark() {
      if (page.readOnly) page.say(page.readOnly);
      else marked = player.frame;
      page.showMark(marked);
    },
    markEnd() {
      if (marked === null) return;
      const [onset, offset] = [Math.min(marked, player.frame), Math.max(marked, player.frame)];
      marked = null;
      page.showMark(null);
      this.add(onset, offset);
    },
    markCancel() {
      marked = null;
      page.showMark(null);
    },
    marked: () => marked,
    add(onset, offset) {
      const edit = send(editing.add({ onset_frame: onset, offset_frame: offset, label: UNLABELLED }, length));
      if (!edit) return;
      selection.only(edit.changes[0].temporary);
      if (page.classes.choices.length) page.say("Added without a class: 1, 2, 3 ... choose one.");
    },
    onset: (by) => nudge("onset", by),
    apex: (by) => nudge("apex", by),
    offset: (by) => nudge("offset", by),
    here: (edge) =>
      some(() => send(editing.setEdges(current(), { [edge]: player.frame }, length), `The ${edge} is there already.`)),
    shift: (by) =>
      some((events) => {
        send(editing.shift(events, by, length), "It cannot go further.");
        player.step(current().onset_frame - player.frame);
      }),
    split: () =>
      some(() => {
        const edit = send(
          editing.split(current(), player.frame),
          "Go to a frame inside of the event, after its first one, to split it there.",
        );
        if (edit) selection.set([edit.changes[1].temporary], edit.changes[1].temporary);
      }),
    merge: () =>
      some((events) => {
        const edit = send(editing.merge(events), "Choose two events or more to merge: Ctrl click, or Shift N.");
        if (edit) selection.only(edit.changes.at(-1).temporary);
      }),
    remove: () => some((events) => send(editing.remove(events), "Already rejected.")),

    all: () =>
      selection.set(
        table.shown.map((event) => event.key),
        selection.current ?? table.shown[0]?.key ?? null,
      ),
    copy: () =>
      some((events) => {
        copied = events.map((event) => ({ ...event }));
        page.say(
          `Copied ${events.length === 1 ? "an event" : `${events.length} events`}: Ctrl V pastes label and units, Ctrl Shift V the events.`,
        );
      }),
    paste() {
      if (!copied.length) page.say("Nothing is copied yet: Ctrl C.");
      else some((events) => send(editing.pasteValues(copied[0], events), "They have these values already."));
    },
    pasteEvents() {
      if (!copied.length) page.say("Nothing is copied yet: Ctrl C.");
      else {
        const edit = send(editing.paste(copied, player.frame, length));
        if (edit) selection.set(edit.changes.map((change) => change.temporary));
      }
    },
    undo: () => (page.readOnly ? page.say(page.readOnly) : page.saving.undo(selection.current)),
    redo: () => (page.readOnly ? page.say(page.readOnly) : page.saving.redo(selection.current)),
    clear() {
      if (marked === null) selection.set([], null);
      else this.markCancel();
    },
    help: () => showKeys(),
    advance(on) {
      page.advances = on;
      localStorage.setItem(ADVANCE, on ? "1" : "");
    },
  };
}

export const advancesAtFirst = () => Boolean(localStorage.getItem(ADVANCE));
