"""The published protocol on made-up caches and networks, against a plain rewrite of it, window by window."""

import csv
import json
import pickle
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.signal import find_peaks

from helpers import dataset_folders as make
from metst.config import InputSettings, ModelInfo, NetworkConfig, PublishedDecodeSettings, ScoringSettings
from metst.datasets import DataSet, load_dataset
from metst.errors import CheckpointError, DataError, UsageError
from metst.labels import CLASSES
from metst.metrics import score_tables
from metst.models.checkpoint import Model, save_model
from metst.models.networks import StateTransitionNetwork
from metst.reproduction import Features, evaluate_published, read_features, write_evaluation
from metst.reproduction.counting import Detections, count
from metst.reproduction.protocol import stitch_windows
from metst.reproduction.split import TestVideo, published_split
from metst.reproduction.subject_checkpoints import find_folds, subject_key

K, STEP, K_P = 30, 7, 5
VIDEOS = {"006_1": 20, "006_2": 25, "007_1": 12, "010_2": 9, "010_10": 14}  # windows of each, in the cache's order
EMOTIONS = ("Anger", "Happiness", "Surprise", "Other")
Interval = tuple[int, int, int]


def small_model(folder: Path, *, seed: int, rule: str = "fixed", rate_hz: float = 200 / 7, **changes: Any) -> Model:
    torch.manual_seed(seed)
    name = "metst-plus" if rule == "fixed" else "boosting-vrme"
    config = NetworkConfig(name=name, in_channels=36, width=8, blocks=3, d_state=4, slow_fast=True)
    network = StateTransitionNetwork(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        network.spot_head.weight.mul_(10)
        network.recog_head.weight.mul_(3)
    info = ModelInfo(
        network=config,
        classes=CLASSES,
        input=InputSettings(rate_hz=rate_hz, reference="window"),
        scoring=ScoringSettings(mode="windows", window=K, hop=K // 2),
        decode=PublishedDecodeSettings(rule=rule, k_p=K_P),
        trained_on="made-up motion",
    )
    return save_model(folder, network=network, info=info.model_copy(update=changes))


@dataclass(frozen=True)
class Study:
    """A cache, its checkpoints, and the label sheets that belong to it."""

    root: Path
    models: dict[str, Model]
    windows: dict[str, list[np.ndarray]]
    truth: dict[str, list[tuple[int, int, str]]]  # first and last frame of the network, emotion

    @property
    def data_set(self) -> DataSet:
        return load_dataset(self.root / "labels", kind="samm-lv", errata=False)

    @property
    def features(self) -> Features:
        return read_features(self.root / "SAMMLV_dataset.pkl")

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    root = tmp_path_factory.mktemp("study")
    rng = np.random.default_rng(1)
    windows = {name: [rng.normal(size=(36, K)).cumsum(axis=1) for _ in range(count)] for name, count in VIDEOS.items()}
    (root / "SAMMLV_dataset.pkl").write_bytes(pickle.dumps(list(windows.values())))
    models = {
        subject: small_model(root / "checkpoints" / f"subject_{subject}", seed=seed)
        for seed, subject in enumerate(("006", "007", "010"))
    }
    bare = Study(root, models, windows, {name: [] for name in VIDEOS})
    truth = {}
    for name, found in detect(bare, follow="description", strategy=0).items():
        shifts = rng.integers(-5, 6, (len(found), 2))
        near = [(first + a, last + b) for (first, last, _), (a, b) in zip(found, shifts, strict=True) if first + a > 0]
        far = [(int(first), int(first) + 9) for first in rng.integers(0, 100, 2)]
        truth[name] = [(*ends, EMOTIONS[int(rng.integers(4))]) for ends in sorted({*near[::2], *far})]
    write_sheets(root / "labels", truth)
    return replace(bare, truth=truth)


def write_sheets(root: Path, truth: dict[str, list[tuple[int, int, str]]]) -> None:
    rows, facs = [], []
    for video, events in truth.items():
        rows.append([video[:3], f"{video}_99", 1, 5, -1, 900, 10, "Macro", "12", ""])
        for number, (first, last, emotion) in enumerate(events, start=1):
            name = f"{video}_{number}"
            rows.append([video[:3], name, 1, first * STEP + 1, -1, last * STEP + 3, 9, "Micro - 1/2", "4", ""])
            facs.append([video[:3], name, 1, 1, 1, 1, 1, "Micro - 1/2", "4", emotion, 1, ""])
    make.xlsx(root / "SAMM_LongVideos_V3_Release.xlsx", [*[["About"]] * 9, make.SAMM_HEADER, *rows])
    make.xlsx(root / "SAMM_Micro_FACS_Codes_v2.xlsx", [*[["Notes"]] * 13, make.FACS_HEADER, *facs])


def curves(study: Study, *, follow: str, strategy: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Score and class of every frame, window by window with torch."""
    result: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for subject, model in study.models.items():
        in_subject = 0
        for name in (name for name in VIDEOS if name.startswith(subject)):
            score, label = np.zeros((len(study.windows[name]) + 1) * K // 2), [0] * ((VIDEOS[name] + 1) * K // 2)
            for number, window in enumerate(study.windows[name]):
                with torch.no_grad():
                    spot, logits = model.network(torch.from_numpy(window[None]).float())
                if follow == "code" and strategy == 1:  # of metst-plus and boosting-vrme, which these are
                    logits[:, :, 4] = 0
                whole = number == 0 if follow == "description" else in_subject % 32 == 0
                for frame in range(0 if whole else K // 2, K):
                    score[number * K // 2 + frame] = float(spot[0, frame])
                    label[number * K // 2 + frame] = int(logits[0, frame, : 4 if strategy == 2 else 5].argmax())
                in_subject += 1
            result[name] = score, np.array(label)
    return result


def detect(study: Study, *, follow: str, strategy: int, k_p: dict[str, int] | None = None) -> dict[str, list[Interval]]:
    """First and last frame and class of what the fixed rule finds."""
    found: dict[str, list[Interval]] = {}
    for name, (score, label) in curves(study, follow=follow, strategy=strategy).items():
        half = K_P if k_p is None else k_p[name[:3]]
        smooth = np.convolve(score, np.ones(2 * half) / (2 * half), mode="same")
        peaks, _ = find_peaks(smooth, height=smooth.mean() + 0.55 * (smooth.max() - smooth.mean()), distance=half)
        found[name] = []
        for peak in peaks.tolist():
            votes = label[max(0, peak - half) + 1 : max(1, peak + half - 1)].tolist()
            found[name].append((peak - half, peak + half, Counter(votes).most_common(1)[0][0]))
    return found


def overlap(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    frames, others = set(range(one[0], one[1] + 1)), set(range(other[0], other[1] + 1))
    return len(frames & others) / len(frames | others)


def greedy_counts(study: Study, found: dict[str, list[Interval]], *, strategy: int) -> tuple[list[int], list[int]]:
    raw, after = [0, 0, 0], [0, 0, 0]
    for name, events in study.truth.items():
        taken: set[int] = set()
        for detection in found[name]:
            ious = [overlap(detection, event) for event in events]
            best = int(np.argmax(ious))
            hit = ious[best] >= 0.5 and best not in taken
            taken |= {best} if hit else set()
            raw[0 if hit else 1] += 1
            if not (strategy == 1 and detection[2] == 4):
                after[0 if hit else 1] += 1
    total = sum(map(len, study.truth.values()))
    raw[2], after[2] = total - raw[0], total - after[0]
    return raw, after


def strict_hits(study: Study, found: dict[str, list[Interval]], *, strategy: int) -> int:
    hits = 0
    for name, events in study.truth.items():
        kept = [d for d in found[name] if not (strategy == 1 and d[2] == 4)]
        native = [(max(0, first * STEP), last * STEP + STEP - 1) for first, last, _ in kept]
        true = [(first * STEP, last * STEP + 2) for first, last, _ in events]
        close = np.array([[overlap(d, t) >= 0.5 for t in true] for d in native]).reshape(len(native), len(true))
        hits += int(close[linear_sum_assignment(-close.astype(int))].sum())
    return hits


def counts(result: dict[str, Any], scorer: str, stage: str) -> list[int]:
    spotting = result["scorers"][scorer][stage]["spotting"]
    return [spotting[name] for name in ("tp", "fp", "fn")]


@pytest.mark.parametrize("follow", ["description", "code"])
@pytest.mark.parametrize("strategy", [0, 1, 2])
def test_the_counts_are_those_of_a_plain_rewrite(study: Study, strategy: Any, follow: Any) -> None:
    done = evaluate_published(
        study.data_set, study.features, checkpoints=study.checkpoints, strategy=strategy, follow=follow
    )
    found = detect(study, follow=follow, strategy=strategy)
    raw, after = greedy_counts(study, found, strategy=strategy)
    assert counts(done.result, "greedy", "raw") == raw
    assert counts(done.result, "greedy", "after_strategy") == after
    assert all(raw)
    assert (raw == after) == (strategy != 1)
    hits = strict_hits(study, found, strategy=strategy)
    kept = sum(strategy != 1 or label != 4 for detections in found.values() for *_, label in detections)
    total = sum(map(len, study.truth.values()))
    assert counts(done.result, "strict", "after_strategy") == [hits, kept - hits, total - hits]


def test_both_ways_to_join_windows_differ_here(study: Study) -> None:
    described, code = (detect(study, follow=follow, strategy=0) for follow in ("description", "code"))
    assert described["006_1"] == code["006_1"]  # the first video of a subject
    assert described != code


def test_k_p_of_the_other_subjects(study: Study) -> None:
    done = evaluate_published(study.data_set, study.features, checkpoints=study.checkpoints, k_p="train")
    expected = {}
    for subject in study.models:
        others = [last - first for name in VIDEOS if name[:3] != subject for first, last, _ in study.truth[name]]
        expected[subject] = int((sum(others) / len(others) + 1) / 2)
    assert done.result["protocol"]["k_p"] == expected
    found = detect(study, follow="description", strategy=1, k_p=expected)
    assert counts(done.result, "greedy", "raw") == greedy_counts(study, found, strategy=1)[0]
    assert not any("k_p" in warning for warning in done.result["warnings"])


def test_the_files_give_the_figures_again(study: Study, tmp_path: Path) -> None:
    done = evaluate_published(study.data_set, study.features, checkpoints=study.checkpoints)
    write_evaluation(done, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert written == json.loads(json.dumps(done.result))
    for classes, names in (("classes_3", CLASSES[:3]), ("classes_4", CLASSES[:4])):
        scores = score_tables(
            tmp_path / "out" / "predictions.csv", tmp_path / "out" / "truth.csv", classes=names, bootstrap=0
        )
        figures = written["scorers"]["strict"]["after_strategy"]
        assert all(scores["spotting"][name] == value for name, value in figures["spotting"].items())
        recognition = figures[classes]["recognition"]
        assert {name: scores["recognition"][name] for name in recognition} == recognition
        assert figures[classes]["strs"] == scores["strs"]
    with (tmp_path / "out" / "order.csv").open() as file:
        assert [row["video"] for row in csv.DictReader(file)] == list(VIDEOS)
    again = evaluate_published(
        study.data_set, study.features, checkpoints=study.checkpoints, order=tmp_path / "out" / "order.csv"
    )
    assert again.result["scorers"] == done.result["scorers"]
    assert again.result["protocol"]["order_from"] == "the file order.csv"


def test_published_counts_stand_beside(study: Study) -> None:
    result = evaluate_published(study.data_set, study.features, checkpoints=study.checkpoints).result
    assert [(row["stage"], row["tp"], row["fp"], row["fn"]) for row in result["published"]] == [
        ("raw", 53, 184, 106),
        ("after_strategy", 52, 171, 107),
    ]
    total = sum(map(len, study.truth.values()))
    assert f"the published counts are over 159 micro-expressions, these over {total}" in result["warnings"]


def test_a_subject_of_the_training_is_refused_unless_asked_for(study: Study, tmp_path: Path) -> None:
    for subject in study.models:
        seen = ("spNO.1", subject) if subject == "007" else ("010",) if subject == "006" else None
        small_model(tmp_path / subject, seed=3, training_subjects=seen)
    with pytest.raises(UsageError, match="007 was trained on subject 007"):
        evaluate_published(study.data_set, study.features, checkpoints=tmp_path)
    done = evaluate_published(study.data_set, study.features, checkpoints=tmp_path, allow_training_subjects=True)
    assert done.result["trained_on"] == ["007"]


def test_the_extensible_rule_takes_the_median(study: Study, tmp_path: Path) -> None:
    for seed, subject in enumerate(study.models):
        small_model(tmp_path / subject, seed=seed, rule="extensible")
    results = {
        follow: evaluate_published(
            study.data_set, study.features, checkpoints=tmp_path, k_p="train", follow=follow
        ).result
        for follow in ("description", "code")
    }
    others = [last - first + 1 for name in VIDEOS if name[:3] != "006" for first, last, _ in study.truth[name]]
    assert results["code"]["protocol"]["k_p"]["006"] == int(np.median(others) / 2)
    assert [row["stage"] for row in results["code"]["published"]] == ["not stated"]
    # With the neutral logit at 0 only frames without any positive logit are neutral.
    deleted = {
        follow: sum(counts(result, "greedy", "raw")[:2]) - sum(counts(result, "greedy", "after_strategy")[:2])
        for follow, result in results.items()
    }
    assert deleted["description"] != deleted["code"]


def test_checkpoints_that_do_not_fit(study: Study, tmp_path: Path) -> None:
    longer = ScoringSettings(mode="windows", window=50, hop=25)
    for place, error, changes in (
        ("rate", "converted for another data set", {"rate_hz": 30.0}),
        ("window", r"36 channels and 50 frames, but the cached features are \(36, 30\)", {"scoring": longer}),
        ("two", "one network for all subjects", {"rule": "extensible"}),
    ):
        for subject in study.models:
            first = subject == "006" and place == "two"
            small_model(tmp_path / place / subject, seed=3, **({} if first else changes))
        with pytest.raises((CheckpointError, UsageError), match=error):
            evaluate_published(study.data_set, study.features, checkpoints=tmp_path / place)


def test_the_product_s_own_model_is_no_released_one(study: Study, tmp_path: Path) -> None:
    from metst.models.checkpoint import load_model

    for subject in study.models:
        (tmp_path / subject).symlink_to(load_model("starter").folder)
    with pytest.raises(CheckpointError, match="is no released checkpoint"):
        evaluate_published(study.data_set, study.features, checkpoints=tmp_path)


def test_names_of_checkpoints(tmp_path: Path) -> None:
    assert {subject_key(name) for name in ("spNO.1", "subject_1", "1", "SPno.1")} == {"1"}
    assert subject_key("006") != subject_key("6")
    for name in ("subject_006.pkl", "subject_007.PKL", "readme.txt"):
        (tmp_path / name).touch()
    assert find_folds(tmp_path, ["006", "007"])["007"].name == "subject_007.PKL"
    with pytest.raises(UsageError, match=r"of 1 of 2 subjects \(010\)"):
        find_folds(tmp_path, ["006", "010"])
    (tmp_path / "006.pt").touch()
    with pytest.raises(UsageError, match="several checkpoints of one subject"):
        find_folds(tmp_path, ["006"])
    with pytest.raises(UsageError, match="no folder"):
        find_folds(tmp_path / "none", ["006"])


def test_stitched_windows() -> None:
    values = np.arange(12).reshape(3, 4)
    described = stitch_windows(values, whole=np.array([True, False, False]))
    assert described.tolist() == [0, 1, 2, 3, 6, 7, 10, 11]
    assert stitch_windows(values, whole=np.array([False, True, False])).tolist() == [0, 0, 4, 5, 6, 7, 10, 11]
    assert stitch_windows(values[:0], whole=np.zeros(0, dtype=bool)).shape == (0,)


def test_a_deleted_hit_gives_its_truth_to_no_one_under_greedy() -> None:
    video = TestVideo("s", "v", np.array([70]), np.array([147]), ("negative",))  # frames 10 to 20 of the network
    found = Detections(
        video=np.zeros(2, np.int64),
        first=np.array([9, 11]),
        last=np.array([19, 21]),
        label=np.array([4, 0]),
        kept=np.array([False, True]),
    )
    greedy, strict = (count(found, [video], scorer=scorer, step=7) for scorer in ("greedy", "strict"))
    after = [figures["after_strategy"]["spotting"] for figures in (greedy, strict)]
    assert [(row["tp"], row["fp"], row["fn"]) for row in after] == [(0, 1, 1), (1, 0, 0)]
    assert greedy["raw"]["spotting"]["tp"] == 1
    assert greedy["raw"]["classes_3"]["strs"] == 0
    assert strict["after_strategy"]["classes_3"]["strs"] == pytest.approx(1 / 3)  # one of three classes


def test_frames_of_the_network_and_of_the_video() -> None:
    video = TestVideo("s", "v", np.array([0, 13]), np.array([7, 15]), ("x", "x"), frames=30, before=0)
    first, last = video.sampled(7)
    assert (first.tolist(), last.tolist()) == ([0, 1], [0, 2])
    onset, offset = video.native(np.array([-3, 1]), np.array([0, 9]), step=7)
    assert (onset.tolist(), offset.tolist()) == ([0, 7], [7, 30])
    later = replace(video, before=-1)  # the first image is number 0, which the authors leave out
    assert later.native(np.array([0]), np.array([0]), step=1)[0].tolist() == [1]


def cache_of(*counts: int, k: int = K) -> Features:
    return Features(tuple(np.zeros((count, k, 36), np.float32) for count in counts), 36, k, ("cache.pkl",))


def test_lengths_of_videos_are_compared_where_they_are_known(tmp_path: Path) -> None:
    root = make.samm_lv(tmp_path, length=7 * 90)
    data_set = load_dataset(root)
    split = published_split(data_set, cache_of(5, 5), step=7)
    assert [(video.subject, video.name) for video in split.videos] == [("006", "006_1"), ("007", "007_2")]
    assert [video.emotion for video in split.videos] == [("negative",), ("positive",)]
    with pytest.raises(DataError, match="1 of 2 videos: 007/007_2 has 6, its 630 frames make 5"):
        published_split(data_set, cache_of(5, 6), step=7)


def test_a_cache_of_other_videos(tmp_path: Path) -> None:
    data_set = load_dataset(make.samm_lv(tmp_path, length=7 * 90))
    with pytest.raises(DataError, match=r"holds 3 videos, but the labels name 2 .*006/006_1, 007/007_2.*--order"):
        published_split(data_set, cache_of(5, 5, 5), step=7)
    order = tmp_path / "order.csv"
    order.write_text("subject,video\n007,007_3\n006,006_1\n007,007_2\n")
    split = published_split(data_set, cache_of(5, 5, 5), step=7, order=order)
    assert [len(video.onset) for video in split.videos] == [0, 1, 1]
    for text, error in (("007,007_4\n", "does not have: 007/007_4"), ("006,006_1\n" * 2, "a video twice")):
        order.write_text("subject,video\n" + text)
        with pytest.raises(DataError, match=error):
            published_split(data_set, cache_of(5), step=7, order=order)
    order.write_text("subject,video\n006,006_1\n")
    assert published_split(data_set, cache_of(5), step=7, order=order).left_out == 1


@pytest.mark.parametrize("errata", [True, False])
def test_a_respelled_name_of_casme3_counts_only_if_the_cache_has_its_video(tmp_path: Path, errata: bool) -> None:
    data_set = load_dataset(make.casme3(tmp_path, length=200), errata=errata)
    names = [("spNO.1", "a"), ("spNO.1", "j"), ("spNO.20", "b")]
    whole = published_split(data_set, cache_of(7, 7, 7, k=50), step=1)
    assert [(video.subject, video.name) for video in whole.videos] == names
    exact = published_split(data_set, cache_of(7, 7, k=50), step=1)
    assert [(video.subject, video.name) for video in exact.videos] == [names[0], names[2]]
    assert exact.left_out == 1
    assert "spelled otherwise" in exact.order_from


def test_subjects_sort_by_number(tmp_path: Path) -> None:
    rows = [[f"spNO.{n}", name, 5, 9, 14, "4", "IV", "sad"] for n, name in ((10, "a"), (9, "b"), (9, "a"), (100, "a"))]
    make.xlsx(tmp_path / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", [make.CASME3_HEADER, *rows])
    split = published_split(load_dataset(tmp_path, kind="casme3"), cache_of(1, 1, 1, 1, k=50), step=1)
    assert [f"{video.subject}/{video.name}" for video in split.videos] == [
        *("spNO.9/a", "spNO.9/b", "spNO.10/a", "spNO.100/a")
    ]
    assert split.videos[0].sampled(1) == (np.array([4]), np.array([13]))
