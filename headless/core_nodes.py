"""The few ComfyUI core nodes that our workflows use, under their own ids and input names."""

import json
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError
from torch import Tensor

from ..ltx_core.errors import LTX2Error
from ..ltx_core.grid import exact_rate
from ..ltx_core.media.reader import read_sound
from ..ltx_core.media.writer import write_clip
from ..nodes.host import files
from ..nodes.host.api import io, ui, video_from_components, video_from_file
from ..nodes.host.progress import check


def _file_problem(name: str | None) -> bool | str:
    """Say for a validator whether a file of the input folder is there; None is not known yet."""
    try:
        if name is not None:
            files.input_file(name)
    except LTX2Error as error:
        return str(error)
    return True


def _stamp(name: str | None) -> tuple[str, int, int] | None:
    """Return what changes when a file does."""
    if name is None or _file_problem(name) is not True:
        return None
    path = files.input_file(name)
    return str(path), path.stat().st_size, path.stat().st_mtime_ns


class LoadImage(io.ComfyNode):
    """A picture as IMAGE [F, H, W, 3] and its transparency as MASK (1 is transparent)."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadImage",
            display_name="Load Image",
            category="image",
            inputs=[
                io.Combo.Input(
                    "image", options=files.input_choices("image"), upload=io.UploadType.image
                )
            ],
            outputs=[io.Image.Output(), io.Mask.Output()],
        )

    @classmethod
    def validate_inputs(cls, image: str | None) -> bool | str:
        return _file_problem(image)

    @classmethod
    def fingerprint_inputs(cls, image: str | None) -> Any:
        return _stamp(image)

    @classmethod
    def execute(cls, image: str) -> io.NodeOutput:
        path = files.input_file(image)
        try:
            with Image.open(path) as picture:
                pages = [_pixels(ImageOps.exif_transpose(page)) for page in _pages(picture)]
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            raise LTX2Error(
                f"{path.name} is no picture that can be read.",
                needed="a PNG, JPEG or WEBP file",
                where=str(path),
                code="no_picture",
            ) from error
        pages = [page for page in pages if page[0].shape == pages[0][0].shape]
        images, masks = zip(*pages, strict=True)
        return io.NodeOutput(torch.stack(images), torch.stack(masks))


def _pages(picture: Image.Image) -> Iterator[Image.Image]:
    for page in ImageSequence.Iterator(picture):
        yield page.copy()


def _pixels(page: Image.Image) -> tuple[Tensor, Tensor]:
    """Return [H, W, 3] in 0..1, and the mask [H, W] (64 x 64 zeros where nothing is clear)."""
    if page.mode.startswith("I"):  # sixteen bits
        page = Image.fromarray((np.asarray(page).astype(np.float32) / 257).astype(np.uint8))
    colours = np.asarray(page.convert("RGB")).astype(np.float32) / 255
    if "A" not in page.getbands() and "transparency" not in page.info:
        return torch.from_numpy(colours), torch.zeros(64, 64)
    alpha = np.asarray(page.convert("RGBA").getchannel("A")).astype(np.float32) / 255
    return torch.from_numpy(colours), 1 - torch.from_numpy(alpha)


class LoadVideo(io.ComfyNode):
    """A clip as VIDEO."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadVideo",
            display_name="Load Video",
            category="video",
            inputs=[
                io.Combo.Input(
                    "file", options=files.input_choices("video"), upload=io.UploadType.video
                )
            ],
            outputs=[io.Video.Output()],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        return _file_problem(file)

    @classmethod
    def fingerprint_inputs(cls, file: str | None) -> Any:
        return _stamp(file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(video_from_file(files.input_file(file)))


class LoadAudio(io.ComfyNode):
    """A sound as AUDIO."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadAudio",
            display_name="Load Audio",
            category="audio",
            inputs=[
                io.Combo.Input(
                    "audio",
                    options=files.input_choices("audio", "video"),
                    upload=io.UploadType.audio,
                )
            ],
            outputs=[io.Audio.Output()],
        )

    @classmethod
    def validate_inputs(cls, audio: str | None) -> bool | str:
        return _file_problem(audio)

    @classmethod
    def fingerprint_inputs(cls, audio: str | None) -> Any:
        return _stamp(audio)

    @classmethod
    def execute(cls, audio: str) -> io.NodeOutput:
        waveform, sample_rate = read_sound(files.input_file(audio), check=check)
        return io.NodeOutput({"waveform": waveform[None], "sample_rate": sample_rate})


class CreateVideo(io.ComfyNode):
    """Frames and sound as VIDEO."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CreateVideo",
            display_name="Create Video",
            category="video",
            inputs=[
                io.Image.Input("images"),
                io.Float.Input("fps", default=30.0, min=1.0, max=120.0, step=1.0),
                io.Audio.Input("audio", optional=True),
            ],
            outputs=[io.Video.Output()],
        )

    @classmethod
    def execute(
        cls, images: Tensor, fps: float, audio: dict[str, Any] | None = None
    ) -> io.NodeOutput:
        return io.NodeOutput(video_from_components(images, exact_rate(fps), audio))


