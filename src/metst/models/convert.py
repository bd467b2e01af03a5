"""Released checkpoints of the four published networks, turned into checkpoint folders."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from metst.config import STAGES, InputSettings, ModelInfo, NetworkConfig, PublishedDecodeSettings, ScoringSettings
from metst.errors import CheckpointError, UsageError
from metst.labels import CLASSES
from metst.models.checkpoint import check_target, load_model, save_model, torch_for
from metst.models.engine.tensors import check_tensors, some
from metst.models.released_file import EXPECTED, check_released
from metst.published.facts import DATA_SETS, NETWORKS, REGIONS_READ, SCALE, DataSetFacts
from metst.storage import fingerprint

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class _ReleasedLayout:
    """How one released network names its tensors."""

    sign: str
    """A tensor that only this network has."""
    names: tuple[tuple[str, str], ...]
    """Parts of names here, and there."""
    unused: tuple[str, ...] = ()
    """What is saved, but never used by the published forward pass: the twin of a shared trunk."""


# Of the four released networks, by the name they have here.
_LAYOUTS = {
    "metst-2024": _ReleasedLayout(
        "blocks_spot.0.norm1.weight",
        (("pathways.0.blocks.", "blocks_spot."), ("spot_head.", "fc_spot.0."), ("recog_head.", "fc_recog.0.")),
        unused=("blocks_recog.",),
    ),
    "metst": _ReleasedLayout(
        "spot_pathway.block.0.norm1.weight",
        (("pathways.0.blocks.", "spot_pathway.block."), ("spot_head.", "fc_spot."), ("recog_head.", "fc_recog.")),
        unused=("recog_pathway.",),
    ),
    "metst-plus": _ReleasedLayout(
        "spot_pathway.block1.0.norm1.weight",
        (
            *(("pathways.0.", "spot_pathway."), ("pathways.1.", "recog_pathway.")),
            *(("spot_head.", "fc_spot."), ("recog_head.", "fc_recog.")),
        ),
    ),
    "boosting-vrme": _ReleasedLayout(
        "block1.0.norm1.weight",
        (("pathways.0.", ""), ("spot_head.", "fc_spot.0."), ("recog_head.", "fc_recog.0.")),
    ),
}
# Parts of names that several released networks share, here and there; replaced in this order.
_SHARED_NAMES = (
    *(("stem.0.conv.", "Stem.0."), ("stem.0.norm.", "Stem.1.")),
    *(("stem.1.conv.", "Stem.3."), ("stem.1.norm.", "Stem.4.")),
    *(("slow_stem.conv.", "Stem_slow.0."), ("slow_stem.norm.", "Stem_slow.1.")),
    *(("laterals.0.conv.", "fuse_1.conv.0."), ("laterals.0.norm.", "fuse_1.conv.1.")),
    *(("laterals.1.conv.", "fuse_2.conv.0."), ("laterals.1.norm.", "fuse_2.conv.1.")),
    *((f".fast.{stage}.", f".block{stage + 1}_fast.") for stage in range(STAGES)),
    *((f".slow.{stage}.", f".block{stage + 1}.") for stage in range(STAGES)),
    *((".norm_out.", ".norm1."), (".norm_in.", ".attn.norm.")),
    *((".mixer.conv.", ".attn.mamba.conv1d."), (".mixer.", ".attn.mamba.")),
)
_UNUSED_NORM = ".norm2."  # every released block saves a second output normalisation and never applies it


def convert_released(
    released: str | Path,
    folder: str | Path,
    *,
    data_set: str = "casme3",
    overwrite: bool = False,
) -> ModelInfo:
    """Turn a released checkpoint of one of the four published networks into a checkpoint folder.

    Code in the pickle is never run.  Tensors that the published forward pass never uses are
    left out: ME-TST's second list of blocks, and one normalisation of each block.

    Parameters
    ----------
    released : str or Path
        The released file.
    folder : str or Path
        The checkpoint folder to make.
    data_set : {"casme3", "samm-lv"}
        What it was trained on: decides frame rate, window, and half length ``k_p`` for decoding.
    overwrite : bool
        Replace a checkpoint that is there already.

    Returns
    -------
    ModelInfo
        What was written to ``model.json``.

    Raises
    ------
    UsageError
        When the file is not there, or the folder is, or PyTorch is not installed.
    CheckpointError
        When the file is no such checkpoint.
    OutputError
        When the folder cannot be written.
    """
    with torch_for("converting a released checkpoint"):
        from metst.models.networks import PUBLISHED, build_network

    released = Path(released)
    read = next((facts for known, facts in DATA_SETS.items() if known == data_set), None)
    if read is None:
        raise UsageError(f"unknown data set {data_set!r}: expected one of {', '.join(DATA_SETS)}")
    if not released.is_file():
        raise UsageError(f"no file {released}: give a released checkpoint")
    if not overwrite and (done := _done_before(Path(folder), released, data_set=read)) is not None:
        return done
    check_target(Path(folder), overwrite=overwrite)
    name, state, unused = _read_released(released)
    provenance = {
        "converted_from": released.name,
        "converted_from_sha256": fingerprint(released),
        "left_out": f"{unused} tensors that the published forward pass never uses",
    }
    info = _released_info(PUBLISHED[name], read, provenance)
    network = build_network(PUBLISHED[name], state, where=str(released))
    return save_model(folder, network=network, info=info, overwrite=overwrite).info


def _done_before(folder: Path, released: Path, *, data_set: DataSetFacts) -> ModelInfo | None:
    """What this very conversion has written there already: it may have been stopped before it could say so."""
    if not folder.is_dir():
        return None
    try:
        info = load_model(folder).info
    except (CheckpointError, UsageError):
        return None
    same = info.provenance.get("converted_from_sha256") == fingerprint(released)
    again = info if not same else _released_info(info.network, data_set, info.provenance)
    told = again.model_copy(update={"metst_version": metadata.version("metst"), "weights_sha256": info.weights_sha256})
    return info if same and info == told else None


def _released_info(network: NetworkConfig, read: DataSetFacts, provenance: dict[str, str]) -> ModelInfo:
    rule = NETWORKS[network.name].rule
    return ModelInfo(
        network=network,
        classes=CLASSES,
        input=InputSettings(
            rate_hz=read.rate_hz,
            regions=REGIONS_READ[network.in_channels],
            reference="window",
            scale=SCALE,
        ),
        scoring=ScoringSettings(mode="windows", window=read.window, hop=read.window // 2),
        decode=PublishedDecodeSettings(rule=rule, k_p=read.k_p[rule]),
        decode_fitted_on=f"{read.title}, all subjects, as published",
        trained_on=f"{read.title}, one fold of leave-one-subject-out; the subject left out is not recorded",
        provenance=provenance,
    )


def _read_released(path: Path) -> tuple[str, dict[str, Tensor], int]:
    """Tensors of a released checkpoint, under the names they have here.

    The file is a pickled state dict of a ``DataParallel`` network.  It is read by a loader
    that knows tensors only: code in it is never run.

    Parameters
    ----------
    path : Path
        The released file.

    Returns
    -------
    name : str
        Which of :data:`metst.models.networks.PUBLISHED` it is.
    state : dict of tensors
        All that this network uses.
    unused : int
        How many tensors were left out because the published forward pass never uses them.

    Raises
    ------
    CheckpointError
        When the file is no released checkpoint of one of the four networks.
    """
    from metst.models.networks import PUBLISHED, without_weights

    found = _load_tensors(path)
    name = _recognise(found, path)
    used = {key: value for key, value in found.items() if not _is_unused(key, name)}
    own = without_weights(PUBLISHED[name]).state_dict()
    released = {key: released_name(key, name) for key in own}
    shapes = {released[key]: tuple(value.shape) for key, value in own.items()}
    check_tensors(used, expected=shapes, where=f"{path}, taken for {name},")
    return name, {key: used[released[key]].to(own[key].dtype) for key in own}, len(found) - len(used)


def _load_tensors(path: Path) -> dict[str, Tensor]:
    import torch

    try:
        check_released(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle's protocol number: what counts is what was read
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: {EXPECTED}, but it does not hold tensors alone; nothing in it was run"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    except CheckpointError:
        raise
    except Exception as error:  # in bytes that are no pickle, or half of one, each may break the reader elsewhere
        raise CheckpointError(f"{path}: {EXPECTED}, but the file is damaged or of another kind") from error
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise CheckpointError(f"{path}: {EXPECTED}, got {type(loaded).__name__} with other things than tensors")
    return {str(key).removeprefix("module."): value for key, value in loaded.items()}


def _recognise(found: Mapping[str, Tensor], path: Path) -> str:
    for name, layout in _LAYOUTS.items():
        if layout.sign in found:
            return name
    raise CheckpointError(f"{path}: expected a released checkpoint of {', '.join(_LAYOUTS)}, got tensors {some(found)}")


def released_name(key: str, name: str) -> str:
    """What a tensor of a published network is called in its released checkpoints, without ``module.``."""
    for here, there in (*_SHARED_NAMES, *_LAYOUTS[name].names):
        key = key.replace(here, there)
    return key


def _is_unused(key: str, name: str) -> bool:
    return _UNUSED_NORM in key or key.startswith(_LAYOUTS[name].unused)
