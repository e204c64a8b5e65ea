"""What all layers of one autoencoder half have in common."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..ops.layers import LayerFactory
from .layers import Norm, Padding, TimeConv


@dataclass(frozen=True, kw_only=True, slots=True)
class Wiring:
    """How the layers of an encoder or a decoder are made."""

    causal: bool
    padding: Padding
    norm: Norm
    layers: LayerFactory = nn
    device: torch.device | None = None
    dtype: torch.dtype | None = None

    @property
    def place(self) -> dict[str, Any]:
        """Device and dtype, as keywords of a layer."""
        return {"device": self.device, "dtype": self.dtype}

    @property
    def layered(self) -> dict[str, Any]:
        """The same with the layer namespace."""
        return {"layers": self.layers, **self.place}

    def conv(
        self, in_channels: int, out_channels: int, stride: tuple[int, int, int] = (1, 1, 1)
    ) -> TimeConv:
        """Return a convolution over frames, rows and columns."""
        return TimeConv(
            in_channels,
            out_channels,
            stride=stride,
            causal=self.causal,
            padding=self.padding,
            **self.layered,
        )
