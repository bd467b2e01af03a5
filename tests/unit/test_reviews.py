"""Reviews beside the rest of results: what they begin from, what may be done, and who else knows of them."""

import itertools
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.analyses import make_analysis
from helpers.reviewing import recorded, seen
from metst.coding import Coding, ConflictError, Layer, LayerEvent, Reviews, open_reviews, read_coding, write_layers
from metst.coding.journal import is_journal
from metst.coding.layers import MACHINE
from metst.errors import DataError, MetstError, OutputError, UsageError
from metst.evaluation.purging import delete, find_results
from metst.formats.conversion import export_results
from metst.motion.cache import MotionCache
from metst.results import Analysis, Custody, write_analysis
from metst.results.analysis_folder import REVIEW_FILE, content_in

Json = dict[str, Any]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_analysis(analysed("a1"), tmp_path / "res")
    return tmp_path / "res"


def analysed(content: str) -> Analysis:
    analysis = make_analysis()
    return replace(analysis, source=replace(analysis.source, content_hash=content))


def verdicts(reviews: Reviews, layer: str, *wanted: str) -> None:
    """Decide the events of a review in their order."""
    events = reviews.state(layer)["events"]
    changes = [
        {"key": each["key"], "revision": each["revision"], "after": {"verdict": verdict}}
        for each, verdict in zip(events, wanted, strict=False)
    ]
    reviews.edit(layer, changes, by=layer)


def frames(reviews: Reviews, layer: str) -> list[tuple[int, int, str, int]]:
    events = reviews.state(layer)["events"]
    return [(each["onset_frame"], each["offset_frame"], each["verdict"], len(each["proposals"])) for each in events]


def test_json_is_as_the_page_has_it(results: Path) -> None:
    with open_reviews(results) as reviews:
        first = reviews.begin("anna", "machine", by="anna")["events"][0]
        machine = read_coding(results).layers[0].events[0]
    assert first == {
        "key": "m1", "onset_frame": machine.onset + 1, "apex_frame": (machine.apex or 0) + 1,
        "offset_frame": machine.offset, "label": "negative", "confidence": machine.confidence, "action_units": [],
        "note": "", "verdict": "open", "revision": 0, "by": "", "at": "",
        "proposals": [{
            "by": "machine", "onset_frame": machine.onset + 1, "apex_frame": (machine.apex or 0) + 1,
            "offset_frame": machine.offset, "label": "negative", "confidence": machine.confidence,
            "action_units": [], "note": "",
        }],
    }  # fmt: skip


def test_the_machines_value_stays_and_a_change_accepts(tmp_path: Path) -> None:
    with open_reviews(tmp_path, coding=recorded()) as reviews:
        before = reviews.begin("anna", "machine", by="anna")["events"][0]
        after = {"onset_frame": before["onset_frame"] - 1, "label": "surprise", "action_units": ["L12C"]}
        done = reviews.edit("anna", [{"key": "m1", "after": after}], by="anna", what="earlier")
        (event,) = done["events"]
        assert event == before | after | {"verdict": "accepted", "revision": 2, "by": "anna", "at": event["at"]}
        assert (done["can_undo"], done["can_redo"], done["removed"]) == ("earlier", None, [])
        still_open = {"onset_frame": 2, "verdict": "open"}
        (event,) = reviews.edit("anna", [{"key": "m2", "after": still_open}], by="anna")["events"]
        assert event["verdict"] == "open"
        accepted = reviews.layer("anna").events
        assert [(each.onset, each.label) for each in accepted] == [(after["onset_frame"] - 1, "surprise")]


