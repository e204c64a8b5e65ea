"""Writes tiny models of random numbers in the official layouts, for the demo and for tests.

Names, metadata and dtypes are those of real files; blocks are few and widths narrow, a few MB in
all. What they make is noise, but it goes the whole way from a prompt to a clip with sound.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..ltx_core.audio_vae.config import (
    AudioVaeConfig,
    ExtendedConfig,
    FrontEndConfig,
    read_vocoder,
)
from ..ltx_core.audio_vae.decoder import AudioDecoder
from ..ltx_core.audio_vae.encoder import AudioEncoder
from ..ltx_core.audio_vae.generator import Generator
from ..ltx_core.audio_vae.mel import filter_bank, hann
from ..ltx_core.audio_vae.vocoder import ExtendedVocoder
from ..ltx_core.checkpoint.lora_keys import stream_of
from ..ltx_core.checkpoint.section import Section
from ..ltx_core.errors import LTX2Error
from ..ltx_core.text.config import ConnectorConfig
from ..ltx_core.text.connector import Connectors
from ..ltx_core.transformer.config import TransformerConfig
from ..ltx_core.transformer.model import Transformer
from ..ltx_core.upscaler.config import UpscalerConfig
from ..ltx_core.upscaler.model import Upscaler
from ..ltx_core.video_vae.config import DecoderConfig, EncoderConfig
from ..ltx_core.video_vae.decoder import VideoDecoder
from ..ltx_core.video_vae.encoder import VideoEncoder
from .tiny_numbers import Numbers, Shape, shapes_of
from .tiny_sizes import (
    AUDIO_DIM,
    CONNECTOR_BLOCKS,
    GEMMA_LAYERS,
    NUM_HEADS,
    REGISTERS,
    TEXT_DIM,
    VIDEO_DIM,
    checkpoint_config,
    upscaler_config,
)
from .tiny_text import write_gemma_file, write_gemma_folder

META = torch.device("meta")
TRANSFORMER = "model.diffusion_model."
#: generation -> role -> models sub-folder and published name.
NAMES = {
    "2.0": {
        "checkpoint": "checkpoints/ltx-2-19b-distilled.safetensors",
        "dev_checkpoint": "checkpoints/ltx-2-19b-dev.safetensors",
        "text_encoder": "text_encoders/gemma_3_12B_it.safetensors",
        "latent_upscaler": "latent_upscale_models/ltx-2-spatial-upscaler-x2-1.0.safetensors",
        "lora": "loras/ltx-2-19b-distilled-lora-384.safetensors",
        "ic_lora": "loras/ltx-2-19b-ic-lora-union-control-ref0.5.safetensors",
    },
    "2.3": {
        "checkpoint": "checkpoints/ltx-2.3-22b-distilled.safetensors",
        "dev_checkpoint": "checkpoints/ltx-2.3-22b-dev.safetensors",
        "text_encoder": "text_encoders/gemma_3_12B_it.safetensors",
        "latent_upscaler": "latent_upscale_models/ltx-2.3-spatial-upscaler-x2-1.1.safetensors",
        "lora": "loras/ltx-2.3-22b-distilled-lora-384.safetensors",
        "ic_lora": "loras/ltx-2.3-22b-ic-lora-union-control-ref0.5.safetensors",
    },
}
GEMMA_FOLDER = "text_encoders/gemma-3-12b-it-qat-q4_0-unquantized"
#: Largest rank of the tiny LoRAs; a layer's own is never above its smaller side.
RANK = 4
#: Children of a block that LoRAs of the video stream alone change.
VIDEO_ONLY = (".attn1.to_q", ".attn1.to_k", ".attn1.to_v", ".attn1.to_out.0",
              ".attn2.to_q", ".attn2.to_k", ".attn2.to_v", ".attn2.to_out.0",
              ".ff.net.0.proj", ".ff.net.2")  # fmt: skip


def write_tiny_models(
    folder: Path,
    generation: str = "2.3",
    seed: int = 0,
    *,
    dev: bool = False,
    gemma_folder: bool = False,
) -> dict[str, Path]:
    """Write a complete set of tiny models below a models folder; return role -> file.

    Roles: checkpoint, text_encoder, latent_upscaler, lora (distilled), ic_lora; with `dev` also
    dev_checkpoint, of other numbers; with `gemma_folder` also text_encoder_folder. Raises
    LTX2Error for a generation other than "2.0" and "2.3", or a folder that cannot be written.
    """
    if generation not in NAMES:
        raise LTX2Error(
            f"There are no tiny models of LTX-{generation}.", needed=f"one of {', '.join(NAMES)}",
            code="generation_unknown",
        )  # fmt: skip
    paths = {role: folder / name for role, name in NAMES[generation].items()}
    if not dev:
        del paths["dev_checkpoint"]
    try:
        for path in paths.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        for number, role in enumerate(("checkpoint", "dev_checkpoint")):
            if role in paths:
                _write_checkpoint(paths[role], generation, 10 * seed + number)
        write_gemma_file(paths["text_encoder"], 10 * seed + 2)
        _write_upscaler(paths["latent_upscaler"], generation, 10 * seed + 3)
        _write_lora(paths["lora"], generation, 10 * seed + 4, reference_factor=None)
        _write_lora(paths["ic_lora"], generation, 10 * seed + 5, reference_factor=2)
        if gemma_folder:
            paths["text_encoder_folder"] = folder / GEMMA_FOLDER
            write_gemma_folder(paths["text_encoder_folder"], 10 * seed + 2)
    except OSError as error:
        raise LTX2Error(
            f"The tiny models cannot be written ({error.strerror or error}).",
            needed="a folder that can be written to", where=str(folder), code="unwritable",
        ) from error  # fmt: skip
    return paths


def _write_checkpoint(path: Path, generation: str, seed: int) -> None:
    config = checkpoint_config(generation)
    shapes: dict[str, Shape] = {}
    for prefix, network in _networks(generation, config):
        for name, shape in shapes_of(network).items():
            # Encoder and decoder share the statistics, which stand one level up.
            shared = name.startswith("per_channel_statistics.")
            start = prefix.split(".", 1)[0] + "." if shared else prefix
            shapes[start + name] = shape
    shapes |= _projection(generation)
    tensors = Numbers(seed).tensors(shapes)
    if generation != "2.0":
        tensors |= _analysis(config["vocoder"]["bwe"])
    save_file(tensors, path, _metadata(generation, config))


def _metadata(generation: str, config: dict[str, Any]) -> dict[str, str]:
    """Return a file's metadata; files of 2.0 do not state their version."""
    stated = {} if generation == "2.0" else {"model_version": f"{generation}.0"}
    return {"config": json.dumps(config), **stated}


