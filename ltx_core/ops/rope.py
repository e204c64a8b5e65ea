"""Rotary position embedding: from token positions to angles, and their application.

The transformer and the text connectors share it.
Letters as everywhere, and: G frequencies per axis, K head_dim.
"""

from enum import Enum
from math import log, pi
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class RopeLayout(Enum):
    """How a head's channels pair up to be rotated."""

    INTERLEAVED = "interleaved"  # neighbours pair up, over the whole width; legacy
    SPLIT = "split"  # a head's first half pairs with its second


class RotaryTable(NamedTuple):
    """Angles of every token, already taken through cos and sin."""

    cos: Tensor  # split: [B, H, N, K/2]; interleaved: [B, N, H*K]
    sin: Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> "RotaryTable":
        """Move and cast both halves."""
        return RotaryTable(self.cos.to(device, dtype), self.sin.to(device, dtype))


def frequencies(dim: int, axes: int, theta: float, *, double: bool) -> Tensor:
    """Return the frequency grid, float32 [G] from pi/2 to theta * pi/2, with G = dim // (2 * axes).

    `double` makes it in float64 on the CPU and rounds once, as checkpoints with
    `frequencies_precision` = float64 ask; else everything is float32.
    """
    count = dim // (2 * axes)
    if double:
        exponents = np.linspace(log(1.0) / log(theta), log(theta) / log(theta), count)
        return torch.from_numpy((np.power(theta, exponents) * pi / 2).astype(np.float32))
    return theta ** torch.linspace(0.0, 1.0, count, dtype=torch.float32) * pi / 2


def rotary_table(
    positions: Tensor,  # [B, axes, N, 2] spans, float32
    grid: Tensor,  # [G] of `frequencies`
    max_positions: tuple[float, ...],  # one per axis
    *,
    dim: int,
    num_heads: int,
    layout: RopeLayout,
) -> RotaryTable:
    """Return cos and sin of every token's angles, float32 on the positions' device.

    The order of float32 operations matters: at the top of the grid one step of the angle is 1e-3.
    """
    middle = (positions[..., 0] + positions[..., 1]) / 2  # [B, axes, N]
    limits = torch.tensor(max_positions, dtype=torch.float32, device=positions.device)
    fraction = (middle / limits[:, None]).transpose(1, 2)  # [B, N, axes]
    angles = grid.to(positions.device) * (fraction.unsqueeze(-1) * 2 - 1)  # [B, N, axes, G]
    angles = angles.transpose(-1, -2).flatten(2)  # [B, N, G*axes], axis fastest
    cos, sin = angles.cos(), angles.sin()
    if layout is RopeLayout.SPLIT:
        return RotaryTable(
            _in_heads(_padded(cos, dim // 2, 1.0), num_heads),
            _in_heads(_padded(sin, dim // 2, 0.0), num_heads),
        )
    return RotaryTable(
        _padded(cos.repeat_interleave(2, dim=-1), dim, 1.0),
        _padded(sin.repeat_interleave(2, dim=-1), dim, 0.0),
    )


def rotate(x: Tensor, table: RotaryTable, layout: RopeLayout = RopeLayout.SPLIT) -> Tensor:
    """Turn the channel pairs of `x` [B, H, N, K] by each token's angle."""
    if layout is RopeLayout.SPLIT:
        halves = x.unflatten(-1, (2, -1))  # [B, H, N, 2, K/2]
        turned = halves * table.cos.unsqueeze(-2)
        first, second = halves.unbind(dim=-2)
        turned.select(-2, 0).addcmul_(second, table.sin, value=-1)
        turned.select(-2, 1).addcmul_(first, table.sin)
        return turned.flatten(-2)
    cos = _in_heads(table.cos, x.shape[1])  # [B, H, N, K]
    sin = _in_heads(table.sin, x.shape[1])
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack((-odd, even), dim=-1).flatten(-2)  # [B, H, N, K]
    return x * cos + turned * sin


def _padded(table: Tensor, width: int, value: float) -> Tensor:
    """Fill up in front, where no frequency is left for a channel."""
    return torch.nn.functional.pad(table, (width - table.shape[-1], 0), value=value)


def _in_heads(table: Tensor, num_heads: int) -> Tensor:
    return table.unflatten(-1, (num_heads, -1)).transpose(1, 2)  # [B, H, N, .]
