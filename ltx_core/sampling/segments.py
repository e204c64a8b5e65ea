"""How a clip is cut where its frame rate is doubled in rounds: segments, seams, tiles.

Numbers only, in pixel frames. Segments have 24 or 32 frames; their ends are keyframes, called seams
once a round works on them. A tile is a run of segments that is generated at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

#: Segment lengths, the one preferred at equal padding first.
SEGMENTS = (32, 24)


@dataclass(frozen=True, slots=True)
class Canvas:
    """The clip that is really generated, at least as long as the one asked for."""

    frames: int
    segment: int
    keyframes: tuple[int, ...]  # end of every segment; the last one is the last frame


@dataclass(frozen=True, kw_only=True, slots=True)
class TemporalTile:
    """One run of segments, from frame `start` to frame `end`, both included."""

    start: int
    end: int
    anchors: tuple[int, ...]  # seams inside, given; without the clip's frame 0
    slots: tuple[int, ...]  # middles of the segments, generated
    drop: int  # latent frames at the beginning that the tile before already has

    @property
    def latent_frames(self) -> slice:
        """Return which latent frames of the clip the tile covers."""
        return slice(self.start // 8, self.end // 8 + 1)


def canvas_of(frames: int) -> Canvas:
    """Return the canvas for `frames` (8k + 1, at least 9), padded as little as possible."""
    content = frames - 1
    segment = min(SEGMENTS, key=lambda length: -content % length)
    content += -content % segment
    return Canvas(content + 1, segment, tuple(range(segment, content + 1, segment)))


def doubled(frames: int, keyframes: Iterable[int]) -> tuple[int, tuple[int, ...]]:
    """Return the frames and the seams once the frame rate is doubled."""
    return 2 * (frames - 1) + 1, tuple(2 * keyframe for keyframe in keyframes)


def temporal_tiles(seams: tuple[int, ...], tile_count: int) -> tuple[TemporalTile, ...]:
    """Cut the segments that end at `seams` into runs, longer ones first.

    Every tile but the first begins one segment early, so that it continues what is there.
    """
    bounds = (0, *seams)
    count = min(tile_count, len(seams))
    short, longer = divmod(len(seams), count)
    tiles = []
    own = 0  # number of the run's first segment
    for number in range(count):
        after = own + short + (number < longer)
        first = max(0, own - 1)
        inside = bounds[first : after + 1]
        tiles.append(
            TemporalTile(
                start=inside[0],
                end=inside[-1],
                anchors=tuple(seam for seam in inside if seam != 0),
                slots=tuple((a + b) // 2 for a, b in pairwise(inside)),
                drop=(bounds[own] - inside[0]) // 8 + 1 if own else 0,
            )
        )
        own = after
    return tuple(tiles)


def next_keyframes(tiles: Iterable[TemporalTile], seams: Iterable[int]) -> tuple[int, ...]:
    """Return the keyframes after a round: its seams and everything its tiles generated."""
    return tuple(sorted({*seams, *(slot for tile in tiles for slot in tile.slots)}))
