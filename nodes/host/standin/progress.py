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


class Bar:
    """One phase as a bar on stderr."""

    def __init__(self, unique_id: str | None, total: int) -> None:
        del unique_id  # a terminal has no nodes
        self.bar = tqdm(total=max(total, 1), file=sys.stderr, leave=True)

    def show(self, done: int, picture: Any) -> None:
        """Move the bar; a terminal shows no `picture`."""
        del picture
        self.bar.update(done - self.bar.n)

    def say(self, text: str) -> None:
        """Put the line beside the bar."""
        self.bar.set_description(text)

    def close(self) -> None:
        """End the phase."""
        self.bar.close()
