"""The decoder stack of Gemma 3, as an encoder: a prompt's hidden state after every layer.

Formulas: the Gemma 3 report and the published config. Only the tokens of the prompts are computed,
never padding. Prompts lie one after another in one row of tokens, so that each weight is used once
for all of them; attention stays within a prompt.

Letters: N tokens of all prompts, n tokens of one, D width, H heads, K head_dim.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn

from ..ops.attention import AttentionFn, sdpa
from ..ops.layers import Check, LayerFactory, never_cancelled
from ..ops.rope import RotaryTable, rotate
from .config import GemmaConfig, Rope


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What the layers of one kind see: angles of all tokens, and a mask per prompt."""

    rope: RotaryTable  # [1, 1, N, K/2]
    masks: tuple[Tensor, ...]  # additive, [n, n] each


class GemmaNorm(nn.Module):
    """RMS norm in float32, times 1 + weight.

    Not one of the layer namespace's norms: those multiply by the weight itself, and 1 + weight
    rounded to bfloat16 would be another number.
    """

    def __init__(
        self, dim: int, eps: float, *, device: torch.device | None, dtype: torch.dtype | None
    ) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(dim, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:  # [..., dim]
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (wide * (1.0 + self.weight.float())).to(x.dtype)


class SelfAttention(nn.Module):
    """Causal attention within each prompt; several query heads share a key and value head."""

    def __init__(
        self,
        config: GemmaConfig,
        *,
        layers: LayerFactory,
        attention: AttentionFn,
        device: torch.device | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.head_dim = config.head_dim
        self.sharing = config.num_heads // config.num_kv_heads
        # The attention function divides by sqrt(K); the model may want another divisor.
        self.scale = sqrt(config.head_dim / config.query_scalar)
        inner_dim = config.num_heads * config.head_dim
        kv_dim = config.num_kv_heads * config.head_dim
        self.q_proj = layers.Linear(config.dim, inner_dim, bias=False, device=device, dtype=dtype)
        self.k_proj = layers.Linear(config.dim, kv_dim, bias=False, device=device, dtype=dtype)
        self.v_proj = layers.Linear(config.dim, kv_dim, bias=False, device=device, dtype=dtype)
        self.o_proj = layers.Linear(inner_dim, config.dim, bias=False, device=device, dtype=dtype)
        self.q_norm = GemmaNorm(config.head_dim, config.norm_eps, device=device, dtype=dtype)
        self.k_norm = GemmaNorm(config.head_dim, config.norm_eps, device=device, dtype=dtype)

    def forward(self, x: Tensor, view: View) -> Tensor:  # [1, N, D]
        q = rotate(self.q_norm(self._split_heads(self.q_proj(x))), view.rope)  # [1, H, N, K]
        k = rotate(self.k_norm(self._split_heads(self.k_proj(x))), view.rope)  # H / sharing
        v = self._split_heads(self.v_proj(x))
        if self.scale != 1.0:
            q = q * self.scale
        k, v = (kv.repeat_interleave(self.sharing, dim=1) for kv in (k, v))  # [1, H, N, K]
        lengths = [mask.shape[-1] for mask in view.masks]
        prompts = zip(*(part.split(lengths, dim=2) for part in (q, k, v)), view.masks, strict=True)
        out = torch.cat([self.attention(*qkv_mask) for qkv_mask in prompts], dim=2)  # [1, H, N, K]
        return self.o_proj(out.transpose(1, 2).flatten(2))

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class FeedForward(nn.Module):
    """A gated token-wise network."""

    def __init__(
        self,
        config: GemmaConfig,
        *,
        layers: LayerFactory,
        device: torch.device | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        dim, wide = config.dim, config.mlp_dim
        self.gate_proj = layers.Linear(dim, wide, bias=False, device=device, dtype=dtype)
        self.up_proj = layers.Linear(dim, wide, bias=False, device=device, dtype=dtype)
        self.down_proj = layers.Linear(wide, dim, bias=False, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:  # [1, N, D]
        gate = nn.functional.gelu(self.gate_proj(x), approximate="tanh")
        return self.down_proj(gate * self.up_proj(x))


class Layer(nn.Module):
    """One decoder layer: attention and feed-forward, each normed before and after."""

    def __init__(
        self,
        config: GemmaConfig,
        *,
        layers: LayerFactory,
        attention: AttentionFn,
        device: torch.device | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        dim, eps = config.dim, config.norm_eps
        self.self_attn = SelfAttention(
            config, layers=layers, attention=attention, device=device, dtype=dtype
        )
        self.mlp = FeedForward(config, layers=layers, device=device, dtype=dtype)
        self.input_layernorm = GemmaNorm(dim, eps, device=device, dtype=dtype)
        self.post_attention_layernorm = GemmaNorm(dim, eps, device=device, dtype=dtype)
        self.pre_feedforward_layernorm = GemmaNorm(dim, eps, device=device, dtype=dtype)
        self.post_feedforward_layernorm = GemmaNorm(dim, eps, device=device, dtype=dtype)

    def forward(self, x: Tensor, view: View) -> Tensor:  # [1, N, D]
        x = x + self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), view))
        return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))


