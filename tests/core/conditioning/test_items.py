"""Conditioning items against the reference, and what they promise."""

from typing import Any

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.conditioning import items
from ltx2_pack.ltx_core.conditioning.attention_mask import subsampled_frames, token_weights
from ltx2_pack.ltx_core.conditioning.state import (
    LatentState,
    audio_state,
    unpatchify,
    video_state,
)
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.grid import LatentShape, ScaleFactors
from torch import Tensor


def before(golden: Golden) -> LatentState:
    """Return the recorded state an item is applied to."""
    case, given = golden.case, golden.tensors("in.state.")
    time, height, width = case["scale_factors"]
    return LatentState(
        tokens=given["latent"],
        clean=given["clean_latent"],
        denoise_mask=given["denoise_mask"],
        positions=given["positions"],
        target_shape=tuple(case["target_shape"]),
        rate=case["fps"] or 1.0,
        scale=ScaleFactors(time=time, height=height, width=width),
        keyframes_mask=given.get("keyframes_mask"),
        attention_mask=given.get("attention_mask"),
    )


def told(state: LatentState, item: dict[str, Any], given: dict[str, Tensor]) -> LatentState:
    """Apply one recorded item; a chain's item names its tensor."""
    kind, strength = item["type"], item.get("strength", 1.0)
    latent = given[item["tensor"]] if "tensor" in item else given.get("latent")
    attention = item.get("attention")
    if isinstance(attention, str):
        attention = given[attention.removeprefix("in.")]
    if kind == "latent_index":
        first = item["latent_idx"]
        return items.latent_frames(state, latent, first_frame=first, strength=strength)
    if kind == "keyframe":
        return items.keyframe(
            state,
            given["keyframes"] if latent is None else latent,
            frame=item["frame_idx"],
            strength=strength,
            num_frames=item.get("num_pixel_frames", 1),
            attention=attention,
        )
    if kind == "reference_video":
        return items.reference_video(
            state,
            latent,
            downscale=item.get("downscale_factor", 1),
            temporal_scale=item.get("temporal_scale_factor", 1),
            strength=strength,
            attention=attention,
        )
    if kind == "keyframe_slots":
        initial = given.get("initial_keyframes") if item["initial"] else None
        return items.keyframe_slots(state, item["pixel_frame_indices"], initial)
    if kind == "mask":
        return items.kept_region(state, latent, given["mask"], strength=strength)
    if kind == "temporal_region":
        return items.temporal_region(state, item["start_time"], item["end_time"])
    assert kind == "reference_audio", kind
    before = item["negative_positions"]
    return items.reference_audio(state, latent, strength=strength, before=before)


@pytest.mark.parametrize("golden", cases("conditioning", lambda g: g.case["type"] != "frozen"))
def test_matches_reference(golden: Golden) -> None:
    case, given, expected = golden.case, golden.tensors("in."), golden.tensors("out.")
    state = before(golden)
    for item in case["items"] if case["type"] == "chain" else [case]:
        state = told(state, item, given)
    golden.check("state.latent", state.tokens)
    golden.check("state.clean_latent", state.clean)
    golden.check("state.denoise_mask", state.denoise_mask)
    golden.check("state.positions", state.positions)
    golden.check("timesteps", state.denoise_mask * case["sigma"])
    assert (state.attention_mask is not None) == ("state.attention_mask" in expected)
    if state.attention_mask is not None:
        golden.check("state.attention_mask", state.attention_mask)
    if state.keyframes_mask is not None:
        golden.check("state.keyframes_mask", state.keyframes_mask)
    golden.check("cleared.latent", state.latent())
    golden.check("cleared.clean_latent", state.latent(state.clean))
    assert (state.slots is not None) == ("cleared.generated_keyframes" in expected)
    if state.slots is not None:
        golden.check("cleared.generated_keyframes", state.keyframes())
        layout = case["layout"]
        count = len(layout["pixel_frame_indices"]) * layout["tokens_per_keyframe"]
        assert state.slots == slice(layout["first_token"], layout["first_token"] + count)


@pytest.mark.parametrize("golden", cases("conditioning", lambda g: g.case["type"] == "frozen"))
def test_a_frozen_stream_matches_reference(golden: Golden) -> None:
    state = items.frozen(audio_state(golden.tensors("in.")["initial"]))
    golden.check("state.latent", state.tokens)
    golden.check("state.clean_latent", state.clean)
    golden.check("state.denoise_mask", state.denoise_mask)
    golden.check("state.positions", state.positions)
    golden.check("modality.timesteps", state.denoise_mask * golden.case["sigma"])
    assert state.frozen


@pytest.mark.parametrize("golden", cases("iclora_mask"))
def test_a_mask_film_becomes_the_references_token_weights(golden: Golden) -> None:
    given = golden.tensors("in.")
    for number, call in enumerate(golden.case["calls"]):
        shape = LatentShape(*call["latent_shape"][2:])
        golden.check(f"tokens.{number}", token_weights(given[f"mask.{number}"], shape))


@pytest.mark.parametrize("golden", cases("iclora_mask"))
def test_kept_frames_of_a_reference_match_reference(golden: Golden) -> None:
    recorded = golden.case["temporal_subsample"]
    for factor, indices in recorded["indices"].items():
        assert subsampled_frames(recorded["frames"], int(factor)) == indices


def clip() -> LatentState:
    """Return a small clip of 17 frames."""
    return video_state(torch.zeros(1, 4, 3, 2, 2), 24.0)


PICTURE = torch.linspace(1, 2, 16).reshape(1, 4, 1, 2, 2)


def test_stripping_leaves_exactly_the_clip() -> None:
    state = clip()
    longer = items.keyframe(state, PICTURE, frame=9, strength=1.0)
    longer = items.reference_video(longer, PICTURE, attention=0.5)
    assert torch.equal(longer.latent(), state.latent())
    assert longer.appended == (4, 4)


def test_a_guide_that_does_not_fit_is_refused_in_a_sentence() -> None:
    with pytest.raises(LTX2Error, match="does not fit"):
        items.latent_frames(clip(), PICTURE, first_frame=3, strength=1.0)
    with pytest.raises(LTX2Error, match="does not fit"):
        items.latent_frames(clip(), PICTURE[..., :1], first_frame=0, strength=1.0)


@pytest.mark.parametrize("frames", [[], [3, 3], [5, 2], [17], [-1]])
def test_impossible_keyframe_slots_are_refused_in_a_sentence(frames: list[int]) -> None:
    with pytest.raises(LTX2Error, match="impossible"):
        items.keyframe_slots(clip(), frames)


def test_a_mask_that_cannot_be_shared_out_is_refused_in_a_sentence() -> None:
    with pytest.raises(LTX2Error, match="cannot be shared out"):
        token_weights(torch.ones(1, 1, 8, 4, 4), LatentShape(3, 2, 2))


def test_items_leave_the_state_they_were_given_alone() -> None:
    state = clip()
    clean, mask = state.clean.clone(), state.denoise_mask.clone()
    items.latent_frames(state, PICTURE, first_frame=0, strength=1.0)
    items.kept_region(state, torch.ones(1, 4, 3, 2, 2), torch.ones(1, 3, 2, 2))
    assert torch.equal(state.clean, clean) and torch.equal(state.denoise_mask, mask)


def test_a_mask_of_ones_generates_everything() -> None:
    state = items.temporal_region(clip(), 0.0, 100.0)
    assert torch.equal(state.denoise_mask, clip().denoise_mask)
    assert unpatchify(state.clean, state.target_shape).eq(0).all()
