"""Where a reference counts: a mask film, turned into one weight per reference token."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import LTX2Error
from ..grid import LatentShape


def token_weights(mask: Tensor, shape: LatentShape) -> Tensor:
    """Return the weights [B, N] of a latent of `shape` from mask frames [B, 1, F, H, W] in 0..1.

    Every frame is averaged over the pixels of a cell; the first frame stands alone, the others are
    averaged in as many equal groups as there are further latent frames. Raises LTX2Error
    `mask_frames` where they cannot be grouped.
    """
    frames = mask.shape[2]
    pictures = mask.transpose(1, 2).flatten(0, 1)  # [BF, 1, H, W]
    cells = F.interpolate(pictures, (shape.height, shape.width), mode="area")
    cells = cells.unflatten(0, (mask.shape[0], frames)).squeeze(2)  # [B, F, h, w]
    first = cells[:, :1].flatten(1)  # [B, h*w]
    if shape.frames == 1 or frames == 1:
        return first.repeat(1, shape.frames)
    if (frames - 1) % (shape.frames - 1):
        raise LTX2Error(
            f"A mask of {frames} frames cannot be shared out among {shape.frames} latent frames.",
            needed="a mask as long as the reference", code="mask_frames",
        )  # fmt: skip
    groups = cells[:, 1:].unflatten(1, (shape.frames - 1, -1)).mean(dim=2)  # [B, f-1, h, w]
    return torch.cat((first, groups.flatten(1)), dim=1)


def subsampled_frames(frames: int, temporal_scale: int) -> list[int]:
    """Return which frames of a reference are kept: 0, 1, 1 + scale, 1 + 2 scale, ..."""
    return list(range(frames)) if temporal_scale == 1 else [0, *range(1, frames, temporal_scale)]
