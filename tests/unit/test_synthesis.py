"""Planted movements: where, when and how far pixels move."""

import hashlib
import itertools
import json
import shutil
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from typer import Typer
from typer.testing import CliRunner

from helpers.command_line import run
from metst.cli.synthesize import synthesize
from metst.config import Codec
from metst.errors import DataError, FaceError, OutputError, UsageError
from metst.synthesis.action_units import FacePose, control_points, field_weights, unit_displacement
from metst.synthesis.clip import write_clip
from metst.synthesis.events import (
    EMOTION_UNITS,
    MEAN_RISE_SHARE,
    PlantedEvent,
    draw_event,
    draw_schedule,
    label_of,
    parse_units,
)
from metst.synthesis.inject import PlantedFields, inject_events, truth_intervals, warp_frame
from metst.synthesis.recipe import ClipRecipe, read_recipe
from metst.synthesis.resample import FinePicture, to_picture
from metst.timeline import TimeGrid
from metst.video import probe_video, read_colour_stream, write_video


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
    with pytest.raises(UsageError, match="between two frames"):
        truth_intervals([event(onset_s=1.1)], grid=TimeGrid.uniform(9, rate_hz=1))


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


def test_rise_and_fall_take_as_long_as_in_real_ones() -> None:
    rng = np.random.default_rng(9)
    drawn = [draw_event(rng, start_s=0.0, label="positive", amplitude=0.1) for _ in range(500)]
    rise = np.median([each.apex_s for each in drawn])
    fall = np.median([each.offset_s - each.apex_s for each in drawn])
    assert 0.18 <= rise <= 0.24
    assert 0.16 <= fall <= 0.20
    assert np.median([each.apex_s / each.offset_s for each in drawn]) == pytest.approx(MEAN_RISE_SHARE, abs=0.02)


def test_units_durations_and_amplitudes_are_planted_as_asked() -> None:
    events = draw_schedule(
        np.random.default_rng(3),
        count=8,
        start_s=0,
        end_s=20,
        amplitude=0.05,
        amplitude_max=0.2,
        units=("4+7", "26"),
        durations_s=(0.2, 0.4),
    )
    assert sorted("+".join(each.units) for each in events) == ["26"] * 4 + ["4+7"] * 4
    assert {each.label for each in events if "4" in each.units} == {"negative"}
    assert {each.label for each in events if "26" in each.units} == {"others"}
    lengths = sorted(round(each.offset_s - each.onset_s, 9) for each in events)
    assert lengths == [0.2] * 4 + [0.4] * 4
    weights = [weight for each in events for weight in each.units.values()]
    assert 0.04 <= min(weights) <= max(weights) <= 0.24
    assert len(set(weights)) == len(weights)


