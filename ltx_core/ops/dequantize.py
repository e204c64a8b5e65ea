"""What the numbers of quantised weights are: one formula per format, in float32.

Letters: N rows (outputs), K columns (inputs), g columns that share a scale. Every function takes
the stored tensors of the rows it is to compute and returns float32 [N, K].
"""

import torch
from torch import Tensor

from .rotation import rotated

#: The numbers of the four-bit floating format, by its lower three bits; the fourth is the sign.
E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
#: Columns that share a scale.
NVFP4_GROUP, MXFP8_GROUP = 16, 32
#: Rows and columns that share a scale where scales form a table.
BLOCK = 128


def widened(codes: Tensor, kind: torch.dtype = torch.float8_e4m3fn) -> Tensor:
    """Return float8 numbers as float32. U8 is taken for the bytes of `kind`.

    Devices that lack the type hold such bytes and look their numbers up.
    """
    if codes.dtype != torch.uint8:
        return codes.float()
    if codes.device.type in ("cpu", "cuda"):
        return codes.view(kind).float()
    table = torch.arange(256, dtype=torch.uint8).view(kind).float()
    return table.to(codes.device)[codes.int()]


def scaled(weight: Tensor, scale: Tensor | None) -> Tensor:
    """Multiply numbers [N, K] by one scale, by one per row, or by one per row and 128 columns."""
    if scale is None:
        return weight
    scale = scale.float()
    if scale.numel() == 1:
        return weight * scale.reshape(())
    if scale.ndim == 2 and scale.shape[1] > 1:  # [N, K / 128]
        return weight * scale.repeat_interleave(BLOCK, 1)[:, : weight.shape[1]]
    return weight * scale.reshape(-1, *[1] * (weight.ndim - 1))


def low_high(weight: Tensor) -> Tensor:
    """Return the halves of bytes, the low one first: [N, K / 2] -> U8 [N, K]."""
    stored = weight.view(torch.uint8)
    return torch.stack((stored & 15, stored >> 4), -1).flatten(1)


def nvfp4(weight: Tensor, scale: Tensor, tensor_scale: Tensor) -> Tensor:
    """Return E2M1 numbers: U8 [N, K / 2], the high half of a byte first; scale [N, K / 16]."""
    # Bytes are looked up whole: row 16 h + l of the table holds the numbers of both halves.
    numbers = torch.tensor((*E2M1, *(-x for x in E2M1)))
    table = torch.stack((numbers.repeat_interleave(16), numbers.repeat(16)), 1)  # [256, 2]
    values = table.to(weight.device)[weight.int()].flatten(1)  # [N, K]
    return by_group(values, scale, NVFP4_GROUP) * tensor_scale.float().reshape(())


def mxfp8(weight: Tensor, exponents: Tensor) -> Tensor:
    """Return E4M3 numbers times powers of two: exponents U8 [N, K / 32], biased by 127."""
    powers = (exponents.int() << 23).view(torch.float32)  # the bits of 2^(e - 127); e = 0 is 0
    return by_group(widened(weight), powers, MXFP8_GROUP)


def by_group(values: Tensor, scale: Tensor, size: int) -> Tensor:
    """Multiply each run of `size` columns of [N, K] by its scale; scale has K / size or more."""
    groups = values.unflatten(1, (-1, size))
    return (groups * scale[:, : groups.shape[1], None]).flatten(1)


def int8(weight: Tensor, scale: Tensor, group: int | None) -> Tensor:
    """Return I8 [N, K] times its scale, turned back where it rests turned in groups."""
    return _turned_back(scaled(weight.float(), scale), group)


def int4(weight: Tensor, scale: Tensor, group: int | None) -> Tensor:
    """Return signed halves of bytes [N, K / 2] times their row's scale, turned back."""
    codes = low_high(weight).view(torch.int8)
    signed = torch.where(codes > 7, codes - 16, codes)
    return _turned_back(scaled(signed.float(), scale), group)


def codebook_int8(
    weight: Tensor, relative: Tensor, channel: Tensor, codebook: Tensor | None, group: int | None
) -> Tensor:
    """Return halves of bytes [N, K / 2] through a codebook to int8, scaled by row, turned back.

    `relative` [N, K / g] scales a group inside its row before the rounding to int8; `channel` [N]
    is the row's scale. Without a codebook a code stands for itself less 8.
    """
    codes = low_high(weight).int()
    numbers = codes.float() - 8 if codebook is None else codebook.float()[codes]
    size = numbers.shape[1] // relative.shape[1]
    eight = by_group(numbers, widened(relative), size).round().clamp(-127, 127)
    return _turned_back(eight * channel.float().reshape(-1, 1), group)


def _turned_back(values: Tensor, group: int | None) -> Tensor:
    return values if group is None else rotated(values, group)


def unswizzled(scales: Tensor, rows: int) -> Tensor:
    """Bring block scales [N padded to 128, G padded to 4] from the order of 128 x 4 tiles to rows.

    Tiles follow one another row by row; inside one, row r and column c stand at
    (r % 32) * 16 + (r // 32) * 4 + c. Returns [rows, G padded].
    """
    tiles_down, tiles_across = scales.shape[0] // 128, scales.shape[1] // 4
    tiles = scales.contiguous().view(tiles_down, tiles_across, 32, 4, 4)
    return tiles.permute(0, 3, 2, 1, 4).reshape(scales.shape)[:rows]


def swizzled(scales: Tensor) -> Tensor:
    """Bring block scales [N, G] into the order of 128 x 4 tiles, padded with zeros."""
    rows, columns = scales.shape
    padded = scales.new_zeros(-(-rows // 128) * 128, -(-columns // 4) * 4)
    padded[:rows, :columns] = scales
    tiles = padded.view(padded.shape[0] // 128, 4, 32, padded.shape[1] // 4, 4)
    return tiles.permute(0, 3, 2, 1, 4).reshape(padded.shape)
