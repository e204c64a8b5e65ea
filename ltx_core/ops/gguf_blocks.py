"""The block formats of GGUF files, unpacked to float32.

A row of a tensor is a run of blocks; each block holds its numbers as small codes and one or more
scales in float16. Letters: N rows, R blocks in all, and behind them what one block holds.
Source of the layouts: the format's public description in ggml (`ggml-common.h`).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class BlockType(NamedTuple):
    """One block format: its name, numbers and bytes of a block, and how a block is read."""

    name: str
    elements: int
    bytes: int
    unpack: Callable[[Tensor], Tensor]  # U8 [R, bytes] -> float32 [R, elements]


def unpacked(data: Tensor, type_id: int) -> Tensor:
    """Return the numbers of raw blocks: U8 [N, bytes per row] -> float32 [N, K].

    `type_id` is the file's number for the block format, a key of `TYPES`.
    """
    kind = TYPES[type_id]
    blocks = data.contiguous().view(-1, kind.bytes)  # [R, bytes]
    return kind.unpack(blocks).view(len(data), -1)


def columns(row_bytes: int, type_id: int) -> int:
    """Return how many numbers a row of so many bytes holds."""
    kind = TYPES[type_id]
    return row_bytes // kind.bytes * kind.elements


def _half(b: Tensor, at: int) -> Tensor:
    """Return the float16 at a byte, as float32 [R, 1]."""
    return b[:, at : at + 2].contiguous().view(torch.float16).float()


def _nibbles(b: Tensor) -> Tensor:
    """Return the low halves of all bytes, then the high ones: [R, n] -> [R, 2 n]."""
    return torch.cat((b & 15, b >> 4), 1)


def _signed(b: Tensor) -> Tensor:
    return b.contiguous().view(torch.int8)


def _bits(b: Tensor) -> Tensor:
    """Return every bit, the lowest of the first byte first: [R, n] -> [R, 8 n]."""
    return ((b[:, :, None] >> torch.arange(8, device=b.device, dtype=torch.uint8)) & 1).flatten(1)


def _f32(b: Tensor) -> Tensor:
    return b.view(torch.float32)


def _f16(b: Tensor) -> Tensor:
    return b.view(torch.float16).float()


def _bf16(b: Tensor) -> Tensor:
    return b.view(torch.bfloat16).float()


def _q8_0(b: Tensor) -> Tensor:
    return _half(b, 0) * _signed(b[:, 2:])


def _q4_0(b: Tensor) -> Tensor:
    return _half(b, 0) * (_nibbles(b[:, 2:]).float() - 8)


def _q4_1(b: Tensor) -> Tensor:
    return _half(b, 0) * _nibbles(b[:, 4:]) + _half(b, 2)


def _q5_0(b: Tensor) -> Tensor:
    codes = _nibbles(b[:, 6:]) | (_bits(b[:, 2:6]) << 4)
    return _half(b, 0) * (codes.float() - 16)


def _q5_1(b: Tensor) -> Tensor:
    codes = _nibbles(b[:, 8:]) | (_bits(b[:, 4:8]) << 4)
    return _half(b, 0) * codes + _half(b, 2)


def _quarters(b: Tensor) -> Tensor:
    """Return the bit pairs of 64 bytes in the order of their 256 numbers: [R, 64] -> [R, 8, 32].

    32 bytes hold 128 numbers: the lowest pairs of all bytes are the first 32, and so on.
    """
    shifts = torch.arange(0, 8, 2, device=b.device, dtype=torch.uint8)[:, None]
    return ((b.view(-1, 2, 1, 32) >> shifts) & 3).view(-1, 8, 32)


def _by_16(codes: Tensor, scale: Tensor) -> Tensor:
    """Scale each run of 16 numbers: [R, 256] by [R, 16]."""
    return (codes.reshape(-1, 16, 16) * scale[:, :, None]).flatten(1)


def _q2_k(b: Tensor) -> Tensor:
    codes, scales = _quarters(b[:, 16:80]), b[:, :16]
    scale, low = _half(b, 80) * (scales & 15), _half(b, 82) * (scales >> 4)  # [R, 16]
    return _by_16(codes.float(), scale) - low.repeat_interleave(16, 1)


def _q3_k(b: Tensor) -> Tensor:
    # The high bits of 32 numbers lie in one place of 32 bytes, the next 32 one place higher.
    shifts = torch.arange(8, device=b.device, dtype=torch.uint8)[:, None]
    high = (b[:, None, :32] >> shifts) & 1  # [R, 8, 32]
    codes = (_quarters(b[:, 32:96]) | (high << 2)).float() - 4
    top = (b[:, None, 104:108] >> shifts[:4] * 2) & 3  # [R, 4, 4]
    scales = _nibbles(b[:, 96:104]) | (top.flatten(1) << 4)  # [R, 16] of six bits
    return _by_16(codes, _half(b, 108) * (scales.float() - 32))


def _sixes(b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eight scales and eight lows of six bits that 12 bytes hold: each [R, 8]."""
    first, second, third = b.view(-1, 3, 4).unbind(1)  # each [R, 4]
    scale = torch.cat((first & 63, (third & 15) | (first >> 6 << 4)), 1)
    low = torch.cat((second & 63, (third >> 4) | (second >> 6 << 4)), 1)
    return scale, low


