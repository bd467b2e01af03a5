"""Runs the trainings of a plan: each fold is a task of its own, and what is done stays done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from metst.arrays import OnProgress
from metst.evaluation.executors import Executor, check_executor, run_all
from metst.evaluation.models import ModelLesson, ScoredModel, score_fold
from metst.evaluation.plan import Plan, claim_folder, fold_folder
from metst.training.folds import Fold
from metst.training.labelled_recipe import LabelledLesson
from metst.training.lesson import Lesson


@dataclass(frozen=True)
class FoldTask:
    """One training with its predictions; all that a worker elsewhere needs to know."""

    folder: Path
    lesson: Lesson | LabelledLesson | ModelLesson
    fold: Fold


def do_fold(task: FoldTask) -> None:
    """Train and predict one fold, or go on with it, or find it done."""
    if isinstance(task.lesson, ModelLesson):
        return score_fold(task.folder, task.lesson, fold=task.fold)
    if isinstance(task.lesson, LabelledLesson):
        from metst.training.labelled import run_labelled_fold

        return run_labelled_fold(task.folder, task.lesson, fold=task.fold)
    from metst.training.recordings import run_fold

    return run_fold(task.folder, task.lesson, fold=task.fold)


def fold_tasks(run: Path, plan: Plan, *, features: Path) -> list[FoldTask]:
    """One task per training and fold; variants that share their weights share the tasks."""
    features = features.resolve()
    lessons = {
        row.training: row.lesson(features) if isinstance(row, ScoredModel) else row.lesson(features, seed=plan.seed)
        for row in plan.variants
    }
    return [
        FoldTask(fold_folder(run, training=name, fold=part.name), lesson, fold=part.fold)
        for name, lesson in lessons.items()
        for part in plan.folds
    ]


def run_plan(
    run: Path, plan: Plan, *, features: Path, executor: Executor, on_progress: OnProgress | None = None
) -> None:
    """Train and predict all folds of all variants.

    Cut off at any moment and called again with the same plan, it goes on: folds that are done are not run
    again, others continue from their last epoch.  The result does not depend on the executor, on the number of
    workers or on interruptions.

    Raises
    ------
    UsageError
        The folder holds another run, or the executor is not at hand: then nothing is written.
    MetstError
        Folds failed: all are named; the others are done.
    """
    check_executor(executor)
    tasks = fold_tasks(run, plan, features=features)
    claim_folder(run, plan)
    names = [task.fold.name for task in tasks]
    run_all(do_fold, tasks, executor=executor, names=names, counted="folds", on_progress=on_progress)
