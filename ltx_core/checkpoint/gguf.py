"""Reads the header of a GGUF file (version 2 or 3): fields, names, types, shapes, places.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every count, length and
offset is compared with what the file has before it is believed, and the walk ends at
`LONGEST_HEADER`: no file, however damaged, takes long or fills the memory.
"""

import struct
from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from .entries import BLOCK_TYPES, Header, LongArray, TensorEntry, json_or_text, refuse
from .llama import own_names

MAGIC = b"GGUF"
VERSIONS = (2, 3)
#: Longest header read, in bytes. The longest there are hold a vocabulary: about 16 MB.
LONGEST_HEADER = 32_000_000
MOST_FIELDS, MOST_TENSORS = 4096, 100_000
LONGEST_NAME, LONGEST_TEXT = 1024, 8_000_000
MOST_AXES = 8
#: Lists longer than this are read when somebody asks.
SHORT_LIST = 64
CHUNK = 1 << 20
#: Types of one value each: number in the file -> name, bytes.
PLAIN_TYPES = {
    0: ("F32", 4), 1: ("F16", 2), 24: ("I8", 1), 25: ("I16", 2), 26: ("I32", 4), 27: ("I64", 8),
    28: ("F64", 8), 30: ("BF16", 2),
}  # fmt: skip
PACKED_TYPES = {number: name for name, (number, _, _) in BLOCK_TYPES.items()}
#: Types with a name that no LTX-2 file is known to use.
OTHER_TYPES = {
    9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 21: "IQ3_S",
    22: "IQ2_S", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
}  # fmt: skip
#: Numbers of fields: number of the type -> how it is unpacked.
NUMBERS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip
TEXT, LIST = 8, 9
ORIGINAL_SHAPE = "comfy.gguf.orig_shape."
AGAIN = "an undamaged GGUF file; download it again"


class _DamagedError(ValueError):
    """The header says something that cannot be."""


class _ShortError(ValueError):
    """The file ends before its header does."""


