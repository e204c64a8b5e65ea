"""What files are: every entry of the collection's expected.json, and cases beside it."""

import dataclasses
import gzip
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import derived, tensors_of
from golden import FOLDER, MANIFESTS
from ltx2_pack.ltx_core.checkpoint.compatible import check_role, check_together, require
from ltx2_pack.ltx_core.checkpoint.facts import FileFacts, covers
from ltx2_pack.ltx_core.checkpoint.header import Header, TensorEntry
from ltx2_pack.ltx_core.checkpoint.identify import facts_of, identify
from ltx2_pack.ltx_core.checkpoint.llama import own_names
from ltx2_pack.ltx_core.checkpoint.lora import match
from ltx2_pack.ltx_core.checkpoint.lora_file import read_lora
from ltx2_pack.ltx_core.checkpoint.lora_keys import is_module, lora_key, stream_of
from ltx2_pack.ltx_core.checkpoint.part import place_on_cpu
from ltx2_pack.ltx_core.checkpoint.weights import open_weights
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.transformer.load import transformer_part
from safetensors.torch import save_file

FILES = FOLDER / "loading" / "files"
EXPECTED: dict[str, Any] = json.loads((FILES / "expected.json").read_text("utf-8"))
ENTRIES = {name: value for name, value in EXPECTED.items() if not name.startswith("_")}
GOOD = {name: value for name, value in ENTRIES.items() if "error" not in value}
WRONG = {name: value for name, value in ENTRIES.items() if "error" in value}
#: Keys of an entry that say nothing about the file's header.
NOT_FACTS = {"note", "samples"}
#: Errors that only the weights themselves, beside a model, can show.
WHEN_LOADED = {"missing_weights"}


@pytest.mark.golden
@pytest.mark.parametrize("name", GOOD)
def test_a_file_is_what_it_is(name):
    found, expected = identify(FILES / name).as_dict(), GOOD[name]
    for key in expected.keys() - NOT_FACTS:
        wanted = expected[key]
        actual = found.get(key)
        if key == "quant" and wanted is not None:
            actual = {part: actual[part] for part in wanted}
        assert actual == wanted, key


def load_as(path: Path, role: str) -> FileFacts:
    """Go through what a loader asks before it reads weights, and for LoRAs through the reading."""
    facts = identify(path)
    if role == "lora":
        check_role(facts, role)
        base = identify_shapes(FILES / "checkpoints" / "ltx-2.3-22b-dev.safetensors")
        match(read_lora(open_weights(path)), base)
        return facts
    return facts if role == "any" else require(facts, role)


def identify_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    weights = open_weights(path)
    prefix = "model.diffusion_model."
    return {
        key.removeprefix(prefix): weights.shape(key) for key in weights if key.startswith(prefix)
    }


def check_refusal(error: LTX2Error, expected: dict[str, Any]) -> None:
    assert error.code == expected["error"]
    for words in expected["must_mention"]:
        assert words.lower() in str(error).lower()


@pytest.mark.golden
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_refused(name):
    with pytest.raises(LTX2Error) as caught:
        load_as(FILES / name, WRONG[name]["loaded_as"])
    check_refusal(caught.value, WRONG[name])
    assert Path(name).name in str(caught.value)


@pytest.mark.golden
@pytest.mark.parametrize("number", range(len(EXPECTED["_derived"])))
def test_a_changed_file_is_refused_or_accepted(number, tmp_path):
    change = EXPECTED["_derived"][number]
    path = derived(FILES / change["from"], tmp_path / Path(change["from"]).name, change)
    if change["error"] is None or change["error"] in WHEN_LOADED:
        assert load_as(path, change["loaded_as"]).role == change["loaded_as"]
        return
    with pytest.raises(LTX2Error) as caught:
        load_as(path, change["loaded_as"])
    check_refusal(caught.value, change)


TRANSFORMERS = [
    change
    for change in EXPECTED["_derived"]
    if change["loaded_as"] == "transformer" and change["error"] in (None, *WHEN_LOADED)
]


