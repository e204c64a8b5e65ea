"""A network laid out from quantised weights: what rests, what a LoRA does, what is let go."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import tensors_of
from live_bytes import LiveBytes
from ltx2_pack.ltx_core.checkpoint.lora import Lora, LoraUse, fused
from ltx2_pack.ltx_core.checkpoint.lora_changes import Difference, Dora, LoraPair
from ltx2_pack.ltx_core.checkpoint.part import Part
from ltx2_pack.ltx_core.checkpoint.weights import open_weights, weights_of
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.ops.native import native
from ltx2_pack.ltx_core.ops.quantized import Linear, quantized
from ltx2_pack.ltx_core.transformer.held import Hold
from ltx2_pack.ltx_core.transformer.load import transformer_part
from ltx2_pack.ltx_core.transformer.model import Transformer
from quantised_files import FORMATS, quantised
from safetensors.torch import save_file
from torch import Tensor
from transformers_at_hand import small_streams, small_transformer

CPU = torch.device("cpu")
PREFIX = "model.diffusion_model."
LAYER = "transformer_blocks.2.attn1.to_q"
#: Wide enough for groups of 16, and with two blocks that may be held quantised.
WIDE = {
    "num_layers": 6,
    "attention_head_dim": 16,
    "cross_attention_dim": 32,
}


@pytest.fixture(scope="module")
def plain_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a small transformer in bfloat16."""
    state = small_transformer(WIDE).state_dict()
    path = tmp_path_factory.mktemp("plain") / "m.safetensors"
    save_file({PREFIX + name: tensor.bfloat16() for name, tensor in state.items()}, path)
    return path


def packed_part(plain: Path, kind: str, **options: Any) -> Part[Transformer]:
    path = quantised(plain, plain.with_name(f"{kind}.safetensors"), kind)
    return transformer_part(open_weights(path), layers=quantized, **options)


