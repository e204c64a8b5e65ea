"""From a latent to frames, span by span: streamed in time, in tiles where asked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from ..grid import LatentShape
from ..memory.tiles import AxisTile, Interval, TilePlan, in_frames, in_pixels, whole
from .blending import AxisMasks, axis_masks, divided
from .decoder import VideoDecoder
from .stream import PARKED, Stream

#: Latent frames that go through the decoder together, unless they are too large for one piece.
CHUNK = 4
#: Largest tensor between two blocks of a network; several are alive at a time.
PIECE_BYTES = 128 * 2**20

#: (shape) -> noise of that shape, float32 on the CPU.
Draw: TypeAlias = Callable[[tuple[int, ...]], Tensor]


class DecodeNoise:
    """The random numbers of one decode.

    A timestep-conditioned decoder mixes noise into the latent. Here it is one canvas for the whole
    clip, drawn from the seed on the CPU, of which a tile or a chunk takes its part: the result does
    not depend on how the decode is cut. Reference: there every tile draws its own; hand in `draw`
    for that order.
    """

    def __init__(self, seed: int = 0, *, draw: Draw | None = None) -> None:
        self._own_draw = draw is None
        self._generator = torch.Generator("cpu").manual_seed(seed)
        self._draw = draw if draw is not None else self._drawn
        self._canvas: Tensor | None = None

    def latent(self, shape: torch.Size, where: tuple[slice, ...]) -> Tensor:
        """Return the noise of one part of a latent of `shape`, float32 on the CPU."""
        if not self._own_draw:
            return self._draw(tuple(torch.empty(shape, device="meta")[where].shape))
        if self._canvas is None:
            self._canvas = self._draw(tuple(shape))
        return self._canvas[where]

    def picture(self, rows: int, columns: int) -> Tensor:
        """Return the next noise [H, W] that is injected into features."""
        return self._draw((rows, columns))

    def _drawn(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._generator)


class _Side(NamedTuple):
    """Where a tile lies along one axis."""

    cells: AxisTile
    pixels: Interval
    mask: Tensor  # float32 [pixels]

    @property
    def target(self) -> slice:
        """Where its pixels go."""
        return slice(self.pixels.start, self.pixels.stop)

    @property
    def source(self) -> slice:
        """Where its cells come from."""
        return slice(self.cells.start, self.cells.end)


def _sides(axis: tuple[AxisTile, ...], scale: int) -> tuple[list[_Side], AxisMasks]:
    pixels = [in_pixels(tile, scale) for tile in axis]
    masks = axis_masks(pixels, from_zero=False)
    return [_Side(*side) for side in zip(axis, pixels, masks.masks, strict=True)], masks


@dataclass(frozen=True, slots=True, eq=False)
class _Tile:
    """One tile of one time tile, on its way through the decoder."""

    latent: Tensor  # [B, C, F, h, w] a view
    noise: Tensor | None  # like the latent, on the CPU
    stream: Stream
    rows: _Side
    columns: _Side


def decode(
    decoder: VideoDecoder,
    latent: Tensor,  # [B, C, F, h, w] normalised
    *,
    noise_seed: int = 0,
    noise: DecodeNoise | None = None,
    timestep: float | None = None,
) -> Tensor:  # [B, 3, F', H, W] around -1..1, not clamped
    """Decode all frames in one go: the plain computation, at the price of its memory."""
    spans = decode_spans(
        decoder, latent, noise_seed=noise_seed, noise=noise, timestep=timestep,
        chunk=latent.shape[2], piece_bytes=None,
    )  # fmt: skip
    return torch.cat(list(spans), dim=2)


@torch.no_grad()
def decode_spans(
    decoder: VideoDecoder,
    latent: Tensor,  # [B, C, F, h, w] normalised, on any device
    *,
    tiles: TilePlan | None = None,
    noise_seed: int = 0,
    noise: DecodeNoise | None = None,  # in place of `noise_seed`
    timestep: float | None = None,  # noise level a conditioned decoder is told; None: its own
    chunk: int = CHUNK,  # latent frames at a time
    piece_bytes: int | None = PIECE_BYTES,
) -> Iterator[Tensor]:
    """Yield the frames of a latent, in order, as spans [B, 3, f, H, W] around -1..1, not clamped.

    Without `tiles` the frames are those of the whole computation, in memory that does not depend on
    their number. With tiles of rows and columns each tile is decoded as a picture of its own and
    faded into its neighbours; the clip still streams, tile beside tile, and what tiles keep between
    chunks rests in RAM. Tiles of time are clips of their own, faded likewise.
    Spans have the dtype and the device of the latent: one on the CPU keeps them off the decoder's.

    Raises LTX2Error `size` for a latent the decoder cannot pad.
    """
    plan = whole(LatentShape(*latent.shape[2:])) if tiles is None else tiles
    noise = DecodeNoise(noise_seed) if noise is None else noise
    scale = decoder.config.scale
    times = [in_frames(tile, scale.time) for tile in plan.frames]
    time_masks = axis_masks(times, from_zero=True)
    rows, row_masks = _sides(plan.height, scale.height)
    columns, column_masks = _sides(plan.width, scale.width)

    def tile_of(time: AxisTile, row: _Side, column: _Side) -> _Tile:
        where = (slice(None), slice(None), slice(time.start, time.end), row.source, column.source)
        conditioned = decoder.config.timestep_conditioning
        return _Tile(
            latent[where],
            noise.latent(latent.shape, where) if conditioned else None,
            decoder.stream(latent.shape[0], timestep=timestep, draw=noise.picture),
            row,
            column,
        )

    carry: Tensor | None = None  # frames of earlier time tiles that later ones still add to
    for number, (time, interval) in enumerate(zip(plan.frames, times, strict=True)):
        group = [tile_of(time, row, column) for row in rows for column in columns]
        following = times[number + 1].start if number + 1 < len(times) else interval.stop
        faded = _Fade(interval, time_masks.masks[number], carry, following)
        for span in _spans(decoder, group, chunk, piece_bytes):
            start = faded.at
            final = faded.add(span)
            if final.shape[2]:
                total = time_masks.total
                total = None if total is None else total[start : start + final.shape[2]]
                yield divided(final, (total, 2), (row_masks.total, 3), (column_masks.total, 4))
        carry = faded.rest()


class _Fade:
    """Adds the frames of one time tile to what earlier tiles left, and tells final ones apart."""

    def __init__(
        self, interval: Interval, weights: Tensor, carry: Tensor | None, following: int
    ) -> None:
        self.at = interval.start
        self._start, self._following = interval.start, following
        # A tile without ramps counts fully; multiplying would only cost.
        self._weights = weights if bool((weights != 1).any()) else None
        self._carry = carry  # [B, 3, frames from the start of the tile, H, W]
        self._kept: list[Tensor] = []

    def add(self, span: Tensor) -> Tensor:
        """Take the next frames [B, 3, f, H, W]; return those that no later tile changes."""
        begin, end = self.at - self._start, self.at - self._start + span.shape[2]
        if self._weights is not None:
            weights = self._weights[begin:end].to(span.device).view(-1, 1, 1)
            span = (span * weights).to(span.dtype)
        if self._carry is not None and begin < self._carry.shape[2]:
            earlier = self._carry[:, :, begin:end]
            span = torch.cat(
                (span[:, :, : earlier.shape[2]] + earlier, span[:, :, earlier.shape[2] :]), dim=2
            )
        final = min(max(self._following - self.at, 0), span.shape[2])
        self.at += span.shape[2]
        if final < span.shape[2]:
            self._kept.append(span[:, :, final:].clone())
        return span[:, :, :final]

    def rest(self) -> Tensor | None:
        """Return the frames from the next tile's start on."""
        return torch.cat(self._kept, dim=2) if self._kept else None


