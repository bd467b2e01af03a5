/** The line that tells what is saved, and the messages that pass by or stay until they are read. */

import { byId, el } from "./dom.js";
import { apart } from "./words.js";

const PASSES_MS = 5000;

const changes = (number) => `${number} ${number === 1 ? "change" : "changes"}`;

export class Status {
  constructor() {
    this.line = byId("saved");
    this.spoken = byId("spoken");
    this.notes = byId("notes");
    this.queues = new Map();
  }

  /** Follows a queue of edits: nothing is called saved before the server said so. */
  follow(saving) {
    this.queues.set(saving, { state: "saved" });
    this.#show();
    saving.on("state", (told) => {
      this.queues.set(saving, told);
      this.#show();
    });
    saving.on("refused", ({ edit, reason, lost }) =>
      this.warn(
        `Not done${edit.what ? ` (${apart(edit.what)})` : ""}: ${reason}${lost > 1 ? `; ${changes(lost - 1)} made upon it went with it` : ""}`,
      ),
    );
    saving.on("late", ({ edit, reason, events, lost }) => {
      const last = events.at(-1);
      const who = last?.by ? ` Last changed by ${apart(last.by)}.` : "";
      this.warn(
        `Not saved (${apart(edit.what ?? edit.kind)}): ${reason}.${who} It is shown as it is now.${lost > 1 ? ` ${changes(lost - 1)} made upon it went with it.` : ""}`,
      );
    });
  }

  /** Nothing more comes from a page that was left, but its edits may still wait. */
  leave(saving) {
    if (!saving.queue.length) this.queues.delete(saving);
  }

  /** The worst of all queues: one that fails, one that waits, or all is saved. */
  #show() {
    this.line.hidden = false;
    const told = [...this.queues];
    const [saving, { state, waiting, reason }] =
      told.find(([, each]) => each.state === "failed") ?? told.find(([, each]) => each.state === "saving") ?? told[0];
    if (state === "saved") this.#state("saved", "All changes saved");
    else if (state === "saving") this.#state("saving", waiting > 1 ? `Saving ${changes(waiting)}…` : "Saving…");
    else this.#failed(saving, waiting, reason);
  }

  #state(state, words) {
    this.line.className = `saved ${state}`;
    this.line.replaceChildren(el("span", {}, words));
  }

  #failed(saving, waiting, reason) {
    this.#state("failed", `${changes(waiting)} not saved: ${reason}`);
    this.line.append(el("button", { type: "button", class: "small", onclick: () => saving.retry() }, "Retry"));
    this.spoken.textContent = `${changes(waiting)} not saved: ${reason}`;
  }

  idle() {
    const waits = [...this.queues.values()].some((each) => each.state !== "saved");
    this.line.hidden = !waits;
  }

  /** Something to know now. */
  say(words) {
    this.spoken.textContent = words;
    const note = this.#note("note", words);
    setTimeout(() => note.remove(), PASSES_MS);
  }

  /** Something that stays until it was read. */
  warn(words) {
    this.spoken.textContent = words;
    this.#note("note warning", words);
  }

  #note(kind, words) {
    for (const old of [...this.notes.children]) if (old.firstChild.textContent === words) old.remove();
    while (this.notes.children.length > 2) this.notes.firstChild.remove();
    const note = el(
      "div",
      { class: kind },
      el("span", {}, words),
      el("button", { type: "button", class: "small", "aria-label": "Dismiss", onclick: () => note.remove() }, "×"),
    );
    this.notes.append(note);
    return note;
  }
}
