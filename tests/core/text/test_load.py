"""Which files make a text encoder, and what is said of the others."""

import json
import re
from pathlib import Path

import pytest
import torch
from golden import FOLDER
from ltx2_pack.ltx_core.checkpoint.weights import open_weights, weights_of
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.text.config import Rope, gemma_config
from ltx2_pack.ltx_core.text.encoder import encode_prompts
from ltx2_pack.ltx_core.text.load import gemma_part, generation_of, text_encoder
from safetensors.torch import save_file

from . import tiny

PREFIXES = (
    "model.", "language_model.model.", "model.language_model.",
    "text_encoders.gemma3_12b.transformer.model.",
)  # fmt: skip


def refusal(gemma, checkpoint, **options) -> LTX2Error:
    with pytest.raises(LTX2Error) as caught:
        text_encoder(gemma, checkpoint, **options)
    return caught.value


@pytest.mark.parametrize("prefix", PREFIXES)
def test_gemma_is_found_under_every_known_prefix(prefix):
    expected = encode_prompts(
        text_encoder(tiny.gemma(), tiny.checkpoint("2.3")), ["a cat"], length=8
    )
    found = encode_prompts(
        text_encoder(tiny.gemma(prefix=prefix), tiny.checkpoint("2.3")), ["a cat"], length=8
    )
    assert torch.equal(found[0].video, expected[0].video)


@pytest.mark.parametrize("prefix", ["", "diffusion_model."])
def test_connectors_are_found_under_every_known_prefix(prefix):
    original = tiny.checkpoint("2.3")
    renamed = {
        key.replace("model.diffusion_model.", prefix): tensor for key, tensor in original.items()
    }
    encoder = text_encoder(tiny.gemma(), weights_of(renamed, original.metadata, "repack"))
    assert encoder.connectors.source == "repack"


def test_a_repack_without_metadata_is_understood_by_its_tensors():
    original = tiny.checkpoint("2.3")
    bare = weights_of(dict(original), {}, original.name)
    assert generation_of(bare) == "2.3"
    told, guessed = (text_encoder(tiny.gemma(), weights) for weights in (original, bare))
    contexts = [encode_prompts(encoder, ["a cat"], length=8)[0] for encoder in (told, guessed)]
    assert torch.equal(contexts[0].video, contexts[1].video)


@pytest.mark.parametrize(
    ("version", "generation"),
    [("2.0.0", "2.0"), ("2.3.0", "2.3"), ("2.3.1-rc1", "2.3"), (2.3, "2.3"), ("2.4.0", "2.5"),
     ("2.5.0", "2.5"), ("2.5-beta", "2.5"), ("unknown", "2.0"), ("", "2.0")],
)  # fmt: skip
def test_model_version_names_the_generation(version, generation):
    weights = weights_of({"x": torch.ones(1)}, {"model_version": version}, "x")
    assert generation_of(weights) == generation


def test_projection_and_connectors_may_lie_in_a_file_of_their_own():
    whole = tiny.checkpoint("2.3")
    transformer = tiny.without(whole, "connector", "projection")
    extras = weights_of(dict(whole), {}, "embeddings_connectors")
    encoder = text_encoder(tiny.gemma(), transformer, extras=[extras])
    assert encoder.source == "gemma_tiny, embeddings_connectors"


def test_gemma_4_is_refused_for_2_3():
    four = tiny.with_tensors(tiny.gemma(), **{"model.layers.0.layer_scalar": torch.tensor([0.5])})
    error = refusal(four, tiny.checkpoint("2.3"))
    assert error.code == "gemma_version_mismatch"
    assert "Gemma 3" in str(error) and "Gemma 4" in str(error)


@pytest.mark.parametrize(
    "metadata",
    [{"model_version": "2.5.0"},
     {"gemma_source_checkpoint": {"gemma_version": "gemma4-12b-ltx-v1"}, "model_version": ""}],
)  # fmt: skip
def test_gemma_3_is_refused_for_2_5(metadata):
    error = refusal(tiny.gemma(), tiny.checkpoint("2.3", **metadata))
    assert error.code == "gemma_version_mismatch"
    assert "Gemma 3" in str(error) and "gemma4-12b-ltx-v1" in str(error)


@pytest.mark.parametrize("size", [{"layers": 2}, {"dim": 24}])
def test_a_gemma_of_another_size_is_refused_with_both_sizes(size):
    error = refusal(tiny.gemma(**size), tiny.checkpoint("2.3"))
    assert error.code == "gemma_wrong_size"
    found = size.get("dim", tiny.DIM) * (size.get("layers", tiny.LAYERS) + 1)
    assert {str(found), str(tiny.DIM * (tiny.LAYERS + 1))} <= {*re.findall(r"\d+", str(error))}


@pytest.mark.parametrize("part", ["projection", "connector"])
def test_what_a_checkpoint_lacks_is_named(part):
    error = refusal(tiny.gemma(), tiny.without(tiny.checkpoint("2.3"), part))
    assert error.code == "component_missing"
    assert part in str(error)


def test_a_model_without_sound_is_named():
    error = refusal(
        tiny.gemma(), tiny.without(tiny.checkpoint("2.3"), "audio_embeddings_connector")
    )
    assert error.code == "component_missing"
    assert "audio connector" in str(error)


def test_a_missing_tokenizer_is_named_with_its_sources():
    error = refusal(tiny.without(tiny.gemma(), "tokenizer_json"), tiny.checkpoint("2.3"))
    assert error.code == "tokenizer_missing"
    assert all(word in str(error) for word in ("tokenizer.json", "tokenizer.model", "spiece_model"))


