/** What the pointer does on the timeline: look, seek, pan, zoom; drag edges and events, draw new ones. */

const MOVED_PX = 4;
const ZOOM_PER_PX = 0.0016;

export class TimelinePointer {
  constructor(timeline) {
    this.timeline = timeline;
    const { stack } = timeline;
    this.held = null;
    this.touches = new Map();
    stack.addEventListener("pointerdown", (event) => this.#down(event));
    stack.addEventListener("pointermove", (event) => this.#move(event));
    stack.addEventListener("pointerup", (event) => this.#up(event));
    stack.addEventListener("pointercancel", () => this.cancel());
    stack.addEventListener("pointerleave", () => timeline.unread());
    stack.addEventListener("dblclick", (event) => this.#twice(event));
    stack.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.held) return;
      event.stopImmediatePropagation(); // it leaves the drag, nothing else
      this.cancel();
    });
  }

  #at(event) {
    const { stack, view } = this.timeline;
    return event.clientX - stack.getBoundingClientRect().left - view.gutter;
  }

  #hit(event) {
    const { boxes, boxCanvas, selection } = this.timeline;
    if (event.target !== boxCanvas) return null;
    return boxes.hit(this.#at(event), event.clientY - boxCanvas.getBoundingClientRect().top, selection);
  }

  #down(event) {
    if (event.button !== 0 || this.#at(event) < 0) return;
    this.touches.set(event.pointerId, event);
    const { timeline } = this;
    timeline.stack.setPointerCapture?.(event.pointerId);
    const hit = this.#hit(event);
    const editable = timeline.editable !== false;
    const x = this.#at(event);
    this.held = {
      x,
      hit,
      from: timeline.view.from,
      frame: timeline.timebase.nearest(timeline.view.seconds(x)),
      moved: false,
      kind: "pan",
    };
    if (event.target === timeline.ruler) this.held.kind = "scrub";
    else if (hit?.event && hit.lane.own) this.held.kind = editable ? hit.part : "pan";
    else if (hit?.lane.own && event.shiftKey && editable) this.held.kind = "new";
    if (this.held.kind === "scrub") this.#scrub(x);
    if (hit?.event)
      timeline.tell("select", {
        key: hit.event.key,
        own: hit.lane.own,
        event: hit.event,
        more: event.shiftKey || event.ctrlKey || event.metaKey,
      });
  }

  #scrub(x) {
    const { timeline } = this;
    timeline.tell("seek", timeline.timebase.at(timeline.view.seconds(x)));
  }

  #move(event) {
    const { timeline, held } = this;
    const x = this.#at(event);
    if (!held) {
      timeline.stack.style.cursor = this.#cursor(event);
      timeline.read(Math.max(x, 0), event.clientY - timeline.rowCanvas.getBoundingClientRect().top, event.target);
      return;
    }
    if (this.touches.size > 1) {
      this.#pinch(event);
      return;
    }
    if (!held.moved && Math.abs(x - held.x) < MOVED_PX) return;
    held.moved = true;
    if (held.kind === "scrub") this.#scrub(x);
    else if (held.kind === "pan") {
      timeline.view.set(
        held.from - (x - held.x) / timeline.view.pixelsPerSecond,
        held.from - (x - held.x) / timeline.view.pixelsPerSecond + timeline.view.span,
      );
      timeline.draw();
    } else this.#drag(x, false);
  }

  #pinch(event) {
    const [a, b] = [...this.touches.values()];
    const before = Math.abs(a.clientX - b.clientX);
    this.touches.set(event.pointerId, event);
    const [c, d] = [...this.touches.values()];
    const after = Math.abs(c.clientX - d.clientX);
    this.held.moved = true;
    this.held.kind = "pinch";
    if (before > 8 && after > 8)
      this.timeline.zoom(before / after, this.timeline.view.seconds((this.#at(c) + this.#at(d)) / 2));
  }

  #cursor(event) {
    if (event.target === this.timeline.ruler) return "col-resize";
    const hit = this.#hit(event);
    if (!hit?.event) return "";
    if (!hit.lane.own || this.timeline.editable === false) return "pointer";
    return hit.part === "whole" ? "grab" : "ew-resize";
  }

  #drag(x, done) {
    const { timeline, held } = this;
    const edge = timeline.timebase.nearest(timeline.view.seconds(x));
    if (held.kind === "new") {
      const [onset, after] = [Math.min(edge, held.frame), Math.max(edge, held.frame)];
      timeline.tell("draw", { onset, offset: Math.max(after - 1, onset), at: edge, done });
      return;
    }
    const event = held.hit.event;
    const edges = {};
    if (held.kind === "onset") edges.onset = edge;
    else if (held.kind === "offset") edges.offset = edge - 1;
    else edges.by = edge - held.frame;
    timeline.tell("drag", { event, edges, done });
  }

  #up(event) {
    const { timeline, held } = this;
    this.touches.delete(event.pointerId);
    if (!held || this.touches.size) return;
    this.held = null;
    const x = this.#at(event);
    if (held.kind === "scrub" || held.kind === "pinch") return;
    if (held.moved && held.kind !== "pan") {
      this.held = held;
      this.#drag(x, true);
      this.held = null;
    } else if (!held.moved && !held.hit?.event) this.#scrub(x);
    timeline.tell("released");
  }

  cancel() {
    this.held = null;
    this.touches.clear();
    this.timeline.draft = null;
    this.timeline.draw();
  }

  #twice(event) {
    const hit = this.#hit(event);
    if (hit?.event) this.timeline.showEvent(hit.event);
  }

  #wheel(event) {
    const { timeline } = this;
    // where the page itself scrolls, the wheel is the page's unless Ctrl is held
    if (
      document.documentElement.scrollHeight > window.innerHeight + 1 &&
      !event.ctrlKey &&
      !event.shiftKey &&
      !event.deltaX
    )
      return;
    event.preventDefault();
    const along = event.shiftKey ? event.deltaY + event.deltaX : event.deltaX;
    if (Math.abs(along) > Math.abs(event.deltaY) || event.shiftKey)
      timeline.view.pan(along / timeline.view.pixelsPerSecond);
    else timeline.view.zoom(Math.exp(event.deltaY * ZOOM_PER_PX), timeline.view.seconds(Math.max(this.#at(event), 0)));
    timeline.draw();
  }
}
