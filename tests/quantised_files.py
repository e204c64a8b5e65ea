"""The same model with its linear layers quantised, in the spellings that files have."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from checkpoint_files import tensors_of
from ltx2_pack.ltx_core.checkpoint.weights import open_weights
from ltx2_pack.ltx_core.ops.dequantize import swizzled
from ltx2_pack.ltx_core.ops.quantize import float8, int8
from ltx2_pack.ltx_core.ops.rotation import rotated
from safetensors.torch import save_file
from torch import Tensor

#: Columns rotated together in tiny files.
GROUP = 16


def blob(**options: object) -> Tensor:
    return torch.tensor([*json.dumps(options).encode()], dtype=torch.uint8)


def fp8_scaled(layer: str, weight: Tensor) -> dict[str, Tensor]:
    """As the official files: a scale, one for inputs, and nothing that describes them."""
    stored = float8(weight).tensors
    return {
        f"{layer}.weight": stored["weight"],
        f"{layer}.weight_scale": stored["weight_scale"],
        f"{layer}.input_scale": torch.tensor(0.02),
    }


def fp8_legacy(layer: str, weight: Tensor) -> dict[str, Tensor]:
    stored = float8(weight).tensors
    return {
        f"{layer}.weight": stored["weight"],
        f"{layer}.scale_weight": stored["weight_scale"].reshape(1),
    }


def int8_convrot(layer: str, weight: Tensor) -> dict[str, Tensor]:
    stored = int8(rotated(weight.float(), GROUP)).tensors
    text = blob(format="int8_tensorwise", convrot=True, convrot_groupsize=GROUP)
    return {
        f"{layer}.weight": stored["weight"],
        f"{layer}.weight_scale": stored["weight_scale"],
        f"{layer}.comfy_quant": text,
    }


def nvfp4(layer: str, weight: Tensor) -> dict[str, Tensor]:
    """Random codes: what numbers they are does not matter, as long as they are small."""
    rows, columns = weight.shape
    generator = torch.Generator().manual_seed(rows * columns)
    codes = torch.randint(0, 256, (rows, columns // 2), dtype=torch.uint8, generator=generator)
    scales = torch.rand(rows, columns // 16, generator=generator) + 0.5
    return {
        f"{layer}.weight": codes,
        f"{layer}.weight_scale": swizzled(scales).to(torch.float8_e4m3fn),
        f"{layer}.weight_scale_2": torch.tensor(0.3 / columns**0.5),
    }


FORMATS: dict[str, Callable[[str, Tensor], dict[str, Tensor]]] = {
    "fp8_scaled": fp8_scaled,
    "fp8_legacy": fp8_legacy,
    "int8_convrot": int8_convrot,
    "nvfp4": nvfp4,
}


def is_layer(key: str, tensor: Tensor) -> bool:
    """Say whether files have such a layer quantised: linear ones of blocks, gates aside."""
    blocks = "transformer_blocks." in key or "transformer_1d_blocks." in key or ".layers." in key
    linear = key.endswith(".weight") and tensor.ndim == 2 and "to_gate_logits" not in key
    return blocks and linear and tensor.shape[1] % GROUP == 0


def quantised(source: Path, target: Path, kind: str) -> Path:
    """Write a file with its linear layers in one of FORMATS."""
    tensors, metadata = tensors_of(source)
    stored: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if is_layer(key, tensor):
            stored |= FORMATS[kind](key.removesuffix(".weight"), tensor)
        else:
            stored[key] = tensor
    if kind == "fp8_legacy":
        marker = torch.zeros(0, dtype=torch.float8_e4m3fn)
        stored["model.diffusion_model.scaled_fp8"] = marker
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: tensor.contiguous() for key, tensor in stored.items()}, target, metadata)
    return target


def dequantised(source: Path, target: Path) -> Path:
    """Write the numbers of a quantised file as a plain one."""
    weights, metadata = open_weights(source), tensors_of(source)[1]
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: weights[key].contiguous() for key in weights}, target, metadata)
    return target
