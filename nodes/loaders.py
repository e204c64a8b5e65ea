"""Single parts from files."""

from typing import Any

from ..ltx_core.checkpoint.lora import LoraUse
from ..ltx_core.sampling import bundle as core
from ..ltx_core.transformer.held import Hold
from .choices import AUTO, NONE, choice, problem, state
from .gather import text_files
from .host import files
from .host.api import ADVANCED, also_called, io
from .host.progress import check
from .report import told
from .sockets import (
    AudioVAESocket,
    ModelSocket,
    TextEncoderSocket,
    UpscalerSocket,
    VideoVAESocket,
)

AS_IN_FILE = Hold.AS_IN_FILE.value


class LTX2LoadModel(io.ComfyNode):
    """The transformer alone."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2LoadModel",
            display_name="LTX-2 Load Model",
            category="LTX-2/loaders",
            description="The transformer of a checkpoint, for graphs that wire every stage.",
            **also_called("unet loader", "diffusion model"),
            inputs=[
                io.Combo.Input(
                    "unet_name",
                    display_name="model",
                    options=choice("checkpoint"),
                    tooltip="The checkpoint, from models/checkpoints. A dev one is for guidance.",
                )
            ],
            outputs=[ModelSocket.Output(display_name="model", tooltip="To the stage samplers.")],
        )

    @classmethod
    def execute(cls, unet_name: str) -> io.NodeOutput:
        model = core.load_model(files.find("checkpoint", unet_name), check)
        return io.NodeOutput(model, ui=told(f"{model.source}: LTX-{model.generation}"))

    @classmethod
    def validate_inputs(cls, unet_name: Any = None) -> bool | str:
        return problem(unet_name=("checkpoint", unet_name))

    @classmethod
    def fingerprint_inputs(cls, unet_name: Any = None, **_: Any) -> Any:
        return state(unet_name=("checkpoint", unet_name))


class LTX2LoadTextEncoder(io.ComfyNode):
    """Gemma, and what the checkpoint adds to it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2LoadTextEncoder",
            display_name="LTX-2 Load Text Encoder",
            category="LTX-2/loaders",
            description="Gemma 3 and, from the model's checkpoint, its projection and connectors.",
            **also_called("clip loader", "gemma"),
            inputs=[
                ModelSocket.Input("model", tooltip="The model the text is for."),
                io.Combo.Input(
                    "clip_name",
                    display_name="text encoder",
                    options=choice("text_encoder"),
                    tooltip="Gemma 3 12B, from models/text_encoders: a file or a folder.",
                ),
                io.Combo.Input(
                    "text_parts",
                    options=choice("text_encoder_extras", AUTO),
                    default=AUTO,
                    optional=True,
                    tooltip="Text connectors and projection, where the model's file lacks them. "
                    "Auto looks in the text encoder's file, then takes the only one that fits.",
                    **ADVANCED,
                ),
            ],
            outputs=[
                TextEncoderSocket.Output(display_name="text_encoder", tooltip="To Encode Prompt.")
            ],
        )

    @classmethod
    def execute(cls, model: core.Model, clip_name: str, text_parts: str = AUTO) -> io.NodeOutput:
        path = files.find("text_encoder", clip_name)
        extras = text_files(text_parts, model.path, path)
        text = core.load_text(path, model, check, extras=extras)
        sources = ", ".join([text.facts.name, *(file.name for file in text.extras)])
        return io.NodeOutput(text, ui=told(f"text encoder: {sources}"))

    @classmethod
    def validate_inputs(cls, clip_name: Any = None, text_parts: Any = AUTO) -> bool | str:
        return problem(
            clip_name=("text_encoder", clip_name),
            text_parts=("text_encoder_extras", text_parts, AUTO),
        )

    @classmethod
    def fingerprint_inputs(cls, clip_name: Any = None, text_parts: Any = AUTO, **_: Any) -> Any:
        return state(
            clip_name=("text_encoder", clip_name),
            text_parts=("text_encoder_extras", text_parts, AUTO),
        )


