"""Cache and results through any sequence of what may happen to them, beside a dict that says what must be there.

What is read back is what one analysis found, or is refused with a message that names the file; never parts of two.  The
recordings are a few bytes and their motion is drawn from those; all that keeps, writes, finds and deletes is real.  A
kill is an interrupt after which no step on the disk is let through any more, so that nothing tidies up.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from filelock import FileLock
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import metst.analyze  # noqa: F401 - its module is patched
from helpers.disk_steps import watch
from helpers.pretend_recordings import motion_of_content, pretend, problems_of_content
from metst.config import AnalyzeSettings
from metst.datasets.corpus import find_recordings
from metst.errors import DataError
from metst.evaluation import analyses
from metst.evaluation.analyses import CORPUS_PAGE, CORPUS_TABLE, REPORT_FILE, AnalysisTask, Choices, analyze_all
from metst.evaluation.executors import Executor
from metst.evaluation.purging import chosen, delete, find_results, sweep_all
from metst.inference import decode_events, score_motion
from metst.models.checkpoint import Model, load_model
from metst.motion import cache as motion_cache
from metst.motion.cache import FOLDER_VARIABLE, MotionCache, default_folder, motion_key, open_cache
from metst.report.corpus_page import write_corpus_page, write_summary
from metst.results import Analysis, Motion, read_analysis, read_header
from metst.results.overview import OVERVIEW_FILE
from metst.storage import leftovers
from metst.storage.locks import LOCK_FILE
from metst.timeline import Series
from metst.video import content_hash

ROOT = Path(tempfile.gettempdir()) / f"metst-states-{os.getpid()}"
NOBODY = 4_194_305
"""A number that no process of Linux has: they end at 2 ** 22."""

NAMES = ("a", "b", "a-2")
CONTENTS = (b"0", b"1", b"2")
MODELS = ("metst-event", "starter")
PEOPLE = ("", "P1", "P2")
TABLES = ("events.csv", "frames.csv", "face.csv")
MOTION = ("motion.csv", "motion.safetensors")
DAY_S = 86400.0


class Killed(KeyboardInterrupt):
    """What catches any error lets this through."""


class Disk:
    """Stops the work at a step, and lets no other step through until the process is another one."""

    def __init__(self) -> None:
        self.left = -1
        self.dead = False

    def strike(self, _: int) -> None:
        if self.dead or self.left == 0:
            self.dead = True
            raise Killed
        self.left -= 1


@lru_cache(maxsize=1)
def the_disk() -> Disk:
    disk = Disk()
    watch([ROOT], disk.strike)
    return disk


@cache
def the_model(name: str) -> Model:
    return load_model(name).as_used()


@dataclass(frozen=True)
class Found:
    """What an analysis must hold: all of it follows from these."""

    content: bytes
    model: str
    version: str
    layout: int
    format: str
    person: str


Owner = tuple[bytes, str]
"""A content, and a person."""


@lru_cache(maxsize=256)
def expected(content: bytes, model: str) -> tuple[Motion, Series, Any]:
    motion = motion_of_content(content)
    scores = score_motion(motion.displacement, model=the_model(model), quality=motion.quality)
    return motion, scores, decode_events(scores, model=the_model(model))


def same(one: Any, other: Any) -> bool:
    return np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f")


def is_analysis(analysis: Analysis, found: Found, *, names: set[str]) -> bool:
    """Whether all that was read is what follows from ``found``."""
    motion, scores, events = expected(found.content, found.model)
    mine, name = analysis.motion, analysis.source.name
    kept = ["displacement", "face", "quality", "conditions", "centres", "face_quality"]
    arrays = [getattr(getattr(each, part), "values", getattr(each, part)) for part in kept for each in (mine, motion)]
    return (
        all(same(one, other) for one, other in zip(arrays[::2], arrays[1::2], strict=True))
        and mine.reason == motion.reason
        and same(analysis.scores.values, scores.values)
        and all(
            same(getattr(analysis.events, part), getattr(events, part))
            for part in ("onset", "apex", "offset", "confidence", "probability")
        )
        and analysis.events.label == events.label
        and name in names
        and set(problems_of_content(found.content, name=name)) <= set(analysis.problems)
        and (analysis.model["name"], analysis.version) == (found.model, found.version)
        and analysis.motion_algorithm == found.layout
        and analysis.custody.person == found.person
    )


@dataclass
class Folder:
    """What may be known of one folder of results, until it is looked at.

    ``maybe``: what may be read of it; None: it is refused.  ``owners``: of whose content it may say that it is, and
    of which person; None: it says nothing.  ``flipped``: files of which a bit was changed.  ``done``: whether no kill
    cut the last analysis off.  ``said``: the last person it was known to be of.  ``locked``: whether the file of a
    lock may be there, which keeps nobody out.
    """

    maybe: set[Found | None] = field(default_factory=lambda: {None})
    owners: set[Owner | None] = field(default_factory=lambda: {None})
    flipped: set[str] = field(default_factory=set)
    done: bool = False
    said: str = ""
    locked: bool = False

    @property
    def owner(self) -> Owner | None:
        (owner,) = self.owners
        return owner


PLACE = st.one_of(st.integers(0, 3000), st.floats(0, 1))
"""Of a byte in a file: from its beginning, or a share of its length."""


def flip(path: Path, *, bit: int, place: float) -> None:
    content = bytearray(path.read_bytes())
    at = int(place * len(content)) if isinstance(place, float) else place
    content[min(at, len(content) - 1)] ^= 1 << bit
    path.write_bytes(content)


HOW = st.builds(
    Choices,
    st.sampled_from(MODELS),
    motion_format=st.sampled_from(["csv", "safetensors"]),
    person=st.sampled_from(PEOPLE),
)


class Machine(RuleBasedStateMachine):
    """The rules are what people, other versions and bad luck do; the invariants hold after each of them."""

    @initialize(how=st.one_of(st.none(), HOW))
    def start(self, how: Choices | None) -> None:
        self.disk = the_disk()
        shutil.rmtree(ROOT, ignore_errors=True)
        self.input, self.output = ROOT / "in", ROOT / "out"
        self.input.mkdir(parents=True)
        self.patch = pytest.MonkeyPatch()
        pretend(self.patch)
        self.patch.setattr(os, "fsync", lambda _: None)  # processes are killed here, no power is lost
        self.patch.setenv(FOLDER_VARIABLE, str(ROOT / "cache"))
        self.patch.setattr(analyses, "_loaded", lambda name, *_: the_model(name))
        self.recordings: dict[str, bytes] = {}
        self.folders: dict[str, Folder] = {}
        self.kept: dict[str, tuple[bytes, bool]] = {}  # by key: whose motion, and whether it must be there
        self.names: set[str] = set()
        self.loose = False  # whether parts of a killed process may lie about
        self.version, self.layout = "1.0", motion_cache.FORMAT
        self.other_version(self.version, self.layout)
        for name, content in zip(NAMES[:2], CONTENTS, strict=False):
            self.record(name, content)
        if how is not None:
            self.work(how, again=False, only=False)

    def teardown(self) -> None:
        if hasattr(self, "patch"):
            self.patch.undo()
            self.disk.left, self.disk.dead = -1, False
            self.another_process()
            shutil.rmtree(ROOT, ignore_errors=True)

    # What may happen

    @rule(name=st.sampled_from(NAMES), content=st.sampled_from(CONTENTS))
    def record(self, name: str, content: bytes) -> None:
        """A new recording, or another content in the place of one."""
        self.recordings[name] = content
        self.names.add(f"{name}.mp4")
        (self.input / f"{name}.mp4").write_bytes(content)

    @precondition(lambda self: self.recordings)
    @rule(data=st.data(), to=st.sampled_from(NAMES))
    def move(self, data: st.DataObject, to: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.recordings)))
        self.recordings[to] = self.recordings.pop(name)
        self.names.add(f"{to}.mp4")
        (self.input / f"{name}.mp4").replace(self.input / f"{to}.mp4")

    @rule(version=st.sampled_from(["1.0", "1.1"]), layout=st.sampled_from([4, 5]))
    def other_version(self, version: str, layout: int) -> None:
        self.version, self.layout = version, layout
        for place in (sys.modules["metst.analyze"], motion_cache, importlib.metadata):
            self.patch.setattr(place, "version", lambda _: version)
        self.patch.setattr(motion_cache, "FORMAT", layout)

    @precondition(lambda self: self.recordings)
    @rule(how=HOW, again=st.booleans(), only=st.booleans())
    def analyse(self, how: Choices, again: bool, only: bool) -> None:
        self.work(how, again=again, only=only)

    @precondition(lambda self: self.recordings)
    @rule(how=HOW, again=st.booleans(), only=st.booleans(), stop=st.integers(0, 90))
    def analyse_until_killed(self, how: Choices, again: bool, only: bool, stop: int) -> None:
        self.work(how, again=again, only=only, stop=stop)

    def work(self, choices: Choices, *, again: bool, only: bool, stop: int | None = None) -> None:
        """The whole corpus, or its first recording; with ``stop``, until that step on the disk."""
        inputs = [self.input / f"{min(self.recordings)}.mp4"] if only else [self.input]
        tasks: list[AnalysisTask] = []

        def command() -> list[dict[str, Any]]:
            recordings = find_recordings(inputs, output=self.output)
            tasks.extend(AnalysisTask(each.path, self.output / each.name, choices, again=again) for each in recordings)
            lines = analyze_all(tasks, executor=Executor(workers=1))
            self.output.mkdir(exist_ok=True)
            write_summary(lines, self.output / CORPUS_TABLE)
            write_corpus_page(lines, self.output / CORPUS_PAGE, report=REPORT_FILE)
            return lines

        before = {path.parent: path.stat().st_mtime_ns for path in self.output.rglob("analysis.json")}
        lines = self.run(command, stop=stop)
        for position, task in enumerate(tasks):
            self.analysed(task, None if lines is None else lines[position], before=before.get(task.folder))
        if lines is None:
            for task in tasks:
                self.let_go(task.folder)
                self.folders[task.folder.name].locked = True

    def analysed(self, task: AnalysisTask, line: dict[str, Any] | None, *, before: int | None) -> None:
        """What the model knows of a folder after a recording had its turn, or after a kill at some moment."""
        content, choices = self.recordings[task.path.stem], task.choices
        folder = self.folders.setdefault(task.folder.name, Folder())
        (old,), owner = folder.maybe, folder.owner
        assert owner is None or owner[0] == content, f"{task.folder} was of another recording"
        before_that = owner[1] if owner else ""
        lost = {folder.said} if "analysis.json" in folder.flipped else set()  # what is damaged may still tell
        persons = {choices.person} if choices.person else {before_that} | lost
        new = {
            Found(content, choices.model, self.version, self.layout, choices.motion_format, each) for each in persons
        }
        owners = {(content, each) for each in persons}
        key = motion_key(content_hash(task.path), settings=AnalyzeSettings())
        if line is None:
            folder.maybe, folder.owners, folder.done = {old, None, *new}, {owner, *owners}, False
            self.kept.setdefault(key, (content, False))
            return
        if folder.flipped & {*TABLES, *MOTION} and "error" in line:
            (file,) = {name for name in folder.flipped if name in line["error"]} or {""}
            assert file, line
            return
        assert "error" not in line, line
        ran = (task.folder / "analysis.json").stat().st_mtime_ns != before
        assert ran or not task.again
        assert not ran or task.again or not (folder.done and not folder.flipped and {old} == new), "it was done already"
        if ran:
            self.kept[key], folder.locked = (content, True), False
        folder.maybe, folder.owners, folder.flipped, folder.done = {*new}, {*owners}, set(), True

    @precondition(lambda self: self.output.is_dir())
    @rule(person=st.sampled_from([None, *PEOPLE[1:]]))
    def purge(self, person: str | None) -> None:
        self.delete(person)

    @precondition(lambda self: self.output.is_dir())
    @rule(person=st.sampled_from([None, *PEOPLE[1:]]), stop=st.integers(0, 40))
    def purge_until_killed(self, person: str | None, stop: int) -> None:
        self.delete(person, stop=stop)

    def delete(self, person: str | None, *, stop: int | None = None) -> None:
        """What is of a person, or everything; with ``stop``, until that step on the disk."""
        found = {each.folder.name for each in chosen(find_results([self.output]), person=person, expired_on=None)}
        perhaps = found if person is None else set[str]()  # a changed bit may hide that a file is metst's
        going = {name for name in self.folders if self.is_of(name, person) or name in perhaps}
        contents = {self.folders[name].owner[0] for name in going if self.folders[name].owner}

        def command() -> list[str]:
            found = chosen(find_results([self.output]), person=person, expired_on=None)
            assert {each.folder.name for each in found} >= going
            return delete(found, cache=open_cache(default_folder()))[1]

        problems = self.run(command, stop=stop)
        for key, (content, _) in list(self.kept.items()):
            if content in contents and problems is None:
                self.kept[key] = (content, False)
            elif content in contents:
                assert MotionCache(default_folder()).read(key, name="x") is None
                del self.kept[key]
        for name in going:
            if problems is None:
                folder = self.folders[name]
                folder.maybe, folder.owners, folder.done = {*folder.maybe, None}, {*folder.owners, None}, False
                folder.locked = True
                self.let_go(self.output / name)
            else:
                assert not self.files(self.output / name) - {LOCK_FILE}
                del self.folders[name]
        told = not any("analysis.json" in each.flipped for each in self.folders.values())  # else nobody can tell
        if problems is not None and person and going and told and (table := self.output / CORPUS_TABLE).is_file():
            assert person not in re.split(r"[,\n]", table.read_text())

    def is_of(self, name: str, person: str | None) -> bool:
        """Whether a purge must find a folder: of everything, also those that nobody can tell the person of."""
        owner = self.folders[name].owner
        if person is None:
            return bool(
                (self.files(self.output / name) & {"analysis.json", OVERVIEW_FILE}) - self.folders[name].flipped
            )
        return owner is not None and owner[1] == person

    @precondition(lambda self: self.whole_files())
    @rule(data=st.data(), bit=st.integers(0, 7), place=PLACE)
    def flip_in_results(self, data: st.DataObject, bit: int, place: float) -> None:
        """One bit of a file that was not changed before."""
        path = data.draw(st.sampled_from(self.whole_files()))
        flip(path, bit=bit, place=place)
        self.folders[path.parent.name].flipped.add(path.name)

    @precondition(lambda self: self.whole_entries())
    @rule(data=st.data(), bit=st.integers(0, 7), place=PLACE)
    def flip_in_the_cache(self, data: st.DataObject, bit: int, place: float) -> None:
        key = data.draw(st.sampled_from(self.whole_entries()))
        flip(default_folder() / f"{key}.motion.safetensors", bit=bit, place=place)
        self.kept[key] = (self.kept[key][0], False)

    def whole_files(self) -> list[Path]:
        targets = {"analysis.json", OVERVIEW_FILE, *TABLES, *MOTION}
        return sorted(
            self.output / name / file
            for name, folder in self.folders.items()
            for file in self.files(self.output / name) & (targets - folder.flipped)
            if None not in folder.maybe
        )

    def whole_entries(self) -> list[str]:
        return sorted(key for key, (_, there) in self.kept.items() if there)

    @rule(how=st.sampled_from(["all", "age", "size"]), share=st.floats(0, 1.2))
    def prune(self, how: str, share: float) -> None:
        cache = open_cache(default_folder())
        entries = [each.path for each in cache.entries()]
        sizes = {path: path.stat().st_size for path in entries}
        if how == "all":
            gone = cache.prune(everything=True)
            assert {each.path for each in gone} == set(entries)
        elif how == "age":
            old = entries[: int(share * len(entries))]
            for path in old:
                os.utime(path, (0, 0))
            gone = cache.prune(older_than_days=30)
            assert {each.path for each in gone} == set(old)
        else:
            most = share * sum(sizes.values())
            gone = cache.prune(max_bytes=most)
            left = [path for path in entries if path.exists()]
            assert sum(sizes[path] for path in left) <= most
            assert all(sizes[each.path] + sum(sizes[path] for path in left) > most for each in gone)
        for each in gone:
            assert not each.path.exists()
            self.kept.pop(each.path.name.split(".")[0], None)

    @rule()
    def sweep(self) -> None:
        """``metst purge --leftovers``."""
        sweep_all([folder for folder in (default_folder(), self.output) if folder.is_dir()], dry=False)
        self.loose = False

    # What must hold

    @invariant()
    def results_are_those_of_one_analysis_or_refused(self) -> None:
        for name, folder in self.folders.items():
            path, odd = self.output / name, "analysis.json" in folder.flipped
            owner = self.owner(path)
            assert owner in folder.owners or (odd and owner is None), (name, owner, folder)
            if odd and owner:
                folder.flipped.remove("analysis.json")  # another spelling of the same values
            elif owner is None and not odd:  # nobody's face lies there without a word of whose it is
                assert not self.files(path) & {*TABLES, *MOTION, REPORT_FILE, OVERVIEW_FILE}, name
            found = self.read(path, folder)
            assert found in folder.maybe or (found is None and folder.flipped), (name, found, folder)
            folder.owners, folder.maybe = {owner}, {found}
            folder.said = owner[1] if owner else folder.said

    def owner(self, path: Path) -> Owner | None:
        try:
            header = read_header(path)
        except DataError as error:
            assert str(path / "analysis.json") in str(error)  # noqa: PT017 - whether it is refused is not known before
            return None
        return next(
            each for each in CONTENTS if xxhash.xxh3_128(each).hexdigest() == header.source.content_hash
        ), header.custody.person

    def read(self, path: Path, folder: Folder) -> Found | None:
        try:
            analysis = read_analysis(path)
        except DataError as error:
            odd = folder.flipped & {*TABLES, *MOTION} or {"analysis.json"}
            named = {"analysis.json", *TABLES, *MOTION} if not folder.done else odd
            assert any(str(path / each) in str(error) for each in named), error  # noqa: PT017 - the same
            return None
        fits = [each for each in folder.maybe if each is not None and is_analysis(analysis, each, names=self.names)]
        assert fits, f"{path} holds what no analysis found: {analysis.source}, {analysis.model['name']}, {folder}"
        return next((each for each in fits if (path / f"motion.{each.format}").is_file()), fits[0])

    @invariant()
    def the_cache_has_the_motion_of_that_content_or_nothing(self) -> None:
        cache = MotionCache(default_folder())
        for key, (content, there) in self.kept.items():
            found = cache.read(key, name="x.mp4")
            assert found is not None or not there
            if found is not None:
                motion = motion_of_content(content)
                assert found.problems == problems_of_content(content, name="x.mp4")
                assert found.motion.reason == motion.reason
                for part in ("displacement", "face"):
                    assert same(getattr(found.motion, part).values, getattr(motion, part).values)
                    assert same(getattr(found.motion, part).valid, getattr(motion, part).valid)
                for part in ("quality", "conditions", "centres", "face_px", "head", "face_quality"):
                    assert same(getattr(found.motion, part), getattr(motion, part))

    @invariant()
    def nothing_lies_about_that_is_nobodys(self) -> None:
        ours = {"analysis.json", OVERVIEW_FILE, REPORT_FILE, *TABLES}
        known = {f"{key}.motion.safetensors" for key in self.kept}
        assert {each for each in self.files(default_folder()) if not self.is_loose(each)} <= known
        assert {path.name for path in self.output.glob("*") if not self.is_loose(path.name)} <= {
            *self.folders, CORPUS_TABLE, CORPUS_PAGE
        }  # fmt: skip
        for name, folder in self.folders.items():
            formats = {f"motion.{each.format}" for each in folder.maybe if each} if folder.done else set()
            files = {each for each in self.files(self.output / name) if not self.is_loose(each)}
            assert files <= ours | (formats or set(MOTION)) | ({LOCK_FILE} if folder.locked else set()), name

    def is_loose(self, name: str) -> bool:
        return self.loose and name.startswith(".metst-") and name != LOCK_FILE

    @staticmethod
    def files(folder: Path) -> set[str]:
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    # Kills

    def run(self, command: Callable[[], Any], *, stop: int | None) -> Any:
        """What a command gives; None when it was killed."""
        self.disk.left = -1 if stop is None else stop
        try:
            return command()
        except Killed:
            self.loose = True
            return None
        finally:
            self.disk.left, self.disk.dead = -1, False
            self.another_process()

    def another_process(self) -> None:
        """What this process has written is now that of one which is gone; what it held in memory is forgotten."""
        for path in ROOT.rglob(f".metst-*-{os.getpid()}-*"):
            path.rename(path.with_name(path.name.replace(f"-{os.getpid()}-", f"-{NOBODY}-", 1)))
        leftovers._sweep_once.cache_clear()
        open_cache.cache_clear()

    def let_go(self, folder: Path) -> None:
        """A lock goes with its process, its file stays."""
        lock = FileLock(folder.resolve() / LOCK_FILE, timeout=0, is_singleton=True)
        if lock.is_locked:
            lock.release(force=True)


EXAMPLES, STEPS = (400, 40) if os.environ.get("HYPOTHESIS_PROFILE") == "explore" else (30, 30)
"""How many sequences are tried, and how long they are."""


def test_whatever_happens_what_is_read_is_what_was_found() -> None:
    phases = [Phase.reuse, Phase.generate, *([Phase.shrink] if EXAMPLES > 100 else [])]
    size = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, phases=phases)
    run_state_machine_as_test(Machine, settings=settings(size, suppress_health_check=list(HealthCheck)))
