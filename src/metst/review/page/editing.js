/** What a coder does to events, as changes that are sent: pure functions, each gives {what, changes} or null. */

import { valueOf } from "./layer.js";

const EDGES = { onset: "onset_frame", apex: "apex_frame", offset: "offset_frame" };

const named = (events) => (events.length === 1 ? "" : ` of ${events.length} events`);
const frames = (number) => (number === 1 ? "one frame" : `${number} frames`);

/** Onset before offset, both in the recording, the apex between them. */
export function within({ onset_frame, apex_frame, offset_frame }, length) {
  const onset = Math.min(Math.max(onset_frame, 1), length);
  const offset = Math.min(Math.max(offset_frame, onset), length);
  const apex = apex_frame === null ? null : Math.min(Math.max(apex_frame, onset), offset);
  return { onset_frame: onset, apex_frame: apex, offset_frame: offset };
}

function change(event, values) {
  const after = { ...valueOf(event), ...values };
  // whoever corrects a candidate that nobody judged yet says that there is one
  const corrected = !("verdict" in values) && event.verdict === "open";
  if (corrected) after.verdict = "accepted";
  return { key: event.key, after, corrected };
}

const same = (event, values) =>
  Object.entries(values).every(([name, value]) => JSON.stringify(event[name]) === JSON.stringify(value));

function all(events, what, valuesOf) {
  const changes = events.map((event) => [event, valuesOf(event)]).filter(([event, values]) => !same(event, values));
  return changes.length ? { what, changes: changes.map(([event, values]) => change(event, values)) } : null;
}

const VERDICT_WORDS = { accepted: "accept", rejected: "reject", open: "put back to review" };

/** What a coder added has nothing to be judged against: rejected, it goes. */
export function judge(events, verdict) {
  if (verdict === "rejected") return remove(events, VERDICT_WORDS.rejected);
  return all(
    events.filter((event) => event.proposals?.length),
    `${VERDICT_WORDS[verdict]}${named(events)}`,
    () => ({ verdict }),
  );
}

/** Makes an event what one of its proposals says. */
export function take(event, proposal) {
  const { by, ...values } = proposal;
  return all([event], `as ${by} says`, () => ({ ...values, verdict: "accepted" }));
}

export const relabel = (events, label) => all(events, `label ${label}${named(events)}`, () => ({ label }));

/** A note judges nothing. */
export function annotate(events, note) {
  return all(events, `${note ? "note" : "remove note"}${named(events)}`, (event) => ({ note, verdict: event.verdict }));
}

export function codeUnits(events, units) {
  return all(events, `action units ${units.join(" ") || "none"}${named(events)}`, () => ({ action_units: units }));
}

/** Sets one or several edges of an event; those it would overtake go with it. */
export function setEdges(event, edges, length, what) {
  const wanted = { onset_frame: event.onset_frame, apex_frame: event.apex_frame, offset_frame: event.offset_frame };
  for (const [edge, frame] of Object.entries(edges)) wanted[EDGES[edge]] = frame;
  if ("onset" in edges && !("offset" in edges)) wanted.onset_frame = Math.min(wanted.onset_frame, event.offset_frame);
  if ("offset" in edges && !("onset" in edges)) wanted.offset_frame = Math.max(wanted.offset_frame, event.onset_frame);
  return all(
    [event],
    what ??
      Object.entries(edges)
        .map(([edge, frame]) => `${edge} to frame ${frame}`)
        .join(", "),
    () => within(wanted, length),
  );
}

export function nudge(events, edge, by, length) {
  const what = `${edge}${named(events)} ${frames(Math.abs(by))} ${by < 0 ? "earlier" : "later"}`;
  const made = events.map((event) => {
    const at = event[EDGES[edge]] ?? Math.round((event.onset_frame + event.offset_frame) / 2);
    return setEdges(event, { [edge]: at + by }, length, what);
  });
  const changes = made.flatMap((each) => each?.changes ?? []);
  return changes.length ? { what, changes } : null;
}

