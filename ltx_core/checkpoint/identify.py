"""What is in this file: which parts, of which model generation, stored how, from the header alone.

Recognised by the names and shapes of tensors; metadata helps where it is there. Codes of errors:
those of `header.read_header`, and `ltxv_video_only`, `diffusers_layout`,
`not_ltx2`, `shard` (one file of a folder), `component_missing` (a folder without weights).
"""

import json
import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import LTX2Error
from .facts import FileFacts, Quantisation
from .folders import folder_header, folder_headers, is_diffusers, tokenizer_folder
from .foreign import refuse_foreign
from .header import Header, is_folder, read_header, read_small, scalar, stated_generation
from .lora_file import reference_factor
from .lora_keys import LoraKey, is_module, lora_key, stream_of
from .quantised import quantisation
from .signatures import (
    ABSENT,
    PROJECTION,
    Keys,
    gemma_prefix,
    projection,
    transformer_prefix,
    video_decoder,
    vocoder,
)
from .signatures import components as parts_of

#: How Hugging Face names one of several files.
SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
#: Tensors that a file may hold and no reader needs.
IGNORABLE = ("decoder.type_emb", "decoder.coarse_")


def identify(path: Path) -> FileFacts:
    """Return what a model file or folder is. Reads headers, and of tensors only descriptions."""
    if is_folder(path):
        return _identify_folder(path)
    if path.suffix == ".json" and os.path.isfile(path):  # noqa: PTH113  never raises
        role = "index" if path.name.endswith(".index.json") else "config"
        return FileFacts(path=path, role=role, bytes=path.stat().st_size)
    header = read_header(path)
    shard = SHARD.search(path.name)
    try:
        facts = facts_of(header, quantisation(header))
    except LTX2Error as error:
        if shard is None or error.code != "not_ltx2":
            raise
        raise _one_shard(path) from None
    if shard is not None and facts.role == "text_encoder":
        raise _one_shard(path)
    if facts.role == "text_encoder" and header.container == "gguf":
        return _with_tokenizer(facts, path.parent)
    return facts


def _with_tokenizer(facts: FileFacts, folder: Path) -> FileFacts:
    """Count the tokenizer that lies in a folder as a part, unless the file has its own."""
    there = any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model"))
    if not there or "tokenizer" in facts.components:
        return facts
    return replace(facts, components=(*facts.components, "tokenizer"))


def _one_shard(path: Path) -> LTX2Error:
    return LTX2Error(
        f"{path.name} is one part of a model in several files.",
        needed=f"the folder {path.parent.name} as a whole", where=str(path.parent.parent),
        code="shard",
    )  # fmt: skip


def facts_of(header: Header, quant: Quantisation | None = None) -> FileFacts:
    """Return what the file of a header is; its quantised layers are described by the caller."""
    dtypes = dict(sorted(Counter(entry.dtype for entry in header.tensors.values()).items()))
    common: dict[str, Any] = {
        "path": header.path,
        "bytes": header.file_bytes,
        "digest": header.digest,
        "tensors": len(header.tensors),
        "storage_dtypes": dtypes,
        "gguf_types": dtypes if header.container == "gguf" else None,
        "metadata_keys": tuple(sorted(header.metadata)),
    }
    lora = {key: found for key in header.tensors if (found := lora_key(key))}
    if any(found.part != "alpha" for found in lora.values()):
        return FileFacts(role="lora", components=("lora",), **common, **_lora_facts(header, lora))
    components = parts_of(header)
    if not components:
        raise refuse_foreign(header)
    role = _role(components)
    version, source = _version(header, components, role)
    return FileFacts(
        role=role,
        version=version,
        version_source=source,
        components=components,
        quant=quant,
        **common,
        **_transformer_facts(header),
        **_text_facts(header, components),
        **_other_facts(header, components),
    )


def _role(components: Sequence[str]) -> str:
    """Return the one word for a set of components."""
    found = set(components)
    if "transformer" in found:
        return "checkpoint" if found - {"transformer", "connectors"} else "transformer"
    if any(name.startswith("gemma") for name in components):
        return "text_encoder"
    for role, parts in (
        ("text_encoder_extras", {"connectors", "text_projection"}),
        ("audio_vae", {"audio_vae", "vocoder"}),
    ):
        if found <= parts:
            return role
    return components[0] if len(found) == 1 else "checkpoint"


