"""Tensors of an open file, read with ordinary reads into memory of their own.

Nothing is mapped: a mapped file that another program cuts short ends the whole process (SIGBUS)
when a page behind the new end is touched, and no check before can rule that out. What a mapping
saves is kept in another way: one tensor at a time is read, straight into the memory it will have,
and the system's own cache of the file serves whoever reads it again.
"""

import os
import weakref
from collections.abc import Sequence
from io import BufferedReader, FileIO
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from ..errors import LTX2Error
from .entries import BLOCK_TYPES, Header, LongArray, TensorEntry
from .gguf import read_list
from .header import header_of, unreadable

#: What a stored type is in memory. Others are read as the bytes they are.
DTYPES: dict[str, torch.dtype] = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16,
    "I32": torch.int32, "I64": torch.int64, "U16": torch.uint16, "U32": torch.uint32,
    "U64": torch.uint64, "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32,
    "F64": torch.float64, "C64": torch.complex64, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    # PyTorch 2.6 lacks it.
    "F8_E8M0": getattr(torch, "float8_e8m0fnu", torch.uint8),
}  # fmt: skip
#: Elements of types narrower than a byte, in the bytes they share.
SHARED_BYTES = {"F4": (2, 1), "F6_E2M3": (4, 3), "F6_E3M2": (4, 3)}
#: One read is never longer: systems stop at 2 GB.
LONGEST_READ = 1 << 30


class OpenFile:
    """A model file held open: what was opened is what is read, even if its name goes to another.

    `header` was read from it. Raises LTX2Error as `read_header`; later `changed` where the file's
    size or time of change is another than when it was opened, `unreadable` where a disk fails.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = FileIO(path)
        except OSError as error:
            raise unreadable(path, error) from None
        weakref.finalize(self, self._file.close)
        self._lock = Lock()
        try:
            self._stamp = _stamp(self._file)
            buffered = BufferedReader(self._file)  # for the many small reads of a header
            self.header: Header = header_of(path, buffered)
            buffered.detach()
        except OSError as error:
            raise unreadable(path, error) from None

    def check_unchanged(self) -> None:
        """Refuse to go on with a file that was written to since it was opened."""
        try:
            stamp = _stamp(self._file)
        except OSError as error:
            raise unreadable(self.path, error) from None
        if stamp != self._stamp:
            was, now = self._stamp[0], stamp[0]
            what = f"it had {was:,} bytes and has {now:,}" if was != now else "it was written to"
            raise LTX2Error(
                f"{self.path.name} changed after it was opened: {what}.",
                needed="the whole file, unchanged while it is in use; load it again",
                where=str(self.path.parent), code="changed",
            )  # fmt: skip

    def tensor(self, entry: TensorEntry) -> Tensor:
        """Read one tensor. GGUF blocks come as U8 [N, bytes of a row], in one row if they must."""
        stored = self._bytes(entry.start, entry.bytes)
        if entry.dtype in BLOCK_TYPES:
            rows = entry.bytes // entry.row_bytes if entry.row_bytes else 1
            return stored.reshape(rows, -1)
        return _shaped(stored, entry.dtype, entry.shape, entry.added)

    def rows(self, entry: TensorEntry, numbers: Sequence[int]) -> Tensor:
        """Read some rows [n, ...] of a plain tensor; the others stay on disk."""
        stored = self.raw_rows(entry, numbers).flatten()
        return _shaped(stored, entry.dtype, (len(numbers), *entry.shape[1:]), entry.added)

    def raw_rows(self, entry: TensorEntry, numbers: Sequence[int]) -> Tensor:
        """Read the bytes of some rows: U8 [n, bytes of a row]."""
        stored = torch.empty(len(numbers), entry.row_bytes, dtype=torch.uint8)
        for number, row in zip(numbers, stored, strict=True):
            self._fill(row, entry.start + number * entry.row_bytes)
        self.check_unchanged()
        return stored

    def long_list(self, array: LongArray) -> list[Any]:
        """Read a list of GGUF metadata."""
        stored = self._bytes(array.start, array.end - array.start)
        return read_list(stored.numpy().tobytes(), array)

    def _bytes(self, start: int, size: int) -> Tensor:
        stored = torch.empty(size, dtype=torch.uint8)
        self._fill(stored, start)
        self.check_unchanged()  # after the read: a change before it shows as well
        return stored

    def _fill(self, target: Tensor, start: int) -> None:
        """Fill bytes from a place in the file."""
        view = target.numpy().data
        at = 0
        with self._lock:
            try:
                self._file.seek(start)
                while at < len(view):
                    got = self._file.readinto(view[at : at + LONGEST_READ])
                    if not got:
                        break
                    at += got
            except OSError as error:
                raise unreadable(self.path, error) from None
        if at < len(view):
            self.check_unchanged()
            raise LTX2Error(
                f"{self.path.name} ended while it was read.",
                needed="the whole file, unchanged while it is in use; load it again",
                where=str(self.path.parent), code="changed",
            )  # fmt: skip


def _stamp(file: FileIO) -> tuple[int, int]:
    stat = os.fstat(file.fileno())
    return stat.st_size, stat.st_mtime_ns


def _shaped(stored: Tensor, dtype: str, shape: tuple[int, ...], added: float) -> Tensor:
    """Return bytes as the tensor they are."""
    if dtype in DTYPES:
        tensor = stored.view(DTYPES[dtype]).reshape(shape)
        return tensor.float() - added if added else tensor
    elements, width = SHARED_BYTES[dtype]
    if shape and shape[-1] % elements == 0:
        return stored.reshape(*shape[:-1], shape[-1] // elements * width)
    return stored


def stored_shape(entry: TensorEntry) -> tuple[int, ...]:
    """Return the shape `OpenFile.tensor` gives: of the values, or of bytes they share."""
    elements, width = SHARED_BYTES.get(entry.dtype, (1, 1))
    if elements == 1:
        return entry.shape
    if entry.shape and entry.shape[-1] % elements == 0:
        return (*entry.shape[:-1], entry.shape[-1] // elements * width)
    return (prod(entry.shape) * width // elements,)
