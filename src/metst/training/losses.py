"""What the two trainings minimise: on labelled recordings as published, and on simulated motion."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from metst.arrays import Float32Array
from metst.labels import CLASSES, NEUTRAL
from metst.training.loop import Batch, Loss, Losses
from metst.training.recipes import Recipe
from metst.training.windows import IGNORED

CERTAIN = 1e-6
"""Scores are kept this far from 0 and 1, whose logarithm is not finite.

In single precision 1 - 1e-6 is still another number than 1.
"""


def joint_loss(class_weights: Float32Array, *, recipe: Recipe) -> Loss:
    """Squared error of the score and cross-entropy of the class by the recipe's weights: 0.9 and 0.1 as published.

    The cross-entropy is weighted by class and divided by the number of frames whose class counts, not by the sum of
    their weights: that is PyTorch's mean for targets that are distributions, which the authors give it.

    Parameters
    ----------
    class_weights : (5,) float32
        Weight of a frame of each class.
    recipe : Recipe
        Weights of the two parts.

    Returns
    -------
    callable
        ``loss(network, (x, score, label))`` gives ``"loss"``, ``"spotting"`` and ``"recognition"``, each a tensor of no
        dimension, for motion ``(B, C, T)`` float32, score ``(B, T)`` float32 and class ``(B, T)`` int64, which is -1
        (:data:`metst.training.windows.IGNORED`) where only the score counts.
    """
    weights = torch.from_numpy(class_weights)

    def loss(network: nn.Module, batch: Batch) -> Losses:
        motion, score, label = batch
        predicted, logits = network(motion)
        spotting = functional.mse_loss(predicted.float(), score)
        summed = summed_cross_entropy(logits.float(), label, weights=weights.to(label.device))
        recognition = summed / (label != IGNORED).sum().clamp_min(1)
        total = recipe.spotting_weight * spotting + recipe.recognition_weight * recognition
        return {"loss": total, "spotting": spotting, "recognition": recognition}

    return loss


def summed_cross_entropy(logits: Tensor, label: Tensor, *, weights: Tensor) -> Tensor:
    """Sum over the frames whose class counts, each by the weight of its class; what it is divided by differs."""
    return functional.cross_entropy(
        logits.transpose(1, 2), label, weight=weights, ignore_index=IGNORED, reduction="sum"
    )


def score_cross_entropy(
    predicted: Tensor, score: Tensor, *, weight: Tensor | None = None, reduction: Literal["mean", "sum"] = "mean"
) -> Tensor:
    """Cross-entropy of the score ``(B, T)``, in single precision and finite also where the network is certain."""
    probability = predicted.float().clamp(CERTAIN, 1 - CERTAIN)
    return functional.binary_cross_entropy(probability, score, weight=weight, reduction=reduction)


def class_weights(neutral_weight: float) -> Tensor:
    """Weights of the classes ``(5,)``: 1, and that of neutral."""
    weights = torch.ones(len(CLASSES))
    weights[NEUTRAL] = neutral_weight
    return weights


def simulated_loss(*, class_weight: float, neutral_weight: float) -> Loss:
    """Cross-entropy of the score per frame, and of the class, mostly inside micro-expressions.

    Parameters
    ----------
    class_weight : float
        Weight of the class beside the score.
    neutral_weight : float
        Weight of a neutral frame in the class; a frame of a micro-expression weighs 1.

    Returns
    -------
    callable
        As :func:`joint_loss` does.
    """
    weights = class_weights(neutral_weight)

    def loss(network: nn.Module, batch: Batch) -> Losses:
        motion, score, label = batch
        predicted, logits = network(motion)
        # Mixed precision ends at the network: torch refuses this cross-entropy inside of it.
        with torch.autocast(score.device.type, enabled=False):
            spotting = score_cross_entropy(predicted, score)
            recognition = functional.cross_entropy(
                logits.float().transpose(1, 2), label, weight=weights.to(label.device)
            )
        return {
            "loss": spotting + class_weight * recognition, "spotting": spotting, "recognition": recognition,
        }  # fmt: skip

    return loss
