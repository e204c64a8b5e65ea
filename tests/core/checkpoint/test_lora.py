"""LoRA files: reading every spelling, adding them exactly, taking them off again."""

from typing import Any

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.checkpoint.lora import (
    Lora,
    LoraPair,
    LoraUse,
    fused,
    match,
    read_lora,
)
from ltx2_pack.ltx_core.checkpoint.part import Part
from ltx2_pack.ltx_core.checkpoint.weights import weights_of
from ltx2_pack.ltx_core.errors import LTX2Error
from torch import Tensor, nn

PREFIX = "model.diffusion_model."
FLOATING = {torch.bfloat16, torch.float16, torch.float32}


def is_built(golden: Golden) -> bool:
    """Plain pairs on a plain base; quantised bases and other kinds of change are not read yet."""
    case = golden.case
    plain = "base" not in case and all("strength" in use for use in case["loras"])
    return plain and not str(case["format"]).startswith(("diff /", "dora"))


def uses_of(golden: Golden) -> list[LoraUse]:
    return [
        LoraUse(
            read_lora(weights_of(golden.tensors(f"in.lora{number}."), {}, f"lora{number}")),
            use["strength"],
        )
        for number, use in enumerate(golden.case["loras"])
    ]


def base_of(golden: Golden) -> dict[str, Tensor]:
    return {key.removeprefix(PREFIX): tensor for key, tensor in golden.tensors("weights.").items()}


