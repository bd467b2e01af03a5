/** Colours of the drawings, from the style sheet: read again when the scheme changes. */

import { styled } from "./dom.js";

export const colours = {};

export function readColours() {
  for (const name of ["surface", "ink", "muted", "line", "accent", "caution", "gap", "lane"])
    colours[name] = styled(`--${name}`);
  colours.classes = Array.from({ length: 8 }, (_, i) => styled(`--class-${i}`));
  colours.heat = styled("--heat").split(",").map(Number);
  colours.font = "11px system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";
}
