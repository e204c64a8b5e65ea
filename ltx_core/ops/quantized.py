"""Layers whose weights may rest quantised, as a namespace a network is built from.

A linear layer holds either a plain weight, and then is the native one, or a `Packed` one, which it
dequantises for each product: memory holds what the file holds. A LoRA on such a weight is a branch
beside it, since it cannot be written into it without rounding it anew.
"""

from typing import NamedTuple

from torch import Tensor, nn

from . import native
from .packed import Packed


class SideBranch(NamedTuple):
    """What is added to a layer's output: up @ down @ x, with the strengths in `up`."""

    down: Tensor  # [rank, K]
    up: Tensor  # [N, rank]

    @property
    def bytes(self) -> int:
        """Return what it takes in memory."""
        return self.down.nbytes + self.up.nbytes

    def of(self, x: Tensor) -> Tensor:  # [..., K] -> [..., N]
        """Return the addition for an input that is neither scaled nor rotated."""
        return native.product(native.product(x, self.down.to(x.dtype)), self.up.to(x.dtype))


class Linear(native.Linear):
    """A linear layer that can hold its weight packed.

    The parameter `weight` then has no storage; it goes on to tell the shape and the dtype that is
    computed in.
    """

    packed: Packed | None = None
    branch: SideBranch | None = None

    def hold(self, packed: Packed | None, branch: SideBranch | None = None) -> None:
        """Take a packed weight, or None for the plain one."""
        self.packed, self.branch = packed, branch

    def forward(self, input: Tensor) -> Tensor:  # [..., K] -> [..., N]
        if self.packed is None:
            return super().forward(input)
        bias = None if self.bias is None else self.bias.to(input.dtype)
        out = native.product(input, self.packed.dequantized(input.dtype), bias)
        return out if self.branch is None else out + self.branch.of(input)


class QuantizedLayers(native.NativeLayers):
    """The namespace: what is not linear rests plain."""

    Linear: type[nn.Linear] = Linear


quantized = QuantizedLayers()
