/** Dialogs: the keys, what showing faces means, questions. */

import { el } from "./dom.js";
import { KEYS } from "./keys.js";

function open(dialog) {
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.showModal();
  return dialog;
}

const keyed = (name) =>
  el(
    "span",
    { class: "keys" },
    name.split(" ").map((each) => el("kbd", {}, each)),
  );

export function showKeys() {
  const groups = KEYS.map(([title, rows]) =>
    el(
      "section",
      {},
      el("h3", {}, title),
      el(
        "dl",
        {},
        rows.map(([keys, words]) => {
          const faces = keys.length > 4 ? [keyed(keys[0]), " to ", keyed(keys.at(-1))] : keys.map(keyed);
          return el("div", {}, el("dt", {}, faces), el("dd", {}, words));
        }),
      ),
    ),
  );
  const mouse = el(
    "section",
    {},
    el("h3", {}, "Pointer"),
    el(
      "dl",
      {},
      [
        ["wheel", "zoom the timeline; with Shift: move it"],
        ["drag", "move the timeline; on the ruler: the picture"],
        ["drag an edge", "onset or offset, frame by frame, the picture goes with it"],
        ["drag an event", "move it"],
        ["Shift drag", "in your lane: a new event; Esc leaves all as it was"],
        ["double click", "zoom to the event"],
        ["Ctrl click", "choose several, in the table or the timeline"],
      ].map(([what, words]) => el("div", {}, el("dt", {}, what), el("dd", {}, words))),
    ),
  );
  const close = el("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Close");
  const dialog = el(
    "dialog",
    { class: "help", "aria-label": "Keys" },
    el("header", {}, el("h2", {}, "Keys"), close),
    el("div", { class: "groups" }, groups, mouse),
  );
  return open(dialog);
}

/** Asks; resolves to the value of the button that was pressed, or null. */
export function ask(title, paragraphs, choices) {
  return new Promise((resolve) => {
    const buttons = choices.map(({ words, value, kind }) =>
      el("button", { type: "button", class: kind ?? "", onclick: () => dialog.close(value) }, words),
    );
    const dialog = el(
      "dialog",
      { class: "question", "aria-label": title },
      el("h2", {}, title),
      paragraphs.map((each) => el("p", {}, each)),
      el(
        "div",
        { class: "choices" },
        el("button", { type: "button", onclick: () => dialog.close("") }, choices.length ? "Cancel" : "Close"),
        buttons,
      ),
    );
    dialog.addEventListener("close", () => resolve(dialog.returnValue || null));
    open(dialog);
  });
}
