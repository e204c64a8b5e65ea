"""A finished clip that is decoded when somebody looks, and pictures and sound made into latents."""

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..audio_vae.lengths import conform
from ..audio_vae.sound import decode_mel, encode_waveform, mel_to_sound
from ..audio_vae.waveform import to_stereo
from ..checkpoint.compatible import check_latents
from ..checkpoint.facts import FileFacts
from ..checkpoint.part import Place
from ..errors import LTX2Error
from ..grid import AUDIO_LATENTS_PER_SECOND, LatentShape, audio_latent_frames, frames_down
from ..latents import AVLatent
from ..media.colour import to_core_range
from ..memory.tiles import plan_decode, plan_encode
from ..video_vae.cost import decode_bytes, encode_bytes
from ..video_vae.decode import decode_spans
from ..video_vae.encode import CHUNK_FRAMES, encode_spans
from .bundle import AudioVAE, VideoVAE


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Clip:
    """Latents and what decodes them. Handing it on costs nothing; decoding streams.

    `facts` says how the clip was made; it goes into the file's metadata. `seed` also feeds decoders
    that add noise. `memory_budget` in bytes caps what decoding may use; 0 is what is free.
    """

    latent: AVLatent
    video_vae: VideoVAE | None = None
    audio_vae: AudioVAE | None = None
    seed: int = 0
    memory_budget: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Return how many pictures it has."""
        video = self.latent.video
        return 0 if video is None else (video.shape[2] - 1) * 8 + 1

    @property
    def size(self) -> tuple[int, int]:
        """Return (width, height) in pixels."""
        video = self.latent.video
        return (0, 0) if video is None else (video.shape[4] * 32, video.shape[3] * 32)


def picture_of(latent: AVLatent, video_vae: VideoVAE) -> Clip:
    """Return a latent's picture, without its sound, as a clip; of a batch the first.

    Raises LTX2Error if there is none, or if the VAE is of another generation than the latent.
    """
    if latent.video is None:
        raise _no_picture()
    check_latents(latent.name, latent.generation or None, video_vae.facts)
    facts = dict(latent.facts)
    if (batch := latent.video.shape[0]) > 1:
        line = f"only the first of {batch} clips is decoded"
        facts["notices"] = [*facts.get("notices", ()), line]
    return Clip(
        latent=latent.with_audio(None).with_video(latent.video[:1]),
        video_vae=video_vae,
        seed=facts.get("seed", 0),
        facts=facts,
    )


def _no_picture() -> LTX2Error:
    return LTX2Error(
        "The clip has no picture.", needed="a latent with a picture, and a video VAE",
        where="the latent that is decoded",
    )  # fmt: skip


def picture_spans(
    clip: Clip,
    place: Place,
    *,
    free_bytes: int,
    on_frames: Callable[[int], None] | None = None,
) -> Generator[Tensor, None, None]:
    """Yield a clip's frames as spans [1, 3, f, H, W] in -1..1, float32 on the CPU.

    Memory does not grow with the length; large pictures are tiled to fit `free_bytes`. The decoder
    is let go when the iterator ends or is closed.
    """
    video = clip.latent.video
    if video is None or clip.video_vae is None:
        raise _no_picture()
    part = clip.video_vae.decoder
    shape = LatentShape(*video.shape[2:])
    budget = min(free_bytes, clip.memory_budget) if clip.memory_budget else free_bytes
    done = 0

    def needed(height: int, width: int, itemsize: int = 4) -> int:
        config = part.network.config
        return decode_bytes(config, height, width, itemsize=itemsize, frames=shape.frames)

    wished = min(needed(shape.height, shape.width), budget)
    with torch.no_grad(), place(part, activation_bytes=wished) as decoder:
        itemsize = decoder.dtype.itemsize
        tiles = plan_decode(shape, budget, lambda h, w: needed(h, w, itemsize))
        # The latent stays on the CPU, so that finished spans do not gather on the device.
        for span in decode_spans(decoder, video.float().cpu(), tiles=tiles, noise_seed=clip.seed):
            done += span.shape[2]
            yield span
            del span  # before the next one comes
            if on_frames is not None:
                on_frames(done)


def playable(waveform: Tensor) -> Tensor:
    """Return the first of a batch of sounds [B, channels, T] in stereo: [1, 2, T]."""
    return to_stereo(waveform[:1])


def decode_audio(
    latent: AVLatent, audio_vae: AudioVAE, place: Place, *, volume: float = 1.0
) -> tuple[Tensor, int]:
    """Return a latent's sound times `volume`: waveform [B, 2, T] on the CPU, and its rate."""
    if latent.audio is None:
        raise LTX2Error(
            "The latent has no sound.", needed="a latent made with audio switched on",
            where="the latent that is decoded",
        )  # fmt: skip
    check_latents(latent.name, latent.generation or None, audio_vae.facts)
    with torch.no_grad():
        with place(audio_vae.decoder) as decoder:
            mel = decode_mel(decoder, latent.audio).cpu()
        with place(audio_vae.vocoder) as vocoder:
            sound = mel_to_sound(vocoder, mel)
            return sound.waveform.cpu() * volume, sound.sample_rate