def _spans(
    decoder: VideoDecoder, group: list[_Tile], chunk: int, piece_bytes: int | None
) -> Iterator[Tensor]:
    """Yield the frames of tiles that lie side by side, blended: [B, 3, f, H, W]."""
    frames = group[0].latent.shape[2]
    if not decoder.config.streams:
        chunk, piece_bytes = frames, None
    for start in range(0, frames, chunk):
        end = min(start + chunk, frames)
        if len(group) == 1:
            yield from _chunk(decoder, group[0], start, end, piece_bytes)
            continue
        blended: Tensor | None = None
        for tile in group:
            tile.stream.move(decoder.device)
            pieces = list(_chunk(decoder, tile, start, end, piece_bytes))
            tile.stream.move(PARKED)
            if not pieces:
                continue
            span = torch.cat(pieces, dim=2)
            if blended is None:
                height = max(other.rows.pixels.stop for other in group)
                width = max(other.columns.pixels.stop for other in group)
                blended = span.new_zeros(*span.shape[:3], height, width)
            weights = (tile.rows.mask[:, None] * tile.columns.mask).to(span.device)  # [H, W]
            blended[..., tile.rows.target, tile.columns.target] += (span * weights).to(span.dtype)
        if blended is not None:
            yield blended


def _chunk(
    decoder: VideoDecoder, tile: _Tile, start: int, end: int, piece_bytes: int | None
) -> Iterator[Tensor]:
    """Send latent frames `start` to `end` of a tile through; yield frames where the latent lies."""
    latent = tile.latent[:, :, start:end]
    itemsize = torch.empty((), dtype=decoder.dtype).element_size()
    for frames in decoder.pieces(
        latent.to(decoder.device),
        tile.stream,
        last=end == tile.latent.shape[2],
        noise=None if tile.noise is None else tile.noise[:, :, start:end].to(decoder.device),
        piece_elements=None if piece_bytes is None else piece_bytes // itemsize,
    ):
        yield frames.to(latent.device)


def to_rgb(video: Tensor) -> Tensor:
    """Turn one clip [1, 3, F, H, W] around -1..1 into pictures [F, H, W, 3] in 0..1, its dtype."""
    return ((video[0] + 1) * 0.5).clamp(0, 1).permute(1, 2, 3, 0)
