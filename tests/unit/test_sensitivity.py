"""Calibration: the curve against scikit-learn and known truths, placebos against false alarms, moments, the page."""

import inspect
import itertools
import json
import math
import os
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, chi2
from sklearn.linear_model import LogisticRegression
from typer import Typer
from typer.testing import CliRunner, Result

from helpers.analyses import make_analysis
from metst.cli.adapt import calibrated
from metst.cli.calibrate import calibrate as command
from metst.cli.console import console
from metst.errors import DataError, FaceError, OutputError, UsageError
from metst.models.checkpoint import load_model
from metst.motion.cache import FORMAT
from metst.results import Analysis, Condition
from metst.sensitivity import calibration, many
from metst.sensitivity.calibration import Calibration
from metst.sensitivity.calibration_page import lead, write_page
from metst.sensitivity.footage import look_at
from metst.sensitivity.many import CalibrationTask, do_calibration, read_figures
from metst.sensitivity.moments import Moment, find_sections, quiet_frames, quiet_moments
from metst.sensitivity.psychometric import Curve, fit_curve, poisson_interval, resampled_curves, wilson
from metst.sensitivity.recording_quality import Conditions, give_advice
from metst.sensitivity.settings import REST_S, SLOT_S, CalibrateSettings
from metst.sensitivity.summary import as_dict, figures_of, summarise, summarise_all, write_calibration
from metst.sensitivity.trials import TOLERANCE_S, judge, plan_trials
from metst.synthesis.events import PlantedEvent
from metst.timeline import Intervals, TimeGrid
from metst.video import content_hash

CONDITIONS = Conditions(
    rate_hz=25,
    face_px=90,
    noise=2,
    brightness=120,
    contrast=40,
    too_bright=0,
    too_dark=0,
    bits_per_pixel=0.2,
    codec="h264",
    head_speed=0.02,
    usable=1,
    blinking=0,
    speaking=0,
)


