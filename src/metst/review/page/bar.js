/** The line at the top of a review: whose layer, undo and redo, what may be done with the whole of it. */

import { get, newId, post, Refused, Unreachable } from "./api.js";
import { button, byId, el } from "./dom.js";
import { ask } from "./help.js";
import { loadLayers } from "./recording.js";
import { apart, moment } from "./words.js";

/** Until a request that nobody answered is sent once more. */
const AGAIN_MS = 1000;

export function bar(page) {
  const { rec, session, commands, layer } = page;
  const undo = button("Undo", { key: "Ctrl Z", run: () => commands.undo() });
  const redo = button("Redo", { key: "Ctrl Y", run: () => commands.redo() });
  const name = el("h1", { title: rec.name }, rec.name);
  const layers = el("select", {
    "aria-label": "Layer that you work on",
    onchange: () => (location.hash = `#/r/${rec.id}/${encodeURIComponent(layers.value)}`),
  });
  const mine = rec.layers.filter((each) => each.mine || (each.visible && each.kind === "adjudicated"));
  const current = page.layerName ?? layer.name ?? session.coder;
  for (const each of new Set([current, session.coder, ...mine.map((one) => one.name)]))
    layers.append(
      el("option", { value: each, selected: each === current }, each === session.coder ? `${each} (you)` : each),
    );
  const menu = el("details", { class: "menu" }, el("summary", {}, "Layer"), menuItems());
  byId("bar").replaceChildren(
    name,
    layers.options.length > 1
      ? layers
      : el(
          "span",
          { class: "coder" },
          session.with_machine ? `${current} (you)` : `${current} (you), without the machine`,
        ),
    undo,
    redo,
    el("a", { href: `#/r/${rec.id}/agreement`, class: "link" }, "Agreement"),
    menu,
  );
  document.title = `${rec.name} – metst review`;
  document.addEventListener("pointerdown", (event) => !menu.contains(event.target) && (menu.open = false), {
    signal: page.ending.signal,
  });

  function menuItems() {
    const item = (words, run) =>
      el(
        "button",
        {
          type: "button",
          onclick: () => {
            menu.open = false;
            run();
          },
        },
        words,
      );
    const formats = (session.formats ?? []).map((format) =>
      el(
        "a",
        {
          class: "format",
          download: "",
          onclick: (event) => {
            menu.open = false;
            if (page.saving.queue.length) event.preventDefault();
            page.say(page.saving.queue.length ? "Not all is saved yet." : "The browser keeps a file of accepted events.");
          },
          href: `${rec.path}/export?format=${encodeURIComponent(format)}${page.layerName ? `&layer=${encodeURIComponent(page.layerName)}` : ""}`,
        },
        format,
      ),
    );
    return el(
      "div",
      { class: "menu-body" },
      (page.releaseItem = item("", release)),
      item("Begin anew from…", begin),
      item("Begin from what two layers agree on…", beginAgreed),
      item("History", history),
      el("p", { class: "menu-title" }, "Export this layer as"),
      el("div", { class: "formats" }, formats),
    );
  }

  async function send(path, body, done) {
    try {
      await page.saving.settled();
      await sure(`${rec.path}/${path}`, page.layerName ? { ...body, layer: page.layerName } : body);
      layer.load(
        await get(`${rec.path}/review${page.layerName ? `?layer=${encodeURIComponent(page.layerName)}` : ""}`),
      );
      page.others = await loadLayers(rec, { shown: layer.name, coder: session.coder });
      layer.tell("change");
      page.status.say(done);
    } catch (error) {
      page.status.warn(error instanceof Refused ? error.message : `Not done: ${error.message}`);
    }
  }

  /** Asks once more where nobody answered, if the request has a name under which it is done once. */
  async function sure(path, body) {
    try {
      await post(path, body);
    } catch (error) {
      if (!(error instanceof Unreachable) || !body.id) throw error;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      await post(path, body);
    }
  }

  async function release() {
    if (layer.released) {
      await send("release", { id: newId(), released: false }, "The release is taken back: others do not see this layer any more.");
      return;
    }
    const { open } = layer.tally;
    const all = layer.events.length ? "All candidates are reviewed." : "There are no events in it.";
    const answer = await ask(
      "Release this layer?",
      [
        "Coders work blind: you see the layers of others, and they see yours, once both are released. Agreement is told then.",
        open
          ? `${open} candidates are still to review; they are no part of the layer.`
          : all,
      ],
      [{ words: "Release", value: "release", kind: "yes" }],
    );
    if (answer) await send("release", { id: newId(), released: true }, "Released.");
  }

  async function begin() {
    if (layer.undoText || layer.redoText) {
      page.status.warn("This layer has been edited already; only one without edits can begin from something else.");
      return;
    }
    const named = rec.layers
      .filter((each) => each.visible && !each.mine)
      .map((each) => ({ words: each.name, value: each.name }));
    const machine = session.with_machine ? [{ words: "the machine’s candidates", value: "machine" }] : [];
    const answer = await ask(
      "Begin this layer from",
      ["What it begins from stays beside what you say; it is never changed."],
      [...machine, ...named.filter((each) => each.value !== "machine"), { words: "nothing", value: "nothing" }],
    );
    if (!answer) return;
    const from = ["machine", "nothing"].includes(answer) ? answer : "layers";
    await send("begin", { from, layers: from === "layers" ? [answer] : [], agreed_only: false }, "Begun.");
  }

  /** A second round: in this layer while it is as it began, else in a new one, once the first is released. */
  async function beginAgreed() {
    const layers = (await get(rec.path)).layers;
    const anew = !layer.undoText && !layer.redoText && !layer.released && !layers.some(isAdjudication);
    if (!anew && !layers.some((each) => each.name === session.coder && each.released)) {
      page.status.warn("This layer has been edited: release it first; the second round then begins in a new layer.");
      return;
    }
    const names = layers
      .filter((each) => each.visible || (each.released && each.kind !== "machine"))
      .map((each) => each.name)
      .filter((name) => !anew || name !== layer.name);
    if (names.length < 2) {
      page.status.warn("There are no two layers to begin from: they are to be released first.");
      return;
    }
    const people = names.filter((name) => name !== "machine");
    const select = (words, chosen) =>
      el(
        "select",
        { "aria-label": words },
        names.map((name) => el("option", { value: name, selected: name === chosen }, name)),
      );
    const first = select("First layer", people[0]);
    const second = select("Second layer", people[1] ?? names.find((name) => name !== people[0]));
    const answer = await ask(
      "Begin from what two layers agree on",
      [
        el("span", { class: "choose" }, first, " and ", second),
        "Events of both, with the same class, are accepted with the mean of their edges; the rest is left out. The history says what a layer began from.",
        anew ? `This layer, ${apart(layer.name)}, begins anew.` : "It is a new layer of yours; this one stays as it is.",
      ],
      [{ words: "Begin", value: "begin", kind: "yes" }],
    );
    if (!answer) return;
    const body = { from: "layers", layers: [first.value, second.value], agreed_only: true };
    if (anew) {
      await send("begin", body, "Begun.");
      return;
    }
    try {
      const made = await post(`${rec.path}/begin`, { ...body, another_round: true });
      location.hash = `#/r/${rec.id}/${encodeURIComponent(made.layer)}`;
    } catch (error) {
      page.status.warn(error instanceof Refused ? error.message : `Not done: ${error.message}`);
    }
  }

  function isAdjudication(each) {
    return each.name === layer.name && each.kind === "adjudicated";
  }

  async function history() {
    const entries = await get(
      `${rec.path}/history${page.layerName ? `?layer=${encodeURIComponent(page.layerName)}` : ""}`,
    );
    const rows = entries
      .toReversed()
      .slice(0, 500)
      .map((each) =>
        el(
          "tr",
          { class: each.undone ? "undone" : "" },
          el("td", {}, String(each.number)),
          el("td", {}, each.what ?? each.kind),
          el("td", {}, each.by),
          el("td", {}, moment(each.at)),
          el("td", {}, each.undone ? "undone" : ""),
        ),
      );
    const head = ["", "what", "who", "when", ""].map((title) => el("th", { scope: "col" }, title));
    await ask(
      "History of this layer",
      [
        rows.length
          ? el(
              "div",
              { class: "scroll" },
              el("table", { class: "history" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)),
            )
          : "Nothing was changed yet.",
      ],
      [],
    );
  }

  page.showBar = () => {
    undo.disabled = !layer.undoText && !page.saving.queue.length;
    redo.disabled = !layer.redoText;
    undo.title = layer.undoText ? `Undo: ${layer.undoText}` : "Nothing to undo";
    redo.title = layer.redoText ? `Redo: ${layer.redoText}` : "Nothing to redo";
    page.releaseItem.textContent = layer.released ? "Take the release back" : "Release…";
  };
}
