/** Numbers and classes as people read them. */

const MINUTE_S = 60;

/** Seconds as m:ss or h:mm:ss, with decimals. */
export function clock(time_s, decimals = 0) {
  const unit = 10 ** decimals;
  const ticks = Math.round(Math.max(0, time_s) * unit);
  const whole = Math.floor(ticks / unit);
  const seconds = String(whole % MINUTE_S).padStart(2, "0");
  const minutes = Math.floor(whole / MINUTE_S) % MINUTE_S;
  const hours = Math.floor(whole / MINUTE_S ** 2);
  const ending = decimals ? `.${String(ticks % unit).padStart(decimals, "0")}` : "";
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${seconds}${ending}` : `${minutes}:${seconds}${ending}`;
}

/** Latin letters, which turn nothing round. */
const LATIN = /^[ -\u024f]*$/;

/**
 * Text of people and files within a sentence: it does not turn round what stands beside it.
 *
 * Between two isolating characters (Unicode, annex 9); those that would end the isolation are left away.
 */
export const apart = (text) =>
  LATIN.test(text) ? text : `\u2068${String(text).replace(/[\u202a-\u202e\u2066-\u2069]/g, "")}\u2069`;

export const share = (value) => (value === null || value === undefined || Number.isNaN(value) ? "–" : value.toFixed(2));

export const percent = (value) => (value === null || value === undefined ? "–" : `${Math.round(100 * value)} %`);

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

/** When something was done, on this machine's clock; the day only when it is another one. */
export function moment(iso) {
  if (!iso) return "";
  const date = new Date(iso);
  const time = date.toLocaleTimeString("en-GB");
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString("en-CA")} ${time}`;
}

/** Shapes beside the colours: a class is told without seeing colours. */
const SHAPES = ["▼", "▲", "◆", "●", "■", "★", "✚", "⬟"];
const COLOURS = SHAPES.length;

/** How a label is drawn: its shape, and the number of its colour in the style sheet. */
export class Classes {
  constructor(classes, labels) {
    this.names = [...classes.filter((name) => name !== "neutral"), ...labels.filter((name) => !classes.includes(name))];
    this.index = new Map(this.names.map((name, i) => [name, i]));
  }

  /** Labels that a key chooses, in order. */
  get choices() {
    return this.names.slice(0, 9);
  }

  of(label) {
    const known = this.index.get(label);
    return known === undefined ? COLOURS - 1 : known % COLOURS;
  }

  shape(label) {
    return this.index.has(label) ? SHAPES[this.of(label)] : "○";
  }
}

export const VERDICTS = { open: "to review", accepted: "accepted", rejected: "rejected" };
export const VERDICT_SIGNS = { open: "○", accepted: "✓", rejected: "✕" };

/** What a candidate's nearness to even odds says: 0 where the machine does not know, 0.5 where it is sure. */
export const sureness = (event) =>
  event.confidence === null || event.confidence === undefined ? 1 : Math.abs(event.confidence - 0.5);
