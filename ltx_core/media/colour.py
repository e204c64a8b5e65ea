"""From the core's pixels to bytes: 8-bit RGB, and BT.709 luma and chroma for the encoders.

The core's pixels are -1..1, a codec's are bytes. BT.709 limited range: Y' = 0.2126 R + 0.7152 G +
0.0722 B on 16..235, both differences on 16..240 around 128, one chroma sample for 2x2 pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import LTX2Error

#: Rows give Y, U and V of R, G and B in 0..1, before they are scaled to limited range.
BT709 = (
    (0.2126, 0.7152, 0.0722),
    (-0.1146, -0.3854, 0.5),
    (0.5, -0.4542, -0.0458),
)


def from_core_range(pixels: Tensor) -> Tensor:
    """Bring pixels from -1..1 to 0..1, in float32; what lies outside is clamped."""
    return (pixels.float() + 1).mul_(0.5).clamp_(0, 1)


def to_core_range(image: Tensor) -> Tensor:
    """Bring bytes uint8 [..., H, W, 3] to pixels [..., 3, H, W] in -1..1."""
    return image.movedim(-1, -3).float() / 127.5 - 1


def rgb_bytes(rgb: Tensor) -> Tensor:
    """Round RGB [..., 3, H, W] in 0..1 to bytes [..., H, W, 3].

    Reference: truncates, which darkens every picture by half a level.
    """
    return (rgb.float() * 255).round().clamp(0, 255).byte().movedim(-3, -1)


def bt709(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Return luma [F, 1, H, W] and chroma [F, 2, H/2, W/2] of RGB [F, 3, H, W] in 0..1.

    Floats on the byte scale, limited range, not rounded. H and W are even.
    """
    rgb = rgb.float()
    red, green, blue = BT709[0]
    # In place, because a frame is large. The mean of 2x2 pixels comes before the matrix: the same
    # by linearity, on a quarter of the values.
    luma = (rgb[:, :1] * red).add_(rgb[:, 1:2], alpha=green).add_(rgb[:, 2:], alpha=blue)
    matrix = torch.tensor(BT709[1:], dtype=torch.float32, device=rgb.device)
    chroma = torch.einsum("ij,fjhw->fihw", matrix, F.avg_pool2d(rgb, 2))
    luma, chroma = luma.mul_(219).add_(16), chroma.mul_(224).add_(128)
    return luma, chroma


def i420(rgb: Tensor) -> Tensor:
    """Return RGB [F, 3, H, W] in 0..1 as bytes [F, H * 3/2, W]: Y, then U, then V, row by row.

    Reference: truncates instead of rounding.
    """
    luma, chroma = bt709(rgb)
    frames, _, height, width = luma.shape
    planes = torch.cat((luma.flatten(1), chroma.flatten(1)), dim=1)  # [F, H * W * 3/2]
    return planes.round_().clamp_(0, 255).byte().reshape(frames, height * 3 // 2, width)


def check_finite(values: Tensor, what: str) -> None:
    """Raise LTX2Error if a picture or a sound holds anything that is no number."""
    # One sum instead of a test of every value: it is finite exactly if all of them are.
    if not torch.isfinite(values.sum(dtype=torch.float32)):
        raise LTX2Error(
            f"{what} contains values that are not numbers, so it cannot be written.",
            needed="other settings: lower guidance, another precision, or a LoRA less",
            code="not_finite",
        )
