"""Every published file, from a header of full size: recognised, built, nothing left unexplained.

The files hold zeros that take no room on disk; the networks are built on the meta device.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from checkpoint_files import header_only, manifest
from gguf_files import aligned, field, header, info
from golden import MANIFESTS
from layouts import by_table, their_vae
from ltx2_pack.ltx_core.audio_vae import keys as audio_keys
from ltx2_pack.ltx_core.checkpoint.diffusers_keys import official_names
from ltx2_pack.ltx_core.checkpoint.facts import FileFacts
from ltx2_pack.ltx_core.checkpoint.identify import identify
from ltx2_pack.ltx_core.checkpoint.keys import Named, rename
from ltx2_pack.ltx_core.checkpoint.part import Part
from ltx2_pack.ltx_core.checkpoint.weights import Weights, open_weights
from ltx2_pack.ltx_core.sampling.trial import parts_of

PREFIX = "model.diffusion_model."
NAMES = {"2.0": "2.0_19b", "2.3": "2.3_22b", "2.5": "2.5_22b"}
AUDIO = {
    "audio_encoder": audio_keys.ENCODER, "audio_decoder": audio_keys.DECODER,
    "vocoder": audio_keys.VOCODER,
}  # fmt: skip
#: The text projection is built with the language model beside it: its width depends on it.
WITH_GEMMA = "text_embedding_projection."
#: In files, and read by no network: analysis is the transform's job, pictures are not encoded.
UNUSED = ("vocoder.mel_stft.stft_fn.inverse_basis", "spiece_model", "tokenizer_json", "hf_asset__")
PICTURES = (
    "vision_model.", "vision_tower.", "multi_modal_projector.", "audio_projector.",
    "model.vision_embedder.", "model.embed_vision.", "model.embed_audio.",
)  # fmt: skip
#: Of networks that come later.
LATER = {
    "diffusion": ("decoder.", "vae.decoder."), "gemma4": ("model.", *PICTURES),
    "duration_head": ("duration_head.",),
}  # fmt: skip


def config_of(*names: str) -> dict[str, str]:
    """Return the metadata of published configs, merged as one file has them."""
    config: dict[str, Any] = {}
    for name in names:
        found = json.loads((MANIFESTS / "configs" / f"{name}.json").read_text("utf-8"))
        config |= found
    return {"config": json.dumps(config)}


def claimed(part: Part[Any], weights: Weights) -> set[str]:
    """Return the keys of the file that a network takes."""
    if isinstance(part.weights, Named):
        return {*part.weights.keys_of.values()}
    return {*rename(weights, AUDIO[part.role])}


def check(path: Path, left: Sequence[str] = ()) -> FileFacts:
    """Build everything a file holds; all other keys must begin as those in `left` do."""
    facts = identify(path)
    weights = open_weights(path)
    parts = parts_of(path, facts)
    known = {"text_projection", "tokenizer", "gemma4", "duration_head", "preview_vae"}
    assert {*facts.components} - known == {*parts}
    used = {key for built in parts.values() for part in built for key in claimed(part, weights)}
    for built in parts.values():
        for part in built:
            assert {*part.network.state_dict()} <= {*part.weights}, part.role
    rest = {*weights} - used
    assert [key for key in rest if not key.startswith((*left, *UNUSED))] == []
    return facts


SINGLE = {
    "2.0": ("diffusion_model_prefix_2.0_19b", "text-2.0", "ltx-2.0-video-vae", "audio-2.0"),
    "2.3": ("diffusion_model_prefix_2.3_22b", "text-2.3", "ltx-2.3-video-vae", "audio-2.3"),
}
CONFIGS = {
    "2.0": ("text-2.0", "ltx-2.0-video-vae", "audio-2.0"),
    "2.3": ("text-2.3", "ltx-2.3-video-vae", "audio-2.3"),
}


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("generation", SINGLE)
def test_the_official_single_files(generation: str, stated: bool, tmp_path: Path) -> None:
    shapes = manifest(*SINGLE[generation])
    if generation == "2.3":
        assert len(shapes) == 5947
    metadata = config_of(*CONFIGS[generation]) if stated else None
    path = header_only(tmp_path / "single.safetensors", shapes, metadata)
    facts = check(path, [WITH_GEMMA])
    assert (facts.role, facts.version) == ("checkpoint", generation)


@pytest.mark.parametrize("prefix", ["diffusion_model.", ""])
def test_a_transformer_alone_under_other_prefixes(prefix: str, tmp_path: Path) -> None:
    shapes = {
        prefix + k.removeprefix(PREFIX): s for k, s in manifest("transformer_2.3_22b").items()
    }
    facts = check(header_only(tmp_path / "transformer_only.safetensors", shapes))
    assert (facts.role, facts.version, facts.components) == ("transformer", "2.3", ("transformer",))


@pytest.mark.parametrize("generation", ["2.0", "2.3"])
def test_text_parts_in_a_file_of_their_own(generation: str, tmp_path: Path) -> None:
    shapes = manifest(f"text-{generation}")
    facts = check(header_only(tmp_path / "text.safetensors", shapes), [WITH_GEMMA])
    assert facts.role == "text_encoder_extras"
    assert facts.components == ("connectors", "text_projection")
    alone = {key: shape for key, shape in shapes.items() if key.startswith(WITH_GEMMA)}
    facts = check(header_only(tmp_path / "projection.safetensors", alone), [WITH_GEMMA])
    assert facts.components == ("text_projection",)


def test_the_split_transformer_of_2_5(tmp_path: Path) -> None:
    shapes = manifest("diffusion_model_prefix_2.5_22b")
    assert {*manifest("text-2.5-transformer-file")} < {*shapes}
    metadata = {**config_of("transformer_2.5_22b"), "model_version": "2.5.0"}
    facts = check(header_only(tmp_path / "transformer.safetensors", shapes, metadata))
    assert (facts.role, facts.version, facts.keyframes) == ("transformer", "2.5", True)
    assert len(shapes) == 4349


@pytest.mark.parametrize(
    ("name", "version"),
    [("ltx-2.0-video-vae", "2.0"), ("ltx-2.0-video-vae-timestep-conditioned", "2.0"),
     ("ltx-2.3-video-vae", "2.3+"), ("ltx-2.5-video-vae-conv", "2.3+"),
     ("ltx-2.5-video-vae-diffusion", "2.5")],
)  # fmt: skip
@pytest.mark.parametrize("stated", [True, False])
def test_video_autoencoders(name: str, version: str, stated: bool, tmp_path: Path) -> None:
    shapes = {key.removeprefix("vae."): shape for key, shape in manifest(name).items()}
    path = header_only(tmp_path / "vae.safetensors", shapes, config_of(name) if stated else None)
    later = LATER["diffusion"] if "diffusion" in name else ()
    facts = check(path, later)
    assert (facts.role, facts.version) == ("video_vae", version)


@pytest.mark.parametrize("name", ["audio-2.0", "audio-2.3", "audio-2.5"])
@pytest.mark.parametrize("stated", [True, False])
def test_audio_autoencoders(name: str, stated: bool, tmp_path: Path) -> None:
    path = header_only(
        tmp_path / "audio.safetensors", manifest(name), config_of(name) if stated else None
    )
    assert check(path).components == ("audio_vae", "vocoder")


UPSCALERS = sorted(
    path.name.removesuffix(".json.gz") for path in MANIFESTS.glob("*upscaler*.json.gz")
)


@pytest.mark.parametrize("name", UPSCALERS)
@pytest.mark.parametrize("stated", [True, False])
def test_upscalers(name: str, stated: bool, tmp_path: Path) -> None:
    path = header_only(
        tmp_path / "up.safetensors", manifest(name), config_of(name) if stated else None
    )
    facts = check(path)
    assert facts.kind == ("temporal" if "temporal" in name else "spatial")


@pytest.mark.parametrize("name", ["gemma3-12b-hf", "gemma3-12b-comfy"])
def test_gemma_3(name: str, tmp_path: Path) -> None:
    facts = check(header_only(tmp_path / "gemma.safetensors", manifest(name)), PICTURES)
    assert (facts.role, facts.layers, facts.hidden) == ("text_encoder", 48, 3840)


def test_gemma_3_as_a_folder_of_shards(tmp_path: Path) -> None:
    shapes = manifest("gemma3-12b-hf")
    names, files = sorted(shapes), {}
    for number in range(5):
        file = f"model-{number + 1:05}-of-00005.safetensors"
        own = names[number::5]
        header_only(tmp_path / file, {name: shapes[name] for name in own})
        files |= dict.fromkeys(own, file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": files}), "utf-8")
    config = (MANIFESTS / "configs" / "gemma3-12b-hf.json").read_text("utf-8")
    (tmp_path / "config.json").write_text(config, "utf-8")
    assert check(tmp_path, PICTURES).version_source == "config.json"


@pytest.mark.parametrize(
    ("name", "left", "component"),
    [("gemma4-12b-ltx-hf", LATER["gemma4"], "gemma4"),
     ("text-2.5-text-encoder-file", (*LATER["gemma4"], WITH_GEMMA), "gemma4"),
     ("text-2.5-duration-head", LATER["duration_head"], "duration_head")],
)  # fmt: skip
def test_what_comes_later_is_named(
    name: str, left: Sequence[str], component: str, tmp_path: Path
) -> None:
    facts = check(header_only(tmp_path / "later.safetensors", manifest(name)), left)
    assert component in facts.components
    assert facts.tensors == len(manifest(name))


def test_the_int8_text_encoder_of_2_5_is_named_with_its_layers(tmp_path: Path) -> None:
    name = "text-2.5-text-encoder-file-int8-convrot"
    shapes = manifest(name)
    layers = [key.removesuffix(".comfy_quant") for key in shapes if key.endswith(".comfy_quant")]
    blob = b'{"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 256}'
    dtypes = {
        **{f"{layer}.weight": "I8" for layer in layers},
        **{f"{layer}.weight_scale": "F32" for layer in layers},
        **{f"{layer}.comfy_quant": "U8" for layer in layers},
    }
    contents = {f"{layer}.comfy_quant": blob for layer in layers}
    shapes |= {key: (len(blob),) for key in contents}
    facts = check(
        header_only(tmp_path / "int8.safetensors", shapes, dtypes=dtypes, contents=contents),
        (*LATER["gemma4"], WITH_GEMMA),
    )
    assert facts.quant is not None
    assert (facts.quant.layers, facts.quant.convrot, len(blob)) == (328, True, 72)


def gguf(path: Path, shapes: Mapping[str, Sequence[int]], fields: list[bytes]) -> Path:
    """Write a GGUF header of bfloat16 tensors; leading axes of 1 are lost, as writers lose them."""
    infos, end = [], 0
    for name, shape in shapes.items():
        sides = tuple(shape)
        while len(sides) > 1 and sides[0] == 1:
            sides = sides[1:]
        size = 2
        for side in sides:
            size *= side
        infos.append(info(name, sides, 30, end))
        end = aligned(end + size)
    start = header(fields, infos)
    path.write_bytes(start.ljust(aligned(len(start)), b"\0"))
    os.truncate(path, aligned(len(start)) + end)
    return path


@pytest.mark.parametrize("generation", NAMES)
def test_gguf_transformers(generation: str, tmp_path: Path) -> None:
    shapes = manifest(f"transformer_{NAMES[generation]}")
    bare = {key.removeprefix(PREFIX): shape for key, shape in shapes.items()}
    path = gguf(tmp_path / "t.gguf", bare, [field("general.architecture", "ltxv")])
    facts = check(path)
    assert (facts.role, facts.version) == ("transformer", generation)


def test_gguf_gemma_3(tmp_path: Path) -> None:
    shapes = manifest("gemma3-12b-gguf")
    path = gguf(tmp_path / "g.gguf", shapes, [field("general.architecture", "gemma3")])
    facts = check(path)
    assert (facts.gemma, facts.layers, facts.hidden) == ("gemma3", 48, 3840)


@pytest.mark.parametrize("generation", NAMES)
def test_diffusers_transformers(generation: str, tmp_path: Path) -> None:
    shapes = manifest(f"transformer_{NAMES[generation]}_diffusers_names")
    header_only(tmp_path / "transformer" / "diffusion_pytorch_model.safetensors", shapes)
    (tmp_path / "model_index.json").write_text("{}")
    facts = check(tmp_path)
    assert (facts.role, facts.version, facts.layout) == ("transformer", generation, "diffusers")


@pytest.mark.parametrize("generation", ["2.0", "2.3"])
def test_diffusers_folders_without_transformer(generation: str, tmp_path: Path) -> None:
    audio = manifest(f"audio-{generation}")
    vae = their_vae(manifest(f"ltx-{generation}-video-vae"))
    written = {
        "connectors": manifest(f"text-{generation}-diffusers-connectors"),
        "vae": {vae[k]: shape for k, shape in manifest(f"ltx-{generation}-video-vae").items()},
        **{
            part: {
                by_table(f"{part}_{generation}", key.removeprefix(f"{part}.")): shape
                for key, shape in audio.items()
                if key.startswith(f"{part}.")
            }
            for part in ("audio_vae", "vocoder")
        },
    }
    for part, shapes in written.items():
        header_only(tmp_path / part / "diffusion_pytorch_model.safetensors", shapes)
    (tmp_path / "model_index.json").write_text("{}")
    facts = check(tmp_path, [WITH_GEMMA])
    assert {*facts.components} == {
        "connectors", "text_projection", "video_vae", "audio_vae", "vocoder",
    }  # fmt: skip


def test_diffusers_names_of_what_comes_later_are_those_of_the_manifests() -> None:
    wanted = {*manifest("text-2.5-duration-head")}
    theirs = {by_table("duration_head_2.5", k.removeprefix("duration_head.")): k
              for k in wanted if ".in_proj" not in k}  # fmt: skip
    thirds = [f"attention_pooler.to_{n}.{kind}" for n in "qkv" for kind in ("weight", "bias")]
    found = official_names("duration_head", [*theirs, *thirds])
    assert {official.name for official in found.values()} == wanted


def test_every_manifest_is_in_one_of_these_tests() -> None:
    tested = {
        *SINGLE["2.0"], *SINGLE["2.3"], *UPSCALERS, *(f"audio-{g}" for g in NAMES),
        "ltx-2.0-video-vae-timestep-conditioned", "ltx-2.5-video-vae-conv",
        "ltx-2.5-video-vae-diffusion", "diffusion_model_prefix_2.5_22b",
        "text-2.5-transformer-file", "text-2.5-text-encoder-file", "text-2.5-duration-head",
        "text-2.0-diffusers-connectors", "text-2.3-diffusers-connectors",
        "gemma3-12b-hf", "gemma3-12b-comfy", "gemma3-12b-gguf", "gemma4-12b-ltx-hf",
        "text-2.5-text-encoder-file-int8-convrot",
        *(f"transformer_{name}{end}" for name in NAMES.values()
          for end in ("", "_diffusers_names")),
    }  # fmt: skip
    # One stream alone is no file of its own; the transformer's own tests take it out.
    others = {
        f"transformer_{name}_{stream}_only" for name in NAMES.values()
        for stream in ("video", "audio")
    }  # fmt: skip
    there = {path.name.removesuffix(".json.gz") for path in MANIFESTS.glob("*.json.gz")}
    assert there == tested | others
