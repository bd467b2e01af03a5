/** Which events are chosen, and which of them the pictures and the panel show. */

import { Signal } from "./dom.js";

export class Selection extends Signal {
  constructor() {
    super();
    this.keys = new Set();
    this.current = null;
  }

  has(key) {
    return this.keys.has(key);
  }

  only(key) {
    this.set(key === null ? [] : [key], key);
  }

  set(keys, current = keys[0] ?? null) {
    this.keys = new Set(keys);
    this.current = current;
    this.tell("change");
  }

  /** Adds an event, or takes it out. */
  toggle(key) {
    if (this.keys.has(key) && this.keys.size > 1) {
      this.keys.delete(key);
      if (this.current === key) this.current = [...this.keys].at(-1);
    } else {
      this.keys.add(key);
      this.current = key;
    }
    this.tell("change");
  }

  /** Events have got other names, or are no longer there. */
  rename(names) {
    const renamed = (key) => names.get(key) ?? key;
    this.keys = new Set([...this.keys].map(renamed));
    this.current = this.current && renamed(this.current);
    this.tell("change");
  }

  keep(exists) {
    const kept = [...this.keys].filter(exists);
    if (kept.length === this.keys.size) return;
    this.keys = new Set(kept);
    if (!this.keys.has(this.current)) this.current = kept.at(-1) ?? null;
    this.tell("change");
  }
}
