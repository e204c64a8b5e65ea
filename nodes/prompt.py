"""What the clip is about."""

from dataclasses import replace
from typing import Any

from ..ltx_core.sampling import bundle as core
from ..ltx_core.sampling.context import PromptContext, encode_pair, load_pair, save_pair
from ..ltx_core.text.avs import AVSParts, avs_prompt
from ..ltx_core.text.negative import DEFAULT_NEGATIVE
from .choices import refusal
from .host import files
from .host.api import ADVANCED, also_called, io
from .host.memory import place
from .host.progress import Progress
from .report import told
from .sockets import ContextSocket, ModelsSocket, TextEncoderSocket

EMPTY = "The prompt is empty: the model will invent a clip of its own."
NOT_ENHANCED = "Prompt enhancement is not in this version: the prompt is used as typed."


def _prompt_inputs() -> list[Any]:
    return [
        io.String.Input(
            "prompt",
            multiline=True,
            default="",
            tooltip="One paragraph, present tense: shot, scene, who, what happens, camera, sound. "
            "Put speech in quotes.",
        )
    ]


def _negative_input(**more: Any) -> Any:
    return io.String.Input(
        "negative_prompt",
        multiline=True,
        default=DEFAULT_NEGATIVE,
        tooltip="What guided recipes steer away from; the fast recipe does not read it.",
        **more,
    )


def _encoded(text: core.Text, prompt: str, negative_prompt: str, *notes: str) -> io.NodeOutput:
    """Encode both texts, one phase of progress, and report."""
    progress = Progress.of_this_node()
    with progress.phase("text"):
        context = encode_pair(
            text.encoder,
            text.cache,
            prompt,
            negative_prompt,
            place,
            check=progress.check,
            on_progress=progress.part,
        )
    context = replace(context, seconds=progress.seconds["text"])
    lines = [*([] if prompt.strip() else [EMPTY]), *notes, *context.notices]
    return io.NodeOutput(context, ui=told(*lines, notices=lines))


class LTX2Prompt(io.ComfyNode):
    """A prompt, read by the bundle's text encoder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2Prompt",
            display_name="LTX-2 Prompt",
            category="LTX-2/prompt",
            description="What is seen and heard. A text that was read before is kept.",
            **also_called("text encode", "clip text encode", "positive", "negative"),
            inputs=[
                ModelsSocket.Input("models", tooltip="From LTX-2 Load."),
                *_prompt_inputs(),
                io.Boolean.Input(
                    "prompt_enhance",
                    default=False,
                    tooltip="Let Gemma rewrite the prompt. Not in this version; off is good.",
                ),
                _negative_input(**ADVANCED),
            ],
            outputs=[ContextSocket.Output(display_name="context", tooltip="To Generate.")],
        )

    @classmethod
    def execute(
        cls, models: core.Bundle, prompt: str, prompt_enhance: bool, negative_prompt: str
    ) -> io.NodeOutput:
        notes = [NOT_ENHANCED] if prompt_enhance else []
        return _encoded(models.text, prompt, negative_prompt, *notes)


class LTX2EncodePrompt(io.ComfyNode):
    """A prompt, read by a text encoder of its own wire."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2EncodePrompt",
            display_name="LTX-2 Encode Prompt",
            category="LTX-2/prompt",
            description="Positive and negative text as the transformer reads them.",
            **also_called("text encode", "clip text encode", "conditioning"),
            inputs=[
                TextEncoderSocket.Input("text_encoder", tooltip="From Load Text Encoder."),
                *_prompt_inputs(),
                _negative_input(),
            ],
            outputs=[
                ContextSocket.Output(display_name="context", tooltip="To the stage samplers.")
            ],
        )

    @classmethod
    def execute(cls, text_encoder: core.Text, prompt: str, negative_prompt: str) -> io.NodeOutput:
        return _encoded(text_encoder, prompt, negative_prompt)


