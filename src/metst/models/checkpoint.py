"""Checkpoints: a folder with ``weights.safetensors`` and ``model.json``.

``model.json`` says all that is needed to use the weights as they were trained: the network,
its classes, how motion becomes its input, how its scores are decoded, and where it comes
from; the hash of the weights, and one of all the rest: no bit of either file changes unseen.
Reading and scoring need no torch; what is asked for is built then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError
from safetensors import SafetensorError

from metst.config import ModelInfo, OperatingPoint
from metst.errors import CheckpointError, DataError, UsageError
from metst.guard.limits import SETTINGS, check_file
from metst.storage import faults_in_words, fingerprint, sealed, unsealed_as, whole_folder, write_whole

if TYPE_CHECKING:
    from metst.models.engine import Engine
    from metst.models.networks import StateTransitionNetwork

logger = logging.getLogger(__name__)

_Tensor = TypeVar("_Tensor")

INFO_FILE = "model.json"
"""What a checkpoint folder says of itself, :class:`~metst.config.ModelInfo`."""

WEIGHTS_FILE = "weights.safetensors"
"""The tensors of the network, by the names of the torch module."""

DEFAULT_MODEL = "metst-event"
"""Which packaged checkpoint is used where none is named."""


@dataclass(frozen=True, eq=False)
class Model:
    """A checkpoint that was found and checked.

    Parameters
    ----------
    info : ModelInfo
        Its ``model.json``.
    folder : Path
        Where it lies.
    """

    info: ModelInfo
    folder: Path

    @cached_property
    def engine(self) -> Engine:
        """The network for scoring, without torch; built on first access.

        Raises
        ------
        CheckpointError
            When the weights cannot be read or do not fit the network.
        """
        from safetensors.numpy import load_file

        from metst.models.engine import Engine

        return Engine(self.info.network, self._read(load_file), where=str(self.folder / WEIGHTS_FILE))

    @cached_property
    def network(self) -> StateTransitionNetwork:
        """The network as a torch module in evaluation mode, on the CPU; built on first access.

        Raises
        ------
        CheckpointError
            When the weights cannot be read or do not fit the network.
        UsageError
            When PyTorch is not installed; :attr:`engine` scores without it.
        """
        with torch_for("the network as a torch module"):
            from safetensors.torch import load_file

            from metst.models.networks import build_network

        return build_network(self.info.network, self._read(load_file), where=str(self.folder / WEIGHTS_FILE))

    def _read(self, load_file: Callable[[Path], dict[str, _Tensor]]) -> dict[str, _Tensor]:
        weights = self.folder / WEIGHTS_FILE
        try:
            return load_file(weights)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{weights} is damaged ({error}): get or convert the checkpoint again") from error

    def as_live(self) -> Model:
        """The same model as it runs live: an analysis with it is what :class:`metst.Stream` finds."""
        return replace(self, info=self.info.as_live())

    def expecting(self, per_min: float) -> Model:
        """The same model, with confidences for recordings with so many micro-expressions per minute.

        Raises
        ------
        UsageError
            Not a rate above 0, or the confidence of this model cannot be adjusted.
        """
        return replace(self, info=self.info.expecting(per_min))

    def as_used(self, *, point: OperatingPoint | None = None, expected_per_min: float | None = None) -> Model:
        """The same model as an analysis uses it: see :meth:`metst.config.ModelInfo.as_used`.

        Raises
        ------
        UsageError
            The model has no such operating point, or no such rate can be expected of it.
        """
        return replace(self, info=self.info.as_used(point=point, expected_per_min=expected_per_min))

    def describe(self) -> dict[str, str]:
        """What a result records of the model it was made with: enough to know and to repeat it."""
        info = self.info
        subjects = "unknown" if info.training_subjects is None else ", ".join(info.training_subjects) or "none"
        return {
            "name": info.name,
            "trained_on": info.trained_on,
            "training_subjects": subjects,
            "mode": info.scoring.mode,
            "decode_fitted_on": info.decode_fitted_on,
            "settings": info.model_dump_json(
                include={"network", "classes", "input", "scoring", "decode", "live_decode"}
            ),
            "metst_version": info.metst_version,
            "weights_sha256": info.weights_sha256,
        }


@contextmanager
def torch_for(what: str) -> Iterator[None]:
    """Around imports of what needs torch."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UsageError(f"{what} needs PyTorch: pip install 'metst[train]'") from error


def known_models() -> tuple[str, ...]:
    """Names of the checkpoints that come with the package."""
    return tuple(sorted(path.parent.name for path in _packaged_folder().glob(f"*/{INFO_FILE}")))


def is_packaged(model: str | Path) -> bool:
    """Whether this names a checkpoint of the package; a path names its folder, where there is one."""
    return str(model) in known_models() and (isinstance(model, str) or not model.is_dir())


