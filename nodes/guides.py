"""What the model is shown besides text: pictures at a time, and reference clips."""

from typing import Any

from ..ltx_core.checkpoint.lora import Lora, LoraUse
from ..ltx_core.conditioning.guides import Guide, Reference
from ..ltx_core.media.image import Fit
from ..ltx_core.sampling import bundle as core
from .choices import choice, problem, state
from .clips import FOLLOW, frames_of
from .host import files
from .host.api import ADVANCED, also_called, io
from .report import told
from .sockets import GuidesSocket, ModelSocket, frames_from_image

SAME = -1.0
OF_GENERATION = -1
FITS = {"crop": Fit.CENTER_CROP, "pad": Fit.REFLECT_PAD}


class LTX2Guide(io.ComfyNode):
    """A picture the clip passes through."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2Guide",
            display_name="LTX-2 Guide",
            category="LTX-2/guides",
            description="A picture the clip shows at a given time. Guides chain.",
            **also_called("i2v", "image to video", "img2vid", "first frame", "keyframe"),
            inputs=[
                GuidesSocket.Input("guides", optional=True, tooltip="More guides, chained."),
                io.Image.Input("image", tooltip="The picture; of a batch the first is taken."),
                io.Float.Input(
                    "time",
                    default=0.0,
                    min=0.0,
                    max=600.0,
                    step=0.01,
                    tooltip="When it is shown, in seconds. 0 is the first frame.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How closely it is kept, 0 to 1. 1 keeps it; 0.7 lets it move.",
                ),
                io.Float.Input(
                    "strength_stage_2",
                    default=SAME,
                    min=SAME,
                    max=1.0,
                    step=0.01,
                    tooltip="Strength in the second stage; -1 is the same as the first.",
                    **ADVANCED,
                ),
                io.Combo.Input(
                    "fit",
                    options=[*FITS],
                    default="crop",
                    tooltip="How a picture of another shape fits: crop its edges, or pad them.",
                    **ADVANCED,
                ),
                io.Int.Input(
                    "compression",
                    default=OF_GENERATION,
                    min=OF_GENERATION,
                    max=51,
                    tooltip="Video compression put on the picture, as in training: -1 is the "
                    "generation's own (33; 18 from 2.5 on), 0 none.",
                    **ADVANCED,
                ),
            ],
            outputs=[GuidesSocket.Output(display_name="guides", tooltip="To Generate or a stage.")],
        )

    @classmethod
    def execute(
        cls,
        image: Any,
        time: float,
        strength: float,
        guides: core.Guides | None = None,
        strength_stage_2: float = SAME,
        fit: str = "crop",
        compression: int = OF_GENERATION,
    ) -> io.NodeOutput:
        guide = Guide(
            frames=frames_from_image(image[:1]),
            time=time,
            strength=strength,
            later_strength=None if strength_stage_2 < 0 else strength_stage_2,
            fit=FITS[fit],
            crf=None if compression < 0 else compression,
        )
        more = (guides or core.Guides()).with_guide(guide)
        lines = ["only the first picture of the batch is used"] if len(image) > 1 else []
        return io.NodeOutput(more, ui=told(*lines, notices=lines))


def _reference_inputs() -> list[Any]:
    """Return the inputs of a reference clip, which two nodes share."""
    return [
        io.Video.Input("video", optional=True, tooltip="The reference clip."),
        io.Image.Input("images", optional=True, tooltip="Or its frames."),
        io.Mask.Input(
            "mask", optional=True, tooltip="Where the reference counts: white fully, black not."
        ),
        io.Combo.Input(
            "lora_name",
            options=choice("lora"),
            tooltip="The IC-LoRA, from models/loras: what to make of the reference.",
        ),
        io.Float.Input(
            "strength",
            default=1.0,
            min=0.0,
            max=2.0,
            step=0.05,
            tooltip="How strongly the IC-LoRA counts. 1 is what it was trained at.",
        ),
        io.Float.Input(
            "attention_strength",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="How much the clip looks at the reference, 0 to 1. 1 is fully.",
            **ADVANCED,
        ),
        io.Float.Input(
            "frame_rate",
            default=FOLLOW,
            min=FOLLOW,
            max=240.0,
            step=0.001,
            tooltip="Rate of the images, in frames per second; 0 is the rate of the result.",
            **ADVANCED,
        ),
    ]


def _reference(
    lora: Lora, video: Any, images: Any, mask: Any, attention: float, frame_rate: float
) -> Reference:
    frames, rate = frames_of(video, images, frame_rate)
    return Reference(
        frames=frames,
        frame_rate=rate,
        attention=attention,
        mask=None if mask is None else mask.detach().float().cpu(),
        downscale=lora.reference_downscale,
        temporal_scale=lora.reference_temporal_scale,
    )


def _line(lora: Lora, reference: Reference) -> str:
    count = reference.frames.shape[0]
    return f"{lora.name}: {count} frames of reference, sides 1/{lora.reference_downscale}"


class LTX2Reference(io.ComfyNode):
    """An IC-LoRA and the clip it works on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2Reference",
            display_name="LTX-2 Reference (IC-LoRA)",
            category="LTX-2/guides",
            description="Video to video: an IC-LoRA and the clip it works on, for stage 1.",
            **also_called("v2v", "video to video", "ic-lora", "control", "depth", "canny", "pose"),
            inputs=[
                GuidesSocket.Input("guides", optional=True, tooltip="More guides, chained."),
                *_reference_inputs(),
            ],
            outputs=[GuidesSocket.Output(display_name="guides", tooltip="To Generate.")],
        )

    @classmethod
    def execute(
        cls,
        lora_name: str,
        strength: float,
        guides: core.Guides | None = None,
        video: Any = None,
        images: Any = None,
        mask: Any = None,
        attention_strength: float = 1.0,
        frame_rate: float = FOLLOW,
    ) -> io.NodeOutput:
        lora = core.load_lora(files.find("lora", lora_name)).lora
        reference = _reference(lora, video, images, mask, attention_strength, frame_rate)
        more = (guides or core.Guides()).with_reference(reference, LoraUse(lora, strength))
        return io.NodeOutput(more, ui=told(_line(lora, reference)))

    @classmethod
    def validate_inputs(cls, lora_name: Any = None) -> bool | str:
        return problem(lora_name=("lora", lora_name))

    @classmethod
    def fingerprint_inputs(cls, lora_name: Any = None, **_: Any) -> Any:
        return state(lora_name=("lora", lora_name))