def half_step(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Return half the distance between neighbours of `dtype` at a value, plus float32's noise."""
    exponent = torch.frexp(value.abs().clamp(min=1e-30))[1] - 1
    step = torch.ldexp(torch.full_like(value, torch.finfo(dtype).eps), exponent)
    return step / 2 + value.abs() * 1e-6 + 1e-7


@pytest.mark.parametrize("golden", cases("lora_fuse", is_built))
def test_the_exact_result_is_rounded_once(golden: Golden):
    uses, base = uses_of(golden), base_of(golden)
    exact = golden.tensors("out.exact.")
    for key, expected in golden.tensors("out.").items():
        if key.startswith("exact."):
            continue
        name = key.removeprefix(PREFIX)
        actual = fused(name, base[name], uses)
        assert actual.dtype == base[name].dtype == expected.dtype
        error = (actual.float() - expected.float()).abs().max()
        assert error <= golden.tolerance, name
        if key in exact:
            limit = half_step(exact[key], actual.dtype)
            assert ((actual.float() - exact[key]).abs() <= limit).all(), name


@pytest.mark.parametrize("golden", cases("lora_fuse", is_built))
def test_the_order_of_loras_changes_no_bit(golden: Golden):
    uses, base = uses_of(golden), base_of(golden)
    for name, weight in base.items():
        assert torch.equal(fused(name, weight, uses), fused(name, weight, uses[::-1])), name


@pytest.mark.parametrize("golden", cases("lora_fuse", is_built))
def test_what_a_lora_does_not_know_is_counted_and_left_alone(golden: Golden):
    uses, base = uses_of(golden), base_of(golden)
    shapes = {name: tensor.shape for name, tensor in base.items()}
    unmatched = [name for use in uses for name in match(use.lora, shapes).unmatched]
    assert sorted(unmatched) == sorted(golden.case.get("unmatched", []))
    touched = {f"{name}.weight" for use in uses for name in use.lora.pairs}
    for name in base.keys() - touched:
        assert fused(name, base[name], uses) is base[name]


def part_of(base: dict[str, Tensor]) -> Part[nn.ModuleDict]:
    """Build a network whose parameters carry the names of a base."""
    layers = nn.ModuleDict()
    for name, weight in base.items():
        module = nn.Module()
        module.register_parameter(
            "weight", nn.Parameter(torch.empty_like(weight, device="meta"), requires_grad=False)
        )
        layers[name.removesuffix(".weight").replace(".", "/")] = module
    state = {
        f"{name.removesuffix('.weight').replace('.', '/')}.weight": weight
        for name, weight in base.items()
    }
    return Part(layers, state, role="transformer", source="base")


def slashed(use: LoraUse) -> LoraUse:
    pairs = {name.replace(".", "/"): pair for name, pair in use.lora.pairs.items()}
    return LoraUse(Lora(use.lora.name, pairs), use.strength)


@pytest.mark.parametrize("golden", cases("lora_fuse", is_built))
def test_laying_out_again_without_loras_gives_the_base_bit_for_bit(golden: Golden):
    base = {name: w for name, w in base_of(golden).items() if name.endswith(".weight")}
    part, cpu = part_of(base), torch.device("cpu")
    uses = [slashed(use) for use in uses_of(golden)]
    part.lay_out(cpu, loras=uses)
    changed = {name: tensor.clone() for name, tensor in part.network.state_dict().items()}
    part.lay_out(cpu)
    for name, tensor in part.network.state_dict().items():
        assert torch.equal(tensor, part.weights[name]), name
    assert any(not torch.equal(changed[name], part.weights[name]) for name in changed)


def lora_weights(module: str = "transformer_blocks.0.attn1.to_q", **more: Any) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    name = f"diffusion_model.{module}"
    return {
        f"{name}.lora_A.weight": torch.randn(2, 6, generator=generator),
        f"{name}.lora_B.weight": torch.randn(4, 2, generator=generator),
        **{f"{name}.{key}": value for key, value in more.items()},
    }


def read(tensors: dict[str, Tensor], **metadata: Any) -> Lora:
    return read_lora(weights_of(tensors, metadata, "mine.safetensors"))


def refusal(tensors: dict[str, Tensor], **metadata: Any) -> LTX2Error:
    with pytest.raises(LTX2Error, match=r"mine\.safetensors") as caught:
        read(tensors, **metadata)
    return caught.value


def test_the_delta_is_strength_times_alpha_over_rank_times_the_product():
    lora = read(lora_weights(alpha=torch.tensor(3.0)))
    (pair,) = lora.pairs.values()
    expected = 0.5 * (3.0 / 2) * (pair.up @ pair.down)
    torch.testing.assert_close(pair.delta(0.5, torch.device("cpu")), expected)


def test_without_alpha_the_scale_is_the_strength():
    (pair,) = read(lora_weights()).pairs.values()
    torch.testing.assert_close(pair.delta(2.0, torch.device("cpu")), 2 * pair.up @ pair.down)


def test_strength_zero_changes_nothing_and_copies_nothing():
    lora, weight = read(lora_weights()), torch.ones(4, 6)
    name = "transformer_blocks.0.attn1.to_q.weight"
    assert fused(name, weight, [LoraUse(lora, 0.0)]) is weight


def test_a_bias_is_never_changed():
    bias = torch.ones(4)
    assert (
        fused("transformer_blocks.0.attn1.to_q.bias", bias, [LoraUse(read(lora_weights()))]) is bias
    )


def test_opposite_strengths_cancel_in_float32():
    weight = torch.randn(4, 6, generator=torch.Generator().manual_seed(1)).bfloat16()
    lora = read(lora_weights())
    uses = [LoraUse(lora, 0.7), LoraUse(lora, -0.7)]
    assert torch.equal(fused("transformer_blocks.0.attn1.to_q.weight", weight, uses), weight)


def test_the_base_is_not_written_to():
    weight = torch.zeros(4, 6)
    fused("transformer_blocks.0.attn1.to_q.weight", weight, [LoraUse(read(lora_weights()))])
    assert not weight.any()


@pytest.mark.parametrize(("missing", "words"), [("lora_A", "lora_A"), ("lora_B", "lora_B")])
def test_half_a_pair_is_refused(missing, words):
    tensors = {key: value for key, value in lora_weights().items() if missing not in key}
    error = refusal(tensors)
    assert error.code == "lora_incomplete"
    assert words in str(error)
    assert "attn1.to_q" in str(error)


@pytest.mark.parametrize(
    "part", ["dora_scale", "diff", "diff_b", "set_weight", "hada_w1_a", "lokr_w1"]
)
def test_other_kinds_of_change_are_refused_by_name(part):
    error = refusal(lora_weights(**{part: torch.ones(4, 1)}))
    assert error.code == "lora_unsupported"
    assert part in str(error)


@pytest.mark.parametrize(
    "tensors",
    [
        {"x.lora_A.weight": torch.ones(2, 6, 1, 1), "x.lora_B.weight": torch.ones(4, 2)},
        {"x.lora_A.weight": torch.ones(0, 6), "x.lora_B.weight": torch.ones(4, 0)},
        {**lora_weights(), "diffusion_model.transformer_blocks.0.attn1.to_q.alpha": torch.ones(2)},
    ],
)  # fmt: skip
def test_what_is_no_pair_of_matrices_is_refused(tensors):
    assert refusal(tensors).code == "lora_unsupported"


@pytest.mark.parametrize("tensors", [{}, {"a.weight": torch.ones(2)}, {"act.alpha": torch.ones(1)}])
def test_a_file_without_lora_keys_is_refused(tensors):
    assert refusal(tensors).code == "wrong_role"


def test_no_match_is_an_error_and_says_how_many():
    with pytest.raises(LTX2Error, match=r"0 of 1 modules match.*different model") as caught:
        match(read(lora_weights("blocks.0.self_attn.q")), {"proj_out.weight": (4, 6)})
    assert caught.value.code == "lora_no_match"


def test_another_width_is_an_error_with_both_shapes():
    name = "transformer_blocks.0.attn1.to_q"
    with pytest.raises(LTX2Error, match=r"\[4, 8\].*\[4, 6\]") as caught:
        match(read(lora_weights()), {f"{name}.weight": (4, 8)})
    assert caught.value.code == "lora_shape_mismatch"


def test_ranks_that_differ_within_a_pair_are_an_error():
    lora = Lora("x", {"a": LoraPair(torch.ones(3, 6), torch.ones(4, 2))})
    with pytest.raises(LTX2Error) as caught:
        match(lora, {"a.weight": (4, 6)})
    assert caught.value.code == "lora_shape_mismatch"


def test_some_unmatched_modules_are_reported():
    tensors = {**lora_weights(), **lora_weights("no.such")}
    found = match(read(tensors), {"transformer_blocks.0.attn1.to_q.weight": (4, 6)})
    assert str(found) == "mine.safetensors: 1 of 2 modules matched"
    assert found.unmatched == ("no.such",)


@pytest.mark.parametrize(
    ("stated", "factor"), [("2", 2), (2, 2), ("1.6", 2), ("0.2", 1), ("-3", 1), (None, 1)]
)
def test_the_reference_factor_of_an_ic_lora(stated, factor):
    metadata = {} if stated is None else {"reference_downscale_factor": stated}
    assert read(lora_weights(), **metadata).reference_downscale == factor


@pytest.mark.parametrize("stated", ["half", "nan", "inf", [2], {}])
def test_a_reference_factor_that_is_no_number_is_refused(stated):
    error = refusal(lora_weights(), reference_temporal_scale_factor=stated)
    assert error.code == "config_unsupported"
    assert "reference_temporal_scale_factor" in str(error)
