"""Fuzz the doors with atheris until each had its minutes: ``python tests/fuzz/campaign.py --minutes 30 [DOOR ...]``.

What breaks a door becomes a file ``found-...`` of its corpus, which every run of the tests sends through the door from
then on.  The figures of all campaigns are added up in ``figures.json`` beside this file, and
``docs/reliability.md`` shows them.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import math
import re
import resource
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import atheris

HERE = Path(__file__).parent
FIGURES = HERE / "figures.json"
"""Per door: CPU minutes, inputs, edges of code that they reached, findings."""
DOCS = HERE.parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- fuzzed: begin -->", "<!-- fuzzed: end -->"
"""Between them the page has the table."""

_NONE: dict[str, Any] = {"minutes": 0.0, "inputs": 0, "edges": 0, "findings": 0}

_INSTRUMENTED = ["metst", "openpyxl", "xlrd", "pickletools", "zipfile", "csv", "tomllib"]
"""Packages whose code is counted: the product's, and what it reads files with."""
_COMPILED = ("motion", "face", "models/scan", "models/engine", "synthesis/heads")
"""Rooms that are not: numba does not compile code that counts itself."""
_INPUT_S, _MEMORY_MB = 20, 3000
"""Seconds and megabytes that one input may take; set by hand: both are far more than a file of a few kB needs."""
_LONGEST = 65536  # bytes of an input
_LATE_S = 3600  # that a campaign may end late, where other work has the processors
_PROGRESS = re.compile(r"^#(\d+)\s.*?\bcov: (\d+)", re.MULTILINE)


def fuzz(name: str, seconds: int, work: Path) -> None:
    """In a process of its own: send inputs through a door until the time is over; keep those that break it."""
    source = HERE.parents[1] / "src"
    files = [path for room in _COMPILED for path in (source / "metst" / room).glob("*.py")]
    compiled = [".".join(path.relative_to(source).with_suffix("").parts) for path in files]
    with atheris.instrument_imports(include=_INSTRUMENTED, exclude=compiled):
        from fuzz import doors
    door = next(door for door in doors.DOORS if doors.name_of(door) == name)
    for path in (doors.CORPUS / name).iterdir():  # packages that are loaded at first use would count as slow inputs
        with contextlib.suppress(Exception):  # what is not mended yet is found again
            doors.through(door, path.read_bytes())
    seen: set[tuple[str, str]] = set()
    warnings.simplefilter("ignore")

    def one(data: bytes) -> None:
        try:
            doors.through(door, data)
        except Exception as error:  # noqa: BLE001 - what no door may answer with
            where = traceback.extract_tb(error.__traceback__)[-1]
            kind = (type(error).__name__, f"{where.filename}:{where.lineno}")
            if kind not in seen:
                seen.add(kind)
                _keep(name, data)
                print("FOUND", *kind, error, flush=True)

    grown = work / "grown"
    grown.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-timeout={_INPUT_S}", f"-rss_limit_mb={_MEMORY_MB}",
               f"-max_len={_LONGEST}", f"-artifact_prefix={work}/", "-print_final_stats=1"]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(grown), str(doors.CORPUS / name)], one)
    atheris.Fuzz()


def _keep(name: str, data: bytes) -> None:
    digest = hashlib.sha256(data).hexdigest()[:12]
    (HERE / "corpus" / name / f"found-{digest}").write_bytes(data)


def campaign(name: str, minutes: float, work: Path) -> dict[str, Any]:
    """Fuzz a door until the time is over, again after each input that ended the process; the figures of it."""
    end, inputs, edges, findings = time.monotonic() + 60 * minutes, 0, 0, set[str]()
    before_s = _cpu_s()
    work.mkdir(parents=True, exist_ok=True)
    while (left := math.ceil(end - time.monotonic())) > 0:
        command = [sys.executable, __file__, "--door", name, str(left), str(work)]
        log = work / "log.txt"
        with log.open("w") as file:
            subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False, timeout=left + _LATE_S)
        text = log.read_text(errors="replace")
        progress = _PROGRESS.findall(text)
        inputs += max((int(number) for number, _ in progress), default=0)
        edges = max([edges, *(int(cov) for _, cov in progress)])
        findings |= {line for line in text.splitlines() if line.startswith("FOUND")}
        for path in [*work.glob("crash-*"), *work.glob("timeout-*"), *work.glob("oom-*")]:
            findings.add(path.name.partition("-")[0])
            _keep(name, path.read_bytes())
            path.unlink()
        if not progress:
            raise RuntimeError(f"door {name}: {text[-2000:]}")
    print(name, inputs, "inputs", edges, "edges", *sorted(findings), sep="\n  ", flush=True)
    return {"minutes": (_cpu_s() - before_s) / 60, "inputs": inputs, "edges": edges, "findings": len(findings)}


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(figures: dict[str, dict[str, Any]]) -> str:
    """The figures as the page shows them."""
    lines = ["| door | CPU minutes | inputs | edges reached | found and mended |", "|---|---:|---:|---:|---:|"]
    for name, row in sorted(figures.items()):
        cells = (
            name.replace("_", " "),
            f"{row['minutes']:.1f}",
            f"{row['inputs']:,}",
            f"{row['edges']:,}",
            row["findings"],
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([BEGIN, *lines, END])


def main() -> None:
    """Slice after slice, of the door with the least so far, until each has what is wanted; a slice counts at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("doors", nargs="*")
    parser.add_argument("--minutes", type=float, default=30, help="CPU minutes wanted of each door, in all campaigns")
    parser.add_argument("--slice", type=float, default=3, help="minutes by the clock until another door has its turn")
    parser.add_argument("--work", type=Path, default=HERE.parents[1] / "build" / "fuzz")
    chosen = parser.parse_args()
    names = chosen.doors or sorted(path.name for path in (HERE / "corpus").iterdir())
    while True:
        with FIGURES.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # another campaign may be writing
            figures = json.load(file)
        least = min(names, key=lambda name: figures.get(name, _NONE)["minutes"])
        if figures.get(least, _NONE)["minutes"] >= chosen.minutes:
            return
        _add(least, campaign(least, chosen.slice, chosen.work / least))


def _add(name: str, new: dict[str, Any]) -> None:
    """To the figures and to the page; another campaign, of other doors, may run beside this."""
    with FIGURES.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        figures = json.load(file)
        old = figures.get(name, _NONE)
        sums = {key: old[key] + new[key] for key in ("minutes", "inputs", "findings")}
        figures[name] = sums | {"edges": max(new["edges"], old["edges"])}
        file.seek(0)
        file.write(json.dumps(figures, indent=1, sort_keys=True) + "\n")
        file.truncate()
        text = DOCS.read_text(encoding="utf-8")
        page = text[: text.index(BEGIN)] + table(figures) + text[text.index(END) + len(END) :]
        DOCS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    if sys.argv[1:2] == ["--door"]:
        fuzz(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()
