"""Quantised weights of files: which tensors make one weight, and what is refused."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import tensors_of
from golden import FOLDER
from ltx2_pack.ltx_core.checkpoint.header import parse_metadata
from ltx2_pack.ltx_core.checkpoint.section import Section
from ltx2_pack.ltx_core.checkpoint.weights import Weights, open_weights, weights_of
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.ops.quantize import float8, int8
from ltx2_pack.ltx_core.ops.quantized import Linear, quantized
from ltx2_pack.ltx_core.text.load import connectors_part
from ltx2_pack.ltx_core.transformer.load import transformer_part
from quantised_files import blob, int8_convrot, nvfp4
from safetensors.torch import save_file
from torch import Tensor

FILES = FOLDER / "loading" / "files"
EXPECTED: dict[str, Any] = json.loads((FILES / "expected.json").read_text("utf-8"))
SAMPLES = [
    (name, key)
    for name, entry in EXPECTED.items()
    if name.endswith(".safetensors")
    for key in entry.get("samples", ())
]
QUANTISED = [n for n, e in EXPECTED.items() if not n.startswith("_") and e.get("quant")]
E4M3 = torch.float8_e4m3fn


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def file(tensors: dict[str, Tensor], **metadata: Any) -> Weights:
    return weights_of(tensors, parse_metadata(metadata), "mine.safetensors")


def refusal(tensors: dict[str, Tensor], **metadata: Any) -> LTX2Error:
    with pytest.raises(LTX2Error, match=r"mine\.safetensors") as caught:
        file(tensors, **metadata)
    return caught.value


@pytest.mark.golden
@pytest.mark.parametrize(("name", "key"), SAMPLES)
def test_numbers_of_a_published_layout(name: str, key: str):
    expected = EXPECTED[name]["samples"][key]
    tensor = open_weights(FILES / name)[key]
    assert list(tensor.shape) == expected["shape"]
    spread = 1e-3 * tensor.abs().sum().item()
    assert tensor.sum().item() == pytest.approx(expected["sum"], abs=spread)
    assert tensor.flatten()[:4].tolist() == pytest.approx(expected["first"], abs=1e-4)


@pytest.mark.golden
@pytest.mark.parametrize("name", QUANTISED)
def test_what_lies_beside_weights_is_no_key(name: str):
    weights = open_weights(FILES / name)
    packed = [key for key in weights if weights.packing(key) is not None]
    if name.endswith(".safetensors"):
        # One more where a vector that is no layer's weight has a scale of its own.
        layers = [key for key in packed if key.endswith(".weight")]
        assert len(layers) == EXPECTED[name]["quant"]["layers"]
    assert packed
    marks = ("scale", "comfy_quant", "scaled_fp8", "scale_2", "scale_weight", "scale_input")
    assert not [key for key in weights if key.rpartition(".")[2].endswith(marks)]
    for key in packed:
        assert weights[key].shape == weights.shape(key)
        assert weights.packed(key).bytes == weights.packing(key).bytes


MODELS = [name for name in QUANTISED if "transformer" in EXPECTED[name]["components"]]


@pytest.mark.golden
@pytest.mark.parametrize("name", MODELS)
def test_the_transformer_of_a_published_layout_rests_packed(name: str, caplog: Any):
    weights = open_weights(FILES / name)
    part = transformer_part(weights, layers=quantized)
    with caplog.at_level(logging.WARNING, logger="ltx2_pack"):
        network = part.lay_out(torch.device("cpu"), dtype=torch.float32)
    assert "unknown" not in caplog.text
    layers = {f"{n}.weight": m for n, m in network.named_modules() if isinstance(m, Linear)}
    packed = {name for name, layer in layers.items() if layer.packed is not None}
    assert packed == {name for name in part.weights if part.weights.packing(name) is not None} - {
        "keyframes_abs_pos_embedding"
    }
    for name, tensor in network.state_dict().items():
        assert tensor.is_meta == (name in packed)
        assert tensor.dtype == torch.float32


@pytest.mark.golden
@pytest.mark.parametrize(
    "name", [name for name in MODELS if "connectors" in EXPECTED[name]["components"]]
)
def test_connectors_rest_as_their_file_has_them(name: str):
    weights = open_weights(FILES / name)
    section = weights.section("transformer")
    named = None if section is None else Section("transformer", section)
    part = connectors_part(weights, named, layers=quantized)
    network = part.lay_out(torch.device("cpu"), dtype=torch.float32)
    packed = sum(isinstance(m, Linear) and m.packed is not None for m in network.modules())
    assert packed == sum(part.weights.packing(name) is not None for name in part.weights)
    assert (packed > 0) == name.endswith(("convrot.safetensors", ".gguf"))


def fp8(layer: str = "a", **changes: Tensor | None) -> dict[str, Tensor]:
    stored = dict(float8(random(4, 8)).tensors) | changes
    return {f"{layer}.{name}": t for name, t in stored.items() if t is not None}


def test_the_layers_own_description_goes_before_the_list_of_the_file():
    tensors = int8_convrot("a", random(4, 16))
    table = json.dumps({"layers": {"a": {"format": "int8_tensorwise"}}})
    assert file(tensors, _quantization_metadata=table).packing("a.weight").group == 16
    del tensors["a.comfy_quant"]
    assert file(tensors, _quantization_metadata=table).packing("a.weight").group is None


def test_options_may_stand_under_params():
    tensors = int8_convrot("a", random(4, 16))
    params = {"convrot": True, "convrot_groupsize": 4}
    tensors["a.comfy_quant"] = blob(format="int8_tensorwise", params=params)
    assert file(tensors).packing("a.weight").group == 4


def test_both_spellings_of_scales():
    new = file(fp8(input_scale=torch.tensor(0.5)))
    old = file(
        {
            "a.weight": fp8()["a.weight"],
            "a.scale_weight": fp8()["a.weight_scale"].reshape(1),
            "a.scale_input": torch.tensor([0.5]),
            "scaled_fp8": torch.zeros(2, dtype=E4M3),
        }
    )
    assert [*new] == [*old] == ["a.weight"]
    assert torch.equal(new["a.weight"], old["a.weight"])
    for found in (new, old):
        assert found.packed("a.weight").tensors["input_scale"].item() == 0.5


def test_float8_without_any_scale_is_plain_numbers():
    weight = random(4, 8).to(E4M3)
    found = file({"a.weight": weight, "a.bias": weight[:, 0].clone()})
    assert torch.equal(found["a.weight"], weight.float())
    assert torch.equal(found["a.bias"].float(), weight[:, 0].float())


def test_float8_numbers_with_a_scale_of_their_own_are_multiplied():
    vector = random(1, 8).to(E4M3)
    found = file({"keyframes": vector, "keyframes_scale": torch.tensor(0.25)})
    assert [*found] == ["keyframes"]
    assert torch.equal(found["keyframes"], vector.float() * 0.25)


def test_one_scale_for_128_rows_and_columns():
    codes, scale = random(256, 384).to(E4M3), random(2, 3).abs()
    found = file({"a.weight": codes, "a.weight_scale": scale})["a.weight"]
    expected = codes.float() * scale.repeat_interleave(128, 0).repeat_interleave(128, 1)
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("tensors", "code", "words"),
    [
        (fp8(comfy_quant=blob(format="int2_mine")), "quant_unsupported", ["int2_mine", "mxfp8"]),
        (fp8(comfy_quant=torch.tensor([1, 2], dtype=torch.uint8)), "quant_unsupported", ["unread"]),
        (fp8(comfy_quant=blob(format="nvfp4"), weight_scale_2=torch.tensor(1.0)),
         "quant_unsupported", ["nvfp4 in F8_E4M3"]),
        (fp8(comfy_quant=blob(format="float8_e4m3fn"), weight_scale=None), "scale_missing",
         ["a is", "weight_scale"]),
        ({**fp8(), **fp8("b", weight_scale=None)}, "scale_missing", ["b is", "weight_scale"]),
        ({"a.weight": random(4, 8).to(torch.int8)}, "scale_missing", ["weight_scale"]),
        ({k: t for k, t in nvfp4("a", random(16, 16)).items() if "_2" not in k}, "scale_missing",
         ["weight_scale_2"]),
        ({"a.weight": random(4, 8), "a.weight_scale": torch.tensor(1.0)}, "scale_unused",
         ["a.weight_scale"]),
        ({"a.weight": random(4, 8), "b.scale_weight": torch.tensor(1.0)}, "scale_unused",
         ["b.scale_weight"]),
        (fp8(weight_s_channel=random(4)), "scale_unused", ["weight_s_channel"]),
        ({"a.weight": random(4, 8), "a.comfy_quant": blob(format="nvfp4")}, "quant_unsupported",
         ["a as", "F32"]),
        (fp8(weight_scale=random(3)), "shape_mismatch", ["a.weight_scale", "[3]", "[4, 1]"]),
        (fp8(weight_scale=torch.tensor(float("nan"))), "scale_not_finite", ["a.weight_scale"]),
        (fp8(weight_scale=torch.tensor(float("inf"))), "scale_not_finite", ["a.weight_scale"]),
        (fp8(input_scale=torch.tensor(float("nan"))), "scale_not_finite", ["a.input_scale"]),
        ({**int8_convrot("a", random(4, 16)),
          "a.comfy_quant": blob(format="int8_tensorwise", convrot=True, convrot_groupsize=8)},
         "quant_unsupported", ["groups of 8"]),
        ({**int8_convrot("a", random(4, 16)),
          "a.comfy_quant": blob(format="int8_tensorwise", convrot=True)},
         "quant_unsupported", ["groups of 256"]),
        ({**nvfp4("a", random(16, 32)), "a.weight_scale": torch.zeros(128, 8).to(E4M3)},
         "shape_mismatch", ["[128, 4]"]),
        ({"a.weight": torch.zeros(16, 5, dtype=torch.uint8), "a.weight_scale": torch.zeros(1),
          "a.weight_scale_2": torch.zeros(())}, "shape_mismatch", ["[16, 5]", "nvfp4"]),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_whole_is_refused(tensors, code, words):
    error = refusal(tensors)
    assert error.code == code
    assert error.needed
    for word in words:
        assert word in str(error)


@pytest.mark.parametrize(
    ("kind", "code"), [("nvfp4", 0x7F), ("nvfp4", 0xFF), ("bytes", 0x7F), ("mxfp8", 0xFF)]
)
def test_a_block_scale_that_is_no_number_is_named(kind: str, code: int):
    tensors = nvfp4("a", random(16, 32))
    if kind == "bytes":
        tensors["a.weight_scale"] = tensors["a.weight_scale"].view(torch.uint8)
    if kind == "mxfp8":
        tensors = {
            "a.weight": random(32, 32).to(E4M3),
            "a.weight_scale": torch.full((128, 4), 127, dtype=torch.uint8),
            "a.comfy_quant": blob(format="mxfp8"),
        }
    file(tensors)
    tensors["a.weight_scale"].view(torch.uint8)[3, 1] = code
    assert refusal(tensors).code == "scale_not_finite"


def test_large_scales_are_looked_at_when_they_are_read():
    scale = torch.ones(20_000, 1)
    scale[7] = float("inf")
    tensors = {"a.weight": torch.ones(20_000, 2, dtype=torch.int8), "a.weight_scale": scale}
    found = file(tensors)
    with pytest.raises(LTX2Error, match=r"mine\.safetensors.*a\.weight_scale") as caught:
        found.packed("a.weight")
    assert caught.value.code == "scale_not_finite"


def test_scales_of_plain_layers_that_change_nothing_are_passed_over():
    found = file({"a.weight": random(4, 8), "a.input_scale": torch.tensor(1.0)})
    assert [*found] == ["a.weight"]


def test_a_rotation_only_the_name_tells_of_is_warned_of(caplog: pytest.LogCaptureFixture):
    stored = int8(random(4, 16)).tensors
    tensors = {f"a.{name}": tensor for name, tensor in stored.items()}
    with caplog.at_level(logging.WARNING, logger="ltx2_pack"):
        weights_of(tensors, {}, "x-int8-convrot.safetensors")
    assert "convrot" in caplog.text
    caplog.clear()
    described = tensors | {"a.comfy_quant": blob(format="int8_tensorwise")}
    with caplog.at_level(logging.WARNING, logger="ltx2_pack"):
        weights_of(described, {}, "x-int8-convrot.safetensors")
        weights_of(tensors, {}, "x-int8.safetensors")
    assert not caplog.text


def test_a_file_and_its_tensors_in_memory_are_the_same(tmp_path: Path):
    tensors = {**fp8(), **int8_convrot("b", random(4, 16)), **nvfp4("c", random(16, 32))}
    save_file(tensors, tmp_path / "m.safetensors")
    opened, held = open_weights(tmp_path / "m.safetensors"), file(tensors)
    assert {*opened} == {*held}
    for key in held:
        assert torch.equal(opened[key], held[key])
        assert opened.shape(key) == held.shape(key)
        assert torch.equal(opened.rows(key, [2, 0]), held[key][[2, 0]])
    assert tensors_of(tmp_path / "m.safetensors")[0].keys() == tensors.keys()
