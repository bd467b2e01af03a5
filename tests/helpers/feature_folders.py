"""Small folders of features with planted movements: what ``metst extract`` would write, without any picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors.numpy

from metst.config import AnalyzeSettings
from metst.datasets import Kind
from metst.datasets.features import INDEX_FILE, FeatureIndex, FeatureVideo, TrueEvent
from metst.labels import EMOTIONS
from metst.synthesis.faces import simulated_responses
from metst.synthesis.trajectories import MotionSimulator, SimulationSettings
from metst.timeline import true_runs

# Regions that move, and how: a pattern per class that a small network can learn.
PATTERNS = {
    "negative": ((0, 4), -0.05),
    "positive": ((9, 10), -0.06),
    "surprise": ((0, 4), 0.06),
    "others": ((8,), 0.05),
}


def planted_motion(
    events: tuple[TrueEvent, ...], *, frames: int, rng: np.random.Generator, noise: float = 0.002
) -> np.ndarray:
    """Displacement (T, 18, 2): noise, and a bump per event."""
    motion = rng.normal(0, noise, (frames, 18, 2))
    for event in events:
        if event.kind != "micro":
            continue
        regions, size = PATTERNS[event.emotion or "others"]
        course = np.sin(np.linspace(0, np.pi, event.offset - event.onset))
        for region in regions:
            motion[event.onset : event.offset, region, 1] += size * course
    return motion.astype(np.float32)


def feature_folder(
    root: Path,
    *,
    subjects: int = 3,
    videos: int = 2,
    frames: int = 240,
    rate_hz: float = 30.0,
    kind: Kind = "manifest",
    still: int = 1,
    seed: int = 0,
) -> Path:
    """Features of ``subjects`` with ``videos`` each, the last ``still`` of each without a micro-expression."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True)
    rows = []
    for s in range(subjects):
        for v in range(videos):
            events = []
            if v < videos - still:
                for k, onset in enumerate(range(round(rate_hz), frames - round(rate_hz), round(2 * rate_hz))):
                    onset += int(rng.integers(0, round(rate_hz / 2)))
                    emotion = EMOTIONS[(s + v + k) % 4]
                    events.append(
                        TrueEvent(onset=onset, apex=None, offset=onset + round(0.5 * rate_hz), emotion=emotion)
                    )
            name = f"{s}{v}.safetensors"
            rows.append(FeatureVideo(subject=f"s{s}", video=f"v{v}", frames=frames, rate_hz=rate_hz, file=name,
                                     events=tuple(events)))  # fmt: skip
            write_motion(root / name, planted_motion(tuple(events), frames=frames, rng=rng), rate_hz=rate_hz)
    write_index(root, *rows, kind=kind)
    return root


def write_motion(path: Path, displacement: np.ndarray, *, rate_hz: float, valid: np.ndarray | None = None) -> None:
    length = len(displacement)
    valid = np.ones(length, bool) if valid is None else valid
    safetensors.numpy.save_file(
        {
            "displacement": displacement,
            "quality": np.ones((length, 18), np.float32),
            "valid": valid,
            "time_s": np.arange(length) / rate_hz,
        },
        path,
    )


def write_index(root: Path, *rows: FeatureVideo, kind: Kind = "manifest") -> None:
    index = FeatureIndex(data_set=kind, settings=AnalyzeSettings(), videos=rows)
    (root / INDEX_FILE).write_text(index.model_dump_json())


def simulated_folder(root: Path, *, subjects: int = 3, seconds: float = 12.0, rate_hz: float = 30.0) -> Path:
    """Features of ``subjects`` with two simulated recordings each of calm faces with clear micro-expressions."""
    settings = SimulationSettings(
        events_per_min=40.0, event_free_share=0.0, amplitude=(0.3, 0.5), others_share=0.0, blinks_per_min=6.0,
        macros_per_min=1.0, lively_share=0.0, speech_share=0.0,
    )  # fmt: skip
    simulator, rows = MotionSimulator(simulated_responses(count=4, seed=1), settings=settings), []
    root.mkdir(parents=True)
    for number in range(2 * subjects):
        frames = round(seconds * rate_hz)
        drawn = simulator.draw(np.random.default_rng([7, number]), frames=frames, rate_hz=rate_hz)
        events = tuple(
            TrueEvent(onset=run.start, apex=None, offset=run.stop, emotion=EMOTIONS[int(drawn.label[run.start])])
            for run in true_runs(drawn.score > 0)
        )
        name = f"{number}.safetensors"
        write_motion(root / name, drawn.displacement, rate_hz=rate_hz)
        rows.append(FeatureVideo(subject=f"s{number // 2}", video=f"v{number % 2}", frames=frames, rate_hz=rate_hz,
                                 file=name, events=events))  # fmt: skip
    write_index(root, *rows)
    return root
