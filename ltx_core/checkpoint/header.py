"""Reads the header of a model file: names, types, shapes, places, metadata. Never weights.

The header is parsed here and not by the library because a library accepts in silence what a user
must be told: a truncated file, a pointer, a web page saved under the wrong name, a key twice.
"""

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import LTX2Error
from .entries import DTYPE_BITS, Header, TensorEntry, check_json_size, json_or_text, refuse
from .gguf import MAGIC, read_gguf

#: Longest safetensors header read, in bytes. The format allows four times that; files have about 1.
LONGEST_HEADER = 25_000_000
#: Longest header the safetensors format allows: a longer one is something else.
FORMAT_LIMIT = 100_000_000
#: A tensor that describes (a few bytes of JSON, one number) is no longer than this.
LONGEST_DESCRIPTION = 4096


def read_header(path: Path) -> Header:
    """Read and check the header of one safetensors or GGUF file.

    Raises LTX2Error with code `not_found`, `directory`, `unreadable`, `empty`, `lfs_pointer`,
    `html_page`, `pickle`, `gguf_misnamed`, `truncated`, `not_safetensors`, `not_gguf` or
    `gguf_unsupported`.
    """
    try:
        with path.open("rb") as file:
            return header_of(path, file)
    except OSError as error:
        raise unreadable(path, error) from None


def header_of(path: Path, file: BinaryIO) -> Header:
    """Read and check the header of a file that is open, as `read_header` does."""
    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(512)
    if path.suffix.lower() == ".gguf":
        if start.startswith(MAGIC):
            header = read_gguf(path, file, size)
            said = repr((sorted(header.tensors.items()), sorted(header.metadata.items())))
            return replace(header, digest=digest_of(said.encode()))
        raise refuse(path, *_no_gguf(start, size))
    length = struct.unpack("<Q", start[:8])[0] if len(start) >= 8 else 0
    _check_start(path, start, size, length)
    file.seek(8)
    text = file.read(length)
    metadata, tensors = _parse(path, text, size)
    return Header(path, size, metadata, tensors, digest=digest_of(text))


def digest_of(said: bytes) -> str:
    """Return a short digest, to tell files apart by their headers."""
    return hashlib.sha256(said).hexdigest()[:16]


def read_small(header: Header, keys: Iterable[str]) -> dict[str, bytes]:
    """Read the bytes of tensors that describe; leave out those too long to be descriptions."""
    wanted = {
        key: header.tensors[key] for key in keys if header.tensors[key].bytes <= LONGEST_DESCRIPTION
    }
    found: dict[str, bytes] = {}
    if wanted:
        try:
            with header.path.open("rb") as file:
                for key, entry in sorted(wanted.items(), key=lambda item: item[1].start):
                    file.seek(entry.start)
                    found[key] = file.read(entry.bytes)
        except OSError as error:
            raise unreadable(header.path, error) from None
    return found


def scalar(dtype: str, stored: bytes) -> float | None:
    """Return the number a one-element floating tensor holds; None if it is something else."""
    if dtype == "BF16" and len(stored) == 2:
        return struct.unpack("<f", b"\0\0" + stored)[0]
    code = {"F16": "<e", "F32": "<f", "F64": "<d"}.get(dtype)
    if code is None or len(stored) != struct.calcsize(code):
        return None
    return struct.unpack(code, stored)[0]


def parse_metadata(values: dict[str, str]) -> dict[str, Any]:
    """Turn metadata strings into values where they are JSON, as the official loader does."""
    return {key: json_or_text(value) for key, value in values.items()}


def stated_generation(metadata: Mapping[str, Any]) -> str | None:
    """Return the generation that `model_version` states ("2.3.0-rc1" is "2.3"), if it parses."""
    numbers: list[int] = []
    for part in str(metadata.get("model_version", "")).replace("-", ".").split("."):
        if not (part.isascii() and part.isdigit() and len(part) < 5):
            break
        numbers.append(int(part))
    return f"{numbers[0]}.{numbers[1] if len(numbers) > 1 else 0}" if numbers else None


def read_json(path: Path) -> dict[str, Any]:
    """Read a small JSON file that lies beside weights. Raises LTX2Error `config_unsupported`."""
    try:
        values = json.loads(path.read_text("utf-8"))
        if isinstance(values, dict):
            return values
    except (ValueError, RecursionError, OSError):
        pass
    raise LTX2Error(
        f"{path.name} is damaged.", needed="the file as published; download it again",
        where=str(path.parent), code="config_unsupported",
    )  # fmt: skip