def load_model(model: str | Path = DEFAULT_MODEL) -> Model:
    """Find a checkpoint and check that it is whole.

    Parameters
    ----------
    model : str or Path
        The name of a checkpoint that comes with the package, or a checkpoint folder.  A name goes before a folder
        that is called so: ``./NAME`` is the folder.

    Raises
    ------
    UsageError
        When there is neither such a folder nor such a name.
    CheckpointError
        When a file is missing or damaged, or ``model.json`` is not valid.
    """
    folder = Path(model)
    if is_packaged(model):
        if folder.is_dir():
            logger.warning(
                "model %s: the packaged one, not the folder of this name; for the folder write ./%s", model, model
            )
        folder = _packaged_folder() / str(model)
    elif not folder.is_dir():
        known = ", ".join(known_models()) or "none"
        raise UsageError(f"no checkpoint {str(model)!r}: give a checkpoint folder or a known name ({known})")
    info = _read_info(folder / INFO_FILE)
    weights = folder / WEIGHTS_FILE
    try:
        digest = fingerprint(weights)
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} is no checkpoint: {WEIGHTS_FILE} is missing") from error
    except OSError as error:
        raise CheckpointError(f"{weights} cannot be read: {error}") from error
    if digest != info.weights_sha256:
        raise CheckpointError(
            f"{weights} is damaged or was exchanged (SHA-256 is not that of {INFO_FILE}):"
            " get or convert the checkpoint again"
        )
    return Model(info, folder)


def save_model(
    folder: str | Path, *, network: StateTransitionNetwork, info: ModelInfo, overwrite: bool = False
) -> Model:
    """Write a checkpoint folder, whole or not at all.

    Parameters
    ----------
    folder : str or Path
        The folder to make; its parents are made as needed.
    network : StateTransitionNetwork
        Its weights are stored.
    info : ModelInfo
        Stored with the version of metst and the hash of the weights filled in.
    overwrite : bool
        Replace a checkpoint that is there already; nothing else is ever replaced.

    Raises
    ------
    UsageError
        When the folder is there already, or ``info`` describes another network.
    OutputError
        When the folder cannot be written.
    """
    folder = Path(folder)
    if network.config != info.network:
        raise UsageError(f"the description is of {info.network!r}, but the weights are of {network.config!r}")
    check_target(folder, overwrite=overwrite)
    with whole_folder(folder) as beside:
        info = _write(beside, network=network, info=info)
    return Model(info, folder)


def save_copy(model: Model, folder: str | Path, *, info: ModelInfo) -> Model:
    """Write a checkpoint folder with the weights of a model and another description, whole or not at all.

    Parameters
    ----------
    model : Model
        Whose weights are taken.
    folder : str or Path
        The folder to make; its parents are made as needed.
    info : ModelInfo
        Stored with the version of metst filled in; of the same network.

    Raises
    ------
    UsageError
        When the folder is there already.
    OutputError
        When the folder cannot be written.
    """
    folder = Path(folder)
    check_target(folder, overwrite=False)
    info = info.model_copy(update={"metst_version": metadata.version("metst")})
    with whole_folder(folder) as beside:
        write_whole(beside / WEIGHTS_FILE, (model.folder / WEIGHTS_FILE).read_bytes())
        write_whole(beside / INFO_FILE, sealed(info.model_dump_json(indent=2)))
    return load_model(folder)


def _packaged_folder() -> Path:
    return Path(str(resources.files("metst"))) / "assets" / "models"


def _read_info(path: Path) -> ModelInfo:
    check_file(path, SETTINGS, error=CheckpointError)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent} is no checkpoint: {INFO_FILE} is missing") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    try:
        return unsealed_as(ModelInfo, content)
    except DataError as error:
        raise CheckpointError(f"{path}: {error}; get or convert the checkpoint again") from error
    except ValidationError as error:
        raise CheckpointError(f"{path} is not valid: {faults_in_words(error)}") from error


def check_target(folder: Path, *, overwrite: bool) -> None:
    """Refuse a checkpoint folder that must not be replaced; long work asks before it starts.

    Raises
    ------
    UsageError
        The folder is there already, or is no checkpoint.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not overwrite:
        raise UsageError(f"{folder} is there already: give another folder, or ask to overwrite it")
    if not (folder / INFO_FILE).is_file():
        raise UsageError(f"{folder} is not a checkpoint and is not overwritten: give another folder")


def _write(folder: Path, *, network: StateTransitionNetwork, info: ModelInfo) -> ModelInfo:
    from safetensors.torch import save

    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    # Not save_file, whose file only its owner can read: a checkpoint is there to be shared.
    weights = save(state)
    (folder / WEIGHTS_FILE).write_bytes(weights)
    filled = {"metst_version": metadata.version("metst"), "weights_sha256": fingerprint(weights)}
    info = info.model_copy(update=filled)
    (folder / INFO_FILE).write_bytes(sealed(info.model_dump_json(indent=2)))
    return info
