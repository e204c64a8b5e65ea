"""One tiny model in three layouts makes the same latents; and `auto` finds the parts of each."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import tensors_of
from gguf_files import field, write_gguf
from layouts import diffusers, split
from ltx2_pack.headless.tiny import write_tiny_models
from ltx2_pack.ltx_core.checkpoint.weights import open_weights
from recorded import Graph
from safetensors.torch import save_file
from studio import SMALL, T2V, NewStudio, text_of

WIRED = f"{T2V}, wired"


class Forms:
    """A models folder per layout, each with the same text encoder and upscaler."""

    def __init__(self, folder: Path, generation: str) -> None:
        self.generation = generation
        self.single = folder / "single"
        paths = write_tiny_models(self.single, generation, gemma_folder=True)
        self.values: dict[str, dict[str, str]] = {
            "single": dict.fromkeys(
                ("unet_name", "video_vae", "audio_vae"), paths["checkpoint"].name
            )
            | {"clip_name": paths["text_encoder"].name}
        }
        for form in ("split", "diffusers"):
            shutil.copytree(
                self.single, folder / form, ignore=shutil.ignore_patterns("checkpoints")
            )
        self.values["split"] = split(paths["checkpoint"], folder / "split")
        self.values["split"]["clip_name"] = paths["text_encoder"].name
        theirs = folder / "diffusers" / "diffusion_models" / "LTX-2-diffusers"
        diffusers(paths["checkpoint"], paths["text_encoder_folder"], theirs, generation)
        self.values["diffusers"] = dict.fromkeys(
            ("unet_name", "video_vae", "audio_vae", "clip_name"), theirs.name
        )
        self.common = {
            "upscale_model": paths["latent_upscaler"].name,
            "LoRA of stage 2.lora_name": paths["lora"].name,
        }
        self.folder = folder

    def latents(self, form: str, folder: Path) -> Any:
        graph = Graph(WIRED, self.folder / form, folder / form)
        settings = dict(text.split("=", 1) for text in SMALL)
        graph.set(settings | self.common | self.values[form] | {"seed": 3, "prompt": "a cat"})
        graph.catch("Stage 2, full size", 0, "final")
        return graph.run()["final"]


@pytest.fixture(scope="module", params=["2.0", "2.3"])
def forms(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Forms:
    return Forms(tmp_path_factory.mktemp("forms"), request.param)


def test_three_layouts_make_the_same_latents(forms: Forms, tmp_path: Path) -> None:
    made = {form: forms.latents(form, tmp_path) for form in forms.values}
    for form in ("split", "diffusers"):
        for stream in ("video", "audio"):
            found, expected = getattr(made[form], stream), getattr(made["single"], stream)
            assert expected.abs().max() > 0.1
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", ["split", "diffusers"])
def test_one_loader_finds_the_parts_itself(forms: Forms, new_studio: NewStudio, form: str) -> None:
    studio = new_studio(forms.folder / form)
    chosen = {key: forms.values[form][key] for key in ("unet_name", "clip_name")}
    result = studio.run(
        T2V,
        *(f"{key}={value}" for key, value in chosen.items()),
        "recipe=draft",
        "upscale_model=auto",
    )
    said = text_of(result.ui.values())
    if form == "split":
        for name in ("video_vae", "audio_vae"):
            assert forms.values["split"][name] in said
        assert "text parts: " in said
    else:
        assert "text parts" not in said
        assert f"video vae: {chosen['unet_name']}" in said


def test_a_gguf_file_makes_what_its_numbers_make(forms: Forms, tmp_path: Path) -> None:
    """The transformer as GGUF, its matrices as Q8_0, against a plain file of its numbers."""
    for form in ("gguf", "plain"):
        shutil.copytree(forms.folder / "split", tmp_path / form)
    name = forms.values["split"]["unet_name"]
    (source,) = (tmp_path / "gguf").rglob(name)
    tensors, metadata = tensors_of(source)
    bare = {key.rpartition("diffusion_model.")[2]: tensor for key, tensor in tensors.items()}
    packed = tuple(
        key
        for key, tensor in bare.items()
        if key.startswith("transformer_blocks.") and tensor.ndim == 2 and tensor.shape[1] % 32 == 0
        and "scale_shift_table" not in key
    )  # fmt: skip
    assert packed
    fields = [field("general.architecture", "ltxv")]
    fields += [field(key, value) for key, value in metadata.items()]
    target = source.with_suffix(".gguf")
    write_gguf(target, bare, fields, packed=packed)
    source.unlink()
    (plain,) = (tmp_path / "plain").rglob(name)
    weights = open_weights(target)
    save_file({key: weights[key].contiguous() for key in weights}, plain, metadata)

    made = {}
    for form, file in (("gguf", target.name), ("plain", name)):
        graph = Graph(WIRED, tmp_path / form, tmp_path / f"{form}-run")
        settings = dict(text.split("=", 1) for text in SMALL)
        chosen = forms.values["split"] | {"unet_name": file}
        graph.set(settings | forms.common | chosen | {"seed": 3, "prompt": "a cat"})
        graph.catch("Stage 2, full size", 0, "final")
        made[form] = graph.run()["final"]
    for stream in ("video", "audio"):
        found, expected = getattr(made["gguf"], stream), getattr(made["plain"], stream)
        assert expected.abs().max() > 0.1
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
