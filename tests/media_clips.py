"""Small clips whose frames can be told apart after compression."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import torch
from ltx2_pack.ltx_core.media.writer import Written, write_clip
from torch import Tensor

RATES = (Fraction(24), Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(50))


def numbered_spans(frames: int, *, height: int = 16, width: int = 32) -> Iterator[Tensor]:
    """Yield spans [1, 3, f, H, W]: one frame, then eights. Frame k is grey of the level 6k."""
    starts = [0, *range(1, frames, 8)]
    for start, end in zip(starts, [*starts[1:], frames], strict=True):
        levels = torch.arange(start, end) * 6 % 252 / 127.5 - 1
        yield levels.reshape(1, 1, -1, 1, 1).expand(1, 3, -1, height, width)


def number_of(image: Tensor) -> int:
    """Return k of a decoded frame uint8 [H, W, 3] of `numbered_spans`."""
    return round(image.float().mean().item() / 6)


def noise(samples: int, *, channels: int = 2, seed: int = 0) -> Tensor:
    """Return a waveform [1, C, T] of noise below 4 kHz, which codecs keep."""
    rough = torch.randn(channels, 1, samples + 15, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.avg_pool1d(rough, 16, 1)
    return (smooth / smooth.abs().max() * 0.8).transpose(0, 1)


def numbered_clip(path: Path, frames: int, rate: Fraction, **settings) -> Written:
    return write_clip(path, numbered_spans(frames), rate, format=path.suffix[1:], **settings)


def decoded_sound(path: Path) -> tuple[Tensor, int]:
    """Decode the sound with PyAV alone: [C, T] and its sample rate."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    samples = torch.cat([torch.from_numpy(frame.to_ndarray()) for frame in frames], dim=1)
    return samples, frames[0].sample_rate
