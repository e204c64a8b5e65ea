"""A Gemma 3 and a checkpoint's text parts of a few thousand random numbers, as official files."""

from math import prod
from typing import Any

import torch
from ltx2_pack.ltx_core.checkpoint.weights import Weights, weights_of
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

DIM, LAYERS, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 16, 3, 4, 2, 8, 32
WORDS = ("a", "cat", "walks", "slowly", "rain", "falls", "music", "plays")
#: Widths of both connectors.
WIDTHS = {"2.0": (DIM, DIM), "2.3": (24, 12)}
CONFIGS: dict[str, dict[str, Any]] = {
    "2.0": {"connector_num_attention_heads": 2, "frequencies_precision": "float64"},
    "2.3": {
        "frequencies_precision": "float64",
        "caption_proj_before_connector": True,
        "caption_projection_first_linear": False,
        "caption_projection_second_linear": False,
        "caption_proj_input_norm": False,
    },
}
CONNECTOR = "model.diffusion_model.{}_embeddings_connector."


def random_tensors(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Weights of every shape, nowhere zero or one, small enough to compute with."""
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.randn(shape, generator=generator) / max(1, prod(shape[1:])) ** 0.5
        for key, shape in shapes.items()
    }


def gemma_shapes(layers: int = LAYERS, dim: int = DIM) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"embed_tokens": (VOCAB, dim), "norm": (dim,)}
    for n in range(layers):
        layer = f"layers.{n}."
        shapes |= {
            f"{layer}self_attn.q_proj": (HEADS * HEAD_DIM, dim),
            f"{layer}self_attn.k_proj": (KV_HEADS * HEAD_DIM, dim),
            f"{layer}self_attn.v_proj": (KV_HEADS * HEAD_DIM, dim),
            f"{layer}self_attn.o_proj": (dim, HEADS * HEAD_DIM),
            f"{layer}self_attn.q_norm": (HEAD_DIM,),
            f"{layer}self_attn.k_norm": (HEAD_DIM,),
            f"{layer}mlp.gate_proj": (20, dim),
            f"{layer}mlp.up_proj": (20, dim),
            f"{layer}mlp.down_proj": (dim, 20),
            f"{layer}input_layernorm": (dim,),
            f"{layer}post_attention_layernorm": (dim,),
            f"{layer}pre_feedforward_layernorm": (dim,),
            f"{layer}post_feedforward_layernorm": (dim,),
        }
    return {f"{name}.weight": shape for name, shape in shapes.items()}


def tokenizer_json() -> str:
    words = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3}
    words |= {word: number for number, word in enumerate(WORDS, start=4)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer.to_str()


def as_bytes(text: str) -> Tensor:
    return torch.tensor([*text.encode()], dtype=torch.uint8)


def gemma(*, prefix: str = "model.", layers: int = LAYERS, dim: int = DIM) -> Weights:
    """A single file with its tokenizer in it and no config, as ComfyUI's."""
    tensors = random_tensors(gemma_shapes(layers, dim), seed=1)
    named = {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
    return weights_of({**named, "tokenizer_json": as_bytes(tokenizer_json())}, {}, "gemma_tiny")


def connector_shapes(width: int, *, gated: bool, layers: int = 2) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"learnable_registers": (8, width)}
    for n in range(layers):
        block = f"transformer_1d_blocks.{n}."
        for name in ("to_q", "to_k", "to_v", "to_out.0"):
            shapes[f"{block}attn1.{name}.weight"] = (width, width)
            shapes[f"{block}attn1.{name}.bias"] = (width,)
        shapes |= {
            f"{block}attn1.q_norm.weight": (width,),
            f"{block}attn1.k_norm.weight": (width,),
            f"{block}ff.net.0.proj.weight": (4 * width, width),
            f"{block}ff.net.0.proj.bias": (4 * width,),
            f"{block}ff.net.2.weight": (width, 4 * width),
            f"{block}ff.net.2.bias": (width,),
        }
        if gated:
            shapes[f"{block}attn1.to_gate_logits.weight"] = (2, width)
            shapes[f"{block}attn1.to_gate_logits.bias"] = (2,)
    return shapes


def checkpoint_shapes(generation: str) -> dict[str, tuple[int, ...]]:
    inputs, gated = DIM * (LAYERS + 1), generation != "2.0"
    shapes: dict[str, tuple[int, ...]] = {}
    for stream, width in zip(("video", "audio"), WIDTHS[generation], strict=True):
        named = connector_shapes(width, gated=gated)
        shapes |= {CONNECTOR.format(stream) + name: shape for name, shape in named.items()}
        if gated:
            shapes[f"text_embedding_projection.{stream}_aggregate_embed.weight"] = (width, inputs)
            shapes[f"text_embedding_projection.{stream}_aggregate_embed.bias"] = (width,)
    if not gated:
        shapes["text_embedding_projection.aggregate_embed.weight"] = (DIM, inputs)
    return shapes


def checkpoint(generation: str, **metadata: Any) -> Weights:
    """The text parts of a model, with the config its official file has."""
    stated = {"config": {"transformer": CONFIGS[generation]}}
    if generation != "2.0":
        stated["model_version"] = f"{generation}.0"
    tensors = random_tensors(checkpoint_shapes(generation), seed=2)
    return weights_of(tensors, {**stated, **metadata}, f"ltx-{generation}-tiny")


def without(weights: Weights, *parts: str) -> Weights:
    """The same file, lacking every tensor with one of `parts` in its name."""
    kept = {key: t for key, t in weights.items() if not any(part in key for part in parts)}
    return weights_of(kept, weights.metadata, weights.name)


def with_tensors(weights: Weights, **tensors: Tensor) -> Weights:
    return weights_of({**weights, **tensors}, weights.metadata, weights.name)
