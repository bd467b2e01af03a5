"""Options: those that several commands have, and how an option is made from the setting that it sets."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metst.config import EXPECTED_PER_MIN, OperatingPoint
from metst.evaluation.executors import Executor, Kind
from metst.evaluation.slurm import SlurmSettings

if TYPE_CHECKING:
    from typer.models import OptionInfo

    from metst.config import Settings

Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Only errors.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more, down to each stage.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on the standard output.")]
OutputFolder = Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")]
LabelFiles = Annotated[
    list[Path] | None,
    typer.Option("--labels", help="Sheet with the labels, if it is not found; again for each, if there are several."),
]
Rate = Annotated[float | None, typer.Option("--fps", min=1, help="Frame rate of frame folders, in frames per second.")]
ReviewsOf = Annotated[
    str | None,
    typer.Option("--coder", help="With --from-reviews: whose.", show_default="adjudicated ones, or the only ones"),
]
LandmarkTables = Annotated[
    Path | None,
    typer.Option(
        "--landmarks",
        help="Table of OpenFace or py-feat with the landmarks, in place of metst's own; of several recordings a folder"
        " with NAME.csv for each.",
        show_default=False,
    ),
]
ModelName = Annotated[str, typer.Option("--model", help="Name of a packaged model, or a checkpoint folder.")]
ExpectedRate = Annotated[
    float | None,
    typer.Option(
        "--expected-per-min",
        help="Micro-expressions per minute that are to be expected: confidences are adjusted to that.",
        show_default=f"{EXPECTED_PER_MIN:g}, as in labelled long videos",
    ),
]
PointName = Annotated[
    OperatingPoint,
    typer.Option(
        "--operating-point",
        help="How many candidates: quiet has about a third of the false ones of balanced, sensitive 3 times as many.",
    ),
]


MACHINES = "Many processors and machines"
"""Title of the options that :func:`on_machines` gives, in the help of a command."""
_JOBS = SlurmSettings()  # what a job gets without options


def _chosen_executor(
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Recordings or folds at a time. Absent: one recording, which has all processors, or as many folds as"
            " processors; of Slurm at most 500 jobs in the queue.",
            rich_help_panel=MACHINES,
        ),
    ] = None,
    executor: Annotated[Kind, typer.Option(help="Where they run.", rich_help_panel=MACHINES)] = "local",
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler, or Slurm partition.", rich_help_panel=MACHINES)
    ] = None,
    slurm_time: Annotated[
        int, typer.Option(min=1, help="Minutes for each job.", rich_help_panel=MACHINES)
    ] = _JOBS.time_min,
    slurm_memory: Annotated[
        float, typer.Option(min=0.1, help="Memory for each job, GiB.", rich_help_panel=MACHINES)
    ] = _JOBS.memory_gb,
    slurm_gpus: Annotated[
        int, typer.Option(min=0, help="Graphics processors for each job.", rich_help_panel=MACHINES)
    ] = _JOBS.gpus,
    slurm_account: Annotated[
        str | None, typer.Option(help="Account that pays.", show_default="yours", rich_help_panel=MACHINES)
    ] = None,
    slurm_partition: Annotated[
        str | None, typer.Option(help="Partition.", show_default="the cluster's", rich_help_panel=MACHINES)
    ] = None,
    slurm_extra: Annotated[
        list[str],
        typer.Option(help="Any other option of sbatch: NAME=VALUE or NAME; again for more.", rich_help_panel=MACHINES),
    ] = [],  # noqa: B006
) -> Executor:
    """Where tasks run, as the options say."""
    jobs = SlurmSettings(slurm_time, slurm_memory, slurm_gpus, slurm_account, slurm_partition, tuple(slurm_extra))
    return Executor(executor, workers=workers, scheduler=scheduler, slurm=jobs)


def on_machines(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where its tasks run; it takes them as one value, ``where``.

    Parameters
    ----------
    command : callable
        Of Typer, with a parameter ``where``, an :class:`~metst.evaluation.executors.Executor`.
    """
    own = inspect.signature(command, eval_str=True).parameters
    shared = inspect.signature(_chosen_executor, eval_str=True).parameters
    together = [each for each in (*own.values(), *shared.values()) if each.name != "where"]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        where = _chosen_executor(**{name: values.pop(name) for name in shared})
        command(where=where, **values)

    return with_parameters(run, together)


def with_parameters(run: Callable[..., None], parameters: Iterable[inspect.Parameter]) -> Callable[..., None]:
    """Let a function that takes any values by name show these parameters, from which Typer makes options."""
    shown = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in shown}
    return run


def one_by_one(where: Executor) -> Executor:
    """One recording at a time in this process, with all processors, where no workers were asked for."""
    if where.kind != "local":
        return where
    return replace(where, workers=1) if where.workers is None else replace(where, separate=True)


def reachable(path: Path, where: Executor) -> Path:
    """A path as workers need it: those of a Dask cluster were started in other folders."""
    return path.absolute() if where.kind == "dask" else path


def reachable_model(model: str, where: Executor) -> str:
    """The same of a checkpoint folder; a name of the package stays one."""
    from metst.models.checkpoint import is_packaged

    return model if is_packaged(model) or not Path(model).is_dir() else str(reachable(Path(model), where))


def setting(settings: type[Settings], name: str, *options: str, at_least: float | None = None) -> OptionInfo:
    """The option that sets a field of settings: its help and its range are those of the field.

    The default of the command's parameter is the value of that field in settings without arguments.

    Parameters
    ----------
    settings : type of Settings
        Where the field is.
    name : str
        Of the field.
    options : str
        How the option is written, where not like the parameter of the command.
    at_least : float, optional
        Lower end of the range, where people need a narrower one or the field excludes its own.
    """
    field = settings.model_fields[name]
    assert field.description is not None
    low = next((bound.ge for bound in field.metadata if hasattr(bound, "ge")), at_least)
    high = next((bound.le for bound in field.metadata if hasattr(bound, "le")), None)
    option: OptionInfo = typer.Option(
        *options, min=low, max=high, help=f"{field.description[0].upper()}{field.description[1:]}."
    )
    return option
