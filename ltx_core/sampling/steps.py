"""Steps: from one noise level to the next, once it is known what lies behind the noise.

First the formulas, each of one stream: float32 inside, the result in the state's own dtype. Then
the samplers, values of a recipe, that apply them to both streams and ask for predictions and noise.
Tensors are tokens [B, N, C]. x_sigma = (1 - sigma) * clean + sigma * noise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from ..latents import Streams, each
from .schedule import Sigmas

#: Keeps 1 - sigma away from 0 in CFG++.
EPSILON = 2.0**-23


def denoised_of(x: Tensor, velocity: Tensor, timesteps: Tensor) -> Tensor:
    """Return the clean tokens a velocity implies; `timesteps` [B, N, 1]: each token's sigma."""
    return (x.float() - velocity.float() * timesteps).to(x.dtype)


def velocity_of(x: Tensor, denoised: Tensor, sigma: float) -> Tensor:
    """Return the velocity that leads from `denoised` to `x`, by the sigma all tokens share."""
    assert sigma > 0, "a clean state has no velocity"
    return ((x.float() - denoised.float()) / sigma).to(x.dtype)


def blend(denoised: Tensor, denoise_mask: Tensor, clean: Tensor) -> Tensor:
    """Pull tokens to the given clean ones where the mask [B, N, 1] is below 1."""
    wide = torch.promote_types(denoised.dtype, torch.float32)
    mixed = denoised.to(wide) * denoise_mask + clean.to(wide) * (1 - denoise_mask)
    return mixed.to(denoised.dtype)


def noised(
    tokens: Tensor, clean: Tensor, denoise_mask: Tensor, noise: Tensor, noise_scale: float
) -> Tensor:
    """Return the state a stage begins with: noise where the mask is 1, `clean` where it is 0."""
    mixed = torch.lerp(tokens.float(), noise.float(), noise_scale)
    return torch.lerp(clean.float(), mixed, denoise_mask.expand_as(mixed)).to(tokens.dtype)


def euler(x: Tensor, denoised: Tensor, sigma: float, next_sigma: float) -> Tensor:
    """Go straight along the velocity."""
    velocity = velocity_of(x, denoised, sigma).float()
    return (x.float() + velocity * (next_sigma - sigma)).to(x.dtype)