def encode_audio(
    latent: AVLatent, waveform: Tensor, sample_rate: int, audio_vae: AudioVAE, place: Place
) -> tuple[AVLatent, list[str]]:
    """Return `latent` with the sound of a waveform [B, channels, T], and what was adjusted.

    A clip hears the first sound of a batch of another size.
    """
    check_latents(latent.name, latent.generation or None, audio_vae.facts)
    lines: list[str] = []
    wanted = None
    if latent.video is not None:
        batch, frames = latent.video.shape[0], (latent.video.shape[2] - 1) * 8 + 1
        if waveform.shape[0] not in (1, batch):
            lines.append(f"only the first of {waveform.shape[0]} sounds is used")
        if waveform.shape[0] != batch:
            waveform = waveform[:1].expand(batch, -1, -1)
        wanted = audio_latent_frames(frames, latent.frame_rate)
        given, length = waveform.shape[-1] / sample_rate, float(frames / latent.frame_rate)
        if abs(given - length) > 1 / AUDIO_LATENTS_PER_SECOND:
            lines.append(f"sound {given:.2f} s -> {length:.2f} s")
        samples = math.ceil(wanted * sample_rate / AUDIO_LATENTS_PER_SECOND)
        # Silence is added before encoding: zeros in a latent are the mean sound, not silence.
        waveform = F.pad(waveform[..., :samples], (0, max(0, samples - waveform.shape[-1])))
    with torch.no_grad(), place(audio_vae.encoder) as encoder:
        sound = encode_waveform(encoder, waveform, sample_rate).float().cpu()
    return latent.with_audio(sound if wanted is None else conform(sound, wanted)), lines


def encode_frames(
    frames: Tensor, frame_rate: Fraction, video_vae: VideoVAE, place: Place, *, free_bytes: int
) -> tuple[AVLatent, list[str]]:
    """Return uint8 frames [F, H, W, 3] as a latent, and what was cut to make them fit.

    Sides are cropped around the centre to multiples of 32, the length to 8k + 1.
    """
    count, height, width = frames.shape[:3]
    rows, columns = height // 32 * 32, width // 32 * 32
    if not rows or not columns or not count:
        raise LTX2Error(
            f"The pictures are {count} of {width}x{height}.",
            needed="at least one of at least 32x32 pixels", where="the images input", code="size",
        )  # fmt: skip
    kept = frames_down(count)
    top, left = (height - rows) // 2, (width - columns) // 2
    cut = frames[:kept, top : top + rows, left : left + columns]
    lines = []
    if (rows, columns) != (height, width):
        lines.append(f"{width}x{height} -> {columns}x{rows}")
    if kept != count:
        lines.append(f"{count} -> {kept} frames")
    part = video_vae.encoder
    shape = LatentShape((kept - 1) // 8 + 1, rows // 32, columns // 32)

    def bytes_of(height: int, width: int) -> int:
        return encode_bytes(part.network.config, height, width, itemsize=4, frames=kept)

    tiles = plan_encode(shape, free_bytes, bytes_of)
    needed = bytes_of(tiles.largest.height, tiles.largest.width)
    # Span by span: a long film in floats would need many times its bytes.
    pixels = (
        to_core_range(span).transpose(0, 1).unsqueeze(0)  # [1, 3, f, H, W]
        for span in cut.split(CHUNK_FRAMES)
    )
    with torch.no_grad(), place(part, activation_bytes=needed) as encoder:
        latent = encode_spans(encoder, pixels, tiles=tiles).float().cpu()
    made = AVLatent(
        video=latent, audio=None, frame_rate=frame_rate, facts={"adjustments": lines},
        generation=_stated(video_vae.facts), source=video_vae.source,
        identity=video_vae.facts.identity,
    )  # fmt: skip
    return made, lines


def _stated(facts: FileFacts) -> str:
    """Return a file's generation where it is one, "" where it is a range or not known."""
    version = facts.version or ""
    return version if version.replace(".", "").isdigit() else ""
