"""Roles, pairings and the catalogue: what is refused, what is warned of, what is recommended."""

from pathlib import Path

import pytest
from ltx2_pack.ltx_core.checkpoint.catalogue import CATALOGUE, by_name, published, still_needs
from ltx2_pack.ltx_core.checkpoint.compatible import (
    check_loadable,
    check_role,
    check_together,
    require,
)
from ltx2_pack.ltx_core.checkpoint.facts import FileFacts, Quantisation
from ltx2_pack.ltx_core.errors import LTX2Error

PARTS = ("transformer", "connectors", "text_projection", "video_vae", "audio_vae", "vocoder")


def file(role: str, version: str | None = "2.3", name: str = "", **facts: object) -> FileFacts:
    components = facts.pop("components", PARTS if role == "checkpoint" else (role,))
    path = Path(name or f"{role}-{version}.safetensors")
    return FileFacts(path=path, role=role, version=version, components=components, **facts)


def gemma(generation: int = 3, **facts: object) -> FileFacts:
    components = ("gemma3", "tokenizer")
    if generation == 4:
        components = ("gemma4", "text_projection", "tokenizer")
    facts = {"hidden": 3840, "layers": 48, "name": "gemma.safetensors", **facts}
    return file("text_encoder", "2.0-2.3", components=components, **facts)


def refusal(call, *args, **kwargs) -> LTX2Error:
    with pytest.raises(LTX2Error) as caught:
        call(*args, **kwargs)
    return caught.value


@pytest.mark.parametrize("wanted", ["checkpoint", *PARTS])
def test_a_whole_checkpoint_serves_as_each_of_its_parts(wanted):
    facts = file("checkpoint")
    assert require(facts, wanted) is facts


def test_a_missing_part_is_named_with_the_file_that_has_it():
    facts = file("checkpoint", components=PARTS[:3])
    error = refusal(check_role, facts, "checkpoint")
    assert error.code == "component_missing"
    assert "video VAE" in error.what
    assert "vocoder" in error.what
    assert "LTX23_video_vae_bf16.safetensors (1.45 GB) in models/vae" in error.needed
    assert "huggingface.co/Kijai/LTX2.3_comfy/resolve/main/vae/" in error.needed


@pytest.mark.parametrize(
    ("role", "wanted", "words"),
    [("lora", "transformer", "is a LoRA"), ("lora", "checkpoint", "is a LoRA"),
     ("video_vae", "audio_vae", "is a video VAE, not an audio VAE"),
     ("audio_vae", "latent_upscaler", "models/latent_upscale_models"),
     ("preview_vae", "video_vae", "preview"), ("checkpoint", "lora", "checkpoint"),
     ("checkpoint", "text_encoder", "models/text_encoders"),
     ("text_encoder", "vocoder", "not a vocoder")],
)  # fmt: skip
def test_a_file_of_another_role_is_refused(role, wanted, words):
    error = refusal(check_role, file(role), wanted)
    assert error.code == "wrong_role"
    assert words in str(error)


def test_a_quantised_file_is_loadable():
    quant = Quantisation(format="float8_e4m3fn", layers=34)
    assert require(file("checkpoint", quant=quant), "transformer").quant is quant


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"unsupported": ("blocks.0.to_q", "int2")}, "quant_unsupported", ["'int2'", "to_q"]),
        ({"scale_missing": ("blocks.0.to_q", "weight_scale")}, "scale_missing", ["weight_scale"]),
    ],
)
def test_a_quantised_file_that_cannot_be_understood_is_refused(changes, code, words):
    quant = Quantisation(format="float8_e4m3fn", layers=34, **changes)
    error = refusal(require, file("checkpoint", quant=quant), "transformer")
    assert error.code == code
    assert error.where == "models/checkpoints"
    for word in words:
        assert word in error.what


def test_a_plain_file_is_loadable():
    check_loadable(file("checkpoint"))


@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_a_checkpoint_and_gemma_3_belong_together(version):
    model = file("checkpoint", version, projection_inputs=188160)
    assert check_together(transformer=model, text_encoder=gemma()) == []


@pytest.mark.parametrize(("hidden", "layers"), [(2560, 34), (5376, 62), (3840, 47)])
def test_gemma_of_another_size_is_refused(hidden, layers):
    model = file("checkpoint", projection_inputs=188160)
    error = refusal(
        check_together, transformer=model, text_encoder=gemma(hidden=hidden, layers=layers)
    )
    assert error.code == "gemma_wrong_size"
    assert f"{layers} layers of width {hidden}" in error.what
    assert "188160" in error.what


def test_the_declared_text_encoder_must_be_the_given_one():
    model = file("transformer", "2.5", components=("transformer", "connectors"), gemma_version="v1")
    assert check_together(transformer=model, text_encoder=gemma(4, gemma_version="v1")) == []
    error = refusal(check_together, transformer=model, text_encoder=gemma(4, gemma_version="v2"))
    assert error.code == "gemma_version_mismatch"
    assert "v1" in str(error)
    assert "v2" in str(error)


