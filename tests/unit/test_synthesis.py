"""Planted movements: where, when and how far pixels move."""

import itertools

import numpy as np
import pytest

from metst.errors import UsageError
from metst.synthesis.action_units import FacePose, control_points, field_weights, unit_displacement
from metst.synthesis.clip import ClipRecipe, write_clip
from metst.synthesis.events import EMOTION_UNITS, PlantedEvent, draw_event, draw_schedule
from metst.synthesis.inject import PlantedFields, inject_events, truth_intervals, warp_frame
from metst.timeline import TimeGrid


@pytest.fixture
def landmarks() -> np.ndarray:
    """A rough upright face, eye line level, 100 px between the outer eye corners."""
    rng = np.random.default_rng(0)
    points = np.stack([rng.uniform(100, 300, 68), rng.uniform(120, 330, 68)], axis=1)
    jaw = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([200 + 85 * np.cos(jaw), 150 + 150 * np.sin(jaw)], axis=1)
    for first, x in ((17, 130), (22, 215)):
        points[first : first + 5] = np.stack([x + np.arange(5) * 14, 120 - np.array([0, 6, 8, 6, 2])], axis=1)
    points[27:31] = [[200, 150 + 15 * i] for i in range(4)]
    points[31:36] = [[180 + 10 * i, 205] for i in range(5)]
    points[36:42] = [[150, 150], [160, 143], [172, 143], [182, 150], [172, 156], [160, 156]]
    points[42:48] = [[218, 150], [228, 143], [240, 143], [250, 150], [240, 156], [228, 156]]
    mouth = np.linspace(np.pi, -np.pi, 13)[:12]
    points[48:60] = np.stack([200 + 35 * np.cos(mouth), 245 - 12 * np.sin(mouth)], axis=1)
    inner = np.linspace(np.pi, -np.pi, 9)[:8]
    points[60:68] = np.stack([200 + 24 * np.cos(inner), 245 - 4 * np.sin(inner)], axis=1)
    return points


def event(**changes: object) -> PlantedEvent:
    values = {"onset_s": 1.0, "apex_s": 1.2, "offset_s": 1.4, "label": "positive", "units": {"12": 0.5}}
    return PlantedEvent(**(values | changes))


def test_a_ramp_image_shows_exactly_the_planted_displacement(landmarks: np.ndarray) -> None:
    pose = FacePose.from_landmarks(landmarks)
    fields = PlantedFields.for_face(landmarks, [event()])
    control = control_points(landmarks)
    columns = np.broadcast_to(np.arange(400.0), (400, 400))
    for values, axis in ((columns, 0), (columns.T, 1)):
        warped = warp_frame((values * 0.6).astype(np.uint8), field=fields.at(1.2), pose=pose)
        for point in (48, 54, 57, 8):
            moved = (field_weights(control[[point]], control=control) @ unit_displacement("12"))[0] * 0.5 * pose.unit_px
            x, y = np.rint(landmarks[point] + moved).astype(int)
            expected = [x, y][axis] - moved[axis]
            patch = warped[y - 1 : y + 2, x - 1 : x + 2].astype(float).mean() / 0.6
            assert patch == pytest.approx(expected, abs=1.6)  # the ramp is quantised to 1 / 0.6 px


def test_frames_outside_of_events_are_untouched(landmarks: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    frames = [rng.integers(0, 255, (400, 400), dtype=np.uint8) for _ in range(20)]
    time_s = np.arange(20) / 10
    out = list(inject_events(frames, landmarks=np.repeat(landmarks[None], 20, axis=0), time_s=time_s, events=[event()]))
    changed = [not np.array_equal(a, b) for a, b in zip(frames, out, strict=True)]
    assert changed == [1.0 < t < 1.4 for t in time_s]


def test_events_need_a_visible_face(landmarks: np.ndarray) -> None:
    points = np.repeat(landmarks[None], 20, axis=0)
    points[12] = np.nan
    with pytest.raises(UsageError, match="not visible"):
        list(inject_events([], landmarks=points, time_s=np.arange(20) / 10, events=[event()]))


def test_profile_is_zero_at_the_ends_and_one_at_the_apex() -> None:
    assert np.allclose(event().profile([0.9, 1.0, 1.2, 1.4, 2.0]), [0, 0, 1, 0, 0])


def test_truth_covers_exactly_the_frames_of_the_event() -> None:
    truth = truth_intervals([event()], grid=TimeGrid.uniform(100, rate_hz=30))
    assert (truth.onset[0], truth.apex[0], truth.offset[0]) == (30, 36, 43)


@pytest.mark.parametrize("label", EMOTION_UNITS)
def test_shares_are_a_distribution_and_durations_stay_in_range(label: str) -> None:
    assert sum(share for share, _, _ in EMOTION_UNITS[label]) == pytest.approx(1)
    rng = np.random.default_rng(2)
    drawn = [draw_event(rng, start_s=0.0, label=label, amplitude=0.1) for _ in range(300)]
    lengths = np.array([each.offset_s for each in drawn])
    assert lengths.mean() == pytest.approx(0.38, abs=0.03)
    assert lengths.min() >= 0.16
    assert lengths.max() <= 0.60


def test_a_schedule_never_overlaps_and_refuses_what_does_not_fit() -> None:
    events = draw_schedule(np.random.default_rng(3), count=9, start_s=1, end_s=20, amplitude=0.2)
    assert all(a.offset_s < b.onset_s for a, b in itertools.pairwise(events))
    assert events[0].onset_s >= 1
    assert events[-1].offset_s <= 20
    with pytest.raises(UsageError, match="fewer"):
        draw_schedule(np.random.default_rng(3), count=9, start_s=1, end_s=5, amplitude=0.2)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match="action unit"):
        unit_displacement("99")
    with pytest.raises(UsageError, match="class"):
        draw_event(np.random.default_rng(0), start_s=0, label="boredom", amplitude=0.1)


@pytest.mark.parametrize("count", [0, 1])
def test_an_empty_stretch_is_refused_even_without_events(count):
    with pytest.raises(UsageError, match=r"from 30\.0 s to 20\.0 s is empty"):
        draw_schedule(np.random.default_rng(0), count=count, start_s=30.0, end_s=20.0, amplitude=0.2)


def test_a_recipe_that_cannot_be_met_leaves_nothing_behind(tmp_path):
    with pytest.raises(UsageError, match="plant fewer"):
        write_clip(tmp_path / "clip", recipe=ClipRecipe(count=100, duration_s=5.0))
    assert not (tmp_path / "clip").exists()
