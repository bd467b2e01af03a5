/** The stretch of time that the timeline shows, and where it lies on the screen. */

/** Least stretch, in usual frame durations. */
const LEAST_FRAMES = 12;

export class View {
  constructor(timebase, { gutter, right }) {
    this.timebase = timebase;
    this.gutter = gutter;
    this.right = right;
    this.width = 600;
    this.from = timebase.first_s;
    this.to = timebase.end_s;
  }

  /** Width of the plots, CSS pixels. */
  get plot() {
    return Math.max(this.width - this.gutter - this.right, 50);
  }

  get span() {
    return this.to - this.from;
  }

  get pixelsPerSecond() {
    return this.plot / this.span;
  }

  /** Pixels from the left of the plots. */
  x(seconds) {
    return (seconds - this.from) * this.pixelsPerSecond;
  }

  seconds(x) {
    return this.from + x / this.pixelsPerSecond;
  }

  set(from, to) {
    const whole = this.timebase.end_s - this.timebase.first_s;
    const span = Math.min(Math.max(to - from, LEAST_FRAMES * this.timebase.usual_s), whole);
    const middle = (from + to) / 2;
    this.from = Math.min(Math.max(middle - span / 2, this.timebase.first_s), this.timebase.end_s - span);
    this.to = this.from + span;
  }

  /** Zooms by a factor; what lies at ``seconds`` stays where it is. */
  zoom(factor, seconds) {
    const part = (seconds - this.from) / this.span;
    const span = Math.min(
      Math.max(this.span * factor, LEAST_FRAMES * this.timebase.usual_s),
      this.timebase.end_s - this.timebase.first_s,
    );
    this.set(seconds - part * span, seconds + (1 - part) * span);
  }

  pan(seconds) {
    this.set(this.from + seconds, this.to + seconds);
  }

  /** Indices of the frames that are seen: first, and the one after the last. */
  get indices() {
    const first = Math.max(this.timebase.at(this.from) - 2, 0);
    const after = Math.min(this.timebase.at(this.to) + 1, this.timebase.frames);
    return [first, after];
  }
}
