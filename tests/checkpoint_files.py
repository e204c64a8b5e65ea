"""Files made for tests: headers written by hand, and good files with something changed."""

import gzip
import json
import os
import re
import struct
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from golden import MANIFESTS
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor


def raw_file(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    """Write a safetensors file with this header (bytes, or JSON), stating `length` for it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def plain_header(**changes: Any) -> dict[str, Any]:
    """Return the header of a file with two float32 tensors, 24 bytes in all."""
    header = {
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [16, 24]},
    }
    return {key: value for key, value in {**header, **changes}.items() if value is not None}


def manifest(*names: str) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of published files, together as if they were one."""
    found: dict[str, tuple[int, ...]] = {}
    for name in names:
        table = json.loads(gzip.decompress((MANIFESTS / f"{name}.json.gz").read_bytes()))
        found |= {key: tuple(side or 8 for side in shape) for key, shape in table.items()}
    return found


def header_only(
    path: Path,
    shapes: Mapping[str, Sequence[int]],
    metadata: Mapping[str, str] | None = None,
    *,
    dtypes: Mapping[str, str] | None = None,
    contents: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a file of tensors of full size whose content is zeros that take no room on disk.

    They are bfloat16 where `dtypes` does not say otherwise; `contents` are put in.
    """
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for key, shape in shapes.items():
        dtype = (dtypes or {}).get(key, "BF16")
        start, end = end, end + {"BF16": 2, "F32": 4}.get(dtype, 1) * prod(shape)
        entries[key] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    path.parent.mkdir(parents=True, exist_ok=True)
    base = raw_file(path, entries).stat().st_size
    os.truncate(path, base + end)
    with path.open("r+b") as file:
        for key, content in (contents or {}).items():
            file.seek(base + entries[key]["data_offsets"][0])
            file.write(content)
    return path


def tensors_of(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a whole file: tensors and metadata."""
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118


def derived(source: Path, target: Path, change: dict[str, Any]) -> Path:
    """Write `source` with the changes of a `_derived` entry of expected.json."""
    tensors, metadata = tensors_of(source)
    if drop := change.get("drop_regex"):
        tensors = {key: value for key, value in tensors.items() if not re.search(drop, key)}
    for key in change.get("drop_metadata", ()):
        del metadata[key]
    metadata |= change.get("set_metadata", {})
    if blob := change.get("replace_comfy_quant"):
        text = torch.tensor(list(json.dumps(blob["json"]).encode()), dtype=torch.uint8)
        for key in [key for key in tensors if key.endswith(".comfy_quant")]:
            if re.search(blob["layer_regex"], key.removesuffix(".comfy_quant")):
                tensors[key] = text.clone()
    save_file(tensors, target, metadata)
    return target
