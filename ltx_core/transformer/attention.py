"""Attention within one token stream, or from one stream onto another.

Letters: B batch, N query tokens, M context tokens, H heads, K head_dim, D stream width.
"""

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ..ops.attention import AttentionFn, sdpa
from ..ops.layers import LayerFactory
from ..ops.rope import RopeLayout, RotaryTable, rotate

#: Whether something is left in: for the whole batch, or per item as [B, 1, 1] of 1 and 0.
Keep: TypeAlias = bool | Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionConfig:
    """Sizes of one attention layer."""

    dim: int
    context_dim: int
    num_heads: int
    head_dim: int
    norm_eps: float = 1e-6
    gated: bool = False
    rope_layout: RopeLayout = RopeLayout.SPLIT


class Attention(nn.Module):
    """Multi-head attention with RMS-normalised queries and keys.

    The norms span all heads together. Parameters carry the checkpoint's names.
    """

    def __init__(
        self,
        config: AttentionConfig,
        *,
        layers: LayerFactory = nn,
        attention: AttentionFn = sdpa,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        inner_dim = config.num_heads * config.head_dim
        self.num_heads = config.num_heads
        self.rope_layout = config.rope_layout
        self.attention = attention
        self.to_q = layers.Linear(config.dim, inner_dim, device=device, dtype=dtype)
        self.to_k = layers.Linear(config.context_dim, inner_dim, device=device, dtype=dtype)
        self.to_v = layers.Linear(config.context_dim, inner_dim, device=device, dtype=dtype)
        self.q_norm = layers.RMSNorm(inner_dim, eps=config.norm_eps, device=device, dtype=dtype)
        self.k_norm = layers.RMSNorm(inner_dim, eps=config.norm_eps, device=device, dtype=dtype)
        self.to_out = nn.Sequential(
            layers.Linear(inner_dim, config.dim, device=device, dtype=dtype)
        )
        self.to_gate_logits = (
            layers.Linear(config.dim, config.num_heads, device=device, dtype=dtype)
            if config.gated
            else None
        )

    def forward(
        self,
        x: Tensor,  # [B, N, D]
        context: Tensor | None = None,  # [B, M, D_context]; None attends to x itself
        *,
        rope: RotaryTable | None = None,
        context_rope: RotaryTable | None = None,  # None turns the keys by `rope` as well
        mask: Tensor | None = None,  # additive, broadcasts to [B, H, N, M]
        keep: Keep = True,
    ) -> Tensor:  # [B, N, D]
        """Let every token of `x` gather from every token of `context`.

        Where not kept (only within one stream), each token receives its own value instead.
        """
        context = x if context is None else context
        v = self._split_heads(self.to_v(context))  # [B, H, M, K]
        if keep is False:
            out = v
        else:
            q = self._split_heads(self.q_norm(self.to_q(x)))  # [B, H, N, K]
            k = self._split_heads(self.k_norm(self.to_k(context)))  # [B, H, M, K]
            if rope is not None:
                q = rotate(q, rope, self.rope_layout)
                k = rotate(k, rope if context_rope is None else context_rope, self.rope_layout)
            out = self.attention(q, k, v, mask)  # [B, H, N, K]
            if isinstance(keep, Tensor):
                out = torch.lerp(v, out, keep.unsqueeze(-1))  # exact for 0 and 1

        if self.to_gate_logits is not None:
            # Twice the sigmoid, so that logits of zero leave every head as it was.
            gate = 2 * torch.sigmoid(self.to_gate_logits(x))  # [B, N, H]
            out = out * gate.transpose(1, 2).unsqueeze(-1)
        return self.to_out(out.transpose(1, 2).flatten(2))

    def _split_heads(self, x: Tensor) -> Tensor:  # [B, N, H*K] -> [B, H, N, K]
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
