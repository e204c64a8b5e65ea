"""Without ComfyUI nobody serves pages."""

from collections.abc import Callable, Mapping
from typing import Any

Answer = Callable[[Mapping[str, str]], tuple[int, dict[str, Any]]]


def add_route(path: str, answer: Answer) -> None:
    """Do nothing: there is no server to ask."""
    del path, answer
