/** One recording as the server tells it: facts, timestamps, series, layers. */

import { get, getSeries } from "./api.js";
import { Timebase } from "./timebase.js";

/** Series that are loaded at a time in the background. */
const AT_ONCE = 2;

export const pathOf = (rid) => `/api/recordings/${rid}`;

/** Facts, timestamps and scores: what has to be there before anything is shown. */
export async function loadRecording(rid) {
  const path = pathOf(rid);
  const [rec, time_s] = await Promise.all([get(path), getSeries(rid, "time_s")]);
  rec.path = path;
  rec.labels ??= [];
  const wanted = ["spot_score", ...rec.classes.map((name) => `p_${name}`)].filter((name) => rec.series.includes(name));
  const values = await Promise.all(wanted.map((name) => getSeries(rid, name)));
  return {
    rec,
    timebase: new Timebase(time_s),
    series: Object.fromEntries(wanted.map((name, i) => [name, values[i]])),
  };
}

/**
 * A series of each region, in their order: ``movement`` (how far it is from where it usually is at that time) or
 * ``quality``; empty where there is none.
 */
export async function loadRegions(rec, kind) {
  const names = rec.regions.map((region) => `${kind}/${region}`);
  if (!names.every((name) => rec.series.includes(name))) return [];
  const values = new Array(names.length);
  let next = 0;
  const worker = async () => {
    while (next < names.length) {
      const at = next;
      next += 1;
      values[at] = await getSeries(rec.id, names[at]);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return values;
}

/** Layers beside the one that is worked on, as lanes of the timeline; in an adjudication the coder's own is one of them. */
export async function loadLayers(rec, { shown, coder }) {
  const layers = (await get(`${rec.path}/layers`)).filter((each) => each.name !== shown);
  if (shown !== coder) {
    const { events } = await get(`${rec.path}/review`);
    layers.unshift({ name: coder, events: events.filter((event) => event.verdict === "accepted") });
  }
  const byTime = (a, b) => a.onset_frame - b.onset_frame;
  return layers
    .filter((each) => each.events.length)
    .map(({ name, events }) => ({
      name,
      own: false,
      events: events.map((event) => ({ ...event, verdict: "accepted" })).sort(byTime),
    }));
}
