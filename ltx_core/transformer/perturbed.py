"""Which parts of which block run, from what each item of the batch leaves out."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from .attention import Keep
from .block import Kept
from .inputs import Perturbation


def kept_parts(
    perturbations: Sequence[Perturbation] | None, num_blocks: int, *, like: Tensor
) -> Iterator[Kept]:
    """Yield one `Kept` per block; tensors have the device and dtype of `like` [B, ...]."""
    if not perturbations:
        yield from (Kept() for _ in range(num_blocks))
        return
    assert len(perturbations) == like.shape[0], "one perturbation per item of the batch"
    known: dict[tuple[bool, ...], Keep] = {}
    for block in range(num_blocks):
        yield Kept(
            video_self=_keep([p.skip_video_self for p in perturbations], block, like, known),
            audio_self=_keep([p.skip_audio_self for p in perturbations], block, like, known),
            a2v=_keep([p.skip_a2v for p in perturbations], block, like, known),
            v2a=_keep([p.skip_v2a for p in perturbations], block, like, known),
        )


def _keep(
    skipped: Sequence[frozenset[int] | None],
    block: int,
    like: Tensor,
    known: dict[tuple[bool, ...], Keep],
) -> Keep:
    pattern = tuple(blocks is not None and block not in blocks for blocks in skipped)
    if pattern not in known:
        mixed = any(pattern) and not all(pattern)
        known[pattern] = like.new_tensor(pattern).view(-1, 1, 1) if mixed else pattern[0]
    return known[pattern]
