"""Everything that decides a training of the product's own network on labelled recordings besides its data and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from metst.config import DecodeSettings, InputSettings, NetworkConfig, ScoringSettings, Settings
from metst.datasets.features import features_fingerprint
from metst.errors import UsageError
from metst.models.checkpoint import DEFAULT_MODEL, load_model, torch_for
from metst.storage import fingerprint, json_key

LABELLED = "metst-event"
"""Name of the recipe: that of the network."""
LABELLED_FRESH = f"{LABELLED}:from-nothing"
"""Name of the same recipe from fresh weights, where both stand in one table."""

# Peaks of the learning rate, set by hand: weights that know much already are moved less than fresh ones.
_FINE_TUNING_RATE, _FRESH_RATE = 3e-4, 2e-3


class LabelledRecipe(Settings):
    """A training of the product's own network on labelled recordings, besides its data and seed.

    The network reads long clips of a video with its state carried through them, answers late, and is decoded by the
    product's rule.  Defaults were set by hand.
    """

    name: Literal["metst-event"] = Field("metst-event", description="name of the recipe")
    start: str | None = Field(description="packaged model whose weights it starts from; null: fresh ones")
    start_sha256: str = Field(description="SHA-256 of these weights; empty for fresh ones")
    network: NetworkConfig
    input: InputSettings
    scoring: ScoringSettings
    fallback: DecodeSettings = Field(description="decoding, where the kept subjects allow no fit")
    learning_rate: float = Field(gt=0, description="peak of the one-cycle schedule")
    epochs: int = Field(20, ge=1, description="times that as many frames are seen as the training videos have")
    batch_size: int = Field(8, ge=1, description="clips per step")
    clip_frames: int = Field(480, ge=2, description="frames per clip; a shorter video is one clip")
    warm_up_s: float = Field(1.0, ge=0, description="at the start of a clip from within a video, which does not count")
    event_share: float = Field(0.6, ge=0, le=1, description="share of clips that hold a chosen micro-expression")
    negative_share: float = Field(
        0.2, ge=0, le=1, description="share of clips that hold a chosen hard negative: a macro-expression or a blink"
    )
    negative_weight: float = Field(3.0, ge=0, description="weight of a frame of a hard negative; others weigh 1")
    class_weight: float = Field(0.3, ge=0, description="weight of the class loss beside the spotting loss")
    neutral_weight: float = Field(0.05, ge=0, description="weight of neutral frames in the class loss")
    mirrored_share: float = Field(0.5, ge=0, le=1, description="share of clips that are mirrored")
    gain: tuple[float, float] = Field((0.7, 1.4), description="each clip is multiplied by a number in this range")
    kept_share: float = Field(
        0.3, gt=0, lt=1, description="share of the training subjects kept for threshold, edges and confidence"
    )
    edge_fractions: tuple[float, ...] = Field(
        (0.4, 0.3, 0.5), min_length=1, description="shares of a peak at which an event may end; of equals the first"
    )


def labelled_recipe(
    *, start: str | None = DEFAULT_MODEL, epochs: int | None = None, width: int | None = None
) -> LabelledRecipe:
    """The recipe of the product's own network.

    Parameters
    ----------
    start : str, optional
        Packaged model whose weights it starts from; None for fresh weights in the shape of the default model.
    epochs : int, optional
        Of training; the recipe's when absent.
    width : int, optional
        Of the network; only without weights to start from.

    Raises
    ------
    UsageError
        Weights have a width of their own, or PyTorch is not installed.
    """
    if start is not None and width is not None:
        raise UsageError(f"--width: the weights of {start} have a width of their own; another one needs --from-nothing")
    with torch_for("training"):
        import torch  # noqa: F401 - asked for before the work
    model = load_model(start or DEFAULT_MODEL).info
    assert isinstance(model.decode, DecodeSettings)
    shape = {"name": f"{LABELLED}-labelled"} | ({} if width is None else {"width": width})
    fresh = DecodeSettings(edge_fraction=model.decode.edge_fraction)
    recipe = LabelledRecipe(
        start=start,
        start_sha256=model.weights_sha256 if start else "",
        network=model.network.model_copy(update=shape),
        input=model.input,
        scoring=model.scoring,
        fallback=model.decode if start else fresh,
        learning_rate=_FINE_TUNING_RATE if start else _FRESH_RATE,
    )
    return recipe if epochs is None else recipe.model_copy(update={"epochs": epochs})


@dataclass(frozen=True)
class LabelledLesson:
    """What is learnt from which recordings, whoever of them is trained on.

    Parameters
    ----------
    features : Path
        What ``metst extract`` wrote.
    recipe : LabelledRecipe
        Network, schedule, clips.
    seed : int
        Of weights, clips and the choice of the kept subjects.
    """

    features: Path
    recipe: LabelledRecipe
    seed: int = 100

    def fingerprint(self, train: Sequence[str], *, test: Sequence[str] = ()) -> str:
        """SHA-256 over all that decides what comes out for these subjects."""
        decides = {
            "features": features_fingerprint(self.features),
            "recipe": self.recipe.model_dump(mode="json"),
            "seed": self.seed,
            "train": sorted(train),
            "test": sorted(test),
        }
        return fingerprint(json_key(decides))
