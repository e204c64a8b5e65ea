"""Random numbers: which generator draws what, in which order.

All noise is drawn on the CPU, so a seed means the same clip on every device. Tokens are [B, N, C],
targets first, appended conditioning tokens after them.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

import torch
from torch import Tensor

from ..conditioning.state import patchify
from ..latents import Streams, each
from .steps import Draw, LoopNoise

#: Added to the seed for noise between steps (as the reference), and for the two of res_2s (ours).
LOOP_SEED, RES_2S_SEED, SUBSTEP_SEED = 10_000, 20_000, 10_000
#: Added to the seed for appended tokens; far from every seed of a clip.
APPENDED_SEED = 2**32
#: The reference's seed of res_2s, whatever the user's.
OFFICIAL_RES_2S_SEED = -1


@dataclass(frozen=True, slots=True)
class NoiseShape:
    """What has to be drawn for one stream."""

    latent: tuple[int, ...]  # of the target: [B, C, F, h, w] or [B, c, L, m]
    appended: tuple[int, ...] = ()  # tokens of each appended item, in order

    @property
    def target_tokens(self) -> tuple[int, int, int]:
        """Return the target's token shape [B, N, C]."""
        if len(self.latent) == 5:
            return self.latent[0], prod(self.latent[2:]), self.latent[1]
        return self.latent[0], self.latent[2], self.latent[1] * self.latent[3]

    def with_tokens(self, tokens: int) -> tuple[int, int, int]:
        """Return the shape of other `tokens` of the same width."""
        batch, _, width = self.target_tokens
        return batch, tokens, width

    @property
    def all_tokens(self) -> tuple[int, int, int]:
        """Return the token shape with everything that is appended."""
        return self.with_tokens(self.target_tokens[1] + sum(self.appended))


class NoiseSource(Protocol):
    """Where the noise of a whole run comes from."""

    def initial(self, stage: int, shapes: Streams[NoiseShape]) -> Streams[Tensor]:
        """Draw what stage 1, 2, ... begins with: tokens [B, N, C] of each stream."""
        ...

    def loop(self, stage: int, shapes: Streams[NoiseShape]) -> LoopNoise:
        """Return the draws between the steps of a stage."""
        ...


def generator_of(seed: int) -> torch.Generator:
    """Return a CPU generator; seeds wrap at 64 bits."""
    return torch.Generator("cpu").manual_seed(seed if seed < 2**64 else seed % 2**64)


def normalised_normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw float64 noise of mean 0 and deviation 1: over everything, then over each batch item."""
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    noise = (noise - noise.mean()) / noise.std()
    mean = noise.mean(dim=(-2, -1), keepdim=True)
    return (noise - mean) / noise.std(dim=(-2, -1), keepdim=True)


@dataclass(frozen=True, slots=True)
class OwnNoise:
    """The default: ComfyUI's order in stage 1, and nothing that is appended moves the clip's noise.

    Stage n has a generator seeded with seed + n - 1 that draws the target picture [B, C, F, h, w],
    then the sound [B, c, L, m], float32. Appended items draw from generators of their own.
    """

    seed: int

    def initial(self, stage: int, shapes: Streams[NoiseShape]) -> Streams[Tensor]:
        """Draw what a stage begins with."""
        generator = generator_of(self.seed + stage - 1)
        items = iter(range(sum(len(shape.appended) for shape in shapes.present())))

        def target(shape: NoiseShape) -> Tensor:
            return patchify(torch.randn(shape.latent, generator=generator))

        def with_appended(tokens: Tensor, shape: NoiseShape) -> Tensor:
            more = [
                torch.randn(
                    shape.with_tokens(count),
                    generator=generator_of(self.seed + APPENDED_SEED + next(items)),
                )
                for count in shape.appended
            ]
            return torch.cat((tokens, *more), dim=1)

        return each(with_appended, each(target, shapes), shapes)

    def loop(self, stage: int, shapes: Streams[NoiseShape]) -> LoopNoise:
        """Return the draws between the steps of a stage."""
        base = self.seed + stage - 1
        return LoopNoise(
            self._draws(base + LOOP_SEED, shapes, _normal),
            self._draws(base + RES_2S_SEED + SUBSTEP_SEED, shapes, normalised_normal),
            self._draws(base + RES_2S_SEED, shapes, normalised_normal),
        )

    def _draws(
        self,
        seed: int,
        shapes: Streams[NoiseShape],
        draw: Callable[[tuple[int, ...], torch.Generator], Tensor],
    ) -> Draw:
        generator, others = generator_of(seed), generator_of(seed + APPENDED_SEED)

        def both(shape: NoiseShape) -> Tensor:
            parts = [draw(shape.target_tokens, generator)]
            parts += [draw(shape.with_tokens(count), others) for count in shape.appended]
            return torch.cat(parts, dim=1)

        return lambda: each(both, shapes)


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)


class OfficialNoise:
    """The official pipelines' order: one generator for everything, appended tokens included.

    Adding a guide changes the sound's noise. `dtype` float32 here, bfloat16 in the official runs.
    One value serves one run, because later stages continue the generator of the first.
    """

    def __init__(
        self, seed: int, dtype: torch.dtype = torch.float32, *, state: Tensor | None = None
    ) -> None:
        self._seed = seed
        self._dtype = dtype
        self._generator = generator_of(seed)
        if state is not None:  # an earlier stage ran elsewhere
            self._generator.set_state(state)

    @property
    def state(self) -> Tensor:
        """Where the generator is; hand it to the source of the next stage."""
        return self._generator.get_state()

    def initial(self, stage: int, shapes: Streams[NoiseShape]) -> Streams[Tensor]:
        """Draw what a stage begins with; stages must come in order."""
        del stage
        return each(lambda shape: self._draw(shape.all_tokens, self._generator), shapes)

    def loop(self, stage: int, shapes: Streams[NoiseShape]) -> LoopNoise:
        """Return the draws between the steps of a stage."""
        del stage
        plain = generator_of(self._seed + LOOP_SEED)
        step = generator_of(OFFICIAL_RES_2S_SEED)
        substep = generator_of(OFFICIAL_RES_2S_SEED + SUBSTEP_SEED)
        return LoopNoise(
            lambda: each(lambda shape: self._draw(shape.all_tokens, plain), shapes),
            lambda: each(lambda shape: normalised_normal(shape.all_tokens, substep), shapes),
            lambda: each(lambda shape: normalised_normal(shape.all_tokens, step), shapes),
        )

    def _draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=self._dtype)


class GivenNoise:
    """Noise that is given: of each stage, and between steps in the order it is used."""

    def __init__(
        self, initial: Mapping[int, Streams[Tensor]], between: Sequence[Tensor] = ()
    ) -> None:
        self._initial = initial
        self._between = deque(between)

    def initial(self, stage: int, shapes: Streams[NoiseShape]) -> Streams[Tensor]:
        """Return the tokens given for a stage."""
        given = self._initial[stage]
        for tensor, shape in zip(given.present(), shapes.present(), strict=True):
            assert tuple(tensor.shape) == shape.all_tokens, "noise of another shape than the state"
        return given

    def loop(self, stage: int, shapes: Streams[NoiseShape]) -> LoopNoise:
        """Return the given tensors one after the other."""
        del stage

        def draw() -> Streams[Tensor]:
            return each(lambda _: self._between.popleft(), shapes)

        return LoopNoise(draw, draw, draw)
