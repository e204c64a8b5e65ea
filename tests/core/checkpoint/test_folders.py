"""Folders as models: shards, diffusers folders, and every recorded table of their names."""

import gzip
import json
import re

import pytest
import torch
from golden import MANIFESTS
from layouts import TABLES, diffusers, table_of
from ltx2_pack.headless.tiny import write_tiny_models
from ltx2_pack.ltx_core.audio_vae.load import (
    audio_decoder_part,
    audio_encoder_part,
    vocoder_part,
)
from ltx2_pack.ltx_core.checkpoint.compatible import check_role
from ltx2_pack.ltx_core.checkpoint.diffusers_keys import official_names
from ltx2_pack.ltx_core.checkpoint.folders import open_folder, shard_files
from ltx2_pack.ltx_core.checkpoint.identify import identify
from ltx2_pack.ltx_core.checkpoint.weights import open_weights
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.text.load import text_encoder
from ltx2_pack.ltx_core.transformer.load import transformer_part
from ltx2_pack.ltx_core.video_vae.load import video_decoder_part, video_encoder_part
from ltx2_pack.ltx_core.video_vae.statistics import read_statistics
from safetensors.torch import save_file

#: Component of a table -> sub-folder, and what stands before its names in a single file.
COMPONENTS = {
    "transformer": ("transformer", "model.diffusion_model."),
    "video_vae": ("vae", "vae."),
    "video_vae (diffusion decoder)": ("diffusion_decoder", "vae."),
    "audio_vae": ("audio_vae", "audio_vae."),
    "vocoder": ("vocoder", "vocoder."),
    "duration_head": ("duration_head", "duration_head."),
}


def tables():
    found = [path.name.removesuffix(".json.gz") for path in sorted(TABLES.glob("*.json.gz"))]
    return [name for name in found if table_of(name)["component"] not in ("lora", "comfyui")]


@pytest.mark.golden
@pytest.mark.parametrize("name", tables())
def test_every_name_of_a_diffusers_folder_has_its_official_one(name):
    table = table_of(name)
    whole, thirds = table["diffusers_to_official"], table.get("split", {})
    if table["component"] == "connectors":
        prefixes = {key.rstrip("*"): value for key, value in table["official_prefix"].items()}
        folder = "connectors"
        starts = {
            ours: next(v for k, v in prefixes.items() if k.strip("*") in ours)
            for ours in whole.values()
        }
    else:
        folder, prefix = COMPONENTS[table["component"]]
        starts = dict.fromkeys([*whole.values(), *(v["from"] for v in thirds.values())], prefix)
    found = official_names(folder, [*whole, *thirds])
    assert {**found} == {
        **{theirs: (starts[ours] + ours, None) for theirs, ours in whole.items()},
        **{theirs: (starts[v["from"]] + v["from"], v["third"]) for theirs, v in thirds.items()},
    }


@pytest.mark.golden
def test_what_comfyui_calls_a_module_is_known():
    table = table_of("comfyui")["comfy_module_to_official"]
    assert {re.sub(r"\.X.*", "", ours) for ours in table.values()} == {
        "model.diffusion_model", "audio_vae", "vae.decoder", "vae.encoder", "vocoder",
        "text_embedding_projection",
    }  # fmt: skip


@pytest.mark.parametrize("checkpoint", ["2.0_19b", "2.3_22b", "2.5_22b"])
def test_the_names_of_a_full_size_transformer(checkpoint):
    theirs, ours = (
        json.loads(gzip.decompress((MANIFESTS / f"{name}.json.gz").read_bytes()))
        for name in (f"transformer_{checkpoint}_diffusers_names", f"transformer_{checkpoint}")
    )  # fmt: skip
    found = official_names("transformer", theirs)
    assert {found[key].name: shape for key, shape in theirs.items()} == ours


@pytest.fixture(scope="module", params=["2.0", "2.3"])
def both(request, tmp_path_factory):
    """A tiny model as a single file and as a diffusers folder; and its generation."""
    models = tmp_path_factory.mktemp("models")
    paths = write_tiny_models(models, request.param, gemma_folder=True)
    folder = diffusers(
        paths["checkpoint"], paths["text_encoder_folder"], models / "theirs", request.param
    )
    return paths, folder, request.param