class GetVideoComponents(io.ComfyNode):
    """VIDEO as frames, sound and frame rate."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GetVideoComponents",
            display_name="Get Video Components",
            category="video",
            inputs=[io.Video.Input("video")],
            outputs=[
                io.Image.Output(display_name="images"),
                io.Audio.Output(display_name="audio"),
                io.Float.Output(display_name="fps"),
            ],
        )

    @classmethod
    def execute(cls, video: Any) -> io.NodeOutput:
        parts = video.get_components()
        return io.NodeOutput(parts.images, parts.audio, float(parts.frame_rate))


class SaveVideo(io.ComfyNode):
    """VIDEO into an MP4 in the output folder; the workflow goes with it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SaveVideo",
            display_name="Save Video",
            category="video",
            is_output_node=True,
            inputs=[
                io.Video.Input("video"),
                io.String.Input("filename_prefix", default="video/ComfyUI"),
                io.Combo.Input("format", options=["auto", "mp4"], default="auto"),
                io.Combo.Input("codec", options=["auto", "h264"], default="auto"),
            ],
            outputs=[],
        )

    @classmethod
    def execute(cls, video: Any, filename_prefix: str, format: str, codec: str) -> io.NodeOutput:
        del format, codec  # both mean H.264 in MP4 here
        parts = video.get_components()
        height, width = parts.images.shape[1:3]
        path, name, subfolder = files.output_path(
            filename_prefix, ".mp4", width=width, height=height
        )
        sound = None
        if parts.audio is not None:
            sound = parts.audio["waveform"], int(parts.audio["sample_rate"])
        write_clip(
            path,
            _spans(parts.images),
            Fraction(parts.frame_rate),
            sound=sound,
            metadata=_metadata(cls.hidden),
            check=check,
        )
        saved = ui.SavedResult(name, subfolder, io.FolderType.output)
        return io.NodeOutput(ui=ui.PreviewVideo([saved]))


def _spans(images: Tensor) -> Iterator[Tensor]:
    """Yield IMAGE [F, H, W, 3] in 0..1 frame by frame as [1, 3, 1, H, W] in -1..1."""
    for image in images:
        yield (image.float() * 2 - 1).movedim(-1, 0)[None, :, None]


def _metadata(hidden: Any) -> dict[str, str]:
    if not files.metadata_enabled():
        return {}
    tags = {"prompt": hidden.prompt, **(hidden.extra_pnginfo or {})}
    return {name: json.dumps(value) for name, value in tags.items() if value is not None}


class PreviewAny(io.ComfyNode):
    """Any value as text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PreviewAny",
            display_name="Preview as Text",
            category="utils",
            is_output_node=True,
            inputs=[io.AnyType.Input("source")],
            outputs=[],
        )

    @classmethod
    def execute(cls, source: Any) -> io.NodeOutput:
        return io.NodeOutput(ui=ui.PreviewText(str(source)))


def _primitive(name: str, title: str, entry: Any, output: Any) -> type[io.ComfyNode]:
    """Return a node that only holds one value."""

    class Primitive(io.ComfyNode):
        """One value."""

        @classmethod
        def define_schema(cls) -> io.Schema:
            return io.Schema(
                node_id=name,
                display_name=title,
                category="utils/primitive",
                inputs=[entry],
                outputs=[output.Output()],
            )

        @classmethod
        def execute(cls, value: Any) -> io.NodeOutput:
            return io.NodeOutput(value)

    return Primitive


NODES = (
    LoadImage,
    LoadVideo,
    LoadAudio,
    CreateVideo,
    GetVideoComponents,
    SaveVideo,
    PreviewAny,
    _primitive("PrimitiveInt", "Int", io.Int.Input("value", control_after_generate=True), io.Int),
    _primitive("PrimitiveFloat", "Float", io.Float.Input("value"), io.Float),
    _primitive("PrimitiveString", "String", io.String.Input("value"), io.String),
    _primitive(
        "PrimitiveStringMultiline",
        "String (Multiline)",
        io.String.Input("value", multiline=True),
        io.String,
    ),
    _primitive("PrimitiveBoolean", "Boolean", io.Boolean.Input("value"), io.Boolean),
)
