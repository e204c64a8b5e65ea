"""LTX-2 for ComfyUI: video with synchronised sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes import LTX2Extension

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> LTX2Extension:
    """Hand ComfyUI our nodes. Imports late, so that tests can open this folder without it."""
    from .nodes import LTX2Extension

    return LTX2Extension()
