"""Pictures made ready for the model: resized, cropped or padded, and compressed as in training.

Pixels are [B, 3, H, W] of any range, or a picture uint8 [H, W, 3] where the codec needs it.
"""

import math
from collections.abc import Iterator
from enum import Enum
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
import torch
import torch.nn.functional as F
from av.video.codeccontext import VideoCodecContext
from torch import Tensor

from ..errors import LTX2Error
from .codecs import encoder


class Fit(Enum):
    """How a picture of another shape comes to the wanted size."""

    CENTER_CROP = "center_crop"
    REFLECT_PAD = "reflect_pad"


class Alignment(NamedTuple):
    """The size to generate at, and the size the finished clip is cropped to. In pixels."""

    width: int
    height: int
    crop_width: int
    crop_height: int


def align_resolution(width: int, height: int, *, divisor: int, fit: Fit) -> Alignment:
    """Return the multiple of `divisor` a source is generated at.

    Padding rounds up and crops the result back; cropping rounds down and keeps what it has. A side
    shorter than `divisor` becomes 0 when cropping: nothing of that size can be generated.
    """
    up = divisor - 1 if fit is Fit.REFLECT_PAD else 0
    return Alignment(
        (width + up) // divisor * divisor, (height + up) // divisor * divisor, width, height
    )


def _bilinear(pixels: Tensor, height: int, width: int) -> Tensor:
    if pixels.shape[-2:] == (height, width):
        return pixels
    return F.interpolate(pixels, (height, width), mode="bilinear", antialias=False)


def cover_resize(pixels: Tensor, height: int, width: int) -> Tensor:
    """Scale pixels [B, 3, H, W] until they cover the target and cut its centre out."""
    rows, columns = pixels.shape[-2:]
    scale = max(height / rows, width / columns)
    pixels = _bilinear(pixels, math.ceil(rows * scale), math.ceil(columns * scale))
    top = (pixels.shape[-2] - height) // 2
    left = (pixels.shape[-1] - width) // 2
    return pixels[..., top : top + height, left : left + width]


def reflect_pad(pixels: Tensor, height: int, width: int) -> Tensor:
    """Fit pixels [B, 3, H, W] into the target, never larger than they are, and mirror the rest.

    What is missing is added at the right and at the bottom. A border wider than the picture cannot
    be mirrored; the outermost pixels are repeated there instead.
    """
    rows, columns = pixels.shape[-2:]
    if height < rows or width < columns:
        scale = min(height / rows, width / columns)
        pixels = _bilinear(pixels, max(1, round(rows * scale)), max(1, round(columns * scale)))
        rows, columns = pixels.shape[-2:]
    right, bottom = width - columns, height - rows
    mirrored = right < columns and bottom < rows
    return F.pad(pixels, (0, right, 0, bottom), mode="reflect" if mirrored else "replicate")


def long_side_resize(pixels: Tensor, long_side: int) -> Tensor:
    """Scale pixels [B, 3, H, W] so that the longer side has `long_side` pixels."""
    rows, columns = pixels.shape[-2:]
    scale = long_side / max(rows, columns)
    return cover_resize(pixels, max(1, int(rows * scale)), max(1, int(columns * scale)))


def fit_pixels(pixels: Tensor, height: int, width: int, fit: Fit = Fit.CENTER_CROP) -> Tensor:
    """Bring pixels [B, 3, H, W] to height x width."""
    resize = cover_resize if fit is Fit.CENTER_CROP else reflect_pad
    return resize(pixels, height, width)


def fit_frames(frames: Tensor, height: int, width: int, fit: Fit = Fit.CENTER_CROP) -> Tensor:
    """Bring frames [B, 3, F, H, W] to height x width, each as a picture of its own."""
    batch = frames.shape[0]
    pixels = fit_pixels(frames.transpose(1, 2).flatten(0, 1), height, width, fit)  # [BF, 3, h, w]
    return pixels.unflatten(0, (batch, -1)).transpose(1, 2)


def prepare_image(
    image: Tensor,  # uint8 [H, W, 3]
    height: int,
    width: int,
    *,
    crf: int,
    fit: Fit = Fit.CENTER_CROP,
) -> Tensor:  # [1, 3, 1, height, width] in -1..1, float32
    """Compress a picture at its own size as training did, then bring it to height x width.

    `crf` belongs to the model generation; 0 leaves the picture as it is.
    """
    pixels = recompress(image, crf).permute(2, 0, 1).unsqueeze(0).float()  # 0..255
    pixels = fit_pixels(pixels, height, width, fit)
    return (pixels / 127.5 - 1).unsqueeze(2)


def recompress(image: Tensor, crf: int) -> Tensor:
    """Send a picture uint8 [H, W, 3] through H.264 and back; odd sides lose their last pixel.

    The model has seen first frames of compressed films only: a picture without their traces makes
    it hold still. `crf` 0 and pictures of a single row or column are returned as they are.
    """
    rows, columns = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    if crf == 0 or rows == 0 or columns == 0:
        return image
    pixels = np.ascontiguousarray(image[:rows, :columns].cpu().numpy())
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    decoded = next(_decoded(_compressed(frame, crf)), None)
    if decoded is None:
        raise LTX2Error(f"The picture of {columns}x{rows} pixels could not be compressed.")
    return torch.from_numpy(decoded.to_ndarray(format="rgb24")).to(image.device)


def _compressed(frame: av.VideoFrame, crf: int) -> list[av.Packet]:
    context = encoder("libx264")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = frame.width, frame.height
    context.pix_fmt = "yuv420p"
    context.framerate = Fraction(1)
    context.time_base = Fraction(1)
    context.options = {"crf": str(crf), "preset": "veryfast"}
    frame.pts = 0
    return [*context.encode(frame), *context.encode(None)]


def _decoded(packets: list[av.Packet]) -> Iterator[av.VideoFrame]:
    context = av.CodecContext.create("h264", "r")
    assert isinstance(context, VideoCodecContext)
    for packet in (*packets, None):
        yield from context.decode(packet)
