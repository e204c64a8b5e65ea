"""What ComfyUI would own: folders, the device, the wish to stop. The runner owns it here."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch

from ....ltx_core.checkpoint.part import Part


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Host:
    """One run's surroundings. `models` are folders laid out like ComfyUI's own `models`."""

    models: tuple[Path, ...] = ()
    input: Path = Path("input")
    output: Path = Path("output")
    temp: Path = Path("temp")
    #: Whether saved files carry the workflow.
    metadata: bool = True
    #: Where networks run; None takes a GPU if there is one.
    device: torch.device | None = None
    #: Set from another thread or a signal handler to end the run at the next check.
    cancelled: threading.Event = field(default_factory=threading.Event)
    #: Parts on the device, the one used last at the end; one that nobody needs any more is gone.
    placed: "WeakKeyDictionary[Part[Any], None]" = field(default_factory=WeakKeyDictionary)
    #: Parts that compute now, once for each `with` block.
    at_work: list[Part[Any]] = field(default_factory=list)


#: What a plain Python prompt gets, where nobody has named a host.
_NOBODYS = Host()
_CURRENT: ContextVar[Host | None] = ContextVar("host", default=None)


def current() -> Host:
    """Return the surroundings of the run that is on."""
    return _CURRENT.get() or _NOBODYS


@contextmanager
def hosted(host: Host) -> Iterator[Host]:
    """Let nodes see `host` for the time of a `with` block."""
    token = _CURRENT.set(host)
    try:
        yield host
    finally:
        _CURRENT.reset(token)
