"""Models as they are beside recipes: same folds, same videos, same scorers; who was trained on is not scored."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import run
from helpers.feature_folders import simulated_folder
from metst.datasets.features import read_features_index
from metst.errors import UsageError
from metst.evaluation.executors import Executor
from metst.evaluation.models import ScoredModel, check_models, scored_model, scored_models
from metst.evaluation.outcome import evaluate_run
from metst.evaluation.page import summary_tables, write_run_report
from metst.evaluation.plan import Plan, fold_folder, make_plan
from metst.evaluation.run import run_plan
from metst.models.checkpoint import load_model
from metst.reproduction.subject_checkpoints import was_trained_on
from metst.storage import unsealed
from metst.training.predictions import event_rows, predict


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = simulated_folder(tmp_path_factory.mktemp("models") / "features")
    return folder


def copy_of(folder: Path, **changes: Any) -> Path:
    """The packaged starter, saying something else of itself."""
    source = load_model("starter").folder
    folder.mkdir()
    shutil.copy(source / "weights.safetensors", folder)
    about = unsealed((source / "model.json").read_bytes()) | changes
    (folder / "model.json").write_text(json.dumps(about))
    return folder


def evaluated(features: Path, run: Path, *rows: ScoredModel) -> tuple[Plan, dict[str, Any]]:
    plan = make_plan(features, variants=rows)
    run_plan(run, plan, features=features, executor=Executor(workers=1))
    return plan, evaluate_run(run, plan, features=features)


def test_rows_hold_what_the_model_finds_in_every_video(features: Path, tmp_path: Path) -> None:
    """Independently of folds: the model over all videos, one after the other."""
    plan, result = evaluated(features, tmp_path / "run", scored_model("metst-event"), scored_model("starter"))
    index = read_features_index(features)
    for row in plan.models:
        model = load_model(row.model)
        expected = [
            tuple(map(str, found))
            for video in index.of(index.subjects)
            for found in event_rows(video, predict(features, video, model=model)[0])
        ]
        assert expected
        with (tmp_path / "run" / "predictions" / f"{row.slug}.csv").open() as file:
            _, *rows = csv.reader(file)
        assert [(*each[:5], float(each[5])) for each in rows] == [(*each[:5], float(each[5])) for each in expected]
    (compared,) = result["differences"]
    first, second = (result["variants"][row.name]["strict"]["spotting"]["f1"] for row in plan.models)
    assert (compared["variant"], compared["minus"]) == ("starter, as it is", "metst-event, as it is")
    assert compared["spotting_f1"]["value"] == pytest.approx(second - first)


def test_what_is_scored_is_not_scored_again_and_another_model_is_refused(features: Path, tmp_path: Path) -> None:
    folder = copy_of(tmp_path / "mine")
    row = scored_model(str(folder))
    plan, first = evaluated(features, tmp_path / "run", row)
    done = fold_folder(tmp_path / "run", training=row.training, fold="s1") / "done.json"
    at = done.stat().st_mtime_ns
    assert evaluated(features, tmp_path / "run", row)[1] == first
    assert done.stat().st_mtime_ns == at
    about = unsealed((folder / "model.json").read_bytes())
    about["decode"]["peak_threshold"] = 0.3
    (folder / "model.json").write_text(json.dumps(about))
    with pytest.raises(UsageError, match="not the one that this evaluation was planned with"):
        evaluate_run(tmp_path / "run", plan, features=features)


def test_a_model_that_saw_a_tested_subject_is_refused_or_said_in_red(features: Path, tmp_path: Path) -> None:
    row = scored_model(str(copy_of(tmp_path / "seen", training_subjects=["s1", "elsewhere"])))
    plan = make_plan(features, variants=[row])
    with pytest.raises(UsageError, match=r"was trained on subject s1, which is tested here"):
        check_models(plan.models, tested=plan.tested)
    _, result = evaluated(features, tmp_path / "run", row)
    assert result["variants"][row.name]["trained_on_tested"] == ["s1"]
    write_run_report(result, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert '<p class="seen" role="note">This model was trained on subjects that are tested here (s1)' in page


@pytest.mark.parametrize(
    ("seen", "tested", "same"),
    [
        ("lab.01", "other.01", False),
        ("lab.01", "01", False),
        ("lab.01", "Lab.01", True),
        ("Jose\u0301.2", "jos\u00e9.2", True),
        ("spNO.1", "1", True),
        ("subject_006", "006", True),
        ("006", "6", False),
    ],
)
def test_subjects_are_told_apart_by_their_whole_name(seen: str, tested: str, same: bool, tmp_path: Path) -> None:
    """What stands before a dot is part of a lab's name; only what the authors of the data sets write is none."""
    for one, other in ((seen, tested), (tested, seen)):
        model = load_model(copy_of(tmp_path / one, training_subjects=[one]))
        assert was_trained_on(model, other) == same


def named_model(folder: Path) -> str:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return str(copy_of(folder))


@pytest.mark.slow
def test_models_whose_folders_have_one_name_are_rows_of_one_table(
    features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = ("lab/one/best", "lab/two/best", "lab two/best", "lab/alone", "starter")
    monkeypatch.chdir(tmp_path)
    models = [named_model(tmp_path / "at" / place) for place in places]
    rows = scored_models([*models, "starter"])
    assert [row.name for row in rows] == [
        "one/best, as it is", "two/best, as it is", "lab two/best, as it is", "alone, as it is",
        "at/starter, as it is", "starter, as it is",
    ]  # fmt: skip
    assert [row.model for row in rows] == [*models, "starter"]
    plan, result = evaluated(features, tmp_path / "run", *rows)
    assert list(result["variants"]) == [row.name for row in rows]
    assert len(list((tmp_path / "run" / "predictions").iterdir())) == len(plan.variants)
    with pytest.raises(UsageError, match="is named twice"):
        scored_models([models[0], "starter", models[0]])


def test_a_model_that_does_not_say_whom_it_saw_is_scored_and_the_page_says_so(features: Path, tmp_path: Path) -> None:
    unknown, clean = (
        scored_model(str(copy_of(tmp_path / name, training_subjects=subjects)))
        for name, subjects in (("unknown", None), ("clean", ["elsewhere"]))
    )
    plan, result = evaluated(features, tmp_path / "run", unknown, clean)
    check_models(plan.models, tested=plan.tested)
    write_run_report(result, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("it does not say which subjects it was trained on") == 1
    assert 'class="seen"' not in page
    assert [row[0] for row in summary_tables(result)[0].rows] == [n for n in result["variants"] for _ in range(2)]


def test_a_strategy_without_a_published_recipe_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "evaluate", tmp_path, "--model", "metst-event", "--strategy", 2, "-o", tmp_path / "run")
    assert code == 2
    assert "--strategy is for the published recipes" in err
