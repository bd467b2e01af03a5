"use strict";
// Reads the score off the timeline: at the pointer, or frame by frame with the arrow keys.
(() => {
  const told = JSON.parse(document.getElementById("readout").textContent);
  const numbers = (text) => text.split(" ").filter(Boolean).map(Number);
  let now = 0;
  const ms = numbers(told.ms).map((more) => now += more);
  const runs = numbers(told.class), classAt = [];
  for (let i = 0; i < runs.length; i += 2) for (let k = 0; k < runs[i + 1]; k++) classAt.push(runs[i]);
  // Between 0 and 1; none where there is none.
  const scoreAt = (i) => {
    const perMille = parseInt(told.score.slice(2 * i, 2 * i + 2), 36);
    return perMille > 1000 ? null : perMille / 1000;
  };

  // Index of the frame nearest to a time in milliseconds.
  const nearest = (at) => {
    let low = 0, high = ms.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ms[middle] < at) low = middle + 1; else high = middle;
    }
    return low > 0 && at - ms[low - 1] < ms[low] - at ? low - 1 : low;
  };

  const clock = (at) => {
    const seconds = Math.floor(at / 1000), minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60);
    const two = (value) => String(value).padStart(2, "0");
    const head = hours ? `${hours}:${two(minutes % 60)}` : `${minutes}`;
    return `${head}:${two(seconds % 60)}.${String(at % 1000).padStart(3, "0")}`;
  };

  const words = (i) => {
    const place = `${clock(ms[i])} · frame ${1 + i * told.step} · `, score = scoreAt(i);
    if (score === null) return place + "no score";
    const name = told.classes.length ? ` · ${told.classes[classAt[i]]}` : "";
    return `${place}score ${score.toFixed(2)}${name}`;
  };

  for (const plot of document.querySelectorAll(".plot")) {
    const cursor = plot.querySelector(".cursor"), reading = plot.querySelector(".reading");
    const [start, stop, left, right] = ["start", "stop", "left", "right"].map((name) => Number(plot.dataset[name]));
    let at = null;

    const show = (i) => {
      at = i;
      const share = (ms[i] / 1000 - start) / (stop - start);
      const x = 100 * (left + Math.min(1, Math.max(0, share)) * (right - left));
      cursor.style.left = `${x}%`;
      reading.style.left = `${Math.min(88, Math.max(12, x))}%`;
      reading.textContent = words(i);
      cursor.hidden = reading.hidden = false;
    };
    const hide = () => { cursor.hidden = reading.hidden = true; };

    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const share = ((event.clientX - box.left) / box.width - left) / (right - left);
      if (share < 0 || share > 1 || !ms.length) hide(); else show(nearest(1000 * (start + share * (stop - start))));
    });
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || event.target !== plot || !ms.length) return;
      event.preventDefault();
      const first = nearest(1000 * start), last = nearest(1000 * stop);
      const next = at === null ? first : at + step * (event.shiftKey ? 10 : 1);
      show(Math.min(last, Math.max(first, next)));
    });
  }
})();
