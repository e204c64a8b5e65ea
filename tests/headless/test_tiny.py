"""The tiny models: official names, accepted by every loader, and nothing that runs away."""

import gzip
import json
import re
from pathlib import Path

import pytest
import torch
from golden import MANIFESTS
from ltx2_pack.headless.tiny import write_tiny_models
from ltx2_pack.ltx_core.audio_vae.load import (
    audio_decoder_part,
    audio_encoder_part,
    vocoder_part,
)
from ltx2_pack.ltx_core.checkpoint.compatible import check_together, require
from ltx2_pack.ltx_core.checkpoint.identify import identify
from ltx2_pack.ltx_core.checkpoint.lora import match
from ltx2_pack.ltx_core.checkpoint.lora_file import read_lora
from ltx2_pack.ltx_core.checkpoint.part import Part, place_on_cpu
from ltx2_pack.ltx_core.checkpoint.weights import open_weights
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.text.load import text_encoder
from ltx2_pack.ltx_core.text.tokenizer import read_tokenizer
from ltx2_pack.ltx_core.transformer.load import transformer_part
from ltx2_pack.ltx_core.upscaler.load import upscaler_part
from ltx2_pack.ltx_core.video_vae.load import video_decoder_part, video_encoder_part

GENERATIONS = ("2.0", "2.3")
VAE_PARTS = ("vae.", "audio_vae.", "vocoder.", "model.diffusion_model.", "text_embedding_")


@pytest.fixture(scope="module", params=GENERATIONS)
def models(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"models-{request.param}")
    written = write_tiny_models(folder, request.param, dev=True, gemma_folder=True)
    return request.param, written


def test_files_lie_in_comfyuis_folders_under_published_names(models):
    generation, paths = models
    name = "ltx-2-19b" if generation == "2.0" else "ltx-2.3-22b"
    assert paths["checkpoint"].parts[-2:] == ("checkpoints", f"{name}-distilled.safetensors")
    assert paths["dev_checkpoint"].parts[-2:] == ("checkpoints", f"{name}-dev.safetensors")
    assert paths["text_encoder"].parts[-2:] == ("text_encoders", "gemma_3_12B_it.safetensors")
    assert paths["latent_upscaler"].parent.name == "latent_upscale_models"
    assert paths["lora"].parts[-2:] == ("loras", f"{name}-distilled-lora-384.safetensors")
    assert sum(path.stat().st_size for path in paths.values() if path.is_file()) < 20_000_000


def test_each_file_is_what_the_official_one_is(models):
    generation, paths = models
    roles = {
        "dev_checkpoint": "checkpoint",
        "ic_lora": "lora",
        "text_encoder_folder": "text_encoder",
    }
    for role, path in paths.items():
        facts = identify(path)
        require(facts, roles.get(role, role))
        assert facts.role == roles.get(role, role)
        if facts.role in ("checkpoint", "lora"):
            assert facts.version == generation
    source = "structure" if generation == "2.0" else "model_version"
    assert identify(paths["checkpoint"]).version_source == source
    assert identify(paths["ic_lora"]).reference_downscale_factor == 2


def test_the_files_belong_together(models):
    _, paths = models
    for encoder in ("text_encoder", "text_encoder_folder"):
        checkpoint = identify(paths["checkpoint"])
        assert not check_together(
            transformer=checkpoint,
            text_encoder=identify(paths[encoder]),
            video_vae=checkpoint,
            audio_vae=checkpoint,
            latent_upscaler=identify(paths["latent_upscaler"]),
            loras=[identify(paths["lora"]), identify(paths["ic_lora"])],
        )


def manifest(*names: str) -> set[str]:
    keys: set[str] = set()
    for name in names:
        keys |= set(json.loads(gzip.decompress((MANIFESTS / f"{name}.json.gz").read_bytes())))
    return keys


def unnumbered(keys) -> set[str]:
    """Return names with every number taken out: blocks differ in how many there are."""
    return {re.sub(r"\d+", "N", key) for key in keys}


def test_a_checkpoint_has_exactly_the_official_names(models):
    generation, paths = models
    size = {"2.0": "2.0_19b", "2.3": "2.3_22b"}[generation]
    official = manifest(
        f"diffusion_model_prefix_{size}", f"text-{generation}", f"ltx-{generation}-video-vae",
        f"audio-{generation}",
    )  # fmt: skip
    wanted = {key for key in official if key.startswith(VAE_PARTS)}
    found = open_weights(paths["checkpoint"])
    assert unnumbered(found) == unnumbered(wanted)
    for key in found:
        wanted_dtype = torch.float32 if "scale_shift_table" in key else torch.bfloat16
        assert found[key].dtype == wanted_dtype, key


def test_the_text_encoders_have_exactly_the_official_names(models):
    _, paths = models
    for role, name in (
        ("text_encoder", "gemma3-12b-comfy"),
        ("text_encoder_folder", "gemma3-12b-hf"),
    ):
        assert unnumbered(open_weights(paths[role])) == unnumbered(manifest(name))