@pytest.mark.golden
@pytest.mark.parametrize("change", TRANSFORMERS, ids=lambda change: change["drop_regex"])
def test_a_transformer_with_something_missing_is_refused_or_loaded(change, tmp_path):
    path = derived(FILES / change["from"], tmp_path / "changed.safetensors", change)
    if change["error"] is None:
        with place_on_cpu(transformer_part(open_weights(path))) as network:
            assert not any(tensor.is_meta for tensor in network.state_dict().values())
        return
    with pytest.raises(LTX2Error) as caught, place_on_cpu(transformer_part(open_weights(path))):
        pass
    check_refusal(caught.value, change)


@pytest.mark.golden
@pytest.mark.parametrize("number", range(len(EXPECTED["_cross_checks"])))
def test_files_that_do_not_belong_together_are_refused(number):
    check = EXPECTED["_cross_checks"][number]
    with pytest.raises(LTX2Error) as caught:
        facts = {role: identify(FILES / name) for role, name in check["files"].items()}
        for role, file in facts.items():
            check_role(file, role)
        check_together(**facts)
    check_refusal(caught.value, check)


SINGLE_PARTS = ("transformer", "connectors", "text_projection", "video_vae", "audio_vae", "vocoder")


def manifest(*names: str) -> dict[str, TensorEntry]:
    """Return the tensors of published files, as if they were one file's header."""
    keys = {}
    for name in names:
        keys |= json.loads(gzip.decompress((MANIFESTS / f"{name}.json.gz").read_bytes()))
    return own_names(
        {key: TensorEntry("BF16", tuple(shape), 0, 0) for key, shape in keys.items()}, {}
    )


def published(*names: str, **metadata: Any) -> dict[str, Any]:
    return facts_of(Header(Path("x.safetensors"), 0, metadata, manifest(*names))).as_dict()


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize(("version", "prefix"), [("2.0", "2.0_19b"), ("2.3", "2.3_22b")])
def test_the_official_single_files(version, prefix, stated):
    metadata = {"model_version": f"{version}.0"} if stated else {}
    found = published(
        f"diffusion_model_prefix_{prefix}", f"text-{version}", f"ltx-{version}-video-vae",
        f"audio-{version}", **metadata,
    )  # fmt: skip
    assert found["role"] == "checkpoint"
    assert found["components"] == [*SINGLE_PARTS]
    assert found["version"] == version
    assert found["version_source"] == ("model_version" if stated else "structure")
    assert found["blocks"] == 48
    assert found["heads"] == 32
    assert found["hidden"] == 4096
    assert found["audio_hidden"] == 2048
    assert found["projection_inputs"] == 188160
    assert found["decoder"] == "conv"
    assert found["vocoder"] == ("plain" if version == "2.0" else "bwe")


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("diffusion_model_prefix_2.5_22b",
         {"role": "transformer", "version": "2.5", "keyframes": True}),
        ("ltx-2.0-video-vae", {"role": "video_vae", "version": "2.0", "decoder": "conv"}),
        ("ltx-2.0-video-vae-timestep-conditioned", {"role": "video_vae", "version": "2.0"}),
        ("ltx-2.3-video-vae", {"role": "video_vae", "version": "2.3+", "decoder": "conv"}),
        ("ltx-2.5-video-vae-conv", {"role": "video_vae", "version": "2.3+", "decoder": "conv"}),
        ("ltx-2.5-video-vae-diffusion",
         {"role": "video_vae", "version": "2.5", "decoder": "diffusion"}),
        ("audio-2.0", {"role": "audio_vae", "version": "2.0", "vocoder": "plain"}),
        ("audio-2.5", {"role": "audio_vae", "version": "2.3+", "vocoder": "bwe"}),
        ("gemma3-12b-hf",
         {"role": "text_encoder", "gemma": "gemma3", "hidden": 3840, "layers": 48}),
        ("gemma3-12b-gguf",
         {"role": "text_encoder", "gemma": "gemma3", "hidden": 3840, "layers": 48,
          "version": "2.0-2.3"}),
        ("gemma3-12b-comfy",
         {"role": "text_encoder", "components": ["gemma3", "tokenizer"], "version": "2.0-2.3"}),
        ("text-2.5-text-encoder-file",
         {"role": "text_encoder", "version": "2.5", "layers": 48,
          "components": ["gemma4", "text_projection", "tokenizer"]}),
        ("ltx-2-spatial-upscaler-x2-1.0",
         {"role": "latent_upscaler", "kind": "spatial", "scale": 2.0, "version": None}),
        ("ltx-2.3-spatial-upscaler-x2", {"kind": "spatial", "scale": 2.0}),
        ("ltx-2.3-spatial-upscaler-x1.5-1.0", {"kind": "spatial", "scale": 1.5}),
        ("ltx-2-temporal-upscaler-x2-1.0", {"kind": "temporal", "scale": 2.0}),
        ("ltx-2.5-latent-temporal-upscaler-x2-bf16-1.0", {"kind": "temporal"}),
        ("text-2.5-duration-head", {"role": "duration_head"}),
    ],
)  # fmt: skip
def test_published_files_without_metadata(name, facts):
    found = published(name)
    assert {key: found.get(key) for key in facts} == facts


