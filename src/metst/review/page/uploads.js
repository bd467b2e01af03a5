/** The place to drop recordings: each is sent as it is, one after the other, then waits to be analysed. */

import { putFile } from "./api.js";
import { el } from "./dom.js";

export function uploading({ status, changed, signal }) {
  const input = el("input", {
    type: "file",
    multiple: true,
    accept: "video/*,.avi,.mkv,.mov,.mp4,.mxf,.ts,.webm",
    class: "unseen",
    id: "files",
    onchange: () => take(input.files),
  });
  const list = el("ul", { class: "sending" });
  const place = el(
    "div",
    { class: "drop" },
    el(
      "p",
      {},
      el("strong", {}, "Drop recordings here"),
      " or ",
      el("label", { for: "files", class: "button", tabindex: "-1" }, "choose files"),
      input,
    ),
    el(
      "p",
      { class: "hint" },
      "They stay on this machine, are analysed one after the other, and can be reviewed then.",
    ),
    list,
  );
  const waiting = [];
  let sending = false;

  function take(files) {
    for (const file of files) {
      const bar = el("progress", { max: 1, value: 0, "aria-label": `how much of ${file.name} is sent` });
      const words = el("span", {}, "waits");
      const item = el("li", {}, el("span", { class: "name" }, file.name), bar, words);
      list.append(item);
      waiting.push({ file, bar, words, item });
    }
    input.value = "";
    next();
  }

  async function next() {
    if (sending || !waiting.length) return;
    sending = true;
    const { file, bar, words, item } = waiting.shift();
    try {
      await putFile(`/api/uploads/${encodeURIComponent(file.name)}`, file, (part) => {
        bar.value = part;
        words.textContent = `${Math.floor(100 * part)} % sent`;
      });
      item.remove();
      changed();
    } catch (error) {
      words.textContent = `not taken in: ${error.message}`;
      bar.hidden = true;
      item.classList.add("failed");
      item.append(
        el(
          "button",
          {
            type: "button",
            class: "small",
            onclick: () => {
              item.remove();
              take([file]);
            },
          },
          "Retry",
        ),
      );
      status.warn(`${file.name} was not taken in: ${error.message}`);
    }
    sending = false;
    next();
  }

  // anywhere on the page: a file that misses the place must not be opened in its stead
  for (const name of ["dragover", "drop"])
    document.addEventListener(name, (event) => event.preventDefault(), { signal });
  document.addEventListener("dragover", () => place.classList.add("over"), { signal });
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && place.classList.remove("over"), {
    signal,
  });
  document.addEventListener(
    "drop",
    (event) => {
      place.classList.remove("over");
      take(event.dataTransfer.files);
    },
    { signal },
  );
  window.addEventListener("beforeunload", (event) => (sending || waiting.length) && event.preventDefault(), { signal });
  return place;
}
