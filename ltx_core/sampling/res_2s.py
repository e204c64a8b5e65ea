"""The res_2s sampler: a second-order exponential integrator with noise, two predictions per step.

All arithmetic of the state is float64 and therefore on the CPU, whatever device the transformer
runs on: not every device has float64, and the tokens of a clip are few megabytes. Predictions are
asked with the state in its own dtype on its own device. Formulas: exponential Runge-Kutta of order
two in -log(sigma), with phi_1(z) = (e^z - 1) / z and phi_2(z) = (e^z - 1 - z) / z^2.
"""

from dataclasses import dataclass
from math import exp, expm1, log, sqrt

import torch
from torch import Tensor

from ..latents import Streams, each
from .schedule import Sigmas
from .steps import Step, Surroundings

#: A schedule that ends in 0 stops here first (float32); one more prediction removes the rest.
LAST_SIGMA = torch.tensor(0.0011, dtype=torch.float32).item()
#: Noise of the half step, whatever eta is.
SUBSTEP_ETA = 0.5


def coefficients(h: float) -> tuple[float, float, float]:
    """Return (a21, b1, b2) of a step of `h` = -log(next sigma / sigma)."""
    b2 = 2 * _phi2(-h)
    return 0.5 * _phi1(-h / 2), _phi1(-h) - b2, b2


def _phi1(z: float) -> float:
    return 1.0 if abs(z) < 1e-10 else expm1(z) / z


def _phi2(z: float) -> float:
    if abs(z) < 1e-10:
        return 0.5
    if abs(z) < 1e-2:  # the closed form loses digits here
        return 0.5 + z / 6 + z**2 / 24 + z**3 / 120 + z**4 / 720 + z**5 / 5040
    return (exp(z) - 1 - z) / z**2


def with_noise(
    anchor: Tensor,  # float64, the state at sigma
    target: Tensor,  # float64, the noise-free state at next_sigma
    sigma: float | Tensor,  # Tensor: one per token [B, N, 1]
    next_sigma: float | Tensor,
    noise: Tensor,
    eta: float,
) -> Tensor:
    """Replace part of the noise `target` still holds by fresh noise (variance preserving)."""
    level = torch.as_tensor(sigma, dtype=torch.float64)
    after = torch.as_tensor(next_sigma, dtype=torch.float64)
    # Reference: one token without noise switches fresh noise off for the whole stream.
    if bool((after * eta == 0).any()):
        return target
    up = torch.minimum(after * eta, after * 0.9999)
    rest = (after**2 - up**2).sqrt()
    scale = (1 - after) + rest
    direction = (anchor - target) / (level - after)
    clean = anchor - level * direction
    return scale * (clean + rest / scale * direction) + up * noise


@dataclass(frozen=True, kw_only=True, slots=True)
class Res2s:
    """Two predictions per step; fresh noise after both. Used by the high-quality recipe."""

    eta: float = 0.5
    #: Move the anchor to where the half step would have led exactly; only in small steps.
    bongmath: bool = True
    #: One sigma for all tokens and a blend after the noise; else each token's own sigma.
    legacy_mode: bool = True
    needs_uncond = False

    def walk(self, sigmas: Sigmas) -> Sigmas:
        """Put a last small level before a final 0."""
        return sigmas if sigmas[-1] != 0 else (*sigmas[:-1], LAST_SIGMA, 0.0)

    def begin(self, around: Surroundings) -> Step:
        """Return the step function of one run."""
        masks = each(_exact, around.masks)

        def noisy(
            anchor: Streams[Tensor],
            target: Streams[Tensor],
            levels: tuple[float, float],
            noise: Streams[Tensor],
            eta: float,
        ) -> Streams[Tensor]:
            """Add noise to both streams, in float64."""

            def one(anchor: Tensor, target: Tensor, noise: Tensor, mask: Tensor) -> Tensor:
                if self.legacy_mode:
                    return with_noise(anchor, target, *levels, noise, eta)
                before, after = (mask * level for level in levels)
                return with_noise(anchor, target, before, after, noise, eta)

            return each(one, anchor, target, each(_exact, noise), masks)

        def step(
            x: Streams[Tensor], sigma: float, next_sigma: float, index: int
        ) -> tuple[Streams[Tensor], Streams[Tensor]]:
            first = around.ask(x, sigma, index).denoised
            if next_sigma == 0:
                return first, first
            h = -log(next_sigma / sigma)
            a21, b1, b2 = coefficients(h)
            middle_sigma = sqrt(sigma * next_sigma)
            anchor, ahead = each(_exact, x), each(_exact, first)
            middle = each(lambda a, d: a + (d - a) * (h * a21), anchor, ahead)
            middle = noisy(
                anchor, middle, (sigma, middle_sigma), around.noise.substep(), SUBSTEP_ETA
            )
            middle = self._kept(around, middle)
            if self.bongmath and h < 0.5 and sigma > 0.03:
                # Where the reference's hundred refinements of the anchor converge to.
                q = h * a21
                anchor = each(lambda m, d: (m - d * q) / (1 - q), middle, ahead)
            # Index 0: guidance never skips the prediction in the middle.
            second = each(_exact, around.ask(each(_like, middle, x), middle_sigma, 0).denoised)
            target = each(
                lambda a, d1, d2: a + ((d1 - a) * b1 + (d2 - a) * b2) * h, anchor, ahead, second
            )
            target = noisy(anchor, target, (sigma, next_sigma), around.noise.step(), self.eta)
            return each(_like, self._kept(around, target), x), first

        return step

    def _kept(self, around: Surroundings, x: Streams[Tensor]) -> Streams[Tensor]:
        return around.keep(x) if self.legacy_mode else x


def _exact(tensor: Tensor) -> Tensor:
    return tensor.cpu().to(torch.float64)  # in this order: the device may have no float64


def _like(tensor: Tensor, state: Tensor) -> Tensor:
    return tensor.to(state.dtype).to(state.device)
