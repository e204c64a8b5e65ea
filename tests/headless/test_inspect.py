"""`ltx2 inspect`: the same facts for programs and for people."""

import json

import pytest
from checkpoint_files import derived
from golden import FOLDER
from ltx2_pack.headless.inspect import inspect_file, inspect_text
from ltx2_pack.headless.tiny import write_tiny_models
from ltx2_pack.ltx_core.errors import LTX2Error

FILES = FOLDER / "loading" / "files"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_tiny_models(tmp_path_factory.mktemp("models"), "2.3", gemma_folder=True)


@pytest.mark.parametrize("role", ["checkpoint", "text_encoder", "text_encoder_folder",
                                  "latent_upscaler", "lora", "ic_lora"])  # fmt: skip
def test_every_role_has_facts_that_are_json_and_lines_that_name_it(models, role):
    facts = inspect_file(models[role])
    assert json.loads(json.dumps(facts)) == facts
    assert facts["problem"] is None
    assert facts["folder"] == models[role].parent.name
    text = inspect_text(facts)
    assert models[role].name in text
    assert f"models/{models[role].parent.name}" in text


def test_a_checkpoint_tells_its_parts_and_what_it_needs(models):
    facts = inspect_file(models["checkpoint"])
    assert (facts["role"], facts["version"], facts["blocks"]) == ("checkpoint", "2.3", 2)
    text = inspect_text(facts)
    assert "generation: 2.3 (from model version)" in text
    assert "video VAE" in text
    assert "6.86 MB" in text
    assert [need for need in facts["needs"] if "gemma_3_12B_it.safetensors" in need]
    assert all(need in text for need in facts["needs"])


def test_an_ic_lora_tells_its_factor(models):
    assert "reference is smaller by: 2" in inspect_text(inspect_file(models["ic_lora"]))


@pytest.mark.golden
def test_a_quantised_file_says_how_it_is_stored():
    facts = inspect_file(FILES / "checkpoints" / "ltx-2.3-22b-distilled-fp8.safetensors")
    assert facts["quant"]["layers"] == 34
    text = inspect_text(facts)
    assert "cannot be loaded" not in text
    assert "34 layers as float8_e4m3fn" in text


@pytest.mark.golden
def test_a_format_nobody_knows_says_that_it_cannot_be_loaded(tmp_path):
    source = next(FILES.rglob("*transformer-comfy-int8-convrot.safetensors"))
    change = {"replace_comfy_quant": {"layer_regex": "to_q", "json": {"format": "int2_mine"}}}
    path = derived(source, tmp_path / source.name, change)
    text = inspect_text(inspect_file(path))
    assert "cannot be loaded" in text
    assert "int2_mine" in text


def test_a_bad_file_raises_the_error_of_its_kind(tmp_path):
    with pytest.raises(LTX2Error) as caught:
        inspect_file(tmp_path / "absent.safetensors")
    assert caught.value.code == "not_found"


@pytest.mark.golden
def test_every_good_file_of_the_collection_can_be_shown():
    shown = 0
    for path in sorted(FILES.rglob("*.safetensors")):
        if path.parent.name != "wrong" and "-of-" not in path.name:
            assert path.name in inspect_text(inspect_file(path))
            shown += 1
    assert shown > 20
