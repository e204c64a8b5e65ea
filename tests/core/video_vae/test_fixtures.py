"""The convolutional video autoencoder against the reference implementation."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.checkpoint.weights import Weights, weights_of
from ltx2_pack.ltx_core.grid import LatentShape, ScaleFactors
from ltx2_pack.ltx_core.memory.tiles import (
    AxisTile,
    ByCount,
    BySize,
    Interval,
    TilePlan,
    check_encode_cuts,
    in_cells,
    in_frames,
    in_pixels,
    long_side_cuts,
    tile_plan,
)
from ltx2_pack.ltx_core.video_vae.blending import axis_masks, mask
from ltx2_pack.ltx_core.video_vae.decode import DecodeNoise, decode, decode_spans, to_rgb
from ltx2_pack.ltx_core.video_vae.decoder import VideoDecoder
from ltx2_pack.ltx_core.video_vae.encode import encode, encode_spans, latent_shape
from ltx2_pack.ltx_core.video_vae.encoder import VideoEncoder
from ltx2_pack.ltx_core.video_vae.load import video_decoder_part, video_encoder_part
from ltx2_pack.ltx_core.video_vae.patches import patchify, unpatchify
from ltx2_pack.ltx_core.video_vae.statistics import read_statistics
from torch import Tensor

CPU = torch.device("cpu")


def weights(golden: Golden) -> Weights:
    metadata: dict[str, Any] = {"config": golden.config}
    if "model_version" in golden.metadata:
        metadata["model_version"] = golden.metadata["model_version"]
    return weights_of(golden.tensors("weights."), metadata, golden.path.name)


def decoder_of(golden: Golden) -> VideoDecoder:
    return video_decoder_part(weights(golden)).lay_out(CPU)


def encoder_of(golden: Golden) -> VideoEncoder:
    return video_encoder_part(weights(golden)).lay_out(CPU)


def scale_of(golden: Golden) -> ScaleFactors:
    return ScaleFactors(**dict(zip(("time", "height", "width"), golden.case["scale"], strict=True)))


def in_turn(noises: list[Tensor]) -> Callable[[tuple[int, ...]], Tensor]:
    """Hand out recorded noise in the order the reference drew it."""
    left = list(noises)

    def draw(shape: tuple[int, ...]) -> Tensor:
        noise = left.pop(0)
        assert tuple(noise.shape) == shape
        return noise

    return draw


def numbered(tensors: dict[str, Tensor], prefix: str) -> list[Tensor]:
    keys = [key for key in tensors if key.startswith(prefix)]
    return [tensors[key] for key in sorted(keys, key=lambda key: int(key.removeprefix(prefix)))]


def suffixes(tensors: dict[str, Tensor], name: str) -> list[str]:
    """Which inputs one file holds: "", ".1", ".2", ..."""
    return [key.removeprefix(name) for key in tensors if key == name or key.startswith(f"{name}.")]


@pytest.mark.parametrize("golden", cases("per_channel_stats"))
def test_statistics_match_reference(golden: Golden) -> None:
    statistics = read_statistics(weights(golden))
    x = golden.tensors("in.")["x"]
    golden.check("normalized", statistics.normalise(x))
    golden.check("un_normalized", statistics.denormalise(x))


@pytest.mark.parametrize("golden", cases("patchify"))
def test_patchify_matches_reference_and_can_be_undone(golden: Golden) -> None:
    x = golden.tensors("in.")["x"]
    p, a = golden.case["patch_size_hw"], golden.case["patch_size_t"]
    golden.check("patched", patchify(x, p, a))
    torch.testing.assert_close(unpatchify(patchify(x, p, a), p, a), x, rtol=0, atol=0)


@pytest.mark.parametrize("golden", cases("to_rgb"))
def test_pictures_match_reference(golden: Golden) -> None:
    golden.check("frames", to_rgb(golden.tensors("in.")["video"]))


@pytest.mark.parametrize("golden", cases("video_encode"))
@torch.no_grad()
def test_encoder_matches_reference(golden: Golden) -> None:
    encoder = encoder_of(golden)
    assert encoder.config.scale == scale_of(golden)
    inputs = golden.tensors("in.")
    for number, suffix in enumerate(suffixes(inputs, "video")):
        video = inputs[f"video{suffix}"]
        assert encoder.frames_used(video.shape[2]) == golden.case["used_frames"][number]
        golden.check(f"latent{suffix}", encoder(video))
        for step in (1, 3, 8):
            golden.check(f"latent{suffix}", encode_spans(encoder, video.split(step, dim=2)))


@pytest.mark.parametrize("golden", cases("video_decode"))
def test_decoder_matches_reference(golden: Golden) -> None:
    decoder = decoder_of(golden)
    assert decoder.config.scale == scale_of(golden)
    inputs, timestep = golden.tensors("in."), golden.case["timestep"]
    for suffix in suffixes(inputs, "latent"):
        latent = inputs[f"latent{suffix}"]
        recorded = [inputs[f"noise{suffix}"]] if f"noise{suffix}" in inputs else []
        recorded += numbered(inputs, f"spatial_noise{suffix}/")
        for chunk, piece_bytes in ((latent.shape[2], None), (1, 1), (2, 2**20)):
            spans = decode_spans(
                decoder, latent, noise=DecodeNoise(draw=in_turn(recorded)),
                timestep=timestep, chunk=chunk, piece_bytes=piece_bytes,
            )  # fmt: skip
            video = torch.cat(list(spans), dim=2)
            assert video.dtype == latent.dtype
            golden.check(f"video{suffix}", video)


@pytest.mark.parametrize(
    "golden", cases("video_decode", lambda g: "video_float32" in g.tensors("out."))
)
def test_bfloat16_weights_in_float32_match_reference(golden: Golden) -> None:
    part = video_decoder_part(weights(golden))
    decoder = part.lay_out(CPU, dtype=torch.float32)
    latent = golden.tensors("in.")["latent"].float()
    expected = golden.tensors("out.")["video_float32"]
    torch.testing.assert_close(decode(decoder, latent), expected, rtol=0, atol=1e-4)


def plan_of(golden: Golden, shape: LatentShape, scale: ScaleFactors, *, encodes: bool) -> TilePlan:
    tiling = golden.case["tiling"]
    kind = ByCount if tiling["type"] == "count" else BySize
    cuts: dict[str, Any] = {
        axis: None if tiling.get(axis) is None else kind(*tiling[axis])
        for axis in ("frames", "height", "width")
    }
    if encodes:
        check_encode_cuts(**cuts)
    return tile_plan(shape, scale, **cuts)


def places(
    plan: TilePlan, scale: ScaleFactors, *, encodes: bool
) -> tuple[list[list[list[int]]], list[list[list[int]]]]:
    """Return where every tile reads and writes, per axis B, C, F, H, W."""

    def pixels(tile: tuple[AxisTile, ...]) -> list[Interval]:
        time, row, column = tile
        return [
            in_frames(time, scale.time),
            in_pixels(row, scale.height),
            in_pixels(column, scale.width),
        ]

    cells, frames = [], []
    for time in plan.frames:
        for row in plan.height:
            for column in plan.width:
                tile = (time, row, column)
                cells.append([[0, -1], [0, -1], *([t.start, t.end] for t in tile)])
                frames.append([[0, -1], [0, -1], *([i.start, i.stop] for i in pixels(tile))])
    return (frames, cells) if encodes else (cells, frames)


def check_places(
    golden: Golden, plan: TilePlan, scale: ScaleFactors, sizes: tuple[Any, Any], *, encodes: bool
) -> None:
    """Compare with the recorded intervals, where -1 says: to the end."""
    for name, found, size in zip(
        ("tile_in", "tile_out"), places(plan, scale, encodes=encodes), sizes, strict=True
    ):
        expected, ours = golden.tensors("out.")[name], torch.tensor(found)
        ends = torch.tensor(tuple(size))
        for intervals in (expected, ours):  # [tiles, 5, 2]
            to_end = intervals[..., 1] == -1
            intervals[..., 1][to_end] = ends.expand(to_end.shape)[to_end]
        assert torch.equal(ours, expected), name


@pytest.mark.parametrize("golden", cases("tiled_decode"))
@pytest.mark.parametrize("chunk", [1, 100])
def test_tiled_decode_matches_reference(golden: Golden, chunk: int) -> None:
    decoder = decoder_of(golden)
    scale, inputs = scale_of(golden), golden.tensors("in.")
    latent = inputs["latent"]
    plan = plan_of(golden, LatentShape(*latent.shape[2:]), scale, encodes=False)
    recorded = numbered(inputs, "tile_noise.")
    spans = list(
        decode_spans(
            decoder, latent, tiles=plan, noise=DecodeNoise(draw=in_turn(recorded)), chunk=chunk
        )
    )
    video = torch.cat(spans, dim=2)
    golden.check("video", video)
    assert plan.tiles == golden.case["tiles"]
    check_places(golden, plan, scale, (latent.shape, video.shape), encodes=False)
    assert list(plan.group_frames(scale.time)) == golden.tensors("out.")["chunk_frames"].tolist()
    if chunk == 100:
        groups = [frames for frames in plan.group_frames(scale.time) if frames]
        assert [span.shape[2] for span in spans] == groups


@pytest.mark.parametrize("golden", cases("tiled_encode"))
@pytest.mark.parametrize("chunk_frames", [1, 4, None])
def test_tiled_encode_matches_reference(golden: Golden, chunk_frames: int | None) -> None:
    encoder = encoder_of(golden)
    scale, video = scale_of(golden), golden.tensors("in.")["video"]
    shape = latent_shape(encoder, *video.shape[2:])
    plan = plan_of(golden, shape, scale, encodes=True)
    latent = encode(encoder, video, tiles=plan, chunk_frames=chunk_frames)
    golden.check("latent", latent)
    used = (*video.shape[:2], encoder.frames_used(video.shape[2]), *video.shape[3:])
    check_places(golden, plan, scale, (used, latent.shape), encodes=True)


@pytest.mark.parametrize("golden", cases("tile_masks", lambda g: g.case["decoder"] == "conv"))
def test_tile_masks_match_reference(golden: Golden) -> None:
    shape = LatentShape(*golden.case["latent_shape"])
    scale, tiling = scale_of(golden), golden.case["tiling"]
    if tiling["type"] == "long_side":
        height, width = long_side_cuts(shape, scale, *tiling["long_side"])
        plan = tile_plan(shape, scale, frames=BySize(*tiling["frames"]), height=height, width=width)
        assert [height.size, height.overlap] == tiling["resolved"]["height"]
        assert [width.size, width.overlap] == tiling["resolved"]["width"]
    else:
        plan = plan_of(golden, shape, scale, encodes=False)
    for axis, tiles in (("frames", plan.frames), ("height", plan.height), ("width", plan.width)):
        time = axis == "frames"
        step = scale.time if time else getattr(scale, axis)
        intervals = [in_frames(t, step) if time else in_pixels(t, step) for t in tiles]
        check_axis(golden, axis, tiles, intervals, time=time)
        complementary = axis_masks(intervals, from_zero=time).total is None
        assert complementary == golden.case["complementary_per_axis"][axis]


def check_axis(
    golden: Golden,
    axis: str,
    tiles: tuple[AxisTile, ...],
    intervals: list[Interval],
    *,
    time: bool,
) -> None:
    expected = golden.tensors("out.")
    found = [[t.start, t.end, t.left, t.right] for t in tiles]
    assert found == expected[f"{axis}.latent"].tolist()
    assert [[i.start, i.stop] for i in intervals] == expected[f"{axis}.pixel"].tolist()
    for number, (tile, interval) in enumerate(zip(tiles, intervals, strict=True)):
        golden.check(f"{axis}.mask.{number}", mask(interval, from_zero=time))
        golden.check(f"{axis}.encode_mask.{number}", mask(in_cells(tile), from_zero=time))
