"""What an evaluation plans, which trainings it shares, and what it makes of the predictions."""

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.feature_folders import feature_folder
from metst.datasets.features import INDEX_FILE, FeatureIndex, read_features_index
from metst.errors import DataError, UsageError
from metst.evaluation.executors import Executor
from metst.evaluation.outcome import evaluate_run
from metst.evaluation.page import write_run_report
from metst.evaluation.plan import Plan, Variant, claim_folder, fold_folder, make_plan, read_grid
from metst.evaluation.run import fold_tasks, run_plan
from metst.metrics import score_tables
from metst.training.recipes import Recipe, changed_recipe, published_recipe

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return changed_recipe(published_recipe("metst"), {"network.width": 8, "epochs": 1})


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three subjects; the last has no micro-expression, and nobody shows surprise."""
    folder: Path = feature_folder(tmp_path_factory.mktemp("run") / "features", subjects=3, frames=240)
    index = read_features_index(folder)
    videos = [
        video.model_copy(
            update={
                "events": tuple(
                    event.model_copy(update={"emotion": "negative" if event.emotion == "surprise" else event.emotion})
                    for event in video.events
                    if video.subject != "s2"
                )
            }
        )
        for video in index.videos
    ]
    changed: FeatureIndex = index.model_copy(update={"videos": tuple(videos)})
    (folder / INDEX_FILE).write_text(changed.model_dump_json())
    return folder


def three(recipe: Recipe) -> list[Variant]:
    return [Variant(name=f"strategy {each}", recipe=recipe, strategy=each) for each in (0, 1, 2)]


@pytest.fixture(scope="module")
def finished(features: Path, recipe: Recipe) -> tuple[Path, Plan, dict[str, Any]]:
    run, plan = features.parent / "run", make_plan(features, variants=three(recipe))
    told: list[tuple[str, int, int | None]] = []
    run_plan(run, plan, features=features, executor=Executor(workers=1), on_progress=lambda *what: told.append(what))
    assert told == [("folds", done, 6) for done in range(7)]
    return run, plan, evaluate_run(run, plan, features=features)


def test_strategies_1_and_2_share_their_trainings(features: Path, recipe: Recipe, tmp_path: Path) -> None:
    plan = make_plan(features, variants=three(recipe))
    tasks = fold_tasks(tmp_path, plan, features=features)
    assert len(tasks) == 2 * 3
    assert {(task.lesson.strategy, task.fold.test) for task in tasks} == {
        (s, (f"s{k}",)) for s in (0, 1) for k in range(3)
    }
    assert len({task.folder for task in tasks}) == 6


def test_every_video_is_predicted_by_a_network_that_never_saw_its_subject(
    finished: tuple[Path, Plan, dict[str, Any]],
) -> None:
    run, _, _ = finished
    for path in run.rglob("model.json"):
        info = json.loads(path.read_text())
        tested = path.parent.parent.name
        assert tested not in info["training_subjects"]
        assert len(info["training_subjects"]) == 2
        with (path.parent.parent / "predictions.csv").open() as file:
            assert {row["subject"] for row in csv.DictReader(file)} <= {tested}


def test_a_variant_of_its_own_strategy_has_the_predictions_of_its_folds(
    finished: tuple[Path, Plan, dict[str, Any]],
) -> None:
    """Strategy 1 is decoded again from the scores: to what training had written, row by row."""
    run, plan, _ = finished
    for variant in plan.variants[:2]:
        folders = sorted((run / "trained" / variant.training).iterdir())
        rows = [line for folder in folders for line in (folder / "predictions.csv").read_text().splitlines()[1:]]
        again = (run / "predictions" / f"{variant.slug}.csv").read_text().splitlines()[1:]
        assert [row.rsplit(",", 1)[0] for row in again] == [row.rsplit(",", 1)[0] for row in rows]


def test_figures_are_those_of_the_tables_on_disk(finished: tuple[Path, Plan, dict[str, Any]]) -> None:
    run, plan, result = finished
    for variant in plan.variants:
        again = score_tables(run / "predictions" / f"{variant.slug}.csv", run / "truth.csv",
                             videos=[(f"s{s}", f"v{v}") for s in range(3) for v in range(2)])  # fmt: skip
        strict = result["variants"][variant.name]["strict"]
        assert strict["spotting"] == again["spotting"]
        assert strict["confidence_intervals"] == again["confidence_intervals"]
        assert strict["videos"]["counted"] == 6
        assert strict["with_others"]["classes"] == ["negative", "positive", "surprise", "others"]
        assert (strict["scorer"], strict["iou"], strict["frame_base"]) == ("strict", 0.5, 1)
    first, second, _ = (result["variants"][variant.name]["strict"] for variant in plan.variants)
    change = result["differences"][0]["spotting_f1"]["value"]
    assert change == pytest.approx(second["spotting"]["f1"] - first["spotting"]["f1"])


def test_a_fold_without_a_hit_and_a_class_without_a_sample_are_named(
    finished: tuple[Path, Plan, dict[str, Any]],
) -> None:
    run, _, result = finished
    strict = result["variants"]["strategy 1"]["strict"]
    assert strict["per_subject"]["s2"]["tp"] == 0
    assert strict["per_subject"]["s2"]["fn"] == 0
    assert strict["recognition"]["per_class"]["surprise"]["support"] == 0
    assert any("surprise" in note for note in strict["notes"])
    write_run_report(result, run / "report.html")
    page = (run / "report.html").read_text()
    assert "s2" in page
    assert all(note in page for note in strict["notes"] if "'" not in note and '"' not in note)
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_a_folder_of_another_plan_is_refused(features: Path, recipe: Recipe, tmp_path: Path) -> None:
    plan = make_plan(features, variants=three(recipe))
    claim_folder(tmp_path / "run", plan)
    claim_folder(tmp_path / "run", plan)
    for other in (
        make_plan(features, variants=three(recipe), seed=1),
        make_plan(features, variants=three(recipe), folds="2"),
        make_plan(features, variants=three(recipe)[:1]),
        make_plan(features, variants=three(changed_recipe(recipe, {"epochs": 2}))),
    ):
        with pytest.raises(UsageError, match="give another folder"):
            claim_folder(tmp_path / "run", other)


def test_nothing_is_claimed_for_an_executor_that_is_not_there(
    features: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    plan = make_plan(features, variants=three(recipe))
    with pytest.raises(UsageError, match="distributed: pip install"):
        run_plan(tmp_path / "run", plan, features=features, executor=Executor("dask"))
    assert not (tmp_path / "run").exists()


def test_folders_of_folds_stay_inside_the_run(tmp_path: Path) -> None:
    home = (tmp_path / "trained" / "x").resolve()
    assert fold_folder(tmp_path, training="x", fold="s1") == home / "s1"
    assert fold_folder(tmp_path, training="x", fold="../../../evil").resolve().parent == home
    with pytest.raises(DataError, match="cannot be the name"):
        fold_folder(tmp_path, training="x", fold="..")


def broken(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("done.json", None),
        ("done.json", "[1]"),
        ("done.json", "{}"),
        ("metrics.jsonl", None),
        ("metrics.jsonl", "{"),
        ("metrics.jsonl", "3\n"),
        ("metrics.jsonl", ""),
        ("model", None),
        ("scores/s1--v0.safetensors", None),
        ("scores/s1--v0.safetensors", "torn"),
    ],
)
def test_a_done_fold_that_lost_a_file_is_named(
    name: str, text: str | None, finished: tuple[Path, Plan, dict[str, Any]], features: Path, tmp_path: Path
) -> None:
    run, plan, _ = finished
    shutil.copytree(run, tmp_path / "run")
    path = fold_folder(tmp_path / "run", training=plan.variants[1].training, fold="s1") / name
    if text is None:
        broken(path)
    else:
        path.write_text(text)
    with pytest.raises(DataError, match=rf"s1/{name} is missing or damaged .*: delete its fold's folder and run again"):
        evaluate_run(tmp_path / "run", plan, features=features)


def test_folds_and_variants_that_cannot_be_are_refused(features: Path, recipe: Recipe) -> None:
    for folds, match in (("4", "got 3"), ("all", "expected loso or a number"), ("1", "2 or more")):
        with pytest.raises(UsageError, match=match):
            make_plan(features, variants=three(recipe), folds=folds)
    with pytest.raises(UsageError, match="names that differ"):
        make_plan(features, variants=[three(recipe)[0]] * 2)


def grid(folder: Path, text: str) -> Path:
    path = folder / "grid.toml"
    path.write_text(text)
    return path


def test_a_grid_changes_the_recipe_and_the_strategy(recipe: Recipe, tmp_path: Path) -> None:
    path = grid(tmp_path, '[[variant]]\nname = "as it is"\n[[variant]]\nname = "wide"\nstrategy = 2\n'
                          '"network.width" = 16\nepochs = 7\n')  # fmt: skip
    plain, wide = read_grid(path, recipe=recipe, strategy=1)
    assert (plain.name, plain.recipe, plain.strategy) == ("as it is", recipe, 1)
    assert (wide.strategy, wide.recipe.network.width, wide.recipe.epochs) == (2, 16, 7)
    assert wide.training != plain.training


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[[variant]]\nname = 'a'\nepoch = 3\n", "no 'epoch'"),
        ("[[variant]]\nname = 'a'\nepochs = 0\n", "epochs"),
        ("[[variant]]\nname = 'a'\nnetwork = 5\n", "network"),
        ("[[variant]]\nepochs = 1\n", "name"),
        (f"[[variant]]\nname = '{'n' * 81}'\n", "name"),
        ("[[variant]]\nname = 'a'\nstrategy = 3\n", "strategy"),
        ("[[variant]]\nname = 'a'\nnetwork.width = 3\n", "with quotes"),
        ("[[variants]]\nname = 'a'\n", "no \\[\\[variant"),
        ("name =", "cannot be read as TOML"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(text: str, match: str, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=match):
        read_grid(grid(tmp_path, text), recipe=recipe, strategy=1)
