"""Statistics of patterns made up for tests: whoever measured real ones keeps them."""

from pathlib import Path

import numpy as np

from metst.regions import MIRRORED, REGION_NAMES
from metst.synthesis.action_units import mix_displacement
from metst.synthesis.faces import simulated_responses

MIXES = {
    "negative": ({"4": 1.0}, {"4": (1.0, 0.0)}, {"7": 1.0}),
    "positive": ({"12": 1.0}, {"12": (1.0, 0.0)}, {"6": 1.0}),
    "surprise": ({"1": 1.0, "2": 1.0}, {"2": (1.0, 0.0)}, {"5": 1.0}),
}
"""Per class what the mean and the components are: action units, so that patterns are those of a face."""


def made_up_statistics() -> dict[str, np.ndarray]:
    """What a file of statistics holds, by name: mirror images beside each component."""
    response = simulated_responses(count=1, seed=9)[0]
    arrays = {"regions": np.array([name.replace(" ", "_").upper() for name in REGION_NAMES])}
    for name, mixes in MIXES.items():
        mean, *components = (response @ mix_displacement(mix) for mix in mixes)
        components += [each[MIRRORED] * [-1, 1] for each in components]
        arrays |= {
            f"{name}_mean": mean / np.linalg.norm(mean, axis=1).max(),
            f"{name}_components": np.stack([each / np.linalg.norm(each) for each in components]),
            f"{name}_std": np.linspace(0.8, 0.3, len(components)),
            f"{name}_rest_std": np.array(0.05),
            f"{name}_count": np.array(99),
        }
    return arrays


def write_statistics(path: Path, **changes: np.ndarray | None) -> Path:
    """A file of these statistics with some of the arrays changed, or left out (None)."""
    arrays = made_up_statistics() | changes
    np.savez(path, **{name: values for name, values in arrays.items() if values is not None})
    return path
