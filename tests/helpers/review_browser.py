"""A server of reviews in a process of its own, and a browser that looks at its page."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium, which drives the browser, is not installed")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from helpers.burnt_in_numbers import READ_NUMBER  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
QUIET = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip
PATIENCE_S = 30


@dataclass
class Server:
    """A running ``metst review``."""

    process: subprocess.Popen[str]
    url: str

    def kill(self) -> None:
        """As ``kill -9`` does."""
        self.process.send_signal(signal.SIGKILL)
        self.end()

    def end(self) -> None:
        """Wait until it has ended."""
        self.process.wait(timeout=PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


def start_server(
    *results: Path, output: Path, port: int = 0, coder: str = "anna", options: tuple[str, ...] = ()
) -> Server:
    """``metst review`` of some results, once it has printed its address."""
    command = [sys.executable, "-m", "metst", "review", *map(str, results), "-o", str(output), "--port", str(port)]
    command += ["--token", "T", "--no-browser", "--coder", coder, *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ}
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url, "metst review printed no address"
    return Server(process, url)


@contextmanager
def serving(*results: Path, output: Path, **options: Any) -> Iterator[Server]:
    """A server that ends with the block."""
    server = start_server(*results, output=output, **options)
    try:
        yield server
    finally:
        server.process.terminate()
        server.end()


@contextmanager
def browsing(profile: Path, *, width: int = 1440, height: int = 900, trace: str = "") -> Iterator[Any]:
    """Chromium without a screen; with categories of ``trace`` its log ``performance`` tells what it did."""
    if BROWSER is None or DRIVER is None:
        pytest.skip("no Chromium with its driver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (*QUIET, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(argument)
    logs = {"browser": "ALL"}
    if trace:
        logs["performance"] = "ALL"
        options.add_experimental_option("perfLoggingPrefs", {"traceCategories": trace})
    options.set_capability("goog:loggingPrefs", logs)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


@dataclass
class Page:
    """The page as its user has it."""

    browser: Any
    url: str

    def until(self, script: str, *arguments: Any) -> Any:
        """What a script returns, once that is true."""
        end = time.monotonic() + PATIENCE_S
        while not (value := self.browser.execute_script(script, *arguments)):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.01)
        return value

    def open(self, recording: str) -> None:
        """Open the list, and a recording of it, as in a new window."""
        self.browser.get(self.url)
        links = "[...document.querySelectorAll('a.recording')]"
        link = self.until(f"return {links}.find(each => each.textContent.includes(arguments[0]))", recording)
        self.browser.execute_script("sessionStorage.clear()")
        link.click()
        self._shown()

    def reload(self) -> None:
        """Load the page anew."""
        self.browser.refresh()
        self._shown()

    def _shown(self) -> None:
        self.until("return document.documentElement.dataset.whole")
        self.until("return document.querySelector('canvas.picture').dataset.frame")
        self._drawn()

    def keys(self, *names: str) -> None:
        """Press keys one after the other; what they change is drawn then."""
        ActionChains(self.browser).send_keys(*names).perform()
        self._drawn()

    def held(self, modifier: str, *names: str) -> None:
        """Press keys while another one is held."""
        ActionChains(self.browser).key_down(modifier).send_keys(*names).key_up(modifier).perform()
        self._drawn()

    def _drawn(self) -> None:
        self.browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")

    def goto(self, frame: int) -> None:
        """Type the number of a frame."""
        field = self.browser.find_element("css selector", ".jump")
        field.send_keys(str(frame), Keys.ENTER)
        self.until("return document.querySelector('canvas.picture').dataset.frame === arguments[0]", str(frame))

    @property
    def told(self) -> int:
        """Number of the frame that the page tells."""
        return int(self.browser.execute_script("return document.querySelector('.frame-number').textContent"))

    @property
    def burnt(self) -> int | None:
        """Number of the frame that is in the picture."""
        number: int | None = self.browser.execute_script(READ_NUMBER)
        return number

    def saved(self) -> None:
        """Wait until the page says that all is saved."""
        self.until("return document.querySelector('#saved').className === 'saved saved'")

    def api(self, path: str) -> Any:
        """What the server says, asked by the page."""
        script = "const done = arguments[1]; fetch(arguments[0]).then(answer => answer.json()).then(done)"
        return self.browser.execute_async_script(script, path)

    @property
    def review(self) -> dict[str, Any]:
        """The review of the recording that is open, as the server has it."""
        rid = self.browser.execute_script("return document.documentElement.dataset.ready")
        told: dict[str, Any] = self.api(f"/api/recordings/{rid}/review")
        return told

    @property
    def chosen(self) -> dict[str, Any]:
        """The chosen event, as the server has it."""
        return self.chosen_in("")

    def chosen_in(self, layer: str) -> dict[str, Any]:
        """The chosen event of a layer, as the server has it."""
        key = self.until("return document.querySelector('.row.current')?.dataset.key")
        rid = self.browser.execute_script("return document.documentElement.dataset.ready")
        review = self.api(f"/api/recordings/{rid}/review?layer={quote(layer)}") if layer else self.review
        return next(each for each in review["events"] if each["key"] == key)

    def text(self, selector: str) -> str:
        """What is read there."""
        words: str = self.browser.execute_script("return document.querySelector(arguments[0]).innerText", selector)
        return words