@pytest.mark.parametrize(
    "name", ["transformer_2.3_22b_diffusers_names", "text-2.3-diffusers-connectors"]
)
def test_files_in_diffusers_names_are_refused(name):
    with pytest.raises(LTX2Error) as caught:
        published(name)
    assert caught.value.code == "diffusers_layout"


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "diffusion_model.", ""])
def test_every_prefix_of_a_transformer_is_recognised(prefix):
    official = "model.diffusion_model."
    keys = {
        prefix + key.removeprefix(official): entry
        for key, entry in manifest("transformer_2.3_22b").items()
    }
    facts = facts_of(Header(Path("x.safetensors"), 0, {}, keys))
    assert (facts.role, facts.version, facts.blocks) == ("transformer", "2.3", 48)


@pytest.mark.parametrize(
    ("stated", "version"),
    [("2.3.0", "2.3"), ("2.5.0-rc1", "2.5"), ("2.3-beta", "2.3"), ("2", "2.0"), ("2.4.x", "2.4"),
     (2.3, "2.3"), ("new", "2.0"), ("", "2.0"), ("9" * 6000, "2.0"), ("٢.٣", "2.0")],
)  # fmt: skip
def test_the_stated_version_counts_where_it_parses(stated, version):
    assert published("diffusion_model_prefix_2.0_19b", model_version=stated)["version"] == version


@pytest.mark.parametrize(
    ("keys", "family"),
    [
        ({"joint_blocks.0.x.weight"}, "Stable Diffusion 3"),
        ({"model.diffusion_model.double_blocks.0.img_attn.qkv.weight"}, "Flux"),
        ({"blocks.0.self_attn.q.weight"}, "Wan"),
        ({"encoder.block.0.layer.0.SelfAttention.q.weight"}, "T5"),
        ({"model.layers.0.self_attn.q_proj.weight"}, "language model"),
        ({"one", "two", "three", "zzz"}, "one, three, two"),
        (set(), "no tensors"),
    ],
)
def test_another_model_is_named_or_shown_by_its_keys(keys, family):
    entries = dict.fromkeys(keys, TensorEntry("BF16", (8, 8), 0, 0))
    with pytest.raises(LTX2Error) as caught:
        facts_of(Header(Path("x.safetensors"), 0, {}, entries))
    assert caught.value.code == "not_ltx2"
    assert family in str(caught.value)


def test_a_folder_with_its_tokenizer_has_one(tmp_path):
    source = FILES / "text_encoders" / "gemma-3-12b-it-qat-q4_0-unquantized"
    folder = tmp_path / source.name
    shutil.copytree(source, folder)
    folder.chmod(0o755)
    (folder / "tokenizer.model").write_bytes(b"x")
    assert identify(folder).components == ("gemma3", "tokenizer")
    check_role(identify(folder), "text_encoder")


@pytest.mark.golden
@pytest.mark.parametrize("number", [1, 2])
def test_one_shard_of_a_folder_points_to_the_folder(number):
    folder = FILES / "text_encoders" / "gemma-3-12b-it-qat-q4_0-unquantized"
    with pytest.raises(LTX2Error, match=folder.name) as caught:
        identify(folder / f"model-0000{number}-of-00002.safetensors")
    assert caught.value.code == "shard"


