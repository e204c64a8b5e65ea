"""Facts of many files, each header read once for as long as the file stays the same."""

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from threading import Lock

from ..errors import LTX2Error
from .facts import FileFacts
from .header import LONGEST_HEADER
from .identify import identify

#: Path, bytes and time of change: together they tell whether a file is still the one that was read.
Stamp = tuple[tuple[str, int, int], ...]


#: Never unpickled: other formats are not even listed.
SUFFIXES = frozenset({".safetensors", ".sft", ".gguf"})
#: What a folder that is one model has in it.
CONFIGS = frozenset({"config.json", "model_index.json"})


#: Parts of tensor names of which every file of ours has one. Other files need not be parsed to be
#: left out of a list: parsing thousands of names takes fifty times as long as looking for these.
WORDS = (
    b"audio_adaln_single", b"embeddings_connector", b"text_embedding_projection",
    b"post_feedforward_layernorm", b"per_channel_statistics", b"encoder.conv_in.", b"conv_in_x_t",
    b"vocoder.", b"attention_pooler", b"post_upsample_res_blocks", b"lora", b'.diff"', b".diff_b",
    b".set_weight", b".dora_scale", b"_norm\"", b".hada_", b".lokr_", b".reshape_weight",
)  # fmt: skip


def may_be_ours(path: Path) -> bool:
    """Say whether a file can be one of LTX-2, at a glance. True where that takes reading it."""
    if path.suffix.lower() == ".gguf" or not path.is_file():
        return True
    try:
        with path.open("rb") as file:
            start = file.read(8)
            length = min(int.from_bytes(start, "little"), LONGEST_HEADER)
            text = file.read(length)
    except OSError:
        return True
    return not text.startswith(b"{") or any(word in text for word in WORDS)


def model_files(root: Path) -> Iterator[Path]:
    """Walk through a folder's model files, and folders that are one model as one thing."""
    seen: set[str] = set()
    for here, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(here)
        folders[:] = [] if real in seen else sorted(f for f in folders if not f.startswith("."))
        if real in seen:  # a link that leads back
            continue
        seen.add(real)
        if Path(here) != root and not CONFIGS.isdisjoint(names):
            folders[:] = []
            yield Path(here)
            continue
        for name in sorted(names):
            if Path(name).suffix.lower() in SUFFIXES:
                yield Path(here, name)


class FactsCache:
    """Remembers what files are. Owned by whoever lists folders; `clear` empties it."""

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._foreign: OrderedDict[Path, Stamp] = OrderedDict()
        self._lock = Lock()  # a server lists files beside a run
        self._known: OrderedDict[Path, tuple[Stamp, FileFacts | LTX2Error]] = OrderedDict()
        self._alike: OrderedDict[tuple[bytes, int], FileFacts] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def facts(self, path: Path) -> FileFacts:
        """Return what a file or folder is. Raises LTX2Error as `identify` does."""
        found = self.look(path)
        if isinstance(found, LTX2Error):
            raise LTX2Error(found.what, needed=found.needed, where=found.where, code=found.code)
        return found

    def look(self, path: Path) -> FileFacts | LTX2Error:
        """Return what a file is, or why that cannot be told."""
        now = stamp(path)
        with self._lock:
            known = self._known.get(path)
        if known is None or known[0] != now:
            known = (now, self._identified(path))
        with self._lock:
            self._known[path] = known
            self._known.move_to_end(path)
            while len(self._known) > self._limit:
                self._known.popitem(last=False)
        return known[1]

    def ours(self, path: Path) -> FileFacts | None:
        """Return what a file is if it is one of LTX-2 and whole; other models' are not parsed."""
        now = stamp(path)
        with self._lock:
            if self._foreign.get(path) == now:
                return None
            known = path in self._known
        if not known and not may_be_ours(path):
            with self._lock:
                self._foreign[path] = now
                while len(self._foreign) > self._limit:
                    self._foreign.popitem(last=False)
            return None
        found = self.look(path)
        return None if isinstance(found, LTX2Error) else found

    def listing(self, paths: Iterable[Path]) -> dict[Path, FileFacts | LTX2Error]:
        """Return what each of many files is, in the order given."""
        return {path: self.look(path) for path in paths}

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._known.clear()
            self._foreign.clear()
            self._alike.clear()

    def _identified(self, path: Path) -> FileFacts | LTX2Error:
        """Identify a file; one with the header and length of another is the same kind of file."""
        key = _header_key(path)
        with self._lock:
            alike = None if key is None else self._alike.get(key)
        if alike is not None:
            return replace(alike, path=path)
        try:
            found = identify(path)
        except LTX2Error as error:
            return error.with_traceback(None)
        # Quantised layers may be described in tensors, which the header does not hold.
        if key is not None and found.quant is None:
            with self._lock:
                self._alike[key] = found
                while len(self._alike) > self._limit:
                    self._alike.popitem(last=False)
        return found


def _header_key(path: Path) -> tuple[bytes, int] | None:
    """Return a digest of a safetensors header and the file's bytes; None for anything else."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if path.suffix.lower() == ".gguf" or not 0 < length <= min(LONGEST_HEADER, size - 8):
                return None
            return blake2b(start + file.read(length), digest_size=16).digest(), size
    except (OSError, ValueError):
        return None


def stamp(path: Path) -> Stamp:
    """Return what changes when a file, or a file in a folder or its sub-folders, changes."""
    try:
        found = [(str(file), file.stat()) for file in _files(path)]
    except OSError:
        return ()
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in found)


def _files(path: Path) -> list[Path]:
    """Return a file, or what lies in a folder: a diffusers folder is two levels deep."""
    if not path.is_dir():
        return [path]
    inside = sorted(path.iterdir())
    return [*inside, *(file for one in inside if one.is_dir() for file in sorted(one.iterdir()))]
