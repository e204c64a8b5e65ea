"""From a file to the transformer: which variant it holds, of which generation."""

from collections.abc import Mapping
from typing import Literal

import torch

from ..checkpoint.keys import Named
from ..checkpoint.part import Part
from ..checkpoint.section import Section
from ..checkpoint.weights import Weights
from ..errors import LTX2Error
from ..ops.attention import AttentionFn, sdpa
from ..ops.layers import Check, LayerFactory, never_cancelled
from ..ops.native import native
from .config import OFFICIAL, TransformerConfig
from .held import Hold, held_weights
from .keys import belongs, parameter_names, structure
from .model import Transformer

Streams = Literal["av", "video", "audio"]


def transformer_part(
    weights: Weights,
    *,
    streams: Streams = "av",
    layers: LayerFactory = native,
    attention: AttentionFn = sdpa,
    check: Check = never_cancelled,
    hold: Hold = Hold.AS_IN_FILE,
) -> Part[Transformer]:
    """Build the transformer a file holds, on the meta device.

    `streams` = "video" or "audio" takes only that stream of an audio-video file; "av" takes what
    there is. Weights rest quantised, as the file has them or as `hold` wants the plain ones, if
    `layers` can hold them so (`ops.quantized`); otherwise they are dequantised when laid out.
    Raises LTX2Error `wrong_role` (no transformer, or not that stream) or `config_unsupported`.
    """
    keys = {name: key for key, name in parameter_names(weights).items()}
    video = "patchify_proj.weight" in keys and streams != "audio"
    audio = "audio_patchify_proj.weight" in keys and streams != "video"
    if not video and not audio:
        raise LTX2Error(
            f"{weights.name} holds no LTX-2 transformer" + _with(streams) + ".",
            needed="a file such as ltx-2.3-22b-dev.safetensors",
            where="models/checkpoints or models/diffusion_models",
            code="wrong_role",
        )
    generation = generation_of(weights, keys)
    keys = {name: key for name, key in keys.items() if belongs(name, video=video, audio=audio)}
    config = read_config(weights, keys, video=video, audio=audio)
    network = Transformer(
        config, layers=layers, attention=attention, check=check, device=torch.device("meta")
    )
    return Part(
        network,
        Named(weights, keys),
        role="transformer",
        source=weights.name,
        generation=generation,
        hold=held_weights(keys, config.num_layers, hold),
    )


def read_config(
    weights: Weights, keys: Mapping[str, str], *, video: bool, audio: bool
) -> TransformerConfig:
    """Read the config of the header, or the official one; what tensors show goes before both.

    `keys` is parameter name -> key of the file.
    """
    stated = weights.section("transformer") or OFFICIAL
    heads = Section("transformer", stated).take("num_attention_heads", 32)
    shown = structure(lambda name: weights.shape(keys[name]), keys, heads)
    section = Section("transformer", {**stated, **shown})
    config = TransformerConfig.read(section, video=video, audio=audio)
    # Of the text stage, which reads the same section.
    section.skip(*(key for key in stated if "connector" in key or key.startswith("caption_")))
    section.finish()
    return config


def generation_of(weights: Weights, names: Mapping[str, str]) -> str:
    """Return "2.0", "2.3" or "2.5": as the file says, else by its structure."""
    said = _numbers(str(weights.metadata.get("model_version", "")))
    if said:
        return "2.0" if said < (2, 3) else "2.3" if said < (2, 4) else "2.5"
    gated = any(name.endswith("attn1.to_gate_logits.bias") for name in names)
    video_bias = "transformer_blocks.0.ff.net.2.bias" in names
    video = "patchify_proj.weight" in names
    if "keyframes_abs_pos_embedding" in names or (gated and video and not video_bias):
        return "2.5"
    return "2.3" if gated else "2.0"


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading whole numbers of a version such as 2.3.0-dev."""
    numbers: list[int] = []
    for part in version.replace("-", ".").split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _with(streams: Streams) -> str:
    return "" if streams == "av" else f" with a stream for {streams}"
