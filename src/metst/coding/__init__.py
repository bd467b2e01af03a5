"""What people say of a recording: the layers of coders in, the files beside the results out.

A layer holds the events that one coder saw, or the machine found; :func:`read_coding` gives all layers of a folder of
results.  A review is a layer that is being made: :func:`open_reviews` gives those of a folder, which a log keeps.
"""

from metst.coding.layers import Coding, Layer, LayerEvent
from metst.coding.layers_folder import read_coding, write_layers
from metst.coding.reviews import Reviews, open_reviews
from metst.coding.wanted import ConflictError

__all__ = [
    "Coding", "ConflictError", "Layer", "LayerEvent", "Reviews", "open_reviews", "read_coding", "write_layers",
]  # fmt: skip
