"""Transformers and inputs for tests: the recorded ones, and small random ones."""

from dataclasses import replace
from typing import Any

import torch
from golden import Golden
from ltx2_pack.ltx_core.checkpoint.part import Part
from ltx2_pack.ltx_core.checkpoint.section import Section
from ltx2_pack.ltx_core.checkpoint.weights import weights_of
from ltx2_pack.ltx_core.grid import LatentShape
from ltx2_pack.ltx_core.transformer.config import TransformerConfig
from ltx2_pack.ltx_core.transformer.inputs import Perturbation, StreamInput
from ltx2_pack.ltx_core.transformer.load import transformer_part
from ltx2_pack.ltx_core.transformer.model import Transformer
from ltx2_pack.ltx_core.transformer.positions import audio_positions, video_positions

CPU = torch.device("cpu")
SKIPS = {
    "skip_video_self_attn": "skip_video_self",
    "skip_audio_self_attn": "skip_audio_self",
    "skip_a2v_cross_attn": "skip_a2v",
    "skip_v2a_cross_attn": "skip_v2a",
}


def part_of(golden: Golden, **options: Any) -> Part[Transformer]:
    """Load the transformer of a golden file the way a checkpoint is loaded."""
    metadata = {"config": golden.config}
    return transformer_part(
        weights_of(golden.tensors("weights."), metadata, golden.path.name), **options
    )


def stream_of(golden: Golden, name: str, variant: dict[str, Any]) -> StreamInput | None:
    """Return what a variant of a golden file gives to stream `name`."""
    given = golden.tensors("in.")
    if f"{name}_latent" not in given or not variant.get(name, True):
        return None
    stream = StreamInput(
        **{
            key: given[f"{name}_{key}"]
            for key in ("latent", "sigma", "timesteps", "positions", "context")
        },
        enabled=variant.get(f"{name}_enabled", True),
    )
    for mask in ("context_mask", "attention_mask", "keyframes_mask"):
        if variant.get(f"use_{mask}") in (True, name) and f"{name}_{mask}" in given:
            stream = replace(stream, **{mask: given[f"{name}_{mask}"]})
    return stream


def perturbations_of(variant: dict[str, Any]) -> list[Perturbation] | None:
    """Return what each item of the batch leaves out."""
    if "perturbations" not in variant:
        return None
    items = []
    for entries in variant["perturbations"]:
        blocks: dict[str, frozenset[int] | None] = {}
        for entry in entries:
            own = entry["blocks"]
            blocks[SKIPS[entry["type"]]] = None if own is None else frozenset(own)
        items.append(Perturbation(**blocks))
    return items


#: A small 2.5: both streams, gates, no video feed-forward biases, keyframe marks.
SMALL: dict[str, Any] = {
    "num_layers": 3,
    "num_attention_heads": 2,
    "attention_head_dim": 14,
    "cross_attention_dim": 28,
    "in_channels": 6,
    "out_channels": 6,
    "audio_num_attention_heads": 2,
    "audio_attention_head_dim": 8,
    "audio_cross_attention_dim": 16,
    "audio_in_channels": 12,
    "audio_out_channels": 12,
    "apply_gated_attention": True,
    "cross_attention_adaln": True,
    "caption_proj_before_connector": True,
    "ff_bias": False,
    "use_keyframes_abs_pos_embedding": True,
    "av_ca_timestep_scale_multiplier": 1000.0,
    "frequencies_precision": "float64",
}
SHAPE = LatentShape(3, 2, 3)
AUDIO_LENGTH = 9


def small_transformer(values: dict[str, Any] | None = None, **options: Any) -> Transformer:
    """Build a transformer whose weights are random and nowhere zero."""
    config = TransformerConfig.read(Section("transformer", {**SMALL, **(values or {})}))
    network = Transformer(config, **options)
    generator = torch.Generator().manual_seed(3)
    for weight in network.state_dict().values():
        weight.copy_(torch.randn(weight.shape, generator=generator) * 0.15 + 0.03)
    return network.requires_grad_(False)


def small_streams(*, batch: int = 1, dtype: torch.dtype = torch.float32) -> dict[str, StreamInput]:
    """Return inputs for `small_transformer`; each item of the batch has its own sigma."""
    generator = torch.Generator().manual_seed(4)
    sigma = torch.linspace(0.8, 0.6, batch)

    def stream(tokens: int, channels: int, dim: int, positions: torch.Tensor) -> StreamInput:
        return StreamInput(
            latent=torch.randn(batch, tokens, channels, generator=generator).to(dtype),
            sigma=sigma,
            timesteps=sigma[:, None, None].expand(batch, tokens, 1).clone(),
            positions=positions,
            context=torch.randn(batch, 5, dim, generator=generator).to(dtype),
        )

    return {
        "video": stream(SHAPE.tokens, 6, 28, video_positions(SHAPE, 24.0, batch=batch)),
        "audio": stream(AUDIO_LENGTH, 12, 16, audio_positions(AUDIO_LENGTH, batch=batch)),
    }
