"""Guides and references as the user gives them: pixels, until a stage knows at which size it works.

Pixels here are bytes [F, H, W, 3], as files hold them; what goes to the encoder is [1, 3, F, h, w]
in -1..1. Letters: F frames, H W the source's size, h w the stage's, in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..grid import LatentShape, frames_down
from ..media.colour import to_core_range
from ..media.image import Fit, fit_frames, fit_pixels, prepare_image
from .attention_mask import subsampled_frames, token_weights

#: Compression a single picture gets, as in training, by generation of the video autoencoder.
IMAGE_CRF = {"2.0": 33, "2.3": 33, "2.5": 18}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Guide:
    """A picture, or a short film, that the clip shows at a time."""

    frames: Tensor  # uint8 [F, H, W, 3]; F is 1, or 8k + 1
    time: float = 0.0  # of its first frame, in seconds
    strength: float = 1.0  # 1 keeps it as it is
    later_strength: float | None = None  # from the second stage on; None: the same
    fit: Fit = Fit.CENTER_CROP
    crf: int | None = None  # compression of a picture; None: the generation's, 0: none
    #: Only looked at, even at time 0, where a guide otherwise becomes the clip's first frame.
    beside: bool = False

    def strength_in(self, stage: int) -> float:
        """Return the strength in stage 1, 2, ..."""
        later = stage > 1 and self.later_strength is not None
        return self.later_strength if later and self.later_strength is not None else self.strength


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reference:
    """A clip an IC-LoRA looks at. The two factors stand in the LoRA's file."""

    frames: Tensor  # uint8 [F, H, W, 3]
    frame_rate: Fraction | None = None  # None: the rate of the result
    strength: float = 1.0  # 1: its tokens are given as they are
    attention: float = 1.0  # how much the clip looks at it, 0..1
    mask: Tensor | None = None  # [F, H, W] in 0..1: where it counts; one frame counts for all
    downscale: int = 1
    temporal_scale: int = 1
    fit: Fit = Fit.CENTER_CROP


def guide_frame(guide: Guide, frames: int, frame_rate: Fraction) -> int:
    """Return the pixel frame at which a guide begins, kept inside a clip of `frames`."""
    last = frames - guide.frames.shape[0]
    if last < 0:
        raise LTX2Error(
            f"A guide of {guide.frames.shape[0]} frames is longer than the clip of {frames}.",
            needed="a shorter guide or a longer clip", where="LTX-2 Guide", code="guide_size",
        )  # fmt: skip
    wanted = guide.time * float(frame_rate)
    return last if wanted >= last else max(0, round(wanted))


def guide_pixels(guide: Guide, height: int, width: int, generation: str) -> Tensor:
    """Return a guide [1, 3, F, h, w] in -1..1 at a stage's size.

    A picture is compressed at its own size first, as the generation saw first frames in training;
    films already are.
    """
    if guide.frames.shape[0] > 1:
        pixels = to_core_range(guide.frames).transpose(0, 1).unsqueeze(0)
        return fit_frames(pixels, height, width, guide.fit)
    crf = IMAGE_CRF.get(generation, 33) if guide.crf is None else guide.crf
    return prepare_image(guide.frames[0], height, width, crf=crf, fit=guide.fit)


def picked_frames(count: int, rate: Fraction, wanted: Fraction, most: int) -> list[int]:
    """Return which of `count` frames to show at another rate, the nearest in time, at most `most`.

    Reference: takes frames by number, so a reference of another rate runs too fast or too slow.
    """
    picked = []
    for number in range(most):
        frame = (number * rate / wanted + Fraction(1, 2)).__floor__()
        if frame >= count:
            break
        picked.append(frame)
    return picked


def _shown(reference: Reference, frames: int, frame_rate: Fraction) -> list[int]:
    """Return the source frames that accompany a clip of `frames`, 8k + 1 of them."""
    count = reference.frames.shape[0]
    rate = reference.frame_rate or frame_rate
    picked = picked_frames(count, rate, frame_rate, frames)
    return picked[: frames_down(len(picked))]


def reference_pixels(
    reference: Reference, frames: int, frame_rate: Fraction, height: int, width: int
) -> Tensor:
    """Return a reference [1, 3, F, h, w] in -1..1 for a stage of height x width.

    It has the clip's rate and at most its length, `downscale` times fewer pixels along each side
    and `temporal_scale` times fewer frames. Raises LTX2Error `reference_size` where that is no size
    the encoder takes.
    """
    factor = reference.downscale
    if height % (32 * factor) or width % (32 * factor):
        raise LTX2Error(
            f"This IC-LoRA looks at references {factor} times smaller, which {width}x{height} "
            "cannot be divided into.",
            needed=f"a clip whose sides are multiples of {64 * factor}", where="LTX-2 Size",
            code="reference_size",
        )  # fmt: skip
    shown = _shown(reference, frames, frame_rate)
    kept = [shown[index] for index in subsampled_frames(len(shown), reference.temporal_scale)]
    kept = kept[: frames_down(len(kept))]
    # One by one: a long film in floats would need many times its bytes.
    small = [
        _fitted(reference.frames[i], height // factor, width // factor, reference.fit) for i in kept
    ]
    return torch.stack(small, dim=1).unsqueeze(0)


def _fitted(frame: Tensor, height: int, width: int, fit: Fit) -> Tensor:
    pixels = to_core_range(frame).unsqueeze(0)  # [1, 3, H, W]
    return fit_pixels(pixels, height, width, fit)[0]


def reference_attention(
    reference: Reference,
    shape: LatentShape,  # of the reference's latent
    frames: int,
    frame_rate: Fraction,
    height: int,
    width: int,
) -> float | Tensor | None:
    """Return how much a reference counts: None fully, a number, or one weight per token [1, N]."""
    if reference.mask is None:
        return None if reference.attention == 1 else reference.attention
    mask = reference.mask.float()
    if mask.shape[0] > 1:
        shown = [min(i, mask.shape[0] - 1) for i in _shown(reference, frames, frame_rate)]
        mask = mask[_whole_groups(shown, shape.frames)]
    pixels = mask.unsqueeze(1)  # [F, 1, H, W]
    rows, columns = pixels.shape[-2:]
    # A small mask of the right shape is not enlarged: the cells average it anyway.
    if rows > height or rows * width != columns * height:
        pixels = fit_pixels(pixels, height, width, reference.fit)
    return token_weights(pixels.transpose(0, 1).unsqueeze(0), shape) * reference.attention


def _whole_groups(frames: Sequence[int], latent_frames: int) -> Sequence[int]:
    """Leave out last frames that a reference with fewer frames does not reach."""
    if latent_frames == 1:
        return frames[:1]
    return frames[: (len(frames) - 1) // (latent_frames - 1) * (latent_frames - 1) + 1]