def _version(header: Header, components: Sequence[str], role: str) -> tuple[str | None, str | None]:
    """Return the generation and where it was read: stated, else from what is there."""
    stated = stated_generation(header.metadata)
    if role == "text_encoder":
        return _gemma_generation(header, components, stated)
    if stated is not None:
        return stated, "model_version"
    keys = header.tensors
    prefix = transformer_prefix(keys)
    if prefix is not None:
        return _structure(keys, prefix), "structure"
    if role == "text_encoder_extras":
        return _extras_generation(keys), "structure"
    if role == "video_vae":
        return _video_vae_generation(keys), "structure"
    if "vocoder" in components:
        return "2.0" if "vocoder.conv_pre.weight" in keys else "2.3+", "structure"
    if role == "latent_upscaler" and isinstance(header.metadata.get("config"), dict):
        return None, "config"
    return None, "structure"


def _structure(keys: Keys, prefix: str) -> str:
    block = f"{prefix}transformer_blocks.0."
    gated = f"{block}attn1.to_gate_logits.weight" in keys
    biased = f"{block}ff.net.0.proj.bias" in keys
    if f"{prefix}keyframes_abs_pos_embedding" in keys or (gated and not biased):
        return "2.5"
    return "2.3" if gated else "2.0"


def _extras_generation(keys: Keys) -> str:
    """Two projections, gates or unequal widths came with 2.3."""
    gated = any(".to_gate_logits." in key for key in keys)
    split = f"{PROJECTION}video_aggregate_embed.weight" in keys
    widths = {e.shape[-1:] for key, e in keys.items() if key.endswith(".learnable_registers")}
    return "2.3+" if gated or split or len(widths) > 1 else "2.0"


def _video_vae_generation(keys: Keys) -> str | None:
    """Three upsamplings are 2.0, four are 2.3 and 2.5 (one encoder, interchangeable latents)."""
    if video_decoder(keys) == "diffusion":
        return "2.5"
    ups = sum(".up_blocks." in f".{k}" and k.endswith(".conv.conv.weight") for k in keys)
    return {3: "2.0", 4: "2.3+"}.get(ups)


def _gemma_generation(
    header: Header, components: Sequence[str], stated: str | None
) -> tuple[str | None, str | None]:
    if "gemma3" in components:
        return "2.0-2.3", "structure"
    if _gemma_version(header) is not None:
        return "2.5", "gemma_config"
    if stated is not None:
        return stated, "model_version"
    # Stock Gemma 4 belongs to no generation; only Lightricks' own has the projection.
    return ("2.5" if "text_projection" in components else None), "structure"


def _gemma_version(header: Header) -> str | None:
    """Return the text encoder version a file is, or asks for."""
    for name in ("gemma_config", "gemma_source_checkpoint"):
        value = header.metadata.get(name)
        if isinstance(value, dict) and isinstance(value.get("gemma_version"), str):
            return value["gemma_version"]
    return None


def _transformer_facts(header: Header) -> dict[str, Any]:
    keys = header.tensors
    prefix = transformer_prefix(keys)
    if prefix is None:
        return {}
    blocks = f"{prefix}transformer_blocks."
    gates = _length(keys, f"{blocks}0.attn1.to_gate_logits.weight")
    stated = (header.section("transformer") or {}).get("num_attention_heads")
    return {
        "blocks": _count(keys, blocks),
        "heads": gates or (stated if isinstance(stated, int) else 32),
        "hidden": _length(keys, f"{blocks}0.attn1.q_norm.weight"),
        "audio_hidden": _length(keys, f"{blocks}0.audio_attn1.q_norm.weight"),
        "keyframes": f"{prefix}keyframes_abs_pos_embedding" in keys,
    }


def _text_facts(header: Header, components: Sequence[str]) -> dict[str, Any]:
    keys = header.tensors
    found: dict[str, Any] = {"gemma_version": _gemma_version(header)}
    weight = projection(keys)
    if weight is not None and len(weight.shape) == 2:
        found["projection_inputs"] = weight.shape[1]
    prefix = gemma_prefix(keys)
    if prefix is not None:
        kind = "gemma4" if "gemma4" in components else "gemma3"
        width = "text_hidden" if "transformer" in components else "hidden"
        config = header.metadata.get("gemma_config")
        stated = config.get("model_type") if isinstance(config, dict) else None
        found |= {
            "gemma": stated if isinstance(stated, str) else kind,
            width: _length(keys, f"{prefix}norm.weight"),
            "layers": _count(keys, f"{prefix}layers."),
        }
    return found


