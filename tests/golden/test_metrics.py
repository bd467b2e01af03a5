"""The scorers against the published programs, and against published counts on real score curves."""

import json

import numpy as np
import pytest
from scipy.signal import find_peaks

from helpers.reference_values import cases, shared_file
from metst.metrics import score_tables

CLASSES = ("negative", "positive", "surprise", "others", "neutral")


def test_megc_repeats_the_challenge_to_the_last_digit():
    for case in cases("strs_golden"):
        result = score_tables(case["pred"], case["gt"], scorer="megc", classes=case["emotions"])
        ours = {"STRS": result["strs"]}
        for task, part in (("spotting", result["spotting"]), ("analysis", result["recognition"])):
            ours |= {f"{count} {task}": part[count.lower()] for count in ("TP", "FP", "FN")}
            ours |= {f"{name} {task}": part[name.lower()] for name in ("Precision", "Recall")}
            ours[f"F1-score {task}"] = part["f1"]
        ours |= {f"{name} analysis": result["recognition"][name.lower()] for name in ("UF1", "UAR")}
        assert ours == case["result"]


@pytest.mark.parametrize("published", ["metst", "bvrme"])
def test_counts_and_matched_classes_of_the_published_decoders(published):
    for case in cases("decode_golden"):
        decoded = case[published]
        flat = [(str(v), *i) for v, intervals in enumerate(decoded["intervals"]) for i in intervals]
        predictions = [
            ("s", video, onset + 1, offset + 1, CLASSES[emotion])
            for (video, onset, _, offset), emotion in zip(flat, decoded["emotions"], strict=True)
        ]
        truth = [
            ("s", str(v), onset + 1, offset + 1, emotion)
            for v, video in enumerate(case["videos"])
            for (onset, _, offset), emotion in zip(video["gt"], video["gt_emotion"], strict=True)
        ]
        for scorer in ("greedy", "many-to-many"):
            result = score_tables(predictions, truth, scorer=scorer, classes=CLASSES[:4])
            counts = [result["spotting"][name] for name in ("tp", "fp", "fn")]
            assert counts == decoded[scorer.replace("-", "_")]
        confusion = np.zeros((4, 5), dtype=int)
        for true, predicted in zip(decoded["matched_gt"], decoded["emotions"], strict=True):
            if true >= 0:
                confusion[true, predicted] += 1
        greedy = score_tables(predictions, truth, scorer="greedy", classes=CLASSES[:4])
        assert greedy["recognition"]["confusion"] == confusion.tolist()


@pytest.fixture(scope="module")
def real_curves():
    with np.load(shared_file("real", "slswin_score_curves.npz", why="1.4 MB of another project's scores")) as archive:
        curves = {name: archive[name] for name in archive.files}
    meta = json.loads(str(curves.pop("meta")))
    return {name: (curves[name.replace("/", "__")], entry) for name, entry in meta.items()}


def sl_swin_intervals(score, *, k):
    """Decoding of the network that made the curves: score ``i`` is that of the window from frame ``i``."""
    curve = np.convolve(score.astype(np.float64), np.full(2 * k, 1 / (2 * k)), mode="valid")
    peaks, _ = find_peaks(curve, height=curve.mean() + 0.6 * (curve.max() - curve.mean()), distance=k)
    return [(int(q), int(q) + 2 * k) for q in peaks]


@pytest.mark.parametrize(
    ("data_set", "iou", "counts"),
    [
        ("sammlv_me", np.nextafter(0.5, 1), (33, 440, 126)),
        ("sammlv_me", 0.5, (34, 439, 125)),
        ("cas2_me", np.nextafter(0.5, 1), (12, 204, 45)),
        ("cas2_me", 0.5, (13, 203, 44)),
    ],
)
def test_published_counts_on_real_curves(real_curves, data_set, iou, counts):
    predictions, truth = [], []
    for name, (score, entry) in real_curves.items():
        if name.startswith(data_set):
            subject = name.split("/")[1].split("_")[0]
            intervals = sl_swin_intervals(score, k=entry["k"])
            predictions += [(subject, name, onset + 1, offset + 1, "others") for onset, offset in intervals]
            truth += [(subject, name, onset + 1, offset + 1, "others") for onset, offset in entry["gt"]]
    result = score_tables(predictions, truth, scorer="greedy", iou=iou)
    assert tuple(result["spotting"][name] for name in ("tp", "fp", "fn")) == counts