class _Walk:
    """Goes through the beginning of a file once, a chunk at a time."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.at = 0
        self.size = size
        self._file = file
        self._data, self._base = b"", 0

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        offset = self._have(count)
        self.at += count
        return self._data[offset : offset + count]

    def number(self, form: str) -> Any:
        """Return the next number, unpacked as `form`."""
        offset = self._move(struct.calcsize(form))
        return struct.unpack_from(form, self._data, offset)[0]

    def count(self, smallest: int, most: int) -> int:
        """Return a number of things of at least `smallest` bytes each, all of which must fit in."""
        count = self.number("<Q")
        if count * smallest > self.size - self.at:
            raise _ShortError
        if count > most:
            raise _DamagedError(f"{count:,} entries")
        return count

    def text(self, longest: int = LONGEST_TEXT) -> str:
        """Return the next text: its length, then UTF-8."""
        return self.take(self.count(1, longest)).decode("utf-8")

    def skip(self, count: int) -> None:
        """Pass bytes over without keeping them."""
        if count > self.size - self.at:
            raise _ShortError
        self.at += count
        if self.at > LONGEST_HEADER:
            raise _DamagedError("a header that does not end")

    def skip_texts(self, count: int) -> None:
        """Pass texts over: a vocabulary has some hundred thousands."""
        length = struct.Struct("<Q").unpack_from
        for _ in range(count):
            offset = self._move(8)
            self.skip(length(self._data, offset)[0])

    def _move(self, count: int) -> int:
        """Pass bytes; return where in the chunk they are. Call it before you look at the chunk."""
        offset = self._have(count)
        self.at += count
        return offset

    def _have(self, count: int) -> int:
        """Make sure that the next bytes are at hand; return where in the chunk they are."""
        offset = self.at - self._base
        if offset + count <= len(self._data):
            return offset
        if count > self.size - self.at:
            raise _ShortError
        if self.at + count > LONGEST_HEADER:
            raise _DamagedError("a header that does not end")
        self._file.seek(self.at)
        self._data, self._base = self._file.read(max(count, CHUNK)), self.at
        if len(self._data) < count:
            raise _ShortError
        return 0


def read_gguf(path: Path, file: BinaryIO, size: int) -> Header:
    """Read and check the header of a GGUF file that is open and begins with `GGUF`.

    Tensors of llama.cpp's names come out under the model's own. Raises LTX2Error `truncated`,
    `not_gguf` (damaged) or `gguf_unsupported` (a version or a type nobody here reads).
    """
    walk = _Walk(file, size)
    try:
        _check_version(path, walk)
        num_tensors = walk.count(24, MOST_TENSORS)
        num_fields = walk.count(13, MOST_FIELDS)
        fields = _unique(walk, num_fields, _field)
        found = _unique(walk, num_tensors, _tensor)
        alignment = fields.get("general.alignment", 32)
        if type(alignment) is not int or alignment not in (8 << n for n in range(14)):
            raise _DamagedError("an alignment that is none")
        base = _aligned(walk.at, alignment)
        tensors = _placed(path, found, base, alignment, size)
    except _ShortError:
        raise refuse(
            path, f"is incomplete: it ends inside its header, after {size:,} bytes",
            "the file itself; download it again", "truncated",
        ) from None  # fmt: skip
    except (_DamagedError, UnicodeDecodeError) as error:
        said = f" ({error})" if isinstance(error, _DamagedError) else ""
        raise refuse(path, f"has a damaged header{said}", AGAIN, "not_gguf") from None
    shaped = {name: _original_shape(path, fields, name, e) for name, e in tensors.items()}
    named = own_names(shaped, fields)
    packed_norm = any(entry.added and entry.dtype in BLOCK_TYPES for entry in named.values())
    if packed_norm or len(named) < len(shaped):
        what = "packs its norms" if packed_norm else "names a tensor in two ways"
        raise refuse(path, what, "a GGUF file of an ordinary converter", "gguf_unsupported")
    return Header(path, size, fields, named, container="gguf")


def read_list(data: bytes, array: LongArray) -> list[Any]:
    """Take a list of metadata that was passed over out of its bytes."""
    if array.kind != TEXT:
        form = NUMBERS[array.kind]
        return [value for (value,) in struct.iter_unpack(form, data)]
    found, at = [], 0
    for _ in range(array.count):
        end = at + 8 + struct.unpack_from("<Q", data, at)[0]
        found.append(data[at + 8 : end].decode("utf-8", "replace"))
        at = end
    return found


def _check_version(path: Path, walk: _Walk) -> None:
    if walk.take(4) != MAGIC:
        raise _DamagedError("no GGUF at its beginning")
    version = walk.number("<I")
    if version in VERSIONS:
        return
    swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
    if swapped in VERSIONS:
        what = "was written for big-endian machines"
    elif version > 1000:
        raise _DamagedError("a version that is none")
    else:
        what = f"is GGUF version {version}"
    raise refuse(path, what, "a GGUF file of version 3 or 2", "gguf_unsupported")


def _unique(walk: _Walk, count: int, read: Callable[[_Walk], Any]) -> dict[str, Any]:
    """Read named things, none of them twice."""
    found: dict[str, Any] = {}
    for _ in range(count):
        name = walk.text(LONGEST_NAME)
        if name in found:
            raise _DamagedError(f"{name} twice")
        found[name] = read(walk)
    return found


def _field(walk: _Walk) -> Any:
    kind = walk.number("<I")
    if kind == TEXT:
        return json_or_text(walk.text())
    if kind in NUMBERS:
        return walk.number(NUMBERS[kind])
    if kind != LIST:
        raise _DamagedError(f"a field of type {kind}")
    items = walk.number("<I")
    if items != TEXT and items not in NUMBERS:
        raise _DamagedError(f"a list of type {items}")
    width = 8 if items == TEXT else struct.calcsize(NUMBERS[items])
    count = walk.count(width, LONGEST_HEADER)
    if count <= SHORT_LIST:
        return [walk.text() if items == TEXT else walk.number(NUMBERS[items]) for _ in range(count)]
    start = walk.at
    if items == TEXT:
        walk.skip_texts(count)
    else:
        walk.skip(count * width)
    return LongArray(items, count, start, walk.at)


def _tensor(walk: _Walk) -> tuple[tuple[int, ...], int, int]:
    """Return a tensor's shape, the number of its type, and its offset."""
    axes = walk.number("<I")
    if axes > MOST_AXES:
        raise _DamagedError(f"a tensor of {axes} axes")
    shape = tuple(walk.number("<Q") for _ in range(axes))[::-1]  # the file has the last axis first
    return shape, walk.number("<I"), walk.number("<Q")


