"""Reorderings between positions and channels.

Letters: a frames, d rows, e columns that become channels; p the side of a pixel patch.
"""

from einops import rearrange
from torch import Tensor


def patchify(x: Tensor, p: int, a: int = 1) -> Tensor:
    """Turn [B, C, F, H, W] into [B, C*a*p*p, F/a, H/p, W/p].

    The column offset is slower than the row offset, unlike in `space_to_depth`.
    """
    return rearrange(x, "b c (f a) (h y) (w x) -> b (c a x y) f h w", a=a, y=p, x=p)


def unpatchify(x: Tensor, p: int, a: int = 1) -> Tensor:
    """Undo `patchify`."""
    return rearrange(x, "b (c a x y) f h w -> b c (f a) (h y) (w x)", a=a, y=p, x=p)


def space_to_depth(x: Tensor, stride: tuple[int, int, int]) -> Tensor:
    """Turn [B, C, F, H, W] into [B, C*a*d*e, F/a, H/d, W/e], offsets of columns fastest."""
    a, d, e = stride
    return rearrange(x, "b c (f a) (h d) (w e) -> b (c a d e) f h w", a=a, d=d, e=e)


def depth_to_space(x: Tensor, stride: tuple[int, int, int]) -> Tensor:
    """Undo `space_to_depth`."""
    a, d, e = stride
    return rearrange(x, "b (c a d e) f h w -> b c (f a) (h d) (w e)", a=a, d=d, e=e)
