"""Progress, previews and cancelling through ComfyUI."""

from typing import Any

from comfy import model_management  # pyright: ignore[reportMissingImports]
from comfy.utils import ProgressBar  # pyright: ignore[reportMissingImports]
from comfy_execution.utils import get_executing_context  # pyright: ignore[reportMissingImports]
from PIL import Image

#: The longer side of a preview, in pixels.
PREVIEW_SIZE = 512


def check() -> None:
    """Raise ComfyUI's own exception if the user has cancelled the run. Never catch it."""
    model_management.throw_exception_if_processing_interrupted()


def running_node() -> str | None:
    """Return the id of the node that is executed now."""
    context = get_executing_context()
    return None if context is None else context.node_id


class Bar:
    """One phase on the node that runs: a bar, the preview above it, a line of text below."""

    def __init__(self, unique_id: str | None, name: str, total: int) -> None:
        self.unique_id = unique_id
        self.total = max(total, 1)
        self.bar = ProgressBar(self.total, unique_id)
        self.say(name)

    def show(self, done: int, total: int | None, picture: Any) -> None:
        """Move the bar; `picture` is a frame [h, w, 3] uint8 on the CPU, or None."""
        self.total = max(total or self.total, done, 1)
        preview = None
        if picture is not None:
            preview = ("JPEG", Image.fromarray(picture.numpy()), PREVIEW_SIZE)
        self.bar.update_absolute(done, self.total, preview)

    def say(self, text: str) -> None:
        """Put a line under the node, where a server is there to show it."""
        from server import PromptServer  # pyright: ignore[reportMissingImports]

        server = getattr(PromptServer, "instance", None)
        if server is not None and self.unique_id is not None:
            server.send_progress_text(text, self.unique_id)

    def close(self) -> None:
        """End the phase."""
