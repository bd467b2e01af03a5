/** Light or dark: as the system says, or as was chosen. */

import { readColours } from "./colours.js";
import { byId } from "./dom.js";

const KEPT = "metst-scheme";
const WORDS = { auto: "Light or dark: as the system", light: "Light", dark: "Dark" };
const SIGNS = { auto: "◐", light: "○", dark: "●" };

export function startScheme() {
  const root = document.documentElement;
  const button = byId("scheme");
  let chosen = localStorage.getItem(KEPT) ?? "auto";
  const system = window.matchMedia("(prefers-color-scheme: dark)");

  function show() {
    root.dataset.scheme = chosen === "auto" ? (system.matches ? "dark" : "light") : chosen;
    button.textContent = SIGNS[chosen];
    button.title = WORDS[chosen];
    button.setAttribute("aria-label", WORDS[chosen]);
    readColours();
    document.dispatchEvent(new CustomEvent("metst:scheme"));
  }

  button.addEventListener("click", () => {
    const names = Object.keys(WORDS);
    chosen = names[(names.indexOf(chosen) + 1) % names.length];
    localStorage.setItem(KEPT, chosen);
    show();
  });
  system.addEventListener("change", show);
  show();
}
