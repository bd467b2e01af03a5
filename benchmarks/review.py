"""The review page in a browser: when it can be used, how fluid it is, what it weighs; what an upload costs.

    python benchmarks/review.py                 (all; or name some: ready fluid steps weight upload)

A 60-minute recording at 30 frames per second with 10,000 events is made up, without a video; frame steps are taken in
a clip of 1280 x 720.  Needs selenium, chromium and chromedriver, and a checkout: recordings come from its tests.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.analyses import CLASSES, make_analysis
from helpers.burnt_in_numbers import numbered
from helpers.review_browser import Page, Server, browsing, serving
from metst.results import write_analysis
from metst.timeline import Intervals
from metst.video import content_hash, write_video

RATE_HZ = 30
MINUTES = 60
EVENTS = 10_000
PAINTS = 150  # of the timeline, at each width
STEPS = 100
TRACED_TIMES, TRACED_S = 3, 0.7  # how often the browser is asked what it did, and how long it is given
UPLOAD_BYTES = 10**9
CHUNK_BYTES = 2**20
TRACE = "blink.user_timing,devtools.timeline,disabled-by-default-devtools.timeline"  # categories of the browser
PARTS = ("ready", "fluid", "steps", "weight", "upload")

FLUID = """
const [paints, mode] = [arguments[0], arguments[1]];
const done = arguments[2];
const stack = document.querySelector(".stack");
const box = stack.getBoundingClientRect();
const canvases = [...document.querySelectorAll(".part-timeline canvas, .part-seek canvas")];
const drawn = [], flushed = [], between = [];
document.addEventListener("metst:drawn", (event) => drawn.push(event.detail));
let last = 0, count = 0;
function turn(now) {
  performance.mark("metst:turn");
  if (last) between.push(now - last);
  last = now;
  const wheel = (values) => stack.dispatchEvent(new WheelEvent("wheel", {bubbles: true, cancelable: true,
    clientX: box.left + box.width / 2, clientY: box.top + 60, ...values}));
  if (mode === "pan") wheel({deltaX: count % 100 < 50 ? 40 : -40});
  else wheel({deltaY: count % 80 < 40 ? -120 : 120});
  requestAnimationFrame(() => {
    // what was only asked for is painted when a pixel is read
    const begun = performance.now();
    for (const canvas of canvases) canvas.getContext("2d").getImageData(canvas.width >> 1, 2, 1, 1);
    flushed.push(performance.now() - begun);
    count += 1;
    if (count < paints) turn2(); else done([drawn, flushed, between]);
  });
}
const turn2 = () => requestAnimationFrame(turn);
turn2();
"""
"""Pans or zooms once per picture of the screen; gives ms of drawing, painting, and between pictures of the screen."""

STEP = """
const [steps, key, done] = [arguments[0], arguments[1], arguments[2]];
const times = [];
document.addEventListener("metst:picture", function next(event) {
  times.push(event.detail.ms);
  if (times.length < steps) setTimeout(press, 30);
  else { document.removeEventListener("metst:picture", next); done(times); }
});
const press = () => document.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
press();
"""


def long_results(folder: Path) -> Path:
    """Results of an hour with 10,000 events, without a video."""
    analysis = make_analysis(duration_s=MINUTES * 60, events=1, name="hour.mp4")
    draw = np.random.default_rng(0)
    onset = np.linspace(10, MINUTES * 60 * RATE_HZ - 20, EVENTS).astype(int)
    label = tuple(CLASSES[i % len(CLASSES)] for i in range(EVENTS))
    probability = np.full((EVENTS, len(CLASSES)), 1 / len(CLASSES))
    events = Intervals(onset, onset + 4, onset + 9, label, draw.uniform(0.5, 1, EVENTS), probability, CLASSES)
    write_analysis(replace(analysis, events=events), folder / "hour", motion_format="safetensors")
    return folder / "hour"


def clip_results(folder: Path) -> Path:
    """Results of a clip of 1280 x 720 with them."""
    results, count = folder / "clip", 600
    results.mkdir()
    noise = np.random.default_rng(0).integers(0, 40, (720, 1280, 3), dtype=np.uint8)
    pictures = (cv2.resize(numbered(frame), (1280, 720)) // 2 + noise for frame in range(1, count + 1))
    write_video(results / "clip.mp4", pictures, rate_hz=RATE_HZ, preset="ultrafast")
    analysis = make_analysis(duration_s=count / RATE_HZ, events=5, name="clip.mp4")
    source = replace(
        analysis.source, path="clip.mp4", width=1280, height=720, content_hash=content_hash(results / "clip.mp4")
    )
    write_analysis(replace(analysis, source=source), results)
    return results


def spread(values: list[float]) -> str:
    """Median and 99th percentile."""
    median, high = np.percentile(values, (50, 99))
    return f"median {median:6.1f} ms, p99 {high:6.1f} ms  ({len(values)})"


def measure_ready(page: Page, server: Server, times: int) -> None:
    page.browser.get(page.url)
    rid = page.until("return document.querySelector('a.recording')?.hash")
    for visit in range(times):
        page.browser.get("about:blank")
        before = psutil.Process(server.process.pid).cpu_times()
        page.browser.get(page.url + rid)
        page.until("return document.documentElement.dataset.ready")
        after = psutil.Process(server.process.pid).cpu_times()
        ms = page.browser.execute_script("return performance.getEntriesByName('metst:ready')[0].startTime")
        cpu_ms = 1000 * (after.user + after.system - before.user - before.system)
        print(
            f"page ready, {MINUTES} minutes, {EVENTS} events, visit {visit + 1}: {ms:.0f} ms "
            f"(the server's processor time until then: {cpu_ms:.0f} ms)"
        )


def traced(page: Page) -> list[dict[str, Any]]:
    """What the browser wrote down of its work since it was last asked: to ask makes it write, after a while."""
    found: list[dict[str, Any]] = []
    for _ in range(TRACED_TIMES):
        messages = (json.loads(line["message"])["message"] for line in page.browser.get_log("performance"))
        found += [each["params"] for each in messages if each["method"] == "Tracing.dataCollected"]
        time.sleep(TRACED_S)
    return found


def busy_ms(page: Page) -> list[float]:
    """Processor time of the page's thread for each paint, all that it did: what other programs take does not count."""
    events = traced(page)
    turns = [each for each in events if each["name"] == "metst:turn"]
    own = turns[0]["pid"], turns[0]["tid"]
    tasks = [each for each in events if each["name"] == "RunTask" and (each["pid"], each["tid"]) == own]
    turn = np.searchsorted(sorted(each["ts"] for each in turns), [each["ts"] + each["dur"] for each in tasks])
    spent = np.bincount(turn, weights=[each.get("tdur", 0) for each in tasks], minlength=len(turns) + 1) / 1000
    return list(spent[1:].tolist())  # what came before the first turn is left out


