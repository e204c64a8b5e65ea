"""Attention masks: how they grow with appended tokens, and what attention adds to its scores.

Outside, a self-attention mask is a strength in 0..1 for each (asking token, answering token); it
multiplies the weight before normalisation. Inside `ops` a mask is additive.
Letters: B batch, N tokens, S text tokens.
"""

import torch
from torch import Tensor


def strength_bias(strengths: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn strengths [B, N|1, N] in 0..1 into an additive mask [B, 1, N|1, N]: their logarithm.

    A strength of 0 becomes the dtype's lowest number, so that a row of zeros stays finite.
    """
    limits = torch.finfo(dtype)
    bias = strengths.clamp(min=limits.tiny).log_().to(dtype)  # rounded once, after the logarithm
    return bias.masked_fill_(strengths <= 0, limits.min).unsqueeze(1)


def context_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn a text mask into an additive mask that broadcasts to [B, H, N, S].

    Integers or bools [B, S]: 1 keeps a text token, 0 hides it. Floats are additive already: [N, S],
    [B, N, S] or [B, H|1, N|1, S].
    """
    if not mask.is_floating_point():
        bias = (mask.to(torch.int64) - 1).to(dtype) * torch.finfo(dtype).max
        return bias[:, None, None, :]
    return mask.to(dtype).unsqueeze(1) if mask.ndim == 3 else mask.to(dtype)


def grown_mask(
    mask: Tensor | None,  # [B, n, n] before, None if all may look at all
    strengths: Tensor,  # [B, m] between the target and each new token
    *,
    num_target: int,
    num_tokens: int,  # n
) -> Tensor:  # [B, n + m, n + m]
    """Return the mask once a group of m conditioning tokens stands behind the n tokens so far.

    The new tokens see each other fully, the target by their strength, earlier groups not at all.
    """
    batch, num_new = strengths.shape
    total = num_tokens + num_new
    larger = strengths.new_zeros(batch, total, total)
    larger[:, :num_tokens, :num_tokens] = 1.0 if mask is None else mask
    larger[:, num_tokens:, num_tokens:] = 1.0
    larger[:, :num_target, num_tokens:] = strengths[:, None, :]
    larger[:, num_tokens:, :num_target] = strengths[:, :, None]
    return larger
