"""From plain weights to quantised ones, rounded to nearest: for files that rest plain."""

import torch
from torch import Tensor

from .packed import Packed

#: Largest numbers of the formats.
E4M3_MAX, INT8_MAX = 448.0, 127.0


def float8(weight: Tensor) -> Packed:
    """Return a weight [N, K] as E4M3 with one scale: its largest number becomes 448."""
    values = weight.float()
    largest = values.abs().amax()
    scale = torch.where(largest == 0, torch.ones_like(largest), largest / E4M3_MAX)
    return Packed(
        "float8_e4m3fn",
        tuple(weight.shape),
        {"weight": as_e4m3(values / scale), "weight_scale": scale},
    )


def int8(weight: Tensor) -> Packed:
    """Return a weight [N, K] as I8 with a scale per row: a row's largest number becomes 127."""
    values = weight.float()
    largest = values.abs().amax(1, keepdim=True)  # [N, 1]
    scale = torch.where(largest == 0, torch.ones_like(largest), largest / INT8_MAX)
    codes = (values / scale).round().to(torch.int8)
    return Packed("int8_tensorwise", tuple(weight.shape), {"weight": codes, "weight_scale": scale})


def as_e4m3(values: Tensor) -> Tensor:
    """Round float32 numbers to E4M3; what is out of its range becomes its largest number.

    The cast alone would make them NaN.
    """
    return values.clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn)
