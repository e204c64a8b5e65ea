"""What encoder and decoder are built from.

Letters: B batch, C channels, T time (height), W frequency (width).
"""

from itertools import pairwise
from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.attention import AttentionFn, sdpa
from ..ops.layers import LayerFactory
from .config import AudioVaeConfig, CausalityAxis, NormType

#: Zeros before the stride-2 convolution: left, right, top, bottom.
DOWNSAMPLE_PADDING = {
    CausalityAxis.HEIGHT: (0, 1, 2, 0),
    CausalityAxis.WIDTH: (2, 0, 0, 1),
    CausalityAxis.WIDTH_COMPATIBILITY: (1, 0, 0, 1),
    CausalityAxis.NONE: (0, 1, 0, 1),
}
#: What a non-pixel norm groups its channels into.
NUM_GROUPS = 32


class Placement(TypedDict):
    """Where a module's parameters are made."""

    device: torch.device | None
    dtype: torch.dtype | None


def causal_padding(kernel: int, axis: CausalityAxis) -> tuple[int, int, int, int]:
    """Return zeros left, right, top and bottom that keep the size and hide the future."""
    past, before = kernel - 1, (kernel - 1) // 2
    both = (before, past - before)
    if axis is CausalityAxis.HEIGHT:
        return (*both, past, 0)
    if axis is CausalityAxis.NONE:
        return (*both, *both)
    return (past, 0, *both)


class CausalConv2d(nn.Module):
    """A convolution that keeps the size and sees only the past along the causal axis."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        axis: CausalityAxis,
        *,
        layers: LayerFactory = nn,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.padding = causal_padding(kernel, axis)
        self.conv = layers.Conv2d(in_channels, out_channels, kernel, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, T, W] -> [B, C', T, W]
        """Convolve."""
        return self.conv(F.pad(x, self.padding))


class PixelNorm(nn.Module):
    """Scale every pixel to a root mean square of one over its channels. No parameters."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:  # [B, C, T, W]
        """Normalise."""
        return x / torch.sqrt(x.square().mean(dim=1, keepdim=True) + self.eps)


def norm(
    channels: int, config: AudioVaeConfig, layers: LayerFactory, placement: Placement
) -> nn.Module:
    """Return the kind of normalisation the config names."""
    if config.norm_type is NormType.GROUP:
        return layers.GroupNorm(NUM_GROUPS, channels, eps=config.norm_eps, **placement)
    return PixelNorm(config.norm_eps)


class ResBlock(nn.Module):
    """Twice norm, silu, convolution, beside a shortcut."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        config: AudioVaeConfig,
        *,
        layers: LayerFactory = nn,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        placement: Placement = {"device": device, "dtype": dtype}
        axis = config.causality_axis
        self.norm1 = norm(in_channels, config, layers, placement)
        self.conv1 = CausalConv2d(in_channels, out_channels, 3, axis, layers=layers, **placement)
        self.norm2 = norm(out_channels, config, layers, placement)
        self.conv2 = CausalConv2d(out_channels, out_channels, 3, axis, layers=layers, **placement)
        self.nin_shortcut = (
            None
            if in_channels == out_channels
            else CausalConv2d(in_channels, out_channels, 1, axis, layers=layers, **placement)
        )

    def forward(self, x: Tensor) -> Tensor:  # [B, C, T, W] -> [B, C', T, W]
        """Add what two convolutions find."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (x if self.nin_shortcut is None else self.nin_shortcut(x))


