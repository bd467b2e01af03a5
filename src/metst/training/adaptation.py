"""Adapts a model to one lab's camera, light and task from its own recordings, which nobody has labelled.

Their measured motion becomes the background that known movements are planted into.  No picture is kept, nor
anything else of a person but what the weights learnt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metst.arrays import OnProgress
from metst.config import DEFAULT_SEED, AnalyzeSettings, DecodeSettings, ModelInfo
from metst.errors import DataError, OutputError, UsageError
from metst.guard.faults import Fault, guarded
from metst.models.checkpoint import Model, check_target, load_model, save_model, torch_for
from metst.motion.measured import CHANGED, measure_motion
from metst.results.motion import Motion
from metst.storage import make_folder, write_whole
from metst.training.adaptation_check import Check, check_gain
from metst.training.drawn import Drawn, motions_sha256
from metst.training.layout import discard_state, training_folder
from metst.training.material import SHORTEST_RECORDED_S, background_stretches, minutes
from metst.training.predictions import Candidate
from metst.training.simulated_recipes import RECIPES, SimulationRecipe
from metst.video import content_hash, probe_video

if TYPE_CHECKING:
    from metst.models.networks import StateTransitionNetwork

CHECK_FILE = "adaptation.json"
"""What an adaptation gained, in the folder of its training."""
DEFAULT_STEPS = 150
"""Optimiser steps: one to two minutes on two cores."""

# All set by hand.  The peak of the learning rate moves weights that know much already; a share of the clips stays
# simulated, so that they do not forget; the backgrounds are varied less than those of rendered heads, which stand for
# all cameras there are.
_RATE, _BATCH, _SHARE = 2e-4, 8, 0.7
_GAIN, _DISTURBED = (0.7, 1.4), 0.3
# Minutes that threshold and confidence are fitted on; and of the lab's own recordings, that are enough for them: what
# is missing is simulated, but never more than this share.
_FIT_MIN, _ENOUGH_MIN, _LEAST_SHARE = 30.0, 1.0, 0.25
_ADAPTED = "-adapted"
"""Behind the name of a network that was adapted, once or more often."""
# Of the recordings, to check on, and of the others, to fit threshold and confidence on.
_PARTS = 3


@dataclass(frozen=True, eq=False)
class Recordings:
    """Measured motion of a lab's recordings, parted by recording.

    Parameters
    ----------
    learnt, fitted, checked : tuple of Motion
        For weights, for threshold and confidence, and to check on.  Of only two recordings the one that is learnt
        from is fitted on, too.
    """

    learnt: tuple[Motion, ...]
    fitted: tuple[Motion, ...]
    checked: tuple[Motion, ...]

    @classmethod
    def parted(cls, recordings: Sequence[Motion], *, seed: int) -> Recordings:
        """A third to check on, a third of the rest to fit on, at least one each; drawn by the seed.

        Raises
        ------
        UsageError
            Fewer than two.
        """
        if len(recordings) < 2:
            raise UsageError(
                f"{len(recordings)} recording: expected two or more, since some are kept to check what was gained"
            )
        order = [recordings[i] for i in np.random.default_rng(seed).permutation(len(recordings))]
        checked, rest = _cut(order)
        fitted, learnt = _cut(rest) if len(rest) > 1 else (rest, rest)
        return cls(tuple(learnt), tuple(fitted), tuple(checked))

    @property
    def all(self) -> tuple[Motion, ...]:
        """Every recording once."""
        return tuple(dict.fromkeys((*self.learnt, *self.fitted, *self.checked)))


def _cut(recordings: Sequence[Motion]) -> tuple[Sequence[Motion], Sequence[Motion]]:
    count = max(1, len(recordings) // _PARTS)
    return recordings[:count], recordings[count:]


def _check_background(motion: Motion, *, path: Path, min_quality: float) -> None:
    if not any(True for _ in background_stretches(motion, min_quality=min_quality, shortest_s=SHORTEST_RECORDED_S)):
        raise DataError(
            f"{path}: no stretch of {SHORTEST_RECORDED_S:g} s with a usable face: leave it out, or record longer"
        )


class _TwiceError(UsageError):
    """A recording is given twice: the call is wrong, not the recording."""


def measured_recordings(
    videos: Sequence[Path],
    *,
    min_quality: float,
    rate_hz: float | None = None,
    cache: bool = True,
    on_fault: Callable[[str], None] | None = None,
    on_progress: OnProgress | None = None,
) -> dict[Path, Motion]:
    """Motion of recordings of one person each, by their paths and in their order.

    Parameters
    ----------
    videos : sequence of Path
        Video files or folders of frames.
    min_quality : float
        As the model reads it; see :class:`metst.config.InputSettings`.
    rate_hz : float, optional
        Of folders of frames.
    cache : bool
        Keep the motion, and take what was kept.
    on_fault : callable, optional
        Called with a line for each recording that is left out; an error when absent.
    on_progress : callable, optional
        Called as ``on_progress("recordings", done, total)``.

    Raises
    ------
    UsageError
        A recording is given twice.
    VideoError, DataError
        Without ``on_fault``: one cannot be read, or shows no face for long enough.
    """
    found: dict[str, Path] = {}
    motions: dict[Path, Motion] = {}

    def measured(path: Path) -> Motion:
        info, content = probe_video(path, rate_hz=rate_hz), content_hash(path)
        if content in found:
            raise _TwiceError(f"{path} is the same recording as {found[content]}: give each once")
        found[content] = path
        measured = measure_motion(
            info, settings=AnalyzeSettings(), content=content, rate_hz=rate_hz, landmarks=None, cache=cache,
            on_progress=None,
        )  # fmt: skip
        if measured.changed:
            raise DataError(f"{path}: {CHANGED}")
        _check_background(measured.motion, path=path, min_quality=min_quality)
        return measured.motion

    for number, path in enumerate(videos, start=1):
        ours = (_TwiceError, OutputError) if on_fault else (Exception,)
        done = guarded(partial(measured, path), name=path.stem, let_through=ours)
        if not isinstance(done, Fault):
            motions[path] = done
        elif on_fault is not None:
            on_fault(f"{path}: {done.message.removeprefix(f'{path}: ')}")
        if on_progress is not None:
            on_progress("recordings", number, len(videos))
    return motions


def adaptable(model: str | Path) -> Model:
    """A model that can be adapted.

    Raises
    ------
    UsageError
        There is none of this name, it is decoded by a published rule, or PyTorch is not installed.
    CheckpointError
        It is damaged.
    """
    found = load_model(model)
    if not isinstance(found.info.decode, DecodeSettings) or found.info.scoring.mode != "whole":
        raise UsageError(
            f"model {found.info.name} reads windows and is decoded by a published rule: only a model with this"
            " product's own rule can be adapted, such as metst-event"
        )
    with torch_for("adapting a model"):
        import torch  # noqa: F401 - asked for before the work
    return found


def kept_to_check(recordings: Mapping[Path, Motion], *, seed: int) -> tuple[Path, ...]:
    """Which videos :func:`adapt_model` neither learns from nor fits on, of those whose motion it is given."""
    kept = {id(each) for each in Recordings.parted(list(recordings.values()), seed=seed).checked}
    return tuple(path for path, each in recordings.items() if id(each) in kept)


def adapt_model(
    folder: Path,
    recordings: Sequence[Motion],
    *,
    model: Model,
    steps: int = DEFAULT_STEPS,
    seed: int = DEFAULT_SEED,
    subjects: Sequence[str] = (),
    on_progress: OnProgress | None = None,
) -> Check:
    """Fine-tune a model on movements planted into recordings, fit its decoding anew, and say what that gained.

    Parameters
    ----------
    folder : Path
        Checkpoint folder to make.  The state, until it is done, metrics and the check lie beside it, in
        ``<folder>.training``; a training that was stopped goes on from there.
    recordings : sequence of Motion
        Two or more; a third is used for the check only.
    model : Model
        What is adapted; see :func:`adaptable`.
    steps : int
        Optimiser steps.
    seed : int
        Of the parting, the clips and the planted movements.
    subjects : sequence of str
        Who is on the recordings, so that nobody scores them later; unknown when absent.
    on_progress : callable, optional
        Called as ``on_progress(stage, done, total)``.

    Returns
    -------
    Check
        Figures on recordings that neither weights nor decoding have seen.

    Raises
    ------
    UsageError
        Fewer than two recordings, the folder is no checkpoint, or its state is that of another training.
    DataError, OutputError
        As for :func:`metst.training.loop.fit_network`.
    """
    from metst.training.simulation import fitted

    check_target(folder, overwrite=True)
    folder, parts = folder.resolve(), Recordings.parted(recordings, seed=seed)
    recipe, work = adaptation_recipe(model.info, steps=steps, recordings=len(parts.learnt)), training_folder(folder)
    network = _fine_tuned(
        model, recipe=recipe, backgrounds=parts.learnt, seed=seed, folder=work, on_progress=on_progress
    )
    info = _described(model.info, recipe=recipe, parts=parts, subjects=subjects, seed=seed)
    info = fitted(
        Candidate.of(network, info), recipe=_to_fit(recipe, parts.fitted), drawn=Drawn(parts.fitted), seed=seed + 1,
        shortest_s=SHORTEST_RECORDED_S, on_progress=on_progress,
    )  # fmt: skip
    check = check_gain(
        parts.checked, before=model, after=Candidate.of(network, info), simulation=recipe.simulation, seed=seed + 2
    )
    _write(folder, network, info=info, check=check)
    return check


def _write(folder: Path, network: StateTransitionNetwork, *, info: ModelInfo, check: Check) -> None:
    """The checkpoint, and what it gained in it and beside it."""
    words, work = json.dumps(check.as_dict()), training_folder(folder)
    info = info.model_copy(update={"provenance": info.provenance | {"check": words}})
    save_model(folder, network=network, info=info, overwrite=True)
    write_check(folder, check.as_dict())
    discard_state(work)


def write_check(folder: Path, check: dict[str, Any]) -> None:
    """Write what an adaptation gained beside the folder of its model.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    work = training_folder(folder)
    make_folder(work)
    write_whole(work / CHECK_FILE, (json.dumps(check) + "\n").encode())


