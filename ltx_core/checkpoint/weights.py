"""Named tensors of one file or one folder of shards, memory-mapped and read when asked for."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import LTX2Error
from .header import Header, TensorEntry, read_header, read_json


class Weights(Mapping[str, Tensor]):
    """A file's tensors by the names they have in it, with its metadata.

    `weights[key]` reads one tensor (a view of the mapped file); keys, shapes and metadata cost
    nothing. `name` is what messages call the file.
    """

    def __init__(
        self,
        name: str,
        tensors: Mapping[str, Tensor],
        metadata: Mapping[str, Any],
        *,
        path: Path | None = None,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.metadata = dict(metadata)
        self._tensors = tensors
        self._shapes = shapes

    def __getitem__(self, key: str) -> Tensor:
        return self._tensors[key]

    def __contains__(self, key: object) -> bool:  # Mapping's own would read the tensor
        return key in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def shape(self, key: str) -> tuple[int, ...]:
        """Return a tensor's shape without reading it."""
        return self._shapes[key] if self._shapes is not None else tuple(self._tensors[key].shape)

    def section(self, name: str) -> dict[str, Any] | None:
        """Return one part of the metadata `config` (transformer, vae, ...), if it is there."""
        config = self.metadata.get("config")
        part = config.get(name) if isinstance(config, dict) else None
        return part if isinstance(part, dict) else None


@dataclass(frozen=True, slots=True)
class _Mapped(Mapping[str, Tensor]):
    """Tensors of mapped safetensors files; key -> which file."""

    files: dict[str, Path]
    handles: dict[Path, Any]

    def __getitem__(self, key: str) -> Tensor:
        return self.handles[self.files[key]].get_tensor(key)

    def __contains__(self, key: object) -> bool:
        return key in self.files

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


def open_weights(path: Path) -> Weights:
    """Open a safetensors file, or a Hugging Face folder of shards.

    Raises LTX2Error (see `header.read_header`; for folders also `component_missing`).
    """
    headers = shard_headers(path) if path.is_dir() else [read_header(path)]
    files = {key: header.path for header in headers for key in header.tensors}
    entries: dict[str, TensorEntry] = {
        k: e for header in headers for k, e in header.tensors.items()
    }
    handles = {header.path: _mapped(header.path) for header in headers}
    metadata = {key: value for header in headers for key, value in header.metadata.items()}
    if (config := path / "config.json").is_file():  # a Hugging Face folder says there what it holds
        metadata["config"] = read_json(config)
    return Weights(
        path.name,
        _Mapped(files, handles),
        metadata,
        path=path,
        shapes={key: entry.shape for key, entry in entries.items()},
    )


def _mapped(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:  # a dtype the library lacks; a file just removed
        raise LTX2Error(
            f"{path.name} cannot be opened ({error}).",
            needed="an undamaged file, or a newer safetensors package", where=str(path.parent),
            code="unreadable",
        ) from None  # fmt: skip


def shard_headers(folder: Path) -> list[Header]:
    """Read the headers of all shards an index names, or of all safetensors files of a folder."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        found = sorted(folder.glob("*.safetensors"))
        if not found:
            raise LTX2Error(
                f"{folder.name} holds no safetensors file.", needed="model*.safetensors",
                where=str(folder), code="component_missing",
            )  # fmt: skip
        return [read_header(file) for file in found]
    try:
        table = json.loads(index.read_text("utf-8"))["weight_map"]
        names = sorted({str(name) for name in table.values()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError):
        raise LTX2Error(
            f"{index.name} is damaged.", needed="the index of the shards; download it again",
            where=str(folder), code="not_safetensors",
        ) from None  # fmt: skip
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise LTX2Error(
            f"{folder.name} is incomplete: {', '.join(missing)} missing.",
            needed=f"all {len(names)} shards", where=str(folder), code="component_missing",
        )  # fmt: skip
    return [read_header(folder / name) for name in names]


def weights_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], name: str) -> Weights:
    """Wrap tensors that are already in memory (fixtures, tests) as if they came from a file."""
    return Weights(name, tensors, metadata)


def held_as(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Return a floating tensor in `dtype` (None: as stored); others are left alone."""
    if dtype is None or not tensor.is_floating_point():
        return tensor
    return tensor.to(dtype)
