"""Named tensors of one file or one folder of shards, each read when asked for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..ops.packed import Packed
from .entries import LongArray, TensorEntry
from .folders import open_folder
from .header import LONGEST_DESCRIPTION, is_folder
from .packing import Packing, check_small_scales, packings_of
from .quantised import DESCRIPTION
from .reading import DTYPES, OpenFile, stored_shape

#: In memory -> as a file names it.
NAMES = {dtype: name for name, dtype in reversed(DTYPES.items())}


@dataclass(frozen=True, slots=True)
class _Stored(Mapping[str, Tensor]):
    """Tensors of open files: key -> which file, and where in it."""

    places: dict[str, tuple[OpenFile, TensorEntry]]

    def __getitem__(self, key: str) -> Tensor:
        file, entry = self.places[key]
        return file.tensor(entry)

    def __contains__(self, key: object) -> bool:
        return key in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


class Holding(Mapping[str, Tensor]):
    """Named tensors, some of which rest quantised. `self[name]` gives the numbers they stand for.

    What holds only plain tensors need not say more.
    """

    @property
    def identity(self) -> str:
        """Return what tells the file it comes from apart; "" where that is not known."""
        return ""

    def packing(self, name: str) -> Packing | None:
        """Return how a tensor is stored if it is quantised; costs nothing."""
        del name
        return None

    def packed(self, name: str) -> Packed | None:
        """Read a quantised tensor as it is stored; None if it is plain."""
        del name
        return None

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor's numbers."""
        return tuple(self[name].shape)

    def rows(self, name: str, numbers: Sequence[int]) -> Tensor:
        """Return rows [n, ...] of a tensor."""
        return self[name][torch.tensor(numbers, dtype=torch.long)]


class Weights(Holding):
    """A file's tensors by the names they have in it, with its metadata.

    `weights[key]` reads one tensor into memory of its own; keys, shapes, types and metadata cost
    nothing. A quantised one comes as the float32 numbers it stands for, its scales and descriptions
    are no keys of their own; `packed` gives it as it is stored. `name` is what messages call the
    file.
    """

    def __init__(
        self, name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], *,
        path: Path | None = None, shapes: Mapping[str, tuple[int, ...]] | None = None,
        digest: str = "",
    ) -> None:  # fmt: skip
        self.name = name
        self._digest = digest
        self.path = path
        self.metadata = dict(metadata)
        self._tensors = tensors
        self._places = tensors.places if isinstance(tensors, _Stored) else {}
        entries = {key: self._entry_of(key, shapes) for key in tensors}
        self._entries = entries
        blobs = {
            key: tensors[key].reshape(-1).view(torch.uint8).numpy().tobytes()
            for key, entry in entries.items()
            if key.endswith(DESCRIPTION) and entry.bytes <= LONGEST_DESCRIPTION
        }
        self._packings, beside = packings_of(name, entries, self.metadata, blobs)
        self._keys = {key: None for key in tensors if key not in beside}
        check_small_scales(name, self._packings, entries, tensors.__getitem__)

    def __getitem__(self, key: str) -> Tensor:
        packed = self.packed(key)
        return self._tensors[key] if packed is None else packed.dequantized(torch.float32)

    def __contains__(self, key: object) -> bool:  # Mapping's own would read the tensor
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def identity(self) -> str:
        """Return what tells the file from others of its name: that, and a digest of its header."""
        return f"{self.name}#{self._digest}" if self._digest else self.name

    @property
    def quantised(self) -> bool:
        """Say whether some tensors are."""
        return bool(self._packings)

    def packing(self, name: str) -> Packing | None:
        """Return how a tensor is stored if it is quantised; costs nothing."""
        return self._packings.get(name)

    def packed(self, name: str) -> Packed | None:
        """Read a quantised tensor as it is stored; None if it is plain."""
        packing = self._packings.get(name)
        return None if packing is None else packing.read(self.name, self._tensors.__getitem__)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without reading it; of a quantised one that of its numbers."""
        if name in self._packings:
            return self._packings[name].shape
        return stored_shape(self._entries[name])

    def entry(self, key: str) -> TensorEntry:
        """Return how a tensor is stored, without reading it; one that is in no file is at 0."""
        return self._entries[key]

    def _entry_of(self, key: str, shapes: Mapping[str, tuple[int, ...]] | None) -> TensorEntry:
        if key in self._places:
            return self._places[key][1]
        if shapes is not None:
            return TensorEntry("", shapes[key], 0, 0)
        tensor = self._tensors[key]
        return TensorEntry(NAMES.get(tensor.dtype, ""), tuple(tensor.shape), 0, tensor.nbytes)

    def rows(self, name: str, numbers: Sequence[int]) -> Tensor:
        """Return rows [n, ...] of a tensor; of a plain one or of blocks the others are not read."""
        packing = self._packings.get(name)
        if packing is not None and packing.gguf_type is not None and name in self._places:
            file, entry = self._places[name]
            if entry.row_bytes:
                stored = file.raw_rows(entry, numbers)
                shape = (len(numbers), *packing.shape[1:])
                taken = replace(packing, shape=shape).read(self.name, lambda _: stored)
                return taken.rows(slice(None))
        if (packed := self.packed(name)) is not None:
            return packed.rows(torch.tensor(numbers, dtype=torch.long))
        if name in self._places:
            file, entry = self._places[name]
            return file.rows(entry, numbers)
        return self._tensors[name][torch.tensor(numbers, dtype=torch.long)]

    def long_list(self, name: str) -> list[Any] | None:
        """Return a list of the metadata, wherever it was left; None if there is no such list."""
        value = self.metadata.get(name)
        if isinstance(value, LongArray):
            file = next(iter(self._places.values()))[0]  # lists are in GGUF, which has no shards
            return file.long_list(value)
        return value if isinstance(value, list) else None

    def check_unchanged(self) -> None:
        """Refuse to go on with a file that was written to since it was opened (`changed`)."""
        for file in {id(file): file for file, _ in self._places.values()}.values():
            file.check_unchanged()

    def section(self, name: str) -> dict[str, Any] | None:
        """Return one part of the metadata `config` (transformer, vae, ...), if it is there."""
        config = self.metadata.get("config")
        part = config.get(name) if isinstance(config, dict) else None
        return part if isinstance(part, dict) else None


def open_weights(path: Path) -> Weights:
    """Open a safetensors or GGUF file, a Hugging Face folder of shards, or a diffusers folder.

    The files stay open as long as the result lives. Raises LTX2Error (see `header.read_header`; for
    folders also `component_missing`); reading a tensor later raises `changed` or `unreadable`.
    """
    if is_folder(path):
        places, metadata, digest = open_folder(path)
    else:
        file = OpenFile(path)
        places = {key: (file, entry) for key, entry in file.header.tensors.items()}
        metadata, digest = file.header.metadata, file.header.digest
    try:
        return Weights(path.name, _Stored(places), metadata, path=path, digest=digest)
    except LTX2Error as error:  # what is wrong with a quantised layer does not know the folder
        raise LTX2Error(
            error.what, needed=error.needed, where=error.where or str(path.parent), code=error.code
        ) from None


def weights_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], name: str) -> Weights:
    """Wrap tensors that are already in memory (fixtures, tests) as if they came from a file."""
    return Weights(name, tensors, metadata)


def held_as(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Return a floating tensor in `dtype` (None: as stored); others are left alone."""
    if dtype is None or not tensor.is_floating_point():
        return tensor
    return tensor.to(dtype)
