"""Files that come out, and clips as core values."""

import json
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch import Tensor

from ..ltx_core.errors import LTX2Error
from ..ltx_core.grid import exact_rate
from ..ltx_core.media.writer import Written, write_clip
from ..ltx_core.sampling.clip import Clip, decode_audio, playable
from .choices import refusal
from .clips import decoded_images, is_linked, spans
from .host import files
from .host.api import ADVANCED, also_called, io, video_from_file
from .host.memory import place
from .host.progress import Progress
from .report import told
from .sockets import ClipSocket, audio_value, sound_from_audio, spans_from_image
from .watching import Writing

DEFAULT_RATE = 24.0
OFF = "off"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Source:
    """What is to be written, from whichever input it came."""

    pictures: Generator[Tensor, None, None]  # spans [1, 3, f, H, W] in -1..1
    frames: int
    size: tuple[int, int]
    frame_rate: Fraction
    sound: tuple[Tensor, int] | None
    facts: dict[str, Any]


class LTX2SaveVideo(io.ComfyNode):
    """A clip as a file with sound, shown on the node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2SaveVideo",
            display_name="LTX-2 Save Video",
            category="LTX-2/output",
            description="Writes picture and sound into one file with its workflow and seed. A clip "
            "is decoded while it is written, so its length costs no memory.",
            is_output_node=True,
            **also_called("save mp4", "export video", "video combine"),
            inputs=[
                ClipSocket.Input(
                    "clip",
                    optional=True,
                    tooltip="From Generate or Decode Video: needs little memory.",
                ),
                io.Image.Input("images", optional=True, tooltip="Or frames held in memory."),
                io.Audio.Input(
                    "audio", optional=True, tooltip="Sound for the frames; replaces a clip's own."
                ),
                io.Video.Input("video", optional=True, tooltip="Or a video of core."),
                io.Float.Input(
                    "frame_rate",
                    optional=True,
                    force_input=True,
                    tooltip="Frames per second of images; 24 if nothing is wired.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="video/LTX-2",
                    tooltip="Folder and name in the output folder; a number is added. "
                    "%date:yyyy-MM-dd%, %width%, %height% and %seed% are filled in.",
                ),
                io.Combo.Input(
                    "format",
                    options=["mp4", "webm", "mov"],
                    default="mp4",
                    tooltip="mp4 plays everywhere; webm is VP9 with Opus; mov is for editing.",
                    **ADVANCED,
                ),
                io.Int.Input(
                    "quality",
                    default=95,
                    min=20,
                    max=99,
                    tooltip="20 small to 99 nearly lossless. 95 shows no difference.",
                    **ADVANCED,
                ),
                io.Combo.Input(
                    "loudness",
                    options=[OFF],
                    default=OFF,
                    tooltip="The sound is written as it was made.",
                    **ADVANCED,
                ),
            ],
            outputs=[io.Video.Output(display_name="VIDEO", tooltip="The file, for core nodes.")],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        filename_prefix: str,
        format: str = "mp4",
        quality: int = 95,
        loudness: str = OFF,
        clip: Clip | None = None,
        images: Tensor | None = None,
        audio: dict[str, Any] | None = None,
        video: Any = None,
        frame_rate: float = DEFAULT_RATE,
    ) -> io.NodeOutput:
        del loudness  # one choice so far
        progress = Progress.of_this_node()
        source = _source(clip, images, audio, video, frame_rate, progress)
        seed = source.facts.get("seed")
        prefix = filename_prefix.replace("%seed%", "" if seed is None else str(seed))
        path, name, subfolder = files.output_path(
            prefix, f".{format}", width=source.size[0], height=source.size[1]
        )
        with closing(source.pictures) as pictures, Writing(progress, source.frames) as writing:
            written = write_clip(
                path,
                writing.watched(pictures),
                source.frame_rate,
                sound=source.sound,
                format=format,
                quality=quality,
                metadata=lambda: _metadata(cls.hidden, source.facts, writing.seconds()),
                check=progress.check,
                on_frames=progress.part,
            )
        facts = _facts(written, source.facts, writing.seconds())
        shown = {"images": [{"filename": name, "subfolder": subfolder, "type": "output"}]}
        return io.NodeOutput(
            video_from_file(path),
            ui=shown | {"animated": (True,)} | told(_line(written, name), **facts),
        )

    @classmethod
    def validate_inputs(cls, filename_prefix: Any = None) -> bool | str:
        return True if filename_prefix is None else refusal(files.check_output, filename_prefix)


class LTX2DecodeClip(io.ComfyNode):
    """A clip's pictures and sound as core values."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2DecodeClip",
            display_name="LTX-2 Decode Clip",
            category="LTX-2/output",
            description="A clip's frames and sound for other nodes. Only what is wired is decoded.",
            **also_called("get components", "clip to images"),
            inputs=[ClipSocket.Input("clip", tooltip="From Generate.")],
            outputs=[
                ClipSocket.Output(display_name="clip", tooltip="The same, handed on."),
                io.Image.Output(display_name="images", tooltip="All frames, held in memory."),
                io.Audio.Output(display_name="audio", tooltip="The sound."),
                io.Float.Output(display_name="frame_rate", tooltip="Frames per second."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def execute(cls, clip: Clip) -> io.NodeOutput:
        images = audio = None
        progress = Progress.of_this_node()
        if is_linked(cls.hidden, 1):
            images = decoded_images(clip, progress)
        if is_linked(cls.hidden, 2):
            with progress.phase("sound decode"):
                audio = audio_value(*_sound_of(clip))
        return io.NodeOutput(clip, images, audio, float(clip.latent.frame_rate))


def _sound_of(clip: Clip) -> tuple[Tensor, int]:
    if clip.audio_vae is None:
        raise LTX2Error(
            "The clip has no sound.", needed="a clip of Generate with audio on",
            where="the clip input",
        )  # fmt: skip
    return decode_audio(clip.latent, clip.audio_vae, place)


def _playable(audio: dict[str, Any]) -> tuple[Tensor, int]:
    waveform, rate = sound_from_audio(audio)
    return playable(waveform), rate


def _source(
    clip: Clip | None,
    images: Tensor | None,
    audio: dict[str, Any] | None,
    video: Any,
    frame_rate: float,
    progress: Progress,
) -> Source:
    """Find what is wired: a clip, else images, else a video; a wired sound replaces theirs."""
    sound = None if audio is None else _playable(audio)
    if clip is not None:
        if sound is None and clip.latent.audio is not None and clip.audio_vae is not None:
            with progress.phase("sound decode"):
                sound = _sound_of(clip)
        return Source(
            pictures=spans(clip),
            frames=clip.frames,
            size=clip.size,
            frame_rate=clip.latent.frame_rate,
            sound=sound,
            facts=dict(clip.facts),
        )
    rate = exact_rate(frame_rate)
    if images is None and video is not None:
        parts = video.get_components()
        images, rate = parts.images, Fraction(parts.frame_rate)
        if sound is None and parts.audio is not None:
            sound = _playable(parts.audio)
    if images is None:
        raise LTX2Error(
            "There is nothing to save.", needed="a clip, images or a video",
            where="an input of LTX-2 Save Video",
        )  # fmt: skip
    count, height, width = images.shape[:3]
    return Source(
        pictures=spans_from_image(images),
        frames=count,
        size=(width, height),
        frame_rate=rate,
        sound=sound,
        facts={},
    )


def _metadata(hidden: Any, facts: dict[str, Any], seconds: dict[str, float]) -> dict[str, str]:
    """Return what the file says of its making: the graph, the prompt, the seed, the seconds."""
    if not files.metadata_enabled():
        return {}
    found = {name: json.dumps(value) for name, value in (hidden.extra_pnginfo or {}).items()}
    if hidden.prompt is not None:
        found["prompt"] = json.dumps(_as_sent(hidden.prompt))
    if "seed" in facts:
        found["seed"] = str(facts["seed"])
    found["ltx2"] = json.dumps(facts | {"seconds": _rounded(facts.get("seconds", {}) | seconds)})
    return found


def _as_sent(prompt: Mapping[str, Any]) -> dict[str, Any]:
    """Return a prompt without what ComfyUI has put into its nodes while it ran."""
    return {
        key: {name: value for name, value in node.items() if name != "is_changed"}
        for key, node in prompt.items()
    }


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {phase: round(value, 2) for phase, value in seconds.items()}


def _facts(written: Written, facts: dict[str, Any], seconds: dict[str, float]) -> dict[str, Any]:
    return facts | {
        "path": str(written.path),
        "width": written.width,
        "height": written.height,
        "frames": written.frames,
        "fps": f"{written.frame_rate.numerator}/{written.frame_rate.denominator}",
        "sample_rate": written.sample_rate,
        "samples": written.samples,
        "seconds": _rounded(facts.get("seconds", {}) | seconds),
    }


def _line(written: Written, name: str) -> str:
    sound = "no sound" if written.sample_rate is None else f"sound at {written.sample_rate} Hz"
    rate = f"{float(written.frame_rate):.6g} fps"
    return f"{name}: {written.width}x{written.height}, {written.seconds:.2f} s, {rate}, {sound}"


NODES = (LTX2SaveVideo, LTX2DecodeClip)
