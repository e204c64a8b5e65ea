"""Weights that are no numbers, and weights that are all zero."""

import pytest
import torch
from ltx2_pack.ltx_core.checkpoint.part import Part
from ltx2_pack.ltx_core.checkpoint.soundness import Soundness
from ltx2_pack.ltx_core.errors import LTX2Error
from torch import nn

CPU = torch.device("cpu")
DTYPES = [torch.float16, torch.bfloat16, torch.float32]


def refused(weights: dict[str, torch.Tensor]) -> LTX2Error:
    sound = Soundness()
    for name, weight in weights.items():
        sound.add(name, weight)
    with pytest.raises(LTX2Error) as caught:
        sound.finish("m.safetensors")
    return caught.value


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("length", [1, 7, 64, 70_001])
def test_a_weight_that_is_no_number_is_named_wherever_it_stands(dtype, bad, length):
    for place in {0, length // 2, length - 1}:
        weight = torch.ones(length, dtype=dtype)
        weight[place] = bad
        error = refused({"good.weight": torch.ones(3), "bad.weight": weight})
        assert error.code == "not_finite"
        assert "bad.weight" in error.what
        assert "good" not in error.what
        assert "m.safetensors" in error.what
        assert error.needed
        assert error.where


def test_of_many_bad_weights_three_are_named_and_the_rest_counted():
    bad = {f"b{n}": torch.tensor([float("nan")]) for n in range(5)}
    assert "b0, b1, b2 and 2 more are not finite" in refused(bad).what


@pytest.mark.parametrize("dtype", DTYPES)
def test_matrices_of_zeros_are_named_in_the_log(dtype, caplog):
    sound = Soundness()
    sound.add("zero.weight", torch.zeros(3, 4, dtype=dtype))
    sound.add("one.weight", torch.eye(3, dtype=dtype))
    sound.add("zero.bias", torch.zeros(3, dtype=dtype))
    sound.finish("m.safetensors")
    (record,) = caplog.records
    assert "m.safetensors: zero.weight is all zeros" in record.message


def test_what_is_packed_or_has_no_storage_is_not_looked_at(caplog):
    sound = Soundness()
    sound.add("packed", torch.zeros(2, 2, dtype=torch.uint8))
    sound.add("float8", torch.zeros(2, 2).to(torch.float8_e4m3fn))
    sound.add("elsewhere", torch.empty(2, 2, device="meta"))
    sound.add("nothing", torch.empty(0, 2))
    sound.finish("m.safetensors")
    assert not caplog.records


def test_a_part_with_such_a_weight_is_not_laid_out():
    weights = {"weight": torch.tensor([[1.0, float("nan")]])}
    network = nn.Linear(2, 1, bias=False, device="meta")
    part = Part(network, weights, role="test", source="m.safetensors")
    with pytest.raises(LTX2Error) as caught:
        part.lay_out(CPU)
    assert caught.value.code == "not_finite"
    assert network.weight.is_meta
    assert part.device is None


def test_a_number_beyond_the_range_it_is_cast_to_is_not_finite():
    weights = {"weight": torch.tensor([[1.0, 1e5]])}
    network = nn.Linear(2, 1, bias=False, device="meta")
    part = Part(network, weights, role="test", source="m.safetensors")
    with pytest.raises(LTX2Error, match="weight is not finite"):
        part.lay_out(CPU, dtype=torch.float16)
