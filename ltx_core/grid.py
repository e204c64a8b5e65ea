"""Frames, pixels, latent cells, frame rates: all rounding is here."""

import math
from dataclasses import dataclass
from fractions import Fraction

#: Pixels along each side come in multiples of this, so that both stages of a two-stage recipe fit.
SIDE_STEP = 64
#: Nothing larger (pixels), longer (seconds) or faster (frames per second) is made of a wish.
LARGEST_SIDE, LONGEST, FASTEST = 16384, 600.0, 240.0
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
    """Return how many audio latents accompany `frames` pictures: half to even, at least 1.

    Reference: it can give 0 for clips below 20 ms, and fails on them.
    """
    return max(1, round(frames / float(frame_rate) * AUDIO_LATENTS_PER_SECOND))


#: Width to height of the shapes people ask for by name.
ASPECT_RATIOS = {
    "16:9": Fraction(16, 9),
    "9:16": Fraction(9, 16),
    "1:1": Fraction(1),
    "4:3": Fraction(4, 3),
    "3:4": Fraction(3, 4),
    "3:2": Fraction(3, 2),
    "2:3": Fraction(2, 3),
    "21:9": Fraction(21, 9),
}
#: The shorter side, in pixels, of the resolutions people ask for by name.
RESOLUTIONS = {"480p": 480, "540p": 540, "720p": 720, "1080p": 1080, "1440p": 1440, "2160p": 2160}


def named_size(aspect_ratio: str, resolution: str) -> tuple[int, int]:
    """Return (width, height) in pixels before fitting: "16:9" at "720p" is (1280, 720)."""
    ratio, short = ASPECT_RATIOS[aspect_ratio], RESOLUTIONS[resolution]
    long = round(short * max(ratio, 1 / ratio))
    return (long, short) if ratio >= 1 else (short, long)


@dataclass(frozen=True, slots=True)
class ClipSize:
    """How large, how long, how fast a clip really is, and what was changed for that."""

    shape: VideoShape
    frame_rate: Fraction
    adjustments: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Return how long the clip plays."""
        return float(self.shape.frames / self.frame_rate)


def fit_clip(width: int, height: int, seconds: float, frame_rate: float | Fraction) -> ClipSize:
    """Move a wish to the nearest clip the model can make, and say in words what moved.

    Sides go to the nearest multiple of 64, frames to the nearest 8k + 1, ties up. No number is
    refused: 0 seconds are one frame, a rate of 0 is 1 frame per second, and what exceeds a limit
    becomes the limit. What is no number raises ValueError or OverflowError.
    """
    rate = min(max(exact_rate(frame_rate), Fraction(1)), Fraction(FASTEST))
    shape = VideoShape(
        frame_count(min(max(seconds, 0.0), LONGEST), rate),
        nearest_side(min(height, LARGEST_SIDE)),
        nearest_side(min(width, LARGEST_SIDE)),
    )
    changes = []
    if rate != exact_rate(frame_rate):
        changes.append(f"frame rate {float(frame_rate):g} -> {float(rate):g}")
    if shape.width != width:
        changes.append(f"width {width} -> {shape.width} (multiples of {SIDE_STEP})")
    if shape.height != height:
        changes.append(f"height {height} -> {shape.height} (multiples of {SIDE_STEP})")
    wanted = max(seconds, 0.0) * float(rate)
    # One frame more than seconds x rate is what 8k + 1 means by a whole number of seconds.
    if abs(shape.frames - wanted) > 1 + 1e-6 or wanted < 1:
        length = float(shape.frames / rate)
        changes.append(f"length {seconds:g} s -> {length:.2f} s ({shape.frames} frames, 8k + 1)")
    return ClipSize(shape, rate, tuple(changes))


def frames_between(seconds: float, frame_rate: Fraction | float, least: int, most: int) -> int:
    """Return the 8k + 1 frames below `seconds`, within `least` and `most` where possible.

    Where rounding down leads below `least` it rounds up instead, but not above `most`.
    """
    wanted = min(max(round(seconds * float(frame_rate)), least), most)
    frames = frames_down(wanted)
    return frames if frames >= least else min(frames + 8, most)


def even_keyframes(count: int, frames: int) -> tuple[int, ...]:
    """Return `count` frames spread evenly inside a clip, without its first and last.

    Raises ValueError if they do not fit; ties go to the even number, as in the reference.
    """
    if frames < count + 2:
        raise ValueError(f"{count} keyframes do not fit inside {frames} frames")
    return tuple(round(Fraction(i * (frames - 1), count + 1)) for i in range(1, count + 1))