def _aligned(at: int, alignment: int) -> int:
    return -(-at // alignment) * alignment


def _placed(
    path: Path, found: dict[str, Any], base: int, alignment: int, size: int
) -> dict[str, TensorEntry]:
    """Give every tensor its place. They must follow one another, as the format demands."""
    entries: dict[str, TensorEntry] = {}
    by_offset = sorted(found, key=lambda name: found[name][2])
    starts = [base + found[name][2] for name in by_offset]
    expected = base
    for name, start, end in zip(by_offset, starts, [*starts, size][1:], strict=True):
        shape, kind, _ = found[name]
        entry = _entry(path, name, shape, kind, start)
        if start != expected:
            raise _DamagedError("tensors that overlap or leave gaps")
        halved = _halved(entry)
        if halved is not None and _ends(halved, end, alignment) > _ends(entry, end, alignment):
            entry = halved
        expected = _aligned(entry.end, alignment)
        entries[name] = entry
    needed = max((entry.end for entry in entries.values()), default=0)
    if size < needed:
        raise refuse(
            path, f"is incomplete: {needed:,} bytes are expected, it has {size:,}",
            "the file itself; download it again", "truncated",
        )  # fmt: skip
    if size > max(expected, base):
        raise _DamagedError(f"{size - expected:,} bytes more than it names")
    return {name: entries[name] for name in found}


def _entry(path: Path, name: str, shape: tuple[int, ...], kind: int, start: int) -> TensorEntry:
    if kind in PLAIN_TYPES:
        dtype, width = PLAIN_TYPES[kind]
        return TensorEntry(dtype, shape, start, start + prod(shape) * width)
    if kind in PACKED_TYPES:
        dtype = PACKED_TYPES[kind]
        _, elements, width = BLOCK_TYPES[dtype]
        if not shape or shape[-1] % elements:
            raise _DamagedError(f"{name} as {dtype}, whose blocks do not fit its rows")
        return TensorEntry(dtype, shape, start, start + prod(shape) // elements * width)
    if kind not in OTHER_TYPES and kind > 100:
        raise _DamagedError(f"{name} of type {kind}")
    known = ", ".join([*(name for name, _ in PLAIN_TYPES.values()), *BLOCK_TYPES])
    raise refuse(
        path, f"stores {name} as {OTHER_TYPES.get(kind, f'type {kind}')}, which is not read here",
        f"a GGUF file in {known}", "gguf_unsupported",
    )  # fmt: skip


def _ends(entry: TensorEntry, at: int, alignment: int) -> bool:
    """Say whether a tensor ends at a place, with or without what fills up the alignment."""
    return at in (entry.end, _aligned(entry.end, alignment))


def _halved(entry: TensorEntry) -> TensorEntry | None:
    """Return what a bfloat16 tensor is if its converter counted bytes as elements."""
    if entry.dtype != "BF16" or not entry.shape or entry.shape[-1] % 2:
        return None
    shape = (*entry.shape[:-1], entry.shape[-1] // 2)
    return replace(entry, shape=shape, end=entry.start + entry.bytes // 2)


def _original_shape(
    path: Path, fields: dict[str, Any], name: str, entry: TensorEntry
) -> TensorEntry:
    """Return the entry in the shape it had before a converter made it fit the format."""
    stated = fields.get(f"{ORIGINAL_SHAPE}{name}")
    if stated is None:
        return entry
    sides = stated if isinstance(stated, list) else []
    whole = all(type(side) is int and side >= 0 for side in sides)
    if not whole or prod(sides) != prod(entry.shape):
        raise refuse(
            path, f"has a damaged header (it states the shape {stated} for {name})", AGAIN,
            "not_gguf",
        )  # fmt: skip
    return replace(entry, shape=tuple(sides))