def test_mixes_are_read_and_belong_to_the_class_that_lists_them() -> None:
    assert parse_units("4+7") == ("4", "7")
    assert label_of(("7", "4")) == "negative"
    assert label_of(("45",)) == "others"
    with pytest.raises(UsageError, match="unknown action unit '99'"):
        parse_units("4+99")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"amplitude": 0.0}, "placebo"),
        ({"amplitude": 0.2, "placebo": True}, "amplitude 0"),
        ({"amplitude": 0.2, "amplitude_max": 0.1}, "smaller"),
        ({"size": (20, 20)}, "64 px"),
        ({"size": (99999, 99999)}, "8192 px"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ClipRecipe(**changes)


def decoded(video: Path) -> str:
    """Hash of the decoded frames and their times."""
    digest = hashlib.sha256()
    for frame in read_colour_stream(video):
        digest.update(np.float64(frame.time_s).tobytes() + frame.rgb.tobytes())
    return digest.hexdigest()


def test_a_portrait_clip_is_rebuilt_from_its_recipe(tmp_path: Path) -> None:
    recipe = ClipRecipe(count=1, duration_s=1.6, rate_hz=20, size=(200, 240), seed=4, start_s=0.2)
    first = write_clip(tmp_path / "a", recipe=recipe)
    again = write_clip(tmp_path / "b", recipe=read_recipe(tmp_path / "a" / "recipe.json"))
    other = write_clip(tmp_path / "c", recipe=recipe.model_copy(update={"seed": 5}))
    assert decoded(first.video) == decoded(again.video) != decoded(other.video)
    assert first.truth.read_bytes() == again.truth.read_bytes()


@pytest.fixture(scope="module")
def noisy_footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait, drifting as a sitting person does, with the noise of a camera, as it was recorded: 2.4 s."""
    recipe = ClipRecipe(count=0, duration_s=2.4, rate_hz=25, size=(240, 300), noise_sigma=4, crf=0, seed=8)
    return write_clip(tmp_path_factory.mktemp("footage"), recipe=recipe).video


def test_a_clip_of_footage_is_rebuilt_and_another_file_is_refused(noisy_footage: Path, tmp_path: Path) -> None:
    recipe = ClipRecipe(count=2, durations_s=(0.3,), start_s=0.2, seed=3)
    first = write_clip(tmp_path / "a", recipe=recipe, footage=noisy_footage)
    kept = read_recipe(tmp_path / "a" / "recipe.json")
    assert kept.footage == noisy_footage.name, "a recipe is handed on, the folders of a machine are not"
    assert decoded(write_clip(tmp_path / "b", recipe=kept, footage=noisy_footage).video) == decoded(first.video)
    with pytest.raises(UsageError, match=f"made of {noisy_footage.name}, which is not here: name that file"):
        write_clip(tmp_path / "c", recipe=kept)
    with pytest.raises(DataError, match="not the footage of this recipe"):
        write_clip(tmp_path / "c", recipe=kept, footage=first.video)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("field", ['"duration_s": 1e400', '"rate_hz": 1e9', '"start_s": NaN', '"durations_s": [NaN]'])
def test_a_recipe_out_of_bounds_is_one_clear_line(tmp_path: Path, field: str) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(f"{{{field}}}")
    with pytest.raises(DataError, match="no recipe of a clip") as caught:
        read_recipe(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_duration_that_is_not_above_zero_is_refused(value: float) -> None:
    with pytest.raises(UsageError, match="above 0 s"):
        draw_schedule(np.random.default_rng(0), count=2, start_s=0, end_s=9, amplitude=0.1, durations_s=(0.3, value))


@pytest.mark.parametrize("camera", [5, [1], None])
def test_a_camera_that_is_none_is_refused_with_a_size_too(tmp_path: Path, camera: object) -> None:
    with pytest.raises(UsageError, match="a head cannot be made: camera"):
        write_clip(tmp_path / "clip", recipe=ClipRecipe(head={"camera": camera}, size=(320, 240)))


def test_a_clip_never_replaces_its_own_footage(
    noisy_footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, link = tmp_path / "own", tmp_path / "link"
    own.mkdir()
    link.symlink_to(own)
    kept = noisy_footage.read_bytes()
    (own / "planted.mp4").write_bytes(kept)
    monkeypatch.chdir(tmp_path)
    recipe = ClipRecipe(count=1, start_s=0.2)
    for footage, folder in (("own/planted.mp4", own), ("link/planted.mp4", Path("own")), ("own/planted.mp4", link)):
        with pytest.raises(UsageError, match="footage itself"):
            write_clip(folder, recipe=recipe, footage=Path(footage))
    with pytest.raises(UsageError, match="footage itself"):
        write_clip(own, recipe=recipe.model_copy(update={"footage": "link/planted.mp4"}))
    assert (own / "planted.mp4").read_bytes() == kept
    assert [file.name for file in own.iterdir()] == ["planted.mp4"]


def test_footage_is_found_again_from_another_directory(
    noisy_footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "near").mkdir()
    shutil.copy(noisy_footage, tmp_path / "near")
    monkeypatch.chdir(tmp_path / "near")
    clip = write_clip(tmp_path / "a", recipe=ClipRecipe(count=0, start_s=0.2), footage=Path(noisy_footage.name))
    assert str(tmp_path) not in (tmp_path / "a" / "recipe.json").read_text()
    monkeypatch.chdir(tmp_path)
    again = write_clip(Path("b"), recipe=read_recipe(Path("a/recipe.json")))
    assert decoded(again.video) == decoded(clip.video)


def test_a_clip_never_stands_beside_the_truth_of_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = ClipRecipe(count=1, duration_s=1.6, rate_hz=20, size=(200, 240), start_s=0.2)
    first = write_clip(tmp_path, recipe=recipe)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    other = recipe.model_copy(update={"seed": 2})

    def stop(stage: str, done: int, total: int | None) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_clip(tmp_path, recipe=other, on_progress=stop)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before  # the old clip is whole

    def full(path: Path, content: bytes) -> None:
        raise OutputError(f"{path} cannot be written")

    monkeypatch.setattr("metst.synthesis.clip.write_whole", full)
    with pytest.raises(OutputError):
        write_clip(tmp_path, recipe=other)
    assert [file.name for file in tmp_path.iterdir()] == ["planted.mp4"]
    assert first.video.read_bytes() != before["planted.mp4"]


def test_a_head_model_is_only_for_a_head(noisy_footage: Path, tmp_path: Path) -> None:
    for recipe, footage in ((ClipRecipe(), None), (ClipRecipe(), noisy_footage), (ClipRecipe(head={}), noisy_footage)):
        with pytest.raises(UsageError, match="head model is only for"):
            write_clip(tmp_path / "clip", recipe=recipe, footage=footage, head_model=tmp_path / "missing.whl")


def test_names_with_brackets_are_printed_as_they_are(tmp_path: Path) -> None:
    app = Typer()
    app.command()(synthesize)
    folder = tmp_path / "o[" / "x]"
    options = ["--count", "0", "--seconds", "1", "--fps", "5", "--size", "64x80", "-o", str(folder)]
    result = CliRunner().invoke(app, options)
    assert result.exception is None, result.exception
    assert f"Truth: {folder / 'truth.csv'}" in result.stderr


@pytest.mark.parametrize("codec", get_args(Codec))
def test_a_clip_is_compressed_as_its_recipe_says(tmp_path: Path, codec: str) -> None:
    app = Typer()
    app.command()(synthesize)
    clip, again = tmp_path / "clip", tmp_path / "again"
    options = ["--count", "0", "--seconds", "1", "--fps", "23.457", "--size", "130x150", "--codec", codec]
    assert CliRunner().invoke(app, [*options, "-o", str(clip)]).exit_code == 0
    assert probe_video(clip / "planted.mp4").codec == codec
    recipe = json.loads((clip / "recipe.json").read_text(encoding="utf-8"))
    assert recipe["codec"] == codec
    assert CliRunner().invoke(app, ["--recipe", str(clip / "recipe.json"), "-o", str(again)]).exit_code == 0
    assert (again / "planted.mp4").read_bytes() == (clip / "planted.mp4").read_bytes()
    del recipe["codec"]
    (clip / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
    assert read_recipe(clip / "recipe.json").codec == "h264"


def test_a_video_without_a_face_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "grey.mp4"
    write_video(path, (np.full((120, 120), 90, np.uint8) for _ in range(40)), rate_hz=25)
    with pytest.raises(FaceError, match="no face to plant into"):
        write_clip(tmp_path / "clip", recipe=ClipRecipe(count=1, start_s=0.1), footage=path)
    assert not (tmp_path / "clip").exists()


def frame_statistics(picture: np.ndarray) -> dict[str, float]:
    """What could give a planted frame away besides its motion."""
    grey = picture.mean(axis=2)[90:250, 40:200]
    grain = np.abs(cv2.filter2D(grey, cv2.CV_64F, np.array([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]])))
    steps = np.abs(np.diff(grey, axis=1)).mean(axis=0)
    return {
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "sharpness": float(cv2.Laplacian(grey, cv2.CV_64F).std()),
        "noise": float(np.median(grain)),
        "blocks": float(steps[7::8].mean() / steps.mean()),
    }


@pytest.mark.parametrize("crf", [pytest.param(0, marks=pytest.mark.slow), 18, pytest.param(28, marks=pytest.mark.slow)])
def test_nothing_but_motion_gives_an_event_away(noisy_footage: Path, tmp_path: Path, crf: int) -> None:
    common = {"count": 3, "durations_s": (0.4,), "start_s": 0.1, "crf": crf}
    planted = write_clip(tmp_path / "a", recipe=ClipRecipe(amplitude=0.2, **common), footage=noisy_footage)
    placebo = write_clip(tmp_path / "b", recipe=ClipRecipe(amplitude=0, placebo=True, **common), footage=noisy_footage)
    time_s = planted.grid.time_s
    moving = np.max([event.profile(time_s) for event in planted.events], axis=0) > 0.3
    pairs = zip(read_colour_stream(planted.video), read_colour_stream(placebo.video), strict=True)
    both = [(frame_statistics(a.rgb), frame_statistics(b.rgb)) for (a, b), on in zip(pairs, moving, strict=True) if on]
    assert len(both) >= 15
    for name in both[0][0]:
        values = [each[name] for pair in zip(*both, strict=True) for each in pair]
        chance = roc_auc_score(np.repeat([1, 0], len(both)), values)
        assert 0.28 < chance < 0.72, f"{name} tells planted frames from others: AUC {chance:.2f}"


def test_resampling_keeps_the_noise_that_lanczos_loses() -> None:
    rng = np.random.default_rng(1)
    noise = to_picture(128 + 12 * rng.standard_normal((160, 160), np.float32))
    places = np.stack(np.meshgrid(np.arange(50, 110), np.arange(50, 110)), axis=-1).astype(np.float32)
    assert np.array_equal(to_picture(FinePicture(noise).at(places)), noise[50:110, 50:110])
    moved = places + np.float32([0.5, 0.5])
    kept = to_picture(FinePicture(noise).at(moved)).std() / noise.std()
    lost = cv2.remap(noise, moved, None, cv2.INTER_LANCZOS4).std() / noise.std()
    assert kept == pytest.approx(1, abs=0.05)
    assert lost < 0.9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--amplitude", "0"], "placebo"),
        (["--amplitude", "strong"], "--amplitude"),
        (["--units", "4+99"], "unknown action unit"),
        (["--labels", "boredom"], "unknown class"),
        (["--count", "0", "--start", "30"], "is empty"),
        (["--count", "50"], "plant fewer"),
        (["--size", "wide"], "--size"),
        (["--size", "99999x99999"], "8192 px"),
        (["--end", "inf"], "--end"),
        (["--durations", "nan"], "--durations"),
        (["--amplitude", "0.1-0"], "--amplitude"),
        (["--fps", "1", "--durations", "0.2"], "between two frames"),
        (["--head-model", "missing.whl"], "head model"),
        (["--recipe", "missing.json"], "missing.json"),
        (["--recipe", "missing.json", "--count", "3"], "leave out --count"),
        (["clip.mp4", "--fps", "60"], "leave out --fps"),
    ],
)
def test_what_cannot_be_made_is_one_clear_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    app = Typer()
    app.command()(synthesize)
    result = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "clip")])
    assert isinstance(result.exception, UsageError), result.exception
    assert words in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "clip").exists()


@pytest.mark.parametrize("seconds", ["inf", "1e300", "0.1"])
def test_a_length_that_no_clip_can_have_is_one_clear_line(
    seconds: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "synthesize", "--seconds", seconds, "-o", tmp_path / "clip")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--seconds" in err
    assert not (tmp_path / "clip").exists()