def _other_facts(header: Header, components: Sequence[str]) -> dict[str, Any]:
    keys = header.tensors
    ignored = tuple(key for key in sorted(keys) if key.removeprefix("vae.").startswith(IGNORABLE))
    found: dict[str, Any] = {"decoder": video_decoder(keys), "vocoder": vocoder(keys)}
    if ignored:
        found["ignored"] = ignored
    if "latent_upscaler" in components:
        found["kind"], found["scale"] = _upscaling(keys)
    return found


def _upscaling(keys: Keys) -> tuple[str | None, float | None]:
    """Return what an upscaler enlarges and how much, from the shape of its upsampling layer."""
    middle = _length(keys, "initial_conv.weight")
    rational = _length(keys, "upsampler.conv.weight")
    plain = _length(keys, "upsampler.0.weight")
    if middle and rational is not None:
        return "spatial", {2: 2.0, 3: 1.5, 4: 4.0}.get(math.isqrt(rational // middle))
    if middle and plain is not None:
        return ("temporal" if plain // middle == 2 else "spatial"), 2.0
    return None, None


def _lora_facts(header: Header, lora: Mapping[str, LoraKey]) -> dict[str, Any]:
    parts: dict[str, set[str]] = {}
    for found in lora.values():
        parts.setdefault(found.module, set()).add(found.part)
    halves = [(m, {"down", "up"} - p) for m, p in parts.items() if p & {"down", "up"}]
    writers = Counter(found.writer for found in lora.values() if found.part != "alpha")
    ranks = [header.tensors[k].shape[:1] for k, found in lora.items() if found.part == "down"]
    stated = stated_generation(header.metadata)
    return {
        "version": stated,
        "version_source": "model_version" if stated else None,
        "format": writers.most_common(1)[0][0],
        "modules": len(parts),
        "rank": max((shape[0] for shape in ranks if shape), default=None),
        "alpha": _alpha(header, lora),
        "unmatched": sum(not is_module(module) for module in parts),
        "half_pair": next(((m, lacks.pop()) for m, lacks in halves if lacks), None),
        "streams": tuple(sorted({stream_of(m) for m in parts if is_module(m)}, reverse=True)),
        "reference_downscale_factor": reference_factor(header, "reference_downscale_factor"),
        "reference_temporal_scale_factor": reference_factor(
            header, "reference_temporal_scale_factor"
        ),
    }


def _alpha(header: Header, lora: Mapping[str, LoraKey]) -> float | None:
    """Return the alpha of the first module that states one."""
    key = next((key for key, found in lora.items() if found.part == "alpha"), None)
    if key is None:
        return None
    return scalar(header.tensors[key].dtype, read_small(header, [key]).get(key, b""))


def _count(keys: Keys, prefix: str) -> int:
    """Count the different numbers that follow `prefix`."""
    return len({key[len(prefix) :].split(".", 1)[0] for key in keys if key.startswith(prefix)})


def _length(keys: Keys, name: str) -> int | None:
    """Return a tensor's first size."""
    shape = keys.get(name, ABSENT).shape
    return shape[0] if shape else None


def _identify_folder(folder: Path) -> FileFacts:
    """Return what a Hugging Face folder of shards, or a diffusers folder, is."""
    has_config = any((folder / name).is_file() for name in ("model_index.json", "config.json"))
    if not has_config and not [*folder.glob("model*.safetensors*")]:
        raise LTX2Error(
            f"{folder.name} is a folder without a model in the layout of Hugging Face.",
            needed="a folder with config.json and model*.safetensors, or a diffusers folder",
            where=str(folder), code="component_missing",
        )  # fmt: skip
    parts = [quant for header in folder_headers(folder) if (quant := quantisation(header))]
    quant = replace(parts[0], layers=sum(part.layers for part in parts)) if parts else None
    facts = facts_of(folder_header(folder), quant)
    if not any(part.startswith("gemma") for part in facts.components):
        return replace(facts, layout="diffusers") if is_diffusers(folder) else facts
    facts = _with_tokenizer(facts, tokenizer_folder(folder) or folder)
    if is_diffusers(folder):
        return replace(facts, layout="diffusers")
    model_type = _model_type(folder / "config.json")
    return replace(facts, version_source="config.json", gemma=model_type) if model_type else facts


def _model_type(file: Path) -> str | None:
    """Return `model_type` of a Hugging Face config, if it can be read."""
    try:
        found = json.loads(file.read_text("utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) else None
