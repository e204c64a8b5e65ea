"""Encoder, decoder and vocoders against recorded answers, loaded as files are."""

import json
from typing import Any

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.audio_vae.lengths import decoded_mel_frames, latents_of
from ltx2_pack.ltx_core.audio_vae.load import audio_decoder_part, audio_encoder_part, vocoder_part
from ltx2_pack.ltx_core.audio_vae.sound import (
    decode_mel,
    decode_sound,
    encode_waveform,
    mel_to_sound,
)
from ltx2_pack.ltx_core.audio_vae.vocoder import ExtendedVocoder
from ltx2_pack.ltx_core.checkpoint.header import parse_metadata
from ltx2_pack.ltx_core.checkpoint.part import Part
from ltx2_pack.ltx_core.checkpoint.weights import Weights, open_weights, weights_of
from ltx2_pack.ltx_core.errors import LTX2Error

CPU = torch.device("cpu")


def stored(golden: Golden) -> Weights:
    metadata = parse_metadata(golden.metadata)
    return weights_of(golden.tensors("weights."), metadata, golden.path.name)


def laid_out(part: Part[Any]) -> Any:
    return part.lay_out(CPU)


@pytest.mark.parametrize("golden", cases("audio_encode"))
def test_encoder(golden: Golden) -> None:
    encoder = laid_out(audio_encoder_part(stored(golden)))
    golden.check("latent", encoder(golden.tensors("in.")["mel"]))


@pytest.mark.parametrize("golden", cases("audio_encode_waveform"))
def test_encoding_a_waveform(golden: Golden) -> None:
    encoder = laid_out(audio_encoder_part(stored(golden)))
    waveform = golden.tensors("in.")["waveform"]
    golden.check("latent", encode_waveform(encoder, waveform, golden.case["sampling_rate"]))


@pytest.mark.parametrize("golden", cases("audio_encode_waveform"))
def test_mono_is_encoded_as_two_equal_channels(golden: Golden) -> None:
    encoder = laid_out(audio_encoder_part(stored(golden)))
    mono = golden.tensors("in.")["waveform"][:, :1]
    latent = encode_waveform(encoder, mono, 22050)
    assert torch.equal(latent, encode_waveform(encoder, mono.repeat(1, 2, 1), 22050))
    assert latent.shape[2] == latents_of(mono.shape[2], 22050, encoder.config.front_end)


@pytest.mark.parametrize("golden", cases("audio_encode_waveform"))
def test_a_sound_with_holes_is_refused_in_words(golden: Golden) -> None:
    encoder = laid_out(audio_encoder_part(stored(golden)))
    waveform = golden.tensors("in.")["waveform"].clone()
    waveform[0, 1, 77] = float("nan")
    with pytest.raises(LTX2Error, match="not numbers"):
        encode_waveform(encoder, waveform, 16000)


@pytest.mark.parametrize("golden", cases("audio_decode"))
def test_decoder(golden: Golden) -> None:
    decoder = laid_out(audio_decoder_part(stored(golden)))
    golden.check("mel", decoder(golden.tensors("in.")["latent"]))


@pytest.mark.parametrize("golden", cases("vocoder"))
def test_plain_vocoder(golden: Golden) -> None:
    vocoder = laid_out(vocoder_part(stored(golden)))
    sound = mel_to_sound(vocoder, golden.tensors("in.")["mel"])
    golden.check("waveform", sound.waveform)
    assert sound.sample_rate == golden.case["output_sampling_rate"]


@pytest.mark.parametrize("golden", cases("vocoder_bwe"))
def test_vocoder_with_bandwidth_extension(golden: Golden) -> None:
    vocoder = laid_out(vocoder_part(stored(golden)))
    assert isinstance(vocoder, ExtendedVocoder)
    steps = vocoder.extend(golden.tensors("in.")["mel"])
    golden.check("low_rate", steps.low)
    golden.check("bwe_mel", steps.mel)
    golden.check("residual", steps.residual)
    golden.check("skip", steps.skip)
    golden.check("waveform", steps.waveform)
    assert vocoder.sample_rate == golden.case["output_sampling_rate"]
    assert vocoder.vocoder.sample_rate == golden.case["low_sampling_rate"]


@pytest.mark.parametrize("golden", cases("decode_audio"))
def test_latent_to_waveform(golden: Golden) -> None:
    decoder = laid_out(audio_decoder_part(stored(golden)))
    vocoder = laid_out(vocoder_part(stored(golden)))
    latent = golden.tensors("in.")["latent"]
    golden.check("mel", decode_mel(decoder, latent))
    sound = decode_sound(decoder, vocoder, latent)
    golden.check("waveform", sound.waveform)
    assert sound.waveform.dtype == torch.float32
    frames = decoded_mel_frames(latent.shape[2])
    assert sound.waveform.shape[2] == vocoder.samples_per_frame * frames
    assert sound.sample_rate == golden.case["output_sampling_rate"]


@pytest.mark.parametrize("golden", cases("whole", lambda golden: golden.case["part"] == "recipe"))
def test_whole_models_sound_as_recorded(golden: Golden) -> None:
    files = json.loads(golden.metadata["files"])
    weights = open_weights(golden.path.parent / files.get("audio_vae", files.get("checkpoint")))
    decoder_part, part = audio_decoder_part(weights), vocoder_part(weights)
    decoder, vocoder = laid_out(decoder_part), laid_out(part)
    recorded, tolerances = golden.tensors("out."), json.loads(golden.metadata["tolerances"])
    mel = decode_mel(decoder, recorded["final.audio"])
    sound = mel_to_sound(vocoder, mel)
    torch.testing.assert_close(mel, recorded["mel"], rtol=0, atol=tolerances["out.mel"])
    torch.testing.assert_close(
        sound.waveform[0], recorded["waveform"], rtol=0, atol=tolerances["out.waveform"]
    )
    assert sound.sample_rate == golden.case["audio_sampling_rate"]
    assert {decoder_part.generation, part.generation} == {golden.case["generation"]}