def test_a_folder_that_is_no_model(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(LTX2Error) as caught:
        identify(tmp_path)
    assert caught.value.code == "component_missing"


def test_a_diffusers_folder_without_parts_is_refused(tmp_path):
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(LTX2Error) as caught:
        identify(tmp_path)
    assert caught.value.code == "component_missing"


def test_an_unreadable_folder_config_leaves_the_structure(tmp_path):
    tensors, _ = tensors_of(FILES / "text_encoders" / "gemma_3_12B_it.safetensors")
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{")
    facts = identify(tmp_path)
    assert (facts.gemma, facts.version_source) == ("gemma3", "structure")


def test_a_sharded_folder_counts_its_quantised_layers(tmp_path):
    tensors, metadata = tensors_of(
        FILES / "text_encoders" / "gemma4-12b-with-proj-ltx-2.5-comfy-int8-convrot.safetensors"
    )
    layer = re.compile(r"model\.layers\.[01]\.")
    for number, wanted in enumerate((True, False)):
        part = {k: v for k, v in tensors.items() if bool(layer.match(k)) is wanted}
        save_file(part, tmp_path / f"model-{number}.safetensors", metadata)
    quant = identify(tmp_path).quant
    assert quant is not None
    assert (quant.format, quant.layers, quant.convrot) == ("int8_tensorwise", 20, True)


@pytest.mark.golden
def test_only_the_header_and_descriptions_are_read(tmp_path):
    source = FILES / "checkpoints" / "ltx-2.3-22b-dev.safetensors"
    path = tmp_path / source.name
    header_bytes = 8 + int.from_bytes(source.read_bytes()[:8], "little")
    path.write_bytes(source.read_bytes()[:header_bytes])
    os.truncate(path, source.stat().st_size)  # zeros where the weights were
    assert dataclasses.replace(identify(path), path=source) == identify(source)


def lora_tables() -> list[Any]:
    return sorted((FOLDER / "loading" / "key_rename").glob("lora_keys*.json.gz"))


@pytest.mark.golden
@pytest.mark.parametrize("path", lora_tables(), ids=lambda path: path.name)
def test_every_spelling_of_a_lora_key(path):
    table = json.loads(gzip.decompress(path.read_bytes()))
    for key, (module, part) in table["lora_key_to_official"].items():
        found = lora_key(key)
        assert found is not None, key
        assert (found.module, found.part) == (module, part), key
        assert is_module(module), key
    for key in table["not_a_target"]:
        found = lora_key(key)
        assert found is None or not is_module(found.module), key


@pytest.mark.parametrize("version", ["2.0_19b", "2.3_22b", "2.5_22b"])
def test_every_linear_of_a_published_transformer_is_a_module_in_both_spellings(version):
    keys = json.loads(
        gzip.decompress((MANIFESTS / f"diffusion_model_prefix_{version}.json.gz").read_bytes())
    )
    prefix = "model.diffusion_model."
    linears = [
        key.removeprefix(prefix).removesuffix(".weight")
        for key, shape in keys.items()
        if key.startswith(prefix) and key.endswith(".weight") and len(shape) == 2
    ]
    assert len(linears) > 1300
    for name in linears:
        assert is_module(name), name
        flat = lora_key(f"lora_unet_{name.replace('.', '_')}.lora_down.weight")
        assert flat is not None
        assert flat.module == name


@pytest.mark.golden
def test_the_stream_of_every_module():
    path = FOLDER / "loading" / "lora_fuse_av_strength.safetensors"
    if not path.is_file():
        pytest.skip("this collection has no case of separate strengths")
    case = json.loads(tensors_of(path)[1]["case"])
    assert {module: stream_of(module) for module in case["streams"]} == case["streams"]


def test_alpha_and_factor_of_a_lora(tmp_path):
    path = tmp_path / "a.safetensors"
    pair = {
        "diffusion_model.proj_out.lora_A.weight": torch.ones(4, 8),
        "diffusion_model.proj_out.lora_B.weight": torch.ones(8, 4),
        "diffusion_model.proj_out.alpha": torch.tensor(3.0, dtype=torch.bfloat16),
    }
    save_file(pair, path, {"ic_reference_downscale_factor": "2.4"})
    facts = identify(path)
    assert (facts.alpha, facts.rank, facts.reference_downscale_factor) == (3.0, 4, 2)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [("2.3", "2.3", True), ("2.3", "2.0", False), ("2.0-2.3", "2.3", True),
     ("2.5", "2.0-2.3", False), ("2.3+", "2.5", True), ("2.3+", "2.0", False),
     (None, "2.0", True), ("2.0-2.3", "2.3+", True)],
)  # fmt: skip
def test_versions_and_ranges_that_belong_together(one, other, together):
    assert covers(one, other) is together
    assert covers(other, one) is together