def drawn_trials(curve: Curve, *, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    amplitude = rng.choice([0.0, 0.02, 0.04, 0.08, 0.15, 0.3], count)
    duration_s = rng.choice([0.2, 0.35, 0.5], count)
    return amplitude, duration_s, rng.uniform(size=count) < curve.probability(amplitude, duration_s=duration_s)


@pytest.mark.parametrize("truth", [Curve((0.5, 2.5, 1.0), 0.1, 0.04), Curve((2.0, 4.0, 0.5), 0.0, 0.0)])
def test_the_fit_finds_the_curve_that_made_the_trials(truth: Curve) -> None:
    amplitude, duration_s, found = drawn_trials(truth, count=20_000, seed=1)
    fit = fit_curve(amplitude, duration_s, found=found)
    grid = np.geomspace(0.02, 0.3, 30)
    for duration in (0.2, 0.5):
        wanted = truth.probability(grid, duration_s=duration)
        np.testing.assert_allclose(fit.probability(grid, duration_s=duration), wanted, atol=0.03)


def test_without_guesses_and_lapses_the_fit_is_logistic_regression() -> None:
    amplitude, duration_s, found = drawn_trials(Curve((0.5, 2.5, 1.0), 0.0, 0.0), count=30_000, seed=2)
    fit = fit_curve(amplitude, duration_s, found=found)
    moving = amplitude > 0
    rows = np.log(np.stack([amplitude[moving] / 0.1, duration_s[moving] / 0.38], axis=1))
    other = LogisticRegression(C=np.inf, tol=1e-10).fit(rows, found[moving])
    assert fit.lapse == 0
    np.testing.assert_allclose(fit.weights, [other.intercept_[0], *other.coef_[0]], atol=0.02)


def test_the_threshold_is_where_the_curve_meets_it() -> None:
    curve = Curve((0.5, 2.5, 1.0), 0.05, 0.02)
    at = curve.amplitude_at(0.9, duration_s=0.3)
    assert curve.probability(at, duration_s=0.3) == pytest.approx(0.9)
    assert curve.probability(0.0, duration_s=0.3) == 0.05
    assert Curve((0.5, 2.5, 1.0), 0.0, 0.2).amplitude_at(0.9, duration_s=0.3) == math.inf


def test_separated_trials_give_a_finite_curve() -> None:
    amplitude = np.repeat([0.0, 0.05, 0.2], 20)
    fit = fit_curve(amplitude, np.full(60, 0.35), found=amplitude > 0.1)
    assert np.isfinite(fit.weights).all()
    assert fit.probability(0.05, duration_s=0.35) < 0.15
    assert fit.probability(0.2, duration_s=0.35) > 0.85


def test_the_band_covers_the_truth_and_is_drawn_by_moments() -> None:
    truth = Curve((0.5, 2.5, 1.0), 0.0, 0.0)
    amplitude, duration_s, found = drawn_trials(truth, count=300, seed=3)
    moment = np.arange(300) % 10
    curves = resampled_curves(amplitude, duration_s, found=found, moment=moment, count=60, seed=1)
    values = [curve.probability(0.1, duration_s=0.35) for curve in curves]
    assert min(values) < truth.probability(0.1, duration_s=0.35) < max(values)
    one = np.zeros(300, np.int64)
    alike = resampled_curves(amplitude, duration_s, found=found, moment=one, count=20, seed=1)
    assert len({curve.weights for curve in alike}) > 10  # a single moment does not make the band vanish


@pytest.mark.parametrize(("hits", "count"), [(0, 9), (3, 9), (9, 9), (40, 50)])
def test_wilson_intervals_are_those_of_scipy(hits: int, count: int) -> None:
    other = binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson(hits, count) == pytest.approx((other.low, other.high), abs=1e-9)


@pytest.mark.parametrize("count", [0, 1, 7, 30])
def test_poisson_intervals_are_those_of_chi_square(count: int) -> None:
    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    assert poisson_interval(count) == pytest.approx((low, chi2.ppf(0.975, 2 * count + 2) / 2), abs=1e-6)


def moments(count: int) -> list[Moment]:
    return [Moment(i, 2.0 * i, 2.0 * i + SLOT_S) for i in range(count)]


def test_every_trial_lies_within_its_moment_and_every_cell_is_planted_equally() -> None:
    settings = CalibrateSettings(repeats=2).trials()
    places = moments(11)
    trials = plan_trials(places, settings=settings)
    for trial in trials:
        moment = places[trial.moment]
        assert trial.event.onset_s >= moment.start_s + REST_S - 1e-9
        assert trial.event.offset_s <= moment.end_s - REST_S + 1e-9
    assert len({(trial.run, trial.moment) for trial in trials}) == len(trials)
    counts = {
        (amplitude, duration): sum(
            trial.amplitude == amplitude and abs(trial.duration_s - duration) < 1e-9 for trial in trials
        )
        for amplitude in settings.amplitudes
        for duration in settings.durations_s
        if amplitude
    }
    assert set(counts.values()) == {6}
    assert trials == plan_trials(places, settings=settings)
    assert trials != plan_trials(places, settings=settings.model_copy(update={"seed": 2}))


def candidates_at(frames: np.ndarray) -> Intervals:
    onset = np.maximum(frames - 4, 0)
    count = len(frames)
    return Intervals(
        onset, frames, frames + 5, ("negative",) * count, np.ones(count), np.ones((count, 1)), ("negative",)
    )


def test_a_placebo_is_found_as_often_as_chance_raises_an_alarm() -> None:
    """A detector that fires at random: at every amplitude what it finds is its rate times the time of a trial."""
    rng = np.random.default_rng(5)
    rate_hz, per_s = 100.0, 0.35
    places = moments(50)
    grid = TimeGrid.uniform(round(2 * 50 * rate_hz), rate_hz=rate_hz)
    settings = CalibrateSettings(repeats=12, durations_s=(0.4,)).trials()
    trials = plan_trials(places, settings=settings)
    found: dict[float, list[bool]] = {}
    for number in range(trials[-1].run + 1):
        fired = candidates_at(np.flatnonzero(rng.uniform(size=len(grid) - 20) < per_s / rate_hz))
        for trial in trials:
            if trial.run == number:
                outcome, _ = judge(trial.event, candidates=fired, grid=grid)
                found.setdefault(trial.amplitude, []).append(outcome.found)
    expected = 1 - math.exp(-per_s * (0.4 + 2 * TOLERANCE_S))
    everything = np.concatenate([np.array(each) for each in found.values()])
    assert everything.mean() == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / everything.size))
    low, high = wilson(sum(found[0.0]), len(found[0.0]))
    assert low - 0.05 <= expected <= high + 0.05


