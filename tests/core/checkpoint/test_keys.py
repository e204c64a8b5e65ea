"""Prefix tables and strict assignment."""

import logging

import pytest
import torch
from ltx2_pack.ltx_core.checkpoint.keys import assign, rename
from ltx2_pack.ltx_core.errors import LTX2Error
from torch import nn

TABLE = (("a.skip.", None), ("a.", "x."), ("b.", ""))


def test_the_first_prefix_that_matches_decides():
    keys = ["a.w", "a.skip.w", "b.w", "c.w", "ab.w"]
    assert rename(keys, TABLE) == {"a.w": "x.w", "b.w": "w"}


def network() -> nn.Linear:
    return nn.Linear(3, 2, device="meta")


def state() -> dict[str, torch.Tensor]:
    return {"weight": torch.ones(2, 3), "bias": torch.ones(2)}


def test_weights_are_assigned_and_not_copied():
    layer, tensors = network(), state()
    assign(layer, tensors)
    assert layer.weight.data_ptr() == tensors["weight"].data_ptr()
    assert layer.bias.device.type == "cpu"


def test_the_stored_dtype_is_kept():
    layer = network()
    assign(layer, {key: tensor.bfloat16() for key, tensor in state().items()})
    assert layer.weight.dtype == torch.bfloat16


def test_missing_weights_are_counted_and_named():
    with pytest.raises(LTX2Error, match=r"m\.safetensors.*1 weights are missing.*bias") as caught:
        assign(network(), {"weight": torch.ones(2, 3)}, source="m.safetensors")
    assert caught.value.code == "missing_weights"


def test_another_shape_is_refused_with_both_shapes():
    with pytest.raises(LTX2Error, match=r"weight.*\[3, 2\].*\[2, 3\]") as caught:
        assign(network(), {**state(), "weight": torch.ones(3, 2)})
    assert caught.value.code == "shape_mismatch"


def test_surplus_weights_are_a_log_line(caplog):
    with caplog.at_level(logging.WARNING):
        assign(network(), {**state(), "more": torch.ones(1)}, source="m.safetensors")
    assert "m.safetensors" in caplog.text
    assert "more" in caplog.text
