/** All keys of the page in one table: what is listed by the help is what works. */

/** Groups of [keys, words, name of the command, further arguments]. */
export const KEYS = [
  [
    "Watch",
    [
      [["Space"], "play, pause", "play"],
      [["←", "→"], "one frame back, on", "step", { "←": -1, "→": 1 }],
      [["Shift ←", "Shift →"], "ten frames back, on", "step", { "Shift ←": -10, "Shift →": 10 }],
      [["Home", "End"], "to the start, to the end", "ends", { Home: -1, End: 1 }],
      [[",", "."], "slower, faster (1/16 to 2 times)", "speed", { ",": -1, ".": 1 }],
      [["L"], "loop the chosen event", "loop"],
      [["+", "-"], "zoom in, out", "zoomBy", { "+": 0.5, "-": 2 }],
      [["Z"], "zoom to the chosen event", "zoom"],
      [["0"], "show the whole recording", "zoomOut"],
      [["V"], "show faces, bar them again", "faces"],
      [["Shift Z"], "the face of the chosen event, or the whole picture", "close"],
      [["B"], "rows of the regions: movement, or how badly it was seen", "rows"],
    ],
  ],
  [
    "Go to",
    [
      [["N", "P"], "next, previous event of the table, judged or not", "neighbour", { N: 1, P: -1 }],
      [["Shift N", "Shift P"], "choose the next, previous one as well", "extend", { "Shift N": 1, "Shift P": -1 }],
      [["U"], "the most unsure one that is to review", "unsure"],
      [["Enter"], "the next one that is to review", "unreviewed"],
      [["/"], "search label, note, coder, units; Enter goes to the first one", "search"],
      [
        ["Shift D", "Shift G", "Shift K"],
        "picture of onset, apex, offset",
        "goEdge",
        { "Shift D": "onset", "Shift G": "apex", "Shift K": "offset" },
      ],
    ],
  ],
  [
    "Judge",
    [
      [["A"], "accept", "accept"],
      [["X"], "reject", "reject"],
      [["R"], "put back to review", "reopen"],
      [["Q", "W"], "as the first proposal says, as the second", "take", { Q: 0, W: 1 }],
      [["1", "2", "3", "4", "5", "6", "7", "8", "9"], "class, by its number", "label"],
      [["C"], "code action units: L or R for a side, digits, A to E, Enter", "units"],
      [["T"], "note", "note"],
    ],
  ],
  [
    "Correct",
    [
      [["E"], "hold while the movement lasts: a new event", "mark"],
      [["D", "F"], "onset one frame earlier, later", "onset", { D: -1, F: 1 }],
      [["G", "H"], "apex one frame earlier, later", "apex", { G: -1, H: 1 }],
      [["J", "K"], "offset one frame earlier, later", "offset", { J: -1, K: 1 }],
      [["I", "Y", "O"], "onset, apex, offset to this frame", "here", { I: "onset", Y: "apex", O: "offset" }],
      [["Alt ←", "Alt →"], "move the whole event by one frame", "shift", { "Alt ←": -1, "Alt →": 1 }],
      [["S"], "split before this frame", "split"],
      [["M"], "merge the chosen events", "merge"],
      [["Delete"], "remove an added event, reject a proposed one", "remove"],
    ],
  ],
  [
    "Several, copy, undo",
    [
      [["Ctrl A"], "choose all of the table", "all"],
      [["Ctrl C"], "copy the chosen events", "copy"],
      [["Ctrl V"], "paste label and units to the chosen events", "paste"],
      [["Ctrl Shift V"], "paste the copied events at this frame", "pasteEvents"],
      [["Ctrl Z"], "undo", "undo"],
      [["Ctrl Y", "Ctrl Shift Z"], "redo", "redo"],
      [["Esc"], "choose nothing, leave a field or a menu", "clear"],
      [["?"], "these keys", "help"],
    ],
  ],
];

const NAMES = {
  " ": "Space",
  ArrowLeft: "←",
  ArrowRight: "→",
  Escape: "Esc",
  Backspace: "Delete",
  "=": "+",
  "−": "-",
  _: "-",
};

/** A key event as it stands in the table. */
export function nameOf(event) {
  const bare = NAMES[event.key] ?? (event.key.length === 1 ? event.key.toUpperCase() : event.key);
  const letter = /^[A-Z←→]$/.test(bare) || event.key.length > 1;
  const shifted = event.shiftKey && letter ? "Shift " : "";
  return `${event.ctrlKey || event.metaKey ? "Ctrl " : ""}${event.altKey ? "Alt " : ""}${shifted}${bare}`;
}

const BINDINGS = new Map(
  KEYS.flatMap(([, rows]) =>
    rows.flatMap(([keys, , command, values]) =>
      keys.map((key) => [key, { command, value: values ? values[key] : key }]),
    ),
  ),
);

const typing = (target) => target.matches?.("input:not([type=checkbox]), textarea, select, [contenteditable]");

/** Listens until ``stop`` is called; ``commands`` has a function by each name, ``markEnd`` for a key that is let go. */
export function listen(commands, signal) {
  let held = null;
  document.addEventListener(
    "keydown",
    (event) => {
      if (document.querySelector("dialog[open]")) return;
      const name = nameOf(event);
      const menu = document.querySelector("details[open]");
      if (name === "Esc" && (menu || event.target.matches?.("select, [type=checkbox]"))) {
        if (menu) menu.open = false;
        event.target.blur?.();
        return;
      }
      if (typing(event.target)) return;
      const binding = BINDINGS.get(name);
      if (!binding) return;
      // a button that has the focus keeps the keys that press it
      if (event.target.matches?.("button, a, summary") && (name === "Space" || name === "Enter")) return;
      if (event.target.matches?.("input") && name === "Space") return;
      if (name === "Ctrl C" && String(window.getSelection())) return;
      event.preventDefault();
      if (binding.command === "mark") {
        if (event.repeat) return;
        held = event.code;
      }
      commands[binding.command](binding.value, event);
    },
    { signal },
  );
  // chosen with the pointer: the keys are the page's again; by key: from Esc on
  document.addEventListener(
    "change",
    ({ target }) => target.matches("select, [type=checkbox]") && !target.matches(":focus-visible") && target.blur(),
    { signal },
  );
  document.addEventListener(
    "keyup",
    (event) => {
      if (event.code !== held) return;
      held = null;
      commands.markEnd();
    },
    { signal },
  );
  window.addEventListener(
    "blur",
    () => {
      if (held) commands.markCancel();
      held = null;
    },
    { signal },
  );
}
