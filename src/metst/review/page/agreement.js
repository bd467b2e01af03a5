/** How far two layers agree, and the way to decide where they do not. */

import { get, post, Refused } from "./api.js";
import { byId, el } from "./dom.js";
import { apart, share } from "./words.js";

const KAPPA = "Cohen’s kappa: 1 is full agreement, 0 as much as by chance";
const FIGURES = [
  ["kappa", "kappa, events", KAPPA],
  ["kappa_frames", "kappa, frames", KAPPA],
  ["alpha", "alpha, frames", "Krippendorff’s alpha: 1 is full agreement, 0 as much as by chance"],
  ["f1", "events in common", "F1: share of the events of both that the other one has as well"],
  ["f1_labelled", "with the same class", "F1 of events that have the same class as well"],
  ["mean_iou", "overlap", "mean intersection over union of matched events"],
];

const signed = (value) => value.toFixed(1).replace("-", "−");

export async function openAgreement({ rid, session: asked, status, wanted }) {
  const path = `/api/recordings/${rid}`;
  const [session, rec] = await Promise.all([asked, get(path)]);
  if (!wanted()) return null;
  const seen = rec.layers.filter((each) => each.visible || each.mine);
  const hidden = rec.layers.filter((each) => !each.visible && !each.mine);
  const others = seen.filter((each) => !each.mine);
  const released = rec.layers.some((each) => each.name === session.coder && each.released);
  const first = others.find((each) => each.kind === "coder") ?? others[0];
  const select = (words, chosen) =>
    el(
      "select",
      { "aria-label": words, onchange: () => show() },
      seen.map((each) => el("option", { value: each.name, selected: each.name === chosen }, each.name)),
    );
  const [a, b] = [select("First layer", session.coder), select("Second layer", first?.name)];
  const result = el("div", { class: "agreement", "aria-live": "polite" });
  byId("bar").replaceChildren(
    el("h1", { title: rec.name }, `Agreement – ${rec.name}`),
    el("a", { class: "link", href: `#/r/${rid}` }, "‹ Back to the review"),
  );
  document.title = `Agreement – ${rec.name} – metst review`;
  const blind = hidden.length
    ? el(
        "p",
        { class: "blind" },
        el("strong", {}, "Coded blind: "),
        `${hidden.map((each) => apart(each.name)).join(", ")} can be seen and compared once both that layer and yours are released.`,
      )
    : null;
  const body =
    others.length && seen.length > 1
      ? [el("p", { class: "choose" }, a, " against ", b), result]
      : [
          el(
            "div",
            { class: "trouble quiet" },
            el("h2", {}, "Nothing to compare yet"),
            el(
              "p",
              {},
              "Agreement is told between two layers that you may see: yours, the machine’s, imported ones, and those of coders who have released theirs, once yours is released as well.",
            ),
          ),
        ];
  byId("main").replaceChildren(el("div", { class: "page" }, blind, body));
  if (others.length) await show();

  async function show() {
    if (a.value === b.value) {
      result.replaceChildren(el("p", { class: "empty" }, "Choose two different layers."));
      return;
    }
    try {
      const told = await get(`${path}/agreement?a=${encodeURIComponent(a.value)}&b=${encodeURIComponent(b.value)}`);
      result.replaceChildren(figures(told), counts(told), edges(told), confusion(told), adjudicate(told));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      result.replaceChildren(el("p", { class: "trouble" }, error.message));
    }
  }

  function figures(told) {
    return el(
      "dl",
      { class: "figures" },
      FIGURES.filter(([name]) => name in told).map(([name, words, title]) =>
        el("div", { title }, el("dt", {}, words), el("dd", { "data-figure": name }, share(told[name]))),
      ),
    );
  }

  function counts(told) {
    return el(
      "p",
      { class: "counts" },
      `${told.matched} events in both (IoU of ${told.iou} or more), ${told.agreed} of them of one class; ${told.only_a} only of ${apart(a.value)}, ${told.only_b} only of ${apart(b.value)}; ${told.frames.toLocaleString("en")} frames compared.`,
    );
  }

  function edges(told) {
    const row = (edge) => {
      const { frames, seconds, pairs } = told[edge];
      if (!frames) return el("tr", {}, el("th", { scope: "row" }, edge), el("td", { colSpan: 4 }, "no pairs"));
      const values = [
        signed(frames.median),
        `${signed(frames.lower_quartile)} to ${signed(frames.upper_quartile)}`,
        frames.mean_absolute.toFixed(1),
        seconds ? `${Math.round(1000 * seconds.mean_absolute)} ms` : "–",
      ];
      return el(
        "tr",
        {},
        el("th", { scope: "row", title: `${pairs} pairs` }, edge),
        values.map((value) => el("td", {}, value)),
      );
    };
    const head = ["", "median, frames", "middle half", "mean absolute", "the same in time"].map((title) =>
      el("th", { scope: "col" }, title),
    );
    return el(
      "section",
      { class: "card" },
      el("h2", {}, "Edges"),
      el("p", { class: "hint" }, `How much later ${apart(b.value)} puts them than ${apart(a.value)}.`),
      el(
        "table",
        { class: "plain" },
        el("thead", {}, el("tr", {}, head)),
        el("tbody", {}, ["onset", "apex", "offset"].map(row)),
      ),
    );
  }

  function confusion(told) {
    const most = Math.max(1, ...told.confusion.flat());
    const cell = (value, i, j) => {
      const made = el("td", { class: i === j ? "same" : value ? "other" : "" }, value ? String(value) : "·");
      made.style.setProperty("--share", String(value / most));
      return made;
    };
    const head = el(
      "tr",
      {},
      el("th", {}, `${apart(a.value)} ↓  ${apart(b.value)} →`),
      told.labels.map((name) => el("th", { scope: "col" }, name)),
    );
    const rows = told.confusion.map((row, i) =>
      el(
        "tr",
        {},
        el("th", { scope: "row" }, told.labels[i]),
        row.map((value, j) => cell(value, i, j)),
      ),
    );
    return el(
      "section",
      { class: "card" },
      el("h2", {}, "Classes"),
      el(
        "div",
        { class: "scroll" },
        el("table", { class: "plain confusion" }, el("thead", {}, head), el("tbody", {}, rows)),
      ),
    );
  }

  function adjudicate(told) {
    const undecided = told.events_a + told.events_b - told.matched - told.agreed;
    const words = undecided ? `${undecided} disagreements: each needs one decision.` : "There are no disagreements.";
    const run = async () => {
      try {
        const { layer } = await post(`${path}/adjudication`, { a: a.value, b: b.value });
        location.hash = `#/r/${rid}/${encodeURIComponent(layer)}`;
      } catch (error) {
        status.warn(error.message);
      }
    };
    return el(
      "section",
      { class: "card" },
      el("h2", {}, "Adjudication"),
      el(
        "p",
        {},
        `${words} What agrees is accepted with the mean edges; the rest is a list to decide, in a layer of its own that keeps what both said.`,
      ),
      el("button", { type: "button", class: "yes", disabled: !released, onclick: run }, "Decide the disagreements"),
      !released &&
        el(
          "p",
          { class: "hint" },
          "Release your layer first (in the review: Layer, Release…): nobody decides before having judged alone.",
        ),
    );
  }

  return { close() {} };
}
