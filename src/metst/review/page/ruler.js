/** The axis of time above the curves: round steps, frames where they are wide enough to be told apart. */

import { colours } from "./colours.js";
import { clock } from "./words.js";

export const RULER_PX = 22;
const STEPS_S = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600];
/** Least room of a label, and of a frame that gets a mark, pixels. */
const LABEL_PX = 84;
const FRAME_PX = 7;

export function drawRuler(context, view, timebase) {
  const step = STEPS_S.find((each) => each * view.pixelsPerSecond >= LABEL_PX) ?? STEPS_S.at(-1);
  const decimals = step < 0.1 ? 2 : step < 1 ? 1 : 0;
  context.save();
  context.beginPath();
  context.rect(view.gutter, 0, view.plot + view.right, RULER_PX);
  context.clip();
  context.translate(view.gutter, 0);
  context.font = colours.font;
  context.textBaseline = "middle";
  context.fillStyle = colours.muted;
  context.strokeStyle = colours.line;
  context.lineWidth = 1;
  if (view.pixelsPerSecond * timebase.usual_s >= FRAME_PX) {
    const [first, after] = view.indices;
    for (let i = first; i < after; i += 1) mark(context, view.x(timebase.start(i + 1)), RULER_PX - 4);
  }
  for (let i = Math.ceil(view.from / step); i * step <= view.to; i += 1) {
    const x = view.x(i * step);
    mark(context, x, RULER_PX - 9);
    context.fillText(clock(i * step, decimals), x + 4, 9);
  }
  context.restore();
}

function mark(context, x, top) {
  context.beginPath();
  context.moveTo(Math.round(x) + 0.5, top);
  context.lineTo(Math.round(x) + 0.5, RULER_PX);
  context.stroke();
}
