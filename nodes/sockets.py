"""Our own socket types, and the way between IMAGE, AUDIO and the core's values."""

from collections.abc import Generator, Iterator
from typing import Any

import torch
from torch import Tensor

from ..ltx_core.errors import LTX2Error
from .host.api import io

#: Everything one generation needs, on one wire: `ltx_core.sampling.bundle.Bundle`.
ModelsSocket = io.Custom("LTX2_MODELS")
#: The transformer with its LoRAs: `bundle.Model`.
ModelSocket = io.Custom("LTX2_MODEL")
#: Gemma, feature extractor and connectors: `bundle.Text`.
TextEncoderSocket = io.Custom("LTX2_TEXT_ENCODER")
#: Encoder, decoder and statistics: `bundle.VideoVAE`.
VideoVAESocket = io.Custom("LTX2_VIDEO_VAE")
#: Encoder, decoder and vocoder, which share a file: `bundle.AudioVAE`.
AudioVAESocket = io.Custom("LTX2_AUDIO_VAE")
#: A spatial or temporal latent upscaler: `bundle.LatentUpscaler`.
UpscalerSocket = io.Custom("LTX2_UPSCALER")
#: Positive and negative text, encoded: `ltx_core.sampling.context.PromptContext`.
ContextSocket = io.Custom("LTX2_CONTEXT")
#: `ltx_core.grid.ClipSize`.
SizeSocket = io.Custom("LTX2_SIZE")
#: Pictures and references a stage is told to follow: `bundle.Guides`.
GuidesSocket = io.Custom("LTX2_GUIDES")
#: How strongly text and the other checks pull, per stream: `bundle.GuidancePair`.
GuidanceSocket = io.Custom("LTX2_GUIDANCE")
#: `ltx_core.latents.AVLatent`. A core LATENT holds two streams only as a nested tensor, which most
#: latent nodes cannot read, and no frame rate.
LatentSocket = io.Custom("LTX2_LATENT")
#: A finished clip that is decoded when somebody looks: `ltx_core.sampling.clip.Clip`.
ClipSocket = io.Custom("LTX2_CLIP")


def frames_from_image(image: Tensor) -> Tensor:
    """Turn IMAGE [F, H, W, 3 or 4] in 0..1 into uint8 frames [F, H, W, 3]; alpha is dropped."""
    return (_colours(image).detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8)


def image_from_spans(spans: Iterator[Tensor]) -> Tensor:
    """Gather decoded spans [1, 3, f, H, W] in -1..1 into one IMAGE [F, H, W, 3] in 0..1."""
    return torch.cat(
        [span[0].movedim(0, -1).float().cpu().add(1).div(2).clamp(0, 1) for span in spans]
    )


def audio_value(waveform: Tensor, sample_rate: int) -> dict[str, Any]:
    """Make an AUDIO of a waveform [B, channels, samples]."""
    return {"waveform": waveform.detach().float().cpu(), "sample_rate": sample_rate}


def sound_from_audio(audio: dict[str, Any]) -> tuple[Tensor, int]:
    """Read an AUDIO as (waveform [B, channels, samples] float32 on the CPU, sample rate)."""
    waveform, rate = audio["waveform"].detach().float().cpu(), int(audio["sample_rate"])
    if waveform.ndim != 3 or not waveform.numel() or rate < 1:
        raise LTX2Error(
            "The sound is empty.", needed="a sound of at least one sample", where="the audio input"
        )
    return waveform, rate


def _colours(image: Tensor) -> Tensor:
    """Return IMAGE [F, H, W, C] with three channels: grey is spread, alpha dropped."""
    if image.ndim != 4 or image.shape[-1] not in (1, 3, 4):
        raise LTX2Error(
            f"The pictures are {list(image.shape)}.",
            needed="frames, rows, columns and 1, 3 or 4 channels", where="the images input",
            code="size",
        )  # fmt: skip
    return image.expand(-1, -1, -1, 3) if image.shape[-1] == 1 else image[..., :3]


def spans_from_image(image: Tensor, at_once: int = 8) -> Generator[Tensor, None, None]:
    """Cut an IMAGE [F, H, W, 3 or 4] in 0..1 into spans [1, 3, f, H, W] in -1..1."""
    for frames in _colours(image).split(at_once):
        yield frames.float().cpu().movedim(-1, 0).unsqueeze(0) * 2 - 1
