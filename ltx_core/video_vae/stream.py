"""Running a network over a clip piece by piece in time, with the numbers of the whole clip.

Every layer looks at most two frames back (and, in a decoder that is not causal, one ahead). So a
layer that keeps its last two input frames can be fed consecutive pieces of a clip; a layer that
looks ahead answers one frame late and catches up on the last piece. What a clip leaves behind
between two pieces is one `Stream`; the modules themselves remember nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..ops.layers import Check

#: Where what a tile keeps rests while its neighbours are at work: a plan counts one tile at a time.
PARKED = torch.device("cpu")


class Stream:
    """What the layers keep of one clip between its pieces, and what the whole clip shares."""

    def __init__(
        self,
        *,
        timestep: Tensor | None = None,  # [B] float32, already scaled; conditioned decoders only
        draw: Callable[[int, int], Tensor] | None = None,  # (rows, columns) -> noise [H, W]
    ) -> None:
        self.timestep = timestep
        self.draw = draw
        self._kept: dict[tuple[nn.Module, str], Tensor] = {}
        self._begun: set[nn.Module] = set()

    def take(self, owner: nn.Module, slot: str = "") -> Tensor | None:
        """Return what `owner` kept, and forget it."""
        return self._kept.pop((owner, slot), None)

    def keep(self, owner: nn.Module, x: Tensor, slot: str = "") -> None:
        """Keep frames for the next piece. A view is copied, so that its base can be freed."""
        whole = x.untyped_storage().nbytes() == x.numel() * x.element_size()
        self._kept[owner, slot] = x if whole else x.clone()

    def joined(self, owner: nn.Module, x: Tensor, slot: str = "") -> Tensor:
        """Return what `owner` kept, followed by the frames of `x`."""
        kept = self.take(owner, slot)
        return x if kept is None else torch.cat((kept, x), dim=2)

    def delayed(self, owner: nn.Module, x: Tensor, frames: int, *, last: bool) -> Tensor:
        """Return the oldest `frames` of all that came in, first in first out."""
        queue = self.joined(owner, x, "queue")
        if not last and queue.shape[2] > frames:
            self.keep(owner, queue[:, :, frames:], "queue")
        return queue[:, :, :frames]

    def begins(self, owner: nn.Module) -> bool:
        """Say whether `owner` sees this clip for the first time."""
        new = owner not in self._begun
        self._begun.add(owner)
        return new

    def move(self, device: torch.device) -> None:
        """Bring everything kept to `device`."""
        self._kept = {key: tensor.to(device) for key, tensor in self._kept.items()}

    @property
    def kept_bytes(self) -> int:
        """Bytes kept between pieces now."""
        return sum(x.numel() * x.element_size() for x in self._kept.values())


class Stage(NamedTuple):
    """One step of a network: (frames [B, C, F, H, W], stream, is it the last piece) -> frames."""

    run: Callable[[Tensor, Stream, bool], Tensor]
    growth: float  # elements that come out per element that goes in


def run_stages(
    x: Tensor,  # [B, C, F, H, W]
    stages: Sequence[Stage],
    stream: Stream,
    *,
    last: bool,
    piece_elements: int | None,
    check: Check,
) -> Iterator[Tensor]:
    """Yield what the stages make of the next frames of a clip, in order of time.

    Where what goes into a stage or comes out of it would exceed `piece_elements`, the frames are
    split first (one frame is the least; None never splits), and each piece goes all the way to the
    end before the next one starts.
    """
    for number, stage in enumerate(stages):
        frames = x.shape[2]
        step = frames
        if piece_elements is not None:
            step = frames_at_once(x.numel() // frames, stage.growth, piece_elements)
        if step < frames:
            for start in range(0, frames, step):
                yield from run_stages(
                    x[:, :, start : start + step],
                    stages[number:],
                    stream,
                    last=last and start + step >= frames,
                    piece_elements=piece_elements,
                    check=check,
                )
            return
        check()
        x = stage.run(x, stream, last)
        if not x.shape[2]:  # everything waits for later frames
            return
    yield x


def frames_at_once(frame_elements: float, growth: float, piece_elements: int) -> int:
    """Return how many frames of a stage's input make one piece."""
    return max(1, int(piece_elements / (frame_elements * max(1.0, growth))))
