"""Latent upscalers: parity, official files, whole tiny files by path."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import FOLDER, MANIFESTS, Golden, cases, every_golden
from ltx2_pack.ltx_core.checkpoint.weights import Weights, open_weights, weights_of
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.upscaler.config import UpscalerConfig
from ltx2_pack.ltx_core.upscaler.load import upscaler_part
from ltx2_pack.ltx_core.upscaler.model import Upscaler, upscale
from ltx2_pack.ltx_core.video_vae.statistics import read_statistics

CPU = torch.device("cpu")
#: file -> (time, side) scale, parameters as published (the blur kernel counts), rational ratio.
OFFICIAL = {
    "ltx-2-spatial-upscaler-x2-1.0": ((1, 2), 497_867_929, (2, 1)),
    "ltx-2-temporal-upscaler-x2-1.0": ((2, 1), 130_968_192, None),
    "ltx-2.3-spatial-upscaler-x2": ((1, 2), 497_867_904, None),
    "ltx-2.3-spatial-upscaler-x1.5-1.0": ((1, 1.5), 545_058_969, (3, 2)),
    "ltx-2.3-temporal-upscaler-x2-1.0": ((2, 1), 130_968_192, None),
    "ltx-2.5-latent-spatial-upscaler-x2-bf16-1.0": ((1, 2), 497_867_904, None),
    "ltx-2.5-latent-temporal-upscaler-x2-bf16-1.0": ((2, 1), 130_968_192, None),
}


def upscaler_of(golden: Golden) -> Upscaler:
    weights = weights_of(golden.tensors("weights."), {"config": golden.config}, golden.path.name)
    return upscaler_part(weights).lay_out(CPU)


@pytest.mark.parametrize("golden", cases("latent_upsample"))
@torch.no_grad()
def test_network_matches_reference(golden: Golden) -> None:
    golden.check("latent", upscaler_of(golden)(golden.tensors("in.")["latent"]))


@pytest.mark.parametrize("golden", cases("upsample_video"))
def test_normalised_latents_match_reference(golden: Golden) -> None:
    statistics = read_statistics(weights_of(golden.tensors("weights."), {}, golden.path.name))
    latent = golden.tensors("in.")["latent"]
    golden.check("latent", upscale(upscaler_of(golden), latent, statistics))


def manifest(name: str, *, config: bool = True) -> Weights:
    shapes = json.loads(gzip.decompress((MANIFESTS / f"{name}.json.gz").read_bytes()))
    stated = json.loads((MANIFESTS / "configs" / f"{name}.json").read_text("utf-8"))
    tensors = {
        key: torch.empty(shape, device="meta", dtype=torch.bfloat16)
        for key, shape in shapes.items()
    }
    return Weights(name, tensors, {"config": stated} if config else {})


@pytest.mark.parametrize("config", [True, False], ids=["stated", "inferred"])
@pytest.mark.parametrize("name", OFFICIAL)
def test_networks_have_exactly_the_official_names_and_shapes(name: str, config: bool) -> None:
    weights = manifest(name, config=config)
    part = upscaler_part(weights)
    expected = {key: weights.shape(key) for key in weights}
    found = {key: tuple(tensor.shape) for key, tensor in part.network.state_dict().items()}
    assert found == expected
    assert set(part.weights) == set(weights)
    scale, parameters, ratio = OFFICIAL[name]
    assert part.network.config.scale == scale
    assert part.network.config.ratio == ratio
    assert part.num_bytes == 2 * parameters


def test_every_official_file_is_tested() -> None:
    found = {path.name.removesuffix(".json.gz") for path in MANIFESTS.glob("*upscaler*.json.gz")}
    assert found == set(OFFICIAL)


@pytest.mark.parametrize(
    ("name", "elements"),
    [
        ("ltx-2.3-spatial-upscaler-x2", 16_384),
        ("ltx-2.3-spatial-upscaler-x1.5-1.0", 19_456),
        ("ltx-2.3-temporal-upscaler-x2-1.0", 4_000),
    ],
)
def test_activation_bytes_of_official_files(name: str, elements: int) -> None:
    cells = 16 * 16 * 24
    found = upscaler_part(manifest(name)).network.activation_bytes(16, 16, 24)
    assert elements <= found / cells / 2 <= 1.2 * elements


@pytest.mark.parametrize(
    ("key", "value"), [("dims", 4), ("spatial_scale", 3.0), ("mid_channels", "wide")]
)
def test_a_config_we_cannot_run_is_refused(key: str, value: object) -> None:
    weights = manifest("ltx-2.3-spatial-upscaler-x1.5-1.0")
    weights.metadata["config"][key] = value
    with pytest.raises(LTX2Error, match=key) as caught:
        upscaler_part(weights)
    assert caught.value.code == "config_unsupported"


def test_another_file_is_refused() -> None:
    weights = Weights("vae.safetensors", {"encoder.conv_in.conv.weight": torch.zeros(1)}, {})
    with pytest.raises(LTX2Error, match=r"vae.safetensors is not a latent upscaler") as caught:
        upscaler_part(weights)
    assert caught.value.code == "wrong_role"


def network(**values: Any) -> Upscaler:
    config: dict[str, Any] = {
        "in_channels": 4, "mid_channels": 32, "num_blocks": 1, "spatial": True,
        "temporal": False, "ratio": None, **values,
    }  # fmt: skip
    made = Upscaler(UpscalerConfig(**config))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in made.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) / 10)
    return made


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        ({}, (3, 10, 14)),
        ({"ratio": (3, 2)}, (3, 8, 11)),
        ({"ratio": (3, 4)}, (3, 4, 6)),
        ({"ratio": (4, 1)}, (3, 20, 28)),
        ({"spatial": False, "temporal": True}, (5, 5, 7)),
        ({"temporal": True}, (5, 10, 14)),
    ],
)
@torch.no_grad()
def test_sizes(values: dict[str, Any], shape: tuple[int, int, int]) -> None:
    latent = torch.randn(2, 4, 3, 5, 7, generator=torch.Generator().manual_seed(2))
    assert network(**values)(latent).shape == (2, 4, *shape)


@torch.no_grad()
def test_batch_items_do_not_see_each_other() -> None:
    latent = torch.randn(2, 4, 3, 5, 7, generator=torch.Generator().manual_seed(2))
    made = network(ratio=(3, 2))
    both = made(latent)
    for number in range(2):
        torch.testing.assert_close(
            made(latent[number : number + 1])[0], both[number], rtol=0, atol=1e-5
        )


@torch.no_grad()
def test_result_has_the_dtype_of_the_latent() -> None:
    latent = torch.zeros(1, 4, 1, 2, 2)
    assert network().bfloat16()(latent).dtype == torch.float32


def test_every_block_can_be_cancelled() -> None:
    calls = []
    config = UpscalerConfig(
        in_channels=4, mid_channels=32, num_blocks=2, spatial=True, temporal=False, ratio=None
    )
    with torch.no_grad():
        Upscaler(config, check=lambda: calls.append(None))(torch.zeros(1, 4, 1, 2, 2))
    assert len(calls) == 5


def whole_files() -> list[Any]:
    found = []
    for golden in every_golden():
        files = json.loads(golden.metadata.get("files", "{}"))
        if golden.kind == "whole" and golden.case.get("part") == "recipe":
            folder = golden.path.parent
            vae = files.get("video_vae") or files["checkpoint"]
            values = (golden, folder / files["upscaler"], folder / vae)
            name = str(golden.path.relative_to(FOLDER))
            found.append(pytest.param(*values, id=name, marks=pytest.mark.golden))
    return found


@pytest.mark.parametrize(("golden", "path", "vae"), whole_files())
def test_whole_file_upscales_as_recorded(golden: Any, path: Path, vae: Path) -> None:
    upscaler = upscaler_part(open_weights(path)).lay_out(CPU, dtype=torch.float32)
    expected = golden.tensors("out.")
    tolerance = json.loads(golden.metadata["tolerances"])["out.upsampled.video"]
    found = upscale(upscaler, expected["stage1.video"], read_statistics(open_weights(vae)))
    torch.testing.assert_close(found, expected["upsampled.video"], rtol=0, atol=tolerance)


@torch.no_grad()
@pytest.mark.parametrize("ratio", [None, (3, 2)])
def test_kernels_of_two_dimensions_take_every_frame_alone(ratio):
    config = UpscalerConfig(
        in_channels=8, mid_channels=32, num_blocks=1, spatial=True, temporal=False, ratio=ratio,
        per_frame=True,
    )  # fmt: skip
    network = Upscaler(config)
    for number, tensor in enumerate(network.state_dict().values()):
        tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(number)))
    latent = torch.randn(2, 8, 3, 4, 6, generator=torch.Generator().manual_seed(99))
    side = config.scale[1]
    found = network(latent)
    assert found.shape == (2, 8, 3, int(4 * side), int(6 * side))
    alone = torch.cat([network(latent[:, :, at : at + 1]) for at in range(3)], dim=2)
    torch.testing.assert_close(found, alone)
    assert network.initial_conv.weight.ndim == 4
