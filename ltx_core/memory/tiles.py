"""How a latent is cut into tiles: along one axis, along all, and how many a device has room for.

Numbers only. A tile is counted in latent cells; ramps are the cells at its ends that it shares with
its neighbours, and over which one fades into the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ..errors import LTX2Error
from ..grid import LatentShape, ScaleFactors

#: Cells two neighbouring tiles share along rows and columns unless asked otherwise (64 pixels).
SIDE_OVERLAP = 2
#: No side of a tile is made shorter than this to save memory: 8 cells are 256 pixels.
SHORTEST_TILE = 8
#: The official automatic tiling: (pixels, overlap) of the longer side, (frames, overlap) of time.
LONG_SIDE = (768, 64)
FRAMES = (80, 24)


@dataclass(frozen=True, slots=True)
class AxisTile:
    """Cells `start` to `end` of one axis; `left` and `right` of them are ramps."""

    start: int
    end: int
    left: int = 0
    right: int = 0


@dataclass(frozen=True, slots=True)
class BySize:
    """Tiles of `size` with `overlap`, in frames or pixels."""

    size: int
    overlap: int


@dataclass(frozen=True, slots=True)
class ByCount:
    """`count` tiles with `overlap` in cells."""

    count: int
    overlap: int


#: How one axis is to be cut; None leaves it whole.
Cut: TypeAlias = BySize | ByCount | None


@dataclass(frozen=True, slots=True)
class Interval:
    """Pixels or frames `start` to `stop` that a tile stands for, with ramps of that unit."""

    start: int
    stop: int
    left: int
    right: int

    @property
    def length(self) -> int:
        """Pixels or frames."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class TilePlan:
    """The tiles of every axis; a tile of the latent is one of each."""

    frames: tuple[AxisTile, ...]
    height: tuple[AxisTile, ...]
    width: tuple[AxisTile, ...]

    @property
    def tiles(self) -> int:
        """How many tiles there are."""
        return len(self.frames) * len(self.height) * len(self.width)

    @property
    def largest(self) -> LatentShape:
        """The longest tile of each axis."""
        return LatentShape(
            *(max(t.end - t.start for t in axis) for axis in (self.frames, self.height, self.width))
        )

    def group_frames(self, time_scale: int) -> tuple[int, ...]:
        """How many frames become final with each tile of the time axis; some may give none."""
        starts = [in_frames(tile, time_scale) for tile in self.frames]
        ends = [*(interval.start for interval in starts[1:]), starts[-1].stop]
        return tuple(end - i.start for i, end in zip(starts, ends, strict=True))


def whole(shape: LatentShape) -> TilePlan:
    """Return the plan of one tile."""
    return TilePlan(*((AxisTile(0, n),) for n in (shape.frames, shape.height, shape.width)))


def tile_plan(
    shape: LatentShape,
    scale: ScaleFactors,
    *,
    frames: Cut = None,
    height: Cut = None,
    width: Cut = None,
) -> TilePlan:
    """Cut a latent as asked.

    Raises LTX2Error `tiles` for a size or an overlap that is not possible.
    """
    return TilePlan(
        # A tile that begins later decodes its first cell as one frame; it starts a cell early and
        # that frame counts nothing.
        causal(_cut("frames", shape.frames, frames, scale.time)),
        _cut("height", shape.height, height, scale.height),
        _cut("width", shape.width, width, scale.width),
    )


