"""Pictures between latents and frames, and the way to and from core latents."""

from typing import Any

from ..ltx_core.grid import exact_rate
from ..ltx_core.latents import AVLatent
from ..ltx_core.sampling import bundle as core
from ..ltx_core.sampling.clip import encode_frames, picture_of
from .clips import decoded_images, is_linked
from .host.api import also_called, io
from .host.memory import free_bytes, place
from .host.progress import Progress
from .report import told
from .sockets import ClipSocket, LatentSocket, VideoVAESocket, frames_from_image


class LTX2DecodeVideo(io.ComfyNode):
    """The picture of a latent."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2DecodeVideo",
            display_name="LTX-2 Decode Video",
            category="LTX-2/latent",
            description="Turns a latent into pictures: as a clip that is decoded while it is "
            "saved, or, where something is wired to images, all at once.",
            **also_called("vae decode", "vae decode tiled"),
            inputs=[
                LatentSocket.Input("latent", tooltip="A latent with a picture."),
                VideoVAESocket.Input("video_vae", tooltip="From Load Video VAE."),
            ],
            outputs=[
                ClipSocket.Output(
                    display_name="clip", tooltip="To Save Video: needs little memory."
                ),
                io.Image.Output(display_name="images", tooltip="All frames, held in memory."),
                io.Float.Output(display_name="frame_rate", tooltip="Frames per second."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def execute(cls, latent: AVLatent, video_vae: core.VideoVAE) -> io.NodeOutput:
        clip = picture_of(latent, video_vae)
        images = None
        if is_linked(cls.hidden, 1):
            images = decoded_images(clip, Progress.of_this_node())
        lines = clip.facts.get("notices", [])
        return io.NodeOutput(clip, images, float(latent.frame_rate), ui=told(*lines, notices=lines))


class LTX2EncodeVideo(io.ComfyNode):
    """Pictures as a latent."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2EncodeVideo",
            display_name="LTX-2 Encode Video",
            category="LTX-2/latent",
            description="Turns pictures into a latent. Sizes move to the nearest possible.",
            **also_called("vae encode"),
            inputs=[
                io.Image.Input("images", tooltip="The frames."),
                VideoVAESocket.Input("video_vae", tooltip="From Load Video VAE."),
                io.Float.Input(
                    "frame_rate",
                    default=24.0,
                    min=1.0,
                    max=240.0,
                    step=0.001,
                    tooltip="Frames per second of the images.",
                ),
            ],
            outputs=[LatentSocket.Output(display_name="latent", tooltip="Picture without sound.")],
        )

    @classmethod
    def execute(cls, images: Any, video_vae: core.VideoVAE, frame_rate: float) -> io.NodeOutput:
        with Progress.of_this_node().phase("picture encode"):
            latent, lines = encode_frames(
                frames_from_image(images),
                exact_rate(frame_rate),
                video_vae,
                place,
                free_bytes=free_bytes(),
            )
        return io.NodeOutput(latent, ui=told(*lines, adjustments=lines))


class LTX2ToLatent(io.ComfyNode):
    """Our latent as two core latents."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2ToLatent",
            display_name="LTX-2 To Core Latent",
            category="LTX-2/latent",
            description="Splits a latent into core latents of picture and sound.",
            **also_called("separate av latent", "convert latent"),
            inputs=[LatentSocket.Input("latent", tooltip="Picture and sound.")],
            outputs=[
                io.Latent.Output(display_name="video", tooltip="[B, 128, F, h, w], or empty."),
                io.Latent.Output(display_name="audio", tooltip="[B, 8, L, 16], or empty."),
                io.Float.Output(display_name="frame_rate", tooltip="Frames per second."),
            ],
        )

    @classmethod
    def execute(cls, latent: AVLatent) -> io.NodeOutput:
        video = None if latent.video is None else {"samples": latent.video}
        audio = None if latent.audio is None else {"samples": latent.audio}
        return io.NodeOutput(video, audio, float(latent.frame_rate))


class LTX2FromLatent(io.ComfyNode):
    """Core latents as ours."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2FromLatent",
            display_name="LTX-2 From Core Latent",
            category="LTX-2/latent",
            description="Joins core latents of picture and sound into one of ours.",
            **also_called("concat av latent", "convert latent"),
            inputs=[
                io.Latent.Input(
                    "video",
                    optional=True,
                    tooltip="Picture; or both, as core's audio-video latent.",
                ),
                io.Latent.Input("audio", optional=True, tooltip="Sound."),
                io.Float.Input(
                    "frame_rate",
                    default=24.0,
                    min=1.0,
                    max=240.0,
                    step=0.001,
                    tooltip="Frames per second.",
                ),
            ],
            outputs=[LatentSocket.Output(display_name="latent", tooltip="Picture and sound.")],
        )

    @classmethod
    def execute(
        cls,
        frame_rate: float,
        video: dict[str, Any] | None = None,
        audio: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        picture = None if video is None else video["samples"]
        sound = None if audio is None else audio["samples"]
        if picture is not None and getattr(picture, "is_nested", False):  # core's audio-video
            picture, sound = (*picture.unbind(), sound)[:2]
        return io.NodeOutput(core.joined_latent(picture, sound, exact_rate(frame_rate)))


NODES = (LTX2DecodeVideo, LTX2EncodeVideo, LTX2ToLatent, LTX2FromLatent)
