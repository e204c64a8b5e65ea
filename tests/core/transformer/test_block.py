"""One block against the reference implementation."""

from typing import Any

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.checkpoint.keys import assign, rename
from ltx2_pack.ltx_core.ops.rope import RopeLayout, RotaryTable
from ltx2_pack.ltx_core.transformer.adaln import Spread
from ltx2_pack.ltx_core.transformer.block import Block, CrossingState, Kept, StreamState
from ltx2_pack.ltx_core.transformer.config import StreamConfig, TransformerConfig
from torch import Tensor

PREFIX = "model.diffusion_model.transformer_blocks.0."
PARAMETERS = [
    pytest.param(
        case.values[0], variant, id=f"{case.id}-{variant['name']}", marks=pytest.mark.golden
    )
    for case in cases("block")
    for variant in case.values[0].case["variants"]
]


def block_of(case: dict[str, Any], weights: dict[str, Tensor]) -> Block:
    """Build the block a golden file describes."""

    def stream(head_dim: int, ff_bias: bool) -> StreamConfig:
        return StreamConfig(
            num_heads=case["heads"],
            head_dim=head_dim,
            in_channels=1,
            out_channels=1,
            context_dim=1,
            projects_context=False,
            max_positions=(20.0,),
            ff_bias=ff_bias,
            marks_keyframes=False,
        )

    config = TransformerConfig(
        num_layers=1,
        video=stream(case["head_dim"], case["ff_bias"]) if case["streams"] != "audio" else None,
        audio=(
            stream(case["audio_head_dim"], case["audio_ff_bias"])
            if case["streams"] != "video"
            else None
        ),
        gated_attention=case["gated"],
        modulates_context=case["cross_attention_adaln"],
        modulates_context_by_sigma=case["prompt_timestep"],
        norm_eps=case["eps"],
        rope_layout=RopeLayout(case["rope_type"]),
        rope_theta=10000.0,
        rope_double=True,
        timestep_scale=1000.0,
        cross_gate_timestep_scale=1000.0,
    )
    block = Block(config, device=torch.device("meta"))
    assign(block, {name: weights[key] for key, name in rename(weights, ((PREFIX, ""),)).items()})
    return block


def rows_of(modulation: Tensor, dim: int) -> tuple[Tensor, Spread]:
    """Bring recorded modulations [B, T, k * w], one per token or per item, into our form."""
    batch, tokens, _ = modulation.shape
    rows = modulation.unflatten(-1, (-1, dim))  # [B, T, k, w]
    if tokens == 1:
        return rows, Spread()
    index = torch.arange(batch * tokens).view(batch, tokens)
    return rows.flatten(0, 1).unsqueeze(0), Spread(index=index)


def state_of(given: dict[str, Tensor], name: str, variant: dict[str, Any]) -> StreamState | None:
    """Return the constants of stream `name`."""
    if f"{name}_x" not in given:
        return None
    dim = given[f"{name}_x"].shape[-1]
    modulation, spread = rows_of(given[f"{name}_timesteps"], dim)
    crossing = prompt = None
    if f"{name}_cross_gate_timestep" in given:
        cross_modulation, _ = rows_of(given[f"{name}_cross_scale_shift_timestep"], dim)
        crossing = CrossingState(
            rope=RotaryTable(given[f"{name}_cross_pe_cos"], given[f"{name}_cross_pe_sin"]),
            modulation=cross_modulation,
            gate=given[f"{name}_cross_gate_timestep"].unflatten(-1, (1, dim)),
        )
    if f"{name}_prompt_timestep" in given:
        prompt = given[f"{name}_prompt_timestep"].unflatten(-1, (2, dim))
    masks = {
        ours: given[f"{name}_{theirs}"]
        for ours, theirs in (
            ("context_mask", "context_mask"),
            ("attention_mask", "self_attention_mask"),
        )
        if variant.get(theirs)
    }
    return StreamState(
        context=given[f"{name}_context"],
        rope=RotaryTable(given[f"{name}_pe_cos"], given[f"{name}_pe_sin"]),
        modulation=modulation,
        spread=spread,
        context_modulation=prompt,
        crossing=crossing,
        enabled=variant.get(f"{name}_enabled", True),
        **masks,
    )


def kept_of(variant: dict[str, Any], keep: Tensor) -> Kept:
    own: bool | Tensor = not variant.get("self_attn_all_perturbed")
    own = keep if variant.get("self_attn_keep") else own
    cross = keep if variant.get("cross_attn_keep") else True
    return Kept(
        video_self=own,
        audio_self=own,
        a2v=False if variant.get("skip_a2v") else cross,
        v2a=False if variant.get("skip_v2a") else cross,
    )


@pytest.mark.parametrize(("golden", "variant"), PARAMETERS)
@torch.no_grad()
def test_matches_the_reference(golden: Golden, variant: dict[str, Any]) -> None:
    given = golden.tensors("in.")
    block = block_of(golden.case, golden.tensors("weights."))
    streams = block(
        given.get("video_x"),
        given.get("audio_x"),
        state_of(given, "video", variant),
        state_of(given, "audio", variant),
        kept_of(variant, given["keep_mask"]),
    )
    for name, x in zip(("video", "audio"), streams, strict=True):
        if x is not None:
            golden.check(f"{variant['name']}.{name}", x)
    assert any(x is not None for x in streams)
