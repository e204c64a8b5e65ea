"""Attention against the reference implementation."""

from typing import Any

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.checkpoint.keys import assign, rename
from ltx2_pack.ltx_core.ops.rope import RopeLayout, RotaryTable
from ltx2_pack.ltx_core.transformer.attention import Attention, AttentionConfig

PARAMETERS = [
    pytest.param(
        case.values[0], variant, id=f"{case.id}-{variant['name']}", marks=pytest.mark.golden
    )
    for case in cases("attention")
    for variant in case.values[0].case["variants"]
]


def attention_of(golden: Golden) -> Attention:
    """Build the layer a golden file describes and load it the way a checkpoint is loaded."""
    case = golden.case
    config = AttentionConfig(
        dim=case["query_dim"],
        context_dim=case["context_dim"] or case["query_dim"],
        num_heads=case["heads"],
        head_dim=case["dim_head"],
        norm_eps=case["eps"],
        gated=case["gated"],
        rope_layout=RopeLayout(case["rope_type"]),
    )
    layer = Attention(config, device=torch.device("meta"))
    weights = golden.tensors("weights.")
    prefix = f"model.diffusion_model.transformer_blocks.0.{case['module']}."
    assign(layer, {name: weights[key] for key, name in rename(weights, ((prefix, ""),)).items()})
    return layer


def table(given: dict[str, torch.Tensor], prefix: str) -> RotaryTable | None:
    """Read the rotary table stored under `prefix`, if this case has one."""
    if f"{prefix}_cos" not in given:
        return None
    return RotaryTable(given[f"{prefix}_cos"], given[f"{prefix}_sin"])


@pytest.mark.parametrize(("golden", "variant"), PARAMETERS)
@torch.no_grad()
def test_matches_the_reference(golden: Golden, variant: dict[str, Any]) -> None:
    given = golden.tensors("in.")
    keep: bool | torch.Tensor = not variant.get("all_perturbed", False)
    out = attention_of(golden)(
        given["x"],
        given.get("context"),
        rope=table(given, "pe"),
        context_rope=table(given, "k_pe"),
        mask=given[variant["mask"]] if variant.get("mask") else None,
        keep=given["perturbation_mask"] if variant.get("perturbation_mask") else keep,
    )
    golden.check(variant["name"], out)


@torch.no_grad()
def test_zero_gate_logits_change_nothing() -> None:
    sizes = {"dim": 32, "context_dim": 32, "num_heads": 2, "head_dim": 16}
    gated = Attention(AttentionConfig(**sizes, gated=True))
    plain = Attention(AttentionConfig(**sizes))
    state = gated.state_dict()
    state["to_gate_logits.weight"].zero_()
    state["to_gate_logits.bias"].zero_()
    assign(plain, {key: value for key, value in state.items() if "to_gate_logits" not in key})
    x = torch.linspace(-1, 1, 5 * 32).reshape(1, 5, 32)
    torch.testing.assert_close(gated(x), plain(x), rtol=0, atol=0)


@torch.no_grad()
def test_a_kept_item_is_not_touched_by_a_perturbed_neighbour() -> None:
    layer = Attention(AttentionConfig(dim=16, context_dim=16, num_heads=2, head_dim=8))
    x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
    blended = layer(x, keep=torch.tensor([1.0, 0.0]).view(-1, 1, 1))
    torch.testing.assert_close(blended[0], layer(x)[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(blended[1], layer(x, keep=False)[1], rtol=0, atol=1e-6)
