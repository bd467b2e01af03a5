/** Elements of the page, made without markup: what a file or a person is called stays text. */

export const byId = (id) => document.getElementById(id);

/** An element with properties (``class``, ``data-...``, ``aria-...``, ``on...`` as they are called in HTML) and children. */
export function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.className = value;
    else if (key in element && !key.includes("-") && key !== "list" && key !== "form") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A button with its key beside its words. */
export function button(words, { key, title, run, kind = "", ...rest } = {}) {
  const face = key ? [el("span", {}, words), el("kbd", {}, key)] : [words];
  return el("button", { type: "button", class: kind, title: title ?? null, onclick: run, ...rest }, face);
}

/** The drawing context of a canvas that fills its element on this screen, in CSS pixels. */
export function fit(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [columns, rows] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== columns || canvas.height !== rows) {
    canvas.width = columns;
    canvas.height = rows;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/** A value of the style sheet, such as a colour. */
export const styled = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Calls once per picture of the screen, however often it is asked. */
export function oncePerPaint(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}

/** Values by name that tell whoever listens when they change. */
export class Signal {
  constructor() {
    this.listeners = new Map();
  }

  on(name, listener) {
    if (!this.listeners.has(name)) this.listeners.set(name, []);
    this.listeners.get(name).push(listener);
  }

  tell(name, detail) {
    for (const listener of this.listeners.get(name) ?? []) listener(detail);
  }
}