def test_a_diffusers_folder_is_a_checkpoint_with_everything(both):
    _, folder, generation = both
    facts = identify(folder)
    assert (facts.role, facts.version, facts.layout) == ("checkpoint", generation, "diffusers")
    assert facts.components == (
        "transformer", "connectors", "gemma3", "text_projection", "video_vae", "audio_vae",
        "vocoder", "tokenizer",
    )  # fmt: skip
    assert (facts.blocks, facts.heads, facts.hidden) == (2, 2, 32)
    for role in ("checkpoint", "transformer", "text_encoder", "video_vae", "audio_vae"):
        check_role(facts, role)


def test_its_parts_are_those_of_the_single_file(both):
    paths, folder, generation = both
    single, theirs = open_weights(paths["checkpoint"]), open_weights(folder)
    for load in (
        transformer_part, video_encoder_part, video_decoder_part, audio_encoder_part,
        audio_decoder_part, vocoder_part,
    ):  # fmt: skip
        ours, found = load(single), load(theirs)
        assert found.generation == generation
        assert {*ours.weights} == {*found.weights}
        for name in ours.network.state_dict():
            assert torch.equal(ours.weights[name], found.weights[name]), name
        assert getattr(found.network, "config", None) == getattr(ours.network, "config", None)
    ours, found = read_statistics(single), read_statistics(theirs)
    assert torch.equal(ours.mean, found.mean)
    assert torch.equal(ours.std, found.std)


def test_its_text_encoder_is_that_of_the_single_file(both):
    paths, folder, _ = both
    single, theirs = open_weights(paths["checkpoint"]), open_weights(folder)
    ours = text_encoder(open_weights(paths["text_encoder_folder"]), single)
    found = text_encoder(theirs, theirs, tokenizer=folder / "tokenizer")
    assert ours.tokenizer.ids("a cat") == found.tokenizer.ids("a cat")
    for part in ("gemma", "extractor", "connectors"):
        mine, other = getattr(ours, part), getattr(found, part)
        for name in mine.network.state_dict():
            assert torch.equal(mine.weights[name], other.weights[name]), name


def test_a_sub_folder_alone_is_its_part(both):
    _, folder, generation = both
    facts = identify(folder / "transformer")
    assert (facts.role, facts.version, facts.layout) == ("transformer", generation, "diffusers")
    assert identify(folder / "vae").role == "video_vae"
    part = transformer_part(open_weights(folder / "transformer"))
    assert part.network.config == transformer_part(open_weights(folder)).network.config


def test_queries_keys_and_values_that_lie_apart_are_read_as_one(tmp_path):
    apart = {f"decoder.diff_blocks.0.attn.to_{n}.weight": torch.randn(2, 6) for n in "qkv"}
    apart["decoder.conv_in_x_t.weight"] = torch.randn(4, 4)
    save_file(apart, tmp_path / "diffusion_pytorch_model.safetensors")
    config = {"_class_name": "LTX2VideoDiffusionDecoderModel"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = open_weights(tmp_path)
    key = "vae.decoder.diff_blocks.0.attn.qkv.weight"
    expected = torch.cat([apart[f"decoder.diff_blocks.0.attn.to_{n}.weight"] for n in "qkv"])
    assert weights.shape(key) == (6, 6)
    assert torch.equal(weights[key], expected)
    assert torch.equal(weights.rows(key, [5, 1]), expected[[5, 1]])
    weights.check_unchanged()
    assert identify(tmp_path).decoder == "diffusion"


def test_a_missing_shard_of_a_part_is_named(both, tmp_path):
    _, folder, _ = both
    part = tmp_path / "transformer"
    part.mkdir()
    for path in (folder / "transformer").iterdir():
        if "00002-of" not in path.name:
            (part / path.name).symlink_to(path)
    (tmp_path / "model_index.json").write_text("{}")
    for read in (identify, open_weights):
        with pytest.raises(LTX2Error, match="00002-of-00002") as caught:
            read(tmp_path)
        assert caught.value.code == "component_missing"


def test_of_several_precisions_the_plain_one_is_read(tmp_path):
    for name in ("diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.safetensors"):
        save_file({"x": torch.ones(1)}, tmp_path / name)
    assert [path.name for path in shard_files(tmp_path)] == ["diffusion_pytorch_model.safetensors"]


def test_a_diffusers_folder_of_nothing_is_refused(tmp_path):
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(LTX2Error) as caught:
        open_folder(tmp_path)
    assert caught.value.code == "component_missing"
