"""The connectors: small transformers from text features to the context of each stream.

A prompt's features stand in front, learned registers fill the remaining positions, and everything
attends to everything: no mask leaves this room.

Letters: B prompts, S positions, n tokens of one prompt, W width of the stream's connector, H heads,
K head_dim.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.attention import AttentionFn, sdpa
from ..ops.layers import Check, LayerFactory, never_cancelled
from ..ops.rope import RotaryTable, frequencies, rotary_table, rotate
from .config import ConnectorConfig
from .features import Features


class SelfAttention(nn.Module):
    """Attention whose queries and keys are RMS-normalised over all heads together."""

    def __init__(
        self,
        config: ConnectorConfig,
        *,
        layers: LayerFactory,
        attention: AttentionFn,
        device: torch.device | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        dim, eps = config.dim, config.norm_eps
        self.attention = attention
        self.num_heads = config.num_heads
        self.layout = config.rope_layout
        self.to_q = layers.Linear(dim, dim, device=device, dtype=dtype)
        self.to_k = layers.Linear(dim, dim, device=device, dtype=dtype)
        self.to_v = layers.Linear(dim, dim, device=device, dtype=dtype)
        self.q_norm = layers.RMSNorm(dim, eps=eps, device=device, dtype=dtype)
        self.k_norm = layers.RMSNorm(dim, eps=eps, device=device, dtype=dtype)
        self.to_out = nn.Sequential(layers.Linear(dim, dim, device=device, dtype=dtype))
        self.to_gate_logits = (
            layers.Linear(dim, config.num_heads, device=device, dtype=dtype)
            if config.gated
            else None
        )

    def forward(self, x: Tensor, rope: RotaryTable) -> Tensor:  # [B, S, W]
        q = rotate(self._split_heads(self.q_norm(self.to_q(x))), rope, self.layout)  # [B, H, S, K]
        k = rotate(self._split_heads(self.k_norm(self.to_k(x))), rope, self.layout)
        out = self.attention(q, k, self._split_heads(self.to_v(x)), None)
        if self.to_gate_logits is not None:
            # Twice the sigmoid, so that logits of zero leave every head as it was.
            gate = 2 * torch.sigmoid(self.to_gate_logits(x))  # [B, S, H]
            out = out * gate.transpose(1, 2).unsqueeze(-1)
        return self.to_out(out.transpose(1, 2).flatten(2))

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class Widen(nn.Module):
    """A linear layer and the tanh form of GELU."""

    def __init__(
        self,
        config: ConnectorConfig,
        *,
        layers: LayerFactory,
        device: torch.device | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.proj = layers.Linear(
            config.dim, 4 * config.dim, bias=config.ff_bias, device=device, dtype=dtype
        )

    def forward(self, x: Tensor) -> Tensor:  # [B, S, W] -> [B, S, 4W]
        return F.gelu(self.proj(x), approximate="tanh")


class FeedForward(nn.Module):
    """`net.0.proj` and `net.2`; what the training had at `net.1` was a dropout."""

    def __init__(
        self,
        config: ConnectorConfig,
        *,
        layers: LayerFactory,
        device: torch.device | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        dim = config.dim
        widen = Widen(config, layers=layers, device=device, dtype=dtype)
        narrow = layers.Linear(4 * dim, dim, bias=config.ff_bias, device=device, dtype=dtype)
        self.net = nn.Sequential(widen, nn.Identity(), narrow)

    def forward(self, x: Tensor) -> Tensor:  # [B, S, W]
        return self.net(x)


class Block(nn.Module):
    """Attention and feed-forward, each on the plainly normed residual stream."""

    def __init__(
        self,
        config: ConnectorConfig,
        *,
        layers: LayerFactory,
        attention: AttentionFn,
        device: torch.device | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.norm_eps = config.norm_eps
        self.attn1 = SelfAttention(
            config, layers=layers, attention=attention, device=device, dtype=dtype
        )
        self.ff = FeedForward(config, layers=layers, device=device, dtype=dtype)

    def forward(self, x: Tensor, rope: RotaryTable) -> Tensor:  # [B, S, W]
        x = x + self.attn1(F.rms_norm(x, x.shape[-1:], eps=self.norm_eps), rope)
        return x + self.ff(F.rms_norm(x, x.shape[-1:], eps=self.norm_eps))


class Connector(nn.Module):
    """One stream's connector."""

    def __init__(
        self,
        config: ConnectorConfig,
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
        self.learnable_registers = nn.Parameter(
            torch.empty(config.num_registers, config.dim, device=device, dtype=dtype)
        )
        self.transformer_1d_blocks = nn.ModuleList(
            Block(config, layers=layers, attention=attention, device=device, dtype=dtype)
            for _ in range(config.num_layers)
        )

    def forward(
        self,
        features: Sequence[Tensor],  # B of [n, W], each only its prompt's tokens
        length: int,  # S, a multiple of the number of registers
    ) -> Tensor:  # [B, S, W]
        """Return the context of every prompt."""
        x = torch.stack([self._filled(prompt, length) for prompt in features])
        rope = self.rotary_table(length).to(x.device, x.dtype)
        for block in self.transformer_1d_blocks:
            self.check()
            x = block(x, rope)
        return F.rms_norm(x, x.shape[-1:], eps=self.config.norm_eps)

    def rotary_table(self, length: int) -> RotaryTable:
        """Return the angles of positions 0 to `length` - 1, float32 on the CPU."""
        config = self.config
        positions = torch.arange(length, dtype=torch.float32)  # a position starts where it ends
        grid = frequencies(config.dim, 1, config.theta, double=config.double_frequencies)
        return rotary_table(
            positions[None, None, :, None].expand(
                1, 1, length, 2
            ),  # a position starts where it ends
            grid,
            (config.max_position,),
            dim=config.dim,
            num_heads=config.num_heads,
            layout=config.rope_layout,
        )

    def _filled(self, features: Tensor, length: int) -> Tensor:
        """Put registers behind the features: position p takes register p modulo their number."""
        registers = self.learnable_registers
        assert length % len(registers) == 0, f"{length} positions, {len(registers)} registers"
        repeated = registers.repeat(length // len(registers), 1)  # [S, W]
        return torch.cat((features.to(registers.dtype), repeated[len(features) :]))


class Connectors(nn.Module):
    """Both streams' connectors, as they lie side by side in the checkpoint."""

    def __init__(
        self,
        video: ConnectorConfig,
        audio: ConnectorConfig,
        *,
        layers: LayerFactory = nn,
        attention: AttentionFn = sdpa,
        check: Check = never_cancelled,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.video_embeddings_connector, self.audio_embeddings_connector = (
            Connector(
                config, layers=layers, attention=attention, check=check, device=device, dtype=dtype
            )
            for config in (video, audio)
        )

    @property
    def device(self) -> torch.device:
        """Return where features must lie."""
        return self.video_embeddings_connector.learnable_registers.device

    def forward(
        self, features: Features, lengths: Sequence[int], length: int
    ) -> tuple[Tensor, Tensor]:  # [B, S, V], [B, S, A]
        """Return the contexts of prompts whose tokens lie one after another in `features`."""
        video, audio = (stream.split(list(lengths)) for stream in features)
        return (
            self.video_embeddings_connector(video, length),
            self.audio_embeddings_connector(audio, length),
        )
