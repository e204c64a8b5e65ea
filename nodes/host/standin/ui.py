"""Results shown on a node: values that become the `ui` dictionary of its output."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .io import FolderType


class UIOutput(Protocol):
    """Anything that can be shown."""

    def as_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class SavedResult:
    """One file lying in one of the host's folders."""

    filename: str
    subfolder: str
    type: FolderType

    def as_dict(self) -> dict[str, str]:
        return {"filename": self.filename, "subfolder": self.subfolder, "type": self.type.value}


@dataclass(frozen=True, slots=True)
class PreviewText:
    """A line of text."""

    value: str

    def as_dict(self) -> dict[str, Any]:
        return {"text": (self.value,)}


@dataclass(frozen=True, slots=True)
class PreviewVideo:
    """Clips that lie in a folder."""

    values: Sequence[SavedResult]

    def as_dict(self) -> dict[str, Any]:
        return {"images": [value.as_dict() for value in self.values], "animated": (True,)}