class Gemma(nn.Module):
    """Layers and final norm. The embedding table is no part of it: few of its rows are needed."""

    def __init__(
        self,
        config: GemmaConfig,
        *,
        layers: LayerFactory = nn,
        attention: AttentionFn = sdpa,
        check: Check = never_cancelled,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.check = check
        self.layers = nn.ModuleList(
            Layer(config, layers=layers, attention=attention, device=device, dtype=dtype)
            for _ in config.sees_all
        )
        self.norm = GemmaNorm(config.dim, config.norm_eps, device=device, dtype=dtype)

    @property
    def device(self) -> torch.device:
        """Return where tokens must lie."""
        return self.norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Return what the residual stream is computed in."""
        return self.norm.weight.dtype

    def embed(self, table: Tensor, ids: Sequence[int]) -> Tensor:
        """Look tokens up in the table [vocab, D], wherever it rests, and scale them: [N, D].

        The factor sqrt(D) is rounded to the dtype first; in bfloat16 it is exactly 62 for D = 3840.
        """
        rows = table[torch.tensor(ids, device=table.device)].to(self.device, self.dtype)
        return rows * torch.tensor(sqrt(self.config.dim)).to(self.dtype).item()

    def forward(
        self,
        embeddings: Tensor,  # [N, D] of `embed`, prompt after prompt
        lengths: Sequence[int],  # tokens of each prompt, N in all
        end: int,  # every prompt's last token has position end - 1, as if padded on the left
    ) -> Iterator[Tensor]:  # num_layers + 1 of [N, D]
        """Yield the embeddings, each layer's output, and for the last layer its normed output."""
        config = self.config
        local = self._view(config.local_rope, config.window, embeddings, lengths, end)
        whole = self._view(config.global_rope, end, embeddings, lengths, end)
        yield embeddings
        x = embeddings.unsqueeze(0)  # [1, N, D]
        for number, layer in enumerate(self.layers, start=1):
            self.check()
            x = layer(x, whole if config.sees_all[number - 1] else local)
            yield (self.norm(x) if number == config.num_layers else x).squeeze(0)

    def _view(
        self, rope: Rope, window: int, like: Tensor, lengths: Sequence[int], end: int
    ) -> View:
        positions = torch.cat([torch.arange(end - length, end) for length in lengths])  # [N]
        table = rotary_angles(rope, positions, self.config.head_dim).to(like.device, like.dtype)
        return View(table, tuple(causal_mask(length, window, like) for length in lengths))


def rotary_angles(rope: Rope, positions: Tensor, head_dim: int) -> RotaryTable:
    """Return cos and sin [1, 1, N, K/2] of integer positions [N], in float32 on the CPU.

    Positions count the padding that is not computed: only differences matter, but cos and sin are
    rounded to the working dtype where they stand.
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim  # [K/2]
    frequencies = 1.0 / (rope.theta**exponents) / rope.factor
    angles = positions.float()[None, None, :, None] * frequencies  # [1, 1, N, K/2]
    return RotaryTable(angles.cos(), angles.sin())


def causal_mask(length: int, window: int, like: Tensor) -> Tensor:
    """Return what a token may see, additive [n, n]: itself and the `window` - 1 before it."""
    mask = torch.full((length, length), float("-inf"), device=like.device, dtype=like.dtype)
    seen = torch.ones_like(mask, dtype=torch.bool).tril().triu(1 - window)
    return mask.masked_fill(seen, 0.0)
