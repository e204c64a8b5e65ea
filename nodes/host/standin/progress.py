"""Progress as lines on the terminal; cancelling by a flag of the host."""

import sys
from typing import Any

from tqdm import tqdm

from .host import current


class Cancelled(BaseException):
    """The run was cancelled. Not an `Exception`, so that no handler takes it for a failure."""


def check() -> None:
    """Raise Cancelled if the host was told to stop. Never catch it in a node."""
    if current().cancelled.is_set():
        raise Cancelled


def running_node() -> str | None:
    """Return nothing: a terminal has no nodes to write under."""
    return None


class Bar:
    """One phase as a bar on stderr."""

    def __init__(self, unique_id: str | None, name: str, total: int) -> None:
        del unique_id
        self.bar = tqdm(total=max(total, 1), desc=name, file=sys.stderr, leave=True)

    def show(self, done: int, total: int | None, picture: Any) -> None:
        """Move the bar; a terminal shows no `picture`."""
        del picture
        self.bar.total = max(total or self.bar.total, done)
        self.bar.update(done - self.bar.n)

    def say(self, text: str) -> None:
        """Put the line beside the bar."""
        self.bar.set_postfix_str(text)

    def close(self) -> None:
        """End the phase."""
        self.bar.close()