def _fine_tuned(
    model: Model,
    *,
    recipe: SimulationRecipe,
    backgrounds: Sequence[Motion],
    seed: int,
    folder: Path,
    on_progress: OnProgress | None,
) -> StateTransitionNetwork:
    """The network after training; one that was stopped goes on from what is in the folder."""
    from metst.training.loop import fit_network, fresh_network
    from metst.training.simulation import simulated_training

    training = simulated_training(
        recipe, steps=recipe.steps, seed=seed, drawn=Drawn(backgrounds), shortest_s=SHORTEST_RECORDED_S
    )
    training = replace(training, fingerprint=f"{training.fingerprint} from {model.info.weights_sha256}")
    network = fresh_network(recipe.network, seed=seed)
    network.load_state_dict(model.network.state_dict())
    fit_network(network, training, folder=folder, on_progress=on_progress)
    return network


def adaptation_recipe(info: ModelInfo, *, steps: int, recordings: int) -> SimulationRecipe:
    """What a model learns further: the recipe of the packaged model, gentler, and nearer to what was recorded.

    Its clips are longer than short recordings, which are played to and fro.  Clips as long as recordings of 3 s, each
    from a fresh state, gained no more.
    """
    own, name = RECIPES["metst-event"], f"{info.name.removesuffix(_ADAPTED)}{_ADAPTED}"
    assert isinstance(info.decode, DecodeSettings)
    return own.model_copy(
        update={
            "name": name,
            "network": info.network.model_copy(update={"name": name}),
            "input": info.input,
            "scoring": info.scoring,
            "simulation": own.simulation.model_copy(update={"background_gain": _GAIN, "disturbed_share": _DISTURBED}),
            "after": None,
            "backgrounds": recordings,
            "background_share": _SHARE,
            "steps": steps,
            "batch_size": _BATCH,
            "learning_rate": _RATE,
            "validation_minutes": _FIT_MIN,
            "edge_fraction": info.decode.edge_fraction,
            "smooth_s": info.decode.smooth_s,
        }
    )


