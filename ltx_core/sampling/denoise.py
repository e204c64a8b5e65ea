"""One walk down the noise levels. What is predicted, and how a step is made, come from outside."""

from collections.abc import Callable
from itertools import pairwise
from typing import TypeAlias

from torch import Tensor

from ..latents import Streams, each
from ..ops.layers import Check, never_cancelled
from .schedule import Sigmas
from .steps import LoopNoise, Prediction, Sampler, Surroundings, blend

#: (state [B, N, C] per stream, sigma, step index) -> prediction, not yet blended.
Predict: TypeAlias = Callable[[Streams[Tensor], float, int], Prediction]
#: (steps done, steps in all, what is seen behind the noise [B, N, C] per stream).
OnStep: TypeAlias = Callable[[int, int, Streams[Tensor]], None]


def denoise(
    x: Streams[Tensor],  # [B, N, C] at sigmas[0]
    sigmas: Sigmas,  # falling, the last one is where we stop
    predict: Predict,
    *,
    sampler: Sampler,
    masks: Streams[Tensor],  # [B, N, 1] 1 generate, 0 keep
    clean: Streams[Tensor],  # [B, N, C] what is kept
    noise: LoopNoise,
    on_step: OnStep | None = None,
    check: Check = never_cancelled,
) -> Streams[Tensor]:  # [B, N, C] at sigmas[-1]
    """Take `x` through all `sigmas`.

    Given tokens stay given only because every prediction is blended with them before it is used.
    """

    def ask(x: Streams[Tensor], sigma: float, index: int) -> Prediction:
        check()
        prediction = predict(x, sigma, index)
        return prediction._replace(denoised=each(blend, prediction.denoised, masks, clean))

    levels = sampler.walk(sigmas)
    step = sampler.begin(Surroundings(ask=ask, clean=clean, masks=masks, noise=noise))
    for index, (sigma, next_sigma) in enumerate(pairwise(levels)):
        x, denoised = step(x, sigma, next_sigma, index)
        if on_step is not None:
            on_step(index + 1, len(levels) - 1, denoised)
    return x
