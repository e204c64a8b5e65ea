"""The token-wise network of a block: out to four times the width, GELU, back.

Letters: B batch, N tokens, D stream width.
"""

import torch
from torch import Tensor, nn

from ..ops.layers import LayerFactory
from ..ops.native import gelu_of


class Widen(nn.Module):
    """A linear layer and the tanh form of GELU."""

    def __init__(
        self,
        dim: int,
        wide: int,
        *,
        bias: bool,
        layers: LayerFactory,
        device: torch.device | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.proj = layers.Linear(dim, wide, bias=bias, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:  # [B, N, D] -> [B, N, 4D]
        return gelu_of(self.proj, x)


class FeedForward(nn.Module):
    """`net.0.proj` and `net.2`; what the training had at `net.1` was a dropout."""

    def __init__(
        self,
        dim: int,
        *,
        bias: bool = True,
        layers: LayerFactory = nn,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        widen = Widen(dim, 4 * dim, bias=bias, layers=layers, device=device, dtype=dtype)
        narrow = layers.Linear(4 * dim, dim, bias=bias, device=device, dtype=dtype)
        self.net = nn.Sequential(widen, nn.Identity(), narrow)

    def forward(self, x: Tensor) -> Tensor:  # [B, N, D]
        return self.net(x)


class ContextProjection(nn.Module):
    """2.0: text features to the stream's width, linear, GELU, linear."""

    def __init__(
        self,
        context_dim: int,
        dim: int,
        *,
        layers: LayerFactory = nn,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.linear_1 = layers.Linear(context_dim, dim, device=device, dtype=dtype)
        self.linear_2 = layers.Linear(dim, dim, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:  # [B, S, context_dim] -> [B, S, D]
        return self.linear_2(gelu_of(self.linear_1, x))
