/** The coder's own layer: what the server confirmed, and what was done since and is not confirmed yet. */

import { Signal } from "./dom.js";

/** What an edit may set; the rest of an event is the server's. */
export const VALUE = [
  "onset_frame",
  "apex_frame",
  "offset_frame",
  "label",
  "confidence",
  "action_units",
  "note",
  "verdict",
];

export const valueOf = (event) => Object.fromEntries(VALUE.map((name) => [name, event[name]]));

const byTime = (a, b) => a.onset_frame - b.onset_frame || a.offset_frame - b.offset_frame || (a.key < b.key ? -1 : 1);

/** Tells ``change`` whenever what is shown changed. */
export class OwnLayer extends Signal {
  constructor() {
    super();
    this.confirmed = new Map();
    this.waiting = []; // edits, oldest first
    this.revision = 0;
    this.coder = "";
    this.undoText = null;
    this.redoText = null;
    this.#forget();
  }

  #forget() {
    this.shown = null;
    this.sorted = null;
  }

  #changed() {
    this.#forget();
    this.tell("change");
  }

  /** Takes the whole layer as the server has it. */
  load(answer) {
    this.name = answer.layer;
    this.released = answer.released;
    this.begun = answer.began_from;
    this.confirmed = new Map(answer.events.map((event) => [event.key, event]));
    this.revision = answer.revision;
    this.#history(answer);
    this.#changed();
  }

  #history(answer) {
    this.undoText = answer.can_undo ?? null;
    this.redoText = answer.can_redo ?? null;
  }

  /**
   * Takes what the server says has changed.  Where something came between that this window does not know, the
   * revision stays what it was: who compares it sees that the layer is to be loaded anew.
   */
  take(answer) {
    if (this.follows(answer)) this.revision = answer.number;
    for (const key of answer.removed ?? []) this.confirmed.delete(key);
    for (const event of answer.events) this.confirmed.set(event.key, event);
    this.#history(answer);
    this.#changed();
  }

  /** Whether nothing came between what is known here and a change; numbers count the entries of all layers. */
  follows(answer) {
    return answer.before === this.revision;
  }

  /** Takes events as they are now on the server, and what can be undone, after an edit that came too late. */
  correct(answer) {
    for (const key of answer.removed ?? []) this.confirmed.delete(key);
    for (const event of answer.events) this.confirmed.set(event.key, event);
    this.#history(answer);
    this.#changed();
  }

  /** Shows an edit before it is confirmed. */
  await(edit) {
    this.waiting.push(edit);
    this.#changed();
  }

  /** No longer shows it: it is confirmed, or it was refused. */
  settle(edits) {
    this.waiting = this.waiting.filter((edit) => !edits.includes(edit));
    this.#changed();
  }

  #view() {
    if (this.shown) return this.shown;
    this.shown = this.confirmed;
    if (this.waiting.length) {
      this.shown = new Map(this.confirmed);
      for (const edit of this.waiting) for (const change of edit.changes ?? []) this.#apply(change, edit);
    }
    return this.shown;
  }

  #apply(change, edit) {
    const key = change.key ?? change.temporary;
    if (change.after === null) {
      this.shown.delete(key);
      return;
    }
    const before = this.shown.get(key);
    const taken = (change.from ?? []).flatMap((each) => change.proposals?.[each] ?? []);
    this.shown.set(key, {
      ...change.after,
      key,
      proposals: before?.proposals ?? taken,
      revision: before?.revision ?? 0,
      by: this.coder,
      at: edit.at,
      saving: true,
    });
  }

  get(key) {
    return this.#view().get(key);
  }

  /** All events in the order of time. */
  get events() {
    if (!this.sorted) this.sorted = [...this.#view().values()].sort(byTime);
    return this.sorted;
  }

  /** The revision that a change of this event is made upon: a number, or the name of the edit that is not confirmed yet. */
  basis(key) {
    const edit = this.waiting.findLast((each) =>
      (each.changes ?? []).some((change) => (change.key ?? change.temporary) === key),
    );
    return edit ? edit.id : (this.confirmed.get(key)?.revision ?? 0);
  }

  /** How many there are of each verdict. */
  get tally() {
    const tally = { open: 0, accepted: 0, rejected: 0 };
    for (const event of this.#view().values()) tally[event.verdict] += 1;
    return tally;
  }
}