def test_an_undeclared_text_encoder_is_warned_of():
    model = file("transformer", "2.5", components=("transformer", "connectors"))
    (warning,) = check_together(transformer=model, text_encoder=gemma(4))
    assert "cannot be checked" in warning


def test_the_missing_connectors_may_come_from_a_third_file():
    model = file("transformer", "2.0")
    extras = file("text_encoder_extras", "2.0", components=("connectors", "text_projection"))
    assert check_together(transformer=model, text_encoder=gemma(), extras=[extras]) == []
    error = refusal(check_together, transformer=model, text_encoder=gemma())
    assert error.code == "component_missing"
    assert "connectors" in error.what


@pytest.mark.parametrize(
    ("model", "vae", "fits"),
    [("2.0", "2.0", True), ("2.3", "2.3+", True), ("2.3", "2.5", True), ("2.5", "2.3", True),
     ("2.0", "2.3", False), ("2.3", "2.0", False), ("2.0", "2.5", False), ("2.0", None, True)],
)  # fmt: skip
def test_the_video_vae_must_be_of_the_models_latent_space(model, vae, fits):
    files = {"transformer": file("transformer", model), "video_vae": file("video_vae", vae)}
    if fits:
        assert check_together(**files) == []
        return
    error = refusal(check_together, **files)
    assert error.code == "generation_mismatch"
    assert files["transformer"].name in error.what
    assert files["video_vae"].name in error.what


def test_an_upscaler_of_a_stated_other_generation_is_refused():
    model, upscaler = file("checkpoint", "2.3"), file("latent_upscaler", "2.5")
    error = refusal(check_together, transformer=model, latent_upscaler=upscaler)
    assert error.code == "generation_mismatch"
    assert upscaler.name in error.what
    assert model.name in error.what


def test_an_upscaler_that_states_nothing_is_warned_of_by_its_published_name():
    model = file("checkpoint", "2.3")
    name = "ltx-2-spatial-upscaler-x2-1.0.safetensors"
    (warning,) = check_together(
        transformer=model, latent_upscaler=file("latent_upscaler", None, name)
    )
    assert name in warning
    assert "2.0" in warning
    unknown = file("latent_upscaler", None, "mine.safetensors")
    assert check_together(transformer=model, latent_upscaler=unknown) == []


def test_a_lora_of_another_generation_is_a_warning():
    model = file("checkpoint", "2.3")
    loras = [file("lora", "2.3"), file("lora", "2.0"), file("lora", None)]
    (warning,) = check_together(transformer=model, loras=loras)
    assert loras[1].name in warning


def test_names_in_the_catalogue_are_unique_and_their_links_plain():
    names = [entry.name for entry in CATALOGUE]
    assert len(names) == len(set(names))
    for entry in CATALOGUE:
        if entry.name.endswith(".safetensors"):
            assert entry.link.startswith(f"https://huggingface.co/{entry.repository}/resolve/main/")
            assert entry.link.endswith(f"/{entry.name}")
        else:
            assert entry.link == f"https://huggingface.co/{entry.repository}"


def test_gemma_links_to_the_folder_inside_its_repository():
    encoder = by_name("gemma_3_12B_it.safetensors")
    assert encoder is not None
    assert encoder.link == (
        "https://huggingface.co/Comfy-Org/ltx-2/resolve/main/split_files/text_encoders/"
        "gemma_3_12B_it.safetensors"
    )


@pytest.mark.parametrize("generation", ["2.0", "2.3", "2.5"])
def test_every_generation_has_its_files(generation):
    model = "transformer" if generation == "2.5" else "checkpoint"
    for role in (model, "text_encoder", "latent_upscaler", "lora"):
        found = published(role, generation)
        assert found is not None
        assert not found.quantised


def test_what_a_checkpoint_needs_beside_it():
    needs = still_needs(file("checkpoint", "2.3", "ltx-2.3-22b-dev.safetensors"))
    names = ("gemma_3_12B_it", "ltx-2.3-spatial-upscaler-x2", "ltx-2.3-22b-distilled-lora-384")
    assert len(needs) == 3
    for sentence, name in zip(needs, names, strict=True):
        assert name in sentence
        assert " GB) in models/" in sentence
        assert "https://" in sentence


def test_a_distilled_checkpoint_needs_no_distilled_lora():
    needs = still_needs(file("checkpoint", "2.3", "ltx-2.3-22b-distilled.safetensors"))
    assert not any("lora" in sentence for sentence in needs)


def test_what_a_split_transformer_needs_beside_it():
    needs = still_needs(file("transformer", "2.5", components=("transformer", "connectors")))
    found = " ".join(needs)
    for name in ("gemma4-12b-with-proj", "video-vae", "audio-vae", "spatial-upscaler", "lora-450"):
        assert found.count(f"{name}") >= 1
    assert len(needs) == 5


def test_what_smaller_files_need():
    assert "ltx-2.3-22b" in still_needs(gemma())[0]
    assert "ltx-2-19b" in still_needs(file("lora", "2.0"))[0]
    assert still_needs(file("lora", None)) == []
