"""From a waveform to the log-mel picture that the encoder reads.

Centred STFT, magnitude, Slaney mel scale with Slaney norm, natural logarithm (spec audio 3.3). No
gain, no dithering. Letters: B batch, C channels, N samples, T mel frames.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import LTX2Error
from .config import FrontEndConfig
from .waveform import resample

#: The quietest mel value; its logarithm, -11.5129, is silence.
FLOOR = 1e-5
#: Frames transformed at a time; bounds the memory of the spectra.
FRAMES_AT_ONCE = 2048
#: The Slaney scale is linear up to here (in Hz, in mel) and logarithmic above.
BREAK_HERTZ, BREAK_MEL = 1000.0, 15.0
MEL_PER_LOG_HERTZ = 27.0 / math.log(6.4)


def log_of(mel: Tensor) -> Tensor:
    """Return the natural logarithm of a mel magnitude, floored at silence."""
    return mel.clamp(min=FLOOR).log()


def log_mel(waveform: Tensor, sampling_rate: int, config: FrontEndConfig) -> Tensor:
    """Return the picture [B, C, T, mel_bins] of a sound [B, C, N], float32, T = 1 + N // hop.

    Resamples first if the rates differ. Raises LTX2Error (`too_short`) for a sound of no more than
    half a window, 32 ms.
    """
    waveform = resample(waveform, sampling_rate, config.sampling_rate)
    half = config.n_fft // 2
    if waveform.shape[-1] <= half:
        raise LTX2Error(
            f"The sound is too short: {waveform.shape[-1]} samples at {config.sampling_rate} Hz, "
            f"at least {half + 1} are needed.",
            needed=f"a sound longer than {1000 * half / config.sampling_rate:.0f} ms",
            code="too_short",
        )
    device = waveform.device
    padded = F.pad(waveform, (half, half), mode="reflect")
    frames = padded.unfold(-1, config.n_fft, config.hop_length)  # [B, C, T, n_fft], a view
    window, bank = hann(config.n_fft).to(device), filter_bank(config).to(device)
    pieces = [
        torch.fft.rfft(piece * window).abs() @ bank  # [B, C, t, mel_bins]
        for piece in frames.split(FRAMES_AT_ONCE, dim=2)
    ]
    return log_of(torch.cat(pieces, dim=2))


def hann(length: int) -> Tensor:
    """Return the periodic Hann window, float32 [length]."""
    return torch.hann_window(length, periodic=True, dtype=torch.float32)


def filter_bank(config: FrontEndConfig) -> Tensor:
    """Return the triangular filters, float32 [n_fft/2 + 1, mel_bins], each of area one.

    Computed on the CPU in float64.
    """
    highest = _mel(config.sampling_rate / 2)
    corners = _hertz(np.linspace(0.0, highest, config.mel_bins + 2))
    bins = np.linspace(0, config.sampling_rate // 2, config.n_fft // 2 + 1)[:, None]
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    rising = (bins - low) / (middle - low)
    falling = (high - bins) / (high - middle)
    filters = np.maximum(0.0, np.minimum(rising, falling)) * 2 / (high - low)
    return torch.from_numpy(filters.astype(np.float32))


def _mel(hertz: float) -> float:
    if hertz < BREAK_HERTZ:
        return hertz * BREAK_MEL / BREAK_HERTZ
    return BREAK_MEL + MEL_PER_LOG_HERTZ * math.log(hertz / BREAK_HERTZ)


def _hertz(mel: np.ndarray) -> np.ndarray:
    above = BREAK_HERTZ * np.exp((mel - BREAK_MEL) / MEL_PER_LOG_HERTZ)
    return np.where(mel < BREAK_MEL, mel * BREAK_HERTZ / BREAK_MEL, above)