class AttentionBlock(nn.Module):
    """Single-head attention over all pixels. No official file has one."""

    def __init__(
        self,
        channels: int,
        config: AudioVaeConfig,
        *,
        layers: LayerFactory = nn,
        attention: AttentionFn = sdpa,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        placement: Placement = {"device": device, "dtype": dtype}
        self.attention = attention
        self.norm = norm(channels, config, layers, placement)
        self.q = layers.Conv2d(channels, channels, 1, **placement)
        self.k = layers.Conv2d(channels, channels, 1, **placement)
        self.v = layers.Conv2d(channels, channels, 1, **placement)
        self.proj_out = layers.Conv2d(channels, channels, 1, **placement)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, T, W]
        """Add what every pixel gathers from all others."""
        h = self.norm(x)
        q, k, v = (_as_head(layer(h)) for layer in (self.q, self.k, self.v))  # [B, 1, T*W, C]
        gathered = self.attention(q, k, v, None).squeeze(1).transpose(1, 2)  # [B, C, T*W]
        return x + self.proj_out(gathered.unflatten(2, x.shape[2:]))


def _as_head(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2).unsqueeze(1)


class Downsample(nn.Module):
    """Halve both axes with a strided convolution."""

    def __init__(
        self,
        channels: int,
        axis: CausalityAxis,
        *,
        layers: LayerFactory = nn,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.padding = DOWNSAMPLE_PADDING[axis]
        self.conv = layers.Conv2d(channels, channels, 3, stride=2, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, T, W] -> [B, C, ceil(T/2), W/2] (height)
        """Halve."""
        return self.conv(F.pad(x, self.padding))


class Upsample(nn.Module):
    """Double both axes, then drop the first row of the causal one: a clip of one stays one."""

    def __init__(
        self,
        channels: int,
        axis: CausalityAxis,
        *,
        layers: LayerFactory = nn,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.axis = axis
        self.conv = CausalConv2d(
            channels, channels, 3, axis, layers=layers, device=device, dtype=dtype
        )

    def forward(self, x: Tensor) -> Tensor:  # [B, C, T, W] -> [B, C, 2T - 1, 2W] (height)
        """Double."""
        x = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        if self.axis is CausalityAxis.HEIGHT:
            return x[:, :, 1:]
        if self.axis is CausalityAxis.WIDTH:
            return x[:, :, :, 1:]
        return x


class Level(nn.Module):
    """The residual blocks of one resolution, each with its attention if the config has any here."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int,
        config: AudioVaeConfig,
        *,
        attends: bool,
        layers: LayerFactory = nn,
        attention: AttentionFn = sdpa,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        placement: Placement = {"device": device, "dtype": dtype}
        widths = (in_channels, *(out_channels,) * num_blocks)
        self.block = nn.ModuleList(
            ResBlock(before, after, config, layers=layers, **placement)
            for before, after in pairwise(widths)
        )
        self.attn = nn.ModuleList(
            AttentionBlock(out_channels, config, layers=layers, attention=attention, **placement)
            for _ in range(num_blocks if attends else 0)
        )
        self.downsample: Downsample | None = None
        self.upsample: Upsample | None = None

    def forward(self, x: Tensor) -> Tensor:  # [B, C, T, W] -> [B, C', T', W']
        """Run the blocks, then change the resolution if this level does."""
        for number, block in enumerate(self.block):
            x = block(x)
            if self.attn:
                x = self.attn[number](x)
        if self.downsample is not None:
            return self.downsample(x)
        return x if self.upsample is None else self.upsample(x)


class Middle(nn.Module):
    """Two residual blocks at the coarsest resolution, with optional attention between."""

    def __init__(
        self,
        channels: int,
        config: AudioVaeConfig,
        *,
        layers: LayerFactory = nn,
        attention: AttentionFn = sdpa,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        placement: Placement = {"device": device, "dtype": dtype}
        self.block_1 = ResBlock(channels, channels, config, layers=layers, **placement)
        self.attn_1 = (
            AttentionBlock(channels, config, layers=layers, attention=attention, **placement)
            if config.mid_attention
            else None
        )
        self.block_2 = ResBlock(channels, channels, config, layers=layers, **placement)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, T, W]
        """Run both blocks."""
        x = self.block_1(x)
        if self.attn_1 is not None:
            x = self.attn_1(x)
        return self.block_2(x)
