"""Waveforms before they are analysed and after they are made: channels, rate, loudness, length.

Letters: B batch, C channels, N samples.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import LTX2Error

#: Zero crossings of the resampling filter on each side, and where it begins to fall: the defaults
#: of `torchaudio.functional.resample`, which the reference uses.
LOWPASS_WIDTH = 6
ROLLOFF = 0.99
#: Samples made at a time; bounds the memory of the gathered taps.
SAMPLES_AT_ONCE = 1 << 16
#: Weights of left and right by channel count, before the division by their sum: L, R, C, LFE, Ls,
#: Rs (and Lb, Rb). The low-frequency channel is dropped.
SURROUND = {
    6: ((1.0, 0.0, 0.707, 0.0, 0.707, 0.0), (0.0, 1.0, 0.707, 0.0, 0.0, 0.707)),
    8: (
        (1.0, 0.0, 0.707, 0.0, 0.707, 0.0, 0.707, 0.0),
        (0.0, 1.0, 0.707, 0.0, 0.0, 0.707, 0.0, 0.707),
    ),
}


def to_stereo(waveform: Tensor) -> Tensor:
    """Return [B, 2, N] of [B, C, N], by the rules the model was trained with.

    One channel is doubled; 5.1 and 7.1 are mixed down; any other count above two becomes the mean
    of all channels, twice. Reference: its inference code refuses all but two channels; this is its
    trainer's rule.
    """
    channels = waveform.shape[1]
    if channels == 2:
        return waveform
    if channels == 0:
        raise LTX2Error("The sound has no channels.", needed="a mono or stereo sound", code="empty")
    if channels in SURROUND:
        weights = torch.tensor(SURROUND[channels], dtype=waveform.dtype, device=waveform.device)
        return (weights / weights.sum(1, keepdim=True)) @ waveform
    return waveform.mean(dim=1, keepdim=True).expand(-1, 2, -1)


def resampled_length(samples: int, rate: int, new_rate: int) -> int:
    """Return how many samples `resample` gives: all that begin before the sound ends."""
    return -(-samples * new_rate // rate)


def resample(waveform: Tensor, rate: int, new_rate: int) -> Tensor:
    """Return [..., N'] of [..., N] samples per channel, at another rate, float32.

    Windowed sinc as `torchaudio.functional.resample` by default (spec audio 3.2). Any two rates
    will do: each output sample gathers only the taps that reach it, so unlike there the filter
    stays small when the rates have no common factor.
    """
    if rate <= 0:
        raise LTX2Error(
            f"A sound cannot have a rate of {rate} samples per second.", code="bad_rate"
        )
    waveform = waveform.float()
    if rate == new_rate:
        return waveform
    shape, length = waveform.shape, resampled_length(waveform.shape[-1], rate, new_rate)
    divisor = math.gcd(rate, new_rate)
    step, phases = rate // divisor, new_rate // divisor
    first, taps = _taps(step, phases)
    num_taps = taps.shape[1]
    lead = -int(first.min())
    flat = waveform.reshape(math.prod(shape[:-1]), shape[-1])
    flat = F.pad(flat, (lead, step + num_taps))  # the sound is zero beyond its ends
    windows = flat.unfold(-1, num_taps, 1)  # [B*C, N, taps], a view
    first, taps = first.to(flat.device), taps.to(flat.device)
    pieces = []
    for start in range(0, length, SAMPLES_AT_ONCE):
        sample = torch.arange(start, min(start + SAMPLES_AT_ONCE, length), device=flat.device)
        phase = sample % phases
        at = (sample // phases) * step + first[phase] + lead  # [n], where each window begins
        pieces.append((windows[:, at] * taps[phase]).sum(-1))  # [B*C, n]
    resampled = torch.cat(pieces, dim=-1) if pieces else flat[:, :0]
    return resampled.reshape(*shape[:-1], length)


def _taps(step: int, phases: int) -> tuple[Tensor, Tensor]:
    """Return the filter of every phase of a period: first sample [phases], taps [phases, K].

    A period takes `step` samples in and gives `phases` out. On the CPU, in float64, rounded once.
    """
    base = min(step, phases) * ROLLOFF
    width = math.ceil(LOWPASS_WIDTH * step / base)
    phase = np.arange(phases)
    first = step * phase // phases - width
    sample = first[:, None] + np.arange(2 * width + 2)  # [phases, K]
    time = (sample / step - phase[:, None] / phases) * base
    taps = windowed_sinc(time) * (base / step)
    return torch.from_numpy(first), torch.from_numpy(taps.astype(np.float32))


def windowed_sinc(time: np.ndarray) -> np.ndarray:
    """Return sinc under a Hann window that ends at the sixth zero crossing, in float64."""
    clamped = np.clip(time, -LOWPASS_WIDTH, LOWPASS_WIDTH)
    window = np.cos(np.pi * clamped / (2 * LOWPASS_WIDTH)) ** 2
    return np.where(np.abs(time) < LOWPASS_WIDTH, np.sinc(time) * window, 0.0)


def with_gain(waveform: Tensor, decibels: float) -> Tensor:
    """Return the sound louder or softer by `decibels`: +6 doubles the amplitude, -6 halves it.

    Nothing in the reference changes loudness; this is for what a user asks of a sound of his own.
    Samples beyond -1..1 are kept, a writer clips them.
    """
    return waveform * 10 ** (decibels / 20)


def fit_length(waveform: Tensor, samples: int) -> Tensor:
    """Return [..., samples] of [..., N]: cut at the end, or silence added there."""
    if waveform.shape[-1] >= samples:
        return waveform[..., :samples]
    return F.pad(waveform, (0, samples - waveform.shape[-1]))
