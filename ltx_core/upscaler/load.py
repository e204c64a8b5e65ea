"""From a file to a latent upscaler."""

import torch
from torch import nn

from ..checkpoint.keys import Renamed
from ..checkpoint.part import Part
from ..checkpoint.section import Section
from ..checkpoint.weights import Weights
from ..errors import LTX2Error
from ..ops.attention import AttentionFn, sdpa
from ..ops.layers import Check, LayerFactory, never_cancelled
from .config import UpscalerConfig, inferred_config
from .keys import UPSCALER
from .model import Upscaler


def upscaler_part(
    weights: Weights,
    *,
    layers: LayerFactory = nn,
    attention: AttentionFn = sdpa,
    check: Check = never_cancelled,
) -> Part[Upscaler]:
    """Build the upscaler a file holds, on the meta device.

    `attention` is taken as by all loaders; an upscaler has none. The part's generation is "" where
    the file states no version: upscalers of different generations can look alike.

    Raises LTX2Error `wrong_role` (no upscaler) or `config_unsupported`.
    """
    del attention
    if "initial_conv.weight" not in weights or "final_conv.weight" not in weights:
        raise LTX2Error(
            f"{weights.name} is not a latent upscaler.",
            needed="a file such as ltx-2.3-spatial-upscaler-x2-1.1.safetensors",
            where="models/latent_upscale_models",
            code="wrong_role",
        )
    stated = weights.metadata.get("config")
    if not isinstance(stated, dict) or "mid_channels" not in stated:
        stated = inferred_config(weights)
    section = Section("config", stated)
    config = UpscalerConfig.read(section)
    section.finish()
    held = Renamed(weights, UPSCALER)
    network = Upscaler(
        config, layers=layers, check=check,
        device=torch.device("meta"), dtype=held["initial_conv.bias"].dtype,
    )  # fmt: skip
    version = str(weights.metadata.get("model_version", ""))
    generation = next((g for g in ("2.5", "2.3", "2.0") if version.startswith(g)), "")
    return Part(network, held, role="upscaler", source=weights.name, generation=generation)
