"""GGUF files made for tests, by hand: so that every number in them can be wrong."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

NUMBERS = {
    "u8": (0, "<B"), "i8": (1, "<b"), "u16": (2, "<H"), "i16": (3, "<h"), "u32": (4, "<I"),
    "i32": (5, "<i"), "f32": (6, "<f"), "bool": (7, "<?"), "u64": (10, "<Q"), "i64": (11, "<q"),
    "f64": (12, "<d"),
}  # fmt: skip
PLAIN = {
    torch.float32: 0, torch.float16: 1, torch.int8: 24, torch.int16: 25, torch.int32: 26,
    torch.int64: 27, torch.float64: 28, torch.bfloat16: 30,
}  # fmt: skip
Q8_0 = 8


def text(value: str | bytes) -> bytes:
    content = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(content)) + content


def field(name: str | bytes, value: Any, kind: str = "u32") -> bytes:
    """Write one field: a text, a number of `kind`, or a list of either."""
    if isinstance(value, (str, bytes)):
        return text(name) + struct.pack("<I", 8) + text(value)
    if isinstance(value, list):
        return text(name) + struct.pack("<I", 9) + items(value, kind)
    number, form = NUMBERS[kind]
    return text(name) + struct.pack("<I", number) + struct.pack(form, value)


def items(values: list[Any], kind: str) -> bytes:
    if values and isinstance(values[0], str):
        return struct.pack("<IQ", 8, len(values)) + b"".join(map(text, values))
    number, form = NUMBERS[kind]
    return struct.pack("<IQ", number, len(values)) + b"".join(struct.pack(form, v) for v in values)


def info(name: str | bytes, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    """Write what a header says of one tensor; the file has the last axis first."""
    sides = struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
    return text(name) + sides + struct.pack("<IQ", kind, offset)


def aligned(size: int, alignment: int = 32) -> int:
    return -(-size // alignment) * alignment


def header(fields: list[bytes], infos: list[bytes], version: int = 3) -> bytes:
    counts = struct.pack("<IQQ", version, len(infos), len(fields))
    return b"GGUF" + counts + b"".join(fields) + b"".join(infos)


def q8_0(values: Tensor) -> bytes:
    """Pack float numbers [N, K] as Q8_0: blocks of 32 with one float16 scale."""
    blocks = values.float().reshape(-1, 32)
    scale = (blocks.abs().amax(1, keepdim=True) / 127).half()  # [R, 1]
    codes = (blocks / scale.float()).round().clamp(-127, 127).to(torch.int8)
    return torch.cat((scale.view(torch.int8).reshape(-1, 2), codes), 1).numpy().tobytes()


def write_gguf(
    path: Path,
    tensors: Mapping[str, Tensor],
    fields: list[bytes] | None = None,
    *,
    packed: tuple[str, ...] = (),
    alignment: int = 32,
    version: int = 3,
) -> Path:
    """Write tensors in their dtype, those named by `packed` as Q8_0."""
    infos, data = [], bytearray()
    for name, tensor in tensors.items():
        kind = Q8_0 if name in packed else PLAIN[tensor.dtype]
        infos.append(info(name, tuple(tensor.shape), kind, len(data)))
        raw = tensor.contiguous().reshape(-1)
        stored = q8_0(tensor) if name in packed else raw.view(torch.uint8).numpy().tobytes()
        data += stored.ljust(aligned(len(stored), alignment), b"\0")
    start = header(fields or [], infos, version)
    path.write_bytes(start.ljust(aligned(len(start), alignment), b"\0") + data)
    return path