/** Moves whole events; all stop where the first one meets an end of the recording. */
export function shift(events, by, length) {
  const most = length - Math.max(...events.map((event) => event.offset_frame));
  const least = 1 - Math.min(...events.map((event) => event.onset_frame));
  const step = Math.min(Math.max(by, least), most);
  const what = `move${named(events)} by ${frames(Math.abs(step))} ${step < 0 ? "earlier" : "later"}`;
  return step === 0
    ? null
    : all(events, what, (event) => ({
        onset_frame: event.onset_frame + step,
        offset_frame: event.offset_frame + step,
        apex_frame: event.apex_frame === null ? null : event.apex_frame + step,
      }));
}

const heirs = (events) => ({
  from: events.map((event) => event.key),
  proposals: Object.fromEntries(events.map((event) => [event.key, event.proposals ?? []])),
});

/** Two events, the second beginning with ``frame``; null where the frame does not part the event. */
export function split(event, frame) {
  if (frame <= event.onset_frame || frame > event.offset_frame) return null;
  const half = (values) => {
    const inside =
      event.apex_frame !== null && event.apex_frame >= values.onset_frame && event.apex_frame <= values.offset_frame;
    return {
      key: null,
      after: { ...valueOf(event), ...values, apex_frame: inside ? event.apex_frame : null, verdict: "accepted" },
      ...heirs([event]),
    };
  };
  const first = half({ onset_frame: event.onset_frame, offset_frame: frame - 1 });
  const second = half({ onset_frame: frame, offset_frame: event.offset_frame });
  return { what: `split at frame ${frame}`, changes: [{ key: event.key, after: null }, first, second] };
}

/** One event from the first onset to the last offset; what the surest one says stays. */
export function merge(events) {
  if (events.length < 2) return null;
  const surest = events.reduce((best, event) => ((event.confidence ?? -1) > (best.confidence ?? -1) ? event : best));
  const after = {
    ...valueOf(surest),
    verdict: "accepted",
    onset_frame: Math.min(...events.map((event) => event.onset_frame)),
    offset_frame: Math.max(...events.map((event) => event.offset_frame)),
    action_units: [...new Set(events.flatMap((event) => event.action_units))],
    note: [...new Set(events.map((event) => event.note).filter(Boolean))].join("; "),
  };
  const removed = events.map((event) => ({ key: event.key, after: null }));
  return { what: `merge ${events.length} events`, changes: [...removed, { key: null, after, ...heirs(events) }] };
}

export function add(values, length, what = "add event") {
  const after = { apex_frame: null, confidence: null, action_units: [], note: "", verdict: "accepted", ...values };
  return { what, changes: [{ key: null, after: { ...after, ...within(after, length) } }] };
}

/** Takes away what coders added; what the machine or another layer proposed is rejected, and kept. */
export function remove(events, words = "remove") {
  const changes = events.flatMap((event) => {
    if (!event.proposals?.length) return [{ key: event.key, after: null }];
    return event.verdict === "rejected" ? [] : [change(event, { verdict: "rejected" })];
  });
  return changes.length ? { what: `${words}${named(events)}`, changes } : null;
}

/** Events that were copied, the first one beginning with ``frame``. */
export function paste(copied, frame, length) {
  const first = Math.min(...copied.map((event) => event.onset_frame));
  const changes = copied.flatMap((event) => {
    const by = frame - first;
    const moved = {
      ...valueOf(event),
      confidence: null,
      onset_frame: event.onset_frame + by,
      offset_frame: event.offset_frame + by,
    };
    moved.apex_frame = event.apex_frame === null ? null : event.apex_frame + by;
    return moved.onset_frame > length ? [] : add(moved, length).changes;
  });
  return changes.length
    ? { what: `paste ${changes.length === 1 ? "event" : `${changes.length} events`}`, changes }
    : null;
}

/** Label and action units of one event, given to others. */
export const pasteValues = (copied, events) =>
  all(events, `paste label and action units${named(events)}`, () => ({
    label: copied.label,
    action_units: [...copied.action_units],
  }));
