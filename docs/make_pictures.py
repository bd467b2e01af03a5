"""Make the pictures of the README and the docs: the demonstration's report and its review, in a browser.

python docs/make_pictures.py [--demo FOLDER]    # FOLDER: what `metst demo -o FOLDER` wrote; made when absent

The face in them is NASA's public-domain portrait that the package carries, averaged and with its eyes covered, as the
report shows faces.  No other picture of a person is kept with the code.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageChops
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains

PICTURES = Path(__file__).with_name("pictures")
MOST_BYTES = 300_000
WIDTH, HEIGHT, SCALE = 1000, 1600, 1.5  # of the window, px; pixels of the picture per px
EDGE = 12  # px left around what is shown
REVIEW = "review.png"
REVIEW_SIZE = (1360, 1000)  # of its window, px
PATIENCE_S = 30  # for the page of the review

SHOWN = {
    "report.png": "main > section:not(#timeline), footer",
    "candidate.png": "header, footer, main > section:not(#cards), #cards > :not(#event-2)",
}
"""Pictures, and what is hidden for each."""


def chromium() -> str:
    """The browser."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        sys.exit("these pictures are taken with Chromium: install it (Debian: chromium, chromium-driver)")
    return found


def shoot(page: Path, *, hidden: str, work: Path) -> Image.Image:
    """The page as a browser shows it without what is hidden, cut to its content."""
    browser = chromium()
    html = page.read_text(encoding="utf-8")
    copy, picture = work / "page.html", work / "page.png"
    copy.write_text(html.replace("</head>", f"<style>{hidden} {{ display: none }}</style></head>"), encoding="utf-8")
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars")
    size = (f"--window-size={WIDTH},{HEIGHT}", f"--force-device-scale-factor={SCALE}")
    command = [browser, *quiet, *size, f"--user-data-dir={work / 'profile'}", f"--screenshot={picture}", copy.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with Image.open(picture) as shot:
        whole = shot.convert("RGB")
    ground = Image.new("RGB", whole.size, whole.getpixel((whole.width - 1, whole.height - 1)))
    box = ImageChops.difference(whole, ground).getbbox()
    if box is None:
        sys.exit(f"{page} shows nothing when {hidden} is hidden")
    edge = round(EDGE * SCALE)
    left, top, right, bottom = box
    return whole.crop(
        (max(left - edge, 0), max(top - edge, 0), min(right + edge, whole.width), min(bottom + edge, whole.height))
    )


def shoot_review(demo: Path, *, work: Path) -> Image.Image:
    """The page of the review of a demonstration, its second candidate chosen; eyes stay barred."""
    folder = shutil.copytree(demo, work / "reviewed")  # where it is kept that somebody began
    command = [sys.executable, "-m", "metst", "review", str(folder), "--no-browser", "--coder", "anna"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        options = webdriver.ChromeOptions()
        options.binary_location = chromium()
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
            options.add_argument(argument)
        # Named, so that Selenium looks for no driver elsewhere and tells nobody.
        driver = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
        browser = webdriver.Chrome(options=options, service=driver)
        try:
            browser.set_window_size(*REVIEW_SIZE)
            browser.get(server.stdout.readline().strip())
            browser.implicitly_wait(PATIENCE_S)
            browser.find_element("css selector", "a.recording").click()
            browser.find_element("css selector", "html[data-whole]")
            for button in browser.find_elements("xpath", "//button[normalize-space()='Got it']"):
                button.click()
            ActionChains(browser).send_keys("nnz").perform()
            time.sleep(8)  # pictures come, and the magnified one
            browser.save_screenshot(str(work / REVIEW))
        finally:
            browser.quit()
            server.terminate()
    with Image.open(work / REVIEW) as shot:
        return shot.convert("RGB")


def keep(picture: Image.Image, name: str) -> None:
    """Write a picture, small."""
    picture = picture.quantize(256)
    picture.save(PICTURES / name, optimize=True)
    size = (PICTURES / name).stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"{name} has {size} bytes, and no more than {MOST_BYTES} are kept with the code")
    print(f"docs/pictures/{name}: {picture.width}x{picture.height}, {size / 1000:.0f} kB")


def main() -> None:
    """Run the demonstration when needed, and write docs/pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, help="folder of a demonstration that was run before")
    demo = parser.parse_args().demo
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if demo is None:
            demo = work / "demo"
            subprocess.run([sys.executable, "-m", "metst", "demo", "--quiet", "--output", str(demo)], check=True)
        PICTURES.mkdir(exist_ok=True)
        for name, hidden in SHOWN.items():
            keep(shoot(demo / "report.html", hidden=hidden, work=work), name)
        keep(shoot_review(demo, work=work), REVIEW)


if __name__ == "__main__":
    main()