def is_folder(path: Path) -> bool:
    """Say whether a path is a folder; of one that no system can have, opening it says more."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def unreadable(path: Path, error: OSError) -> LTX2Error:
    """Return the error for a path that the system does not let us read."""
    if isinstance(error, FileNotFoundError):
        return LTX2Error(
            f"{path.name} is not there.",
            needed="the file",
            where=str(path.parent),
            code="not_found",
        )
    code = "directory" if isinstance(error, IsADirectoryError) else "unreadable"
    said = (
        "is a folder, not a file" if code == "directory" else f"cannot be read ({error.strerror})"
    )
    return LTX2Error(
        f"{path.name} {said}.", needed="a safetensors file", where=str(path.parent), code=code
    )


def _check_start(path: Path, start: bytes, size: int, length: int) -> None:
    """Recognise by its first bytes what is not a safetensors file."""
    # First, since a header of 640 bytes begins like a pickle, one of 123 like JSON text.
    if length > FORMAT_LIMIT or start[8:9] != b"{":
        raise refuse(path, *_something_else(start, size))
    if length > LONGEST_HEADER:
        raise refuse(
            path, f"states a header of {length:,} bytes, which no model needs", AGAIN,
            "not_safetensors",
        )  # fmt: skip
    if 8 + length > size:
        raise refuse(
            path, f"is incomplete: its header alone needs {8 + length:,} bytes, it has {size:,}",
            AGAIN, "truncated",
        )  # fmt: skip


#: What helps where the file came over damaged.
AGAIN = "the file itself; download it again"
#: First bytes, lower case -> what is wrong, what is needed, code.
BEGINNINGS: tuple[tuple[tuple[bytes, ...], tuple[str, str, str]], ...] = (
    (
        (b"<!doctype", b"<html", b"<?xml"),
        (
            "is an HTML page saved under this name, usually a login or error page",
            "the weights; accept the licence on the model's page, then download again",
            "html_page",
        ),
    ),
    (
        (b"pk\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        (
            "is a pickle or zip file, which can run code when opened",
            "a .safetensors file",
            "pickle",
        ),
    ),
    (
        (b"gguf",),
        ("is a GGUF file under a safetensors name", "its name to end in .gguf", "gguf_misnamed"),
    ),
    (
        (b"{", b"["),
        ("is a short text, often a server's error message", AGAIN, "not_safetensors"),
    ),
)


def _something_else(start: bytes, size: int) -> tuple[str, str, str]:
    """Return what is wrong, what is needed and the code for a file that is no safetensors file."""
    if size == 0:
        return "is empty (0 bytes): the download did not finish", AGAIN, "empty"
    if start.startswith(b"version https://git-lfs"):
        return _pointer(start), "the weights themselves; download the file", "lfs_pointer"
    head = start.lstrip().lower()
    for beginnings, answer in BEGINNINGS:
        if head.startswith(beginnings):
            return answer
    if size < 10:  # the shortest header has two bytes after its length
        return f"is incomplete: it has {size} bytes", AGAIN, "truncated"
    return "is not a safetensors file", "a .safetensors file", "not_safetensors"


def _no_gguf(start: bytes, size: int) -> tuple[str, str, str]:
    """Return what is wrong, what is needed and the code for a .gguf file that is none."""
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= FORMAT_LIMIT:
        needed = "its name to end in .safetensors"
        return "is a safetensors file under a GGUF name", needed, "not_gguf"
    what, needed, code = _something_else(start, size)
    if code == "not_safetensors":
        return what.replace("safetensors", "GGUF"), "a GGUF file", "not_gguf"
    return what, needed, code


def _pointer(start: bytes) -> str:
    size = next((w for w in start.split() if w.isdigit()), b"")
    real = f" (the real file has {int(size):,} bytes)" if size else ""
    return f"is a Git LFS pointer, a line of text that stands for the weights{real}"


class _TwiceError(ValueError):
    """A key stands twice in one JSON object."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):  # rare, so that thousands of tensors cost little
        keys = [key for key, _ in pairs]
        raise _TwiceError(next(key for key in keys if keys.count(key) > 1))
    return found


def _parse(path: Path, text: bytes, size: int) -> tuple[dict[str, Any], dict[str, TensorEntry]]:
    again = "an undamaged file; download it again"
    try:
        decoded = text.decode("utf-8")
        check_json_size(decoded)
        values = json.loads(decoded, object_pairs_hook=_unique)
        metadata = values.pop("__metadata__", {})
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("metadata that is not text")
        base = 8 + len(text)
        tensors = {key: _entry(value, base) for key, value in values.items()}
    except _TwiceError as error:
        raise refuse(path, f"names {error} twice in its header", again, "not_safetensors") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise refuse(path, "has a damaged header", again, "not_safetensors") from None
    needed = max((entry.end for entry in tensors.values()), default=base)
    if size < needed:
        raise refuse(
            path,
            f"is incomplete: {needed:,} bytes are expected, it has {size:,}",
            again,
            "truncated",
        )
    _check_places(path, tensors, base, size)
    return parse_metadata(metadata), tensors


def _entry(value: dict[str, Any], base: int) -> TensorEntry:
    dtype, shape = value["dtype"], tuple(value["shape"])
    start, end = value["data_offsets"]
    numbers = (*shape, start, end)
    if {*map(type, numbers)} != {int} or min(numbers) < 0:
        raise ValueError("a size that is not a number")
    if (end - start) * 8 != prod(shape) * DTYPE_BITS[dtype]:
        raise ValueError("a tensor whose bytes do not fit its shape")
    return TensorEntry(dtype, shape, base + start, base + end)


def _check_places(path: Path, tensors: dict[str, TensorEntry], base: int, size: int) -> None:
    """Tensors must cover the rest of the file without gap or overlap, as the format demands."""
    at = base
    for entry in sorted(tensors.values(), key=lambda entry: (entry.start, entry.end)):
        if entry.start != at:
            raise refuse(
                path,
                "has tensors that overlap or leave gaps",
                "an undamaged file",
                "not_safetensors",
            )
        at = entry.end
    if at != size:
        raise refuse(
            path, f"has {size - at:,} bytes more than its header names",
            "an undamaged file", "not_safetensors",
        )  # fmt: skip
