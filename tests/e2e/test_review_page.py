"""The page of ``metst review`` in a real browser: what is shown is what is stored, what is said to be saved is."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.burnt_in_numbers import write_numbered_results
from helpers.review_browser import ActionChains, Keys, Page, Server, browsing, serving, start_server

STEADY, UNEVEN, EMPTY = "steady 07.mp4", "<img src=x onerror=alert(1)> 08.mp4", "empty 09.mp4"
FRAMES, FEWER = 240, 100


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_numbered_results(folder, name=STEADY, count=FRAMES, events=6)
    write_numbered_results(folder, name=UNEVEN, count=FEWER, events=2, uneven=True)
    write_numbered_results(folder, name=EMPTY, count=20, events=0)
    return folder


@pytest.fixture(scope="module")
def server(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(results, output=tmp_path_factory.mktemp("uploads")) as started:
        yield started


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browsing(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def page(browser: Any, server: Server) -> Page:
    browser.get_log("browser")
    opened = Page(browser, server.url)
    opened.open(STEADY)
    return opened


def seen(review: dict[str, Any]) -> list[dict[str, Any]]:
    return [{k: v for k, v in each.items() if k not in {"revision", "by", "at"}} for each in review["events"]]


def seek_at_random(page: Page, count: int, *, seed: int, frames: int) -> None:
    draw = random.Random(seed)
    for _ in range(count):
        frame = draw.randint(1, frames)
        page.goto(frame)
        assert (page.told, page.burnt) == (frame, frame)


def test_nothing_is_refused_or_loaded_from_elsewhere(page: Page, server: Server) -> None:
    assert page.browser.get_log("browser") == []
    names = page.browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert names
    assert all(name.startswith((server.url.split("?")[0], "blob:", "data:")) for name in names)
    assert "token" not in page.browser.current_url


def test_random_seeks_show_the_frame_that_is_told(page: Page) -> None:
    seek_at_random(page, 8, seed=1, frames=FRAMES)


def test_random_seeks_at_a_variable_rate(page: Page) -> None:
    page.open(UNEVEN)
    assert page.browser.get_log("browser") == []
    assert page.text("#bar h1") == UNEVEN
    seek_at_random(page, 8, seed=2, frames=FEWER)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "frames"), [(STEADY, FRAMES), (UNEVEN, FEWER)])
def test_five_hundred_random_seeks(page: Page, name: str, frames: int) -> None:
    page.open(name)
    seek_at_random(page, 500, seed=3, frames=frames)


def test_steps_go_frame_by_frame(page: Page) -> None:
    page.goto(100)
    for key, frame in ((Keys.ARROW_RIGHT, 101), (Keys.ARROW_RIGHT, 102), (Keys.ARROW_LEFT, 101)):
        page.keys(key)
        page.until("return document.querySelector('canvas.picture').dataset.frame === arguments[0]", str(frame))
        assert (page.told, page.burnt) == (frame, frame)
    page.held(Keys.SHIFT, Keys.ARROW_RIGHT)
    page.until("return document.querySelector('canvas.picture').dataset.frame === '111'")
    assert page.burnt == 111


def test_playing_shows_true_numbers_and_keeps_time(page: Page) -> None:
    page.goto(1)
    page.browser.execute_script(
        "window.played = []; new MutationObserver(() => { const canvas = document.querySelector('canvas.picture');"
        "window.played.push([Number(canvas.dataset.frame), Number(document.querySelector('.frame-number').textContent),"
        "performance.now()]); }).observe(document.querySelector('canvas.picture'), {attributeFilter: ['data-frame']})"
    )
    page.keys(Keys.SPACE)
    time.sleep(2)
    page.keys(Keys.SPACE)
    played = page.browser.execute_script("return window.played")
    frames = [frame for frame, _, _ in played]
    assert len(frames) > 15
    assert frames == sorted(set(frames))
    assert all(frame == told for frame, told, _ in played)
    lasted_s = (played[-1][2] - played[0][2]) / 1000
    assert (frames[-1] - frames[0]) / 30 == pytest.approx(lasted_s, abs=0.4)
    assert page.burnt == page.told


def test_keys_judge_and_correct_and_n_undos_are_the_start(page: Page) -> None:
    start = page.review
    page.keys("n")
    before = page.chosen
    page.keys("a", "d", "k", "k", "2")
    page.saved()
    after = page.chosen
    assert after["verdict"] == "accepted"
    assert after["onset_frame"] == before["onset_frame"] - 1
    assert after["offset_frame"] == before["offset_frame"] + 2
    assert (after["label"], after["by"]) == ("positive", "anna")
    assert after["proposals"] == before["proposals"]
    page.keys("n", "x", "c", "l4b", Keys.ENTER, "12", Keys.ENTER, Keys.ENTER)
    page.saved()
    assert (page.chosen["verdict"], page.chosen["action_units"]) == ("rejected", ["L4B", "12"])
    edits = page.review["revision"] - start["revision"]
    assert edits == 8
    page.reload()
    for _ in range(edits):
        page.held(Keys.CONTROL, "z")
    page.saved()
    assert seen(page.review) == seen(start)
    page.held(Keys.CONTROL, "y")
    page.saved()
    page.until("return document.querySelectorAll('.row.verdict-accepted').length === 1")
    page.held(Keys.CONTROL, "z")
    page.saved()


def test_undo_pressed_faster_than_it_is_answered_ends_at_the_start(page: Page) -> None:
    before = seen(page.review)
    page.keys("n", "x", "d", "n", "a")
    page.held(Keys.CONTROL, *("z" * 12))
    page.saved()
    assert seen(page.review) == before
    page.held(Keys.CONTROL, "z", *("y" * 9), *("z" * 9))
    page.saved()
    assert seen(page.review) == before
    assert page.text("#notes") == ""
    assert [line for line in page.browser.get_log("browser") if "400" in line["message"]] == []


def test_an_event_is_marked_split_merged_and_removed(page: Page) -> None:
    start = page.review
    page.goto(20)
    ActionChains(page.browser).key_down("e").send_keys(Keys.ARROW_RIGHT * 9).key_up("e").perform()
    page.saved()
    page.until("return document.querySelector('.row.current')")
    assert (page.chosen["onset_frame"], page.chosen["offset_frame"], page.chosen["proposals"]) == (20, 29, [])
    assert page.chosen["label"] == "unlabelled"
    assert "choose one" in page.text(".note:last-child")
    page.goto(25)
    page.keys("s")
    page.saved()
    parts = [(each["onset_frame"], each["offset_frame"]) for each in page.review["events"] if not each["proposals"]]
    assert parts == [(20, 24), (25, 29)]
    page.browser.execute_script(
        "document.querySelectorAll('.row').forEach(row => row.textContent.includes('25–29') &&"
        "row.dispatchEvent(new MouseEvent('click', {bubbles: true, ctrlKey: true})))"
    )
    page.keys("m")
    page.saved()
    page.until("return document.querySelectorAll('.row[aria-selected=true]').length === 1")
    assert (page.chosen["onset_frame"], page.chosen["offset_frame"]) == (20, 29)
    page.keys(Keys.DELETE)
    page.saved()
    assert seen(page.review) == seen(start)


def test_dragging_an_edge_moves_the_picture_and_saves_once(page: Page) -> None:
    page.keys("n", "z")
    time.sleep(0.2)
    before, revision = page.chosen, page.review["revision"]
    canvas = page.browser.find_element("css selector", ".boxes")
    edge = page.browser.execute_script("""
        const pixels = document.querySelector('.boxes').getContext('2d').getImageData(0, 17, 2000, 1).data;
        const accent = getComputedStyle(document.documentElement).getPropertyValue('--accent').trim();
        const [r, g, b] = [1, 3, 5].map(at => parseInt(accent.slice(at, at + 2), 16));
        for (let x = 0; x < 2000; x += 1)
          if (pixels[4 * x] === r && pixels[4 * x + 1] === g && pixels[4 * x + 2] === b) return x + 2;
    """)
    middle = canvas.size["width"] / 2
    drag = ActionChains(page.browser, duration=40)
    drag.move_to_element_with_offset(canvas, round(edge - middle), 17 - canvas.size["height"] // 2).click_and_hold()
    drag.move_by_offset(-60, 0).perform()
    page.until(
        "return Number(document.querySelector('canvas.picture').dataset.frame) < arguments[0]", before["onset_frame"]
    )
    shown = page.burnt
    assert page.review["revision"] == revision
    ActionChains(page.browser).release().perform()
    page.saved()
    after = page.chosen
    assert after["onset_frame"] == shown < before["onset_frame"]
    assert after["offset_frame"] == before["offset_frame"]
    assert page.review["revision"] == revision + 1
    page.held(Keys.CONTROL, "z")
    page.saved()


def test_the_later_of_two_windows_is_told(page: Page) -> None:
    page.keys("n")
    key = page.chosen["key"]
    rid = page.browser.execute_script("return document.documentElement.dataset.ready")
    event = page.chosen
    change = {"key": key, "revision": event["revision"], "after": {"note": "seen elsewhere"}}
    body = {"id": "from-elsewhere", "what": "note", "changes": [change]}
    page.browser.execute_async_script(
        "const done = arguments[2]; fetch(arguments[0], {method: 'POST', headers: {'Content-Type': 'application/json'},"
        "body: JSON.stringify(arguments[1])}).then(answer => done(answer.status))",
        f"/api/recordings/{rid}/edits", body,
    )  # fmt: skip
    page.keys("x")
    words = page.until("return document.querySelector('.note.warning')?.innerText")
    assert "Not saved (reject)" in words
    assert "changed meanwhile" in words
    page.saved()
    assert (page.chosen["verdict"], page.chosen["note"]) == ("accepted", "seen elsewhere")
    assert page.browser.execute_script("return document.querySelector('.row-note textarea').value") == "seen elsewhere"
    page.held(Keys.CONTROL, "z")
    page.saved()


def test_what_is_written_in_other_layers_does_not_load_this_one_anew(page: Page) -> None:
    """Entries are numbered over all layers: the next of this one need not be the next number."""
    known = page.browser.execute_async_script(
        "const done = arguments[0]; import('/static/layer.js').then(({ OwnLayer }) => { const layer = new OwnLayer();"
        "layer.load({ events: [], revision: 1 }); const take = (before, number) => { layer.take({ events: [], before,"
        "number, revision: number }); return layer.revision; };"
        "done([take(1, 4), take(4, 5), take(6, 7), take(5, 6)]); }).catch(error => done(String(error)))"
    )
    assert known == [4, 5, 5, 6]


def test_two_windows_of_one_browser_stay_in_step(page: Page) -> None:
    page.keys("n")
    address, first = page.browser.current_url, page.browser.current_window_handle
    page.browser.switch_to.new_window("window")
    try:
        page.browser.get(address)
        page.until("return document.documentElement.dataset.whole")
        page.keys("n", "a")
        page.saved()
        page.browser.switch_to.window(first)
        page.until("return document.querySelector('.row.current.verdict-accepted')")
        assert "another window" in page.text(".note.warning")
        page.held(Keys.CONTROL, "z")
        page.saved()
        # What the other one says may come late, or not at all: who looks again sees it, and is told as well.
        page.browser.execute_script("document.querySelector('.note.warning button').click()")
        page.browser.switch_to.window(next(each for each in page.browser.window_handles if each != first))
        page.browser.execute_script("BroadcastChannel.prototype.postMessage = () => {}")
        page.until("return document.querySelector('.row.current.verdict-open')")
        page.keys("x")
        page.saved()
        page.browser.switch_to.window(first)
        page.browser.execute_script("document.dispatchEvent(new Event('visibilitychange'))")
        page.until("return document.querySelector('.row.current.verdict-rejected')")
        assert "another window" in page.text(".note.warning")
        page.held(Keys.CONTROL, "z")
        page.saved()
    finally:
        for handle in page.browser.window_handles:
            if handle != first:
                page.browser.switch_to.window(handle)
                page.browser.close()
        page.browser.switch_to.window(first)


def test_an_edit_survives_a_server_that_is_gone(browser: Any, tmp_path: Path) -> None:
    results = write_numbered_results(tmp_path, name=STEADY, count=60, events=2)
    started = start_server(results, output=tmp_path / "uploads")
    page = Page(browser, started.url)
    try:
        page.open(STEADY)
        page.keys("n")
        started.kill()
        page.keys("a")
        page.until("return document.querySelector('#saved.failed')")
        assert "1 change not saved" in page.text("#saved")
        port = int(started.url.split(":")[2].split("/")[0])
        started = start_server(results, output=tmp_path / "uploads", port=port)
        page.saved()
        assert page.chosen["verdict"] == "accepted"
    finally:
        started.kill()


@pytest.mark.parametrize(("width", "height", "scheme"), [(1440, 900, "dark"), (1024, 768, "light"), (390, 844, "dark")])
def test_no_window_makes_the_page_scroll_sideways(page: Page, width: int, height: int, scheme: str) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
    try:
        page.reload()
        page.keys("n")
        needed = page.browser.execute_script("return document.documentElement.scrollWidth")
        ink, surface = page.browser.execute_script(
            "const style = getComputedStyle(document.querySelector('.part-panel'));"
            "return [style.color, style.backgroundColor]"
        )
        brightness = [sum(map(int, each[4:-1].split(", "))) for each in (ink, surface)]
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert needed <= width
    assert (brightness[0] < brightness[1]) == (scheme == "light")


def test_the_keys_that_are_listed_are_those_that_work(page: Page) -> None:
    page.keys("?")
    assert "hold while the movement lasts" in page.text("dialog.help")
    page.keys(Keys.ESCAPE)
    page.until("return !document.querySelector('dialog[open]')")
    commands = page.browser.execute_async_script(
        "const done = arguments[0];"
        "Promise.all([import('/static/keys.js'), import('/static/commands.js')]).then(([keys, commands]) => {"
        "const page = {layer: {}, selection: {}, player: {}, timeline: {}, table: {}, timebase: {frames: 1}};"
        "const known = commands.commandsOf(page);"
        "const names = keys.KEYS.flatMap(([, rows]) => rows.map(row => row[2]));"
        "done(names.filter(name => typeof known[name] !== 'function')); })"
    )
    assert commands == []


def test_words_are_searched_by_keyboard(page: Page) -> None:
    page.keys("n", "t")
    page.held(Keys.CONTROL, "a")
    page.keys("Raised left", Keys.ENTER)
    page.saved()
    key = page.chosen["key"]
    shown = "return [...document.querySelectorAll('.row')].map(row => row.dataset.key).join()"
    every = page.browser.execute_script(shown)
    page.keys("n", "/", *"left raised")
    page.until(f"{shown} === arguments[0]", key)
    page.keys(Keys.ENTER)
    assert page.chosen["key"] == key
    page.keys("/", Keys.ESCAPE)
    page.until(f"{shown} === arguments[0]", every)
    for words, found in (("machine", every), (" nobody", "")):
        page.keys("/", *words)
        page.until(f"{shown} === arguments[0]", found)
    page.keys(Keys.ESCAPE)
    page.held(Keys.CONTROL, "z")
    page.saved()


def test_rows_show_movement_or_how_badly_it_was_seen(page: Page) -> None:
    moved = page.browser.execute_script("return document.querySelector('canvas.rows').toDataURL()")
    for words, sign in (("doubt", "!=="), ("moved", "===")):
        page.keys("b")
        page.until("return document.querySelector('.row-kind').textContent.startsWith(arguments[0])", words)
        page.until(f"return document.querySelector('canvas.rows').toDataURL() {sign} arguments[0]", moved)
    assert "slow drift" in page.browser.execute_script("return document.querySelector('.row-kind').title")


def test_what_people_write_does_not_turn_round_what_stands_beside_it(page: Page) -> None:
    page.keys("n", "t")
    page.held(Keys.CONTROL, "a")
    page.keys("\u202eabc \u2069def", Keys.ENTER)
    page.saved()
    # the note stands behind nothing it could turn round: all direction characters lie between the two that isolate
    shown = (
        "const words = document.querySelector('.row.current .rest').textContent; return words.includes('def') && words"
    )
    rest = page.until(shown)
    start, end = rest.index("\u2068"), rest.index("\u2069")
    assert rest[start:] == "\u2068abc def\u2069"
    assert end == len(rest) - 1
    assert page.browser.execute_script(
        "return [...document.querySelectorAll('.panel-head span, .row .label, .proposed span')]"
        ".every(each => getComputedStyle(each).unicodeBidi === 'isolate')"
    )
    page.held(Keys.CONTROL, "z")
    page.saved()


def test_names_are_whole_and_do_not_overlap(page: Page) -> None:
    cut = page.browser.execute_script(
        "return [...document.querySelectorAll('.row-names li')]"
        ".filter(each => each.scrollWidth > each.clientWidth || each.clientHeight < 13).map(each => each.textContent)"
    )
    assert cut == []
    page.keys("n")
    cut = page.browser.execute_script(
        "return [...document.querySelectorAll('.label-choice')].filter(each => each.scrollWidth > each.clientWidth + 1)"
        ".map(each => each.textContent)"
    )
    assert cut == []


def test_faces_stay_barred_until_they_are_unlocked(page: Page) -> None:
    assert page.text(".faces-note") == "Eyes are barred: V shows faces"
    page.goto(50)
    inside = (
        "const canvas = document.querySelector('canvas.picture'), scale = canvas.width / 512;"
        "const [x, y] = [Math.round(225 * scale), Math.round(119 * scale)];"
        "return [...canvas.getContext('2d').getImageData(x, y, 1, 1).data]"
    )
    assert max(page.browser.execute_script(inside)[:3]) < 60
    page.keys("v")
    assert "personal data" in page.text("dialog")
    page.browser.find_element("css selector", "dialog .yes").click()
    page.until("return document.querySelector('.faces-note').hidden")
    page.until(f"return (() => {{ {inside} }})()[0] > 120")
    page.keys("v")
    page.until(f"return (() => {{ {inside} }})()[0] < 60")


def test_a_picture_whose_motion_is_larger_says_so_as_long_as_it_is_shown(page: Page) -> None:
    page.keys("n")
    larger = "return [...document.querySelectorAll('.tile .caption')].at(-1).textContent.includes('motion ×')"
    page.until(larger)
    page.keys("3", "1")
    page.saved()
    assert "as it was corrected" in page.browser.execute_script("return document.querySelector('#notes').textContent")
    assert page.browser.execute_script(larger)
    covered = page.browser.execute_script(
        "return [...document.querySelectorAll('.tile')].filter(tile => tile.querySelector('.caption')"
        ".getBoundingClientRect().bottom > tile.querySelector('img').getBoundingClientRect().top + 1).length"
    )
    assert covered == 0
    for _ in range(2):
        page.held(Keys.CONTROL, "z")
        page.saved()


def test_the_face_of_the_chosen_event_fills_the_picture(page: Page) -> None:
    page.keys("n")
    picture = "document.querySelector('canvas.picture')"
    whole, address = f"{picture}.toDataURL()", "performance.getEntriesByType('resource').at(-1).name"
    before = page.browser.execute_script(f"return {whole}")
    page.held(Keys.SHIFT, "z")
    page.until(f"return {whole} !== arguments[0]", before)
    assert "face=1&around=" in page.browser.execute_script(f"return {address}")
    page.keys(Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    page.held(Keys.SHIFT, "z")
    page.until(f"return {whole} === arguments[0]", before)


def test_keys_are_those_of_the_page_again_after_a_menu_or_a_box(page: Page) -> None:
    focus = "return document.activeElement === document.body"
    page.browser.find_element("css selector", ".check input").click()
    assert page.browser.execute_script(focus)
    page.browser.find_element("css selector", ".check input").click()
    order = page.browser.find_element("css selector", "select[aria-label=Order]")
    order.send_keys("m")  # most unsure first, by key: the field keeps the keys until Esc
    assert not page.browser.execute_script(focus)
    page.keys(Keys.ESCAPE)
    assert page.browser.execute_script(focus)
    page.keys("n")
    assert page.chosen
    page.browser.find_element("css selector", ".menu summary").click()
    page.keys(Keys.ESCAPE)
    assert not page.browser.execute_script("return document.querySelector('.menu').open")
    assert page.chosen  # Esc left the menu, and nothing else


def test_what_was_undone_is_looked_at(page: Page) -> None:
    page.keys("n", "x", "n", "n")
    page.saved()
    elsewhere = page.chosen["key"]
    page.held(Keys.CONTROL, "z")
    page.saved()
    page.until("return document.querySelector('.row.current.verdict-open')")
    assert page.chosen["key"] != elsewhere
    assert page.chosen["verdict"] == "open"


def test_an_undo_that_is_answered_late_moves_nobody(page: Page) -> None:
    page.keys("n", "x", "n")
    page.saved()
    page.browser.execute_script(
        "const send = window.fetch; window.fetch = (path, how) => String(path).endsWith('/undo')"
        "? new Promise(go => setTimeout(go, 400)).then(() => send(path, how)) : send(path, how)"
    )
    page.held(Keys.CONTROL, "z")
    page.keys("n")
    chosen = page.browser.execute_script("return document.querySelector('.row.current').innerText")
    page.saved()
    page.until("return !document.querySelector('.row.verdict-rejected')")
    assert page.browser.execute_script("return document.querySelector('.row.current').innerText") == chosen


def test_no_picture_of_another_view_is_kept(page: Page) -> None:
    """One that is being decoded while faces are barred, or the face alone is asked for, belongs to neither cache."""
    kept = page.browser.execute_async_script(
        "const done = arguments[0]; import('/static/pictures.js').then(async ({ Pictures }) => {"
        "const blob = await new Promise(go => document.querySelector('canvas.picture').toBlob(go));"
        "const pictures = new Pictures('/nowhere', { frames: 9, widest: 640 });"
        "pictures.compressed.set(1, { blob, time_s: 0 }); const taken = pictures.take(1); pictures.show('eyes');"
        "const error = await taken.then(() => null, each => each.name); done([error, pictures.decoded.size]); })"
    )
    assert kept == ["AbortError", 0]


def test_all_that_can_be_pressed_has_a_name(page: Page) -> None:
    page.keys("n")
    unnamed = page.browser.execute_script("""
        return [...document.querySelectorAll('button, select, input, textarea, a, [role=slider], [role=grid]')]
          .filter(each => !(each.textContent.trim() || each.getAttribute('aria-label') || each.labels?.length))
          .map(each => each.outerHTML.slice(0, 120));
    """)
    assert unnamed == []


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_two_hundred_kills_lose_nothing(browser: Any, tmp_path: Path) -> None:
    """Whatever the moment at which the server dies: in the end each edit is there, and none twice."""
    results = write_numbered_results(tmp_path, name=STEADY, count=FRAMES, events=1)
    started = start_server(results, output=tmp_path / "uploads")
    port = int(started.url.split(":")[2].split("/")[0])
    page, draw = Page(browser, started.url), random.Random(4)
    page.open(STEADY)
    page.keys("n")
    start = onset = page.chosen["onset_frame"]
    edits = page.review["revision"]
    try:
        for _ in range(200):
            death = threading.Timer(draw.uniform(0, 0.4), started.kill)
            death.start()
            moves = draw.randint(1, 6)
            earlier = onset >= start  # never so far that the onset would meet the offset
            page.keys(*("d" if earlier else "f") * moves)
            onset += -moves if earlier else moves
            edits += moves
            page.until("return document.querySelector('#saved').className !== 'saved saving'")
            if draw.random() < 0.2:
                page.browser.execute_script(
                    "window.addEventListener('beforeunload', e => e.stopImmediatePropagation(), true)"
                )
                death.join()
                started = start_server(results, output=tmp_path / "uploads", port=port)
                page.reload()
            else:
                death.join()
                started = start_server(results, output=tmp_path / "uploads", port=port)
            page.saved()
            review = page.review
            assert (review["revision"], review["events"][0]["onset_frame"]) == (edits, onset)
    finally:
        started.kill()


def test_a_recording_without_candidates_says_what_one_may_do(page: Page) -> None:
    page.open(EMPTY)
    told = page.text(".table-host .empty")
    assert told.startswith("The machine found no candidates")
    assert "hold E" in told


@pytest.mark.slow
def test_who_codes_without_the_machine_is_told_how_to_begin(browser: Any, tmp_path: Path) -> None:
    results = write_numbered_results(tmp_path, name=STEADY, count=60, events=2)
    with serving(results, output=tmp_path / "uploads", options=("--without-machine",)) as server:
        page = Page(browser, server.url)
        page.open(STEADY)
        assert page.text(".table-host .empty").startswith("There are no events yet")


@pytest.mark.slow
def test_a_second_round_begins_from_what_two_layers_agree_on(browser: Any, tmp_path: Path) -> None:
    results = write_numbered_results(tmp_path, name=STEADY, count=FRAMES, events=4)

    def choose_from_menu(page: Page, words: str) -> None:
        script = "[...document.querySelectorAll('.menu button')].find(each => each.textContent.includes(arguments[0]))"
        page.browser.execute_script(f"{script}.click()", words)
        page.until("return document.querySelector('dialog .yes')").click()

    for coder, keys in (("ben", "nanana"), ("anna", "nanxna")):
        with serving(results, output=tmp_path / "uploads", coder=coder) as server:
            page = Page(browser, server.url)
            page.open(STEADY)
            page.keys(*keys)
            page.saved()
            choose_from_menu(page, "Release")
            page.until("return document.querySelector('.tally').textContent.endsWith('released')")
            if coder == "anna":
                choose_from_menu(page, "agree on")
                page.until("return document.documentElement.dataset.whole && location.hash.endsWith('round%202')")
                assert page.text(".tally") == "0 to review · 2 accepted · 0 rejected"
                page.keys("n", "x")
                page.saved()
                assert page.chosen_in("anna round 2")["verdict"] == "rejected"
    with serving(results, output=tmp_path / "uploads", coder="carl") as server:
        page = Page(browser, server.url)
        page.open(STEADY)
        choose_from_menu(page, "agree on")
        page.until("return document.querySelector('.tally').textContent === '0 to review · 2 accepted · 0 rejected'")
        assert (
            page.browser.execute_script("return document.querySelectorAll('.lane-boxes .lane-name span').length") == 2
        )


def test_disagreements_become_a_list_with_one_decision_each(browser: Any, tmp_path: Path) -> None:
    results = write_numbered_results(tmp_path, name=STEADY, count=120, events=4)
    with serving(results, output=tmp_path / "uploads") as server:
        page = Page(browser, server.url)
        page.open(STEADY)
        rid = page.browser.execute_script("return document.documentElement.dataset.ready")
        page.keys("n", "a", "n", "3", "n", "x")
        page.saved()
        assert page.api(f"/api/recordings/{rid}/agreement?a=anna&b=machine")["matched"] == 2
        page.browser.execute_script("location.hash += '/agreement'")
        page.until("return document.querySelector('.card .yes:disabled')")
        page.browser.execute_script("location.hash = location.hash.replace('/agreement', '')")
        page.until("return document.documentElement.dataset.whole")
        page.browser.execute_script("document.querySelector('.menu button').click()")
        page.browser.execute_script("document.querySelector('dialog .yes').click()")
        page.until("return document.querySelector('.tally').textContent.endsWith('released')")
        page.keys("a")
        assert "take the release back" in page.text(".note:last-child")
        page.browser.execute_script("location.hash += '/agreement'")
        page.until("return document.querySelector('.card .yes:enabled')").click()
        page.until("return document.documentElement.dataset.whole && location.hash.includes('adjudicated')")
        assert page.text(".tally").startswith("3 to review · 1 accepted")
        page.keys("u")
        assert page.chosen_in("adjudicated anna + machine")["verdict"] == "open"
        page.keys("q", "u", "x")
        page.saved()
        assert page.text(".tally").startswith("1 to review · 2 accepted · 1 rejected")
