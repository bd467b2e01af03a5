/** Curves over time, drawn with uPlot: score with its threshold, probabilities of the classes. */

import { colours } from "./colours.js";
import { zigzag } from "./pyramid.js";

const TICKS = [0, 0.5, 1];
/** Width of what is one least and one greatest value, pixels: finer zigzags cost more than they show. */
const PX_PER_COLUMN = 2;
/** Up to so many frames to a pixel each is drawn. */
const FRAMES_PER_PX = 3;

export class Curves {
  /** ``lines``: [{name, colour(), pyramid, dash}] with values in [0, 1]. */
  constructor(host, { lines, height, view, timebase, threshold = null }) {
    this.view = view;
    this.timebase = timebase;
    this.height = height;
    this.threshold = threshold;
    this.lines = lines;
    const axis = {
      size: view.gutter,
      splits: () => TICKS,
      values: (_, ticks) => ticks.map((tick) => (tick === 0.5 ? ".5" : String(tick))),
      stroke: () => colours.muted,
      grid: { stroke: () => colours.line, width: 1 },
      ticks: { show: false },
      font: colours.font,
      gap: 6,
    };
    const series = lines.map((line) => ({
      label: line.name,
      stroke: line.colour,
      width: line.width ?? 1.25,
      dash: line.dash,
      points: { show: false },
      spanGaps: false,
    }));
    this.plot = new uPlot(
      {
        width: view.width,
        height,
        legend: { show: false },
        cursor: { show: false },
        pxAlign: 0,
        padding: [5, view.right, 5, 0],
        scales: { x: { time: false, auto: false }, y: { auto: false, range: () => [0, 1] } },
        axes: [{ show: false }, axis],
        series: [{}, ...series],
        hooks: { drawAxes: [(plot) => this.#drawThreshold(plot)] },
      },
      [[], ...lines.map(() => [])],
      host,
    );
  }

  #drawThreshold(plot) {
    if (this.threshold === null || this.threshold === undefined) return;
    const { ctx, bbox } = plot;
    const y = Math.round(plot.valToPos(this.threshold, "y", true));
    ctx.save();
    ctx.strokeStyle = colours.accent;
    ctx.lineWidth = window.devicePixelRatio || 1;
    ctx.setLineDash([4, 4]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y + 0.5);
    ctx.lineTo(bbox.left + bbox.width, y + 0.5);
    ctx.stroke();
    ctx.restore();
  }

  draw() {
    const view = this.view;
    if (this.plot.width !== view.width) this.plot.setSize({ width: view.width, height: this.height });
    const [first, after] = view.indices;
    const columns = after - first <= view.plot * FRAMES_PER_PX ? after - first : view.plot / PX_PER_COLUMN;
    const data = zigzag(
      this.lines.map((line) => line.pyramid),
      this.timebase,
      { first, after, columns },
    );
    this.plot.batch(() => {
      this.plot.setData(data, false);
      this.plot.setScale("x", { min: view.from, max: view.to });
    });
  }

  destroy() {
    this.plot.destroy();
  }
}
