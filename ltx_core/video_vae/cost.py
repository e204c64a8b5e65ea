"""How many bytes an encode or a decode needs beside the weights, from the config alone.

Streamed, that does not depend on the number of frames: what layers keep between pieces (two input
frames per convolution, and what waits for a convolution that answers late), the tensors that were
split into the piece at work, and the temporary tensors of its stage. The scores of attention (in no
released file) and what a convolution's kernel asks for itself are not in it.
"""

from collections.abc import Iterator
from math import ceil
from typing import NamedTuple

from .config import Block, BlockKind, DecoderConfig, EncoderConfig
from .decode import CHUNK, PIECE_BYTES
from .encode import CHUNK_FRAMES
from .layers import Padding
from .stream import frames_at_once

#: Tensors of a stage's size alive within it: a norm's result, its copy behind the frames before it,
#: what the convolution makes of them. Padding that is not zeros makes one more copy.
WITHIN = 3


class _Step(NamedTuple):
    """One stage, in elements per spatial latent cell."""

    inputs: float  # per frame that goes in
    outputs: float  # per frame that comes out
    widest: float  # the largest tensor inside, per frame that goes in
    rate: float  # frames out per frame in
    kept: float  # between pieces
    late: int = 0  # frames that come out on top, at the end of the clip


def decode_bytes(
    config: DecoderConfig,
    height: int,  # latent cells
    width: int,
    *,
    itemsize: int = 2,
    frames: int | None = None,  # latent frames; needed where the clip cannot be streamed
    chunk: int = CHUNK,
    piece_bytes: int | None = PIECE_BYTES,
) -> int:
    """Return the bytes a decode of so many latent rows and columns needs beside the weights."""
    if not config.streams or piece_bytes is None:
        chunk, piece_bytes = frames if frames is not None else chunk, None
    steps = list(_decoder_steps(config))
    within = WITHIN + (config.padding is not Padding.ZEROS)
    return _bytes(steps, within, height * width, chunk, itemsize, piece_bytes)


def encode_bytes(
    config: EncoderConfig,
    height: int,  # latent cells
    width: int,
    *,
    itemsize: int = 2,
    frames: int | None = None,  # frames of pixels; needed where the clip cannot be streamed
    chunk: int = CHUNK_FRAMES,
    piece_bytes: int | None = PIECE_BYTES,
) -> int:
    """Return the bytes an encode of so many latent rows and columns needs beside the weights."""
    if not config.streams or piece_bytes is None:
        chunk, piece_bytes = frames if frames is not None else chunk, None
    steps = list(_encoder_steps(config))
    within = WITHIN + (config.padding is not Padding.ZEROS)
    return _bytes(steps, within, height * width, chunk, itemsize, piece_bytes)


def kept_elements(config: EncoderConfig | DecoderConfig) -> int:
    """Return what layers keep between pieces, in elements per spatial latent cell."""
    decodes = isinstance(config, DecoderConfig)
    steps = _decoder_steps(config) if decodes else _encoder_steps(config)
    return int(sum(step.kept for step in steps))


def _bytes(
    steps: list[_Step],
    within: int,
    cells: int,
    frames: int,
    itemsize: int,
    piece_bytes: int | None,
) -> int:
    limit = None if piece_bytes is None else piece_bytes // itemsize // cells

    def peak(number: int, frames: int, last: bool) -> tuple[float, int]:
        """Follow `frames` that enter a stage to the end: elements per cell, frames put out."""
        if number == len(steps):
            return 0.0, frames
        step = steps[number]
        held = frames * step.inputs
        growth = step.outputs * step.rate / step.inputs
        at_once = frames if limit is None else frames_at_once(step.inputs, growth, limit)
        if at_once < frames:  # as `run_stages` splits
            rest = frames - (ceil(frames / at_once) - 1) * at_once
            first, out = peak(number, at_once, False)
            final, final_out = peak(number, rest, last)
            return held + max(first, final), max(out, final_out)
        late = step.late if last else 0
        # The copy behind the frames before it, padded or not, is two frames longer.
        longer = 2 * (within - 1) * step.inputs
        inside = held + within * (frames + late / step.rate) * step.widest + longer
        after, out = peak(number + 1, ceil(frames * step.rate) + late, last)
        return max(inside, after), out

    kept = sum(step.kept for step in steps)
    working = max(peak(0, frames, last) for last in (False, True))
    handed_out = working[1] * steps[-1].outputs  # the span before, which its taker still holds
    return int((kept + working[0] + handed_out) * cells * itemsize)


def _decoder_steps(config: DecoderConfig) -> Iterator[_Step]:
    area = 1.0  # positions per latent cell
    late = 0 if config.causal else 1
    channels = config.first_channels
    yield _Step(config.latent_channels, channels, channels, 1, 2 * config.latent_channels, late)
    for block in config.blocks:
        if block.kind in (BlockKind.RES, BlockKind.RES_WIDER, BlockKind.ATTENTION):
            out = channels // block.multiplier
            yield from _blocks(block, channels, out, area, 2 * late)
            channels = out
            continue
        time, rows, columns = block.stride
        out_area, out = area * rows * columns, channels // block.multiplier
        kept = (2 + late * block.residual) * channels * area
        growing = out * out_area * time
        yield _Step(channels * area, out * out_area, growing, time, kept, time * late)
        area, channels = out_area, out
    pixels = config.out_channels * config.patch_size**2
    yield _Step(channels * area, pixels * area, channels * area, 1, 2 * channels * area, late)


def _encoder_steps(config: EncoderConfig) -> Iterator[_Step]:
    scale = config.scale
    area = scale.height * scale.width / config.patch_size**2
    pixels = config.in_channels * config.patch_size**2
    channels = config.latent_channels
    yield _Step(pixels * area, channels * area, channels * area, 1, 2 * pixels * area)
    for block in config.blocks:
        if block.kind in (BlockKind.RES, BlockKind.RES_WIDER, BlockKind.ATTENTION):
            out = channels * block.multiplier
            yield from _blocks(block, channels, out, area, 0)
            channels = out
            continue
        time, rows, columns = block.stride
        out_area, out = area / (rows * columns), channels * block.multiplier
        # Beside the convolution's two frames, an odd one of its result and of the shortcut waits.
        waiting = (channels * area + out * out_area) * (time == 2)
        kept = 2 * channels * area + waiting
        yield _Step(channels * area, out * out_area, channels * area, 1 / time, kept)
        area, channels = out_area, out
    width = config.log_variance.width(config.latent_channels)
    yield _Step(channels * area, width * area, channels * area, 1, 2 * channels * area)


def _blocks(block: Block, channels: int, out: int, area: float, late: int) -> Iterator[_Step]:
    """Residual blocks or attention; each convolution keeps two frames, each shortcut `late`."""
    convolves = block.kind is not BlockKind.ATTENTION
    kept = (2 * channels + 2 * out + late * channels) * area if convolves else 0.0
    for _ in range(block.num_layers):
        yield _Step(channels * area, out * area, max(channels, out) * area, 1, kept, late)
