"""What the user sees while a node runs, and how they stop it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from torch import Tensor

if find_spec("comfy_api"):
    from .comfyui.progress import Bar, running_node
    from .comfyui.progress import check as check
else:
    from .standin.progress import Bar, running_node
    from .standin.progress import check as check


class Progress:
    """The phases of one node's run, one after the other, each with a name and a number of steps.

    `with progress.phase("stage 1", 8): ... progress.part(done)`. `seconds` holds how long each
    finished phase took, by name. A preview plays: every step shows the next of the frames it is
    given. Nothing here depends on ComfyUI's preview setting.
    """

    def __init__(self, unique_id: str | None) -> None:
        self.seconds: dict[str, float] = {}
        self._unique_id = unique_id
        self._bar: Bar | None = None
        self._shown = 0

    @classmethod
    def of_this_node(cls) -> "Progress":
        """Follow the node that is executed now."""
        return cls(running_node())

    def check(self) -> None:
        """Raise the host's own exception if the run was cancelled. Never catch it."""
        check()

    @contextmanager
    def phase(self, name: str, total: int = 1) -> Iterator["Progress"]:
        """Show one phase of `total` steps under its name, and measure it."""
        check()
        outer, began = self._bar, time.monotonic()
        self._bar = bar = Bar(self._unique_id, name, total)
        try:
            yield self
        finally:
            bar.close()
            self._bar = outer
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began

    def part(
        self, done: int, total: int | None = None, frames: Sequence[Tensor] | None = None
    ) -> None:
        """Say how much of the phase is done.

        `frames` ([h, w, 3] uint8 each) are the clip so far, shown as a preview.
        """
        check()
        if self._bar is None:
            return
        picture = None
        if frames:
            picture = frames[self._shown % len(frames)].detach().cpu()
            self._shown += 1
        self._bar.show(done, total, picture)

    def say(self, text: str) -> None:
        """Put one line of text under the node, or beside the bar."""
        if self._bar is not None:
            self._bar.say(text)
