/**
 * Shows the recording: one frame, or one after the other by their timestamps.
 *
 * The number that is told is the one of the picture on the canvas; nothing is decoded here.
 */

import { Signal } from "./dom.js";

/** How fast, against the clock. */
export const SPEEDS = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2];
/** Pictures that are fetched ahead: when playing, and beside a frame that stands. */
const AHEAD = { playing: 24, standing: 6, behind: 3 };
/** Behind the clock by more than this, the clock waits, seconds. */
const LATE_S = 0.25;
/** Shown before and after an event that is looped, seconds. */
const AROUND_S = 0.3;

/** Tells ``frame`` (number of the frame asked for), ``picture`` (what is drawn), ``playing`` and ``problem``. */
export class Player extends Signal {
  constructor(canvas, { pictures, timebase }) {
    super();
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.pictures = pictures;
    this.timebase = timebase;
    this.frame = 1;
    this.shown = 0;
    this.playing = false;
    this.speed = 1;
    this.loop = null;
    this.direction = 1;
  }

  /** Goes to a frame; resolves when its picture, or that of a later wish, is drawn. */
  async seek(frame) {
    const target = this.timebase.clamp(frame);
    this.direction = target < this.frame ? -1 : 1;
    this.frame = target;
    this.#anchor();
    this.tell("frame", target);
    this.asked = performance.now();
    await this.#show(target);
  }

  step(by) {
    this.pause();
    return this.seek(this.frame + by);
  }

  /** Draws the picture of where it stands again: faces or size have changed. */
  refresh() {
    this.shown = 0;
    return this.#show(this.frame);
  }

  async #show(target) {
    if (this.shown === target) return;
    try {
      const picture = await this.pictures.take(target);
      if (this.frame === target) this.#draw(picture);
    } catch (error) {
      if (error.name !== "AbortError" && this.frame === target) this.tell("problem", error);
    }
    if (this.frame === target && !this.playing) this.#fetchAround();
  }

  #fetchAround() {
    const frames = [];
    for (let i = 1; i <= AHEAD.standing; i += 1) {
      frames.push(this.frame + i * this.direction);
      if (i <= AHEAD.behind) frames.push(this.frame - i * this.direction);
    }
    this.pictures.ahead(frames);
  }

  #draw({ bitmap, frame }) {
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
    }
    this.context.drawImage(bitmap, 0, 0);
    this.shown = frame;
    this.canvas.dataset.frame = frame;
    this.tell("picture", frame);
  }

  #anchor() {
    this.clock = { wall: performance.now(), time_s: this.timebase.start(this.frame) };
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  play() {
    if (this.playing) return;
    const [first, last] = this.#range();
    if (this.frame >= last || this.frame < first) this.frame = first;
    this.playing = true;
    this.direction = 1;
    this.#anchor();
    this.tell("playing", true);
    this.pictures.ahead(this.#coming(this.frame));
    requestAnimationFrame(() => this.#tick());
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    if (this.shown) this.frame = this.shown;
    this.tell("playing", false);
    this.tell("frame", this.frame);
    this.#fetchAround();
  }

  setSpeed(speed) {
    this.speed = speed;
    this.#anchor();
    this.tell("playing", this.playing);
  }

  faster(by) {
    const at = SPEEDS.indexOf(this.speed);
    this.setSpeed(SPEEDS[Math.min(Math.max(at + by, 0), SPEEDS.length - 1)]);
  }

  /** Plays an event again and again, with a little before and after it; null to end that. */
  setLoop(event) {
    this.loop = event && {
      key: event.key,
      first: this.timebase.at(this.timebase.start(event.onset_frame) - AROUND_S),
      last: this.timebase.at(this.timebase.stop(event.offset_frame) + AROUND_S),
    };
    this.tell("playing", this.playing);
  }

  /** Starts such a loop. */
  async playLoop(event) {
    this.pause();
    this.setLoop(event);
    await this.seek(this.loop.first);
    this.play();
  }

  #range() {
    return this.loop ? [this.loop.first, this.loop.last] : [1, this.timebase.frames];
  }

  #coming(frame) {
    const [first, last] = this.#range();
    const frames = [];
    for (let i = 1; i <= AHEAD.playing; i += 1) {
      const next = frame + i;
      if (next <= last) frames.push(next);
      else if (this.loop) frames.push(first + ((next - last - 1) % (last - first + 1)));
    }
    return frames;
  }

  #tick() {
    if (!this.playing) return;
    const [first, last] = this.#range();
    const time_s = this.clock.time_s + ((performance.now() - this.clock.wall) / 1000) * this.speed;
    let target = Math.max(this.timebase.at(time_s), this.frame);
    if (time_s >= this.timebase.stop(last)) {
      if (!this.loop) {
        this.pause();
        this.seek(last);
        return;
      }
      this.frame = first;
      this.#anchor();
      target = first;
    }
    this.#advance(Math.min(target, last));
    requestAnimationFrame(() => this.#tick());
  }

  /** Draws the newest picture that is there; where too few are, the clock waits. */
  #advance(target) {
    if (target === this.shown) return;
    let frame = target;
    while (frame > this.frame && !this.pictures.ready(frame)) frame -= 1;
    const picture = this.pictures.ready(frame);
    if (picture && frame !== this.shown) {
      this.frame = frame;
      this.#draw(picture);
      this.tell("frame", frame);
    } else if (!picture) {
      this.pictures.take(frame).catch((error) => {
        if (error.name === "AbortError" || !this.playing) return;
        this.pause();
        this.tell("problem", error);
      });
    }
    if (this.timebase.start(target) - this.timebase.start(this.frame) > LATE_S) this.#anchor();
    this.pictures.ahead([target, ...this.#coming(target)]);
  }
}
