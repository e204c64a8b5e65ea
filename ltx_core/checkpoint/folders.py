"""Models that come as folders: a language model of Hugging Face, or a model of diffusers.

A diffusers folder has a sub-folder per part, each with its config and one or many files; also one
of these sub-folders alone is taken. Its tensors appear under their official names.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from ..errors import LTX2Error
from .diffusers_config import official_config
from .diffusers_keys import Official, official_names
from .entries import Header, TensorEntry
from .header import digest_of, read_header, read_json
from .reading import OpenFile

INDEX = "model_index.json"
#: How files of one part may begin.
STEMS = ("model", "diffusion_pytorch_model")
#: Sub-folders of diffusers that hold parts of LTX-2, in the order they are read.
PARTS = ("transformer", "connectors", "vae", "audio_vae", "vocoder", "duration_head",
         "text_encoder")  # fmt: skip
#: What the class in the config of one part alone has in its name -> the part.
CLASSES = (
    ("LTX2VideoTransformer", "transformer"), ("LTX2TextConnectors", "connectors"),
    ("AutoencoderKLLTX2Video", "vae"), ("LTX2VideoDiffusionDecoder", "diffusion_decoder"),
    ("AutoencoderKLLTX2Audio", "audio_vae"), ("LTX2Vocoder", "vocoder"),
    ("LTX2DurationHead", "duration_head"),
)  # fmt: skip
TOKENIZERS = ("tokenizer.json", "tokenizer.model")


class Opened(Protocol):
    """A file whose header was read."""

    @property
    def header(self) -> Header: ...


AnyFile = TypeVar("AnyFile", bound=Opened)


class Piece(NamedTuple):
    """Some files of a folder that belong together."""

    part: str  # of `PARTS`; "" is a language model's folder, whose names stay
    folder: Path


def is_diffusers(folder: Path) -> bool:
    """Say whether a folder is in the layout of diffusers."""
    return bool(pieces(folder)[0].part)


def pieces(folder: Path) -> list[Piece]:
    """Return what a folder consists of. Raises LTX2Error (`component_missing`)."""
    if (folder / INDEX).is_file():
        found = [Piece(part, folder / part) for part in PARTS if (folder / part).is_dir()]
        if not found:
            raise LTX2Error(
                f"{folder.name} is a diffusers folder without any part of LTX-2 in it.",
                needed=f"the sub-folders {', '.join(PARTS)}", where=str(folder),
                code="component_missing",
            )  # fmt: skip
        return found
    name = str(_if_readable(folder / "config.json").get("_class_name", ""))
    return [Piece(next((part for start, part in CLASSES if name.startswith(start)), ""), folder)]


def shard_files(folder: Path) -> list[Path]:
    """Return all shards an index names, or the one file, or all safetensors files of a folder."""
    index = next(
        (i for s in STEMS if (i := folder / f"{s}.safetensors.index.json").is_file()), None
    )
    if index is not None:
        return _indexed(folder, index)
    whole = [file for stem in STEMS if (file := folder / f"{stem}.safetensors").is_file()]
    found = whole[:1] or sorted(folder.glob("*.safetensors"))
    if not found:
        raise LTX2Error(
            f"{folder.name} holds no safetensors file.", needed="model*.safetensors",
            where=str(folder), code="component_missing",
        )  # fmt: skip
    return found


def _indexed(folder: Path, index: Path) -> list[Path]:
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
    return [folder / name for name in names]


class Thirds(OpenFile):
    """A tensor that lies in several, one behind the other along the rows."""

    def __init__(self, parts: Sequence[tuple[OpenFile, TensorEntry]]) -> None:
        self.path = parts[0][0].path
        self.header = parts[0][0].header
        self._parts = parts

    def check_unchanged(self) -> None:
        for file, _ in self._parts:
            file.check_unchanged()

    def tensor(self, entry: TensorEntry) -> Tensor:
        del entry
        return torch.cat([file.tensor(part) for file, part in self._parts])

    def rows(self, entry: TensorEntry, numbers: Sequence[int]) -> Tensor:
        return self.tensor(entry)[torch.tensor(numbers, dtype=torch.long)]


def _digest(files: Iterable[Opened]) -> str:
    return digest_of(" ".join(file.header.digest for file in files).encode())


def open_folder(
    folder: Path,
) -> tuple[dict[str, tuple[OpenFile, TensorEntry]], dict[str, Any], str]:
    """Open all files of a folder; return tensor -> where it lies, the metadata, and a digest.

    Raises LTX2Error (`component_missing`, and as `read_header`).
    """
    files, sources, metadata = _read(folder, OpenFile, read_json)
    places: dict[str, tuple[OpenFile, TensorEntry]] = {}
    for name, keys in sources.items():
        parts = [(files[part], entry) for part, entry in keys]
        places[name] = parts[0] if len(parts) == 1 else (Thirds(parts), _joined(keys))
    return places, metadata, _digest(files)


def _if_readable(config: Path) -> dict[str, Any]:
    try:
        return read_json(config)
    except LTX2Error:
        return {}


class _HeaderOnly(NamedTuple):
    header: Header


def folder_header(folder: Path) -> Header:
    """Return a folder as one header, as if all its tensors were in one file.

    A damaged config is passed over here: what the folder is, its tensors show.
    """
    files, sources, metadata = _read(
        folder, lambda path: _HeaderOnly(read_header(path)), _if_readable
    )
    tensors = {name: _joined(keys) for name, keys in sources.items()}
    size = sum(file.header.file_bytes for file in files)
    return Header(folder, size, metadata, tensors, digest=_digest(files))


def folder_headers(folder: Path) -> list[Header]:
    """Read the header of every file of a folder."""
    return [read_header(file) for piece in pieces(folder) for file in shard_files(piece.folder)]


def tokenizer_folder(folder: Path) -> Path | None:
    """Return where a folder keeps its tokenizer, if it has one."""
    places = (folder / "tokenizer", folder, folder / "text_encoder")
    return next(
        (place for place in places if any((place / name).is_file() for name in TOKENIZERS)), None
    )


#: Official name -> number of the file, and entry there, of each tensor that makes it up.
Sources = dict[str, list[tuple[int, TensorEntry]]]


def _read(
    folder: Path,
    open_file: Callable[[Path], AnyFile],
    read_config: Callable[[Path], dict[str, Any]],
) -> tuple[list[AnyFile], Sources, dict[str, Any]]:
    files: list[AnyFile] = []
    sources: Sources = {}
    metadata: dict[str, Any] = {}
    configs: dict[str, Mapping[str, Any]] = {}
    for piece in pieces(folder):
        entries: dict[str, tuple[int, TensorEntry]] = {}
        for path in shard_files(piece.folder):
            file = open_file(path)
            entries |= {key: (len(files), entry) for key, entry in file.header.tensors.items()}
            metadata |= file.header.metadata
            files.append(file)
        sources |= _by_official_name(official_names(piece.part, entries), entries)
        if (config := piece.folder / "config.json").is_file():
            configs[piece.part] = read_config(config)
    if "" in configs:  # a Hugging Face folder says there what it holds
        metadata["config"] = configs[""]
    elif any(configs):
        two = "text_embedding_projection.video_aggregate_embed.weight" in sources
        metadata["config"] = official_config(configs, two_projections=two)
        if "text_encoder" in configs:
            metadata["gemma_config"] = dict(configs["text_encoder"])
    return files, sources, metadata


def _by_official_name(
    names: Mapping[str, Official], entries: Mapping[str, tuple[int, TensorEntry]]
) -> Sources:
    """Collect what belongs to each official tensor, thirds in their order."""
    ordered: Iterable[tuple[str, Official]] = sorted(
        names.items(), key=lambda item: item[1].third or 0
    )
    found: Sources = {}
    for key, official in ordered:
        found.setdefault(official.name, []).append(entries[key])
    return found


def _joined(parts: Sequence[tuple[int, TensorEntry]]) -> TensorEntry:
    """Return the entry of several tensors one behind the other along the rows."""
    first = parts[0][1]
    if len(parts) == 1:
        return first
    rows = sum(entry.shape[0] if entry.shape else 1 for _, entry in parts)
    size = sum(entry.bytes for _, entry in parts)
    return TensorEntry(first.dtype, (rows, *first.shape[1:]), 0, size)
