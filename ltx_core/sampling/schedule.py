"""Schedules: the falling noise levels of a run, ending in 0 where the clip is clean.

Every schedule is a tuple of floats that are exact in float32, because the reference keeps its
sigmas in float32 and the transformer was trained on them.
"""

from math import exp, lgamma, log, log1p
from typing import TypeAlias

import torch

from ..errors import LTX2Error

Sigmas: TypeAlias = tuple[float, ...]

#: Tokens at which the shift is `base_shift` and `max_shift`.
BASE_TOKENS, MAX_TOKENS = 1024, 4096


def _float32(*values: float) -> Sigmas:
    return tuple(torch.tensor(values, dtype=torch.float32).tolist())


#: The lists the distilled models were trained on; the same for 2.0, 2.3 and 2.5.
DISTILLED = _float32(1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0)
#: Second stage after the spatial upscaler.
REFINE = _float32(0.909375, 0.725, 0.421875, 0.0)
#: Second stage cut over several devices.
REFINE_TILED = _float32(0.625, 0.4, 0.0)
#: Rounds that double the frame rate.
TEMPORAL = _float32(0.975, 0.909375, 0.725, 0.421875, 0.0)
#: Second stage of the HDR recipe.
REFINE_HDR = _float32(0.909375, 0.725, 0.0)

FIXED: dict[str, Sigmas] = {
    "distilled": DISTILLED,
    "stage_2_distilled": REFINE,
    "tdp_stage_2": REFINE_TILED,
    "dfr_temporal": TEMPORAL,
    "hdr_stage_2": REFINE_HDR,
}


def ltx2_schedule(
    steps: int,
    tokens: int = MAX_TOKENS,
    *,
    max_shift: float = 2.05,
    base_shift: float = 0.95,
    stretch: bool = True,
    terminal: float = 0.1,
) -> Sigmas:
    """Return the `steps` + 1 sigmas of the guided models.

    The shift grows with the number of video tokens and is not limited; official recipes but one
    use 4096 whatever the size. `stretch` makes the last sigma before 0 equal to `terminal`. The
    first value may be up to 5e-7 below 1 and is kept so. Raises LTX2Error `steps` where nothing is
    left to stretch.
    """
    if steps < 1 or (stretch and steps == 1):
        raise LTX2Error(
            f"{steps} steps are too few for this schedule.",
            needed="2 steps or more; 30 is customary", where="the widget steps", code="steps",
        )  # fmt: skip
    slope = (max_shift - base_shift) / (MAX_TOKENS - BASE_TOKENS)
    shift = exp(tokens * slope + base_shift - BASE_TOKENS * slope)
    times = torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float32)[:-1]  # 0 is added at the end
    sigmas = shift / (shift + (1 / times - 1))
    if stretch:
        missing = 1 - sigmas
        sigmas = 1 - missing / (missing[-1] / (1 - terminal))
    return (*sigmas.tolist(), 0.0)


def linear_quadratic_schedule(
    steps: int, *, threshold_noise: float = 0.025, linear_steps: int | None = None
) -> Sigmas:
    """Return sigmas that fall evenly by `threshold_noise` first, then faster and faster."""
    if steps == 1:
        return (1.0, 0.0)
    linear = steps // 2 if linear_steps is None else linear_steps
    curved = steps - linear
    difference = linear - threshold_noise * steps
    square = difference / (linear * curved**2)
    slope = threshold_noise / linear - 2 * difference / curved**2
    rest = square * linear**2
    noise = [threshold_noise * i / linear for i in range(linear)]
    noise += [square * i**2 + slope * i + rest for i in range(linear, steps)]
    return _float32(*(1.0 - value for value in noise), 0.0)


def beta_schedule(steps: int, *, alpha: float = 0.6, beta: float = 0.6) -> Sigmas:
    """Return sigmas at quantiles of a beta distribution; may be fewer than `steps` + 1."""
    count, shift = 10_000, exp(2.37)
    places = (beta_quantile(1 - step / steps, alpha, beta) * (count - 1) for step in range(steps))
    # A median lies half-way between two entries: the last bits of its place must not decide.
    picked = dict.fromkeys(round(round(place, 9)) for place in places)
    times = ((index + 1) / count for index in picked)
    return _float32(*(shift / (shift + (1 / time - 1)) for time in times), 0.0)


def beta_quantile(probability: float, alpha: float, beta: float) -> float:
    """Return where the cumulative beta distribution reaches `probability`, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _beta_cumulative(middle, alpha, beta) < probability:
            low = middle
        else:
            high = middle
    return high


def _beta_cumulative(x: float, alpha: float, beta: float) -> float:
    """Return the regularised incomplete beta function, by its continued fraction (DLMF 8.17.22)."""
    if x <= 0.0 or x >= 1.0:
        return min(max(x, 0.0), 1.0)
    if x > (alpha + 1) / (alpha + beta + 2):
        return 1.0 - _beta_cumulative(1 - x, beta, alpha)
    front = exp(
        alpha * log(x) + beta * log1p(-x) + lgamma(alpha + beta) - lgamma(alpha) - lgamma(beta)
    )
    fraction = 1.0  # evaluated from its far end inwards
    for m in range(200, 0, -1):
        even = m * (beta - m) * x / ((alpha + 2 * m - 1) * (alpha + 2 * m))
        fraction = 1 + even / fraction
        k = m - 1
        odd = -(alpha + k) * (alpha + beta + k) * x / ((alpha + 2 * k) * (alpha + 2 * k + 1))
        fraction = 1 + odd / fraction
    return front / (alpha * fraction)


def resampled(sigmas: Sigmas, steps: int) -> Sigmas:
    """Return `steps` + 1 values spread evenly over a fixed list, linear between its entries."""
    if steps < 1:
        raise LTX2Error(
            f"{steps} steps are too few.", needed="1 step or more", where="the widget steps",
            code="steps",
        )  # fmt: skip
    last = len(sigmas) - 1
    values = []
    for step in range(steps + 1):
        below, part = divmod(step * last, steps)
        ahead = sigmas[min(below + 1, last)]
        values.append(sigmas[below] + (ahead - sigmas[below]) * part / steps)
    return _float32(*values)
