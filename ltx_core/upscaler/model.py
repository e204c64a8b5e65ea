"""Latent upscalers: a larger or a faster latent from a latent (space x2, space x1.5, time x2).

Group norms pool over the whole clip, so the network is neither tiled nor streamed; it is small.
Letters: C latent channels, D width of the network.
"""

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..ops.layers import Check, LayerFactory, never_cancelled
from .config import UpscalerConfig

NORM_GROUPS, NORM_EPS = 32, 1e-5


class Normalising(Protocol):
    """Mean and deviation per latent channel, of the model generation's video autoencoder."""

    def normalise(self, x: Tensor) -> Tensor: ...

    def denormalise(self, x: Tensor) -> Tensor: ...


class ResBlock(nn.Module):
    """Two convolutions beside the identity; activated after the sum."""

    def __init__(
        self,
        channels: int,
        *,
        per_frame: bool = False,
        layers: LayerFactory = nn,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        place = {"device": device, "dtype": dtype}
        convolution = layers.Conv2d if per_frame else layers.Conv3d
        # Zeros beyond the ends of time too, unlike in the autoencoder.
        self.conv1 = convolution(channels, channels, 3, padding=1, **place)
        self.norm1 = layers.GroupNorm(NORM_GROUPS, channels, eps=NORM_EPS, **place)
        self.conv2 = convolution(channels, channels, 3, padding=1, **place)
        self.norm2 = layers.GroupNorm(NORM_GROUPS, channels, eps=NORM_EPS, **place)

    def forward(self, x: Tensor) -> Tensor:  # [B, D, F, h, w] or [B*F, D, h, w]
        h = F.silu(self.norm1(self.conv1(x)))
        return F.silu(x + self.norm2(self.conv2(h)))


class ShuffleUp(nn.Sequential):
    """One convolution to more channels, which become positions."""

    def __init__(self, conv: nn.Module, times: tuple[int, int, int]) -> None:
        super().__init__(conv)
        self.times = times

    def forward(self, input: Tensor) -> Tensor:  # [B, D, F, h, w]
        a, d, e = self.times
        if a == 1:  # frame by frame
            y = self[0](_frames(input))  # [B*F, D*d*e, h, w]
            y = rearrange(y, "n (c d e) h w -> n c (h d) (w e)", d=d, e=e)
            return _clip(y, input.shape[0])
        y = rearrange(self[0](input), "b (c a d e) f h w -> b c (f a) (h d) (w e)", a=a, d=d, e=e)
        return y[:, :, 1:]  # the first latent frame stands for one frame only


class BlurDown(nn.Module):
    """Takes every n-th row and column after a blur; the file brings the kernel."""

    def __init__(
        self, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.empty(1, 1, 5, 5, device=device, dtype=dtype))

    def forward(self, x: Tensor, step: int) -> Tensor:  # [N, D, h, w]
        if step == 1:
            return x
        channels = x.shape[1]
        kernel = self.get_buffer("kernel").to(x.dtype).expand(channels, 1, 5, 5)
        return F.conv2d(x, kernel, stride=step, padding=2, groups=channels)


class RationalUp(nn.Module):
    """Larger by a whole number, then smaller by another: 3/2, or 2/1."""

    def __init__(
        self,
        channels: int,
        ratio: tuple[int, int],
        *,
        layers: LayerFactory = nn,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        place = {"device": device, "dtype": dtype}
        self.times, self.over = ratio
        self.conv = layers.Conv2d(channels, self.times**2 * channels, 3, padding=1, **place)
        self.blur_down = BlurDown(**place)

    def forward(self, x: Tensor) -> Tensor:  # [B, D, F, h, w]
        y = F.pixel_shuffle(self.conv(_frames(x)), self.times)
        return _clip(self.blur_down(y, self.over), x.shape[0])


class Upscaler(nn.Module):
    """A latent [B, C, F, h, w] to a larger one; neither is normalised."""

    def __init__(
        self,
        config: UpscalerConfig,
        *,
        layers: LayerFactory = nn,
        check: Check = never_cancelled,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        place = {"device": device, "dtype": dtype}
        channels, mid = config.in_channels, config.mid_channels
        self.config = config
        self.check = check
        convolution = layers.Conv2d if config.per_frame else layers.Conv3d
        blocks: dict[str, Any] = {"per_frame": config.per_frame, "layers": layers, **place}
        self.initial_conv = convolution(channels, mid, 3, padding=1, **place)
        self.initial_norm = layers.GroupNorm(NORM_GROUPS, mid, eps=NORM_EPS, **place)
        self.res_blocks = nn.ModuleList(ResBlock(mid, **blocks) for _ in range(config.num_blocks))
        self.upsampler = _upsampler(config, layers, device, dtype)
        self.post_upsample_res_blocks = nn.ModuleList(
            ResBlock(mid, **blocks) for _ in range(config.num_blocks)
        )
        self.final_conv = convolution(mid, channels, 3, padding=1, **place)

    @property
    def dtype(self) -> torch.dtype:
        """What the upscaler computes in."""
        return self.initial_conv.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the upscaler lies."""
        return self.initial_conv.weight.device

    def forward(self, latent: Tensor) -> Tensor:
        """Upscale `latent` [B, C, F, h, w]; the result has its dtype."""
        if self.config.per_frame and latent.ndim == 5:
            return _clip(self(_frames(latent)), latent.shape[0])
        self.check()
        # [B, D, F, h, w], or frame by frame [B*F, D, h, w]
        x = F.silu(self.initial_norm(self.initial_conv(latent.to(self.dtype))))
        for block in self.res_blocks:
            self.check()
            x = block(x)
        x = self.upsampler(x) if x.ndim == 5 else self.upsampler(x.unsqueeze(2)).squeeze(2)
        for block in self.post_upsample_res_blocks:
            self.check()
            x = block(x)
        return self.final_conv(x).to(latent.dtype)

    def activation_bytes(self, frames: int, height: int, width: int) -> int:
        """Return what one forward needs beside the weights, for a latent of so many cells.

        About four tensors of the upscaled size are alive at a time; the rational resampler holds
        its larger intermediate twice.
        """
        time, side = self.config.scale
        elements = 4 * time * side**2
        if self.config.ratio is not None:
            elements = max(elements, 2 * self.config.ratio[0] ** 2 + side**2 + 1)
        itemsize = torch.empty((), dtype=self.dtype).element_size()
        return int(elements * self.config.mid_channels * frames * height * width * itemsize)


def upscale(upscaler: Upscaler, latent: Tensor, statistics: Normalising) -> Tensor:
    """Upscale a normalised latent [B, C, F, h, w] to a normalised one, on the upscaler's device.

    `statistics` are those of the video autoencoder of the same model generation. Computed in the
    upscaler's dtype, returned in the latent's.
    """
    with torch.no_grad():
        x = statistics.denormalise(latent.to(upscaler.device, upscaler.dtype))
        return statistics.normalise(upscaler(x)).to(latent.dtype)


def _upsampler(
    config: UpscalerConfig,
    layers: LayerFactory,
    device: torch.device | None,
    dtype: torch.dtype | None,
) -> nn.Module:
    mid = config.mid_channels
    if config.ratio is not None:
        return RationalUp(mid, config.ratio, layers=layers, device=device, dtype=dtype)
    side = 2 if config.spatial else 1
    if config.temporal:
        conv = layers.Conv3d(mid, 2 * side**2 * mid, 3, padding=1, device=device, dtype=dtype)
        return ShuffleUp(conv, (2, side, side))
    conv = layers.Conv2d(mid, 4 * mid, 3, padding=1, device=device, dtype=dtype)
    return ShuffleUp(conv, (1, 2, 2))


def _frames(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(0, 1)  # [B*F, D, h, w]


def _clip(y: Tensor, batch: int) -> Tensor:
    return y.unflatten(0, (batch, -1)).transpose(1, 2)  # [B, D, F, h, w]
