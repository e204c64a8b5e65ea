"""The node interface, and what separates the oldest ComfyUI we run on from the newest."""

import inspect
from importlib.util import find_spec
from typing import Any

if find_spec("comfy_api"):
    from comfy_api.latest import ComfyExtension as ComfyExtension  # pyright: ignore[reportMissingImports]
    from comfy_api.latest import io as io  # pyright: ignore[reportMissingImports]
    from comfy_api.latest import ui as ui  # pyright: ignore[reportMissingImports]
else:  # no ComfyUI here: the part of its interface that our nodes use
    from .standin.api import ComfyExtension as ComfyExtension
    from .standin.api import io as io
    from .standin.api import ui as ui


def _knows(constructor: Any, argument: str) -> bool:
    return argument in inspect.signature(constructor).parameters


#: `io.Int.Input("x", ..., **ADVANCED)` folds the widget away, where ComfyUI can.
ADVANCED: dict[str, Any] = {"advanced": True} if _knows(io.Int.Input, "advanced") else {}


def also_called(*names: str) -> dict[str, Any]:
    """`io.Schema(..., **also_called("i2v"))`: more words to find a node by, where ComfyUI can."""
    return {"search_aliases": list(names)} if _knows(io.Schema, "search_aliases") else {}
