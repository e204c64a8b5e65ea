"""Latent states against the reference, before anything is given."""

from fractions import Fraction

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.conditioning.state import (
    LatentState,
    audio_state,
    patchify,
    unpatchify,
    video_state,
)
from ltx2_pack.ltx_core.grid import ScaleFactors, VideoShape
from ltx2_pack.ltx_core.latents import blank


@pytest.mark.parametrize("golden", cases("latent_state"))
def test_matches_reference(golden: Golden) -> None:
    given = golden.tensors("in.")
    count = {"video": 0, "audio": 0}
    for call in golden.case["calls"]:
        name = call["modality"]
        place = f"{name}.{count[name]}"
        count[name] += 1
        state = made(call, given[f"{place}.initial"])
        golden.check(f"{place}.latent", state.tokens)
        golden.check(f"{place}.clean_latent", state.clean)
        golden.check(f"{place}.denoise_mask", state.denoise_mask)
        golden.check(f"{place}.positions", state.positions)
        if name == "video":
            golden.check(f"{place}.keyframes_mask", state.keyframes_mask)


def made(call: dict, initial: torch.Tensor) -> LatentState:
    """Make the state one recorded call describes."""
    if call["modality"] == "audio":
        return audio_state(initial)
    time, height, width = call["scale_factors"]
    scale = ScaleFactors(time=time, height=height, width=width)
    return video_state(initial, call["fps"], scale=scale)


@pytest.mark.parametrize("golden", cases("latent_state"))
def test_latent_sizes_match_reference(golden: Golden) -> None:
    for entry in golden.case["arithmetic"]:
        shape = VideoShape(entry["frames"], entry["height"], entry["width"])
        latent = blank(shape, Fraction(entry["fps"]))
        assert list(latent.video.shape) == entry["video"]
        assert list(latent.audio.shape) == entry["audio"]


@pytest.mark.parametrize("shape", [(2, 4, 3, 2, 5), (2, 3, 7, 4)])
def test_tokens_go_back_to_the_latent_they_came_from(shape: tuple[int, ...]) -> None:
    latent = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(unpatchify(patchify(latent), shape), latent)