@torch.no_grad()
def answers(part: Part[Transformer], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    streams = small_streams(dtype=dtype)
    for name, width in (("video", 32), ("audio", 16)):
        context = torch.randn(1, 5, width, generator=torch.Generator().manual_seed(width))
        streams[name] = replace(streams[name], context=context.to(dtype))
    return [*part.network(**streams)]


def lora(rank: int = 3, module: str = LAYER, seed: int = 0, rows: int = 32) -> Lora:
    generator = torch.Generator().manual_seed(seed)
    pair = LoraPair(
        torch.randn(rank, 32, generator=generator) * 0.2,
        torch.randn(rows, rank, generator=generator) * 0.2,
        alpha=2.0,
    )
    return Lora(f"lora{seed}", {module: pair})


def layer(part: Part[Transformer]) -> Linear:
    found = part.network.get_submodule(LAYER)
    assert isinstance(found, Linear)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", FORMATS)
def test_memory_holds_what_the_file_holds(plain_file: Path, kind: str, dtype: torch.dtype):
    part = packed_part(plain_file, kind)
    with LiveBytes() as bytes_of:
        part.lay_out(CPU, dtype=dtype)
    assert bytes_of.live == part.laid_out_bytes(dtype)
    linear = [m for m in part.network.modules() if isinstance(m, Linear) and m.packed is not None]
    packed = sum(layer.packed.bytes for layer in linear if layer.packed is not None)
    plain = sum(t.nbytes for t in part.network.state_dict().values() if not t.is_meta)
    assert bytes_of.live == packed + plain
    assert packed < 0.8 * sum(2 * layer.weight.numel() for layer in linear)
    part.rest()
    assert bytes_of.live == 0


@pytest.mark.parametrize("kind", FORMATS)
def test_answers_are_those_of_the_dequantised_weights(plain_file: Path, kind: str):
    part = packed_part(plain_file, kind)
    part.lay_out(CPU, dtype=torch.float32)
    weights = open_weights(plain_file.with_name(f"{kind}.safetensors"))
    numbers = weights_of({key: weights[key] for key in weights}, {}, "numbers")
    plain = transformer_part(numbers)
    plain.lay_out(CPU, dtype=torch.float32)
    for ours, theirs in zip(answers(part), answers(plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_layers_that_cannot_hold_packed_weights_get_their_numbers(plain_file: Path):
    part = packed_part(plain_file, "int8_convrot")
    expected = part.lay_out(CPU, dtype=torch.float32) and answers(part)
    weights = open_weights(plain_file.with_name("int8_convrot.safetensors"))
    plain = transformer_part(weights, layers=native)
    plain.lay_out(CPU, dtype=torch.float32)
    assert not any(tensor.is_meta for tensor in plain.network.state_dict().values())
    for ours, theirs in zip(answers(plain), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_lora_beside_is_a_lora_fused_to_rounding(plain_file: Path, kind: str):
    uses = [LoraUse(lora(), 0.7), LoraUse(lora(5, seed=1), -0.4)]
    part = packed_part(plain_file, kind)
    part.lay_out(CPU, dtype=torch.float32, loras=uses)
    branch = layer(part).branch
    assert branch is not None
    assert branch.down.shape == (8, 32)
    weight = part.weights[f"{LAYER}.weight"]
    expected = fused(f"{LAYER}.weight", weight, uses)
    with torch.no_grad():
        found = layer(part)(torch.eye(32)) - layer(part).bias
    torch.testing.assert_close(found.T, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_lora_comes_and_goes_without_a_trace(plain_file: Path, kind: str):
    part = packed_part(plain_file, kind)
    part.lay_out(CPU, dtype=torch.float32)
    before = answers(part)
    part.lay_out(CPU, dtype=torch.float32, loras=[LoraUse(lora(), 2.0)])
    changed = answers(part)
    part.lay_out(CPU, dtype=torch.float32)
    for old, other, new in zip(before, changed, answers(part), strict=True):
        assert torch.equal(old, new)
        assert not torch.equal(old, other)


def test_the_room_of_a_branch_is_counted(plain_file: Path):
    part, uses = packed_part(plain_file, "fp8_scaled"), [LoraUse(lora())]
    with LiveBytes() as bytes_of:
        part.lay_out(CPU, dtype=torch.bfloat16, loras=uses)
    alone, together = (part.laid_out_bytes(torch.bfloat16, these) for these in ((), uses))
    assert bytes_of.live == together == alone + 2 * 3 * (32 + 32)


def test_a_lora_of_one_stream_leaves_the_other_as_it_was(plain_file: Path):
    audio = "transformer_blocks.2.audio_to_video_attn.to_q"
    both = Lora("both", lora().pairs | lora(module=audio, rows=16).pairs)
    part = packed_part(plain_file, "fp8_scaled")
    part.lay_out(CPU, loras=[LoraUse(both, 1.0, video_strength=0.0)], dtype=torch.float32)
    assert layer(part).branch is None


@pytest.mark.parametrize("kind", ["dora", "difference"])
def test_a_change_no_branch_can_make_is_written_into_the_numbers(plain_file: Path, kind: str):
    pair = lora().pairs[LAYER]
    values = torch.randn(32, 32, generator=torch.Generator().manual_seed(5))
    change = Dora(pair, values[:, :1].abs()) if kind == "dora" else Difference(values)
    use = LoraUse(Lora("whole", {}, changes={f"{LAYER}.weight": (change,)}), 0.6)
    part = packed_part(plain_file, "fp8_scaled")
    with LiveBytes() as bytes_of:
        part.lay_out(CPU, dtype=torch.float32, loras=[use])
    assert bytes_of.live == part.laid_out_bytes(torch.float32, [use])
    assert layer(part).packed is None
    expected = fused(f"{LAYER}.weight", part.weights[f"{LAYER}.weight"], [use])
    assert torch.equal(layer(part).weight, expected)
    part.lay_out(CPU, dtype=torch.float32)
    assert layer(part).packed is not None
    assert layer(part).weight.is_meta


def test_resting_lets_go_of_packed_weights(plain_file: Path):
    part = packed_part(plain_file, "int8_convrot")
    part.lay_out(CPU, loras=[LoraUse(lora())], dtype=torch.float32)
    part.rest()
    for module in part.network.modules():
        if isinstance(module, Linear):
            assert module.packed is None
            assert module.branch is None


def test_the_dtype_of_a_packed_layer_is_what_it_computes_in(plain_file: Path):
    part = packed_part(plain_file, "fp8_scaled")
    part.lay_out(CPU, dtype=torch.bfloat16)
    assert layer(part).weight.dtype == torch.bfloat16
    for answer in answers(part, torch.bfloat16):
        assert answer.dtype == torch.bfloat16


def held_names(part: Part[Transformer]) -> set[str]:
    return {
        name
        for name, module in part.network.named_modules()
        if isinstance(module, Linear) and module.packed is not None
    }


@pytest.mark.parametrize("hold", [Hold.FP8, Hold.INT8])
def test_a_plain_file_is_held_quantised_in_the_layers_that_bear_it(plain_file: Path, hold: Hold):
    weights = open_weights(plain_file)
    part = transformer_part(weights, layers=quantized, hold=hold)
    with LiveBytes() as bytes_of:
        part.lay_out(CPU, dtype=torch.bfloat16)
    assert bytes_of.live == part.laid_out_bytes(torch.bfloat16)
    names = held_names(part)
    blocks = {int(name.split(".")[1]) for name in names}
    assert blocks == {2, 3}
    assert len(names) == 2 * 28
    assert not [name for name in names if "gate" in name or "norm" in name]
    plain = transformer_part(weights)
    plain.lay_out(CPU, dtype=torch.bfloat16)
    quantised_numbers = 2 * sum(plain.network.get_submodule(name).weight.numel() for name in names)
    assert part.laid_out_bytes(torch.bfloat16) < plain.num_bytes - 0.2 * quantised_numbers


@pytest.mark.parametrize(("hold", "limit"), [(Hold.FP8, 0.02), (Hold.INT8, 0.006)])
def test_weights_held_quantised_answer_nearly_the_same(plain_file: Path, hold: Hold, limit: float):
    weights = open_weights(plain_file)
    part, plain = transformer_part(weights, layers=quantized, hold=hold), transformer_part(weights)
    for one in (part, plain):
        one.lay_out(CPU, dtype=torch.float32)
    for ours, theirs in zip(answers(part), answers(plain), strict=True):
        assert (ours - theirs).norm() <= limit * theirs.norm()
        assert not torch.equal(ours, theirs)


def test_a_lora_on_held_weights_stays_beside_them(plain_file: Path):
    part = transformer_part(open_weights(plain_file), layers=quantized, hold=Hold.FP8)
    part.lay_out(CPU, dtype=torch.float32)
    before = layer(part).packed
    part.lay_out(CPU, dtype=torch.float32, loras=[LoraUse(lora())])
    after = layer(part).packed
    assert layer(part).branch is not None
    assert before is not None and after is not None
    assert torch.equal(before.tensors["weight"].float(), after.tensors["weight"].float())


@pytest.mark.parametrize("code", [0x7F, 0xFF])
def test_a_float8_weight_that_is_no_number_is_named(plain_file: Path, tmp_path: Path, code: int):
    source = quantised(plain_file, tmp_path / "fp8.safetensors", "fp8_scaled")
    tensors, metadata = tensors_of(source)
    tensors[f"{PREFIX}{LAYER}.weight"].view(torch.uint8)[3, 5] = code
    save_file(tensors, tmp_path / "damaged.safetensors", metadata)
    part = transformer_part(open_weights(tmp_path / "damaged.safetensors"), layers=quantized)
    with pytest.raises(LTX2Error, match=rf"damaged\.safetensors.*{LAYER}\.weight") as caught:
        part.lay_out(CPU, dtype=torch.bfloat16)
    assert caught.value.code == "not_finite"
    assert part.device is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("hold", [Hold.FP8, Hold.INT8])
def test_a_plain_weight_that_is_no_number_is_named_before_it_is_held(
    plain_file: Path, tmp_path: Path, hold: Hold, value: float
):
    tensors, metadata = tensors_of(plain_file)
    tensors[f"{PREFIX}{LAYER}.weight"][3, 5] = value
    save_file(tensors, tmp_path / "damaged.safetensors", metadata)
    weights = open_weights(tmp_path / "damaged.safetensors")
    part = transformer_part(weights, layers=quantized, hold=hold)
    with pytest.raises(LTX2Error, match=rf"damaged\.safetensors.*{LAYER}\.weight") as caught:
        part.lay_out(CPU, dtype=torch.bfloat16)
    assert caught.value.code == "not_finite"


def test_padding_is_cut_off_where_the_model_is_narrower(tmp_path: Path):
    network = torch.nn.Sequential(Linear(28, 20, bias=False, device="meta"))
    stored = FORMATS["nvfp4"]("0", torch.empty(32, 32))
    save_file(stored, tmp_path / "m.safetensors")
    weights = open_weights(tmp_path / "m.safetensors")
    part = Part(network, weights, role="test", source="m.safetensors")
    part.lay_out(CPU, dtype=torch.float32)
    with torch.no_grad():
        found = network(torch.eye(28)).T
    torch.testing.assert_close(found, weights["0.weight"][:20, :28])


def test_a_packed_weight_of_another_width_is_refused(tmp_path: Path):
    network = torch.nn.Sequential(Linear(48, 16, bias=False, device="meta"))
    save_file(FORMATS["fp8_scaled"]("0", torch.ones(16, 32)), tmp_path / "m.safetensors")
    weights = open_weights(tmp_path / "m.safetensors")
    part = Part(network, weights, role="test", source="m.safetensors")
    with pytest.raises(LTX2Error, match=r"m\.safetensors.*0\.weight.*\[16, 32\]") as caught:
        part.lay_out(CPU)
    assert caught.value.code == "shape_mismatch"