class LTX2LoadVideoVAE(io.ComfyNode):
    """The video autoencoder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2LoadVideoVAE",
            display_name="LTX-2 Load Video VAE",
            category="LTX-2/loaders",
            description="Turns pictures into latents and back.",
            **also_called("vae loader"),
            inputs=[
                io.Combo.Input(
                    "video_vae",
                    options=choice("video_vae"),
                    tooltip="A checkpoint, or a video VAE from models/vae. Take the model's own.",
                )
            ],
            outputs=[VideoVAESocket.Output(display_name="video_vae", tooltip="To the decoder.")],
        )

    @classmethod
    def execute(cls, video_vae: str) -> io.NodeOutput:
        return io.NodeOutput(core.load_video_vae(files.find("video_vae", video_vae), check))

    @classmethod
    def validate_inputs(cls, video_vae: Any = None) -> bool | str:
        return problem(video_vae=("video_vae", video_vae))

    @classmethod
    def fingerprint_inputs(cls, video_vae: Any = None, **_: Any) -> Any:
        return state(video_vae=("video_vae", video_vae))


class LTX2LoadAudioVAE(io.ComfyNode):
    """The audio autoencoder and its vocoder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2LoadAudioVAE",
            display_name="LTX-2 Load Audio VAE",
            category="LTX-2/loaders",
            description="Turns sound into latents and back.",
            **also_called("vocoder loader", "audio vae loader"),
            inputs=[
                io.Combo.Input(
                    "audio_vae",
                    options=choice("audio_vae"),
                    tooltip="A checkpoint, or an audio VAE from models/vae. Take the model's own.",
                )
            ],
            outputs=[AudioVAESocket.Output(display_name="audio_vae", tooltip="To the decoder.")],
        )

    @classmethod
    def execute(cls, audio_vae: str) -> io.NodeOutput:
        return io.NodeOutput(core.load_audio_vae(files.find("audio_vae", audio_vae), check))

    @classmethod
    def validate_inputs(cls, audio_vae: Any = None) -> bool | str:
        return problem(audio_vae=("audio_vae", audio_vae))

    @classmethod
    def fingerprint_inputs(cls, audio_vae: Any = None, **_: Any) -> Any:
        return state(audio_vae=("audio_vae", audio_vae))


class LTX2LoadUpscaler(io.ComfyNode):
    """The network that makes latents larger."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2LoadUpscaler",
            display_name="LTX-2 Load Upscaler",
            category="LTX-2/loaders",
            description="Makes latents larger between two stages.",
            **also_called("latent upscale model loader", "spatial upscaler"),
            inputs=[
                io.Combo.Input(
                    "upscale_model",
                    options=choice("latent_upscaler"),
                    tooltip="From models/latent_upscale_models. The spatial x2 one is usual.",
                )
            ],
            outputs=[UpscalerSocket.Output(display_name="upscaler", tooltip="To Spatial Upscale.")],
        )

    @classmethod
    def execute(cls, upscale_model: str) -> io.NodeOutput:
        return io.NodeOutput(
            core.load_upscaler(files.find("latent_upscaler", upscale_model), check)
        )

    @classmethod
    def validate_inputs(cls, upscale_model: Any = None) -> bool | str:
        return problem(upscale_model=("latent_upscaler", upscale_model))

    @classmethod
    def fingerprint_inputs(cls, upscale_model: Any = None, **_: Any) -> Any:
        return state(upscale_model=("latent_upscaler", upscale_model))


class LTX2LoadLora(io.ComfyNode):
    """A LoRA on top of a model; the model itself is not changed."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2LoadLora",
            display_name="LTX-2 Load LoRA",
            category="LTX-2/loaders",
            description="Adds a LoRA to a model and says how much of it the model knows.",
            **also_called("lora loader", "lora stack"),
            inputs=[
                ModelSocket.Input("model", tooltip="The model, or another LoRA node."),
                io.Combo.Input(
                    "lora_name",
                    options=choice("lora", NONE),
                    default=NONE,
                    tooltip="From models/loras. None changes nothing.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=0.05,
                    tooltip="How strongly it counts; 0 is off. 1 is what it was trained at.",
                ),
            ],
            outputs=[
                ModelSocket.Output(display_name="model", tooltip="The model with the LoRA."),
                io.String.Output(display_name="report", tooltip="How many modules matched."),
            ],
        )

    @classmethod
    def execute(cls, model: core.Model, lora_name: str, strength: float) -> io.NodeOutput:
        if lora_name == NONE or strength == 0:
            return io.NodeOutput(model, "no LoRA", ui=told("no LoRA"))
        use = LoraUse(core.load_lora(files.find("lora", lora_name)).lora, strength)
        report, warnings = model.match(use.lora), model.warnings(use.lora)
        return io.NodeOutput(
            model.with_lora(use),
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
        return problem(lora_name=("lora", lora_name, NONE))

    @classmethod
    def fingerprint_inputs(cls, lora_name: Any = None, **_: Any) -> Any:
        return state(lora_name=("lora", None if lora_name == NONE else lora_name))


NODES = (
    LTX2LoadModel,
    LTX2LoadTextEncoder,
    LTX2LoadVideoVAE,
    LTX2LoadAudioVAE,
    LTX2LoadUpscaler,
    LTX2LoadLora,
)
