"""The anti-aliased snake: twice the rate, a periodic non-linearity, back to the rate.

Letters: B batch, C channels, T samples. (Spec audio 10, in its polyphase form: the doubled signal
is kept as its even and its odd samples, so that neither filter multiplies by inserted zeros.)
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .chunks import spans

#: Taps of both low-pass filters.
TAPS = 12
#: Samples a filter reaches to either side, in samples of the original rate.
HALO = 3
#: Keeps the division by beta finite.
EPSILON = 1e-9
#: Samples worked on at a time on a CPU: what all passes touch then stays in its cache.
CACHED = 1 << 16


def kaiser_filter() -> Tensor:
    """Return the low-pass filter of files that store none, float32 [1, 1, 12], of sum one.

    Kaiser-windowed sinc, cut-off a quarter of the doubled rate, transition width 0.6 of it.
    """
    attenuation = 2.285 * (TAPS // 2 - 1) * math.pi * 1.2 + 7.95
    window = np.kaiser(TAPS, 0.1102 * (attenuation - 8.7))
    time = np.arange(TAPS) - (TAPS - 1) / 2
    taps = 0.5 * window * np.sinc(0.5 * time)
    return torch.from_numpy((taps / taps.sum()).astype(np.float32)).reshape(1, 1, TAPS)


class SnakeBeta(nn.Module):
    """x + sin(x * exp(alpha))^2 / exp(beta); alpha and beta are stored as logarithms."""

    def __init__(
        self, channels: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(channels, device=device, dtype=dtype))
        self.beta = nn.Parameter(torch.empty(channels, device=device, dtype=dtype))

    def rows(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return frequency and inverse magnitude of every row of a [B*C, T] signal, [B*C, 1]."""
        frequency, inverse = self.alpha.exp(), 1 / (self.beta.exp() + EPSILON)
        return frequency.repeat(batch).unsqueeze(1), inverse.repeat(batch).unsqueeze(1)


class _Filter(nn.Module):
    """A stored low-pass filter, the same for all channels."""

    filter: Tensor

    def __init__(self, device: torch.device | None, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.register_buffer("filter", torch.empty(1, 1, TAPS, device=device, dtype=dtype))


class _Downsample(nn.Module):
    """The way back; a level of its own because the checkpoint names it so."""

    def __init__(self, device: torch.device | None, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.lowpass = _Filter(device, dtype)


class AntiAliased(nn.Module):
    """The snake at twice the rate, between two stored low-pass filters."""

    def __init__(
        self, channels: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.act = SnakeBeta(channels, device=device, dtype=dtype)
        self.upsample = _Filter(device, dtype)
        self.downsample = _Downsample(device, dtype)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, T]
        """Activate. Works through the signal in pieces that stay in a CPU's cache."""
        batch, _, length = x.shape
        frequency, inverse = self.act.rows(batch)
        # Twice the taps: every other sample of the doubled signal is an inserted zero.
        up = [2 * tap for tap in self.upsample.filter.flatten().tolist()]
        down = self.downsample.lowpass.filter.flatten().tolist()
        padded = F.pad(x, (2 * HALO, 2 * HALO), mode="replicate").flatten(0, 1)  # [B*C, T + 12]
        out = torch.empty_like(x).flatten(0, 1)
        at_once = CACHED if x.device.type == "cpu" else out.numel()
        rows = max(1, at_once // length)
        for top in range(0, out.shape[0], rows):
            some = slice(top, top + rows)
            for start, end, *_ in spans(length, at_once):
                phases = _doubled(padded[some, start : end + 4 * HALO], up)
                for phase in phases:  # [r, t + 6]
                    wave = (phase * frequency[some]).sin_().square_().mul_(inverse[some])
                    phase.add_(wave)
                _hold_ends(*phases, start == 0, end == length)
                _halved(*phases, down, out[some, start:end])
        return out.view_as(x)


def _doubled(x: Tensor, taps: list[float]) -> tuple[Tensor, Tensor]:
    """Return even and odd samples [r, t + 6] at twice the rate, of [r, t + 12] with halos."""
    width = x.shape[1] - 2 * HALO
    even, odd = x[:, :width] * taps[11], x[:, 1 : width + 1] * taps[10]
    for tap in range(1, TAPS // 2):
        even.add_(x[:, tap : tap + width], alpha=taps[11 - 2 * tap])
        odd.add_(x[:, tap + 1 : tap + 1 + width], alpha=taps[10 - 2 * tap])
    return even, odd


def _hold_ends(even: Tensor, odd: Tensor, first: bool, last: bool) -> None:
    """Beyond the ends of the signal, hold its first and last doubled sample."""
    if first:
        edge = even[:, HALO : HALO + 1]
        odd[:, :HALO] = edge
        even[:, :HALO] = edge
    if last:
        edge = odd[:, -HALO - 1 : -HALO]
        even[:, -HALO:] = edge
        odd[:, -HALO:] = edge


def _halved(even: Tensor, odd: Tensor, taps: list[float], out: Tensor) -> None:
    """Filter the doubled signal [r, t + 6] and keep every other sample, into `out` [r, t]."""
    width = out.shape[1]
    torch.mul(odd[:, :width], taps[0], out=out)
    out.add_(even[:, 1 : width + 1], alpha=taps[1])
    for tap in range(1, TAPS // 2):
        out.add_(odd[:, tap : tap + width], alpha=taps[2 * tap])
        out.add_(even[:, tap + 1 : tap + 1 + width], alpha=taps[2 * tap + 1])