def test_of_two_candidates_the_more_confident_one_counts() -> None:
    grid = TimeGrid.uniform(100, rate_hz=50)
    trial = plan_trials([Moment(0, 0.2, 0.2 + SLOT_S)], settings=CalibrateSettings(durations_s=(0.5,)).trials())[0]
    apex = int(grid.frame_at(trial.event.apex_s))
    two = replace(candidates_at(np.array([apex - 2, apex + 2])), confidence=np.array([0.4, 0.9]), label=("a", "b"))
    outcome, mine = judge(trial.event, candidates=replace(two, classes=("a", "b")), grid=grid)
    assert (outcome.label, mine) == ("b", [0, 1])
    far = judge(trial.event, candidates=candidates_at(np.array([95])), grid=grid)
    assert far[0].found is False
    assert far[1] == []


def test_the_overlap_is_that_with_the_truth_of_a_planted_clip() -> None:
    """Frames 30 to 42 lie within the event; its ends are nearer to frames 29 and 43."""
    grid = TimeGrid.uniform(100, rate_hz=30)
    planted = PlantedEvent(29.4 / 30, 36 / 30, 42.6 / 30, "negative", {"4": 0.2})
    exact = replace(candidates_at(np.array([36])), onset=np.array([30]), offset=np.array([43]))
    wider = replace(exact, onset=np.array([29]), offset=np.array([44]))
    assert judge(planted, candidates=exact, grid=grid)[0].iou == 1
    assert judge(planted, candidates=wider, grid=grid)[0].iou == pytest.approx(13 / 15)


def quiet_analysis(frames: int = 300):
    analysis = make_analysis(duration_s=frames / 30, events=0)
    found = analysis.motion.displacement
    still = replace(found, values=np.zeros_like(found.values), valid=np.ones(frames, bool))
    conditions = np.zeros_like(analysis.motion.conditions)
    return with_motion(analysis, displacement=still, reason=("",) * frames, conditions=conditions)


def with_motion(analysis: Analysis, **changes: object) -> Analysis:
    return replace(analysis, motion=replace(analysis.motion, **changes))


def test_blinks_candidates_and_movement_are_not_quiet() -> None:
    still = quiet_analysis()
    assert quiet_frames(still).all()
    conditions = still.motion.conditions.copy()
    conditions[100:105] = Condition.BLINK
    blinked = quiet_frames(with_motion(still, conditions=conditions))
    assert not blinked[100:105].any()
    assert blinked[:80].all()
    values = still.motion.displacement.values.copy()
    values[200:, :, 0] = 0.2  # all regions jump at once
    moved = quiet_frames(with_motion(still, displacement=replace(still.motion.displacement, values=values)))
    assert not moved[200:203].any()
    assert moved[250:].all()


def test_no_quiet_moment_is_one_clear_line() -> None:
    still = quiet_analysis()
    speech = np.full_like(still.motion.conditions, Condition.SPEECH)
    with pytest.raises(FaceError, match="no quiet moment") as caught:
        find_sections(with_motion(still, conditions=speech), trials=10)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_moments_do_not_overlap_and_sections_hold_them() -> None:
    still = quiet_analysis()
    found = quiet_moments(still)
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in itertools.pairwise(found))
    sections = find_sections(still, trials=1000)
    assert sum(len(section.moments) for section in sections) == len(found)
    time_s = still.grid.time_s
    for section in sections:
        assert time_s[section.first] <= section.moments[0].start_s
        assert time_s[section.stop - 1] >= section.moments[-1].end_s - 1 / 30


@pytest.mark.parametrize("sigma", [1.0, 4.0, 10.0])
def test_noise_is_that_of_white_noise_whatever_edges_there_are(sigma: float) -> None:
    rng = np.random.default_rng(6)
    scene = np.full((200, 200), 120.0)
    scene[:, 100:] = 160.0
    noisy = np.clip(np.rint(scene + sigma * rng.standard_normal(scene.shape)), 0, 255).astype(np.uint8)
    corners = np.array([[10.0, 10.0], [190.0, 190.0]])
    assert look_at(noisy, landmarks=corners).noise == pytest.approx(sigma, rel=0.12)


