"""Rotary tables against the reference implementation."""

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.ops.rope import (
    RopeLayout,
    RotaryTable,
    frequencies,
    rotary_table,
    rotate,
)
from ltx2_pack.ltx_core.transformer.rotary import RotaryTables
from transformers_at_hand import small_streams, small_transformer


@pytest.mark.parametrize("golden", cases("rope"))
def test_matches_the_reference(golden: Golden) -> None:
    case, given = golden.case, golden.tensors("in.")
    limits = tuple(float(limit) for limit in case["max_pos"])
    layout = RopeLayout(case["rope_type"])
    double = case["frequencies_precision"] == "float64"
    grid = frequencies(case["dim"], len(limits), case["theta"], double=double)
    table = rotary_table(
        given["positions"],
        grid,
        limits,
        dim=case["dim"],
        num_heads=case["heads"],
        layout=layout,
    )
    golden.check("freq_grid", grid)
    golden.check("cos", table.cos)
    golden.check("sin", table.sin)
    x = given["x"].unflatten(-1, (case["heads"], -1)).transpose(1, 2)  # [B, H, T, K]
    golden.check("x_rotated", rotate(x, table, layout).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("layout", list(RopeLayout))
def test_rotating_back_restores(layout: RopeLayout) -> None:
    positions = small_streams()["video"].positions
    grid = frequencies(48, 3, 10000.0, double=True)
    table = rotary_table(
        positions, grid, (20.0, 2048.0, 2048.0), dim=48, num_heads=2, layout=layout
    )
    x = torch.randn(1, 2, positions.shape[2], 24, generator=torch.Generator().manual_seed(0))
    there = rotate(x, table, layout)
    back = rotate(there, RotaryTable(table.cos, -table.sin), layout)
    assert (there - x).abs().max() > 0.1
    torch.testing.assert_close(back, x, rtol=0, atol=1e-5)


def test_tables_are_made_once_per_positions() -> None:
    tables: RotaryTables = small_transformer().rotary
    positions = small_streams()["video"].positions
    first = tables.self_attention("video", positions, torch.float32)
    assert tables.self_attention("video", positions.clone(), torch.float32) is first
    moved = tables.self_attention("video", positions + 1, torch.float32)
    assert not torch.equal(moved.cos, first.cos)
    tables.clear()
    torch.testing.assert_close(tables.self_attention("video", positions, torch.float32), first)


def test_resting_weights_let_go_of_the_tables() -> None:
    network = small_transformer()
    positions = small_streams()["video"].positions
    first = network.rotary.self_attention("video", positions, torch.float32)
    network.to_empty(device="meta")
    assert network.rotary.self_attention("video", positions, torch.float32) is not first


def test_tables_of_a_batch_with_equal_positions_have_one_item() -> None:
    tables = small_transformer().rotary
    positions = small_streams(batch=3)["video"].positions
    assert tables.self_attention("video", positions, torch.bfloat16).cos.shape[0] == 1
    positions = positions + torch.arange(3).view(3, 1, 1, 1)
    assert tables.self_attention("video", positions, torch.bfloat16).cos.shape[0] == 3
