/** The recordings: what is to review, what is analysed now, and the place to drop new ones. */

import { get, remove } from "./api.js";
import { byId, el } from "./dom.js";
import { showKeys } from "./help.js";
import { uploading } from "./uploads.js";
import { clock, count } from "./words.js";

const OFTEN_MS = 1000;
const SELDOM_MS = 5000;

const STATES = { waiting: "waits to be analysed", running: "is analysed", failed: "could not be analysed" };

export async function openRecordings({ session: asked, status, wanted }) {
  const session = await asked;
  if (!wanted()) return null;
  const list = el("ul", { class: "recordings", "aria-label": "Recordings" });
  const empty = el(
    "p",
    { class: "empty", hidden: true },
    session.uploads
      ? "No recordings yet: drop a video here, or choose one."
      : "No recordings here. Start with `metst review RESULTS` to open results.",
  );
  byId("bar").replaceChildren(el("h1", {}, "Recordings"), el("span", { class: "coder" }, `coder: ${session.coder}`));
  const main = byId("main");
  const ending = new AbortController();
  const drop = session.uploads ? uploading({ status, changed: () => refresh(), signal: ending.signal }) : null;
  const words = el(
    "p",
    { class: "honest" },
    "A movement candidate is a stretch in which regions of the face moved like a micro-expression of a class. It says nothing of what a person feels or means; you decide whether there is a movement.",
  );
  main.replaceChildren(el("div", { class: "page" }, drop, list, empty, words));
  document.title = "metst review";
  document.addEventListener("keydown", (event) => event.key === "?" && !document.querySelector("dialog") && showKeys(), {
    signal: ending.signal,
  });
  let timer;
  let shown = "";

  async function refresh() {
    clearTimeout(timer);
    let busy = false;
    try {
      const recordings = await get("/api/recordings", ending.signal);
      empty.hidden = recordings.length > 0;
      busy = recordings.some((each) => each.state === "waiting" || each.state === "running");
      const told = JSON.stringify(recordings);
      if (told !== shown) list.replaceChildren(...recordings.map(item));
      shown = told;
      document.documentElement.dataset.listed = String(recordings.length);
    } catch (error) {
      if (error.name === "AbortError") return;
      status.say(error.message);
    }
    if (!ending.signal.aborted) timer = setTimeout(refresh, busy ? OFTEN_MS : SELDOM_MS);
  }

  function item(each) {
    const length = each.frames ? `${clock(each.duration_s)} · ${count(each.frames, "frame")}` : "";
    const facts = el("span", { class: "facts" }, [length, VIDEO[each.video]].filter(Boolean).join(" · "));
    if (each.state === "ready")
      return el(
        "li",
        {},
        el(
          "a",
          { href: `#/r/${each.id}`, class: "recording" },
          el("span", { class: "name", title: each.name }, each.name),
          facts,
          ...reviewed(each),
        ),
      );
    const problem = each.state === "failed" ? each.problem : each.stage;
    const words = { waiting: "Take back", running: "Stop", failed: "Remove" };
    const stop = el("button", { type: "button", class: "small", onclick: () => take(each) }, words[each.state]);
    return el(
      "li",
      {},
      el(
        "div",
        { class: `recording ${each.state}` },
        el("span", { class: "name" }, each.name),
        el("span", { class: "facts" }, [STATES[each.state], problem].filter(Boolean).join(": ")),
        each.state === "running" &&
          el("progress", { max: 1, value: each.progress, "aria-label": "How far the analysis is" }),
        stop,
      ),
    );
  }

  function reviewed(each) {
    const { candidates, open, accepted, rejected, released } = each;
    const all = open + accepted + rejected;
    const handedOn = released ? " · released" : "";
    if (!all)
      return [
        el(
          "span",
          { class: "tally" },
          candidates === null ? "not begun" : count(candidates, "candidate"),
          el("small", {}, released ? "released" : candidates === 0 ? "" : "nothing reviewed yet"),
        ),
      ];
    const done = (accepted + rejected) / all;
    return [
      el(
        "span",
        { class: "tally" },
        `${open ? `${count(open, "candidate")} to review` : "all reviewed"}${handedOn}`,
        el("small", {}, ` ${accepted} accepted, ${rejected} rejected`),
      ),
      el("progress", { class: "done", max: 1, value: done, "aria-label": `reviewed ${Math.round(100 * done)} %` }),
    ];
  }

  async function take(each) {
    try {
      await remove(`/api/uploads/${each.id}`);
    } catch (error) {
      status.warn(error.message);
    }
    refresh();
  }

  refresh();
  return {
    close() {
      ending.abort();
      clearTimeout(timer);
      delete document.documentElement.dataset.listed;
    },
  };
}

const VIDEO = {
  found: "",
  missing: "video not found",
  changed: "the video is another one than was analysed",
  none: "no video",
};
