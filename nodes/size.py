"""How large, how long."""

from math import isfinite
from typing import Any

from ..ltx_core.errors import LTX2Error
from ..ltx_core.grid import (
    ASPECT_RATIOS,
    FASTEST,
    LARGEST_SIDE,
    LONGEST,
    RESOLUTIONS,
    ClipSize,
    fit_clip,
    named_size,
)
from ..ltx_core.latents import blank
from .host.api import ADVANCED, also_called, io
from .report import told
from .sockets import LatentSocket, SizeSocket

CUSTOM = "custom"


class LTX2Size(io.ComfyNode):
    """A clip's width, height, length and rate, moved to what the model can make."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2Size",
            display_name="LTX-2 Size",
            category="LTX-2/size",
            description="How large and how long. Values are moved to the nearest possible.",
            **also_called("resolution", "duration", "length", "fps", "aspect ratio"),
            inputs=[
                io.Combo.Input(
                    "aspect_ratio",
                    options=[*ASPECT_RATIOS, CUSTOM],
                    default="16:9",
                    tooltip="Width to height. Custom takes width and height as typed. "
                    "16:9 for films, 9:16 for phones.",
                ),
                io.Combo.Input(
                    "resolution",
                    options=[*RESOLUTIONS, CUSTOM],
                    default="720p",
                    tooltip="The shorter side in pixels. Custom takes width and height as typed. "
                    "720p is quick and good.",
                ),
                io.Float.Input(
                    "duration",
                    default=5.0,
                    min=0.0,
                    max=LONGEST,
                    step=0.1,
                    tooltip="In seconds. The frame count moves to the nearest 8k + 1. 5 is good.",
                ),
                io.Float.Input(
                    "frame_rate",
                    default=24.0,
                    min=1.0,
                    max=FASTEST,
                    step=0.001,
                    tooltip="Frames per second; 23.976 and 29.97 stay exact. 24 is good.",
                ),
                io.Int.Input(
                    "width",
                    default=1280,
                    min=1,
                    max=LARGEST_SIDE,
                    tooltip="In pixels, used at custom. Moves to the nearest multiple of 64.",
                    **ADVANCED,
                ),
                io.Int.Input(
                    "height",
                    default=704,
                    min=1,
                    max=LARGEST_SIDE,
                    tooltip="In pixels, used at custom. Moves to the nearest multiple of 64.",
                    **ADVANCED,
                ),
            ],
            outputs=[
                SizeSocket.Output(display_name="size", tooltip="Size, length and rate as one."),
                io.Int.Output(display_name="frames", tooltip="How many there will be: 8k + 1."),
                io.Float.Output(display_name="frame_rate", tooltip="Frames per second."),
            ],
        )

    @classmethod
    def execute(
        cls,
        aspect_ratio: str,
        resolution: str,
        duration: float,
        frame_rate: float,
        width: int,
        height: int,
    ) -> io.NodeOutput:
        if not (isfinite(duration) and isfinite(frame_rate)):  # out of another node
            raise LTX2Error(
                f"A clip of {duration} s at {frame_rate} frames per second cannot be made.",
                needed="numbers", where="duration and frame_rate of LTX-2 Size", code="size",
            )  # fmt: skip
        if CUSTOM not in (aspect_ratio, resolution):
            width, height = named_size(aspect_ratio, resolution)
        size = fit_clip(width, height, duration, frame_rate)
        return io.NodeOutput(
            size, size.shape.frames, float(size.frame_rate), ui=told(*_lines(size), **_facts(size))
        )


class LTX2EmptyLatent(io.ComfyNode):
    """Darkness and silence to generate into."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2EmptyLatent",
            display_name="LTX-2 Empty Latent",
            category="LTX-2/size",
            description="A blank clip to generate into, for the first stage sampler.",
            **also_called("blank latent", "empty video latent", "empty audio latent"),
            inputs=[
                SizeSocket.Input("size", tooltip="From LTX-2 Size: the size of the finished clip."),
                io.Combo.Input(
                    "scale",
                    options=["half", "full"],
                    default="half",
                    tooltip="Half for the first of two stages, full for a single stage.",
                ),
                io.Boolean.Input(
                    "audio", default=True, tooltip="Make sound with the picture. On is good."
                ),
            ],
            outputs=[
                LatentSocket.Output(display_name="latent", tooltip="Blank picture and sound.")
            ],
        )

    @classmethod
    def execute(cls, size: ClipSize, scale: str, audio: bool) -> io.NodeOutput:
        shape = size.shape.halved() if scale == "half" else size.shape
        facts = {"adjustments": list(size.adjustments)}
        return io.NodeOutput(blank(shape, size.frame_rate, sound=audio, facts=facts))


def _lines(size: ClipSize) -> list[str]:
    shape = size.shape
    rate = f"{float(size.frame_rate):.6g} fps"
    used = f"{shape.width}x{shape.height}, {shape.frames} frames, {size.seconds:.2f} s, {rate}"
    return [used, *size.adjustments]


def _facts(size: ClipSize) -> dict[str, Any]:
    return {
        "width": size.shape.width,
        "height": size.shape.height,
        "frames": size.shape.frames,
        "frame_rate": str(size.frame_rate),
        "adjustments": list(size.adjustments),
    }


NODES = (LTX2Size, LTX2EmptyLatent)
