"""Make the pictures of the README and the docs: the demonstration's report, in a browser, cut to what matters.

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
from pathlib import Path

from PIL import Image, ImageChops

PICTURES = Path(__file__).with_name("pictures")
MOST_BYTES = 300_000
WIDTH, HEIGHT, SCALE = 1000, 1600, 1.5  # of the window, px; pixels of the picture per px
EDGE = 12  # px left around what is shown

SHOWN = {
    "report.png": "main > section:not(#timeline), footer",
    "candidate.png": "header, footer, main > section:not(#cards), #cards > :not(#event-2)",
}
"""Pictures, and what is hidden for each."""


def shoot(page: Path, *, hidden: str, work: Path) -> Image.Image:
    """The page as a browser shows it without what is hidden, cut to its content."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("these pictures are taken with Chromium: install it (Debian: apt-get install chromium)")
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
            picture = shoot(demo / "report.html", hidden=hidden, work=work).quantize(256)
            picture.save(PICTURES / name, optimize=True)
            size = (PICTURES / name).stat().st_size
            if size > MOST_BYTES:
                sys.exit(f"{name} has {size} bytes, and no more than {MOST_BYTES} are kept with the code")
            print(f"docs/pictures/{name}: {picture.width}x{picture.height}, {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