def test_an_answer_tells_what_it_follows_whoever_else_writes(tmp_path: Path) -> None:
    with open_reviews(tmp_path, coding=recorded()) as reviews:
        for layer in ("anna", "ben"):
            reviews.begin(layer, "machine", by=layer)  # entries 1 and 2

        def note(layer: str, number: int) -> tuple[int, int, int]:
            seen = reviews.state(layer)["events"][0]["revision"]
            change = {"key": "m1", "revision": seen, "after": {"note": f"{number}"}}
            done = reviews.edit(layer, [change], by=layer, id=f"{number}")
            return done["before"], done["number"], done["revision"]

        assert note("anna", 3) == (1, 3, 3)
        assert note("ben", 4) == (2, 4, 4)
        assert note("anna", 5) == (3, 5, 5)
        assert note("anna", 3) == (1, 3, 5)  # asked again: what it was, beside what there is now


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([], "at least 1"),
        ("m1", "no changes"),
        ([{"key": None}], "without key and without after"),
        ([{"key": None, "after": {"label": "x"}}], "needs onset_frame"),
        ([{"key": None, "after": {"onset_frame": "1", "offset_frame": 2}}], "onset_frame"),
        ([{"key": None, "after": {"onset_frame": 0, "offset_frame": 2}}], "first frame from 1"),
        ([{"key": None, "after": {"onset_frame": 1, "offset_frame": 601}}], "600 frames"),
        ([{"key": None, "after": {"onset_frame": 5, "offset_frame": 4}}], "not before it"),
        ([{"key": None, "after": {"onset_frame": 1, "offset_frame": 2, "verdict": "rejected"}}], "delete it"),
        ([{"key": None, "after": {"onset_frame": 1, "offset_frame": 2, "nonsense": 1}}], "nonsense"),
        ([{"key": "m1", "after": {"apex_frame": 1}}], "apex 1 is not in it"),
        ([{"key": "m1", "after": {"confidence": 2.0}}], "confidence from 0 to 1"),
        ([{"key": "m1", "after": {"action_units": ["!"]}}], "action units"),
        ([{"key": "m1", "after": {"verdict": "maybe"}}], "verdict"),
        ([{"key": "m1", "after": None}], "reject it instead"),
        ([{"key": "m1", "after": None}, {"key": "m1", "after": None}], "twice"),
        ([{"key": "m1", "after": {"note": "x"}, "from": ["m2"]}], "changes, too"),
    ],
)
def test_what_cannot_be_is_refused_as_a_whole(tmp_path: Path, changes: Any, words: str) -> None:
    fine = {"key": "m3", "revision": 0, "after": {"note": "fine"}}
    with open_reviews(tmp_path, coding=recorded()) as reviews:
        state = reviews.begin("anna", "machine", by="anna")
        with pytest.raises(DataError, match=words):
            reviews.edit("anna", [fine, *changes] if changes and isinstance(changes, list) else changes, by="anna")
        assert reviews.state("anna") == state


def test_split_and_merge_keep_every_proposal(tmp_path: Path) -> None:
    with open_reviews(tmp_path, coding=recorded()) as reviews:
        events = reviews.begin("anna", "machine", by="anna")["events"]
        one, two = events[:2]
        half = {"label": one["label"], "verdict": "open"}
        changes = [
            {"key": "m1", "after": None},
            {"key": None, "after": half | {"onset_frame": 101, "offset_frame": 105}, "from": ["m1"]},
            {"key": None, "after": half | {"onset_frame": 106, "offset_frame": 112}, "from": ["m1"]},
        ]
        done = reviews.edit("anna", changes, by="anna", what="split")
        assert [(each["key"], each["proposals"]) for each in done["events"]] == [
            ("a2.1", one["proposals"]), ("a2.2", one["proposals"]),
        ]  # fmt: skip
        assert done["removed"] == ["m1"]
        changes = [
            {"key": "a2.1", "revision": 2, "after": None},
            {"key": "m2", "revision": 0, "after": None},
            {"key": None, "after": {"onset_frame": 101, "offset_frame": 212, "label": "x"}, "from": ["a2.1", "m2"]},
        ]
        (merged,) = reviews.edit("anna", changes, by="anna", what="merge")["events"]
        assert merged["key"] == "a3.1"
        assert merged["proposals"] == [*one["proposals"], *two["proposals"]]
        reviews.undo("anna", by="anna")
        reviews.undo("anna", by="anna")
        assert seen(reviews.state("anna"))["events"] == seen({"layer": "", "events": events})["events"]


