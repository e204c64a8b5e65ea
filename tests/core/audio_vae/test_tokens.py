"""Audio latents as tokens: the transformer's patchify and times, the conditions' region."""

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.conditioning.items import temporal_region
from ltx2_pack.ltx_core.conditioning.state import audio_state
from ltx2_pack.ltx_core.transformer.positions import (
    audio_positions,
    patchify_audio,
    reference_audio_positions,
    unpatchify_audio,
)


@pytest.mark.parametrize("golden", cases("audio_patchify"))
def test_tokens_are_channel_major_and_come_back(golden: Golden) -> None:
    latent = golden.tensors("in.")["latent"]
    tokens = patchify_audio(latent)
    golden.check("tokens", tokens)
    assert torch.equal(unpatchify_audio(tokens, latent.shape[3]), latent)


@pytest.mark.parametrize("golden", cases("audio_patchify"))
def test_tokens_have_the_times_of_the_reference(golden: Golden) -> None:
    latent, case = golden.tensors("in.")["latent"], golden.case
    times = audio_positions(
        latent.shape[2],
        batch=latent.shape[0],
        causal=case["is_causal"],
        shift=case["shift"],
        sample_rate=case["sample_rate"],
        hop=case["hop_length"],
        downsampling=case["audio_latent_downsample_factor"],
    )
    golden.check("positions", times)


@pytest.mark.parametrize("golden", cases("reference_audio"))
def test_a_reference_ends_before_the_clip_begins(golden: Golden) -> None:
    latent = golden.tensors("in.")["latent"]
    batch, length = latent.shape[0], latent.shape[2]
    golden.check("tokens", patchify_audio(latent))
    golden.check("positions", reference_audio_positions(length, batch=batch))
    golden.check("target_positions", audio_positions(length, batch=batch))


@pytest.mark.parametrize("golden", cases("audio_region_mask"))
def test_a_region_is_generated_and_the_rest_kept(golden: Golden) -> None:
    case = golden.case
    state = audio_state(torch.zeros(1, 8, case["latent_frames"], 16))
    golden.check("positions", state.positions)
    region = temporal_region(state, case["start_time"], case["end_time"])
    golden.check("denoise_mask", region.denoise_mask)
