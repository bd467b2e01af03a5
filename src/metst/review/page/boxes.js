/** Events as boxes, a lane per layer: outline to review, filled accepted, struck out rejected. */

import { colours } from "./colours.js";
import { VERDICT_SIGNS } from "./words.js";

const OWN_HEIGHT = 34;
const OTHER_HEIGHT = 20;
const GAP = 4;
/** What is narrower is drawn as a mark, one per column of the screen. */
const LEAST_PX = 3;
/** Reach of an edge for the pointer, pixels. */
const GRIP_PX = 6;

export class Boxes {
  constructor({ view, timebase, classes }) {
    this.view = view;
    this.timebase = timebase;
    this.classes = classes;
    this.lanes = [];
  }

  /** ``lanes``: [{name, own, events}], events in the order of time. */
  set(lanes) {
    let top = 0;
    this.lanes = lanes.map((lane) => {
      const height = lane.own ? OWN_HEIGHT : OTHER_HEIGHT;
      let longest = 0;
      for (const event of lane.events) longest = Math.max(longest, event.offset_frame - event.onset_frame);
      const made = { ...lane, top, height, longest };
      top += height + GAP;
      return made;
    });
    this.height = Math.max(top, OWN_HEIGHT);
  }

  #place(event) {
    return [this.view.x(this.timebase.start(event.onset_frame)), this.view.x(this.timebase.stop(event.offset_frame))];
  }

  /** Index of the first event that may be seen. */
  #first(lane, frame) {
    let [low, high] = [0, lane.events.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (lane.events[middle].onset_frame < frame - lane.longest) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  draw(context, selection) {
    const { view } = this;
    const [first, after] = view.indices;
    for (const lane of this.lanes) {
      context.fillStyle = colours.lane;
      context.fillRect(view.gutter, lane.top, view.plot, lane.height);
      context.save();
      context.beginPath();
      context.rect(view.gutter, lane.top - 2, view.plot, lane.height + 4);
      context.clip();
      context.translate(view.gutter, 0);
      const marked = new Set();
      const chosen = [];
      for (let i = this.#first(lane, first + 1); i < lane.events.length; i += 1) {
        const event = lane.events[i];
        if (event.onset_frame > after) break;
        if (event.offset_frame < first + 1) continue;
        if (lane.own && selection.has(event.key)) chosen.push(event);
        else this.#drawOne(context, lane, event, marked);
      }
      for (const event of chosen) this.#drawOne(context, lane, event, null);
      context.restore();
    }
  }

  #drawOne(context, lane, event, marked) {
    let [left, right] = this.#place(event);
    if (marked && right - left < LEAST_PX && marked.has(Math.round(left))) return;
    const colour = event.verdict === "rejected" ? colours.muted : colours.classes[this.classes.of(event.label)];
    if (marked && right - left < LEAST_PX) {
      const column = Math.round(left);
      marked.add(column).add(column + 1);
      context.fillStyle = colour;
      context.globalAlpha = event.verdict === "accepted" ? 1 : 0.55;
      context.fillRect(column, lane.top + 3, 2, lane.height - 6);
      context.globalAlpha = 1;
      return;
    }
    left = Math.round(left) + 0.5;
    right = Math.max(Math.round(right) - 0.5, left + 2);
    const [top, height] = [lane.top + 2.5, lane.height - 5];
    context.fillStyle = colour;
    context.globalAlpha = event.verdict === "accepted" ? 0.85 : event.verdict === "open" ? 0.18 : 0.06;
    context.fillRect(left, top, right - left, height);
    context.globalAlpha = 1;
    context.strokeStyle = colour;
    context.lineWidth = 1.5;
    context.setLineDash(event.verdict === "rejected" ? [3, 3] : []);
    context.strokeRect(left, top, right - left, height);
    context.setLineDash([]);
    if (event.verdict === "rejected") this.#line(context, left, top + height, right, top);
    this.#drawApex(context, lane, event, left);
    if (!marked) this.#drawChosen(context, { left, right, top, height });
    if (right - left > 20) this.#drawWords(context, lane, event, { left, right });
  }

  #line(context, x0, y0, x1, y1) {
    context.beginPath();
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
    context.stroke();
  }

  #drawApex(context, lane, event, left) {
    if (event.apex_frame === null || !lane.own) return;
    const x = Math.round(this.view.x(this.timebase.start(event.apex_frame) + this.timebase.usual_s / 2)) + 0.5;
    if (x - left < 3) return;
    const bottom = lane.top + lane.height - 3;
    context.fillStyle = event.verdict === "accepted" ? colours.surface : context.strokeStyle;
    context.beginPath();
    context.moveTo(x - 4, bottom);
    context.lineTo(x + 4, bottom);
    context.lineTo(x, bottom - 6);
    context.fill();
  }

  #drawChosen(context, { left, right, top, height }) {
    context.strokeStyle = colours.accent;
    context.lineWidth = 2;
    context.strokeRect(left - 1, top - 1, right - left + 2, height + 2);
    context.fillStyle = colours.accent;
    for (const x of [left - 2, right - 2]) context.fillRect(x, top + height / 2 - 7, 4, 14);
  }

  #drawWords(context, lane, event, { left, right }) {
    const sign = lane.own && right - left > 40 ? `${VERDICT_SIGNS[event.verdict]} ` : "";
    context.save();
    context.beginPath();
    context.rect(left + 2, lane.top, right - left - 4, lane.height);
    context.clip();
    context.font = colours.font;
    context.textBaseline = "middle";
    context.fillStyle = event.verdict === "accepted" ? colours.surface : colours.ink;
    const words = `${sign}${this.classes.shape(event.label)} ${event.label}`;
    context.fillText(words, left + 5, lane.top + (lane.own ? 13 : lane.height / 2));
    context.restore();
  }

  laneAt(y) {
    return this.lanes.find((lane) => y >= lane.top - 1 && y < lane.top + lane.height + 1);
  }

  /** What lies under the pointer, ``x`` from the left of the plots: {lane, event, part: onset | offset | whole}. */
  hit(x, y, selection) {
    const lane = this.laneAt(y);
    if (!lane) return null;
    let best = null;
    const frame = this.timebase.at(this.view.seconds(x));
    const reach = Math.ceil(GRIP_PX / Math.max(this.view.pixelsPerSecond * this.timebase.usual_s, 1e-6));
    for (let i = this.#first(lane, frame - reach); i < lane.events.length; i += 1) {
      const event = lane.events[i];
      if (event.onset_frame > frame + reach) break;
      const [left, right] = this.#place(event);
      if (x < left - GRIP_PX || x > right + GRIP_PX) continue;
      const roomy = right - left > 3 * GRIP_PX;
      const part =
        Math.abs(x - left) <= GRIP_PX && (roomy || x < left)
          ? "onset"
          : Math.abs(x - right) <= GRIP_PX && (roomy || x > right)
            ? "offset"
            : "whole";
      const rank = (selection.has(event.key) ? -1e9 : 0) + (part === "whole" ? 0 : 1e6) + (right - left);
      if (!best || rank < best.rank) best = { lane, event, part, rank };
    }
    return best ?? { lane, event: null, part: null };
  }
}