def _cut(axis: str, length: int, cut: Cut, scale: int) -> tuple[AxisTile, ...]:
    if isinstance(cut, ByCount):
        return split_by_count(length, cut.count, cut.overlap, axis=axis)
    if cut is None or (cut.size, cut.overlap) == (0, 0):
        return (AxisTile(0, length),)
    size, overlap = cut.size, cut.overlap
    if size < 2 * scale or size % scale or overlap % scale or not 0 <= overlap < size:
        raise _impossible(
            f"{axis}: tiles of {size} with an overlap of {overlap} are not possible",
            f"multiples of {scale}, at least {2 * scale}, with a smaller overlap",
        )
    cells = overlap // scale
    return split_by_size(length, max(2, cells + 1, size // scale), cells)


def split_by_size(length: int, size: int, overlap: int) -> tuple[AxisTile, ...]:
    """Cut `length` cells into tiles of `size`; the last one may be shorter."""
    if length <= size:
        return (AxisTile(0, length),)
    count = (length + size - 2 * overlap - 1) // (size - overlap)
    return tuple(
        AxisTile(
            start := number * (size - overlap),
            length if number == count - 1 else start + size,
            overlap if number else 0,
            overlap if number < count - 1 else 0,
        )
        for number in range(count)
    )


def split_by_count(
    length: int, count: int, overlap: int, *, axis: str = "axis"
) -> tuple[AxisTile, ...]:
    """Cut `length` cells into `count` tiles whose lengths differ by one at most, longer ones first.

    Raises LTX2Error `tiles` if a tile would be no longer than the overlap.
    """
    if count == 1 and overlap == 0:
        return (AxisTile(0, length),)
    size, longer = divmod(length + overlap * (count - 1), max(1, count))
    if count < 1 or overlap < 0 or size <= overlap:
        raise _impossible(
            f"{axis}: {length} cells cannot be cut into {count} tiles with an overlap of {overlap}",
            "fewer tiles or a smaller overlap",
        )
    return tuple(
        AxisTile(
            tile.start + min(number, longer),
            tile.end + min(number + 1, longer),
            tile.left,
            tile.right,
        )
        for number, tile in enumerate(split_by_size(length - longer, size, overlap))
    )


def causal(tiles: tuple[AxisTile, ...]) -> tuple[AxisTile, ...]:
    """Let every tile of the time axis but the first begin one cell earlier."""
    first, *later = tiles
    return first, *(AxisTile(t.start - 1, t.end, t.left + 1, t.right) for t in later)


def in_pixels(tile: AxisTile, scale: int) -> Interval:
    """Return the rows or columns a tile stands for."""
    return Interval(tile.start * scale, tile.end * scale, tile.left * scale, tile.right * scale)


def in_frames(tile: AxisTile, scale: int) -> Interval:
    """Return the frames a tile stands for: its first cell is one frame, the others `scale` each."""
    left = 1 + (tile.left - 1) * scale if tile.left else 0
    return Interval(tile.start * scale, 1 + (tile.end - 1) * scale, left, tile.right * scale)


def in_cells(tile: AxisTile) -> Interval:
    """Return the cells of a tile, for masks of a latent."""
    return Interval(tile.start, tile.end, tile.left, tile.right)


def long_side_cuts(
    shape: LatentShape, scale: ScaleFactors, size: int = LONG_SIDE[0], overlap: int = LONG_SIDE[1]
) -> tuple[BySize, BySize]:
    """Return cuts of height and width: the longer side by `size` pixels, the other likewise."""
    # Reference: the official pipelines' automatic choice, rounding half to even.
    tall = shape.height > shape.width
    long_cells, short_cells = max(shape.height, shape.width), min(shape.height, shape.width)
    long_scale, short_scale = (scale.height, scale.width) if tall else (scale.width, scale.height)
    cells = round(size // long_scale * short_cells / long_cells)
    short = BySize(max(2, overlap // short_scale + 1, cells) * short_scale, overlap)
    return (BySize(size, overlap), short) if tall else (short, BySize(size, overlap))


def check_encode_cuts(
    frames: Cut = None, height: Cut = None, width: Cut = None, *, fewest_frames: int = 16,
    fewest_pixels: int = 64,
) -> None:  # fmt: skip
    """Raise LTX2Error `tiles` where encoding by size overlaps too little for an unseen seam."""
    for axis, cut, least in (
        ("frames", frames, fewest_frames),
        ("height", height, fewest_pixels),
        ("width", width, fewest_pixels),
    ):
        if isinstance(cut, BySize) and cut.size and cut.overlap < least:
            raise _impossible(
                f"{axis}: tiles for encoding overlap by {cut.overlap} only",
                f"an overlap of at least {least}",
            )


#: (rows, columns) of a tile in cells -> bytes its decode or encode needs beside the weights.
BytesOf: TypeAlias = Callable[[int, int], int]


def plan_decode(
    shape: LatentShape, free_bytes: int, bytes_of: BytesOf, *, overlap: int = SIDE_OVERLAP
) -> TilePlan:
    """Return the fewest tiles of rows and columns that fit; one if everything does.

    Time is never cut: a clip streams through the decoder in memory that does not depend on its
    length. Raises LTX2Error `out_of_memory` if the smallest tile does not fit.
    """
    return _plan("decoding", shape, free_bytes, bytes_of, overlap)


def plan_encode(
    shape: LatentShape, free_bytes: int, bytes_of: BytesOf, *, overlap: int = SIDE_OVERLAP
) -> TilePlan:
    """Do for an encoder what `plan_decode` does for a decoder."""
    return _plan("encoding", shape, free_bytes, bytes_of, overlap)


def _plan(
    what: str, shape: LatentShape, free_bytes: int, bytes_of: BytesOf, overlap: int
) -> TilePlan:
    frames = (AxisTile(0, shape.frames),)
    rows, columns = 1, 1
    while True:
        plan = TilePlan(
            frames,
            split_by_count(shape.height, rows, overlap if rows > 1 else 0),
            split_by_count(shape.width, columns, overlap if columns > 1 else 0),
        )
        needed = bytes_of(plan.largest.height, plan.largest.width)
        if needed <= free_bytes:
            return plan
        # Cut the longer side of the largest tile again, as long as that leaves enough of it.
        can = [
            (side, axis)
            for axis, side, length, count in (
                ("rows", plan.largest.height, shape.height, rows),
                ("columns", plan.largest.width, shape.width, columns),
            )
            if (length + overlap * count) // (count + 1) >= max(SHORTEST_TILE, overlap + 1)
        ]
        if not can:
            raise LTX2Error(
                f"There is no room for {what}: {needed / 2**20:,.0f} MiB are needed even in small "
                f"tiles, {free_bytes / 2**20:,.0f} MiB are free.",
                needed="more free memory, or a smaller picture",
                code="out_of_memory",
            )
        rows, columns = (rows + 1, columns) if max(can)[1] == "rows" else (rows, columns + 1)


def _impossible(what: str, needed: str) -> LTX2Error:
    return LTX2Error(f"{what}.", needed=needed, where="the tile settings", code="tiles")
