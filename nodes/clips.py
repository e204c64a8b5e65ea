"""What several nodes ask of clips: the host's VIDEO and IMAGE as frames, a lazy clip as IMAGE."""

from collections.abc import Generator
from contextlib import closing
from fractions import Fraction
from typing import Any

from torch import Tensor

from ..ltx_core.errors import LTX2Error
from ..ltx_core.grid import exact_rate
from ..ltx_core.sampling.clip import Clip, picture_spans
from .host.memory import free_bytes, place
from .host.progress import Progress
from .sockets import frames_from_image, image_from_spans
from .watching import DECODE

#: A frame rate of 0 means: the same as the result's.
FOLLOW = 0.0


def frames_of(video: Any, images: Any, frame_rate: float) -> tuple[Tensor, Fraction | None]:
    """Return a reference's uint8 frames [F, H, W, 3] and its rate (None: as the result's)."""
    if video is not None:
        parts = video.get_components()
        return frames_from_image(parts.images), Fraction(parts.frame_rate)
    if images is not None:
        return frames_from_image(images), exact_rate(frame_rate) if frame_rate > 0 else None
    raise LTX2Error(
        "The reference has no clip.",
        needed="a clip on video (LoadVideo) or frames on images",
        where="the reference node",
    )


def is_linked(hidden: Any, output: int) -> bool:
    """Say whether something in the running graph takes this node's output number `output`."""
    if hidden.prompt is None:
        return True
    wanted = [str(hidden.unique_id), output]
    return any(
        isinstance(value, list) and len(value) == 2 and [str(value[0]), value[1]] == wanted
        for node in hidden.prompt.values()
        for value in node.get("inputs", {}).values()
    )


def spans(clip: Clip, progress: Progress | None = None) -> Generator[Tensor, None, None]:
    """Decode a clip's picture, counting frames; close it where it is not read to the end."""
    counted = None if progress is None else progress.part
    return picture_spans(clip, place, free_bytes=free_bytes(), on_frames=counted)


def decoded_images(clip: Clip, progress: Progress) -> Tensor:
    """Decode a clip's whole picture into one IMAGE."""
    with progress.phase(DECODE, clip.frames), closing(spans(clip, progress)) as pictures:
        return image_from_spans(pictures)
