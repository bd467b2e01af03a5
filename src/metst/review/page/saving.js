/**
 * Sends edits one after the other until the server has confirmed each.
 *
 * Nothing is shown as saved before.  What the server did not answer is sent again under the same name, also after this
 * window was loaded anew; what it refuses is taken back on the screen, and its reason told.
 */

import { newId, post, Refused } from "./api.js";
import { Signal } from "./dom.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;
/** What the history takes, characters. */
const LONGEST_WORDS = 200;
/** The server could not write, or something else was wrong with it: trying again may help. */
const PASSING = new Set([408, 423, 425, 429, 500, 502, 503, 504, 507]);

/** Tells ``state`` {state: saved | saving | failed, waiting, reason}, ``late`` {edit, events} and ``refused`` {edit, reason}. */
export class Saving extends Signal {
  /** ``path``: of the review's requests; ``layer``: an OwnLayer. */
  constructor(path, layer, layerName) {
    super();
    this.path = path;
    this.layer = layer;
    this.layerName = layerName;
    this.store = `metst-unsaved:${path}:${layerName ?? ""}`;
    this.queue = [];
    this.running = false;
    this.reason = "";
    this.attempt = 0;
    this.channel = new BroadcastChannel(`metst-review:${path}:${layerName ?? ""}`);
  }

  /** Takes up what an earlier page of this window did not get confirmed. */
  resume() {
    const kept = JSON.parse(sessionStorage.getItem(this.store) ?? "[]");
    for (const edit of kept) this.#queue(edit);
    if (kept.length) this.#run();
    return kept.length;
  }

  edit({ what, changes }) {
    const edit = { kind: "edit", id: newId(), at: new Date().toISOString(), what, changes };
    changes.forEach((change, i) => {
      if (change.key === null) change.temporary = `new-${edit.id}.${i}`;
      else change.revision = this.layer.basis(change.key);
    });
    this.#queue(edit);
    this.#run();
    return edit;
  }

  undo(where) {
    this.#step("undo", where);
  }

  redo(where) {
    this.#step("redo", where);
  }

  retry() {
    clearTimeout(this.timer);
    this.#run();
  }

  /** Resolves when nothing waits. */
  async settled() {
    while (this.queue.length) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  /** What is under way may leave something to take back; when it is known that nothing does, nothing is asked. */
  #step(kind, where) {
    const step = { kind, id: newId(), where };
    if (!this.queue.length && this.#isIdle(step)) return;
    this.#queue(step);
    this.#run();
  }

  #isIdle({ kind }) {
    return (kind === "undo" && !this.layer.undoText) || (kind === "redo" && !this.layer.redoText);
  }

  #queue(edit) {
    this.queue.push(edit);
    if (edit.kind === "edit") this.layer.await(edit);
    this.#keep();
    this.#say("saving");
  }

  #keep() {
    if (this.queue.length) sessionStorage.setItem(this.store, JSON.stringify(this.queue));
    else sessionStorage.removeItem(this.store);
  }

  #say(state) {
    this.tell("state", { state, waiting: this.queue.length, reason: this.reason });
  }

  async #run() {
    if (this.running) return;
    this.running = true;
    while (this.queue.length) {
      const edit = this.queue[0];
      if (this.#isIdle(edit)) {
        this.queue.shift();
        this.#keep();
        continue;
      }
      try {
        this.#confirm(edit, await post(`${this.path}/${edit.kind === "edit" ? "edits" : edit.kind}`, this.#body(edit)));
      } catch (error) {
        // only a plain no ends an edit; whatever else went wrong, it is tried again
        if (!(error instanceof Refused) || PASSING.has(error.status) || error.status === 401) {
          this.running = false;
          this.#later(error);
          return;
        }
        this.#refused(edit, error);
      }
    }
    this.running = false;
    this.layer.settle([]); // shown once more, now that nothing waits
    this.#say("saved");
  }

  #body(edit) {
    const body = { id: edit.id };
    if (this.layerName) body.layer = this.layerName;
    if (edit.kind !== "edit") return body;
    const changes = edit.changes.map(({ key, revision, after, from }) => ({
      key,
      revision: typeof revision === "number" ? revision : 0,
      after,
      ...(from ? { from } : {}),
    }));
    return { ...body, what: edit.what.slice(0, LONGEST_WORDS), changes };
  }

  #confirm(edit, answer) {
    this.attempt = 0;
    this.reason = "";
    this.queue.shift();
    this.#rename(edit, answer);
    this.layer.waiting = this.layer.waiting.filter((each) => each !== edit);
    this.layer.take(answer);
    this.#keep();
    this.channel.postMessage(answer);
    this.tell("confirmed", { edit, answer });
    this.#say(this.queue.length ? "saving" : "saved");
  }

  /** Later edits know what this one made by the names and the number that the server gave it. */
  #rename(edit, answer) {
    if (edit.kind !== "edit") return;
    const prefix = `a${answer.number}.`;
    const made = answer.events.filter((event) => event.key.startsWith(prefix)).map((event) => event.key);
    made.sort((a, b) => Number(a.slice(prefix.length)) - Number(b.slice(prefix.length)));
    const names = new Map();
    for (const change of edit.changes) if (change.key === null) names.set(change.temporary, made.shift());
    for (const later of this.queue) {
      for (const change of later.changes ?? []) {
        if (names.has(change.key)) change.key = names.get(change.key);
        if (change.revision === edit.id) change.revision = answer.number;
        if (change.from) change.from = change.from.map((key) => names.get(key) ?? key);
      }
    }
    if (names.size) this.tell("renamed", names);
  }

  #later(error) {
    this.attempt += 1;
    this.reason = error.message;
    this.#say("failed");
    this.timer = setTimeout(() => this.#run(), Math.min(FIRST_WAIT_MS * 2 ** (this.attempt - 1), LONGEST_WAIT_MS));
  }

  /** Takes an edit back on the screen, and all later ones that were made upon it. */
  #refused(edit, error) {
    const lost = [edit];
    const touched = new Set((edit.changes ?? []).map((change) => change.key ?? change.temporary));
    for (const later of this.queue.slice(1)) {
      const keys = (later.changes ?? []).flatMap((change) => [change.key ?? change.temporary, ...(change.from ?? [])]);
      if (!keys.some((key) => touched.has(key))) continue;
      keys.forEach((key) => touched.add(key));
      lost.push(later);
    }
    this.queue = this.queue.filter((each) => !lost.includes(each));
    this.#keep();
    if (error.status === 409 && error.body.events) {
      this.layer.correct(error.body);
    }
    this.layer.settle(lost);
    this.tell(error.status === 409 ? "late" : "refused", {
      edit,
      lost: lost.length,
      reason: error.message,
      events: error.body.events ?? [],
    });
  }
}
