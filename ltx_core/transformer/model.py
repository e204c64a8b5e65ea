"""The audio-video diffusion transformer: noisy tokens of both streams in, their velocities out.

Letters: B batch, N tokens of a stream, C latent channels, S text tokens, D that stream's width.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..ops.attention import AttentionFn, sdpa
from ..ops.layers import Check, LayerFactory, never_cancelled
from .adaln import AdaLN, distinct, scaled_and_shifted
from .block import AUDIO, VIDEO, Block, CrossingState, StreamState
from .config import StreamConfig, TransformerConfig
from .feed_forward import ContextProjection
from .inputs import Perturbation, StreamInput
from .masks import context_bias, strength_bias
from .perturbed import kept_parts
from .rotary import RotaryTables


class Transformer(nn.Module):
    """The network of LTX-2.0, 2.3 and 2.5, with both streams or one.

    Latents and contexts come in the dtype the weights compute in; sigmas, timesteps and positions
    in float32.
    """

    def __init__(
        self,
        config: TransformerConfig,
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
        self.rotary = RotaryTables(config)
        for prefix, stream in ((VIDEO, config.video), (AUDIO, config.audio)):
            if stream is not None:
                self._add_ends(prefix, stream, layers, device, dtype)
        if config.video is not None and config.audio is not None:
            for name, dim, rows in (
                ("av_ca_video_scale_shift_adaln_single", config.video.dim, 4),
                ("av_ca_audio_scale_shift_adaln_single", config.audio.dim, 4),
                ("av_ca_a2v_gate_adaln_single", config.video.dim, 1),
                ("av_ca_v2a_gate_adaln_single", config.audio.dim, 1),
            ):
                self.add_module(name, AdaLN(dim, rows, layers=layers, device=device, dtype=dtype))
        self.transformer_blocks = nn.ModuleList(
            Block(config, layers=layers, attention=attention, device=device, dtype=dtype)
            for _ in range(config.num_layers)
        )

    def _add_ends(
        self,
        prefix: str,
        stream: StreamConfig,
        layers: LayerFactory,
        device: torch.device | None,
        dtype: torch.dtype | None,
    ) -> None:
        """Add what stands before and after the blocks of one stream."""
        config, dim = self.config, stream.dim

        def linear(in_dim: int, out_dim: int) -> nn.Linear:
            return layers.Linear(in_dim, out_dim, device=device, dtype=dtype)

        def adaln(rows: int) -> AdaLN:
            return AdaLN(dim, rows, layers=layers, device=device, dtype=dtype)

        def table(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape, device=device, dtype=dtype))

        self.add_module(f"{prefix}patchify_proj", linear(stream.in_channels, dim))
        self.add_module(f"{prefix}adaln_single", adaln(config.num_modulations))
        if config.modulates_context_by_sigma:
            self.add_module(f"{prefix}prompt_adaln_single", adaln(2))
        if stream.projects_context:
            projection = ContextProjection(
                stream.context_dim, dim, layers=layers, device=device, dtype=dtype
            )
            self.add_module(f"{prefix}caption_projection", projection)
        if stream.marks_keyframes:
            self.register_parameter(f"{prefix}keyframes_abs_pos_embedding", table(1, dim))
        self.register_parameter(f"{prefix}scale_shift_table", table(2, dim))
        self.add_module(f"{prefix}proj_out", linear(dim, stream.out_channels))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Transformer":
        # Whoever moves the weights wants the room of the tables back as well.
        self.rotary.clear()
        return super()._apply(fn, recurse)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype latents and contexts are expected in."""
        prefix = VIDEO if self.config.video is not None else AUDIO
        return getattr(self, f"{prefix}patchify_proj").weight.dtype

    def forward(
        self,
        video: StreamInput | None,
        audio: StreamInput | None,
        perturbations: Sequence[Perturbation] | None = None,  # one per item of the batch
    ) -> tuple[Tensor | None, Tensor | None]:  # velocities [B, N, C], None for an absent stream
        """Predict the velocity (noise minus clean) of every token."""
        video_x = audio_x = video_state = audio_state = None
        video_embedding = audio_embedding = None
        if video is not None:
            video_x, video_state, video_embedding = self._entered(VIDEO, video, audio)
        if audio is not None:
            audio_x, audio_state, audio_embedding = self._entered(AUDIO, audio, video)
        present = video if video is not None else audio
        assert present is not None, "at least one stream is needed"
        kept = kept_parts(perturbations, self.config.num_layers, like=present.latent)
        for block, parts in zip(self.transformer_blocks, kept, strict=True):
            self.check()
            video_x, audio_x = block(video_x, audio_x, video_state, audio_state, parts)
        return (
            self._left(VIDEO, video_x, video_embedding, video_state),
            self._left(AUDIO, audio_x, audio_embedding, audio_state),
        )

    def _entered(
        self, prefix: str, stream: StreamInput, other: StreamInput | None
    ) -> tuple[Tensor, StreamState, Tensor]:
        """Return tokens [B, N, D], what the blocks need of this stream, timestep embedding."""
        dtype = stream.latent.dtype
        name = "video" if prefix == VIDEO else "audio"
        x = getattr(self, f"{prefix}patchify_proj")(stream.latent)
        sizes = self.config.video if prefix == VIDEO else self.config.audio
        assert sizes is not None, f"this variant has no {name} stream"
        if stream.keyframes_mask is not None and sizes.marks_keyframes:
            mark: Tensor = getattr(self, f"{prefix}keyframes_abs_pos_embedding")  # [1, D]
            x = x + (stream.keyframes_mask > 0).to(dtype) * mark.to(dtype)

        timesteps, spread = distinct(stream.timesteps)  # [B|1, R]
        timesteps = timesteps * self.config.timestep_scale
        modulation, embedding = getattr(self, f"{prefix}adaln_single")(timesteps, dtype)
        context, context_modulation = stream.context, None
        if sizes.projects_context:
            context = getattr(self, f"{prefix}caption_projection")(context)
        if self.config.modulates_context_by_sigma:
            sigma = stream.sigma[:, None] * self.config.timestep_scale  # [B, 1]
            context_modulation, _ = getattr(self, f"{prefix}prompt_adaln_single")(sigma, dtype)
        state = StreamState(
            context=context,
            rope=self.rotary.self_attention(name, stream.positions, dtype),
            modulation=modulation,
            spread=spread,
            context_modulation=context_modulation,
            context_mask=_maybe(context_bias, stream.context_mask, dtype),
            attention_mask=_maybe(strength_bias, stream.attention_mask, dtype),
            crossing=self._crossing(name, stream, other, timesteps) if other is not None else None,
            enabled=stream.enabled,
        )
        return x, state, embedding

    def _crossing(
        self, name: str, stream: StreamInput, other: StreamInput, timesteps: Tensor
    ) -> CrossingState:
        """Return what a stream brings to the attention between the two."""
        dtype = stream.latent.dtype
        scale = self.config.timestep_scale
        gate_name = "a2v" if name == "video" else "v2a"
        # Reference: the ratio of the two scales is a factor of its own.
        sigma = other.sigma[:, None] * scale * (self.config.cross_gate_timestep_scale / scale)
        modulation, _ = getattr(self, f"av_ca_{name}_scale_shift_adaln_single")(timesteps, dtype)
        gate, _ = getattr(self, f"av_ca_{gate_name}_gate_adaln_single")(sigma, dtype)
        rope = self.rotary.crossing(name, stream.positions, dtype)
        return CrossingState(rope=rope, modulation=modulation, gate=gate)

    def _left(
        self,
        prefix: str,
        x: Tensor | None,  # [B, N, D]
        embedding: Tensor | None,  # [B|1, R, D]
        state: StreamState | None,
    ) -> Tensor | None:  # [B, N, C]
        """Turn a stream's tokens into velocities."""
        if x is None or embedding is None or state is None:
            return None
        table: Tensor = getattr(self, f"{prefix}scale_shift_table")
        rows = embedding.unsqueeze(-2) + table.to(embedding.dtype)  # [B|1, R, 2, D]
        shift, scale = rows.unbind(dim=-2)
        y = nn.functional.layer_norm(x, x.shape[-1:], eps=self.config.norm_eps)
        y = scaled_and_shifted(y, scale, shift, state.spread)
        return getattr(self, f"{prefix}proj_out")(y)


def _maybe(
    bias: Callable[[Tensor, torch.dtype], Tensor], mask: Tensor | None, dtype: torch.dtype
) -> Tensor | None:
    return None if mask is None else bias(mask, dtype)
