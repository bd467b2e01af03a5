/** Edges and events that follow the pointer, new ones that are drawn or marked: a draft until they are let go. */

import * as editing from "./editing.js";

export function dragging(page) {
  const { timeline, player, layer, commands } = page;
  const length = page.timebase.frames;

  function edited(event, edges) {
    return "by" in edges ? editing.shift([event], edges.by, length) : editing.setEdges(event, edges, length);
  }

  timeline.on("drag", ({ event, edges, done }) => {
    const now = layer.get(event.key) ?? event;
    const edit = edited(now, edges);
    const after = edit?.changes[0].after;
    timeline.draft = done || !after ? null : { ...now, ...after, verdict: now.verdict };
    const frame = "offset" in edges ? after?.offset_frame : after?.onset_frame;
    if (frame) player.step(frame - player.frame);
    if (done && edit) commands.send(edit);
    timeline.draw();
  });

  timeline.on("draw", ({ onset, offset, at, done }) => {
    timeline.draft = done ? null : draft(onset, offset);
    player.step(at - player.frame);
    if (done) commands.add(onset, offset);
    timeline.draw();
  });

  timeline.on("released", () => {
    timeline.draft = null;
    timeline.draw();
  });

  const draft = (onset, offset) => ({
    key: "draft",
    onset_frame: onset,
    offset_frame: offset,
    apex_frame: null,
    label: "new",
    verdict: "accepted",
  });

  /** An event that is being marked grows with the picture. */
  page.showMark = (onset) => {
    document.documentElement.classList.toggle("marking", onset !== null);
    timeline.draft = onset === null ? null : draft(onset, player.frame);
    timeline.draw();
  };
  player.on("frame", (frame) => {
    const marked = commands.marked();
    if (marked === null) return;
    timeline.draft = draft(Math.min(marked, frame), Math.max(marked, frame));
    timeline.draw();
  });
}