def test_a_damaged_tokenizer_is_named():
    damaged = tiny.with_tensors(tiny.gemma(), tokenizer_json=tiny.as_bytes("{not json"))
    error = refusal(damaged, tiny.checkpoint("2.3"))
    assert error.code == "tokenizer_missing" and "damaged" in str(error)


@pytest.mark.parametrize("as_file", [True, False])
def test_a_tokenizer_may_come_from_elsewhere(tmp_path: Path, as_file):
    file = tmp_path / "tokenizer.json"
    file.write_text(tiny.tokenizer_json())
    bare = tiny.without(tiny.gemma(), "tokenizer_json")
    encoder = text_encoder(bare, tiny.checkpoint("2.3"), tokenizer=file if as_file else tmp_path)
    assert encoder.tokenizer.ids("a cat") == [2, 4, 5]


def test_a_tokenizer_file_that_is_not_there_is_named(tmp_path: Path):
    error = refusal(tiny.gemma(), tiny.checkpoint("2.3"), tokenizer=tmp_path / "tokenizer.json")
    assert error.code == "tokenizer_missing"


def test_another_model_is_no_gemma():
    other = weights_of({"adaln_single.linear.weight": torch.ones(2, 2)}, {}, "transformer")
    error = refusal(other, tiny.checkpoint("2.3"))
    assert error.code == "wrong_role" and "adaln_single.linear.weight" in str(error)


@pytest.mark.parametrize(
    "missing",
    ["layers.0.mlp.gate_proj.weight", "layers.2.mlp.up_proj.weight", "embed_tokens", "model.norm."],
)
def test_missing_gemma_weights_are_named(missing):
    error = refusal(tiny.without(tiny.gemma(), missing), tiny.checkpoint("2.3"))
    assert error.code == "missing_weights"
    assert missing.removeprefix("model.").rstrip(".") in str(error)


def test_missing_connector_weights_are_named():
    name = "audio_embeddings_connector.transformer_1d_blocks.1.attn1.to_k.bias"
    error = refusal(tiny.gemma(), tiny.without(tiny.checkpoint("2.3"), name))
    assert error.code == "missing_weights" and name in str(error)


@pytest.mark.parametrize(
    ("mark", "code"), [("comfy_quant", "quant_unsupported"), ("weight_scale", "scale_unused")]
)
def test_plain_layers_with_marks_of_quantised_ones_are_not_read_as_they_lie(mark, code):
    scaled = {f"model.layers.1.mlp.up_proj.{mark}": torch.tensor([3.0])}
    with pytest.raises(LTX2Error) as caught:
        tiny.with_tensors(tiny.gemma(), **scaled)
    assert caught.value.code == code and "layers.1.mlp.up_proj" in str(caught.value)


def test_an_unknown_projection_is_refused():
    config = {"transformer": {**tiny.CONFIGS["2.3"], "caption_proj_input_norm": True}}
    error = refusal(tiny.gemma(), tiny.checkpoint("2.3", config=config))
    assert error.code == "config_unsupported" and "caption_proj_input_norm" in str(error)


def test_a_folder_brings_its_config_and_tokenizer(tmp_path: Path):
    single = tiny.without(tiny.gemma(prefix="language_model.model."), "tokenizer_json")
    save_file(dict(single), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"text_config": {"sliding_window": 7}}')
    (tmp_path / "tokenizer.json").write_text(tiny.tokenizer_json())
    encoder = text_encoder(open_weights(tmp_path), tiny.checkpoint("2.3"))
    assert encoder.gemma.network.config.window == 7
    assert encoder.tokenizer.ids("cat") == [2, 5]


SHAPES = {name: tuple(shape) for name, shape in tiny.gemma_shapes().items()}


def test_old_and_new_spelling_of_a_gemma_config_agree():
    from ltx2_pack.ltx_core.checkpoint.section import Section

    old = {
        "sliding_window_pattern": 2, "rope_local_base_freq": 500, "rope_theta": 7000,
        "rope_scaling": {"rope_type": "linear", "factor": 4.0}, "sliding_window": 9,
    }  # fmt: skip
    new = {
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
            "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 7000.0},
        },
        "sliding_window": 9,
    }
    configs = [gemma_config(Section("text_config", values), SHAPES) for values in (old, new)]
    assert configs[0] == configs[1]
    assert configs[0].sees_all == (False, True, False)
    assert configs[0].global_rope == Rope(theta=7000.0, factor=4.0)


@pytest.mark.parametrize(
    "config",
    [{"rope_scaling": {"rope_type": "yarn", "factor": 8.0}}, {"layer_types": ["full_attention"]},
     {"attention_bias": True}, {"attn_logit_softcapping": 50.0}, {"rope_parameters": 3}],
)  # fmt: skip
def test_a_gemma_of_other_rules_is_refused(config):
    gemma = weights_of(dict(tiny.gemma()), {"config": {"text_config": config}}, "other_gemma")
    with pytest.raises(LTX2Error) as caught:
        gemma_part(gemma)
    assert caught.value.code == "config_unsupported"


FILES = FOLDER / "loading" / "files"


def pairings() -> list:
    """Text encoders and models of the loading fixtures that do not belong together."""
    if not (FILES / "expected.json").is_file():
        return []
    checks = json.loads((FILES / "expected.json").read_text())["_cross_checks"]
    return [check for check in checks if {"text_encoder", "transformer"} <= check["files"].keys()]


@pytest.mark.golden
@pytest.mark.parametrize("pairing", pairings(), ids=lambda pairing: pairing["error"])
def test_files_that_do_not_belong_together(pairing):
    files = pairing["files"]
    gemma, model = (open_weights(FILES / files[role]) for role in ("text_encoder", "transformer"))
    error = refusal(gemma, model)
    assert error.code == pairing["error"]
    assert all(word in str(error) for word in pairing["must_mention"])