def measure_fluid(page: Page) -> None:
    page.until("return document.documentElement.dataset.whole")
    for words, clicks in (("whole recording", 0), ("some minutes", 12), ("some seconds", 26)):
        for mode in ("pan", "zoom"):
            page.keys("0", *("+" * (clicks // 3)))
            traced(page)
            drawn, flushed, between = page.browser.execute_async_script(FLUID, PAINTS, mode)
            both = [a + b for a, b in zip(drawn, flushed, strict=False)]
            print(f"{mode:4}, {words:15}: drawing {spread(drawn)}; with painting {spread(both)}")
            print(f"{'':23}processor time per paint {spread(busy_ms(page))}; screen, two per paint: {spread(between)}")


def measure_steps(page: Page) -> None:
    page.open("clip")
    for words, key in (("on", "ArrowRight"), ("back", "ArrowLeft")):
        print(f"frame step {words}, 1280 x 720: {spread(page.browser.execute_async_script(STEP, STEPS, key))}")
    draw = np.random.default_rng(1)
    times = []
    for frame in draw.integers(1, 600, STEPS // 2).tolist():
        asked = page.browser.execute_async_script(
            "const done = arguments[1]; document.addEventListener('metst:picture', event => done(event.detail.ms),"
            "{once: true}); const field = document.querySelector('.jump'); field.value = arguments[0];"
            "field.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'}))",
            str(frame),
        )
        times.append(asked)
    print(f"jump to a random frame, 1280 x 720: {spread(times)}")


def measure_weight(page: Page) -> None:
    sizes: dict[str, int] = page.browser.execute_script(
        "return Object.fromEntries("
        "performance.getEntriesByType('resource').filter(entry => entry.name.includes('/static/'))"
        ".map(entry => [entry.name.split('/').pop(), entry.decodedBodySize]))"
    )
    scripts = sum(size for name, size in sizes.items() if name.endswith(".js"))
    styles = sum(size for name, size in sizes.items() if name.endswith(".css"))
    print(f"scripts {scripts / 1000:.0f} kB ({len(sizes)} files), styles {styles / 1000:.0f} kB, uncompressed")


def measure_upload(server: Server) -> None:
    process, most, sending = psutil.Process(server.process.pid), [0], True

    def watch() -> None:
        while sending:
            most[0] = max(most[0], process.memory_info().rss)
            time.sleep(0.01)

    def body() -> Iterator[bytes]:
        block = bytes(CHUNK_BYTES)
        for start in range(0, UPLOAD_BYTES, CHUNK_BYTES):
            yield block[: UPLOAD_BYTES - start]

    before = process.memory_info().rss
    watcher = threading.Thread(target=watch)
    watcher.start()
    host = server.url.split("/")[2]
    connection = http.client.HTTPConnection(host)
    begun = time.perf_counter()
    headers = {"Authorization": "Bearer T", "Content-Length": str(UPLOAD_BYTES)}
    connection.request("PUT", "/api/uploads/large.mp4", body=body(), headers=headers)
    status = connection.getresponse().status
    lasted = time.perf_counter() - begun
    sending = False
    watcher.join()
    print(
        f"upload of {UPLOAD_BYTES / 1e9:.0f} GB: status {status}, {lasted:.1f} s; server {before / 1e6:.0f} MB before, "
        f"{most[0] / 1e6:.0f} MB at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="some of " + ", ".join(PARTS))
    wanted: list[str] = parser.parse_args().parts or list(PARTS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if set(wanted) - {"upload"}:
            measure_page(folder, wanted)
        if "upload" in wanted:
            with serving(output=folder / "uploads") as server:
                measure_upload(server)


def measure_page(folder: Path, wanted: list[str]) -> None:
    hour, clip = long_results(folder), clip_results(folder)
    profile = folder / "profile"
    profile.mkdir()
    with browsing(profile, trace=TRACE) as browser:
        browser.set_script_timeout(300)
        with serving(hour, output=folder / "none") as server:
            page: Any = Page(browser, server.url)
            measure_ready(page, server, 4 if "ready" in wanted else 1)
            if "fluid" in wanted:
                measure_fluid(page)
            if "weight" in wanted:
                measure_weight(page)
        if "steps" in wanted:
            with serving(clip, output=folder / "none") as server:
                measure_steps(Page(browser, server.url))


if __name__ == "__main__":
    main()
