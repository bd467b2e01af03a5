"""What the authors released, rerun: their cached features, their checkpoints, their test protocol."""

from metst.released.features import Features, read_features
from metst.released.outcome import Evaluation, write_evaluation
from metst.released.protocol import evaluate_published

__all__ = ["Evaluation", "Features", "evaluate_published", "read_features", "write_evaluation"]
