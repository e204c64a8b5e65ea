"""Modulation by noise level: from timesteps to the scale, shift and gate of every token.

Most tokens of a clip share one timestep, so only distinct timesteps are embedded. A `Spread` says
which token takes which of them.
Letters: B batch, N tokens, D stream width, R rows of modulation, P modulations per row.
"""

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor, nn

from ..ops.layers import LayerFactory

#: Width of the sinusoids a timestep is turned into; half cosines, half sines.
SINUSOIDS = 256
#: More runs of equal timesteps than this, and tokens look their row up one by one.
MOST_RUNS = 16


@dataclass(frozen=True, slots=True)
class Spread:
    """Which row of a modulation each token takes.

    Few changes along the tokens: `lengths` of the runs, row r of [B, R, .] is for run r (one run
    spans any number of tokens). Many: `index` into the rows of [1, R, .].
    """

    lengths: tuple[int, ...] = (0,)
    index: Tensor | None = None  # [B, N]

    @property
    def uniform(self) -> bool:
        """Say whether all tokens of an item take the same row."""
        return self.index is None and len(self.lengths) == 1


def distinct(timesteps: Tensor) -> tuple[Tensor, Spread]:  # [B, N, 1] -> [B, R] or [1, R]
    """Return the timesteps worth embedding, and which token takes which."""
    values = timesteps[..., 0]  # [B, N]
    num_tokens = values.shape[1]
    if num_tokens == 1:
        return values, Spread()
    changes = (values[:, 1:] != values[:, :-1]).any(dim=0).nonzero()[:, 0] + 1  # where a run starts
    if changes.shape[0] >= MOST_RUNS:
        rows, index = torch.unique(values, return_inverse=True)  # [R], [B, N]
        return rows.unsqueeze(0), Spread(index=index)
    starts = [0, *changes.tolist()]
    lengths = tuple(b - a for a, b in zip(starts, [*starts[1:], num_tokens], strict=True))
    return values[:, starts], Spread(lengths)


def scaled_and_shifted(x: Tensor, scale: Tensor, shift: Tensor, spread: Spread) -> Tensor:
    """Return `x` [B, N, D] times 1 + scale plus shift, each [B|1, R, D]."""
    if spread.index is not None:
        return torch.addcmul(shift[0][spread.index], x, scale[0][spread.index] + 1)
    runs = _runs(x, spread)
    pairs = zip(runs, (scale + 1).split(1, 1), shift.split(1, 1), strict=True)
    return _joined([torch.addcmul(add, run, factor) for run, factor, add in pairs])


def added(x: Tensor, update: Tensor, gate: Tensor, spread: Spread) -> Tensor:
    """Return x + update * gate, with `x`, `update` [B, N, D] and gate [B|1, R, D]."""
    if spread.index is not None:
        return torch.addcmul(x, update, gate[0][spread.index])
    triples = zip(_runs(x, spread), _runs(update, spread), gate.split(1, 1), strict=True)
    return _joined([torch.addcmul(run, change, factor) for run, change, factor in triples])


def _runs(x: Tensor, spread: Spread) -> tuple[Tensor, ...]:
    return (x,) if spread.uniform else x.split(spread.lengths, dim=1)


def _joined(runs: list[Tensor]) -> Tensor:
    return runs[0] if len(runs) == 1 else torch.cat(runs, dim=1)


def sinusoids(timesteps: Tensor) -> Tensor:  # [...] float32 -> [..., 256] float32
    """Return cosines, then sines, of the timesteps (already scaled) at falling frequencies."""
    half = SINUSOIDS // 2
    exponents = torch.arange(half, dtype=torch.float32, device=timesteps.device)
    frequencies = torch.exp(exponents * (-log(10000.0) / half))
    angles = timesteps.unsqueeze(-1) * frequencies
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


class TimestepEmbedder(nn.Module):
    """Two linear layers on top of the sinusoids."""

    def __init__(
        self,
        dim: int,
        *,
        layers: LayerFactory = nn,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.linear_1 = layers.Linear(SINUSOIDS, dim, device=device, dtype=dtype)
        self.linear_2 = layers.Linear(dim, dim, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:  # [..., 256] -> [..., D]
        return self.linear_2(nn.functional.silu(self.linear_1(x)))


class AdaLN(nn.Module):
    """From timesteps to `num_modulations` vectors of the stream's width each."""

    def __init__(
        self,
        dim: int,
        num_modulations: int,
        *,
        layers: LayerFactory = nn,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_modulations = num_modulations
        embedder = TimestepEmbedder(dim, layers=layers, device=device, dtype=dtype)
        self.emb = nn.ModuleDict({"timestep_embedder": embedder})
        self.linear = layers.Linear(dim, num_modulations * dim, device=device, dtype=dtype)

    def forward(self, timesteps: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Embed scaled timesteps [B, R] float32: modulations [B, R, P, D], embedding [B, R, D]."""
        embedding = self.emb["timestep_embedder"](sinusoids(timesteps).to(dtype))
        modulations = self.linear(nn.functional.silu(embedding))
        return modulations.unflatten(-1, (self.num_modulations, -1)), embedding
