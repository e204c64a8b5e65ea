"""LoRA files: reading every spelling, adding them exactly, taking them off again."""

from typing import Any

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.checkpoint.keys import Renamed
from ltx2_pack.ltx_core.checkpoint.lora import Lora, LoraUse, fused, match
from ltx2_pack.ltx_core.checkpoint.lora_file import read_lora
from ltx2_pack.ltx_core.checkpoint.lora_keys import stream_of
from ltx2_pack.ltx_core.checkpoint.packing import Packing
from ltx2_pack.ltx_core.checkpoint.part import Part
from ltx2_pack.ltx_core.checkpoint.weights import Weights, weights_of
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.ops.dequantize import NVFP4_GROUP, by_group, unswizzled, widened
from ltx2_pack.ltx_core.ops.gguf_blocks import TYPES
from ltx2_pack.ltx_core.ops.quantized import quantized
from torch import Tensor, nn

PREFIX = "model.diffusion_model."


def is_plain(golden: Golden) -> bool:
    """The weights of the model are numbers a LoRA is added to, and that stay of their type."""
    return "base" not in golden.case


def uses_of(golden: Golden) -> list[LoraUse]:
    return [
        LoraUse(
            read_lora(weights_of(golden.tensors(f"in.lora{number}."), {}, f"lora{number}")), **use
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


@pytest.mark.parametrize("golden", cases("lora_fuse", is_plain))
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


@pytest.mark.parametrize("golden", cases("lora_fuse", is_plain))
def test_the_order_of_loras_changes_no_bit(golden: Golden):
    uses, base = uses_of(golden), base_of(golden)
    for name, weight in base.items():
        assert torch.equal(fused(name, weight, uses), fused(name, weight, uses[::-1])), name


@pytest.mark.parametrize("golden", cases("lora_fuse", is_plain))
def test_what_a_lora_does_not_know_is_counted_and_left_alone(golden: Golden):
    uses, base = uses_of(golden), base_of(golden)
    shapes = {name: tensor.shape for name, tensor in base.items()}
    unmatched = [name for use in uses for name in match(use.lora, shapes).unmatched]
    assert sorted(unmatched) == sorted(golden.case.get("unmatched", []))
    for name, weight in base.items():
        touched = any(use.lora.changes_of(name) for use in uses)
        assert (fused(name, weight, uses) is weight) != touched


def network_of(base: dict[str, Tensor]) -> nn.Module:
    """Build a network on the meta device whose parameters carry the names of a base."""
    network = nn.Module()
    for name, weight in base.items():
        module = network
        *path, last = name.split(".")
        for part in path:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        parameter = nn.Parameter(torch.empty_like(weight, device="meta"), requires_grad=False)
        module.register_parameter(last, parameter)
    return network


@pytest.mark.parametrize("golden", cases("lora_fuse", is_plain))
def test_laying_out_again_without_loras_gives_the_base_bit_for_bit(golden: Golden):
    base, cpu = base_of(golden), torch.device("cpu")
    part = Part(network_of(base), base, role="transformer", source="base")
    part.lay_out(cpu, loras=uses_of(golden))
    changed = {name: tensor.clone() for name, tensor in part.network.state_dict().items()}
    part.lay_out(cpu)
    for name, tensor in part.network.state_dict().items():
        assert torch.equal(tensor, part.weights[name]), name
    assert any(not torch.equal(changed[name], part.weights[name]) for name in changed)


@pytest.mark.parametrize("golden", cases("lora_fuse", lambda golden: "streams" in golden.case))
def test_modules_belong_to_the_stream_of_their_output(golden: Golden):
    for module, stream in golden.case["streams"].items():
        assert stream_of(module) == stream, module


def quantised_of(golden: Golden) -> Weights:
    """Return the base as a file; which of its weights are GGUF blocks the case says."""
    stored = golden.tensors("weights.")
    if golden.case["base"] != "gguf":
        return weights_of(stored, {}, golden.path.name)
    shape = tuple(golden.case["orig_shape"])
    number = next(n for n, kind in TYPES.items() if kind.name == golden.case["gguf_type"])
    file = weights_of({}, {}, golden.path.name)
    file._tensors = stored
    file._keys = dict.fromkeys(stored)
    file._packings = {
        key: Packing("gguf", shape, {"weight": key}, tensor.nbytes, gguf_type=number)
        for key, tensor in stored.items()
    }
    return file


def network_for(file: Weights) -> nn.Module:
    """Build a network of linear layers for every weight of a file, without biases."""
    network = nn.Module()
    for key in file:
        *path, _ = key.removeprefix(PREFIX).split(".")
        module = network
        for part in path[:-1]:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        rows, columns = file.shape(key)
        module.add_module(path[-1], quantized.Linear(columns, rows, bias=False, device="meta"))
    return network


QUANTISED = cases("lora_fuse", lambda golden: not is_plain(golden))


@torch.no_grad()
@pytest.mark.parametrize("golden", QUANTISED)
def test_a_lora_beside_a_quantised_weight_is_exact(golden: Golden):
    """What a layer answers to every unit vector is its weight, the LoRA included."""
    file = quantised_of(golden)
    part = Part(
        network_for(file), Renamed(file, ((PREFIX, ""),)), role="transformer", source=file.name
    )
    part.lay_out(torch.device("cpu"), dtype=torch.float32, loras=uses_of(golden))
    expected = golden.tensors("out.")
    exact = {key.removeprefix("exact."): t for key, t in expected.items() if "exact." in key}
    for key in file:
        layer = part.network.get_submodule(key.removeprefix(PREFIX).removesuffix(".weight"))
        assert (layer.packed is None) == (file.packing(key) is None)
        found, wanted = layer(torch.eye(layer.in_features)).T, exact.get(key, expected[key])
        plain = layer.packed is None  # fused, and rounded to the type of the file
        limit = half_step(wanted, file[key].dtype) if plain else torch.tensor(1e-4)
        assert ((found - wanted).abs() <= limit).all(), key


@pytest.mark.parametrize("golden", QUANTISED)
def test_what_the_references_fuse_anew_is_the_exact_result_rounded(golden: Golden):
    """Their new weights, dequantised, are within half a step of ours; steps differ by format."""
    expected, file = golden.tensors("out."), quantised_of(golden)
    plain = {key: t for key, t in expected.items() if not key.startswith("exact.")}
    fused_anew = weights_of(plain, {}, "fused")
    for key in file:
        base = file[key] if file.packing(key) is not None else file[key].float()
        found = fused(key.removeprefix(PREFIX), base, uses_of(golden))
        theirs = fused_anew[key].float()
        if golden.case["base"] == "nvfp4":
            packed = fused_anew.packed(key)
            scales = widened(unswizzled(packed.tensors["weight_scale"], len(theirs)))
            step = by_group(torch.ones_like(theirs), scales, NVFP4_GROUP)
            limit = step * packed.tensors["weight_scale_2"] * 1.05  # half of the widest step, 2
            # The reference adds in bfloat16 before it rounds.
            assert ((found - theirs).abs() <= limit + golden.tolerance).all(), key
        else:
            torch.testing.assert_close(found, theirs, rtol=0, atol=golden.tolerance)


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
    ("part", "words"),
    [
        ("lora_mid.weight", "lora_mid"), ("reshape_weight", "reshape_weight"),
        ("hada_t1", "hada_t1"), ("lokr_t2", "lokr_t2"),
        ("hada_w1_a", "LoHa and pair"), ("lokr_w1", "LoKr and pair"),
        ("dora_scale", "[3, 1]"),
    ],
)  # fmt: skip
def test_forms_that_linear_layers_do_not_have_are_refused_by_name(part, words):
    error = refusal(lora_weights(**{part: torch.ones(3, 1)}))
    assert error.code == "lora_unsupported"
    assert words in str(error)
    assert "attn1.to_q" in str(error)


NAME = "transformer_blocks.0.attn1.to_q"


def one_module(**parts: Tensor) -> Lora:
    return read({f"diffusion_model.{NAME}.{part}": tensor for part, tensor in parts.items()})


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_loha_multiplies_two_products_number_by_number():
    a, b, c, d = random(4, 3), random(3, 6, seed=1), random(4, 3, seed=2), random(3, 6, seed=3)
    lora = one_module(hada_w1_a=a, hada_w1_b=b, hada_w2_a=c, hada_w2_b=d, alpha=torch.tensor(2.0))
    found = fused(f"{NAME}.weight", torch.zeros(4, 6), [LoraUse(lora, 0.5)])
    torch.testing.assert_close(found, 0.5 * (2 / 3) * (a @ b) * (c @ d))


@pytest.mark.parametrize("thin", [True, False])
def test_lokr_is_a_kronecker_product(thin):
    first, down, up = random(2, 3), random(1, 2, seed=1), random(2, 1, seed=2)
    second = {"lokr_w2_a": up, "lokr_w2_b": down} if thin else {"lokr_w2": up @ down}
    lora = one_module(lokr_w1=first, **second, alpha=torch.tensor(3.0))
    scale = 3.0 if thin else 1.0  # alpha / rank, and no rank where both are whole
    found = fused(f"{NAME}.weight", torch.ones(4, 6), [LoraUse(lora, 0.5)])
    torch.testing.assert_close(found, 1 + 0.5 * scale * torch.kron(first, up @ down))


def test_dora_by_columns_takes_the_lengths_of_the_result():
    down, up, scale, weight = random(2, 6), random(4, 2, seed=1), random(1, 6, seed=2), random(4, 6)
    parts = {"lora_A.weight": down, "lora_B.weight": up, "dora_scale": scale}
    result = weight + up @ down
    expected = result * scale / result.norm(dim=0)
    found = fused(f"{NAME}.weight", weight, [LoraUse(one_module(**parts))])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_the_last_of_several_replacements_counts_and_others_are_added_to_it():
    value = random(4, 6)
    first, last = one_module(set_weight=value + 1), one_module(set_weight=value)
    more = read(lora_weights())
    uses = [LoraUse(more, 0.5), LoraUse(first, 0.3), LoraUse(last, 0.3)]
    expected = value + more.pairs[NAME].delta(0.5, torch.device("cpu"))
    assert torch.equal(fused(f"{NAME}.weight", random(4, 6, seed=5), uses), expected)
    assert torch.equal(fused(f"{NAME}.weight", value, [LoraUse(first, 0.0)]), value)


def test_differences_of_norms_and_biases():
    lora = one_module(w_norm=random(4), diff_b=random(4, seed=1))
    for parameter, seed in (("weight", 0), ("bias", 1)):
        found = fused(f"{NAME}.{parameter}", torch.ones(4), [LoraUse(lora, 2.0)])
        torch.testing.assert_close(found, 1 + 2 * random(4, seed=seed))
    assert str(match(lora, {f"{NAME}.bias": (4,)})).endswith("1 of 1 modules matched")


@pytest.mark.parametrize(
    "parts", [("hada_w1_a", "hada_w1_b", "hada_w2_a"), ("lokr_w1", "lokr_w2_a"), ("lokr_w1",),
              ("dora_scale",)],
)  # fmt: skip
def test_half_of_another_form_is_refused(parts):
    with pytest.raises(LTX2Error) as caught:
        one_module(**{part: torch.ones(2, 2) for part in parts})
    assert caught.value.code == "lora_incomplete"
    assert NAME in str(caught.value)


def test_strengths_of_streams_go_before_the_common_one():
    lora = read({**lora_weights(), **lora_weights("transformer_blocks.0.audio_attn1.to_q")})
    video, audio = f"{NAME}.weight", "transformer_blocks.0.audio_attn1.to_q.weight"
    use = LoraUse(lora, 0.5, audio_strength=0.0)
    assert (use.strength_of(video), use.strength_of(audio)) == (0.5, 0.0)
    weight = torch.ones(4, 6)
    assert fused(audio, weight, [use]) is weight
    assert torch.equal(fused(video, weight, [use]), fused(video, weight, [LoraUse(lora, 0.5)]))


@pytest.mark.parametrize(
    "tensors",
    [
        {"x.lora_A.weight": torch.ones(2, 6, 1, 1), "x.lora_B.weight": torch.ones(4, 2)},
        {"x.lora_A.weight": torch.ones(0, 6), "x.lora_B.weight": torch.ones(4, 0)},
        {"x.lora_A.weight": torch.ones(3, 6), "x.lora_B.weight": torch.ones(4, 2)},
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