def test_advice_names_what_is_bad() -> None:
    assert {line.verdict for line in give_advice(replace(CONDITIONS, rate_hz=60, face_px=150))} == {"good"}
    worse = replace(CONDITIONS, rate_hz=12, face_px=40, noise=9, brightness=30, bits_per_pixel=0.01, head_speed=0.4)
    poor = {line.topic for line in give_advice(worse) if line.verdict == "poor"}
    assert poor == {"Frame rate", "Size of the face", "Light", "Noise", "Compression", "Head motion"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"amplitudes": (0.0, 0.1)}, "two amplitudes"),
        ({"amplitudes": (0.1, 2.0)}, "between 0 and 1"),
        ({"durations_s": (2.0,)}, "durations"),
        ({"labels": ("boredom",)}, "unknown class"),
        ({"durations_s": (0.2, float("nan"))}, "durations"),
        ({"durations_s": (0.2, 0.2)}, "durations must be named once"),
        ({"labels": ("surprise", "surprise")}, "classes must be named once"),
    ],
)
def test_settings_that_make_no_sense_are_usage_errors(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        CalibrateSettings(**changes)


def made_calibration(*, reach: float) -> Calibration:
    """A calibration of a recording in which movements above an amplitude of ``reach`` are found."""
    settings = CalibrateSettings(resamples=20)
    trials = plan_trials(moments(12), settings=settings.trials())
    rows = []
    for trial in trials:
        hit = trial.amplitude > reach
        outcome = (
            calibration.Outcome(True, trial.event.label, 0.9, 0.7, 0.01, -0.03) if hit else calibration.Outcome(False)
        )
        rows.append(calibration.Row(trial, outcome, 0.1 * trial.amplitude, 9 * trial.amplitude))
    return Calibration(quiet_analysis(), tuple(rows), 12, trials[-1].run + 1, 1, 60.0, CONDITIONS, settings)


def test_the_page_loads_nothing_and_says_the_threshold(tmp_path: Path) -> None:
    calibration = made_calibration(reach=0.06)
    summary = summarise(calibration)
    assert 0.05 < summary.typical.amplitude < 0.12
    assert summary.typical.px == pytest.approx(summary.typical.face_units * 90)
    write_calibration(calibration, summary, tmp_path)
    write_page(calibration, summary, tmp_path / "calibration.html")
    page = (tmp_path / "calibration.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert "9 times in 10" in page
    value = read_figures(tmp_path)
    assert value == as_dict(calibration, summary)
    assert [point["amplitude"] for point in value["points"]] == sorted(CalibrateSettings().amplitudes)
    rows = (tmp_path / "trials.csv").read_text().splitlines()
    assert len(rows) == len(calibration.rows) + 1
    assert value["false_alarms"]["placebo"]["found"] == 0


def test_recordings_that_were_planned_together_are_summed() -> None:
    one, other = made_calibration(reach=0.06), made_calibration(reach=0.15)
    alone, both = summarise(one), summarise_all([one, other])
    assert figures_of(summarise_all([one])) == figures_of(alone)
    for point, first, second in zip(both.points, alone.points, summarise(other).points, strict=True):
        assert point["amplitude"] == first["amplitude"]
        for count in ("trials", "found", "iou_half"):
            assert point[count] == first[count] + second[count]
    for kind in ("recording", "beside_planted"):
        whole, part = (summary.figures["false_alarms"][kind] for summary in (both, alone))
        assert whole["count"] == 2 * part["count"]
        assert whole["minutes"] == pytest.approx(2 * part["minutes"])
        assert whole["per_minute"] == pytest.approx(part["per_minute"])
    assert alone.typical.amplitude < both.typical.amplitude < summarise(other).typical.amplitude
    written = as_dict(one, alone)
    assert {name: written[name] for name in figures_of(alone)} == figures_of(alone)


def test_before_and_after_an_adaptation_are_told_in_the_words_of_a_calibration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [(made_calibration(reach=0.15), made_calibration(reach=0.06)) for _ in range(2)]
    monkeypatch.setattr("metst.sensitivity.comparison.calibrate_models", lambda *_, **__: found)
    monkeypatch.setattr(console, "width", 400)
    how: Any = {"before": None, "after": None, "rate_hz": None, "cache": False}
    result = calibrated([Path("a"), Path("b"), Path("c")], **how)
    told = capsys.readouterr().err
    assert "metst calibrate, 2 of the 3 with a quiet moment (24 in all)" in told
    for side, name in enumerate(("before", "after")):
        summary = summarise_all([pair[side] for pair in found])
        assert result[name] == figures_of(summary)
        assert f"{name}: {lead(summary.typical, points=summary.points)}" in told
    assert [point["found"] for point in result["before"]["points"] if point["amplitude"] == 0.12] == [0]
    assert (result["recordings"], result["quiet_moments"]) == (2, 24)

    def nothing(*_: object, **__: object) -> None:
        raise FaceError("no quiet moment in 3 recordings")

    monkeypatch.setattr("metst.sensitivity.comparison.calibrate_models", nothing)
    assert calibrated([Path("a")], **how) == {"problem": "no quiet moment in 3 recordings"}
    assert "not calibrated: no quiet moment in 3 recordings" in capsys.readouterr().err


def test_where_another_model_has_a_candidate_no_moment_is_quiet() -> None:
    analysis = quiet_analysis()
    at = len(analysis.grid) // 2
    classes = analysis.events.classes
    event = Intervals(
        *(np.array([frame]) for frame in (at, at + 2, at + 5)),
        (classes[0],), np.ones(1), np.full((1, len(classes)), 1 / len(classes)), classes,
    )  # fmt: skip
    other = replace(analysis, events=event)
    together = quiet_frames(analysis, others=[other])
    assert not together[at]
    np.testing.assert_array_equal(together, quiet_frames(analysis) & quiet_frames(other))
    np.testing.assert_array_equal(together, quiet_frames(other, others=[analysis]))


def test_a_recording_in_which_nothing_is_found_says_so(tmp_path: Path) -> None:
    calibration = made_calibration(reach=2.0)
    summary = summarise(calibration)
    assert summary.typical.amplitude is None
    write_calibration(calibration, summary, tmp_path)
    write_page(calibration, summary, tmp_path / "calibration.html")
    page = (tmp_path / "calibration.html").read_text()
    assert "Do not rely on this recording" in page
    assert "No planted movement was found" in page


def call(*arguments: str) -> Result:
    app = Typer()
    app.command()(command)
    return CliRunner().invoke(app, arguments)


def test_a_folder_that_cannot_be_made_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metst.sensitivity.many.probe_video", lambda *_, **__: None)
    monkeypatch.setattr("metst.sensitivity.many.calibrate", lambda *_, **__: pytest.fail("the work was done"))
    (tmp_path / "taken").write_text("a file")
    result = call("clip.mp4", "-o", str(tmp_path / "taken"))
    assert isinstance(result.exception, OutputError), result.exception


def test_names_with_brackets_are_printed_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metst.sensitivity.many.probe_video", lambda *_, **__: None)
    monkeypatch.setattr("metst.sensitivity.many.calibrate", lambda *_, **__: made_calibration(reach=0.06))
    folder = tmp_path / "o[" / "x]"
    result = call("v[bold].mp4", "-o", str(folder))
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert "v[bold].mp4: planted movements found" in result.stderr
    assert f"Page: {folder / 'calibration.html'}" in result.stderr


def test_a_recording_that_is_not_there_leaves_no_folder(tmp_path: Path) -> None:
    result = call(str(tmp_path / "missing.mp4"), "-o", str(tmp_path / "out"))
    assert isinstance(result.exception, UsageError)
    assert not (tmp_path / "out").exists()


def test_several_recordings_have_a_folder_each_and_are_calibrated_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def made(path: Path, **rest: Any) -> Calibration:
        calls.append(path.name)
        if path.name == "bad.mp4":
            raise FaceError("bad.mp4 shows no face")
        found = made_calibration(reach=0.06)
        model = load_model("metst-event").describe()
        source = replace(found.raw.source, path=str(path), content_hash=content_hash(path))
        raw = replace(found.raw, source=source, model=model, version=version("metst"), motion_algorithm=FORMAT)
        return replace(found, raw=raw, settings=rest["settings"])

    monkeypatch.setattr("metst.sensitivity.many.probe_video", lambda *_, **__: None)
    monkeypatch.setattr("metst.sensitivity.many.calibrate", made)
    few = {"resamples": 20}
    quick = lambda found: summarise(replace(found, settings=found.settings.model_copy(update=few)))  # noqa: E731
    monkeypatch.setattr("metst.sensitivity.many.summarise", quick)
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4", "bad.mp4"):
        (tmp_path / "in" / name).write_text(name)
    arguments = (str(tmp_path / "in"), "-o", str(tmp_path / "out"))
    result = call(*arguments)
    assert calls == ["a.mp4", "b.mp4", "bad.mp4"]
    assert "bad.mp4 shows no face" in result.stderr
    assert result.exit_code == 3
    rows = (tmp_path / "out" / "calibrations.csv").read_text().splitlines()
    assert [row.count(",") for row in rows] == [7] * (1 + 2 * 3 + 1)
    assert (tmp_path / "out" / "b" / "calibration.html").exists()
    call(*arguments)
    assert calls[3:] == ["bad.mp4"]
    (tmp_path / "in" / "b.mp4").write_text("other")
    call(*arguments)
    assert calls[4:] == ["b.mp4", "bad.mp4"]
    call(*arguments, "--seed", "2")
    assert calls[6:] == ["a.mp4", "b.mp4", "bad.mp4"]


def test_the_command_has_the_defaults_of_the_settings() -> None:
    options = {name: each.default for name, each in inspect.signature(command).parameters.items()}
    chosen = CalibrateSettings(
        amplitudes=tuple(float(each) for each in options["amplitudes"].split(",")),
        durations_s=tuple(float(each) for each in options["durations"].split(",")),
        labels=tuple(options["labels"].split(",")),
        repeats=options["repeats"],
        crf=options["crf"],
        seed=options["seed"],
    )
    assert chosen == CalibrateSettings()


def test_what_a_table_could_not_hold_is_refused_before_the_work(tmp_path: Path) -> None:
    name = Path(os.fsdecode(b"b\xe9.mp4"))
    task = CalibrationTask(tmp_path / name, tmp_path / "out", "metst-event", CalibrateSettings())
    with pytest.raises(UsageError, match="not in UTF-8"):
        do_calibration(task)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "calibration.json").write_text("[]")
    with pytest.raises(DataError, match="no figures of a calibration"):
        read_figures(tmp_path / "out")


def test_figures_that_were_changed_are_not_taken_for_what_was_found(tmp_path: Path) -> None:
    found = made_calibration(reach=0.06)
    write_calibration(found, summarise(found), tmp_path)
    file = tmp_path / "calibration.json"
    figures = read_figures(tmp_path)
    file.write_text(file.read_text().replace('"trials": 1', '"trials": 2', 1))
    assert json.loads(file.read_text())["trials"] != figures["trials"]
    with pytest.raises(DataError, match=r"changed or damaged.*calibrate the recording again"):
        read_figures(tmp_path)
    file.write_text(json.dumps(figures))  # as earlier versions wrote it
    assert read_figures(tmp_path) == figures


def test_a_calibration_of_an_earlier_algorithm_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"a")
    task = CalibrationTask(path, tmp_path / "out", "metst-event", CalibrateSettings(resamples=20))
    found = made_calibration(reach=0.06)
    source = replace(found.raw.source, content_hash=content_hash(path))
    model = load_model("metst-event").describe()
    raw = replace(found.raw, source=source, model=model, version=version("metst"), motion_algorithm=FORMAT)
    found = replace(found, raw=raw)
    task.folder.mkdir()
    write_page(found, summarise(found), task.folder / "calibration.html")
    write_calibration(found, summarise(found), task.folder)
    assert many._is_done(task)
    monkeypatch.setattr(many, "FORMAT", FORMAT + 1)
    assert not many._is_done(task)
