"""What the sampling fixtures share: their tiny models, and their words in ours."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from golden import Golden
from ltx2_pack.ltx_core.checkpoint.header import parse_metadata
from ltx2_pack.ltx_core.checkpoint.part import Part
from ltx2_pack.ltx_core.checkpoint.weights import Weights, weights_of
from ltx2_pack.ltx_core.sampling.guidance import Guidance
from ltx2_pack.ltx_core.transformer.load import transformer_part
from ltx2_pack.ltx_core.transformer.model import Transformer
from safetensors import safe_open

PREFIX = "weights."


@cache
def model_file(path: Path) -> Weights:
    """Open a sibling file of weights, cast from bfloat16 to float32 as its README asks."""
    with safe_open(path, framework="pt") as file:
        metadata = parse_metadata(file.metadata())
        tensors = {
            key.removeprefix(PREFIX): file.get_tensor(key).float()
            for key in file.keys()  # noqa: SIM118
            if key.startswith(PREFIX)
        }
    return weights_of(tensors, metadata, path.name)


def model_weights(golden: Golden, part: str) -> Weights:
    """Return the weights a fixture names, of the file whose name contains `part`."""
    names = json.loads(golden.metadata["weights_from"])
    name = next(name for name in names if part in name)
    weights = model_file(golden.path.parent / name)
    metadata = {**weights.metadata}
    if part == "transformer":
        metadata["config"] = golden.config
        metadata["model_version"] = golden.metadata["model_version"]
    return weights_of(weights, metadata, weights.name)


def transformer_of(golden: Golden) -> Part[Transformer]:
    """Return the tiny transformer a fixture runs."""
    return transformer_part(model_weights(golden, "transformer"))


def laid_out_transformer(golden: Golden) -> Transformer:
    """Return the tiny transformer, ready to run in float32 on the CPU."""
    return transformer_of(golden).lay_out(torch.device("cpu"), dtype=torch.float32)


def guidance_of(params: Mapping[str, Any]) -> Guidance:
    """Translate recorded guider parameters."""
    blocks = params["stg_blocks"]
    return Guidance(
        cfg=params["cfg_scale"],
        stg=params["stg_scale"],
        stg_blocks=None if blocks is None else tuple(blocks),
        rescale=params["rescale_scale"],
        modality_scale=params["modality_scale"],
        skip_step=params["skip_step"],
    )