class LTX2ICLora(io.ComfyNode):
    """An IC-LoRA put on a model, and its reference as a guide."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2ICLora",
            display_name="LTX-2 Apply IC-LoRA",
            category="LTX-2/guides",
            description="Puts an IC-LoRA on a model; its clip goes to a stage as a guide.",
            **also_called("v2v", "video to video", "ic-lora", "control"),
            inputs=[
                ModelSocket.Input("model", tooltip="The model of the stage."),
                GuidesSocket.Input("guides", optional=True, tooltip="More guides, chained."),
                *_reference_inputs(),
            ],
            outputs=[
                ModelSocket.Output(display_name="model", tooltip="The model with the IC-LoRA."),
                GuidesSocket.Output(display_name="guides", tooltip="To the same stage."),
                io.String.Output(display_name="report", tooltip="How many modules matched."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: core.Model,
        lora_name: str,
        strength: float,
        guides: core.Guides | None = None,
        video: Any = None,
        images: Any = None,
        mask: Any = None,
        attention_strength: float = 1.0,
        frame_rate: float = FOLLOW,
    ) -> io.NodeOutput:
        lora = core.load_lora(files.find("lora", lora_name)).lora
        report, warnings = model.match(lora), model.warnings(lora)
        reference = _reference(lora, video, images, mask, attention_strength, frame_rate)
        return io.NodeOutput(
            model.with_lora(LoraUse(lora, strength)),
            (guides or core.Guides()).with_reference(reference),
            str(report),
            ui=told(
                str(report),
                *warnings,
                matched=report.matched,
                total=report.total,
                notices=warnings,
            ),
        )

    @classmethod
    def validate_inputs(cls, lora_name: Any = None) -> bool | str:
        return problem(lora_name=("lora", lora_name))

    @classmethod
    def fingerprint_inputs(cls, lora_name: Any = None, **_: Any) -> Any:
        return state(lora_name=("lora", lora_name))


NODES = (LTX2Guide, LTX2Reference, LTX2ICLora)