def euler_ancestral(
    x: Tensor,
    denoised: Tensor,
    sigma: float,
    next_sigma: float,
    noise: Tensor | None = None,  # None only where eta is 0 or next_sigma is 0
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """Step further down than asked and return with fresh noise (rectified-flow form)."""
    if next_sigma == 0:
        return denoised
    now, after = _levels(sigma, next_sigma)
    down = after * (1 + (after / now - 1) * eta)
    ratio = (down / now).item()
    moved = x.float() * ratio + denoised.float() * (1 - ratio)
    if eta > 0:
        assert noise is not None
        keep = (1 - after) / (1 - down)
        amount = (after**2 - (down * keep) ** 2).clamp(min=0).sqrt()
        moved = moved * keep.item() + noise.float() * (s_noise * amount).item()
    return moved.to(x.dtype)


def euler_cfg_pp(
    x: Tensor,
    denoised: Tensor,
    uncond: Tensor,  # the unconditioned prediction, not blended
    sigma: float,
    next_sigma: float,
    noise: Tensor | None = None,  # None only where eta or s_noise is 0 or next_sigma is 0
    *,
    eta: float = 0.0,
    s_noise: float = 1.0,
) -> Tensor:
    """Land on the guided prediction, but along the direction of the unconditioned one (CFG++)."""
    if next_sigma == 0:
        return denoised
    now, after = _levels(sigma, next_sigma)
    # At sigma 1 the ratio is huge; in float32 the spread then is the whole ratio, as it should be.
    scale, next_scale = (1 - now).clamp(min=EPSILON), (1 - after).clamp(min=EPSILON)
    ratio, next_ratio = now / scale, after / next_scale
    spread = (ratio**2 - next_ratio**2).clamp(min=0)
    up = torch.minimum(next_ratio, eta * (next_ratio**2 * spread / ratio**2).sqrt())
    down = (next_ratio**2 - up**2).sqrt()
    direction = (x.float() - uncond.float() * scale.item()) / sigma
    moved = denoised.float() * next_scale.item() + direction * (next_scale * down).item()
    if eta > 0 and s_noise > 0:
        assert noise is not None
        moved = moved + noise.float() * (next_scale * up * s_noise).item()
    return moved.to(x.dtype)


def _levels(sigma: float, next_sigma: float) -> tuple[Tensor, Tensor]:
    """Return both levels as float32 scalars on the CPU: the reference's factors are float32."""
    return torch.tensor(sigma), torch.tensor(next_sigma)


class Prediction(NamedTuple):
    """What lies behind the noise, per stream."""

    denoised: Streams[Tensor]  # guided; blended with what is given when a sampler sees it
    uncond: Streams[Tensor] | None = None  # of the negative prompt, never blended


#: (state, sigma, step index) -> prediction. Guidance happens in here.
Ask: TypeAlias = Callable[[Streams[Tensor], float, int], Prediction]
#: Draws one noise tensor per stream, video first.
Draw: TypeAlias = Callable[[], Streams[Tensor]]


class LoopNoise(NamedTuple):
    """Where noise drawn between steps comes from."""

    plain: Draw  # float32, normal
    substep: Draw  # float64 on the CPU, normalised: for res_2s
    step: Draw


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Surroundings:
    """What a sampler may use besides the state."""

    ask: Ask
    clean: Streams[Tensor]  # [B, N, C]
    masks: Streams[Tensor]  # denoise masks [B, N, 1]
    noise: LoopNoise

    def fresh_noise(self) -> Streams[Tensor]:
        """Draw normal noise and bring it to where the state is."""
        return each(lambda noise, clean: noise.to(clean.device), self.noise.plain(), self.clean)

    def keep(self, x: Streams[Tensor]) -> Streams[Tensor]:
        """Pull both streams to their given tokens, on the device `x` is on."""
        return each(
            lambda x, mask, clean: blend(x, mask.to(x.device), clean.to(x.device)),
            x, self.masks, self.clean,
        )  # fmt: skip


#: (state, sigma, next sigma, step index) -> (state at next sigma, what was seen behind the noise).
Step: TypeAlias = Callable[
    [Streams[Tensor], float, float, int], tuple[Streams[Tensor], Streams[Tensor]]
]


class Sampler(Protocol):
    """A way to walk down a schedule; a value, so recipes compare and print."""

    #: Whether `Prediction.uncond` is needed even where guidance would not run it.
    @property
    def needs_uncond(self) -> bool: ...

    def walk(self, sigmas: Sigmas) -> Sigmas:
        """Return the levels really visited."""
        ...

    def begin(self, around: Surroundings) -> Step:
        """Return the step function of one run."""
        ...


class _Plain:
    """What most samplers share: they visit the schedule as it is and need one prediction."""

    __slots__ = ()
    needs_uncond = False

    def walk(self, sigmas: Sigmas) -> Sigmas:
        return sigmas


@dataclass(frozen=True, slots=True)
class Euler(_Plain):
    """The straight step, no noise."""

    def begin(self, around: Surroundings) -> Step:
        """Return the step function of one run."""

        def step(
            x: Streams[Tensor], sigma: float, next_sigma: float, index: int
        ) -> tuple[Streams[Tensor], Streams[Tensor]]:
            denoised = around.ask(x, sigma, index).denoised
            return each(lambda x, d: euler(x, d, sigma, next_sigma), x, denoised), denoised

        return step


@dataclass(frozen=True, kw_only=True, slots=True)
class EulerAncestral(_Plain):
    """Fresh noise after every step but the last; stage 1 of the distilled 2.5."""

    eta: float = 1.0
    s_noise: float = 1.0

    def begin(self, around: Surroundings) -> Step:
        """Return the step function of one run."""

        def step(
            x: Streams[Tensor], sigma: float, next_sigma: float, index: int
        ) -> tuple[Streams[Tensor], Streams[Tensor]]:
            denoised = around.ask(x, sigma, index).denoised
            fresh = self.eta > 0 and next_sigma > 0
            noise = around.fresh_noise() if fresh else Streams(None, None)

            def moved(x: Tensor, denoised: Tensor, noise: Tensor | None) -> Tensor:
                return euler_ancestral(
                    x, denoised, sigma, next_sigma, noise, eta=self.eta, s_noise=self.s_noise
                )

            x = each(moved, x, denoised, noise)
            # Fresh noise also fell on tokens that are given.
            return (around.keep(x) if fresh else x), denoised

        return step


@dataclass(frozen=True, kw_only=True, slots=True)
class EulerCfgPP(_Plain):
    """CFG++; with eta also ancestral."""

    needs_uncond = True
    eta: float = 0.0
    s_noise: float = 1.0

    def begin(self, around: Surroundings) -> Step:
        """Return the step function of one run."""

        def step(
            x: Streams[Tensor], sigma: float, next_sigma: float, index: int
        ) -> tuple[Streams[Tensor], Streams[Tensor]]:
            denoised, uncond = around.ask(x, sigma, index)
            assert uncond is not None
            fresh = self.eta > 0 and self.s_noise > 0 and next_sigma > 0
            noise = around.fresh_noise() if fresh else Streams(None, None)

            def moved(x: Tensor, denoised: Tensor, uncond: Tensor, noise: Tensor | None) -> Tensor:
                return euler_cfg_pp(
                    x, denoised, uncond, sigma, next_sigma, noise,
                    eta=self.eta, s_noise=self.s_noise,
                )  # fmt: skip

            x = each(moved, x, denoised, uncond, noise)
            return (around.keep(x) if fresh else x), denoised

        return step


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientEstimation(_Plain):
    """Euler along a velocity that is pushed on in the direction it has been changing."""

    gamma: float = 2.0

    def begin(self, around: Surroundings) -> Step:
        """Return the step function of one run; it remembers the last uncorrected velocity."""
        before: Streams[Tensor] = Streams(None, None)

        def step(
            x: Streams[Tensor], sigma: float, next_sigma: float, index: int
        ) -> tuple[Streams[Tensor], Streams[Tensor]]:
            nonlocal before
            denoised = around.ask(x, sigma, index).denoised
            if next_sigma == 0:
                return denoised, denoised
            velocity = each(lambda x, d: velocity_of(x, d, sigma), x, denoised)

            def moved(x: Tensor, denoised: Tensor, now: Tensor, last: Tensor | None) -> Tensor:
                if last is None:
                    return euler(x, denoised, sigma, next_sigma)
                pushed = (now.float() - last.float()) * self.gamma + last.float()
                return euler(x, denoised_of(x, pushed, torch.tensor(sigma)), sigma, next_sigma)

            x = each(moved, x, denoised, velocity, before)
            before = velocity
            return x, denoised

        return step
