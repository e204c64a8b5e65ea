"""Piece by piece in time: the numbers of the whole clip, in memory that does not grow with it."""

import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.grid import LatentShape
from ltx2_pack.ltx_core.memory.tiles import ByCount, tile_plan, whole
from ltx2_pack.ltx_core.video_vae.config import (
    Block,
    BlockKind,
    DecoderConfig,
    EncoderConfig,
    LogVariance,
)
from ltx2_pack.ltx_core.video_vae.cost import decode_bytes, encode_bytes
from ltx2_pack.ltx_core.video_vae.decode import DecodeNoise, decode, decode_spans
from ltx2_pack.ltx_core.video_vae.decoder import VideoDecoder
from ltx2_pack.ltx_core.video_vae.encode import encode, encode_spans
from ltx2_pack.ltx_core.video_vae.encoder import VideoEncoder
from ltx2_pack.ltx_core.video_vae.layers import Norm, Padding
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made inside that are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._holders: dict[int, int] = {}  # storage -> tensors that hold it

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if _real(x)}
        result = func(*args, **(kwargs or {}))
        for tensor in (x for x in tree_leaves(result) if _real(x)):
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key not in self._holders and key in given:
                continue  # a view of, or an operation in, something made outside
            if key not in self._holders:
                self._holders[key] = 0
                self.live += size
                self.peak = max(self.peak, self.live)
            self._holders[key] += 1
            weakref.finalize(tensor, self._gone, key, size)
        return result

    def _gone(self, key: int, size: int) -> None:
        self._holders[key] -= 1
        if not self._holders[key]:
            del self._holders[key]
            self.live -= size


def _real(x: object) -> bool:
    return isinstance(x, Tensor) and x.device.type == "cpu"


def random_weights(network: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype))
            if tensor.ndim > 1:
                tensor.div_(tensor[0].numel() ** 0.5)
            if "std" in name:
                tensor.abs_().add_(0.5)
            if "multiplier" in name:
                tensor.fill_(916.0)


BLOCKS_20 = (
    Block(kind=BlockKind.RES, num_layers=2),
    Block(kind=BlockKind.ALL, multiplier=2, residual=True),
    Block(kind=BlockKind.RES, num_layers=2),
    Block(kind=BlockKind.ALL, multiplier=2, residual=True),
    Block(kind=BlockKind.RES),
)
BLOCKS_23 = (
    Block(kind=BlockKind.RES, num_layers=2),
    Block(kind=BlockKind.ALL, multiplier=2),
    Block(kind=BlockKind.RES),
    Block(kind=BlockKind.ALL, multiplier=1),
    Block(kind=BlockKind.TIME, multiplier=2),
    Block(kind=BlockKind.RES),
    Block(kind=BlockKind.SPACE, multiplier=2),
    Block(kind=BlockKind.RES),
)
DOWN = (
    Block(kind=BlockKind.RES),
    Block(kind=BlockKind.SPACE_RES, multiplier=2),
    Block(kind=BlockKind.TIME_RES, multiplier=2),
    Block(kind=BlockKind.RES),
    Block(kind=BlockKind.ALL_RES, multiplier=1),
    Block(kind=BlockKind.TIME),
    Block(kind=BlockKind.RES),
)


def decoder(
    blocks: tuple[Block, ...], dtype: torch.dtype = torch.float64, **other: Any
) -> VideoDecoder:
    values: dict[str, Any] = {
        "out_channels": 3, "latent_channels": 4, "base_channels": 4, "patch_size": 2,
        "norm": Norm.PIXEL, "causal": False, "timestep_conditioning": False,
        "padding": Padding.REFLECT, **other,
    }  # fmt: skip
    network = VideoDecoder(DecoderConfig(blocks=blocks, **values), dtype=dtype)
    random_weights(network)
    return network


def encoder(dtype: torch.dtype = torch.float64, blocks: tuple[Block, ...] = DOWN) -> VideoEncoder:
    config = EncoderConfig(
        blocks=blocks, in_channels=3, latent_channels=8, patch_size=2, norm=Norm.PIXEL,
        log_variance=LogVariance.UNIFORM, padding=Padding.ZEROS,
    )  # fmt: skip
    network = VideoEncoder(config, dtype=dtype)
    random_weights(network)
    return network


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=dtype)


