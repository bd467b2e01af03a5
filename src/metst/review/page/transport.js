/** Under the picture: play, step, speed, frame number and time; what is said in place of a picture. */

import { get } from "./api.js";
import { button, el } from "./dom.js";
import { SPEEDS } from "./player.js";
import { clock } from "./words.js";

/** Between two looks at how far a quicker copy is; looks before it is known that there is none to be made. */
const LOOK_MS = 2000;
const LOOKS = 3;

const speedWords = (speed) => (speed >= 1 ? `${speed}×` : `1/${Math.round(1 / speed)}×`);

export function transport(page) {
  const { player, timebase, commands, rec } = page;
  const number = el("output", { class: "frame-number", "aria-label": "Frame" });
  const time = el("output", { class: "frame-time", "aria-label": "Time" });
  const tool = (words, key, run, label) => button(words, { key, run, kind: "tool", "aria-label": label });
  const play = tool("Play", "Space", () => commands.play(), "Play or pause");
  const loop = tool("Loop", "L", () => commands.loop(), "Loop the chosen event");
  const speed = el(
    "select",
    { class: "speed", "aria-label": "Speed", onchange: () => player.setSpeed(Number(speed.value)) },
    SPEEDS.map((each) => el("option", { value: String(each) }, speedWords(each))),
  );
  const jump = el("input", {
    class: "jump",
    type: "text",
    inputMode: "numeric",
    size: 7,
    placeholder: "go to frame",
    "aria-label": "Go to frame",
  });
  jump.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Escape") jump.blur();
    if (event.key !== "Enter") return;
    const frame = Number(jump.value);
    if (Number.isInteger(frame) && frame >= 1 && frame <= timebase.frames) player.step(frame - player.frame);
    else page.say(`Expected a frame from 1 to ${timebase.frames}, got “${jump.value}”.`);
    jump.value = "";
    jump.blur();
  });
  const problem = el("div", { class: "no-picture", hidden: true, role: "status" });
  page.facesNote = el("p", { class: "faces-note" });
  page.pictureHost.replaceChildren(
    el("div", { class: "stage" }, page.canvas, problem, page.facesNote),
    el(
      "div",
      { class: "transport" },
      el(
        "div",
        { class: "where" },
        el("span", { class: "unit" }, "frame"),
        number,
        el("span", { class: "of" }, `of ${timebase.frames}`),
        jump,
        (page.cutButton = button("Face", {
          run: () => commands.close(),
          kind: "tool small",
          title: "The face of the chosen event, or the whole picture (Shift Z)",
          "aria-pressed": "false",
        })),
        time,
      ),
      el(
        "div",
        { class: "tools" },
        tool("←", null, () => commands.step(-1), "One frame back"),
        play,
        tool("→", null, () => commands.step(1), "One frame on"),
        loop,
        speed,
        page.facesButton,
      ),
    ),
  );
  page.showFacesState();
  followCopy(page);

  function showNumber(frame) {
    number.textContent = String(frame);
    number.dataset.frame = frame;
    time.textContent = clock(timebase.start(frame), 3);
  }

  player.on("picture", (frame) => {
    problem.hidden = true;
    showNumber(frame);
    if (player.asked)
      document.dispatchEvent(
        new CustomEvent("metst:picture", { detail: { frame, ms: performance.now() - player.asked } }),
      );
    player.asked = 0;
  });
  // without pictures the number is that of the place on the timeline
  player.on("frame", (frame) => (!problem.hidden || rec.video.state !== "found") && showNumber(frame));
  player.on("playing", (playing) => {
    play.firstChild.textContent = playing ? "Pause" : "Play";
    loop.setAttribute("aria-pressed", String(Boolean(player.loop)));
    speed.value = String(player.speed);
  });
  player.on("problem", (error) => {
    player.shown = 0;
    problem.hidden = false;
    problem.replaceChildren(el("strong", {}, "No picture"), el("span", {}, error.message));
    showNumber(player.frame);
  });
  // a server that was away is there again
  page.saving.on("confirmed", () => {
    if (problem.hidden || page.pictures.missing) return;
    player.refresh();
    page.faces.forget();
  });
  speed.value = "1";
  showNumber(1);
}

/** Where seeking is slow the server makes a quicker copy of the recording: says how far it is until it is whole. */
function followCopy(page) {
  const note = el("p", { class: "copy-note", role: "status", hidden: true });
  page.pictureHost.querySelector(".stage").append(note);
  let looks = 0;
  const look = async () => {
    const { copy_progress: progress } = await get(`${page.rec.path}/video`, page.ending.signal);
    note.hidden = progress === null || progress >= 1;
    note.textContent = `Quicker copy of the recording: ${Math.floor(100 * (progress ?? 0))} %`;
    note.title = "Going from place to place is slow in this recording. Pictures are right meanwhile, and the same afterwards.";
    looks += 1;
    if (progress === null ? looks < LOOKS : progress < 1) wait();
  };
  const wait = () => {
    const timer = setTimeout(() => look().catch(() => (note.hidden = true)), LOOK_MS);
    page.ending.signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  };
  if (page.rec.video.state === "found") wait();
}
