"""The blocks of the convolutional autoencoder.

Each takes frames [B, C, F, H, W], the clip's `Stream` and whether these are its last frames, and
returns the frames that are certain by now. `growth` is how many elements come out per element in.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.attention import AttentionFn, sdpa
from .layers import TimeConv, TimeEmbedding, norm_of
from .patches import depth_to_space, space_to_depth
from .stream import Stage, Stream
from .wiring import Wiring

#: Of the norm on the shortcut of a block that changes its width: one group over the whole clip.
SHORTCUT_EPS = 1e-6


class ResBlock(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        wiring: Wiring,
        *,
        conditioned: bool = False,
        noisy: bool = False,
    ) -> None:
        super().__init__()
        place = wiring.place
        self.growth = out_channels / in_channels
        self.norm1 = norm_of(wiring.norm, in_channels, **wiring.layered)
        self.conv1 = wiring.conv(in_channels, out_channels)
        self.norm2 = norm_of(wiring.norm, out_channels, **wiring.layered)
        self.conv2 = wiring.conv(out_channels, out_channels)
        self.norm3 = self.conv_shortcut = None
        if in_channels != out_channels:
            self.norm3 = wiring.layers.GroupNorm(1, in_channels, eps=SHORTCUT_EPS, **place)
            self.conv_shortcut = wiring.layers.Conv3d(in_channels, out_channels, 1, **place)
        if conditioned:
            self.scale_shift_table = nn.Parameter(torch.empty(4, in_channels, **place))
        if noisy:
            self.per_channel_scale1 = nn.Parameter(torch.empty(out_channels, 1, 1, **place))
            self.per_channel_scale2 = nn.Parameter(torch.empty(out_channels, 1, 1, **place))
        self.noisy = noisy

    def forward(
        self,
        x: Tensor,
        stream: Stream,
        last: bool,
        modulation: Tensor | None = None,  # [B, 4, C]: shift1, scale1, shift2, scale2
    ) -> Tensor:
        rows: list[Tensor | None] = [None] * 4
        if modulation is not None:
            table = self.scale_shift_table.to(x.dtype) + modulation
            rows = [row[:, :, None, None, None] for row in table.unbind(1)]  # each [B, C, 1, 1, 1]
        h = self.conv1(_activated(self.norm1(x), rows[0], rows[1]), stream, last)
        if self.noisy:
            h = self._with_noise(h, self.per_channel_scale1, stream, "noise1")
        h = _activated(self.norm2(h), rows[2], rows[3])
        h = self.conv2(h, stream, last)
        if self.noisy:
            h = self._with_noise(h, self.per_channel_scale2, stream, "noise2")
        skip = stream.delayed(self, x, h.shape[2], last=last)
        if self.norm3 is not None and self.conv_shortcut is not None:
            skip = self.conv_shortcut(self.norm3(skip))
        return h.add_(skip)

    def _with_noise(self, h: Tensor, scale: Tensor, stream: Stream, slot: str) -> Tensor:
        """Add one picture of noise, the same in every frame of the clip."""
        noise = stream.take(self, slot)
        if noise is None:
            assert stream.draw is not None, "a decoder with injected noise is given a source of it"
            noise = stream.draw(h.shape[3], h.shape[4]).to(h)  # [H, W]
        stream.keep(self, noise, slot)
        return h + (noise * scale.to(h.dtype))[:, None]


def _activated(h: Tensor, shift: Tensor | None, scale: Tensor | None) -> Tensor:
    """Modulate and activate in place; `h` is a norm's fresh result."""
    if shift is not None and scale is not None:
        h.mul_(1 + scale).add_(shift)
    return F.silu(h, inplace=True)


class ResBlocks(nn.Module):
    """Several residual blocks of one width, told the noise level together. Run by its `stages`."""

    def __init__(
        self,
        channels: int,
        count: int,
        wiring: Wiring,
        *,
        conditioned: bool = False,
        noisy: bool = False,
    ) -> None:
        super().__init__()
        self.time_embedder = TimeEmbedding(4 * channels, **wiring.layered) if conditioned else None
        self.res_blocks = nn.ModuleList(
            ResBlock(channels, channels, wiring, conditioned=conditioned, noisy=noisy)
            for _ in range(count)
        )

    def stages(self) -> list[Stage]:
        """One stage per block, so that a piece can be split between any two."""
        return [Stage(partial(self._run, block), 1.0) for block in self.res_blocks]

    def _run(self, block: nn.Module, x: Tensor, stream: Stream, last: bool) -> Tensor:
        return block(x, stream, last, self._modulation(stream, x.dtype))

    def _modulation(self, stream: Stream, dtype: torch.dtype) -> Tensor | None:
        """Return [B, 4, C], computed once per clip; None for an unconditioned decoder."""
        if self.time_embedder is None:
            return None
        modulation = stream.take(self)
        if modulation is None:
            assert stream.timestep is not None, "a conditioned decoder is given a timestep"
            modulation = self.time_embedder(stream.timestep, dtype).unflatten(1, (4, -1))
        stream.keep(self, modulation)
        return modulation