def _to_fit(recipe: SimulationRecipe, recordings: Sequence[Motion]) -> SimulationRecipe:
    """Of little footage, part is simulated: one movement in ten seconds says little about a minute."""
    share = float(np.clip(minutes(recordings) / _ENOUGH_MIN, _LEAST_SHARE, 1.0))
    as_recorded = recipe.simulation.model_copy(update={"disturbed_share": 0.0})
    return recipe.model_copy(update={"background_share": share, "simulation": as_recorded})


def _described(
    base: ModelInfo, *, recipe: SimulationRecipe, parts: Recordings, subjects: Sequence[str], seed: int
) -> ModelInfo:
    """What an adapted model is, but for its decoding."""
    # Whoever the base was trained on stays known; the people on the recordings are, only where they are named.
    known = base.training_subjects if subjects or base.training_subjects else None
    here = "the recording that weights learnt from" if parts.fitted == parts.learnt else "recordings kept for that"
    return base.model_copy(
        update={
            "network": recipe.network,
            "training_subjects": None if known is None else tuple(sorted({*known, *subjects})),
            "trained_on": f"{base.trained_on}; adapted by movements planted into the measured motion of"
            f" {len(parts.learnt)} unlabelled recordings ({minutes(parts.learnt):.1f} min) of one lab, of which no"
            " picture, landmark or name is kept",
            "decode_fitted_on": f"movements planted into {len(parts.fitted)} of these recordings"
            f" ({minutes(parts.fitted):.1f} min; {here}), and simulated ones where they are short of a minute",
            "provenance": {
                "adapted_from": f"{base.name} {base.weights_sha256}",
                "recipe": recipe.model_dump_json(),
                "steps": str(recipe.steps),
                "seed": str(seed),
                "recordings": f"{len(parts.all)}, {minutes(parts.all):.2f} min",
                "backgrounds": motions_sha256(parts.all),
            },
        }
    )
