"""What a node has to say when it is done: for people (`text`) and for programs (`ltx2`)."""

from typing import Any


def told(*lines: str, **facts: Any) -> dict[str, tuple[Any, ...]]:
    """Return a node's `ui` value: lines of text, and one object of facts under `ltx2`."""
    return {"text": tuple(lines), "ltx2": (facts,)}