class FrameAttention(nn.Module):
    """Single-head self-attention among the positions of each frame."""

    def __init__(self, channels: int, wiring: Wiring, *, attention: AttentionFn = sdpa) -> None:
        super().__init__()
        self.growth = 1.0
        self.attention = attention
        self.norm = nn.Module()
        self.norm.gamma = nn.Parameter(torch.empty(channels, 1, 1, **wiring.place))
        self.to_qkv = wiring.layers.Conv2d(channels, 3 * channels, 1, **wiring.place)
        self.proj = wiring.layers.Conv2d(channels, channels, 1, **wiring.place)

    def forward(self, x: Tensor, stream: Stream, last: bool) -> Tensor:
        del stream, last  # every frame by itself
        batch, channels, _, rows, columns = x.shape
        frames = x.transpose(1, 2).flatten(0, 1)  # [B*F, C, H, W]
        y = F.normalize(frames, dim=1) * channels**0.5 * self.norm.gamma.to(x.dtype)
        q, k, v = self.to_qkv(y).flatten(2).transpose(1, 2).unsqueeze(1).chunk(3, dim=-1)
        out = self.attention(q, k, v, None)  # [B*F, 1, H*W, C]
        out = self.proj(out.squeeze(1).transpose(1, 2).unflatten(2, (rows, columns)))
        return (frames + out).unflatten(0, (batch, -1)).transpose(1, 2)


class Downsample(nn.Module):
    """Space to depth after a convolution, beside the mean over the positions that move together."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: tuple[int, int, int], wiring: Wiring
    ) -> None:
        super().__init__()
        self.stride = stride
        positions = stride[0] * stride[1] * stride[2]
        self.out_channels = out_channels
        self.growth = out_channels / in_channels / positions
        self.conv = wiring.conv(in_channels, out_channels // positions)

    def forward(self, x: Tensor, stream: Stream, last: bool) -> Tensor:
        halves_time = self.stride[0] == 2
        if halves_time and stream.begins(self):
            x = torch.cat((x[:, :, :1], x), dim=2)
        y = self.conv(x, stream, last)
        if halves_time:
            x = self._whole_pairs(x, stream, last, "skip")
            y = self._whole_pairs(y, stream, last, "conv")
        skip = space_to_depth(x, self.stride).unflatten(1, (self.out_channels, -1)).mean(dim=2)
        return skip.add_(space_to_depth(y, self.stride))

    def _whole_pairs(self, x: Tensor, stream: Stream, last: bool, slot: str) -> Tensor:
        """Hold back an odd last frame until its partner comes."""
        x = stream.joined(self, x, slot)
        even = x.shape[2] // 2 * 2
        if even < x.shape[2] and not last:
            stream.keep(self, x[:, :, even:], slot)
        return x[:, :, :even]


class Upsample(nn.Module):
    """Depth to space after a convolution, if wanted beside the same of the input."""

    def __init__(
        self,
        in_channels: int,
        multiplier: int,
        stride: tuple[int, int, int],
        wiring: Wiring,
        *,
        residual: bool,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.positions = stride[0] * stride[1] * stride[2]
        self.multiplier = multiplier
        self.residual = residual
        self.growth = self.positions / multiplier
        self.conv = wiring.conv(in_channels, self.positions * in_channels // multiplier)

    def forward(self, x: Tensor, stream: Stream, last: bool) -> Tensor:
        y = self.conv(x, stream, last)
        frames = y.shape[2]
        y = depth_to_space(y, self.stride)  # [B, C/m, a*F, d*H, e*W]
        if self.residual:
            skip = stream.delayed(self, x, frames, last=last)
            skip = depth_to_space(skip, self.stride)  # [B, C/P, ...]
            # The whole skip repeats along the channels, P/m times.
            repeats = self.positions // self.multiplier
            y = (y.unflatten(1, (repeats, -1)) + skip.unsqueeze(1)).flatten(1, 2)
        if frames and self.stride[0] == 2 and stream.begins(self):
            y = y[:, :, 1:]  # the first latent frame stands for one frame only
        return y


def stages_of(blocks: nn.ModuleList) -> list[Stage]:
    """Return blocks as stages of a run."""
    found: list[Stage] = []
    for block in blocks:
        if isinstance(block, ResBlocks):
            found += block.stages()
        else:
            assert isinstance(block, ResBlock | FrameAttention | Downsample | Upsample | TimeConv)
            found.append(Stage(block, block.growth))
    return found