def test_the_upscaler_has_exactly_the_official_names(models):
    generation, paths = models
    name = {"2.0": "ltx-2-spatial-upscaler-x2-1.0", "2.3": "ltx-2.3-spatial-upscaler-x2"}[
        generation
    ]
    assert unnumbered(open_weights(paths["latent_upscaler"])) == unnumbered(manifest(name))


def test_the_distilled_lora_changes_every_linear_layer_and_the_ic_lora_ten_per_block(models):
    _, paths = models
    part = transformer_part(open_weights(paths["checkpoint"]))
    shapes = {name: tuple(t.shape) for name, t in part.network.state_dict().items()}
    linear = {n for n, shape in shapes.items() if n.endswith(".weight") and len(shape) == 2}
    distilled = read_lora(open_weights(paths["lora"]))
    assert {f"{module}.weight" for module in distilled.pairs} == linear
    assert not match(distilled, shapes).unmatched
    ic_lora = read_lora(open_weights(paths["ic_lora"]))
    assert len(ic_lora.pairs) == 10 * part.network.config.num_layers
    assert not match(ic_lora, shapes).unmatched
    assert ic_lora.reference_downscale == 2


def parts_of(paths: dict[str, Path]) -> list[Part]:
    weights = open_weights(paths["checkpoint"])
    return [
        transformer_part(weights),
        video_encoder_part(weights),
        video_decoder_part(weights),
        audio_encoder_part(weights),
        audio_decoder_part(weights),
        vocoder_part(weights),
        upscaler_part(open_weights(paths["latent_upscaler"])),
    ]


def test_every_loader_accepts_the_files_without_a_word(models, caplog):
    generation, paths = models
    for part in parts_of(paths):
        assert part.generation in (generation, "")
        with place_on_cpu(part) as network:
            for name, tensor in network.state_dict().items():
                assert tensor.isfinite().all(), name
    for role in ("text_encoder", "text_encoder_folder"):
        text_encoder(open_weights(paths[role]), open_weights(paths["checkpoint"]))
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


@pytest.mark.parametrize("role", ["text_encoder", "text_encoder_folder"])
@pytest.mark.parametrize("prompt", ["A fox, walking.", "日本語, émojis 🦊\n\ttabs", "x" * 500])
def test_the_tokenizer_takes_any_prompt_apart(models, role, prompt):
    tokenizer = read_tokenizer(open_weights(models[1][role]))
    ids = tokenizer.ids(prompt, None)
    assert ids[0] == 2
    assert 3 not in ids  # nothing is unknown
    assert max(ids) < 512
    assert len(ids) > 3


def test_pictures_and_sound_stay_inside_their_range(models):
    _, paths = models
    weights = open_weights(paths["checkpoint"])
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad(), place_on_cpu(video_decoder_part(weights)) as decoder:
        latent = torch.randn(1, 128, 3, 4, 4, generator=generator)
        frames = decoder(latent)
        assert frames.shape == (1, 3, 17, 128, 128)
        assert 0.05 < frames.std() < 0.8
        assert (frames.abs() > 1).float().mean() < 0.1
    with torch.no_grad(), place_on_cpu(audio_decoder_part(weights)) as decoder:
        mel = decoder(torch.randn(1, 8, 10, 16, generator=generator))
        assert mel.isfinite().all()
        assert 0.05 < mel.std() < 5
    with torch.no_grad(), place_on_cpu(vocoder_part(weights)) as vocoder:
        sound = vocoder(mel)
        assert sound.isfinite().all()
        assert 1e-4 < sound.std() < 0.5
        assert (sound.abs() >= 0.999).float().mean() < 0.01


def content(path: Path) -> dict[str, object]:
    """Return all a file says, without the order of its metadata, which is a matter of chance."""
    weights = open_weights(path)
    stored = {key: weights[key].flatten().view(torch.uint8).numpy().tobytes() for key in weights}
    return {**weights.metadata, **stored}


def test_the_same_seed_gives_the_same_files_and_another_does_not(tmp_path):
    one, same, other = (
        write_tiny_models(tmp_path / name, "2.3", seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    for role, path in one.items():
        assert content(path) == content(same[role]), role
        assert content(path) != content(other[role]), role


def test_dev_and_distilled_are_different_models(models):
    _, paths = models
    assert content(paths["checkpoint"]) != content(paths["dev_checkpoint"])


def test_an_unknown_generation_is_refused(tmp_path):
    with pytest.raises(LTX2Error) as caught:
        write_tiny_models(tmp_path, "2.5")
    assert caught.value.code == "generation_unknown"


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "models").write_text("a file")
    with pytest.raises(LTX2Error) as caught:
        write_tiny_models(tmp_path / "models")
    assert caught.value.code == "unwritable"
