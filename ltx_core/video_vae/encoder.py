"""The convolutional encoder, causal in time: frames to a normalised latent."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import LTX2Error
from ..ops.attention import AttentionFn, sdpa
from ..ops.layers import Check, LayerFactory, never_cancelled
from .blocks import Downsample, FrameAttention, ResBlock, ResBlocks, stages_of
from .config import Block, BlockKind, EncoderConfig
from .layers import norm_of
from .patches import patchify
from .statistics import ChannelStatistics, Statistics
from .stream import Stage, Stream, run_stages
from .wiring import Wiring


class VideoEncoder(nn.Module):
    """Frames [B, 3, F, H, W] in -1..1 to the normalised means [B, C, F', h, w] of their latent."""

    def __init__(
        self,
        config: EncoderConfig,
        *,
        layers: LayerFactory = nn,
        attention: AttentionFn = sdpa,
        check: Check = never_cancelled,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        wiring = Wiring(
            causal=True, padding=config.padding, norm=config.norm,
            layers=layers, device=device, dtype=dtype,
        )  # fmt: skip
        self.config = config
        self.check = check
        channels = config.latent_channels
        self.per_channel_statistics = ChannelStatistics(channels, device=device, dtype=dtype)
        self.conv_in = wiring.conv(config.in_channels * config.patch_size**2, channels)
        self.down_blocks = nn.ModuleList()
        for block in config.blocks:
            module, channels = _down_block(block, channels, wiring, attention)
            self.down_blocks.append(module)
        self.conv_norm_out = norm_of(config.norm, channels, **wiring.layered)
        width = config.log_variance.width(config.latent_channels)
        self.conv_out = wiring.conv(channels, width)

    @property
    def dtype(self) -> torch.dtype:
        """What the encoder computes in."""
        return self.conv_in.conv.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the encoder lies."""
        return self.conv_in.conv.weight.device

    @property
    def statistics(self) -> Statistics:
        """Mean and deviation of each latent channel."""
        return self.per_channel_statistics.value

    def forward(self, frames: Tensor) -> Tensor:
        """Encode a whole clip at once, in the encoder's dtype.

        Frames beyond the last full latent frame are left out.

        Raises LTX2Error `size` if the sides are no multiples of the scale.
        """
        self.check_sides(frames)
        frames = frames[:, :, : self.frames_used(frames.shape[2])]
        (latent,) = self.pieces(frames, Stream(), last=True)
        return latent

    def frames_used(self, frames: int) -> int:
        """How many of `frames` count: the largest k * scale + 1 that is not above."""
        step = self.config.scale.time
        return (frames - 1) // step * step + 1

    def check_sides(self, frames: Tensor) -> None:
        """Raise LTX2Error `size` if [B, 3, F, H, W] has no latent."""
        scale = self.config.scale
        rows, columns = frames.shape[3:]
        if rows % scale.height or columns % scale.width or not rows or not columns:
            raise LTX2Error(
                f"{columns}x{rows} pixels cannot be encoded.",
                needed=f"sides in multiples of {scale.width} x {scale.height} pixels",
                code="size",
            )

    def pieces(
        self, frames: Tensor, stream: Stream, *, last: bool, piece_elements: int | None = None
    ) -> Iterator[Tensor]:
        """Yield the latent frames that the next frames [B, 3, F, H, W] of a clip complete."""
        stages = [
            Stage(self._enter, self.conv_in.growth),
            *stages_of(self.down_blocks),
            Stage(self._finish, self.conv_out.growth),
        ]
        yield from run_stages(
            frames.to(self.dtype),
            stages,
            stream,
            last=last,
            piece_elements=piece_elements,
            check=self.check,
        )

    def _enter(self, x: Tensor, stream: Stream, last: bool) -> Tensor:
        return self.conv_in(patchify(x, self.config.patch_size), stream, last)

    def _finish(self, x: Tensor, stream: Stream, last: bool) -> Tensor:
        x = self.conv_out(F.silu(self.conv_norm_out(x), inplace=True), stream, last)
        return self.statistics.normalise(x[:, : self.config.latent_channels])


def _down_block(
    block: Block, channels: int, wiring: Wiring, attention: AttentionFn
) -> tuple[nn.Module, int]:
    """Return one block, and how many channels it puts out."""
    wider = channels * block.multiplier
    match block.kind:
        case BlockKind.RES:
            return ResBlocks(channels, block.num_layers, wiring), channels
        case BlockKind.RES_WIDER:
            return ResBlock(channels, wider, wiring), wider
        case BlockKind.ATTENTION:
            return FrameAttention(channels, wiring, attention=attention), channels
        case BlockKind.TIME | BlockKind.SPACE | BlockKind.ALL:
            return wiring.conv(channels, channels, block.stride), channels
        case BlockKind.ALL_WIDER:
            return wiring.conv(channels, wider, block.stride), wider
        case _:
            return Downsample(channels, wider, block.stride, wiring), wider
