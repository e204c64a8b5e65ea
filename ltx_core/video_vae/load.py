"""From a file to the video encoder or the convolutional decoder."""

from typing import Any

import torch
from torch import nn

from ..checkpoint.keys import KeyTable, Renamed
from ..checkpoint.part import Part
from ..checkpoint.section import Section
from ..checkpoint.weights import Weights
from ..errors import LTX2Error
from ..ops.attention import AttentionFn, sdpa
from ..ops.layers import Check, LayerFactory, never_cancelled
from .config import FLAT_CLASS, DecoderConfig, EncoderConfig
from .decoder import VideoDecoder
from .encoder import VideoEncoder
from .infer import inferred_config
from .keys import DECODER, ENCODER

META = torch.device("meta")
#: Parameters that only one kind of decoder has.
CONDITIONED = "last_time_embedder.timestep_embedder.linear_1.weight"
DIFFUSION = "conv_in_x_t.weight"
#: Where a config lists its blocks.
LISTED = {"encoder_blocks", "decoder_blocks", "encoder", "decoder"}


def video_encoder_part(
    weights: Weights,
    *,
    layers: LayerFactory = nn,
    attention: AttentionFn = sdpa,
    check: Check = never_cancelled,
) -> Part[VideoEncoder]:
    """Build the encoder a file holds, on the meta device.

    Raises LTX2Error `component_missing` (no encoder in it) or `config_unsupported`.
    """
    held = _held(weights, ENCODER, "encoder")
    network = VideoEncoder(
        read_encoder_config(weights), layers=layers, attention=attention, check=check,
        device=META, dtype=_dtype(held),
    )  # fmt: skip
    return Part(
        network, held, role="video_encoder", source=weights.name, generation=generation_of(weights)
    )


def video_decoder_part(
    weights: Weights,
    *,
    layers: LayerFactory = nn,
    attention: AttentionFn = sdpa,
    check: Check = never_cancelled,
) -> Part[VideoDecoder]:
    """Build the convolutional decoder a file holds, on the meta device.

    Raises LTX2Error `component_missing` (no convolutional decoder in it) or `config_unsupported`.
    """
    held = _held(weights, DECODER, "decoder")
    if decoder_kind(weights) != "conv":
        raise LTX2Error(
            f"{weights.name} holds a diffusion decoder, not a convolutional one.",
            needed="ltx-2.5-video-vae-conv-bf16.safetensors, or the diffusion decoder's loader",
            where="models/vae",
            code="component_missing",
        )
    network = VideoDecoder(
        read_decoder_config(weights), layers=layers, attention=attention, check=check,
        device=META, dtype=_dtype(held),
    )  # fmt: skip
    return Part(
        network, held, role="video_decoder", source=weights.name, generation=generation_of(weights)
    )


def decoder_kind(weights: Weights) -> str:
    """Return "conv" or "diffusion", from the config, or from the keys where there is none."""
    section = weights.section("vae")
    if section is None or not LISTED & section.keys():
        return (
            "diffusion" if any(key.endswith(f"decoder.{DIFFUSION}") for key in weights) else "conv"
        )
    return "conv" if section.get("_class_name", FLAT_CLASS) == FLAT_CLASS else "diffusion"


def read_encoder_config(weights: Weights) -> EncoderConfig:
    """Read the encoder's config of either layout, or infer it from shapes."""
    stated = _section(weights)
    nested = stated.get("encoder")
    if isinstance(nested, dict):
        section = Section("vae.encoder", {**_outer_padding(stated), **nested})
    else:
        section = Section("vae", stated)
    config = EncoderConfig.read(section)
    section.finish()
    return config


def read_decoder_config(weights: Weights) -> DecoderConfig:
    """Read the convolutional decoder's config, or infer it from shapes."""
    section = Section("vae", _section(weights))
    held = Renamed(weights, DECODER)
    config = DecoderConfig.read(section, timestep_conditioning=CONDITIONED in held)
    section.finish()
    return config


def generation_of(weights: Weights) -> str:
    """Return "2.0", "2.3" or "2.5": the stated version, or what the decoder's blocks show.

    The autoencoders of 2.3 and 2.5 have the same latents and, but for the diffusion decoder, the
    same shapes: without a version they are called 2.3.
    """
    version = str(weights.metadata.get("model_version", ""))
    for generation in ("2.5", "2.3", "2.0"):
        if version.startswith(generation):
            return generation
    if decoder_kind(weights) != "conv":
        return "2.5"
    entries = _section(weights).get("decoder_blocks") or []
    names = [entry[0] for entry in entries if isinstance(entry, (list, tuple)) and entry]
    return "2.3" if {"compress_space", "compress_time"} & set(names) else "2.0"


def _section(weights: Weights) -> dict[str, Any]:
    """Return what the file states; without lists of blocks, completed by what its tensors show."""
    stated = weights.section("vae") or {}
    if LISTED & stated.keys():
        return stated
    return {**inferred_config(weights), **stated}


def _outer_padding(stated: dict[str, Any]) -> dict[str, Any]:
    """Return the nested layout's fallback for the padding, which stands one level up."""
    key = "encoder_spatial_padding_mode"
    return {key: stated[key]} if key in stated else {}


def _held(weights: Weights, table: KeyTable, half: str) -> Renamed:
    held = Renamed(weights, table)
    if "conv_in.conv.weight" not in held and DIFFUSION not in held:
        raise LTX2Error(
            f"{weights.name} holds no video {half}.",
            needed="a checkpoint, or a video VAE file such as ltx-2.5-video-vae-conv-bf16",
            where="models/checkpoints or models/vae",
            code="component_missing",
        )
    return held


def _dtype(held: Renamed) -> torch.dtype:
    """Return what the file stores: declared so, a network tells its size before it is laid out."""
    return held["conv_in.conv.bias"].dtype