class LTX2AVSPrompt(io.ComfyNode):
    """One paragraph from audio, visual and scene."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        def text(name: str, tooltip: str, **more: Any) -> Any:
            return io.String.Input(name, default="", multiline=True, tooltip=tooltip, **more)

        return io.Schema(
            node_id="LTX2AVSPrompt",
            display_name="LTX-2 A.V.S. Prompt",
            category="LTX-2/prompt",
            description="Puts a prompt together from audio, visual and scene.",
            **also_called("prompt builder", "dialogue", "ambience"),
            inputs=[
                text("dialogue", "Audio: what is said. Quotes are added if there are none."),
                text("ambience", "Audio: what is heard around it, such as rain on a roof."),
                text("subject", "Visual: who or what is seen."),
                text("action", "Visual: what it does, in the present tense."),
                text("camera", "Visual: how the camera moves, such as slow dolly in."),
                text("setting", "Scene: where and when."),
                text("lighting", "Scene: the light."),
                text("voice", "Audio: how it is said, such as a low whisper.", **ADVANCED),
                text("music", "Audio: the music, if any.", **ADVANCED),
                text("style", "Scene: the look, such as 35 mm film.", **ADVANCED),
            ],
            outputs=[io.String.Output(display_name="prompt", tooltip="To a prompt input.")],
        )

    @classmethod
    def execute(cls, **parts: str) -> io.NodeOutput:
        prompt = avs_prompt(AVSParts(**parts))
        return io.NodeOutput(prompt, ui=told(prompt))


class LTX2SaveContext(io.ComfyNode):
    """An encoded prompt as a file, for machines without the text encoder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2SaveContext",
            display_name="LTX-2 Save Prompt Context",
            category="LTX-2/prompt",
            description="Saves an encoded prompt, so that it can be used without the text encoder.",
            is_output_node=True,
            **also_called("save conditioning"),
            inputs=[
                ContextSocket.Input("context", tooltip="From a prompt node."),
                io.String.Input(
                    "filename_prefix",
                    default="context/LTX-2",
                    tooltip="Folder and name in the output folder; a number is added.",
                ),
            ],
            outputs=[ContextSocket.Output(display_name="context", tooltip="The same, handed on.")],
        )

    @classmethod
    def execute(cls, context: PromptContext, filename_prefix: str) -> io.NodeOutput:
        path, name, _ = files.output_path(filename_prefix, ".safetensors")
        save_pair(path, context)
        return io.NodeOutput(context, ui=told(f"saved {name}", path=str(path)))

    @classmethod
    def validate_inputs(cls, filename_prefix: Any = None) -> bool | str:
        return True if filename_prefix is None else refusal(files.check_output, filename_prefix)


class LTX2LoadContext(io.ComfyNode):
    """A saved prompt context."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2LoadContext",
            display_name="LTX-2 Load Prompt Context",
            category="LTX-2/prompt",
            description="Reads a prompt that was saved encoded, from the input folder.",
            **also_called("load conditioning"),
            inputs=[
                io.String.Input(
                    "context_file",
                    default="",
                    placeholder="context.safetensors",
                    tooltip="A file of Save Prompt Context, in ComfyUI's input folder.",
                )
            ],
            outputs=[
                ContextSocket.Output(display_name="context", tooltip="To Generate or a stage.")
            ],
        )

    @classmethod
    def execute(cls, context_file: str) -> io.NodeOutput:
        context = load_pair(files.input_file(context_file))
        return io.NodeOutput(context, ui=told(f"LTX-{context.generation}: {context.prompt}"))

    @classmethod
    def validate_inputs(cls, context_file: Any = None) -> bool | str:
        return True if context_file is None else refusal(files.input_file, context_file)

    @classmethod
    def fingerprint_inputs(cls, context_file: str | None = None) -> Any:
        return None if context_file is None else files.state_of(files.input_file(context_file))


NODES = (LTX2Prompt, LTX2EncodePrompt, LTX2AVSPrompt, LTX2SaveContext, LTX2LoadContext)
