/** Action units as FACS coders write them: side, number, intensity, such as 4, L12, 1B, R14C. */

import { el, Signal } from "./dom.js";

/** Names of the action units, from the Facial Action Coding System (Ekman, Friesen and Hager, 2002). */
const NAMES = {
  1: "inner brow raiser",
  2: "outer brow raiser",
  4: "brow lowerer",
  5: "upper lid raiser",
  6: "cheek raiser",
  7: "lid tightener",
  9: "nose wrinkler",
  10: "upper lip raiser",
  11: "nasolabial deepener",
  12: "lip corner puller",
  13: "sharp lip puller",
  14: "dimpler",
  15: "lip corner depressor",
  16: "lower lip depressor",
  17: "chin raiser",
  18: "lip pucker",
  19: "tongue show",
  20: "lip stretcher",
  21: "neck tightener",
  22: "lip funneler",
  23: "lip tightener",
  24: "lip presser",
  25: "lips part",
  26: "jaw drop",
  27: "mouth stretch",
  28: "lip suck",
  29: "jaw thrust",
  30: "jaw sideways",
  31: "jaw clencher",
  32: "lip bite",
  33: "cheek blow",
  34: "cheek puff",
  35: "cheek suck",
  36: "tongue bulge",
  37: "lip wipe",
  38: "nostril dilator",
  39: "nostril compressor",
  43: "eye closure",
  45: "blink",
  46: "wink",
  51: "head turn left",
  52: "head turn right",
  53: "head up",
  54: "head down",
  55: "head tilt left",
  56: "head tilt right",
  57: "head forward",
  58: "head back",
  61: "eyes turn left",
  62: "eyes turn right",
  63: "eyes up",
  64: "eyes down",
};
const SIDES = { L: "left", R: "right" };
const UNIT = /^([LR]?)(?:AU)?(\d{1,2})([A-E]?)$/i;

/** ``{side, number, intensity, code}`` or null. */
export function parseUnit(text) {
  const found = UNIT.exec(text.trim());
  if (!found || Number(found[2]) === 0) return null;
  const [side, number, intensity] = [found[1].toUpperCase(), Number(found[2]), found[3].toUpperCase()];
  return { side, number, intensity, code: `${side}${number}${intensity}` };
}

export function unitInWords(text) {
  const unit = parseUnit(text);
  if (!unit) return `${text}: expected such as 12, L4 or 12C`;
  const parts = [
    NAMES[unit.number] ?? "no unit of this number is known here",
    SIDES[unit.side],
    unit.intensity && `intensity ${unit.intensity}`,
  ];
  return `AU ${unit.number}: ${parts.filter(Boolean).join(", ")}`;
}

/** Adds a unit; one of the same number and side is replaced, so that an intensity can be corrected. */
export function withUnit(units, code) {
  const unit = parseUnit(code);
  const kept = units.filter((each) => {
    const other = parseUnit(each);
    return !other || other.number !== unit.number || other.side !== unit.side;
  });
  return [...kept, unit.code].sort((a, b) => (parseUnit(a)?.number ?? 0) - (parseUnit(b)?.number ?? 0));
}

/** The field that takes units one by one. Tells ``change`` (units) and ``leave``. */
export class UnitField extends Signal {
  constructor() {
    super();
    this.units = [];
    this.chips = el("span", { class: "chips" });
    this.input = el("input", {
      type: "text",
      class: "unit-input",
      autocomplete: "off",
      spellcheck: false,
      placeholder: "12, L4, 12C",
      size: 8,
      "aria-label": "Action unit: number, L or R before it for one side, A to E after it for intensity; Enter adds it",
    });
    this.words = el("span", { class: "unit-words", "aria-live": "polite" });
    this.element = el("div", { class: "unit-field" }, this.chips, this.input, this.words);
    this.input.addEventListener("keydown", (event) => this.#key(event));
    this.input.addEventListener("input", () => this.#read());
    this.input.addEventListener("blur", () => this.input.value && this.#add());
  }

  show(units) {
    this.units = units;
    this.chips.replaceChildren(
      ...units.map((code) =>
        el(
          "button",
          {
            type: "button",
            class: "chip",
            title: `${unitInWords(code)} – press to remove`,
            "aria-label": `remove ${unitInWords(code)}`,
            onclick: () =>
              this.tell(
                "change",
                this.units.filter((each) => each !== code),
              ),
          },
          code,
          el("span", { "aria-hidden": "true" }, "×"),
        ),
      ),
    );
    this.#read();
  }

  #read() {
    const text = this.input.value;
    this.input.setAttribute("aria-invalid", String(Boolean(text) && !parseUnit(text) && !/^[LR]$/i.test(text)));
    this.words.textContent = text && !/^[LR]$/i.test(text) ? unitInWords(text) : "";
  }

  #add() {
    if (!parseUnit(this.input.value)) {
      this.#read();
      return;
    }
    const units = withUnit(this.units, this.input.value);
    this.input.value = "";
    this.tell("change", units);
  }

  #key(event) {
    const text = this.input.value;
    if (["Enter", " ", "+", ","].includes(event.key)) {
      event.preventDefault();
      if (text) this.#add();
      else if (event.key === "Enter") this.tell("leave");
    } else if (event.key === "Escape") {
      this.input.value = "";
      this.tell("leave");
    } else if (event.key === "Backspace" && !text && this.units.length) this.tell("change", this.units.slice(0, -1));
    event.stopPropagation();
  }
}
