"""Tokens and their places against the reference implementation."""

from typing import Any

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.grid import LatentShape, ScaleFactors, audio_latent_frames
from ltx2_pack.ltx_core.transformer.positions import (
    audio_positions,
    guide_positions,
    latent_spans,
    patchify_audio,
    patchify_video,
    pixel_spans,
    reference_audio_positions,
    reference_positions,
    single_frame_marks,
    slot_positions,
    unpatchify_audio,
    unpatchify_video,
    video_positions,
)


def modality(name: str) -> Any:
    return lambda golden: golden.case["modality"] == name


@pytest.mark.parametrize("golden", cases("positions", modality("video")))
def test_video_matches_the_reference(golden: Golden) -> None:
    case, latent = golden.case, golden.tensors("in.")["latent"]
    batch, patch = latent.shape[0], case.get("patch_size", 1)
    shape = LatentShape(*latent.shape[2:])
    time, height, width = case["scale_factors"]
    scale = ScaleFactors(time=time, height=height, width=width)
    spans = latent_spans(shape, patch)
    golden.check("tokens", patchify_video(latent, patch))
    golden.check("latent_bounds", spans.expand(batch, -1, -1, -1))
    pixels = pixel_spans(spans, scale, causal=case["causal_fix"])
    golden.check("pixel_bounds", pixels.expand(batch, -1, -1, -1))
    positions = video_positions(
        shape, case["fps"], batch=batch, scale=scale, patch=patch, causal=case["causal_fix"]
    )
    golden.check("positions", positions)
    if "keyframes_mask" in golden.tensors("out."):
        golden.check("keyframes_mask", single_frame_marks(shape, batch=batch))
    assert torch.equal(unpatchify_video(patchify_video(latent, patch), shape, patch), latent)


@pytest.mark.parametrize("golden", cases("positions", modality("audio")))
def test_audio_matches_the_reference(golden: Golden) -> None:
    case, latent = golden.case, golden.tensors("in.")["latent"]
    positions = audio_positions(
        latent.shape[2],
        batch=latent.shape[0],
        causal=case["is_causal"],
        shift=case["shift"],
        sample_rate=case["sample_rate"],
        hop=case["hop_length"],
        downsampling=case["audio_latent_downsample_factor"],
    )
    golden.check("positions", positions)
    golden.check("tokens", patchify_audio(latent))
    assert torch.equal(unpatchify_audio(patchify_audio(latent), latent.shape[3]), latent)


@pytest.mark.parametrize("golden", cases("latent_counts"))
def test_counts_match_the_reference(golden: Golden) -> None:
    given, recorded = golden.tensors("in."), golden.tensors("out.")
    frames, rates = given["pixel_frames"].tolist(), given["fps"].tolist()
    sounds = [audio_latent_frames(f, r) for f, r in zip(frames, rates, strict=True)]
    assert sounds == recorded["audio_latent_frames"].tolist()
    pictures = [(f - 1) // golden.case["time_scale"] + 1 for f in frames]
    assert pictures == recorded["video_latent_frames"].tolist()


@pytest.mark.parametrize("golden", cases("appended_tokens"))
def test_appended_tokens_lie_where_the_reference_puts_them(golden: Golden) -> None:
    case = golden.case
    batch, _, frames, height, width = case["target"]
    target = LatentShape(frames, height, width)
    found = [video_positions(target, case["fps"], batch=batch)]
    for item in case["items"]:
        if item["type"] == "slots":
            at = tuple(item["pixel_frame_indices"])
            found.append(slot_positions(target, case["fps"], at, batch=batch))
        elif item["type"] == "keyframe":
            found.append(
                guide_positions(
                    LatentShape(*item["latent_grid"]),
                    case["fps"],
                    frame=item["frame_idx"],
                    num_frames=item["num_pixel_frames"],
                    batch=batch,
                )
            )
        else:
            found.append(
                reference_positions(
                    LatentShape(*item["latent_grid"]),
                    case["fps"],
                    downscale=item["downscale_factor"],
                    temporal_scale=item["temporal_scale_factor"],
                    batch=batch,
                )
            )
    golden.check("positions", torch.cat(found, dim=2))


def test_the_first_latent_frame_is_one_frame_long() -> None:
    times = video_positions(LatentShape(3, 1, 1), 24.0)[0, 0] * 24
    torch.testing.assert_close(times, torch.tensor([[0.0, 1.0], [1.0, 9.0], [9.0, 17.0]]))


def test_a_voice_reference_ends_before_the_clip() -> None:
    times = reference_audio_positions(3)[0, 0]
    expected = torch.tensor([[0.0, 0.01], [0.01, 0.05], [0.05, 0.09]]) - 0.09 - 0.04
    torch.testing.assert_close(times, expected, rtol=0, atol=1e-7)