DECODERS = {
    "2.0": (BLOCKS_20, {}),
    "2.0 conditioned": (BLOCKS_20, {"timestep_conditioning": True}),
    "2.3": (BLOCKS_23, {"padding": Padding.ZEROS}),
    "causal": (BLOCKS_20, {"causal": True, "padding": Padding.REPLICATE}),
    "attention": ((*BLOCKS_20[:1], Block(kind=BlockKind.ATTENTION), *BLOCKS_20[1:2]), {}),
    "injected noise": ((Block(kind=BlockKind.RES, inject_noise=True), *BLOCKS_20[1:]), {}),
}


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("frames", [1, 2, 7])
@pytest.mark.parametrize(
    ("chunk", "piece_bytes"), [(1, 1), (1, None), (2, 3000), (3, None), (9, 1)]
)
def test_streamed_decode_is_the_whole_decode(
    name: str, frames: int, chunk: int, piece_bytes: int | None
) -> None:
    blocks, other = DECODERS[name]
    network = decoder(blocks, **other)
    latent = noise(2, 4, frames, 2, 3)
    spans = list(decode_spans(network, latent, noise_seed=3, chunk=chunk, piece_bytes=piece_bytes))
    expected = decode(network, latent, noise_seed=3)
    assert expected.shape[2] == network.config.scale.time * (frames - 1) + 1
    assert all(span.shape[2] for span in spans)
    torch.testing.assert_close(torch.cat(spans, dim=2), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("frames", [1, 2, 8, 9, 10, 25, 30])
@pytest.mark.parametrize(("step", "piece_bytes"), [(1, None), (3, 1), (8, 5000), (11, None)])
def test_streamed_encode_is_the_whole_encode(
    frames: int, step: int, piece_bytes: int | None
) -> None:
    network = encoder()
    video = noise(2, 3, frames, 8, 16)
    expected = network(video)
    assert expected.shape[2] == (frames - 1) // network.config.scale.time + 1
    found = encode_spans(network, video.split(step, dim=2), piece_bytes=piece_bytes)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


def test_streaming_in_float32_differs_by_rounding_only() -> None:
    network = decoder(BLOCKS_23, torch.float32, padding=Padding.ZEROS)
    latent = noise(1, 4, 9, 3, 3, dtype=torch.float32)
    found = torch.cat(list(decode_spans(network, latent, chunk=1, piece_bytes=1)), dim=2)
    torch.testing.assert_close(found, decode(network, latent), rtol=1e-5, atol=1e-5)


def test_first_latent_frame_is_that_of_the_first_picture() -> None:
    network = encoder()
    video = noise(1, 3, 9, 8, 8)
    torch.testing.assert_close(
        network(video)[:, :, :1], network(video[:, :, :1]), rtol=0, atol=1e-12
    )


def peak_of_decode(network: VideoDecoder, frames: int, chunk: int) -> tuple[int, int]:
    """Return the peak of live tensor bytes, and how many frames came."""
    latent = noise(1, 4, frames, 4, 4, dtype=network.dtype)
    with LiveBytes() as memory:
        count = sum(span.shape[2] for span in decode_spans(network, latent, chunk=chunk))
    return memory.peak, count


@pytest.mark.parametrize("name", DECODERS)
def test_decode_memory_does_not_grow_with_the_clip(name: str) -> None:
    blocks, other = DECODERS[name]
    network = decoder(blocks, torch.float32, **other)
    # Each convolution that looks ahead answers a frame late: it takes 11 latent frames to fill up.
    short, short_frames = peak_of_decode(network, 16, 2)
    long, long_frames = peak_of_decode(network, 32, 2)
    step = network.config.scale.time
    assert (short_frames, long_frames) == (15 * step + 1, 31 * step + 1)
    # A conditioned decoder has one canvas of noise, as large as the latent; the weights of the time
    # axis are one number per frame.
    canvas = 16 * 4 * 4 * 4 * 4 if network.config.timestep_conditioning else 0
    assert long <= short + canvas + 4 * (long_frames - short_frames)


def test_whole_decode_memory_grows_with_the_clip() -> None:
    """The measure must be able to see growth."""
    network = decoder(BLOCKS_20, torch.float32)
    assert peak_of_decode(network, 32, 32)[0] > 1.7 * peak_of_decode(network, 16, 16)[0]


def test_encode_memory_grows_by_the_latent_only() -> None:
    network = encoder(torch.float32)

    def spans(count: int) -> Iterator[Tensor]:
        for number in range(count):
            yield torch.full((1, 3, 8, 32, 32), number / count)

    peaks = []
    for count in (4, 8):
        with LiveBytes() as memory:
            latent = encode_spans(network, spans(count))
        peaks.append(memory.peak)
    latent_bytes = latent.numel() * latent.element_size()
    assert peaks[1] <= peaks[0] + latent_bytes


@pytest.mark.parametrize("name", sorted(DECODERS.keys() - {"attention"}))
def test_decode_estimate_covers_the_peak_and_is_near_it(name: str) -> None:
    blocks, other = DECODERS[name]
    network = decoder(blocks, torch.float32, base_channels=8, **other)
    latent = noise(1, 4, 12, 8, 8, dtype=torch.float32)
    for chunk, piece_bytes in ((4, 2**16), (2, 2**18), (12, None)):
        with LiveBytes() as memory:
            for _ in decode_spans(network, latent, chunk=chunk, piece_bytes=piece_bytes):
                pass
        estimate = decode_bytes(
            network.config, 8, 8, itemsize=4, frames=12, chunk=chunk, piece_bytes=piece_bytes
        )
        assert memory.peak <= estimate <= 3 * memory.peak, (chunk, memory.peak, estimate)


def test_encode_estimate_covers_the_peak_and_is_near_it() -> None:
    network = encoder(torch.float32)
    video = noise(1, 3, 33, 128, 128, dtype=torch.float32)
    scale = network.config.scale
    rows, columns = 128 // scale.height, 128 // scale.width
    for chunk, piece_bytes in ((8, 2**18), (32, 2**20), (33, None)):
        with LiveBytes() as memory:
            encode_spans(network, video.split(chunk, dim=2), piece_bytes=piece_bytes)
        estimate = encode_bytes(
            network.config, rows, columns, itemsize=4, frames=33, chunk=chunk,
            piece_bytes=piece_bytes,
        )  # fmt: skip
        assert memory.peak <= estimate <= 3 * memory.peak, (chunk, memory.peak, estimate)


def test_noise_of_a_conditioned_decoder_does_not_depend_on_the_cut() -> None:
    """One tile over everything, and tiles without anything around, see the same noise."""
    canvas = DecodeNoise(5)
    shape = torch.Size((1, 4, 6, 4, 4))
    everything = canvas.latent(shape, (slice(None),) * 5)
    part = (slice(None), slice(None), slice(2, 5), slice(1, 3), slice(0, 4))
    assert torch.equal(DecodeNoise(5).latent(shape, part), everything[part])
    assert not torch.equal(DecodeNoise(6).latent(shape, part), everything[part])


def test_one_tile_over_everything_is_no_tile() -> None:
    network = decoder(BLOCKS_20, timestep_conditioning=True)
    latent = noise(1, 4, 3, 3, 4)
    plan = whole(LatentShape(3, 3, 4))
    found = torch.cat(list(decode_spans(network, latent, tiles=plan, noise_seed=1)), dim=2)
    torch.testing.assert_close(found, decode(network, latent, noise_seed=1), rtol=0, atol=1e-11)
    video = noise(1, 3, 9, 16, 16)
    network2 = encoder()
    torch.testing.assert_close(
        encode(network2, video, tiles=whole(LatentShape(2, 2, 2))),
        network2(video),
        rtol=0,
        atol=1e-11,
    )


def test_tiles_side_by_side_stream_in_time_exactly() -> None:
    network = decoder(BLOCKS_20)
    latent = noise(1, 4, 15, 5, 6)
    plan = tile_plan(
        LatentShape(15, 5, 6), network.config.scale, height=ByCount(2, 1), width=ByCount(2, 2)
    )
    spans = list(decode_spans(network, latent, tiles=plan, chunk=1, piece_bytes=1))
    assert len(spans) > 3
    whole_clip = torch.cat(list(decode_spans(network, latent, tiles=plan, chunk=15)), dim=2)
    torch.testing.assert_close(torch.cat(spans, dim=2), whole_clip, rtol=0, atol=1e-11)


def test_spans_have_the_dtype_of_the_latent() -> None:
    network = decoder(BLOCKS_20, torch.bfloat16)
    latent = noise(1, 4, 2, 2, 2, dtype=torch.float32)
    assert {span.dtype for span in decode_spans(network, latent)} == {torch.float32}


class StoppedError(Exception):
    """Raised by a check."""


def test_a_check_stops_a_decode_between_blocks() -> None:
    calls = []

    def check() -> None:
        calls.append(None)
        if len(calls) == 7:
            raise StoppedError

    network = VideoDecoder(decoder(BLOCKS_20).config, check=check, dtype=torch.float64)
    random_weights(network)
    with pytest.raises(StoppedError):
        list(decode_spans(network, noise(1, 4, 9, 2, 2), chunk=1))
    assert len(calls) == 7


@pytest.mark.parametrize(("height", "width"), [(1, 2), (2, 1)])
def test_a_latent_too_small_to_reflect_is_refused(height: int, width: int) -> None:
    with pytest.raises(LTX2Error, match="too small to decode") as caught:
        list(decode_spans(decoder(BLOCKS_20), noise(1, 4, 2, height, width)))
    assert caught.value.code == "size"


def test_impossible_sizes_are_refused_when_encoding() -> None:
    network = encoder()
    for spans in ([], [noise(1, 3, 1, 12, 8)], [noise(1, 3, 1, 8, 8), noise(1, 3, 1, 16, 8)]):
        with pytest.raises(LTX2Error) as caught:
            encode_spans(network, spans)
        assert caught.value.code == "size"