def test_undo_and_redo_say_what_and_end(tmp_path: Path) -> None:
    with open_reviews(tmp_path, coding=recorded()) as reviews:
        reviews.begin("anna", "machine", by="anna")
        for step in (reviews.undo, reviews.redo):
            with pytest.raises(UsageError, match="nothing to"):
                step("anna", by="anna")
        reviews.edit("anna", [{"key": "m1", "after": {"note": "x"}}], by="anna", what="a note")
        undone = reviews.undo("anna", by="ben")
        assert (undone["can_undo"], undone["can_redo"]) == (None, "a note")
        reviews.edit("anna", [{"key": "m2", "after": {"note": "y"}}], by="anna", what="another")
        with pytest.raises(UsageError, match="nothing to redo"):
            reviews.redo("anna", by="anna")
        history = reviews.history("anna")
    assert [(each["kind"], each["by"], each["what"], each["undone"]) for each in history] == [
        ("begin", "anna", "began from machine", False),
        ("edit", "anna", "a note", True),
        ("undo", "ben", "undo: a note", False),
        ("edit", "anna", "another", False),
    ]


def test_released_reviews_do_not_change(tmp_path: Path) -> None:
    with open_reviews(tmp_path, coding=recorded()) as reviews:
        reviews.begin("anna", "machine", by="anna")
        verdicts(reviews, "anna", "accepted")
        assert reviews.release("anna", True, by="anna")["released"]
        for work in (lambda: verdicts(reviews, "anna", "rejected"), lambda: reviews.undo("anna", by="anna")):
            with pytest.raises(UsageError, match="is released"):
                work()
        assert [each["name"] for each in reviews.layers() if each["released"]] == ["anna"]
        reviews.release("anna", False, by="anna")
        reviews.undo("anna", by="anna")


def test_a_review_begins_once_something_is_edited(tmp_path: Path) -> None:
    ben = Layer("ben", (LayerEvent(10, 20, "positive"),))
    with open_reviews(tmp_path, coding=recorded(others=(ben,))) as reviews:
        with pytest.raises(UsageError, match="begin it first"):
            reviews.edit("anna", [{"key": "m1", "after": {"note": "x"}}], by="anna")
        assert [each["key"] for each in reviews.begin("anna", "machine", by="a")["events"]][:1] == ["m1"]
        assert reviews.begin("anna", "nothing", by="a")["events"] == []
        state = reviews.begin("anna", "layers", layers=["ben"], by="a")
        assert [(each["key"], each["verdict"], each["proposals"][0]["by"]) for each in state["events"]] == [
            ("m6", "open", "ben")  # no key is given twice
        ]
        assert state["began_from"] == "layers: ben"
        verdicts(reviews, "anna", "accepted")
        with pytest.raises(UsageError, match="has edits already"):
            reviews.begin("anna", "nothing", by="a")
        wrong = (("machine", "nothing", []), ("a/b", "nothing", []), ("x", "layers", ["nobody"]), ("x", "layers", []),
                 ("x", "nothing", ["ben"]), ("x", "elsewhere", []))  # fmt: skip
        for name, start, layers in wrong:
            with pytest.raises(UsageError):
                reviews.begin(name, start, layers=layers, by="a")  # type: ignore[arg-type]


def _two_coders() -> Coding:
    anna = (LayerEvent(10, 20, "a", apex=12, action_units=("AU4",)), LayerEvent(50, 60, "a"), LayerEvent(90, 99, "b"))
    ben = (LayerEvent(12, 23, "a", note="left"), LayerEvent(51, 60, "b"), LayerEvent(200, 210, "b"))
    return recorded(others=(Layer("anna", anna), Layer("ben", ben)))


