"""Frames, pixels, latent cells, frame rates: all rounding is here."""

import math
from dataclasses import dataclass
from fractions import Fraction

#: Pixels along each side come in multiples of this, so that both stages of a two-stage recipe fit.
SIDE_STEP = 64
#: Audio latents per second: 16 kHz mel frames of hop 160, four to a latent.
AUDIO_LATENTS_PER_SECOND = 25


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaleFactors:
    """How many frames, rows and columns of pixels one latent cell stands for."""

    time: int = 8
    height: int = 32
    width: int = 32


@dataclass(frozen=True, slots=True)
class LatentShape:
    """Frames, rows and columns of a video latent."""

    frames: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        """Number of transformer tokens."""
        return self.frames * self.height * self.width


@dataclass(frozen=True, slots=True)
class VideoShape:
    """Frames, rows and columns of pixels."""

    frames: int
    height: int
    width: int

    def latent(self, scale: ScaleFactors = ScaleFactors()) -> LatentShape:
        """Return the latent's shape. Only exact sizes have one; `fit` first."""
        if self.frames % scale.time != 1 or self.height % scale.height or self.width % scale.width:
            raise ValueError(
                f"{self.width}x{self.height}, {self.frames} frames has no latent: sides come in "
                f"multiples of {scale.width}x{scale.height}, frames as {scale.time}k + 1"
            )
        frames = (self.frames - 1) // scale.time + 1
        return LatentShape(frames, self.height // scale.height, self.width // scale.width)

    def halved(self) -> "VideoShape":
        """Return the shape of the first of two stages."""
        return VideoShape(self.frames, self.height // 2, self.width // 2)


def nearest_side(pixels: float, step: int = SIDE_STEP) -> int:
    """Return the multiple of `step` nearest to `pixels`, ties up, at least one step."""
    return max(step, math.floor(pixels / step + 0.5) * step)


def nearest_frames(frames: float, step: int = 8) -> int:
    """Return the number 8k + 1 nearest to `frames`, ties up, at least 1."""
    return max(0, math.floor((frames - 1) / step + 0.5)) * step + 1


def frame_count(seconds: float, frame_rate: Fraction) -> int:
    """Return the 8k + 1 frames nearest to `seconds`, ties up: 5 s at 24 (120 frames) are 121."""
    return nearest_frames(float(Fraction(seconds).limit_denominator(1_000_000) * frame_rate))


def frames_down(frames: int, step: int = 8) -> int:
    """Return the largest 8k + 1 that is not above `frames`."""
    return (frames - 1) // step * step + 1


def exact_rate(rate: float | Fraction) -> Fraction:
    """Return the rational frame rate people mean: 23.976 is 24000/1001, 29.97 is 30000/1001."""
    if isinstance(rate, Fraction):
        return rate
    nominal = round(rate)
    ntsc = Fraction(nominal * 1000, 1001)
    if nominal > 0 and abs(rate - nominal) > 1e-6 and abs(rate - float(ntsc)) < 5e-3:
        return ntsc
    return Fraction(rate).limit_denominator(10_000)


def audio_latent_frames(frames: int, frame_rate: Fraction | float) -> int:
    """Return how many audio latents accompany `frames` pictures (half to even, as the reference)."""
    return round(frames / float(frame_rate) * AUDIO_LATENTS_PER_SECOND)
