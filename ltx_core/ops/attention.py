"""The one place that computes softmax(QK)V."""

from collections.abc import Callable
from typing import TypeAlias

import torch.nn.functional as F
from torch import Tensor

#: (q, k, v, mask) -> out, all [B, H, N|M, K]; a mask is additive and broadcasts to [B, H, N, M].
AttentionFn: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """PyTorch's fused attention."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
