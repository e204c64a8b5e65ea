"""From a log-mel picture to a waveform, at once or piece by piece.

The vocoder of 2.0 is a `Generator`; that of 2.3 and 2.5 an `ExtendedVocoder`: a generator at
16 kHz, and a second one that reads the first one's sound and adds what lies above.
Letters: B batch, T mel frames, N samples of the low rate.
"""

import math
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.layers import Check, LayerFactory, never_cancelled
from .blocks import Placement
from .chunks import spans
from .config import STEREO, ExtendedConfig
from .generator import Generator
from .mel import log_of
from .waveform import LOWPASS_WIDTH, ROLLOFF, windowed_sinc

#: Mel frames made into sound at a time: 10 s, well below a gigabyte of activations.
FRAMES_AT_ONCE = 1024
#: Samples that the filter of `upsampled` reaches to either side, at the low rate.
SKIP_WIDTH = math.ceil(LOWPASS_WIDTH / ROLLOFF)


class Extension(NamedTuple):
    """A vocoded sound with the steps between; samples are [B, 2, ...]."""

    low: Tensor  # of the first generator, bounded
    mel: Tensor  # what the second one reads, [B, 2, 64, frames]
    residual: Tensor  # what it adds
    skip: Tensor  # `low` at the high rate
    waveform: Tensor


class Bases(nn.Module):
    """The stored sines and cosines of a short-time Fourier transform, windowed."""

    forward_basis: Tensor  # [n_fft + 2, 1, n_fft]: real parts, then imaginary parts

    def __init__(
        self, n_fft: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.register_buffer(
            "forward_basis", torch.empty(n_fft + 2, 1, n_fft, device=device, dtype=dtype)
        )


class CausalMel(nn.Module):
    """A log-mel picture of which no frame sees a later sample."""

    mel_basis: Tensor  # [bins, n_fft/2 + 1]

    def __init__(
        self,
        config: ExtendedConfig,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.hop = config.hop_length
        self.stft_fn = Bases(config.n_fft, device=device, dtype=dtype)
        self.register_buffer(
            "mel_basis",
            torch.empty(config.mel_bins, config.n_fft // 2 + 1, device=device, dtype=dtype),
        )

    def forward(self, waveform: Tensor) -> Tensor:  # [B, 2, N] -> [B, 2, bins, N / hop]
        """Analyse both channels."""
        basis = self.stft_fn.forward_basis
        mono = waveform.flatten(0, 1).unsqueeze(1)  # [B*2, 1, N]
        padded = F.pad(mono, (basis.shape[2] - self.hop, 0))
        real, imaginary = F.conv1d(padded, basis, stride=self.hop).chunk(2, dim=1)
        magnitude = torch.sqrt(real.square() + imaginary.square())  # [B*2, n_fft/2 + 1, frames]
        return log_of(self.mel_basis @ magnitude).unflatten(0, (-1, STEREO))


def upsampling_filter(ratio: int) -> Tensor:
    """Return the low-pass filter of `upsampled`, float32 [1, 1, 14 * ratio + 1], on the CPU.

    Computed anew, never stored and never rounded to the weights' dtype, which would cost 3e-3.
    """
    time = (np.arange(2 * SKIP_WIDTH * ratio + 1) / ratio - SKIP_WIDTH) * ROLLOFF
    taps = windowed_sinc(time) * (ROLLOFF / ratio)
    return torch.from_numpy(taps.astype(np.float32)).reshape(1, 1, -1)


def upsampled(waveform: Tensor, ratio: int) -> Tensor:
    """Return [B, C, N * ratio] of [B, C, N], the ends held instead of falling to zero."""
    taps = upsampling_filter(ratio).to(waveform.device)
    padded = F.pad(waveform, (SKIP_WIDTH, SKIP_WIDTH), mode="replicate").flatten(0, 1).unsqueeze(1)
    raised = ratio * F.conv_transpose1d(padded, taps, stride=ratio)  # [B*C, 1, ...]
    start, length = 2 * SKIP_WIDTH * ratio, waveform.shape[-1] * ratio
    return raised[:, 0, start : start + length].view(*waveform.shape[:-1], length)


class ExtendedVocoder(nn.Module):
    """A generator, and a second one that adds the upper octaves to its sound."""

    def __init__(
        self,
        config: ExtendedConfig,
        *,
        layers: LayerFactory = nn,
        check: Check = never_cancelled,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        placement: Placement = {"device": device, "dtype": dtype}
        self.config = config
        self.sample_rate = config.sampling_rate
        self.vocoder = Generator(
            config.generator, sample_rate=config.low_rate, layers=layers, check=check, **placement
        )
        self.bwe_generator = Generator(
            config.extension, sample_rate=config.sampling_rate, layers=layers, check=check,
            **placement,
        )  # fmt: skip
        self.mel_stft = CausalMel(config, **placement)

    @property
    def samples_per_frame(self) -> int:
        """Return how many samples one mel frame becomes."""
        return self.vocoder.samples_per_frame * self.config.ratio

    @property
    def multiple(self) -> int:
        """Return what the first frame of a piece must be a multiple of, to meet the second hop."""
        hop = self.config.hop_length
        return hop // math.gcd(hop, self.vocoder.samples_per_frame)

    @property
    def reach(self) -> int:
        """Return how many mel frames to either side a sample depends on, rounded up."""
        low_samples = self.bwe_generator.reach * self.config.hop_length + self.config.n_fft
        return self.vocoder.reach + -(-low_samples // self.vocoder.samples_per_frame) + 1

    def extend(self, mel: Tensor) -> Extension:  # [B, 2, T, 64]
        """Return the sound with all steps between."""
        low = self.vocoder(mel)  # [B, 2, N]
        hop, ratio = self.config.hop_length, self.config.ratio
        padded = F.pad(low, (0, -low.shape[-1] % hop))
        picture = self.mel_stft(padded)  # [B, 2, 64, frames]
        residual = self.bwe_generator(picture.transpose(2, 3))
        skip = upsampled(padded, ratio)
        waveform = (residual + skip).clamp(-1, 1)[..., : low.shape[-1] * ratio]
        return Extension(low, picture, residual, skip, waveform)

    def forward(self, mel: Tensor) -> Tensor:  # [B, 2, T, 64] -> [B, 2, samples]
        """Return the sound in -1..1."""
        return self.extend(mel).waveform


#: What turns a mel picture into sound, whichever the generation.
Vocoder: TypeAlias = Generator | ExtendedVocoder


def vocode(vocoder: Vocoder, mel: Tensor, *, at_once: int = FRAMES_AT_ONCE) -> Tensor:
    """Return the sound [B, 2, samples] of a log-mel picture [B, 2, T, bins], in -1..1.

    More than `at_once` frames are made piece by piece, each with as much of its surroundings as
    its samples depend on; only rounding tells the result from that of one pass.
    """
    per_frame, pieces = vocoder.samples_per_frame, []
    for span in spans(
        mel.shape[2], at_once, before=vocoder.reach, after=vocoder.reach, multiple=vocoder.multiple
    ):
        piece = vocoder(mel[:, :, span.first : span.last])
        start = (span.start - span.first) * per_frame
        pieces.append(piece[..., start : start + (span.end - span.start) * per_frame])
    return torch.cat(pieces, dim=-1)
