"""Files to networks: keys, shapes and configs of every published checkpoint."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import MANIFESTS, Golden, cases
from ltx2_pack.ltx_core.checkpoint.weights import Weights, weights_of
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.ops.native import native
from ltx2_pack.ltx_core.transformer.keys import from_diffusers, parameter_names
from ltx2_pack.ltx_core.transformer.load import transformer_part
from transformers_at_hand import (
    CPU,
    SMALL,
    part_of,
    small_streams,
    small_transformer,
    stream_of,
)

PREFIX = "model.diffusion_model."
CHECKPOINTS = {"2.0": "2.0_19b", "2.3": "2.3_22b", "2.5": "2.5_22b"}


def manifest(name: str) -> dict[str, list[int]]:
    return json.loads(gzip.decompress((MANIFESTS / f"{name}.json.gz").read_bytes()))


def official_config(checkpoint: str) -> dict[str, Any]:
    file: Path = MANIFESTS / "configs" / f"transformer_{checkpoint}.json"
    config = json.loads(file.read_text("utf-8"))
    return config if "transformer" in config else {"transformer": config}


def on_meta(shapes: dict[str, list[int]], metadata: dict[str, Any]) -> Weights:
    meta = torch.device("meta")
    return weights_of(
        {key: torch.empty(shape, device=meta) for key, shape in shapes.items()}, metadata, "file"
    )


def shapes_of(network: torch.nn.Module) -> dict[str, list[int]]:
    return {PREFIX + name: list(t.shape) for name, t in network.state_dict().items()}


@pytest.mark.parametrize("generation", CHECKPOINTS)
@pytest.mark.parametrize("streams", ["av", "video", "audio"])
def test_official_checkpoints_are_matched_exactly(generation: str, streams: Any) -> None:
    checkpoint = CHECKPOINTS[generation]
    file = on_meta(
        manifest(f"diffusion_model_prefix_{checkpoint}"), {"config": official_config(checkpoint)}
    )
    part = transformer_part(file, streams=streams)
    suffix = "" if streams == "av" else f"_{streams}_only"
    wanted = manifest(f"transformer_{checkpoint}{suffix}")
    assert shapes_of(part.network) == wanted
    assert {PREFIX + name for name in part.weights} == {*wanted}
    assert part.generation == generation
    if streams == "av":
        left = {*file} - {*wanted}
        known = (f"{PREFIX}video_embeddings_connector.", f"{PREFIX}audio_embeddings_connector.")
        assert all(key.startswith(known) for key in left)


@pytest.mark.parametrize("generation", CHECKPOINTS)
def test_a_file_without_config_is_read_from_its_tensors(generation: str) -> None:
    checkpoint = CHECKPOINTS[generation]
    shapes = manifest(f"diffusion_model_prefix_{checkpoint}")
    stated = transformer_part(on_meta(shapes, {"config": official_config(checkpoint)}))
    silent = transformer_part(on_meta(shapes, {}))
    assert silent.network.config == stated.network.config
    assert silent.generation == generation


@pytest.mark.parametrize("generation", CHECKPOINTS)
def test_tensors_go_before_a_wrong_header(generation: str) -> None:
    checkpoint = CHECKPOINTS[generation]
    config = official_config(checkpoint)
    right = transformer_part(
        on_meta(manifest(f"transformer_{checkpoint}"), {"config": config})
    ).network.config
    wrong = {
        "num_layers": 28,
        "attention_head_dim": 64,
        "cross_attention_dim": 2048,
        "ff_bias": generation == "2.5",
        "audio_ff_bias": False,
        "apply_gated_attention": generation == "2.0",
        "cross_attention_adaln": generation == "2.0",
        "caption_proj_before_connector": generation == "2.0",
        "use_keyframes_abs_pos_embedding": generation != "2.5",
    }
    config = {"transformer": {**config["transformer"], **wrong}}
    part = transformer_part(on_meta(manifest(f"transformer_{checkpoint}"), {"config": config}))
    assert part.network.config == right


@pytest.mark.parametrize("prefix", ["diffusion_model.", "transformer.", ""])
def test_other_prefixes_are_known(prefix: str) -> None:
    shapes = manifest("diffusion_model_prefix_2.5_22b")
    renamed = {prefix + key.removeprefix(PREFIX): shape for key, shape in shapes.items()}
    part = transformer_part(on_meta(renamed, {}))
    assert shapes_of(part.network) == manifest("transformer_2.5_22b")
    assert len(part.weights) == 4091


@pytest.mark.parametrize("checkpoint", CHECKPOINTS.values())
def test_diffusers_names_are_known(checkpoint: str) -> None:
    theirs = manifest(f"transformer_{checkpoint}_diffusers_names")
    wanted = {
        key.removeprefix(PREFIX): shape
        for key, shape in manifest(f"transformer_{checkpoint}").items()
    }
    assert {from_diffusers(name): shape for name, shape in theirs.items()} == wanted
    assert {*parameter_names(theirs).values()} == {*wanted}
    single_file = {
        key.replace("prompt_adaln.", "prompt_adaln_single."): shape for key, shape in theirs.items()
    }
    assert {*parameter_names(single_file).values()} == {*wanted}


def test_a_file_without_transformer_is_refused() -> None:
    with pytest.raises(LTX2Error) as error:
        transformer_part(weights_of({"vae.decoder.conv_in.weight": torch.ones(1)}, {}, "vae.st"))
    assert error.value.code == "wrong_role"
    assert "vae.st" in str(error.value)


def test_a_missing_stream_is_refused() -> None:
    file = on_meta(manifest("transformer_2.3_22b_video_only"), {})
    with pytest.raises(LTX2Error, match="audio"):
        transformer_part(file, streams="audio")
    assert transformer_part(file).network.config.audio is None


def test_an_architecture_we_lack_is_refused_by_name() -> None:
    config = official_config("2.3_22b")
    config["transformer"]["qk_norm"] = "layer_norm"
    with pytest.raises(LTX2Error, match="qk_norm") as error:
        transformer_part(on_meta(manifest("transformer_2.3_22b"), {"config": config}))
    assert error.value.code == "config_unsupported"


@torch.no_grad()
def test_a_stated_keyframe_mark_that_is_not_there_is_done_without() -> None:
    network = small_transformer(layers=native)
    state = {PREFIX + name: tensor for name, tensor in network.state_dict().items()}
    del state[f"{PREFIX}keyframes_abs_pos_embedding"]
    part = transformer_part(weights_of(state, {"config": {"transformer": SMALL}}, "nvfp4"))
    streams = small_streams()
    expected = network(**streams)
    marks = torch.ones_like(streams["video"].timesteps)
    streams["video"] = replace(streams["video"], keyframes_mask=marks)
    found = part.lay_out(CPU)(**streams)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert not torch.allclose(network(**streams)[0], expected[0], atol=1e-3)
    assert part.generation == "2.5"


@pytest.mark.parametrize("golden", cases("transformer", lambda g: g.case["model_type"] == "av"))
@pytest.mark.parametrize("name", ["video", "audio"])
@torch.no_grad()
def test_one_stream_of_a_file_is_the_file_with_one_stream_passed(golden: Golden, name: str) -> None:
    stream = stream_of(golden, name, {})
    streams = (stream, None) if name == "video" else (None, stream)
    whole = part_of(golden).lay_out(CPU)(*streams)
    single = part_of(golden, streams=name).lay_out(CPU)(*streams)
    for expected, found in zip(whole, single, strict=True):
        assert (expected is None) == (found is None)
        assert expected is None or torch.equal(expected, found)


def test_tensors_are_read_only_when_laid_out() -> None:
    read: list[str] = []

    class Noting(dict[str, torch.Tensor]):
        def __getitem__(self, key: str) -> torch.Tensor:
            read.append(key)
            return super().__getitem__(key)

    state = small_transformer().state_dict()
    file = Weights("file", Noting(state), {}, shapes={k: tuple(t.shape) for k, t in state.items()})
    part = transformer_part(file)
    assert not read
    part.lay_out(CPU)
    assert {*read} == {*state}


@pytest.mark.parametrize(
    ("version", "generation"),
    [("2.0.0", "2.0"), ("2.3.0-dev", "2.3"), ("2.3-x", "2.3"), ("2.5.0", "2.5"), ("x", "2.5")],
)
def test_the_stated_version_goes_before_the_structure(version: str, generation: str) -> None:
    state = small_transformer().state_dict()
    assert transformer_part(weights_of(state, {"model_version": version}, "f")).generation == (
        generation
    )
