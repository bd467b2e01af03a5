"""What the authors released, rerun: their cached features, their checkpoints, their test protocol."""

from metst.reproduction.author_caches import Features, read_features
from metst.reproduction.protocol import evaluate_published
from metst.reproduction.result_files import Evaluation, write_evaluation

__all__ = ["Evaluation", "Features", "evaluate_published", "read_features", "write_evaluation"]
