"""The report in a real browser: nothing loaded, nothing refused, everything reachable."""

import base64
import re
import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from helpers.analyses import make_analysis
from metst.report import write_report
from metst.results import Analysis
from metst.video import write_video

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium, which drives the browser, is not installed")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
QUIET = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return make_analysis(
        duration_s=100, events=4, gaps=((40, 46, "no face"),), name="<script>document.title = 'taken'</script>.mp4"
    )


@pytest.fixture(scope="module")
def address(analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> str:
    portrait = np.asarray(pytest.importorskip("skimage.data").astronaut())[::4, ::4]
    folder = tmp_path_factory.mktemp("report")
    write_video(folder / "clip.mp4", (portrait for _ in range(len(analysis.scores))), rate_hz=30, preset="ultrafast")
    write_report(analysis, folder / "report.html", video=folder / "clip.mp4")
    (folder / "clip.mp4").unlink()
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    if BROWSER is None or DRIVER is None:
        pytest.skip("no Chromium with its driver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (*QUIET, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1200,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()


def at(browser: webdriver.Chrome, share: float) -> str:
    """What is read where the pointer is at a share of the first row's time axis."""
    plot = browser.find_element(By.CLASS_NAME, "plot")
    browser.execute_script("arguments[0].scrollIntoView()", plot)
    left, right = (float(plot.get_attribute(f"data-{side}") or 0) for side in ("left", "right"))
    offset = round((left + share * (right - left) - 0.5) * plot.rect["width"])
    ActionChains(browser).move_to_element_with_offset(plot, offset, 0).perform()
    return plot.find_element(By.CLASS_NAME, "reading").text


def test_nothing_is_loaded_refused_or_broken(browser: webdriver.Chrome, address: str) -> None:
    browser.get(address)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)") == []
    assert browser.title.startswith("<script>document.title = 'taken'")
    widths = browser.execute_script("return [...document.images].map(image => image.naturalWidth)")
    assert len(widths) == 3 * 4
    assert set(widths) == {168}


def test_the_policy_stops_what_is_not_of_the_page(browser: webdriver.Chrome, address: str) -> None:
    browser.get(address)
    browser.execute_script(
        "const script = document.createElement('script'); script.textContent = 'window.taken = 1';"
        "document.body.append(script);"
        "const image = new Image(); image.src = 'http://127.0.0.1:9/x.png'; document.body.append(image);"
    )
    assert browser.execute_script("return window.taken") is None
    assert len([entry for entry in browser.get_log("browser") if "Content Security Policy" in entry["message"]]) == 2


def test_the_pointer_reads_frames_and_scores(browser: webdriver.Chrome, address: str, analysis: Analysis) -> None:
    browser.get(address)
    apex = int(analysis.events.apex[0])
    reading = at(browser, analysis.grid.time_s[apex] / 50)
    frame, score = int(reading.split("frame ")[1].split(" ")[0]), float(reading.split("score ")[1].split(" ")[0])
    assert abs(frame - (apex + 1)) <= 3
    assert score == pytest.approx(float(analysis.scores.values[frame - 1, 0]), abs=0.0051)
    assert reading.endswith(analysis.events.label[0])
    assert at(browser, 43 / 50).endswith("no score")


def test_the_arrow_keys_read_frame_by_frame(browser: webdriver.Chrome, address: str) -> None:
    browser.get(address)
    plot = browser.find_elements(By.CLASS_NAME, "plot")[1]
    plot.send_keys(Keys.ARROW_RIGHT)
    assert "frame 1501 " in plot.find_element(By.CLASS_NAME, "reading").text
    plot.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert "frame 1502 " in plot.find_element(By.CLASS_NAME, "reading").text
    plot.send_keys(Keys.SHIFT + Keys.ARROW_RIGHT)
    assert "frame 1512 " in plot.find_element(By.CLASS_NAME, "reading").text


def test_the_number_of_an_event_leads_to_its_card(browser: webdriver.Chrome, address: str) -> None:
    browser.get(address)
    number = browser.find_element(By.CSS_SELECTOR, ".plot svg a")
    assert number.text == "1"
    number.click()
    assert browser.current_url.endswith("#event-1")
    assert browser.find_element(By.CSS_SELECTOR, "article:target").get_attribute("id") == "event-1"


def test_dark_mode_changes_page_and_drawings(browser: webdriver.Chrome, address: str) -> None:
    browser.get(address)
    curve = (
        "const path = [...document.querySelectorAll('.plot path')].find(path => path.style.stroke === 'var(--ink)');"
        "return [getComputedStyle(document.body).backgroundColor, getComputedStyle(path).stroke]"
    )
    colours = {}
    for scheme in ("light", "dark"):
        feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
        page, ink = browser.execute_script(curve)
        colours[scheme] = [sum(map(int, text[4:-1].split(", "))) for text in (page, ink)]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert colours["light"][0] > 600 > 200 > colours["light"][1]
    assert colours["dark"][0] < 200 < 600 < colours["dark"][1]


@pytest.mark.parametrize("width", [360, 800, 1600])
def test_no_width_makes_the_page_scroll_sideways(browser: webdriver.Chrome, address: str, width: int) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(address)
    inner, needed = browser.execute_script("return [innerWidth, document.documentElement.scrollWidth]")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert inner == width
    assert needed <= width


def test_paper_is_white_and_cuts_nothing_off(browser: webdriver.Chrome, address: str) -> None:
    across = round((210 - 2 * 13) / 25.4 * 96)  # A4 without its margins, px
    dark = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    metrics = {"width": across, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(address)
    colours = browser.execute_script(
        "const style = getComputedStyle(document.body);"
        "return [style.backgroundColor, style.color, style.getPropertyValue('--class-0')]"
    )
    cut = browser.execute_script(
        "const right = innerWidth + 0.5;"
        "return [...document.querySelectorAll('td, th, p, h1, h2, h3, svg, img, li')]"
        "  .filter(each => each.getBoundingClientRect().right > right).map(each => each.outerHTML.slice(0, 80))"
    )
    seen = browser.execute_script(
        "return [...document.querySelectorAll('.hint, .skip, .cursor, .reading')]"
        "  .filter(each => getComputedStyle(each).display !== 'none').length"
    )
    pages = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"]
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    assert colours == ["rgb(255, 255, 255)", "rgb(0, 0, 0)", "#d55e00"]
    assert cut == []
    assert seen == 0
    sizes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", base64.b64decode(pages))
    assert sizes
    assert {(round(float(width)), round(float(height))) for width, height in sizes} == {(595, 842)}
