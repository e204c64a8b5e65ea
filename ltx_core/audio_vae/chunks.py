"""Cutting a long sound into pieces, each with enough of its surroundings to come out the same."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple


class Span(NamedTuple):
    """Frames [start, end) are wanted; for them, frames [first, last) must be computed."""

    start: int
    end: int
    first: int
    last: int


def spans(
    frames: int, at_once: int, *, before: int = 0, after: int = 0, multiple: int = 1
) -> Iterator[Span]:
    """Cut `frames` into as few near-equal spans of at most `at_once` as possible.

    Each is widened by `before` and `after` frames of context as far as there are any; `first` is
    moved down to a multiple of `multiple`. A clip that fits is one span without context.
    """
    count = max(1, -(-frames // max(1, at_once)))
    edges = [number * frames // count for number in range(count + 1)]
    for start, end in pairwise(edges):
        first = max(0, start - before) // multiple * multiple
        yield Span(start, end, first, min(frames, end + after))
