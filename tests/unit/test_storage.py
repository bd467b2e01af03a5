"""A whole file or none: whoever else writes, whatever goes wrong; fingerprints and faults in words."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from pydantic import BaseModel, ValidationError, field_validator

import metst
from metst.errors import FAULTS_SHOWN, DataError, OutputError
from metst.storage import (
    _opened,
    faults,
    faults_in_words,
    fingerprint,
    finite,
    json_key,
    leftovers,
    make_folder,
    sealed,
    unsealed,
    whole_file,
    whole_folder,
    write_parts,
    write_whole,
)
from metst.storage.leftovers import name_beside
from metst.storage.locks import only_writer

TIMES = 200
SIZE = 300_000
"""Bytes: more than one write of the system, so that a half is there to be seen."""

WRITER = f"""
import sys
from pathlib import Path
from metst.storage import write_whole

for _ in range({TIMES}):
    write_whole(Path(sys.argv[1]), sys.argv[2].encode() * {SIZE})
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_two_processes_may_write_one_file(tmp_path: Path) -> None:
    target = tmp_path / "frames.csv"
    write_whole(target, b"a" * SIZE)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(target), letter], stderr=subprocess.PIPE, text=True)
        for letter in "ab"
    ]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        seen.add(target.read_bytes())
    for writer in writers:
        _, said = writer.communicate()
        assert writer.returncode == 0, said
    assert seen | {target.read_bytes()} == {b"a" * SIZE, b"b" * SIZE}
    assert names(tmp_path) == ["frames.csv"]


def test_no_link_leads_a_writer_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    precious, target = tmp_path / "precious", tmp_path / "frames.csv"
    precious.write_text("kept")
    (tmp_path / "frames.csv.part").symlink_to(precious)
    write_whole(target, b"new")
    assert (precious.read_text(), target.read_bytes()) == ("kept", b"new")
    monkeypatch.setattr("metst.storage.leftovers.secrets.token_hex", lambda _: "known")
    with whole_file(target) as part:
        pass
    part.symlink_to(precious)  # even where the name could be foretold
    with pytest.raises(OutputError, match=r"cannot write .*frames\.csv"):
        write_whole(target, b"newer")
    assert (precious.read_text(), target.read_bytes()) == ("kept", b"")


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "events.csv").symlink_to(tmp_path / "disk" / "events.csv")
    write_whole(tmp_path / "events.csv", b"event\n")
    assert (tmp_path / "events.csv").is_symlink()
    assert (tmp_path / "disk" / "events.csv").read_bytes() == b"event\n"
    assert names(tmp_path / "disk") == ["events.csv"]


def test_a_device_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_whole(tmp_path / "pipe", b"event\n")
    assert os.read(reading, 100) == b"event\n"
    os.close(reading)
    with pytest.raises(OutputError, match="is not a file that can be replaced"), whole_file(tmp_path / "pipe"):
        pass
    assert names(tmp_path) == ["pipe"]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions_are_those_of_any_new_file(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "a", b"")
        with whole_file(tmp_path / "b") as part:
            part.write_bytes(b"")
    finally:
        os.umask(before)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"} == {0o666 & ~mask}


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "frames.csv"
    write_whole(target, b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"frames\.csv: the file would be larger than allowed"):
            write_whole(target, b"x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["frames.csv"]


def test_what_is_private_stays_so_and_what_is_not_whole_is_private(tmp_path: Path) -> None:
    write_whole(tmp_path / "motion", b"", private=True)
    assert stat.S_IMODE((tmp_path / "motion").stat().st_mode) == 0o600
    make_folder(tmp_path / "cache" / "motion", private=True)
    assert stat.S_IMODE((tmp_path / "cache" / "motion").stat().st_mode) == 0o700
    with whole_file(tmp_path / "video") as part, whole_folder(tmp_path / "model") as folder:
        assert stat.S_IMODE(part.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert part.name.startswith(".metst-")
        assert f"-{os.getpid()}-" in part.name
    usual = tmp_path / "usual"
    usual.mkdir()
    assert (tmp_path / "model").stat().st_mode == usual.stat().st_mode


def test_a_link_in_place_of_a_part_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")

    def parts() -> Iterator[bytes]:
        yield b"a"

    def linked(target: Path) -> Path:
        part = name_beside(target)
        part.symlink_to(tmp_path / "precious")
        return part

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metst.storage.name_beside", linked)
        with pytest.raises(OutputError, match="cannot write"):
            write_parts(tmp_path / "file", parts())
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        _opened(linked(tmp_path / "file"))
    assert (tmp_path / "precious").read_text() == "kept"


def test_locks_go_with_their_folder_where_nothing_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with only_writer(folder), only_writer(folder):
        assert names(folder) == [".metst-lock"]
    assert names(tmp_path) == []
    with only_writer(folder):
        (folder / "file").write_text("")
    assert names(folder) == ["file"]


def test_a_disk_without_locks_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(self: FileLock) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", none)
    with only_writer(tmp_path):
        (tmp_path / "file").write_text("")


def test_a_seal_shows_every_change_of_a_value(tmp_path: Path) -> None:
    text = '{\n  "a": [1, 2.5e-3, "x\\u00e9"],\n  "b": {"c": null}\n}'
    data = sealed(text)
    assert unsealed(data) == json.loads(text) == unsealed(text.encode())
    assert json.loads(data) | {"a": 1} == {
        "a": 1,
        "b": {"c": None},
        "sha256_of_the_rest": json.loads(data).popitem()[1],
    }
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            found = unsealed(bytes(changed))
        except (ValueError, DataError):
            continue
        # Without its own name the seal is a value more, which every reader of these files refuses or asks for.
        assert found == json.loads(text) or set(found) - {"a", "b"}


def half_a_file(path: Path, error: type[BaseException]) -> None:
    with whole_file(path) as part:
        part.write_bytes(b"half")
        raise error


def half_a_folder(path: Path, error: type[BaseException]) -> None:
    with whole_folder(path) as folder:
        (folder / "half").write_bytes(b"half")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_is_not_finished_is_not_there(tmp_path: Path, error: type[BaseException]) -> None:
    def parts() -> Iterator[bytes]:
        yield b"half"
        raise error

    with pytest.raises(error):
        write_parts(tmp_path / "a", parts())
    with pytest.raises(error):
        half_a_file(tmp_path / "b", error)
    with pytest.raises(error):
        half_a_folder(tmp_path / "c", error)
    assert names(tmp_path) == []


def test_errors_of_a_block_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a"):
        (tmp_path / "another").read_bytes()


@pytest.mark.parametrize("steps", [["fsync"], ["fsync", "fsync"]])
def test_content_is_on_the_disk_before_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[str]
) -> None:
    done: list[str] = []
    replace, opened = Path.replace, os.open

    def no_folders(path: Path, flags: int, mode: int = 0o777) -> int:
        if Path(path).is_dir():
            raise OSError(errno.EACCES, "a folder cannot be opened")  # as on some systems
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "fsync", lambda _: done.append("fsync"))
    monkeypatch.setattr(Path, "replace", lambda self, target: (done.append("name"), replace(self, target))[1])
    if len(steps) == 1:
        monkeypatch.setattr(os, "open", no_folders)
    write_whole(tmp_path / "a", b"a")
    assert done == [*steps[:1], "name", *steps[1:]]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for content in ("old", "new"):
        with whole_folder(target) as folder:
            (folder / content).write_text(content)
    assert names(tmp_path) == ["model"]
    assert names(target) == ["new"]


