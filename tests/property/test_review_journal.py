"""What a coder did is kept and can be taken back: whatever was done, in whatever order, however it was cut off."""

import multiprocessing
import os
import random
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.reviewing import KINDS, QUICK, changes_for, code_until_killed, opened, recorded, seen
from metst.coding import ConflictError, Reviews
from metst.coding.journal import Recording, open_journal, read_journal
from metst.coding.reviewed import Edit, apply, event_json, event_of, fold, invert
from metst.coding.unfolding import unfold
from metst.errors import DataError, MetstError
from metst.results.analysis_folder import REVIEW_FILE

Json = dict[str, Any]

edits = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 10**6)), min_size=1, max_size=10)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=QUICK) as path:
        yield Path(path)


@pytest.fixture
def other() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=QUICK) as path:
        yield Path(path)


class Coder:
    """Edits a review, and opens the log anew whenever it is asked to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reviews = opened(folder)
        self.reviews.begin("anna", "machine", by="anna")

    def edit(self, kind: str, seed: int) -> Json:
        changes = changes_for(kind, self.state, random.Random(seed))
        return self.reviews.edit("anna", changes, by="anna", what=kind)

    def restart(self) -> None:
        self.reviews.close()
        self.reviews = opened(self.folder)

    def close(self) -> None:
        self.reviews.close()

    @property
    def state(self) -> Json:
        return self.reviews.state("anna")


@given(edits, st.data())
@settings(max_examples=20, deadline=None)
def test_as_many_undos_as_edits_are_the_start(made: list[tuple[str, int]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory(dir=QUICK) as path, closing(Coder(Path(path))) as coder:
        states = [seen(coder.state)]
        for kind, seed in made:
            coder.edit(kind, seed)
            states.append(seen(coder.state))
            if data.draw(st.integers(0, 5)) == 0:
                coder.restart()
        for before in reversed(states[:-1]):
            coder.reviews.undo("anna", by="ben")
            if data.draw(st.integers(0, 5)) == 0:
                coder.restart()
            assert seen(coder.state) == before
        assert coder.state["can_undo"] is None
        for after in states[1:]:
            coder.reviews.redo("anna", by="ben")
            if data.draw(st.integers(0, 5)) == 0:
                coder.restart()
            assert seen(coder.state) == after
        assert coder.state["can_redo"] is None


@given(edits)
@settings(max_examples=20, deadline=None)
def test_the_log_alone_gives_what_is_in_memory(made: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory(dir=QUICK) as path, closing(Coder(Path(path))) as coder:
        for number, (kind, seed) in enumerate(made):
            coder.edit(kind, seed)
            if number % 3 == 1:
                coder.reviews.undo("anna", by="anna")
        state, history = coder.state, coder.reviews.history("anna")
        review = unfold(read_journal(Path(path)).entries)["anna"]
        assert (review.state(), review.history()) == (state, history)
        coder.restart()
        assert (coder.state, coder.reviews.history("anna")) == (state, history)


@given(edits)
@settings(max_examples=20, deadline=None)
def test_inverted_edits_of_a_fold_give_its_start(made: list[tuple[str, int]]) -> None:
    from metst.coding.wanted import as_changes, wanted_changes

    start = {each["key"]: event_of(each) for each in _beginning()}
    events, done = dict(start), []
    for number, (kind, seed) in enumerate(made, start=2):
        page = {"events": [event_json(each) for each in events.values()]}
        wanted = wanted_changes(changes_for(kind, page, random.Random(seed)))
        done.append(Edit(as_changes(wanted, events, number=number, frames=600), number, "anna", "now"))
        events = apply(done[-1], events)
    assert fold(done, start) == events
    back = [Edit(invert(each.changes), each.number, "", "") for each in reversed(done)]
    assert fold(back, events) == start


def _beginning() -> list[Json]:
    with tempfile.TemporaryDirectory(dir=QUICK) as path, opened(Path(path)) as reviews:
        return list(reviews.begin("anna", "machine", by="anna")["events"])


@given(edits)
@settings(max_examples=20, deadline=None)
def test_a_window_that_saw_less_never_wins(made: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory(dir=QUICK) as path, closing(Coder(Path(path))) as coder:
        old = coder.state
        for kind, seed in made:
            coder.edit(kind, seed)
        now = coder.state
        current = {each["key"]: each for each in now["events"]}
        for each in old["events"]:
            note = {"key": each["key"], "revision": each["revision"], "after": {"note": "late"}}
            added = {"key": None, "after": {"onset_frame": 1, "offset_frame": 2, "label": "x"}}
            if current.get(each["key"]) == each:
                continue
            with pytest.raises(ConflictError) as told:
                coder.reviews.edit("anna", [added, note], by="ben")
            there = each["key"] in current
            assert told.value.events == ([current[each["key"]]] if there else [])
            assert told.value.removed == ([] if there else [each["key"]])
        assert coder.state == now
        with pytest.raises(ConflictError):
            coder.reviews.undo("anna", by="ben", revision=old["revision"])
        assert coder.state == now
        coder.restart()
        assert coder.state == now


@given(edits)
@settings(max_examples=20, deadline=None)
def test_what_is_sent_twice_is_done_once(made: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory(dir=QUICK) as path, closing(Coder(Path(path))) as coder:
        for number, (kind, seed) in enumerate(made):
            changes = changes_for(kind, coder.state, random.Random(seed))
            first = coder.reviews.edit("anna", changes, by="anna", id=f"e{number}")
            state = coder.state
            if number % 2:
                coder.restart()
            assert coder.reviews.edit("anna", changes, by="anna", id=f"e{number}") == first
            assert coder.state == state
        undone = coder.reviews.undo("anna", by="anna", id="u")
        assert coder.reviews.undo("anna", by="anna", id="u") == undone
        assert len(coder.reviews.history("anna")) == len(made) + 2


def test_an_id_that_was_something_else_is_refused(folder: Path) -> None:
    coder = Coder(folder)
    coder.edit("add", 1)
    coder.reviews.undo("anna", by="anna", id="u")
    with pytest.raises(MetstError, match="used for something else"):
        coder.reviews.redo("anna", by="anna", id="u")
    coder.reviews.close()


def _scripted(folder: Path) -> tuple[Reviews, Json, list[Json]]:
    coder = Coder(folder)
    for seed, kind in enumerate(KINDS * 2):
        coder.edit(kind, seed)
    coder.reviews.undo("anna", by="anna")
    coder.reviews.release("anna", True, by="anna")
    return coder.reviews, coder.state, coder.reviews.history("anna")


THOROUGHLY = pytest.mark.parametrize("each_bit", [False, pytest.param(True, marks=pytest.mark.slow)])


def _bits(size: int, draw: random.Random, each: bool) -> Iterator[int]:
    """All bits of so many bytes, or one of each byte."""
    return iter(range(8 * size)) if each else (8 * byte + draw.randrange(8) for byte in range(size))


def _found(folder: Path, state: Json, history: list[Json]) -> str:
    """Whether a log gives the same as was written, or is told by name; all else is not allowed."""
    try:
        reviews = opened(folder)
    except DataError as error:
        return "told" if str(folder / REVIEW_FILE) in str(error) else "told without its name"
    with reviews:
        return "same" if (reviews.state("anna"), reviews.history("anna")) == (state, history) else "other"


@THOROUGHLY
def test_no_flipped_bit_reads_back_as_other_values(folder: Path, other: Path, each_bit: bool) -> None:
    reviews, state, history = _scripted(folder)
    reviews.close()
    whole = (folder / REVIEW_FILE).read_bytes()
    draw = random.Random(7)
    # SQLite's header and the heads of the pages behind it, and bits from anywhere.
    bits = {*_bits(120, draw, each_bit), *(draw.randrange(8 * len(whole)) for _ in range(600 if each_bit else 120))}
    told = 0
    for number, bit in enumerate(sorted(bits)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        place = other / str(number)
        place.mkdir()
        (place / REVIEW_FILE).write_bytes(data)
        found = _found(place, state, history)
        assert found in {"same", "told"}, bit
        told += found == "told"
    assert told > len(bits) // 10  # else nothing of what is kept was met


@THOROUGHLY
def test_no_flipped_bit_beside_the_log_reads_back_as_other_values(folder: Path, other: Path, each_bit: bool) -> None:
    reviews, state, history = _scripted(folder)
    killed = other / "killed"
    shutil.copytree(folder, killed)  # as the files are when the process is no more
    reviews.close()
    beside = f"{REVIEW_FILE}-wal"
    whole = (killed / beside).read_bytes()
    assert whole
    draw = random.Random(8)
    anywhere = [draw.randrange(8 * len(whole)) for _ in range(200 if each_bit else 60)]
    for number, bit in enumerate([*_bits(32, draw, each_bit), *anywhere]):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        place = other / str(number)
        place.mkdir()
        shutil.copy(killed / REVIEW_FILE, place)
        (place / beside).write_bytes(data)
        assert _found(place, state, history) in {"same", "told"}, bit


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_log_that_was_cut_off_is_told(folder: Path, share: float) -> None:
    reviews, *_ = _scripted(folder)
    reviews.close()
    data = (folder / REVIEW_FILE).read_bytes()
    (folder / REVIEW_FILE).write_bytes(data[: int(share * len(data))])
    with pytest.raises(DataError, match="damaged"):
        opened(folder)


def test_rows_that_are_taken_out_put_in_or_changed_are_told(folder: Path, other: Path) -> None:
    reviews, state, history = _scripted(folder)
    reviews.close()
    assert _found(folder, state, history) == "same"
    for number, statement in enumerate((
        "DELETE FROM entries WHERE number = (SELECT max(number) FROM entries)",
        "DELETE FROM entries WHERE number = 3",
        "UPDATE entries SET by = 'ben' WHERE number = 4",
        "UPDATE meta SET value = 'b.mp4' WHERE name = 'name'",
        "DELETE FROM meta WHERE name = 'head'",
        "INSERT INTO entries SELECT number + 1, layer, 'undo', by, at, 'x', body, checksum FROM entries"
        " ORDER BY number DESC LIMIT 1",
    )):  # fmt: skip
        place = other / str(number)
        shutil.copytree(folder, place)
        with sqlite3.connect(place / REVIEW_FILE) as connection:
            assert connection.execute(statement).rowcount == 1
        connection.close()
        with pytest.raises(DataError, match="damaged"):
            opened(place)


def test_a_newer_log_and_one_of_another_recording_are_told(folder: Path) -> None:
    reviews, *_ = _scripted(folder)
    reviews.close()
    with pytest.raises(DataError, match="of another recording"):
        opened(folder, recorded(content="b2"))
    with sqlite3.connect(folder / REVIEW_FILE) as connection:
        connection.execute("UPDATE meta SET value = '2' WHERE name = 'schema'")
    connection.close()
    with pytest.raises(DataError, match="schema 2"):
        opened(folder)


def test_a_log_is_its_owners_alone_and_opened_once(folder: Path) -> None:
    with opened(folder) as reviews:
        assert not (folder / REVIEW_FILE).exists()  # who only looks writes nothing
        reviews.begin("anna", "machine", by="anna")
        reviews.edit("anna", [{"key": "m1", "after": {"note": "x"}}], by="anna")
        for path in folder.glob(f"{REVIEW_FILE}*"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        with pytest.raises(MetstError, match="open"):
            opened(folder)
    assert [path.name for path in folder.iterdir()] == [REVIEW_FILE]


def test_what_is_not_saved_is_not_applied(folder: Path) -> None:
    with opened(folder) as reviews:
        reviews.begin("anna", "machine", by="anna")
        state = reviews.state("anna")
        journal = reviews._journal
        assert journal is not None
        pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
        journal._connection.execute(f"PRAGMA max_page_count = {pages}")
        change = [{"key": "m1", "after": {"note": "x" * 100_000}}]
        with pytest.raises(MetstError, match="the disk is full"):
            reviews.edit("anna", change, by="anna")
        assert reviews.state("anna") == state
        journal._connection.execute("PRAGMA max_page_count = 100000")
        reviews.edit("anna", change, by="anna")
        state = reviews.state("anna")
    with opened(folder) as reviews:
        assert reviews.state("anna") == state


def test_a_log_that_was_deleted_meanwhile_takes_no_edits(folder: Path) -> None:
    with opened(folder) as reviews:
        reviews.begin("anna", "machine", by="anna")
        (folder / REVIEW_FILE).unlink()
        with pytest.raises(MetstError, match="moved away or deleted"):
            reviews.edit("anna", [{"key": "m1", "after": {"note": "x"}}], by="anna")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_changed_is_read(folder: Path) -> None:
    reviews, state, _ = _scripted(folder)
    reviews.close()
    folder.chmod(0o500)
    try:
        with opened(folder) as reviews:
            assert reviews.read_only
            assert reviews.state("anna") == state
            with pytest.raises(MetstError, match="nothing was saved"):
                reviews.release("anna", False, by="anna")
    finally:
        folder.chmod(0o700)


def test_a_commit_is_on_the_disk_when_it_returns(folder: Path) -> None:
    recording = Recording("a1", 600, "a.mp4")
    with open_journal(folder, recording=recording) as journal:
        assert journal._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert journal._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def _killed(rounds: int, folder: Path) -> int:
    """Confirmed edits of coders who were killed at some moment; after each kill all of them must be there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["metst.coding"])  # what takes longest to import
    draw, confirmed = random.Random(11), 0
    for number in range(rounds):
        place = folder / str(number)
        place.mkdir()
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=code_until_killed, args=(str(place), number, theirs))
        process.start()
        theirs.close()
        # Some entries, however long they take on a busy machine, and then some moment of those that follow.
        told = [mine.recv() for _ in range(draw.randint(1, 15))]
        time.sleep(draw.uniform(0, 0.02))
        process.kill()
        process.join()
        while mine.poll():
            try:
                told.append(mine.recv())
            except EOFError:
                break
        mine.close()
        confirmed += len(told)
        _check_all_there(place, told)
    return confirmed


def _check_all_there(place: Path, told: list[tuple[str, Json]]) -> None:
    entries = read_journal(place).entries
    assert [each.id for each in entries][: len(told)] == [name for name, _ in told]
    assert len(entries) - len(told) <= 1  # one may have been saved that nobody was told of
    assert seen(unfold(entries[: len(told)])["anna"].state()) == told[-1][1]
    with opened(place) as reviews:
        state = reviews.state("anna")
        if len(entries) == len(told):
            assert seen(state) == told[-1][1]
        while reviews.state("anna")["can_undo"]:
            reviews.undo("anna", by="anna")
        assert seen(reviews.state("anna")) == told[0][1]


def test_no_confirmed_edit_is_lost_when_the_process_is_killed(folder: Path) -> None:
    assert _killed(6, folder) > 30  # else nothing was at stake


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_confirmed_edit_is_lost_in_two_hundred_kills(tmp_path: Path) -> None:
    assert _killed(200, tmp_path) > 1000
