"""From frames to a latent: streamed in time, in tiles where asked."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..grid import LatentShape
from ..memory.tiles import AxisTile, TilePlan, in_cells, in_frames, in_pixels, whole
from .blending import axis_masks, divided
from .decode import PIECE_BYTES
from .encoder import VideoEncoder
from .stream import PARKED, Stream

#: Frames that go through the encoder together, unless they are too large for one piece.
CHUNK_FRAMES = 32


@torch.no_grad()
def encode(
    encoder: VideoEncoder,
    frames: Tensor,  # [B, 3, F, H, W] in -1..1, on any device
    *,
    tiles: TilePlan | None = None,
    chunk_frames: int | None = CHUNK_FRAMES,  # None: all at once
    piece_bytes: int | None = PIECE_BYTES,
) -> Tensor:  # [B, C, F', h, w] normalised, in the encoder's dtype on its device
    """Encode a clip; frames beyond the last full latent frame are left out.

    Without `tiles` the latent is that of the whole computation. Tiles of any axis are clips of
    their own, faded into their neighbours in the latent.

    Raises LTX2Error `size` if the sides are no multiples of the scale.
    """
    encoder.check_sides(frames)
    shape = latent_shape(encoder, frames.shape[2], frames.shape[3], frames.shape[4])
    plan = whole(shape) if tiles is None else tiles
    scale = encoder.config.scale
    masks = axis_masks([in_cells(tile) for tile in plan.frames], from_zero=True)
    groups: list[Tensor] = []
    for tile in plan.frames:
        time = in_frames(tile, scale.time)
        used = frames[:, :, time.start : time.stop]
        step = used.shape[2] if chunk_frames is None else chunk_frames
        groups.append(
            encode_spans(
                encoder,
                used.split(step, dim=2),
                tiles=TilePlan((AxisTile(0, tile.end - tile.start),), plan.height, plan.width),
                piece_bytes=piece_bytes,
            )
        )
    if len(groups) == 1:
        return groups[0]
    latent = groups[0].new_zeros(*groups[0].shape[:2], shape.frames, *groups[0].shape[3:])
    for tile, group, weights in zip(plan.frames, groups, masks.masks, strict=True):
        faded = group * weights.to(group.device)[:, None, None]
        latent[:, :, tile.start : tile.end] += faded.to(latent.dtype)
    return divided(latent, (masks.total, 2))


@torch.no_grad()
def encode_spans(
    encoder: VideoEncoder,
    spans: Iterable[Tensor],  # [B, 3, f, H, W] in -1..1, in order, on any device
    *,
    tiles: TilePlan | None = None,  # of rows and columns
    piece_bytes: int | None = PIECE_BYTES,
) -> Tensor:  # [B, C, F', h, w] normalised, in the encoder's dtype on its device
    """Encode a clip that comes span by span; beside the latent, memory does not grow with it.

    Frames beyond the last full latent frame are left out. Each tile of rows and columns is encoded
    as a picture of its own; what it keeps between spans rests in RAM.

    Raises LTX2Error `size` if there is no frame, if the sides are no multiples of the scale, or if
    they change.
    """
    if not encoder.config.streams:
        spans = _one_span(encoder, list(spans))
    assert tiles is None or len(tiles.frames) == 1, "tiles of time are for `encode`"
    rows, columns = _whole_sides() if tiles is None else (tiles.height, tiles.width)
    scale = encoder.config.scale
    parts = [(row, column, Stream(), list[Tensor]()) for row in rows for column in columns]
    size: torch.Size | None = None
    for span in spans:
        encoder.check_sides(span)
        if size is not None and span.shape[3:] != size:
            raise _refused(
                f"The frames change from {_sides(size)} to {_sides(span.shape[3:])} pixels."
            )
        size = span.shape[3:]
        for row, column, stream, done in parts:
            height, width = in_pixels(row, scale.height), in_pixels(column, scale.width)
            part = span
            if tiles is not None:
                part = span[..., height.start : height.stop, width.start : width.stop]
                stream.move(encoder.device)
            done.extend(_pieces(encoder, part, stream, piece_bytes))
            if len(parts) > 1:
                stream.move(PARKED)
    if not parts[0][3]:
        raise _refused("There are no frames to encode.")
    if len(parts) == 1:
        return torch.cat(parts[0][3], dim=2)
    return _blended([(row, column, torch.cat(done, dim=2)) for row, column, _, done in parts])


def latent_shape(encoder: VideoEncoder, frames: int, height: int, width: int) -> LatentShape:
    """Return the latent's frames, rows and columns for so many frames and pixels."""
    scale = encoder.config.scale
    count = (encoder.frames_used(frames) - 1) // scale.time + 1
    return LatentShape(count, height // scale.height, width // scale.width)


def _whole_sides() -> tuple[tuple[AxisTile, ...], tuple[AxisTile, ...]]:
    return (AxisTile(0, 0),), (AxisTile(0, 0),)


def _one_span(encoder: VideoEncoder, spans: list[Tensor]) -> list[Tensor]:
    """Join what an encoder that pools over time can only take whole."""
    if not spans:
        return []
    frames = torch.cat(spans, dim=2)
    return [frames[:, :, : encoder.frames_used(frames.shape[2])]]


def _pieces(
    encoder: VideoEncoder, part: Tensor, stream: Stream, piece_bytes: int | None
) -> Iterator[Tensor]:
    elements = None
    if piece_bytes is not None and encoder.config.streams:
        elements = piece_bytes // torch.empty((), dtype=encoder.dtype).element_size()
    part = part.to(encoder.device)
    # A causal encoder needs no word of the end: what a latent frame lacks then never comes.
    return encoder.pieces(part, stream, last=False, piece_elements=elements)


def _blended(parts: list[tuple[AxisTile, AxisTile, Tensor]]) -> Tensor:
    """Add up latents [B, C, F, h, w] of tiles that lie side by side."""
    rows = list(dict.fromkeys(row for row, _, _ in parts))
    columns = list(dict.fromkeys(column for _, column, _ in parts))
    row_masks = axis_masks([in_cells(row) for row in rows], from_zero=False)
    column_masks = axis_masks([in_cells(column) for column in columns], from_zero=False)
    first = parts[0][2]
    latent = first.new_zeros(
        *first.shape[:3], max(row.end for row in rows), max(column.end for column in columns)
    )
    for row, column, part in parts:
        weights = (
            row_masks.masks[rows.index(row)][:, None] * column_masks.masks[columns.index(column)]
        )
        faded = (part * weights.to(part.device)).to(latent.dtype)
        latent[..., row.start : row.end, column.start : column.end] += faded
    return divided(latent, (row_masks.total, 3), (column_masks.total, 4))


def _sides(size: torch.Size) -> str:
    return f"{size[1]}x{size[0]}"


def _refused(what: str) -> LTX2Error:
    return LTX2Error(what, needed="at least one frame, all of one size", code="size")