def test_fingerprints_are_sha_256_of_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"b" * 3_000_000)
    expected = hashlib.sha256(b"a" + b"b" * 3_000_000 + b"c").hexdigest()
    assert fingerprint(b"a", tmp_path / "file", b"c") == expected
    assert json_key({"b": 1, "a": [2.5, None]}) == b'{"a": [2.5, null], "b": 1}'


def test_plain_json_knows_no_infinity() -> None:
    assert finite({"a": [1.0, float("nan")], "b": (float("inf"), "x")}) == {"a": [1.0, None], "b": [None, "x"]}


class Camera(BaseModel):
    width: int
    height: int

    @field_validator("height")
    @classmethod
    def _even(cls, height: int) -> int:
        if height % 2:
            raise ValueError("must be even")
        return height


class Recipe(BaseModel):
    camera: Camera
    counts: tuple[int, ...] = ()


def test_faults_in_words() -> None:
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate({"camera": {"width": "x", "height": 3}, "counts": ["many"] * 30})
    words = faults_in_words(caught.value)
    assert words.startswith("camera.width: Input should be a valid integer")
    assert "; camera.height: must be even; counts.0: " in words
    assert words.count("; ") == FAULTS_SHOWN - 1
    assert len(faults(caught.value)) == 32
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate_json("{")
    assert faults_in_words(caught.value, whole="recipe").startswith("recipe: Invalid JSON")
    assert faults_in_words(caught.value, whole="").startswith("Invalid JSON")


def test_what_only_its_owner_may_read_stays_so_when_it_is_replaced(tmp_path: Path) -> None:
    write_whole(tmp_path / "notes", b"old")
    (tmp_path / "notes").chmod(0o600)
    write_whole(tmp_path / "notes", b"new")
    assert stat.S_IMODE((tmp_path / "notes").stat().st_mode) == 0o600


def test_a_disk_without_permissions_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "chmod", refused)
    write_whole(tmp_path / "file", b"whole")
    with whole_folder(tmp_path / "folder") as folder:
        (folder / "file").write_bytes(b"whole")
    assert [path.read_bytes() for path in sorted(tmp_path.rglob("file"))] == [b"whole"] * 2


@pytest.mark.parametrize("error", [psutil.AccessDenied(1), PermissionError(errno.EACCES, "denied")])
@pytest.mark.parametrize("ticks", [True, False])
def test_of_whom_nobody_can_tell_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, ticks: bool
) -> None:
    mine = name_beside(tmp_path / "file")
    mine.touch()

    def refused(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(leftovers, "_has_ticks", lambda: ticks)
    monkeypatch.setattr(psutil, "Process", refused)
    monkeypatch.setattr(Path, "read_text", refused)
    assert leftovers.leftovers(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="only Linux tells the ticks")
def test_a_clock_that_is_set_makes_no_process_a_dead_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = name_beside(tmp_path / "file")
    mine.touch()
    began = psutil.Process().create_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: began + 7200)
    assert leftovers.leftovers(tmp_path) == []
    assert leftovers._started(os.getpid()) == pytest.approx(
        (began - psutil.boot_time()) * os.sysconf("SC_CLK_TCK"), abs=200
    )


def test_machines_of_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = []
    for number in range(3):
        file = tmp_path / str(number)
        if number < 2:
            file.write_text(f"machine-{number}\n")
        monkeypatch.setattr(leftovers, "_MACHINE_FILES", (tmp_path / "none", file))
        leftovers._place.cache_clear()
        places.append(leftovers._place())
    leftovers._place.cache_clear()
    assert len(set(places)) == 3


def test_temporary_files_are_made_in_one_place() -> None:
    """Others would be open to all, and nobody would find them after a kill."""
    made = re.compile(r"TemporaryDirectory|NamedTemporaryFile|mkdtemp|mkstemp")
    root = Path(metst.__file__).parent
    assert [path for path in root.rglob("*.py") if made.search(path.read_text(encoding="utf-8"))] == []
