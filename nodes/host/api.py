"""The node interface, and what separates the oldest ComfyUI we run on from the newest."""

import inspect
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

if find_spec("comfy_api"):
    from comfy_api.latest import ComfyExtension as ComfyExtension  # pyright: ignore[reportMissingImports]
    from comfy_api.latest import InputImpl, Types  # pyright: ignore[reportMissingImports]
    from comfy_api.latest import io as io  # pyright: ignore[reportMissingImports]
    from comfy_api.latest import ui as ui  # pyright: ignore[reportMissingImports]

    VideoComponents = Types.VideoComponents
    VideoFromComponents, VideoFromFile = InputImpl.VideoFromComponents, InputImpl.VideoFromFile
else:  # no ComfyUI here: the part of its interface that our nodes use
    from .standin.api import ComfyExtension as ComfyExtension
    from .standin.api import io as io
    from .standin.api import ui as ui
    from .standin.video import VideoComponents, VideoFromComponents, VideoFromFile


def _knows(constructor: Any, argument: str) -> bool:
    return argument in inspect.signature(constructor).parameters


#: `io.Int.Input("x", ..., **ADVANCED)` folds the widget away, where ComfyUI can.
ADVANCED: dict[str, Any] = {"advanced": True} if _knows(io.Int.Input, "advanced") else {}


def also_called(*names: str) -> dict[str, Any]:
    """`io.Schema(..., **also_called("i2v"))`: more words to find a node by, where ComfyUI can."""
    return {"search_aliases": list(names)} if _knows(io.Schema, "search_aliases") else {}


def video_from_components(
    images: Tensor,  # [F, H, W, 3] in 0..1
    frame_rate: Fraction,
    audio: dict[str, Any] | None = None,
) -> Any:
    """Make a VIDEO of frames and an AUDIO."""
    return VideoFromComponents(VideoComponents(images=images, audio=audio, frame_rate=frame_rate))


def video_from_file(path: Path) -> Any:
    """Make a VIDEO of a file; it is decoded when somebody looks."""
    return VideoFromFile(str(path))
