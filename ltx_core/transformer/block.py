"""One block: each stream attends to itself and to its text, the two to one another, feed-forward.

Letters: B batch, N tokens of a stream, S text tokens, D that stream's width, R rows of modulation.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from ..ops.attention import AttentionFn, sdpa
from ..ops.layers import LayerFactory
from ..ops.rope import RotaryTable
from .adaln import Spread, added, scaled_and_shifted
from .attention import Attention, AttentionConfig, Keep
from .config import StreamConfig, TransformerConfig
from .feed_forward import FeedForward

#: Prefix of a stream's parameters.
VIDEO, AUDIO = "", "audio_"


class CrossingState(NamedTuple):
    """What a stream brings to the attention between the two."""

    rope: RotaryTable
    modulation: Tensor  # [B|1, R, 4, D] from the stream's own timesteps
    gate: Tensor  # [B, 1, 1, D] from the other stream's sigma


class StreamState(NamedTuple):
    """What stays the same for one stream through all blocks of a forward pass."""

    context: Tensor  # [B, S, D]
    rope: RotaryTable
    modulation: Tensor  # [B|1, R, 6 or 9, D]
    spread: Spread
    context_modulation: Tensor | None = None  # [B, 1, 2, D] from sigma
    context_mask: Tensor | None = None  # additive, broadcasts to [B, H, N, S]
    attention_mask: Tensor | None = None  # additive, broadcasts to [B, H, N, N]
    crossing: CrossingState | None = None  # None: the other stream is absent
    enabled: bool = True  # False: is read, does not change


class Kept(NamedTuple):
    """Which parts of a block run."""

    video_self: Keep = True
    audio_self: Keep = True
    a2v: Keep = True
    v2a: Keep = True


class Block(nn.Module):
    """A block of the transformer, with one stream or with both.

    The parameters of the two streams stand side by side, those of audio with a prefix.
    """

    def __init__(
        self,
        config: TransformerConfig,
        *,
        layers: LayerFactory = nn,
        attention: AttentionFn = sdpa,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.config = config

        def table(rows: int, dim: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(rows, dim, device=device, dtype=dtype))

        def attend(stream: StreamConfig, other: StreamConfig, head_dim: int) -> Attention:
            sizes = AttentionConfig(
                dim=stream.dim,
                context_dim=other.dim,
                num_heads=stream.num_heads,
                head_dim=head_dim,
                norm_eps=config.norm_eps,
                gated=config.gated_attention,
                rope_layout=config.rope_layout,
            )
            return Attention(sizes, layers=layers, attention=attention, device=device, dtype=dtype)

        for prefix, stream in ((VIDEO, config.video), (AUDIO, config.audio)):
            if stream is None:
                continue
            self.add_module(f"{prefix}attn1", attend(stream, stream, stream.head_dim))
            self.add_module(f"{prefix}attn2", attend(stream, stream, stream.head_dim))
            feed_forward = FeedForward(
                stream.dim, bias=stream.ff_bias, layers=layers, device=device, dtype=dtype
            )
            self.add_module(f"{prefix}ff", feed_forward)
            rows = table(config.num_modulations, stream.dim)
            self.register_parameter(f"{prefix}scale_shift_table", rows)
            if config.modulates_context:
                self.register_parameter(f"{prefix}prompt_scale_shift_table", table(2, stream.dim))
        if config.video is not None and config.audio is not None:
            head_dim = config.audio.head_dim
            self.audio_to_video_attn = attend(config.video, config.audio, head_dim)
            self.video_to_audio_attn = attend(config.audio, config.video, head_dim)
            self.scale_shift_table_a2v_ca_video = table(5, config.video.dim)
            self.scale_shift_table_a2v_ca_audio = table(5, config.audio.dim)

    def forward(
        self,
        video_x: Tensor | None,  # [B, N, D]
        audio_x: Tensor | None,  # [B, M, A]
        video: StreamState | None,
        audio: StreamState | None,
        kept: Kept = Kept(),
    ) -> tuple[Tensor | None, Tensor | None]:
        """Take both streams one block further."""
        rows: dict[str, tuple[Tensor, ...]] = {}
        if video_x is not None and video is not None and video.enabled:
            rows[VIDEO] = self._rows(VIDEO, video)
            video_x = self._attended(VIDEO, video_x, video, rows[VIDEO], kept.video_self)
        if audio_x is not None and audio is not None and audio.enabled:
            rows[AUDIO] = self._rows(AUDIO, audio)
            audio_x = self._attended(AUDIO, audio_x, audio, rows[AUDIO], kept.audio_self)
        if video_x is not None and audio_x is not None and video is not None and audio is not None:
            video_x, audio_x = self._exchanged(video_x, audio_x, video, audio, kept)
        if video_x is not None and video is not None and video.enabled:
            video_x = self._fed_forward(VIDEO, video_x, video, rows[VIDEO])
        if audio_x is not None and audio is not None and audio.enabled:
            audio_x = self._fed_forward(AUDIO, audio_x, audio, rows[AUDIO])
        return video_x, audio_x

    def _rows(self, prefix: str, stream: StreamState) -> tuple[Tensor, ...]:
        """Return the stream's 6 or 9 modulations of this block, each [B|1, R, D]."""
        table = cast(Tensor, getattr(self, f"{prefix}scale_shift_table"))
        return (stream.modulation + table.to(stream.modulation.dtype)).unbind(dim=-2)

    def _attended(
        self,
        prefix: str,
        x: Tensor,  # [B, N, D]
        stream: StreamState,
        rows: tuple[Tensor, ...],
        keep: Keep,
    ) -> Tensor:
        """Let a stream attend to itself, then to its text."""
        attn1: Attention = getattr(self, f"{prefix}attn1")
        attn2: Attention = getattr(self, f"{prefix}attn2")
        shift, scale, gate = rows[:3]
        y = scaled_and_shifted(self._normed(x), scale, shift, stream.spread)
        update = attn1(y, rope=stream.rope, mask=stream.attention_mask, keep=keep)
        x = added(x, update, gate, stream.spread)

        y = self._normed(x)
        if not self.config.modulates_context:
            return x + attn2(y, stream.context, mask=stream.context_mask)
        shift, scale, gate = rows[6:]
        y = scaled_and_shifted(y, scale, shift, stream.spread)
        update = attn2(y, self._context(prefix, stream), mask=stream.context_mask)
        return added(x, update, gate, stream.spread)

    def _context(self, prefix: str, stream: StreamState) -> Tensor:  # [B, S, D]
        """Modulate the text, alike for all its tokens."""
        table = cast(Tensor, getattr(self, f"{prefix}prompt_scale_shift_table"))
        rows = table.to(stream.context.dtype)[None, None]  # [1, 1, 2, D]
        if stream.context_modulation is not None:
            rows = rows + stream.context_modulation  # [B, 1, 2, D]
        shift, scale = rows.unbind(dim=-2)
        return torch.addcmul(shift, stream.context, scale + 1)

    def _exchanged(
        self,
        video_x: Tensor,  # [B, N, D]
        audio_x: Tensor,  # [B, M, A]
        video: StreamState,
        audio: StreamState,
        kept: Kept,
    ) -> tuple[Tensor, Tensor]:
        """Let each stream attend to the other as it was before either changed."""
        a2v = kept.a2v if video.enabled else False
        v2a = kept.v2a if audio.enabled else False
        if a2v is False and v2a is False:
            return video_x, audio_x
        assert video.crossing is not None and audio.crossing is not None
        video_rows = _crossing_rows(self.scale_shift_table_a2v_ca_video, video.crossing)
        audio_rows = _crossing_rows(self.scale_shift_table_a2v_ca_audio, audio.crossing)
        video_y, audio_y = self._normed(video_x), self._normed(audio_x)
        ropes = video.crossing.rope, audio.crossing.rope
        if a2v is not False:
            update = self.audio_to_video_attn(
                scaled_and_shifted(video_y, video_rows[0], video_rows[1], video.spread),
                scaled_and_shifted(audio_y, audio_rows[0], audio_rows[1], audio.spread),
                rope=ropes[0],
                context_rope=ropes[1],
            )
            video_x = torch.addcmul(video_x, update, _gate(video_rows[4], a2v))
        if v2a is not False:
            update = self.video_to_audio_attn(
                scaled_and_shifted(audio_y, audio_rows[2], audio_rows[3], audio.spread),
                scaled_and_shifted(video_y, video_rows[2], video_rows[3], video.spread),
                rope=ropes[1],
                context_rope=ropes[0],
            )
            audio_x = torch.addcmul(audio_x, update, _gate(audio_rows[4], v2a))
        return video_x, audio_x

    def _fed_forward(
        self,
        prefix: str,
        x: Tensor,  # [B, N, D]
        stream: StreamState,
        rows: tuple[Tensor, ...],
    ) -> Tensor:
        feed_forward: FeedForward = getattr(self, f"{prefix}ff")
        shift, scale, gate = rows[3:6]
        y = scaled_and_shifted(self._normed(x), scale, shift, stream.spread)
        return added(x, feed_forward(y), gate, stream.spread)

    def _normed(self, x: Tensor) -> Tensor:
        return nn.functional.rms_norm(x, x.shape[-1:], eps=self.config.norm_eps)


def _crossing_rows(table: Tensor, crossing: CrossingState) -> tuple[Tensor, ...]:
    """Return scale and shift for a2v, scale and shift for v2a, each [B|1, R, D]; gate [B, 1, D].

    Scale comes before shift here, unlike in the block's other tables.
    """
    table = table.to(crossing.modulation.dtype)
    scales_and_shifts = crossing.modulation + table[:4]
    gate = crossing.gate + table[4:]
    return (*scales_and_shifts.unbind(dim=-2), gate[:, :, 0])


def _gate(gate: Tensor, keep: Keep) -> Tensor:  # [B, 1, D]
    return gate * keep if isinstance(keep, Tensor) else gate
