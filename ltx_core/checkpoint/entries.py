"""What every container says of itself: tensors, their places and types, metadata. Values only."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import LTX2Error

#: Bits of one element of every dtype the safetensors format knows.
DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
#: GGUF's packed types: number in the file, elements and bytes of one block.
BLOCK_TYPES: Mapping[str, tuple[int, int, int]] = {
    "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24),
    "Q8_0": (8, 32, 34), "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144),
    "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210), "IQ4_NL": (20, 32, 18),
    "IQ4_XS": (23, 256, 136),
}  # fmt: skip
#: A JSON text with more brackets or commas than this is no model's, and would fill the memory.
MOST_BRACKETS, MOST_COMMAS = 200_000, 500_000


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """Where one tensor lies, in bytes from the start of the file."""

    dtype: str  # a name of DTYPE_BITS or BLOCK_TYPES
    shape: tuple[int, ...]  # of the values; packed ones take fewer bytes
    start: int
    end: int
    added: float = 0.0  # what the file's writer added to every value, and reading takes off

    @property
    def bytes(self) -> int:
        """Return the stored size."""
        return self.end - self.start

    @property
    def row_bytes(self) -> int:
        """Return the bytes of one row (all axes but the first); 0 if blocks reach over rows."""
        if self.dtype in BLOCK_TYPES and self.shape[-1] % BLOCK_TYPES[self.dtype][1]:
            return 0
        return self.bytes // max(self.shape[0], 1) if self.shape else self.bytes


@dataclass(frozen=True, slots=True)
class LongArray:
    """A list in GGUF metadata that is too long to read before somebody asks for it."""

    kind: int  # the format's number of its items' type
    count: int
    start: int  # of its first item, in bytes from the start of the file
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself."""

    path: Path
    file_bytes: int
    metadata: dict[str, Any]  # every text through `json.loads` where it parses, else as it is
    tensors: dict[str, TensorEntry]
    container: str = field(default="safetensors")  # or "gguf"
    digest: str = ""  # of all it says, "" where it was not read from a file

    def section(self, name: str) -> dict[str, Any] | None:
        """Return one part of the metadata `config` (transformer, vae, ...), if it is there."""
        config = self.metadata.get("config")
        part = config.get(name) if isinstance(config, dict) else None
        return part if isinstance(part, dict) else None


def refuse(path: Path, what: str, needed: str, code: str) -> LTX2Error:
    """Return the error for a file that is not what it should be; `what` follows its name."""
    return LTX2Error(f"{path.name} {what}.", needed=needed, where=str(path.parent), code=code)


def check_json_size(text: str) -> None:
    """Refuse, by a ValueError, JSON that would become far more objects than any model's."""
    brackets = text.count("[") + text.count("{")
    if brackets > MOST_BRACKETS or text.count(",") > MOST_COMMAS:
        raise ValueError("more values than a header has")


def json_or_text(value: str) -> Any:
    """Return what a metadata text means as JSON, or the text itself."""
    try:
        check_json_size(value)
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