def _networks(generation: str, config: dict[str, Any]) -> list[tuple[str, nn.Module]]:
    """Return every network of a checkpoint, on the meta device, with the prefix of its names."""
    video, audio = Section("vae", config["vae"]), AudioVaeConfig.read(config["audio_vae"])
    vocoder = read_vocoder(config["vocoder"])
    decoder = DecoderConfig.read(video, timestep_conditioning=False)
    return [
        (TRANSFORMER, _transformer(config)),
        (TRANSFORMER, _connectors(generation)),
        ("vae.encoder.", VideoEncoder(EncoderConfig.read(video), device=META)),
        ("vae.decoder.", VideoDecoder(decoder, device=META)),
        ("audio_vae.encoder.", AudioEncoder(audio, device=META)),
        ("audio_vae.decoder.", AudioDecoder(audio, device=META)),
        (
            "vocoder.",
            ExtendedVocoder(vocoder, device=META)
            if isinstance(vocoder, ExtendedConfig)
            else Generator(vocoder.generator, sample_rate=vocoder.sampling_rate, device=META),
        ),
    ]


def _transformer(config: dict[str, Any]) -> Transformer:
    section = Section("transformer", config["transformer"])
    return Transformer(TransformerConfig.read(section), device=META)


def _connectors(generation: str) -> Connectors:
    newer = generation != "2.0"
    video, audio = (
        ConnectorConfig(
            num_layers=CONNECTOR_BLOCKS,
            num_heads=NUM_HEADS,
            dim=dim if newer else TEXT_DIM,
            num_registers=REGISTERS,
            gated=newer,
            ff_bias=True,
        )
        for dim in (VIDEO_DIM, AUDIO_DIM)
    )
    return Connectors(video, audio, device=META)


