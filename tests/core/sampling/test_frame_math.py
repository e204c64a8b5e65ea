"""Counting frames as the reference does."""

import pytest
from golden import Golden, cases
from ltx2_pack.ltx_core.grid import (
    audio_latent_frames,
    even_keyframes,
    frames_between,
    frames_down,
)
from ltx2_pack.ltx_core.sampling.segments import (
    canvas_of,
    doubled,
    next_keyframes,
    temporal_tiles,
)


@pytest.mark.parametrize("golden", cases("frame_math"))
def test_frame_counts_match_reference(golden: Golden) -> None:
    case = golden.case
    for frames, result in case["snap_frames_to_grid"]:
        assert frames_down(frames) == result
    for entry in case["seconds_to_clamped_num_frames"]:
        least, most = entry["min_frames"], entry["max_frames"]
        found = frames_between(entry["seconds"], entry["frame_rate"], least, most)
        assert found == entry["result"]
    for frames, rate, result in case["audio_latent_frames"]:
        assert audio_latent_frames(frames, rate) == result


@pytest.mark.parametrize("golden", cases("frame_math"))
def test_evenly_spread_keyframes_match_reference(golden: Golden) -> None:
    for count, frames, result in golden.case["evenly_spaced_keyframe_positions"]:
        assert [*even_keyframes(count, frames)] == result


@pytest.mark.parametrize("golden", cases("frame_math"))
def test_segments_and_tiles_match_reference(golden: Golden) -> None:
    for entry in golden.case["dfr"]:
        canvas = canvas_of(entry["num_frames"])
        assert (canvas.frames, canvas.segment) == (entry["canvas"], entry["segment"])
        assert [*canvas.keyframes] == entry["positions"]
        frames, keyframes = canvas.frames, canvas.keyframes
        for number, recorded in enumerate(entry["rounds"], start=1):
            frames, seams = doubled(frames, keyframes)
            assert (frames, [*seams]) == (recorded["num_frames"], recorded["seams"])
            tiles = temporal_tiles(seams, 2**number)
            for tile, expected in zip(tiles, recorded["tiles"], strict=True):
                assert (tile.start, tile.end) == (expected["pixel_start"], expected["pixel_end"])
                latent = slice(expected["latent_start"], expected["latent_end_exclusive"])
                assert tile.latent_frames == latent
                assert [*tile.anchors] == expected["anchor_kf_global"]
                assert [*tile.slots] == expected["slot_kf_global"]
                assert tile.drop == expected["drop_latent_prefix"]
            keyframes = next_keyframes(tiles, seams)


def test_keyframes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        even_keyframes(8, 9)