def _runs(b: Tensor) -> Tensor:
    """Return the halves of 128 bytes as runs of 32 numbers: [R, 128] -> [R, 8, 32]."""
    groups = b.view(-1, 4, 1, 32)  # low halves are one run, high halves the next
    return torch.cat((groups & 15, groups >> 4), 2).view(-1, 8, 32)


def _with_lows(b: Tensor, codes: Tensor) -> Tensor:
    """Scale and shift runs of 32: codes [R, 8, 32], the block begins with two float16 and sixes."""
    scale, low = _sixes(b[:, 4:16])
    scale, low = _half(b, 0) * scale, _half(b, 2) * low  # [R, 8]
    return (codes * scale[:, :, None] - low[:, :, None]).flatten(1)


def _q4_k(b: Tensor) -> Tensor:
    return _with_lows(b, _runs(b[:, 16:]))


def _q5_k(b: Tensor) -> Tensor:
    shifts = torch.arange(8, device=b.device, dtype=torch.uint8)[:, None]
    high = (b[:, None, 16:48] >> shifts) & 1  # [R, 8, 32]
    return _with_lows(b, _runs(b[:, 48:]) | (high << 4))


def _q6_k(b: Tensor) -> Tensor:
    low = b[:, :128].view(-1, 2, 1, 64)  # 64 bytes: low halves are 64 numbers, high ones the next
    low = torch.cat((low & 15, low >> 4), 2).view(-1, 8, 32)
    codes = (low | (_quarters(b[:, 128:192]) << 4)).float() - 32
    return _by_16(codes, _half(b, 208) * _signed(b[:, 192:208]))


#: What the sixteen codes of the IQ4 formats stand for.
IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


def _iq4(codes: Tensor) -> Tensor:
    return torch.tensor(IQ4, device=codes.device, dtype=torch.float32)[codes.int()]


def _iq4_nl(b: Tensor) -> Tensor:
    return _half(b, 0) * _iq4(_nibbles(b[:, 2:]))


def _iq4_xs(b: Tensor) -> Tensor:
    pairs = torch.arange(0, 8, 2, device=b.device, dtype=torch.uint8)
    high = ((b[:, 2:4, None] >> pairs) & 3).flatten(1)  # [R, 8]
    low = torch.stack((b[:, 4:8] & 15, b[:, 4:8] >> 4), 2).flatten(1)  # [R, 8]
    scale = _half(b, 0) * ((low | (high << 4)).float() - 32)
    codes = b[:, 8:].view(-1, 8, 1, 16)
    codes = torch.cat((codes & 15, codes >> 4), 2).view(-1, 8, 32)
    return (scale[:, :, None] * _iq4(codes)).flatten(1)


#: The file's number of a block format -> the format.
TYPES: dict[int, BlockType] = {
    0: BlockType("F32", 1, 4, _f32),
    1: BlockType("F16", 1, 2, _f16),
    2: BlockType("Q4_0", 32, 18, _q4_0),
    3: BlockType("Q4_1", 32, 20, _q4_1),
    6: BlockType("Q5_0", 32, 22, _q5_0),
    7: BlockType("Q5_1", 32, 24, _q5_1),
    8: BlockType("Q8_0", 32, 34, _q8_0),
    10: BlockType("Q2_K", 256, 84, _q2_k),
    11: BlockType("Q3_K", 256, 110, _q3_k),
    12: BlockType("Q4_K", 256, 144, _q4_k),
    13: BlockType("Q5_K", 256, 176, _q5_k),
    14: BlockType("Q6_K", 256, 210, _q6_k),
    20: BlockType("IQ4_NL", 32, 18, _iq4_nl),
    23: BlockType("IQ4_XS", 256, 136, _iq4_xs),
    30: BlockType("BF16", 1, 2, _bf16),
}
