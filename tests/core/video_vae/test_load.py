"""Files of every model generation: names and shapes, configs, and whole tiny files by path."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import FOLDER, MANIFESTS, every_golden
from ltx2_pack.ltx_core.checkpoint.weights import Weights, open_weights
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.grid import ScaleFactors
from ltx2_pack.ltx_core.media.image import prepare_image
from ltx2_pack.ltx_core.video_vae.cost import decode_bytes, encode_bytes, kept_elements
from ltx2_pack.ltx_core.video_vae.decode import decode_spans, to_rgb
from ltx2_pack.ltx_core.video_vae.layers import Padding
from ltx2_pack.ltx_core.video_vae.load import (
    decoder_kind,
    generation_of,
    read_decoder_config,
    read_encoder_config,
    video_decoder_part,
    video_encoder_part,
)
from ltx2_pack.ltx_core.video_vae.preview import linear_fit, preview, preview_factors
from ltx2_pack.ltx_core.video_vae.statistics import read_statistics
from torch import Tensor

CPU = torch.device("cpu")
CONV = (
    "ltx-2.0-video-vae",
    "ltx-2.0-video-vae-timestep-conditioned",
    "ltx-2.3-video-vae",
    "ltx-2.5-video-vae-conv",
)
DIFFUSION = "ltx-2.5-video-vae-diffusion"
SHARED_KEYS = {"per_channel_statistics.mean-of-means", "per_channel_statistics.std-of-means"}


def manifest(name: str, *, version: str = "", config: bool = True) -> Weights:
    """An official file as its header shows it: names and shapes, tensors without content."""
    shapes = json.loads(gzip.decompress((MANIFESTS / f"{name}.json.gz").read_bytes()))
    metadata: dict[str, Any] = {"model_version": version} if version else {}
    if config:
        metadata["config"] = json.loads((MANIFESTS / "configs" / f"{name}.json").read_text("utf-8"))
    tensors = {
        key: torch.empty(shape, device="meta", dtype=torch.bfloat16)
        for key, shape in shapes.items()
    }
    return Weights(name, tensors, metadata)


def shapes_of(tensors: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def leftover(weights: Weights, *parts: Any) -> set[str]:
    used = {part.weights.keys_of[name] for part in parts for name in part.weights}
    return set(weights) - used


@pytest.mark.parametrize("config", [True, False], ids=["stated", "inferred"])
@pytest.mark.parametrize("name", CONV)
def test_networks_have_exactly_the_official_names_and_shapes(name: str, config: bool) -> None:
    weights = manifest(name, config=config)
    encoder, decoder = video_encoder_part(weights), video_decoder_part(weights)
    for part in (encoder, decoder):
        assert shapes_of(part.network.state_dict()) == shapes_of(part.weights)
        assert all(tensor.is_meta for tensor in part.network.state_dict().values())
    assert leftover(weights, encoder, decoder) == set()
    scale = ScaleFactors(time=8, height=32, width=32)
    assert encoder.network.config.scale == decoder.network.config.scale == scale


@pytest.mark.parametrize("name", CONV)
def test_a_file_without_config_is_read_as_the_official_one(name: str) -> None:
    stated, bare = manifest(name), manifest(name, config=False)
    assert read_encoder_config(bare) == read_encoder_config(stated)
    assert read_decoder_config(bare) == read_decoder_config(stated)
    assert read_decoder_config(stated).padding is (
        Padding.REFLECT if "2.0" in name else Padding.ZEROS
    )
    conditioned = "timestep" in name
    assert read_decoder_config(bare).timestep_conditioning == conditioned


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("ltx-2.0-video-vae", 1_222_479_857),
        ("ltx-2.0-video-vae-timestep-conditioned", 1_246_913_778),
        ("ltx-2.3-video-vae", 726_106_225),
        ("ltx-2.5-video-vae-conv", 726_106_225),
    ],
)
def test_official_sizes(name: str, parameters: int) -> None:
    weights = manifest(name)
    parts = (video_encoder_part(weights), video_decoder_part(weights))
    statistics = 2 * 128  # in both halves, once in the file
    assert sum(part.num_bytes for part in parts) == 2 * (parameters + statistics)


def test_the_encoder_of_the_diffusion_file() -> None:
    weights = manifest(DIFFUSION)
    part = video_encoder_part(weights)
    assert shapes_of(part.network.state_dict()) == shapes_of(part.weights)
    others = leftover(weights, part)
    assert others and all(key.startswith("decoder.") for key in others)
    assert part.network.config.blocks == read_encoder_config(manifest("ltx-2.3-video-vae")).blocks
    assert decoder_kind(weights) == decoder_kind(manifest(DIFFUSION, config=False)) == "diffusion"
    with pytest.raises(LTX2Error, match="diffusion decoder") as caught:
        video_decoder_part(weights)
    assert caught.value.code == "component_missing"


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("ltx-2.0-video-vae", "", "2.0"),
        ("ltx-2.0-video-vae-timestep-conditioned", "", "2.0"),
        ("ltx-2.3-video-vae", "", "2.3"),
        ("ltx-2.3-video-vae", "2.3.0", "2.3"),
        ("ltx-2.5-video-vae-conv", "2.5.0", "2.5"),
        (DIFFUSION, "", "2.5"),
    ],
)
def test_generation(name: str, version: str, expected: str) -> None:
    assert generation_of(manifest(name, version=version)) == expected
    assert generation_of(manifest(name, version=version, config=False)) == expected


@pytest.mark.parametrize("part", [video_encoder_part, video_decoder_part])
def test_a_file_without_video_vae_is_refused(part: Any) -> None:
    weights = Weights("lora.safetensors", {"a.lora_A.weight": torch.zeros(1)}, {})
    with pytest.raises(LTX2Error, match=r"lora.safetensors holds no video") as caught:
        part(weights)
    assert caught.value.code == "component_missing"
    with pytest.raises(LTX2Error, match="per_channel_statistics"):
        read_statistics(weights)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dims", 2),
        ("decoder_blocks", [["compress_everything", {}]]),
        ("decoder_blocks", [["res_x"]]),
        ("decoder_blocks", "res_x"),
        ("decoder_blocks", [["compress_all_res", {"multiplier": 2}]]),
        ("patch_size", "4"),
        ("norm_layer", "layer_norm"),
        ("spatial_padding_mode", "mirror"),
    ],
)
def test_a_config_we_cannot_run_is_refused(key: str, value: object) -> None:
    weights = manifest("ltx-2.3-video-vae")
    weights.metadata["config"]["vae"][key] = value
    with pytest.raises(LTX2Error, match=key) as caught:
        video_decoder_part(weights)
    assert caught.value.code == "config_unsupported"


def test_statistics_of_older_files_leave_no_unknown_keys(caplog: pytest.LogCaptureFixture) -> None:
    weights = manifest("ltx-2.0-video-vae")
    tensors = {key: weights[key] for key in weights}
    prefix = "vae.per_channel_statistics."
    for name in ("channel", "mean-of-stds", "mean-of-stds_over_std-of-means"):
        tensors[prefix + name] = torch.empty(128, device="meta")
    older = Weights("older", tensors, weights.metadata)
    for part in (video_encoder_part(older), video_decoder_part(older)):
        assert shapes_of(part.weights) == shapes_of(part.network.state_dict())
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "elements"), [("ltx-2.0-video-vae", 338_000), ("ltx-2.3-video-vae", 432_000)]
)
def test_decoder_state_is_what_the_formula_says(name: str, elements: int) -> None:
    """Two frames per convolution, and up to half as much of waiting shortcuts."""
    kept = kept_elements(read_decoder_config(manifest(name)))
    assert elements <= kept <= 1.6 * elements


@pytest.mark.parametrize(
    ("name", "elements"), [("ltx-2.0-video-vae", 535_000), ("ltx-2.3-video-vae", 459_000)]
)
def test_encoder_state_is_what_the_formula_says(name: str, elements: int) -> None:
    assert elements <= kept_elements(read_encoder_config(manifest(name))) <= 1.6 * elements


def test_streamed_bytes_of_real_sizes() -> None:
    """What is kept, and a few pieces of 128 MiB; for 4K a piece is one frame."""
    decoder = read_decoder_config(manifest("ltx-2.3-video-vae"))
    encoder = read_encoder_config(manifest("ltx-2.3-video-vae"))
    for rows, columns in ((16, 24), (32, 48), (68, 120)):
        kept = 2 * kept_elements(decoder) * rows * columns
        assert kept < decode_bytes(decoder, rows, columns) < 1.7 * kept + 2**30
        kept = 2 * kept_elements(encoder) * rows * columns
        assert kept < encode_bytes(encoder, rows, columns) < 1.7 * kept + 2**30


# Whole files, by path


def whole_files() -> list[Any]:
    found = []
    for golden in every_golden():
        files = json.loads(golden.metadata.get("files", "{}"))
        vae = files.get("video_vae") or files.get("checkpoint")
        if golden.kind == "whole" and golden.case.get("part") == "recipe" and vae:
            name = str(golden.path.relative_to(FOLDER))
            path = golden.path.parent / vae
            found.append(pytest.param(golden, path, id=name, marks=pytest.mark.golden))
    return found


def within(expected: Tensor, actual: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("golden", "path"), whole_files())
def test_whole_file_decodes_as_recorded(golden: Any, path: Path) -> None:
    decoder = video_decoder_part(open_weights(path)).lay_out(CPU, dtype=torch.float32)
    expected = golden.tensors("out.")
    tolerance = json.loads(golden.metadata["tolerances"])["out.frames"]
    step = golden.case["frames_stride"]
    for chunk in (1, 100):
        spans = list(decode_spans(decoder, expected["final.video"], chunk=chunk))
        frames = to_rgb(torch.cat(spans, dim=2))[:: step[0], :: step[1], :: step[2]]
        within(expected["frames"], frames, tolerance)


@pytest.mark.parametrize(
    ("golden", "path"), [case for case in whole_files() if case.values[0].case.get("images")]
)
@pytest.mark.parametrize("stage", [1, 2])
@torch.no_grad()
def test_whole_file_encodes_the_image_as_recorded(golden: Any, path: Path, stage: int) -> None:
    (image,) = golden.case["images"]
    height, width = golden.case["stage_sizes"][stage - 1]
    pixels = golden.tensors("in.")[image["tensor"].removeprefix("in.")]
    frames = prepare_image(pixels, height, width, crf=image["crf"])
    encoder = video_encoder_part(open_weights(path)).lay_out(CPU, dtype=torch.float32)
    name = f"image_latent.stage{stage}"
    tolerance = json.loads(golden.metadata["tolerances"])[f"out.{name}"]
    within(golden.tensors("out.")[name], encoder(frames), tolerance)


@pytest.mark.parametrize(("golden", "path"), whole_files()[:1])
def test_preview_factors_are_made_from_the_decoder_alone(golden: Any, path: Path) -> None:
    decoder = video_decoder_part(open_weights(path)).lay_out(CPU, dtype=torch.float32)
    factors = preview_factors(decoder)
    assert factors.shape == (decoder.config.latent_channels + 1, 3)
    assert factors.dtype == torch.float32
    assert torch.equal(factors, preview_factors(decoder))


def test_a_linear_map_is_found_and_applied() -> None:
    generator = torch.Generator().manual_seed(4)
    factors = torch.randn(9, 3, generator=generator) / 9
    latent = torch.randn(2, 8, 3, 4, 5, generator=generator)
    cells = latent.movedim(1, -1).flatten(0, 3)
    colours = cells @ factors[:-1] + factors[-1]
    within(factors, linear_fit(cells, colours), 1e-6)
    picture = preview(latent, factors)
    assert picture.shape == (2, 3, 3, 4, 5)
    within(colours.clamp(-1, 1), picture.movedim(1, -1).flatten(0, 3), 1e-6)