def test_adjudication_begins_from_both(tmp_path: Path) -> None:
    with open_reviews(tmp_path, coding=_two_coders()) as reviews:
        reviews.begin("dora", "nothing", by="dora", id="used")
        with pytest.raises(UsageError, match="used for something else"):
            reviews.adjudicate("anna", "ben", by="cora", id="used")
        name = reviews.adjudicate("anna", "ben", by="cora")
        assert name == "adjudicated anna + ben"
        assert reviews.adjudicate("ben", "anna", by="cora") == name
        with pytest.raises(UsageError, match="two layers are brought together"):
            reviews.begin(name, "machine", by="cora")
        assert reviews.layers()[-1]["kind"] == "adjudicated"
        assert frames(reviews, name) == [
            (12, 21, "accepted", 2),  # 11 to 20 and 13 to 23, both "a"
            (51, 60, "open", 2),  # one event, two labels
            (91, 99, "open", 1),
            (201, 210, "open", 1),
        ]
        agreed = reviews.state(name)["events"][0]
        assert (agreed["apex_frame"], agreed["action_units"], agreed["note"]) == (13, ["AU4"], "left")
        assert [each["name"] for each in reviews.layers() if each["kind"] == "adjudicated"] == [name]
        reviews.begin("cora", "layers", layers=["anna", "ben"], agreed_only=True, by="cora")
        assert frames(reviews, "cora") == [(12, 21, "accepted", 2)]
        assert reviews.state("cora")["began_from"] == "agreed part of anna, ben"
        assert reviews.history("cora")[0]["what"] == "began from what anna and ben agree on"


def test_a_coder_has_a_layer_for_each_round(tmp_path: Path) -> None:
    coding = recorded(others=(*_two_coders().layers[1:], Layer("anna round 3", ())))
    with open_reviews(tmp_path, coding=coding) as reviews:
        second = reviews.begin_round("anna", "layers", layers=["anna", "ben"], agreed_only=True)
        assert (second["layer"], second["released"]) == ("anna round 2", False)
        assert frames(reviews, "anna round 2") == [(12, 21, "accepted", 2)]
        assert reviews.begin_round("anna", "nothing")["layer"] == "anna round 4"
        reviews.begin("anna round 2", "nothing", by="anna")
        reviews.begin("ben", "nothing", by="ben")
    with open_reviews(tmp_path, coding=coding) as reviews:  # whose they are outlasts the process, and a beginning anew
        assert {each["name"]: each["coder"] for each in reviews.layers()} == {
            "anna round 2": "anna", "anna round 4": "anna", "ben": "ben"
        }  # fmt: skip


def test_two_threads_are_never_both_right(tmp_path: Path) -> None:
    outcomes: list[str] = []
    with open_reviews(tmp_path, coding=recorded()) as reviews:
        reviews.begin("anna", "machine", by="anna")

        def work(note: str) -> None:
            for revision in itertools.count():
                event = next(each for each in reviews.state("anna")["events"] if each["key"] == "m1")
                try:
                    change = [{"key": "m1", "revision": event["revision"], "after": {"note": f"{note}{revision}"}}]
                    reviews.edit("anna", change, by=note)
                    outcomes.append("done")
                except ConflictError:
                    outcomes.append("told")
                if revision == 30:
                    return

        threads = [threading.Thread(target=work, args=(name,)) for name in "xyz"]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        edits = [each for each in reviews.history("anna") if each["kind"] == "edit"]
    assert len(edits) == outcomes.count("done")
    assert len(outcomes) == 93


def test_a_review_is_a_layer_of_the_results(results: Path, tmp_path: Path) -> None:
    with open_reviews(results) as reviews:
        reviews.begin("anna", "machine", by="anna")
        verdicts(reviews, "anna", "accepted", "rejected")
        coding = read_coding(results)  # also while it is open
        reviews.release("anna", True, by="anna")
    assert {each.coder: len(each.events) for each in coding.layers} == {MACHINE: 3, "anna": 1}
    assert coding.layers[1].events == coding.layers[0].events[:1]
    assert {each.coder for each in read_coding(results, reviews=False).layers} == {MACHINE}
    export_results(results, tmp_path / "out.csv", to="csv")
    assert "anna" in (tmp_path / "out.csv").read_text()
    assert [path.name for path in results.glob(f"{REVIEW_FILE}*")] == [REVIEW_FILE]
    with pytest.raises(UsageError, match="one of the results"):
        export_results(results, results / REVIEW_FILE, to="csv", overwrite=True)


