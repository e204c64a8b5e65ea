"""The layers that carry weights, as a namespace a network receives and builds from.

`torch.nn` is the default. A namespace whose layers stream, dequantise or cast their weights has the
same members, so a network never learns how its weights are stored.
"""

from collections.abc import Callable
from typing import Protocol

from torch import nn


class LayerFactory(Protocol):
    """The members of `torch.nn` that our networks ask for."""

    Linear: type[nn.Linear]
    Conv1d: type[nn.Conv1d]
    Conv2d: type[nn.Conv2d]
    Conv3d: type[nn.Conv3d]
    ConvTranspose1d: type[nn.ConvTranspose1d]
    GroupNorm: type[nn.GroupNorm]
    LayerNorm: type[nn.LayerNorm]
    RMSNorm: type[nn.RMSNorm]
    Embedding: type[nn.Embedding]


#: Called once per block, layer or chunk; cancels a run by raising.
Check = Callable[[], None]


def never_cancelled() -> None:
    """Let everything run to its end."""
