"""The convolutional decoder of every model generation: a normalised latent to frames."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import LTX2Error
from ..ops.attention import AttentionFn, sdpa
from ..ops.layers import Check, LayerFactory, never_cancelled
from .blocks import FrameAttention, ResBlock, ResBlocks, Upsample, stages_of
from .config import Block, BlockKind, DecoderConfig
from .layers import Padding, TimeEmbedding, norm_of
from .patches import unpatchify
from .statistics import ChannelStatistics, Statistics
from .stream import Stage, Stream, run_stages
from .wiring import Wiring

#: The noise level a timestep-conditioned decoder is told, and the share of noise it is given.
DECODE_TIMESTEP = 0.05
DECODE_NOISE = 0.025


class VideoDecoder(nn.Module):
    """A normalised latent [B, C, F, h, w] to frames [B, 3, F', H, W] around -1..1, not clamped.

    The first release of 2.0 is timestep-conditioned: it takes a little noise with the latent and is
    told how much.
    """

    def __init__(
        self,
        config: DecoderConfig,
        *,
        layers: LayerFactory = nn,
        attention: AttentionFn = sdpa,
        check: Check = never_cancelled,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        wiring = Wiring(
            causal=config.causal, padding=config.padding, norm=config.norm,
            layers=layers, device=device, dtype=dtype,
        )  # fmt: skip
        self.config = config
        self.check = check
        self.per_channel_statistics = ChannelStatistics(
            config.latent_channels, device=device, dtype=dtype
        )
        channels = config.first_channels
        self.conv_in = wiring.conv(config.latent_channels, channels)
        self.up_blocks = nn.ModuleList()
        for block in config.blocks:
            conditioned = config.timestep_conditioning
            self.up_blocks.append(_up_block(block, channels, wiring, attention, conditioned))
            channels //= block.multiplier
        self.conv_norm_out = norm_of(config.norm, channels, **wiring.layered)
        self.conv_out = wiring.conv(channels, config.out_channels * config.patch_size**2)
        self.last_time_embedder = None
        if config.timestep_conditioning:
            self.timestep_scale_multiplier = nn.Parameter(torch.empty((), **wiring.place))
            self.last_time_embedder = TimeEmbedding(2 * channels, **wiring.layered)
            self.last_scale_shift_table = nn.Parameter(torch.empty(2, channels, **wiring.place))

    @property
    def dtype(self) -> torch.dtype:
        """What the decoder computes in."""
        return self.conv_in.conv.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the decoder lies."""
        return self.conv_in.conv.weight.device

    @property
    def statistics(self) -> Statistics:
        """Mean and deviation of each latent channel."""
        return self.per_channel_statistics.value

    def forward(
        self,
        latent: Tensor,  # [B, C, F, h, w] normalised
        *,
        noise: Tensor | None = None,  # like the latent; timestep-conditioned decoders only
        timestep: float | None = None,
        draw: Callable[[int, int], Tensor] | None = None,  # injected noise [H, W] in turn
    ) -> Tensor:  # [B, 3, F', H, W], of the latent's dtype
        """Decode a whole clip at once."""
        stream = self.stream(latent.shape[0], timestep=timestep, draw=draw)
        (frames,) = self.pieces(latent, stream, last=True, noise=noise)
        return frames

    def stream(
        self,
        batch: int,
        *,
        timestep: float | None = None,
        draw: Callable[[int, int], Tensor] | None = None,
    ) -> Stream:
        """Begin one clip. `timestep` is the noise level 0..1 a conditioned decoder is told."""
        scaled = None
        if self.config.timestep_conditioning:
            level = DECODE_TIMESTEP if timestep is None else timestep
            # The sinusoid needs float32: its angle reaches 46.
            scaled = level * self.timestep_scale_multiplier.float().expand(batch)
        return Stream(timestep=scaled, draw=draw)

    def check_sides(self, latent: Tensor) -> None:
        """Raise LTX2Error `size` if [B, C, F, h, w] is too small for a padding that reflects."""
        if self.config.padding is Padding.REFLECT and min(latent.shape[3:]) < 2:
            raise LTX2Error(
                f"A latent of {latent.shape[4]}x{latent.shape[3]} cells is too small to decode.",
                needed="at least 2 x 2 cells (64 x 64 pixels)",
                code="size",
            )

    def pieces(
        self,
        latent: Tensor,  # [B, C, F, h, w] the next latent frames of a clip
        stream: Stream,
        *,
        last: bool,
        noise: Tensor | None = None,  # like the latent
        piece_elements: int | None = None,
    ) -> Iterator[Tensor]:
        """Yield the frames [B, 3, f, H, W] that are certain with them, of the latent's dtype."""
        self.check_sides(latent)
        stages = [
            Stage(self._enter, self.conv_in.growth),
            *stages_of(self.up_blocks),
            Stage(self._finish, self.conv_out.growth),
        ]
        z = latent.to(self.dtype)
        if self.config.timestep_conditioning:
            assert noise is not None, "a conditioned decoder is given noise"
            z = DECODE_NOISE * noise.to(z) + (1 - DECODE_NOISE) * z
        z = self.statistics.denormalise(z)
        for frames in run_stages(
            z, stages, stream, last=last, piece_elements=piece_elements, check=self.check
        ):
            yield frames.to(latent.dtype)

    def _enter(self, x: Tensor, stream: Stream, last: bool) -> Tensor:
        return self.conv_in(x, stream, last)

    def _finish(self, x: Tensor, stream: Stream, last: bool) -> Tensor:
        x = self.conv_norm_out(x)
        if self.last_time_embedder is not None:
            assert stream.timestep is not None, "a conditioned decoder is given a timestep"
            embedded = self.last_time_embedder(stream.timestep, x.dtype).unflatten(1, (2, -1))
            table = self.last_scale_shift_table.to(x.dtype) + embedded  # [B, 2, C]
            shift, scale = (row[:, :, None, None, None] for row in table.unbind(1))
            x.mul_(1 + scale).add_(shift)
        x = self.conv_out(F.silu(x, inplace=True), stream, last)
        return unpatchify(x, self.config.patch_size)


def _up_block(
    block: Block, channels: int, wiring: Wiring, attention: AttentionFn, conditioned: bool
) -> nn.Module:
    noisy = block.inject_noise
    match block.kind:
        case BlockKind.RES:
            return ResBlocks(
                channels, block.num_layers, wiring, conditioned=conditioned, noisy=noisy
            )
        case BlockKind.RES_WIDER:
            return ResBlock(channels, channels // block.multiplier, wiring, noisy=noisy)
        case BlockKind.ATTENTION:
            return FrameAttention(channels, wiring, attention=attention)
        case _:
            return Upsample(
                channels, block.multiplier, block.stride, wiring, residual=block.residual
            )