def _projection(generation: str) -> dict[str, Shape]:
    """Return the text projection: from all hidden states to the width of the features."""
    start, inputs = "text_embedding_projection.", TEXT_DIM * (GEMMA_LAYERS + 1)
    if generation == "2.0":
        return {f"{start}aggregate_embed.weight": (TEXT_DIM, inputs)}
    return {
        f"{start}{stream}_aggregate_embed.{kind}": (dim, inputs) if kind == "weight" else (dim,)
        for stream, dim in (("video", VIDEO_DIM), ("audio", AUDIO_DIM))
        for kind in ("weight", "bias")
    }


def _analysis(bwe: dict[str, Any]) -> dict[str, Tensor]:
    """Return what the second generator's ear is made of: a windowed Fourier transform and mels."""
    n_fft = bwe["n_fft"]
    fourier = torch.fft.rfft(torch.eye(n_fft), dim=1).T  # [n_fft/2 + 1, n_fft]
    rows = torch.cat((fourier.real, fourier.imag))  # [n_fft + 2, n_fft]
    mel = FrontEndConfig(
        sampling_rate=bwe["input_sampling_rate"], n_fft=n_fft, hop_length=bwe["hop_length"],
        mel_bins=bwe["num_mels"],
    )  # fmt: skip
    bases = {
        "stft_fn.forward_basis": rows[:, None] * hann(n_fft),
        "stft_fn.inverse_basis": torch.linalg.pinv(rows).T[:, None] * hann(n_fft),
        "mel_basis": filter_bank(mel).T,
    }
    return {
        f"vocoder.mel_stft.{name}": basis.bfloat16().contiguous() for name, basis in bases.items()
    }


def _write_upscaler(path: Path, generation: str, seed: int) -> None:
    config = upscaler_config(generation)
    network = Upscaler(UpscalerConfig.read(Section("config", config)), device=META)
    tensors = Numbers(seed).tensors(shapes_of(network))
    save_file(tensors, path, {"config": json.dumps(config)})


def _write_lora(path: Path, generation: str, seed: int, *, reference_factor: int | None) -> None:
    """Write a LoRA over every linear layer; an IC-LoRA over those of the video stream's blocks."""
    shapes: dict[str, Shape] = {}
    for name, shape in shapes_of(_transformer(checkpoint_config(generation))).items():
        module = name.removesuffix(".weight")
        chosen = reference_factor is None or (
            module.endswith(VIDEO_ONLY) and stream_of(module) == "video" and "audio" not in module
        )
        if name.endswith(".weight") and len(shape) == 2 and chosen:
            rank = min(RANK, *shape)
            shapes[f"diffusion_model.{module}.lora_A.weight"] = (rank, shape[1])
            shapes[f"diffusion_model.{module}.lora_B.weight"] = (shape[0], rank)
    metadata = {"model_version": f"{generation}.0"}
    if reference_factor is not None:
        metadata["reference_downscale_factor"] = str(reference_factor)
    tensors = Numbers(seed).tensors(shapes)
    # A change of a tenth of the weight, about what training makes of it.
    save_file(
        {key: 0.1 * t if ".lora_B." in key else t for key, t in tensors.items()}, path, metadata
    )
