"""Networks whose weights are far from their start, so that every layer counts."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from metst.config import NetworkConfig
from metst.models.networks import StateTransitionNetwork


def shaken(
    config: NetworkConfig, *, seed: int, by: Callable[[Tensor], float], norms: bool = False
) -> StateTransitionNetwork:
    """In evaluation mode, with statistics of batches that were never seen.

    Parameters
    ----------
    config : NetworkConfig
    seed : int
        Of the weights and of what is added to them.
    by : callable
        Standard deviation of what is added to a parameter; 0 leaves it.
    norms : bool
        Also draw the weights of the norms anew.
    """
    torch.manual_seed(seed)
    network = StateTransitionNetwork(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
        if norms and isinstance(module, nn.BatchNorm1d | nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    with torch.no_grad():
        for parameter in network.parameters():
            if deviation := by(parameter):
                parameter.add_(deviation * torch.randn_like(parameter))
    return network.eval()
