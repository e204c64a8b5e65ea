"""llama.cpp's tensor names for Gemma, as GGUF files of text encoders have them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from .entries import TensorEntry

#: Outside the layers: llama.cpp's name -> the model's own. `rope_freqs` follows from the config.
OUTSIDE: Mapping[str, str] = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
}
#: In a layer (`blk.N.`).
LAYER: Mapping[str, str] = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "post_ffw_norm": "post_feedforward_layernorm",
}
#: Only Gemma 4 has it.
SCALAR = "layer_output_scale.weight"
IN_LAYER = re.compile(r"blk\.(\d+)\.(.+)")


def own_name(name: str) -> str:
    """Return the model's own name for one of llama.cpp's; any other as it is."""
    match = IN_LAYER.fullmatch(name)
    if match is None:
        return OUTSIDE.get(name, name)
    layer, rest = f"model.layers.{match[1]}.", match[2]
    if rest == SCALAR:
        return f"{layer}layer_scalar"
    module, _, kind = rest.rpartition(".")
    return f"{layer}{LAYER[module]}.{kind}" if module in LAYER else name


def is_llama(names: Iterable[str]) -> bool:
    """Say whether these are llama.cpp's names of a language model."""
    return "token_embd.weight" in set(names)


def own_names(tensors: dict[str, TensorEntry], fields: Mapping[str, Any]) -> dict[str, TensorEntry]:
    """Rename a language model's tensors; other models' come back as they are.

    llama.cpp stores the norms of Gemma 2 and 3 as 1 + w, Gemma 4's as they are.
    """
    if not is_llama(tensors):
        return tensors
    fourth = any(name.endswith(f".{SCALAR}") for name in tensors)
    raised = str(fields.get("general.architecture", "gemma3")) in ("gemma2", "gemma3")
    found: dict[str, TensorEntry] = {}
    for name, entry in tensors.items():
        norm = name.endswith("norm.weight") and raised and not fourth
        found[own_name(name)] = replace(entry, added=1.0) if norm else entry
    return found
