"""Products whose inputs are quantised as well: what low-precision matrix units compute.

Layers do not use them of themselves: dequantised weights are closer to the model. Each gives in
float32 arithmetic what such a unit gives, so that one can be checked against it. Letters: N
outputs, K inputs. Source of the formulas: the formats' definition in comfy-kitchen, and for the
static scale that of ltx-core.
"""

import torch
from torch import Tensor

from .dequantize import E2M1, NVFP4_GROUP, by_group, low_high, scaled, widened
from .packed import Packed
from .quantize import E4M3_MAX, INT8_MAX, as_e4m3
from .rotation import rotated

#: Largest numbers: of four signed bits as inputs have them; of E2M1.
INT4_MAX, E2M1_MAX = 7.0, 6.0
#: Keeps a row of zeros from being divided by zero.
SMALLEST_SCALE = 1e-30


def static_fp8(x: Tensor, packed: Packed, bias: Tensor | None = None) -> Tensor:
    """Multiply E4M3 inputs by an E4M3 weight: x [..., K] over the file's `input_scale`, rounded.

    What is out of range is clamped before it is rounded: NaN would make the picture black.
    """
    scale = packed.tensors["input_scale"].float().reshape(())
    rounded = as_e4m3(x.float() / scale).float()
    weight = widened(packed.tensors["weight"])
    out = rounded @ weight.T * scale  # [..., N]
    return _finished(out, packed.tensors["weight_scale"], bias)


def dynamic_int8(x: Tensor, packed: Packed, bias: Tensor | None = None) -> Tensor:
    """Multiply inputs of eight bits, with a scale per row, by a weight of eight bits."""
    codes, scale = _codes(_turned(x, packed), INT8_MAX)
    out = codes @ packed.tensors["weight"].float().T * scale
    return _finished(out, packed.tensors["weight_scale"], bias)


def dynamic_int4(x: Tensor, packed: Packed, bias: Tensor | None = None) -> Tensor:
    """Multiply inputs of four bits, with a scale per row, by a weight of four bits."""
    codes, scale = _codes(_turned(x, packed), INT4_MAX)
    halves = low_high(packed.tensors["weight"]).view(torch.int8).float()
    weight = torch.where(halves > INT4_MAX, halves - 16, halves)
    return _finished(codes @ weight.T * scale, packed.tensors["weight_scale"], bias)


def nvfp4(
    x: Tensor, packed: Packed, bias: Tensor | None = None, *, scale: Tensor | None = None
) -> Tensor:
    """Multiply E2M1 inputs by an E2M1 weight.

    `scale` is that of the whole input (the file's `input_scale`, or one); None takes the one that
    makes the largest input the largest number.
    """
    if scale is None:
        scale = x.abs().amax().float() / (E4M3_MAX * E2M1_MAX)
    values = as_nvfp4(x.float().flatten(0, -2), scale).view(x.shape)
    out = values @ packed.rows(slice(0, packed.shape[0])).T
    return out if bias is None else out + bias.float()


def as_nvfp4(x: Tensor, scale: Tensor) -> Tensor:
    """Round numbers [N, K] to E2M1 with an E4M3 scale per 16 columns inside one scale for all.

    Returns what the codes stand for, float32 [N, K]. Blocks of zeros stay zeros.
    """
    groups = x.unflatten(1, (-1, NVFP4_GROUP))  # [N, K / 16, 16]
    scales = as_e4m3(groups.abs().amax(-1) / E2M1_MAX / scale).float() * scale  # [N, K / 16]
    divisors = torch.where(scales > 0, scales, torch.ones_like(scales))
    shares = (groups / divisors[..., None]).flatten(1).clamp(-E2M1_MAX, E2M1_MAX)
    return by_group(nearest_e2m1(shares), scales, NVFP4_GROUP)


def nearest_e2m1(x: Tensor) -> Tensor:
    """Round numbers in -6..6 to the nearest E2M1 number; halfway to the one with an even code."""
    numbers = torch.tensor(E2M1, device=x.device)
    middles = (numbers[1:] + numbers[:-1]) / 2
    size = x.abs()
    below = torch.bucketize(size, middles)  # a middle goes down
    above = torch.bucketize(size, middles, right=True)  # a middle goes up
    return torch.where(below % 2 == 0, numbers[below], numbers[above]).copysign(x)


def _turned(x: Tensor, packed: Packed) -> Tensor:
    return x if packed.group is None else rotated(x, packed.group)


def _codes(x: Tensor, largest: float) -> tuple[Tensor, Tensor]:
    """Return whole numbers [..., K] and the scale [..., 1] of each row."""
    values = x.float()
    scale = (values.abs().amax(-1, keepdim=True) / largest).clamp(min=SMALLEST_SCALE)
    return (values / scale).round().clamp(-largest, largest), scale


def _finished(out: Tensor, weight_scale: Tensor, bias: Tensor | None) -> Tensor:
    """Apply the weight's scale, one or one per output, and the bias, to [..., N]."""
    rows = out.flatten(0, -2).T  # [N, ...]
    out = scaled(rows, weight_scale).T.view(out.shape)
    return out if bias is None else out + bias.float()
