"""Single pictures: decoded frames as bytes, picture files read, small previews encoded."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import VideoReformatter
from torch import Tensor

from ..errors import LTX2Error
from .codecs import encoder
from .container import opened, readable, video_frames, video_stream

#: swscale's numbers of the matrices by FFmpeg's numbers of what a stream states. What states
#: nothing is BT.601, as FFmpeg itself and ComfyUI take it.
MATRICES = {1: 1, 4: 4, 7: 7, 9: 9, 10: 9}
BT601, BT709 = 5, 1
LIMITED, FULL = 1, 2


class FrameReader:
    """Turns decoded frames of one stream into bytes uint8 [H, W, 3], upright."""

    def __init__(self) -> None:
        # One for each stream: it keeps the matrix it was last used with.
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> Tensor:
        """Return the picture, turned as the file says; transparency is dropped."""
        pixels = self._rgb(frame).to_ndarray()
        # In degrees against the clock, as numpy turns.
        pixels = np.rot90(pixels, k=round(frame.rotation / 90))
        return torch.from_numpy(np.ascontiguousarray(pixels))

    def _rgb(self, frame: av.VideoFrame) -> av.VideoFrame:
        name = frame.format.name
        if not name.startswith(("yuv", "nv", "p0")):
            return self._reformatter.reformat(frame, format="rgb24")
        matrix = MATRICES.get(int(frame.colorspace), BT601)
        full = name.startswith("yuvj") or int(frame.color_range) == FULL
        return self._reformatter.reformat(
            frame,
            format="rgb24",
            src_colorspace=matrix,
            # RGB has no matrix, but only one that differs makes PyAV look at the source's.
            dst_colorspace=BT601 if matrix != BT601 else BT709,
            src_color_range=FULL if full else LIMITED,
            dst_color_range=FULL,
        )


def read_picture(path: Path) -> Tensor:
    """Read a picture file, or the first frame of a clip, as uint8 [H, W, 3].

    An orientation that the camera wrote is applied where PyAV reports it; transparency is dropped
    and a colour profile is not looked at. Raises LTX2Error naming the file if it is no picture.
    """
    with opened(path) as container:
        frame = next(video_frames(container, video_stream(container, path), path), None)
        if frame is None:
            raise LTX2Error(f"{path.name} holds no pictures.", where=str(path), code="no_picture")
        with readable(path):
            return FrameReader()(frame)


def encode_picture(image: Tensor, format: str = "jpeg", *, quality: int = 90) -> bytes:
    """Return a picture uint8 [H, W, 3] as the bytes of a JPEG (quality 1..100) or PNG file."""
    name, pix_fmt = {"jpeg": ("mjpeg", "yuvj444p"), "png": ("png", "rgb24")}[format]
    context = encoder(name)
    assert isinstance(context, VideoCodecContext)
    context.height, context.width = image.shape[:2]
    context.pix_fmt = pix_fmt
    context.time_base = Fraction(1)
    if format == "jpeg":  # a quantiser of 31 is the worst and 2 the best
        context.qmin = context.qmax = round(31 - 0.29 * quality)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image.cpu().numpy()), format="rgb24")
    if format == "jpeg":
        frame = VideoReformatter().reformat(
            frame, format=pix_fmt, src_colorspace=BT709, dst_colorspace=BT601, dst_color_range=FULL
        )
    frame.pts = 0
    out = io.BytesIO()
    for packet in (*context.encode(frame), *context.encode(None)):
        out.write(bytes(packet))
    return out.getvalue()
