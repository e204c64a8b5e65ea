"""Tile plans: what they cover, what they refuse, and how they follow from free memory."""

from itertools import pairwise

import pytest
import torch
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.grid import LatentShape, ScaleFactors
from ltx2_pack.ltx_core.memory.tiles import (
    ByCount,
    BySize,
    TilePlan,
    check_encode_cuts,
    in_frames,
    in_pixels,
    plan_decode,
    plan_encode,
    split_by_count,
    split_by_size,
    tile_plan,
    whole,
)
from ltx2_pack.ltx_core.video_vae.blending import axis_masks

SCALE = ScaleFactors()
SHAPE = LatentShape(16, 68, 120)


@pytest.mark.parametrize("length", [1, 5, 8, 9, 23, 40])
@pytest.mark.parametrize(("size", "overlap"), [(2, 0), (5, 2), (8, 3), (8, 4)])
def test_tiles_cover_an_axis_and_their_weights_add_up(length: int, size: int, overlap: int) -> None:
    tiles = split_by_size(length, size, overlap)
    assert (tiles[0].start, tiles[-1].end) == (0, length)
    assert (tiles[0].left, tiles[-1].right) == (0, 0)
    for before, after in pairwise(tiles):
        assert before.end - after.start == before.right == after.left == overlap
    assert axis_masks([in_pixels(tile, 4) for tile in tiles], from_zero=False).total is None


@pytest.mark.parametrize("length", [7, 16, 22])
@pytest.mark.parametrize(("count", "overlap"), [(1, 0), (2, 1), (3, 2)])
def test_tiles_by_count_are_of_nearly_one_length(length: int, count: int, overlap: int) -> None:
    tiles = split_by_count(length, count, overlap)
    lengths = [tile.end - tile.start for tile in tiles]
    assert len(tiles) == count
    assert max(lengths) - min(lengths) <= 1
    assert sum(lengths) == length + overlap * (count - 1)


def test_frames_of_time_tiles_add_up() -> None:
    plan = tile_plan(SHAPE, SCALE, frames=BySize(64, 24))
    assert sum(plan.group_frames(8)) == 121
    times = axis_masks([in_frames(tile, 8) for tile in plan.frames], from_zero=True)
    assert times.total is None
    assert all(mask[0] == 0 for mask in times.masks[1:])


@pytest.mark.parametrize(
    "cut", [BySize(32, 0), BySize(100, 32), BySize(128, 40), BySize(64, 64), BySize(64, -32),
            ByCount(0, 0), ByCount(2, 70), ByCount(2, -1)],
)  # fmt: skip
def test_impossible_cuts_are_refused(cut: BySize | ByCount) -> None:
    with pytest.raises(LTX2Error, match="height") as caught:
        tile_plan(SHAPE, SCALE, height=cut)
    assert caught.value.code == "tiles"


def test_encoding_needs_a_larger_overlap() -> None:
    check_encode_cuts(BySize(64, 16), BySize(512, 64), ByCount(2, 1))
    check_encode_cuts(BySize(0, 0))
    for cuts in ((BySize(64, 8), None, None), (None, BySize(512, 32), None)):
        with pytest.raises(LTX2Error):
            check_encode_cuts(*cuts)


def area(rows: int, columns: int) -> int:
    return rows * columns


@pytest.mark.parametrize("plan", [plan_decode, plan_encode])
@pytest.mark.parametrize("free", [80 * 140, 68 * 120, 5000, 1000, 300, 120])
def test_a_plan_fits_the_free_memory(plan: type[plan_decode], free: int) -> None:
    tiles = plan(SHAPE, free, area)
    assert area(tiles.largest.height, tiles.largest.width) <= free
    assert tiles.largest.frames == SHAPE.frames
    for axis, length in ((tiles.height, SHAPE.height), (tiles.width, SHAPE.width)):
        assert (axis[0].start, axis[-1].end) == (0, length)
    if free >= 68 * 120:
        assert tiles == whole(SHAPE)


def test_a_plan_has_no_more_tiles_than_it_needs() -> None:
    assert plan_decode(SHAPE, 68 * 61, area).tiles == 2
    assert plan_decode(SHAPE, 36 * 61, area).tiles == 4


def test_too_little_memory_is_said_in_numbers() -> None:
    with pytest.raises(
        LTX2Error, match="1,024 MiB are needed even in small tiles, 10 MiB"
    ) as caught:
        plan_decode(SHAPE, 10 << 20, lambda rows, columns: 1 << 30)
    assert caught.value.code == "out_of_memory"


def test_a_plan_of_one_tile_has_no_ramps() -> None:
    plan = whole(LatentShape(3, 2, 4))
    assert isinstance(plan, TilePlan)
    masks = axis_masks([in_pixels(tile, 32) for tile in plan.width], from_zero=False)
    assert torch.equal(masks.masks[0], torch.ones(128))
