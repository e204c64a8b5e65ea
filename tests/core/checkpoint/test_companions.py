"""Which of the files present brings what a model lacks."""

from dataclasses import replace
from pathlib import Path

import pytest
from ltx2_pack.ltx_core.checkpoint.companions import (
    autoencoder,
    bringers,
    generation_in,
    text_parts,
)
from ltx2_pack.ltx_core.checkpoint.facts import FileFacts
from ltx2_pack.ltx_core.errors import LTX2Error

WHOLE = ("transformer", "connectors", "text_projection", "video_vae", "audio_vae", "vocoder")


def file(name: str, role: str, version: str | None = "2.3", *components: str) -> FileFacts:
    decoder = "conv" if "video_vae" in components else None
    return FileFacts(
        path=Path(name), role=role, version=version, components=components, decoder=decoder
    )


BARE = file("model.safetensors", "transformer", "2.3", "transformer")
GEMMA = file("gemma.safetensors", "text_encoder", "2.0-2.3", "gemma3", "tokenizer")
PROJECTION = file("proj.safetensors", "text_encoder_extras", "2.3+", "text_projection")
CONNECTORS = file("conn.safetensors", "text_encoder_extras", "2.3+", "connectors")
DEV = file("ltx-2.3-22b-dev.safetensors", "checkpoint", "2.3", *WHOLE)
VIDEO = file("LTX23_video_vae.safetensors", "video_vae", "2.3+", "video_vae")
OF_25 = file("video-2.5.safetensors", "video_vae", "2.5", "video_vae")
OF_20 = file("video-2.0.safetensors", "video_vae", "2.0", "video_vae")
SOUND = file("sound.safetensors", "audio_vae", "2.3+", "audio_vae", "vocoder")


def refusal(*arguments: object, function=text_parts) -> LTX2Error:
    with pytest.raises(LTX2Error) as caught:
        function(*arguments)
    assert caught.value.code == "component_missing"
    return caught.value


def test_a_whole_checkpoint_needs_nothing():
    assert text_parts(DEV, GEMMA, [PROJECTION, CONNECTORS], None) == []
    assert autoencoder("video_vae", DEV, [VIDEO]) is DEV
    assert autoencoder("audio_vae", DEV, [SOUND]) is DEV


def test_both_parts_are_found_in_files_of_their_own():
    assert text_parts(BARE, GEMMA, [PROJECTION, CONNECTORS, DEV], None) == [CONNECTORS, PROJECTION]


def test_the_text_encoder_may_have_a_part():
    encoder = replace(GEMMA, components=(*GEMMA.components, "text_projection"))
    assert text_parts(BARE, encoder, [CONNECTORS], None) == [CONNECTORS]


def test_a_chosen_file_goes_first_and_the_rest_is_found():
    other = replace(PROJECTION, path=Path("other.safetensors"))
    found = text_parts(BARE, GEMMA, [PROJECTION, other, CONNECTORS], other)
    assert found == [other, CONNECTORS]
    assert text_parts(BARE, GEMMA, [PROJECTION, CONNECTORS], DEV) == [DEV]


def test_a_file_of_one_part_goes_before_a_whole_model_and_that_before_nothing():
    assert bringers("connectors", BARE, [DEV, CONNECTORS]).only is CONNECTORS
    assert bringers("connectors", BARE, [DEV]).only is DEV
    assert bringers("connectors", BARE, []).only is None


def test_of_two_the_name_says_which_goes_with_a_distilled_model():
    dev, distilled = (
        file(f"ltx-2-19b-embeddings_connector_{kind}.safetensors", "text_encoder_extras", "2.0",
             "connectors", "text_projection")
        for kind in ("dev", "distill")
    )  # fmt: skip
    for name, expected in (("ltx-2-19b-distilled", distilled), ("ltx-2-19b-dev", dev)):
        model = file(f"{name}.gguf", "transformer", "2.0", "transformer")
        assert text_parts(model, GEMMA, [dev, distilled], None) == [expected]


def test_several_that_fit_are_named_and_left_to_choose():
    other = replace(CONNECTORS, path=Path("other.safetensors"))
    error = refusal(BARE, GEMMA, [CONNECTORS, other, PROJECTION], None)
    assert "found conn.safetensors, other.safetensors" in error.what
    assert "text_parts" in error.where


def test_a_part_that_is_nowhere_is_named_with_its_file_size_and_link():
    error = refusal(BARE, GEMMA, [CONNECTORS], None)
    assert "gemma.safetensors has the text projection" in error.what
    assert "ltx-2.3_text_projection_bf16.safetensors (2.31 GB) in models/text_en" in error.needed
    assert "https://huggingface.co/Kijai/LTX2.3_comfy/" in error.needed
    error = refusal("audio_vae", BARE, [], function=autoencoder)
    assert "no audio VAE and no vocoder" in error.what
    assert "LTX23_audio_vae_bf16.safetensors (0.365 GB) in models/vae" in error.needed


def test_a_wrong_language_model_is_said_before_missing_parts():
    gemma4 = file("g.safetensors", "text_encoder", None, "gemma4", "text_projection", "tokenizer")
    with pytest.raises(LTX2Error) as caught:
        text_parts(BARE, gemma4, [], None)
    assert caught.value.code == "gemma_version_mismatch"


def test_the_video_vae_of_2_5_serves_2_3_and_its_own_goes_first():
    assert autoencoder("video_vae", BARE, [OF_25]) is OF_25
    assert autoencoder("video_vae", BARE, [OF_25, VIDEO]) is VIDEO
    assert "no video VAE" in refusal("video_vae", BARE, [OF_20], function=autoencoder).what


def test_a_diffusion_decoder_and_a_sound_without_vocoder_serve_nobody_yet():
    diffusion = replace(VIDEO, decoder="diffusion")
    assert bringers("video_vae", BARE, [diffusion]).only is None
    assert bringers("audio_vae", BARE, [replace(SOUND, components=("audio_vae",))]).only is None


def test_a_name_tells_the_generation_where_the_header_does_not():
    unknown = replace(VIDEO, version=None, path=Path("LTX2_video_vae_bf16.safetensors"))
    assert bringers("video_vae", BARE, [unknown]).only is None
    assert bringers("video_vae", replace(BARE, version="2.0"), [unknown]).only is unknown


@pytest.mark.parametrize(
    ("name", "generation"),
    [("ltx-2-19b-dev.safetensors", "2.0"), ("ltx-2.3-22b-dev", "2.3"), ("LTX23_audio_vae", "2.3"),
     ("LTX2_video_vae_bf16", "2.0"), ("ltxv-2b-0.9.8", None), ("mine", None)],
)  # fmt: skip
def test_generations_in_names(name, generation):
    assert generation_in(name) == generation
