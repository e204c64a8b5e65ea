"""The weights with which overlapping tiles are added up."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..memory.tiles import Interval

#: How far from one the weights of an axis may add up before the sum is divided out.
COMPLEMENTARY = 1e-5
SMALLEST_WEIGHT = 1e-8


class AxisMasks(NamedTuple):
    """The weights of one axis."""

    masks: tuple[Tensor, ...]  # one per tile, float32 [length of the tile]
    total: Tensor | None  # their sum, float32 [length of the axis]; None where it is one


def mask(interval: Interval, *, from_zero: bool) -> Tensor:
    """Return a tile's weights along one axis, float32 [length].

    The fade-in begins at zero where its first element is to count nothing (time, where it is a
    cell decoded as if a clip began there), else one step above zero.
    """
    length = interval.length
    weights = torch.ones(length)
    left, right = min(interval.left, length), min(interval.right, length)
    steps = torch.arange(left, dtype=torch.float32)
    weights[:left] = steps / left if from_zero and left else (steps + 1) / (left + 1)
    falling = torch.arange(right, 0, -1, dtype=torch.float32) / (right + 1)
    weights[length - right :] *= falling
    return weights


def axis_masks(intervals: Sequence[Interval], *, from_zero: bool) -> AxisMasks:
    """Return the weights of all tiles of one axis, and their sum if it is not one everywhere."""
    masks = tuple(mask(interval, from_zero=from_zero) for interval in intervals)
    total = torch.zeros(max(interval.stop for interval in intervals))
    for interval, weights in zip(intervals, masks, strict=True):
        total[interval.start : interval.stop] += weights
    complementary = bool((total - 1).abs().max() <= COMPLEMENTARY)
    return AxisMasks(masks, None if complementary else total)


def divided(x: Tensor, *totals: tuple[Tensor | None, int]) -> Tensor:
    """Divide `x` by the product of sums of weights, each along the axis named with it.

    If one axis does not add up to one, the sums of all are divided out.
    """
    weights = torch.ones(())
    for total, axis in totals:
        if total is not None:
            weights = weights * total.view([-1 if n == axis else 1 for n in range(x.ndim)])
    if all(total is None for total, _ in totals):
        return x
    return (x / weights.clamp(min=SMALLEST_WEIGHT).to(x.device)).to(x.dtype)