def test_an_imported_layer_of_the_same_coder_has_another_name(results: Path) -> None:
    coding = read_coding(results)
    own = replace(coding, layers=(Layer("anna", (LayerEvent(1, 9, "x"), LayerEvent(20, 30, "x"))),))
    write_layers(own, results, origin={}, version="1", custody=Custody())
    with open_reviews(results) as reviews:
        state = reviews.begin("anna", "layers", layers=["anna"], by="anna")
        assert [each["proposals"][0]["by"] for each in state["events"]] == ["anna", "anna"]
        verdicts(reviews, "anna", "accepted", "rejected")
    found = {each.coder: len(each.events) for each in read_coding(results).layers}
    assert found == {MACHINE: 3, "anna imported": 2, "anna": 1}


def test_a_new_analysis_keeps_the_review_of_its_recording_only(results: Path) -> None:
    with open_reviews(results) as reviews:
        reviews.begin("anna", "machine", by="anna")
        verdicts(reviews, "anna", "accepted")
        state = reviews.state("anna")
    write_analysis(replace(analysed("a1"), created="2026-12-01T10:00:00+00:00"), results)
    with open_reviews(results) as reviews:
        assert reviews.state("anna") == state
    write_analysis(analysed("b2"), results)
    for work in (lambda: open_reviews(results), lambda: read_coding(results)):
        with pytest.raises(DataError, match="another recording"):
            work()


def test_the_recording_of_a_review_is_known_without_the_rest(results: Path) -> None:
    with open_reviews(results) as reviews:
        reviews.begin("anna", "machine", by="anna")
        (results / "analysis.json").unlink()
        assert content_in(results) == "a1"
    assert content_in(results) == "a1"
    (results / REVIEW_FILE).write_bytes(b"no log")
    assert content_in(results) == ""


def test_what_is_no_log_is_not_taken_for_one(tmp_path: Path) -> None:
    path = tmp_path / REVIEW_FILE
    assert is_journal(path) is False
    path.write_bytes(b"something else")
    assert is_journal(path) is None
    path.unlink()
    import sqlite3

    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE meta (name, value)")
    connection.close()
    assert is_journal(path) is False


def test_purge_takes_reviews_along_unless_they_are_open(results: Path, tmp_path: Path) -> None:
    with open_reviews(results) as reviews:
        reviews.begin("anna", "machine", by="anna")
        (found,) = find_results([results])
        assert found.others == []
        gone, problems = delete([found], cache=MotionCache(tmp_path / "cache"))
        assert not gone
        assert "has the review of" in problems[0]
        assert (results / REVIEW_FILE).exists()
    gone, problems = delete(find_results([results]), cache=MotionCache(tmp_path / "cache"))
    assert (len(gone), problems) == (1, [])
    assert not results.exists()


def test_purge_takes_reviews_of_imported_layers_along(tmp_path: Path) -> None:
    results = tmp_path / "res"
    custody = Custody(person="P1")
    coding = replace(recorded(), layers=(Layer("ben", (LayerEvent(10, 20, "x"),)),))
    write_layers(coding, results, origin={}, version="1", custody=custody)
    with open_reviews(results) as reviews:
        reviews.begin("anna", "layers", layers=["ben"], by="anna")
    found = find_results([results])
    assert {(each.folder.name, each.custody, each.content) for each in found} == {
        ("res", custody, "a1"), ("layers", custody, "a1"),
    }  # fmt: skip
    assert delete(found, cache=MotionCache(tmp_path / "cache"))[1] == []
    assert not results.exists()


def test_a_damaged_review_goes_with_its_results(results: Path, tmp_path: Path) -> None:
    (results / REVIEW_FILE).write_bytes(b"damaged")
    with pytest.raises(MetstError, match="damaged"):
        read_coding(results)
    assert json.loads((results / "analysis.json").read_text())["source"]["content_hash"] == "a1"
    assert delete(find_results([results]), cache=MotionCache(tmp_path / "cache"))[1] == []
    assert not results.exists()


def test_where_nothing_can_be_saved_that_is_what_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metst.coding.reviews._may_not_change", lambda _: True)
    with open_reviews(tmp_path, coding=_two_coders()) as reviews:
        for change in (lambda: reviews.undo("dora", by="dora"), lambda: reviews.release("dora", True, by="dora")):
            with pytest.raises(OutputError, match="may not be changed"):
                change()
