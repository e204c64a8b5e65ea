"""All models of one generation, on one wire."""

from typing import Any

from ..ltx_core.sampling import bundle as core
from ..ltx_core.transformer.held import Hold
from . import gather
from .choices import AUTO, NONE, choice, problem, state
from .gather import gathered
from .host import files
from .host.api import ADVANCED, also_called, io
from .host.progress import check
from .report import told
from .sockets import (
    AudioVAESocket,
    ModelSocket,
    ModelsSocket,
    TextEncoderSocket,
    UpscalerSocket,
    VideoVAESocket,
)

AS_IN_FILE = Hold.AS_IN_FILE.value


class LTX2Load(io.ComfyNode):
    """Everything one generation needs, on one wire."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2Load",
            display_name="LTX-2 Load",
            category="LTX-2/models",
            description="Model, text encoder and all that belongs to them, on one wire.",
            **also_called("checkpoint loader", "load model", "ltxv loader"),
            inputs=[
                io.Combo.Input(
                    "unet_name",
                    display_name="model",
                    options=choice("checkpoint"),
                    tooltip="The checkpoint, from models/checkpoints. A distilled one is quick.",
                ),
                io.Combo.Input(
                    "clip_name",
                    display_name="text encoder",
                    options=choice("text_encoder"),
                    tooltip="Gemma 3 12B, from models/text_encoders: a file or a folder.",
                ),
                io.Combo.Input(
                    "video_vae",
                    options=choice("video_vae", AUTO),
                    default=AUTO,
                    tooltip="Turns latents into pictures. Auto takes the checkpoint's own.",
                    **ADVANCED,
                ),
                io.Combo.Input(
                    "audio_vae",
                    options=choice("audio_vae", AUTO),
                    default=AUTO,
                    tooltip="Turns latents into sound. Auto takes the checkpoint's own.",
                    **ADVANCED,
                ),
                io.Combo.Input(
                    "upscale_model",
                    options=choice("latent_upscaler", AUTO),
                    default=AUTO,
                    tooltip="Doubles the size between the stages. Auto takes the only one.",
                    **ADVANCED,
                ),
                io.Combo.Input(
                    "distilled_lora",
                    options=choice("lora", AUTO, NONE),
                    default=AUTO,
                    tooltip="Lets a dev checkpoint run in few steps. Auto takes the one whose name "
                    "says distilled.",
                    **ADVANCED,
                ),
                io.Combo.Input(
                    "hold_weights",
                    options=[hold.value for hold in Hold],
                    default=AS_IN_FILE,
                    tooltip="How the model's weights are held in memory. As in file is exact; fp8 "
                    "and int8 take about half of bf16 and cost a little quality.",
                    **ADVANCED,
                ),
                io.Int.Input(
                    "memory_budget",
                    default=0,
                    min=0,
                    max=1024,
                    tooltip="GPU memory to keep within, in GB, when decoding. 0 is automatic.",
                    **ADVANCED,
                ),
            ],
            outputs=[ModelsSocket.Output(display_name="models", tooltip="To Prompt and Generate.")],
        )

    @classmethod
    def execute(
        cls,
        unet_name: str,
        clip_name: str,
        video_vae: str = AUTO,
        audio_vae: str = AUTO,
        upscale_model: str = AUTO,
        distilled_lora: str = AUTO,
        hold_weights: str = AS_IN_FILE,
        memory_budget: int = 0,
    ) -> io.NodeOutput:
        found = gathered(unet_name, clip_name, video_vae, audio_vae, upscale_model, distilled_lora)
        found.check()
        model = core.load_model(found.model, check, Hold(hold_weights))
        scaler, lora = found.upscaler, found.distilled_lora
        models = core.Bundle(
            model=model,
            text=core.load_text(found.text_encoder, model, check, extras=found.text_parts),
            video_vae=core.load_video_vae(found.video_vae, check),
            audio_vae=core.load_audio_vae(found.audio_vae, check),
            upscaler=None if scaler is None else core.load_upscaler(scaler, check),
            distilled_lora=None if lora is None else core.load_lora(lora),
            memory_budget=memory_budget * 10**9,
        )
        return _told_bundle(models)

    @classmethod
    def validate_inputs(
        cls,
        unet_name: Any = None,
        clip_name: Any = None,
        video_vae: Any = None,
        audio_vae: Any = None,
        upscale_model: Any = None,
        distilled_lora: Any = None,
    ) -> bool | str:
        said = problem(
            unet_name=("checkpoint", unet_name),
            clip_name=("text_encoder", clip_name),
            video_vae=("video_vae", video_vae, AUTO),
            audio_vae=("audio_vae", audio_vae, AUTO),
            upscale_model=("latent_upscaler", upscale_model, AUTO),
            distilled_lora=("lora", distilled_lora, AUTO, NONE),
        )
        if said is not True:
            return said
        return gather.problem(
            unet_name=unet_name,
            clip_name=clip_name,
            video_vae=video_vae,
            audio_vae=audio_vae,
            upscale_model=upscale_model,
            distilled_lora=distilled_lora,
        )

    @classmethod
    def fingerprint_inputs(
        cls,
        unet_name: Any = None,
        clip_name: Any = None,
        video_vae: Any = None,
        audio_vae: Any = None,
        upscale_model: Any = None,
        distilled_lora: Any = None,
        **_: Any,
    ) -> Any:
        return state(
            unet_name=("checkpoint", unet_name),
            clip_name=("text_encoder", clip_name),
            text_parts=("text_encoder_extras", AUTO, AUTO),
            video_vae=("video_vae", video_vae, AUTO),
            audio_vae=("audio_vae", audio_vae, AUTO),
            upscale_model=("latent_upscaler", upscale_model, AUTO),
            distilled_lora=("lora", None if distilled_lora == NONE else distilled_lora, AUTO),
        )


def _told_bundle(models: core.Bundle) -> io.NodeOutput:
    warnings = models.check()
    lines = [*warnings, *models.lines()]
    return io.NodeOutput(models, ui=told(*lines, files=models.sources(), notices=warnings))


class LTX2Bundle(io.ComfyNode):
    """Single parts on one wire."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2Bundle",
            display_name="LTX-2 Bundle",
            category="LTX-2/models",
            description="Puts single parts on one wire, and checks that they fit each other.",
            **also_called("models", "pipe"),
            inputs=[
                ModelSocket.Input("model", tooltip="The transformer."),
                TextEncoderSocket.Input("text_encoder", tooltip="The text encoder of that model."),
                VideoVAESocket.Input("video_vae", tooltip="The video VAE of that generation."),
                AudioVAESocket.Input("audio_vae", tooltip="The audio VAE of that generation."),
                UpscalerSocket.Input(
                    "upscaler", optional=True, tooltip="Needed by recipes of two stages."
                ),
                io.Combo.Input(
                    "distilled_lora",
                    options=choice("lora", NONE),
                    default=NONE,
                    optional=True,
                    tooltip="Lets a dev checkpoint run in few steps.",
                ),
            ],
            outputs=[ModelsSocket.Output(display_name="models", tooltip="To Prompt and Generate.")],
        )

    @classmethod
    def execute(
        cls,
        model: core.Model,
        text_encoder: core.Text,
        video_vae: core.VideoVAE,
        audio_vae: core.AudioVAE,
        upscaler: core.LatentUpscaler | None = None,
        distilled_lora: str = NONE,
    ) -> io.NodeOutput:
        lora = None if distilled_lora == NONE else files.find("lora", distilled_lora)
        models = core.Bundle(
            model=model,
            text=text_encoder,
            video_vae=video_vae,
            audio_vae=audio_vae,
            upscaler=upscaler,
            distilled_lora=None if lora is None else core.load_lora(lora),
        )
        return _told_bundle(models)

    @classmethod
    def validate_inputs(cls, distilled_lora: Any = None) -> bool | str:
        return problem(distilled_lora=("lora", distilled_lora, NONE))

    @classmethod
    def fingerprint_inputs(cls, distilled_lora: Any = None, **_: Any) -> Any:
        return state(distilled_lora=("lora", None if distilled_lora == NONE else distilled_lora))


class LTX2Unbundle(io.ComfyNode):
    """One wire into single parts."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2Unbundle",
            display_name="LTX-2 Unbundle",
            category="LTX-2/models",
            description="Takes the parts of LTX-2 Load apart, for graphs that wire every stage.",
            **also_called("models", "pipe out"),
            inputs=[ModelsSocket.Input("models", tooltip="From LTX-2 Load.")],
            outputs=[
                ModelsSocket.Output(display_name="models", tooltip="The same, handed on."),
                ModelSocket.Output(display_name="model", tooltip="The transformer."),
                TextEncoderSocket.Output(display_name="text_encoder", tooltip="The text encoder."),
                VideoVAESocket.Output(display_name="video_vae", tooltip="The video VAE."),
                AudioVAESocket.Output(display_name="audio_vae", tooltip="The audio VAE."),
                UpscalerSocket.Output(display_name="upscaler", tooltip="The upscaler, if any."),
            ],
        )

    @classmethod
    def execute(cls, models: core.Bundle) -> io.NodeOutput:
        return io.NodeOutput(
            models, models.model, models.text, models.video_vae, models.audio_vae, models.upscaler
        )


NODES = (LTX2Load, LTX2Bundle, LTX2Unbundle)
