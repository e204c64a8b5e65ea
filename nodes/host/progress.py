"""What the user sees while a node runs, and how they stop it."""

import time
from collections.abc import Sequence
from importlib.util import find_spec
from types import TracebackType

from torch import Tensor

if find_spec("comfy_api"):
    from .comfyui.progress import Bar
    from .comfyui.progress import check as check
else:
    from .standin.progress import Bar
    from .standin.progress import check as check


class Progress:
    """The phases of one node's run, one after the other, each with a name and a number of steps.

    `with Progress(cls.hidden.unique_id) as progress: progress.phase("stage 1", 8)`.

    `seconds` holds how long each finished phase took, by name. A preview plays: every step shows
    the next of the frames it is given. Nothing here depends on ComfyUI's preview setting.
    """

    def __init__(self, unique_id: str | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._unique_id = unique_id
        self._bar: Bar | None = None
        self._name = ""
        self._began = 0.0
        self._shown = 0

    def phase(self, name: str, total: int = 1) -> None:
        """End the phase before, begin one of `total` steps."""
        self.finish()
        check()
        self._bar = Bar(self._unique_id, total)
        self._name, self._began = name, time.monotonic()
        self._bar.say(name)

    def step(self, done: int, frames: Sequence[Tensor] | None = None) -> None:
        """Say how many steps are done; `frames` ([h, w, 3] uint8 each) are the clip so far."""
        check()
        if self._bar is None:
            return
        picture = None
        if frames:
            picture = frames[self._shown % len(frames)].detach().cpu()
            self._shown += 1
        self._bar.show(done, picture)

    def say(self, text: str) -> None:
        """Put one line of text under the node, or beside the bar."""
        if self._bar is not None:
            self._bar.say(text)

    def finish(self) -> None:
        """End the phase that is on, if any."""
        if self._bar is None:
            return
        took = time.monotonic() - self._began
        self.seconds[self._name] = self.seconds.get(self._name, 0.0) + took
        self._bar.close()
        self._bar = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish()
