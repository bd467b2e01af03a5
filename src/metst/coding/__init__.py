"""What people say of a recording: the layers of coders in, the files beside the results out.

A layer holds the events that one coder saw, or the machine found; :func:`read_coding` gives all layers of a folder of
results.
"""

from metst.coding.layers import Coding, Layer, LayerEvent
from metst.coding.layers_folder import read_coding, write_layers

__all__ = ["Coding", "Layer", "LayerEvent", "read_coding", "write_layers"]
