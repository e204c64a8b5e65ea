"""From a mel picture to samples: one generator, in the flavours of 2.0 and of 2.3.

Letters: B batch, C channels, T mel frames, N samples.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.layers import Check, LayerFactory, never_cancelled
from .activations import HALO, AntiAliased
from .blocks import Placement
from .config import STEREO, Final, Flavour, GeneratorConfig

#: Slope of the LeakyReLUs inside, and of the one before the last convolution.
SLOPE, LAST_SLOPE = 0.1, 0.01
#: Kernel of the first and of the last convolution.
OUTER_KERNEL = 7


class WaveBlock(nn.Module):
    """Pairs of a dilated and a plain convolution, each pair beside a shortcut."""

    def __init__(
        self,
        channels: int,
        kernel: int,
        dilations: tuple[int, ...],
        flavour: Flavour,
        *,
        layers: LayerFactory = nn,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        placement: Placement = {"device": device, "dtype": dtype}
        reach = (kernel - 1) // 2
        self.convs1 = nn.ModuleList(
            layers.Conv1d(
                channels, channels, kernel, dilation=step, padding=step * reach, **placement
            )
            for step in dilations
        )
        self.convs2 = nn.ModuleList(
            layers.Conv1d(channels, channels, kernel, padding=reach, **placement) for _ in dilations
        )
        snakes = len(dilations) if flavour is Flavour.AMP else 0
        self.acts1 = nn.ModuleList(AntiAliased(channels, **placement) for _ in range(snakes))
        self.acts2 = nn.ModuleList(AntiAliased(channels, **placement) for _ in range(snakes))

    def forward(self, x: Tensor) -> Tensor:  # [B, C, N]
        """Add what each pair finds."""
        for number, (dilated, plain) in enumerate(zip(self.convs1, self.convs2, strict=True)):
            if self.acts1:
                h = self.acts2[number](dilated(self.acts1[number](x)))
            else:
                h = F.leaky_relu(dilated(F.leaky_relu(x, SLOPE)), SLOPE)
            x = x + plain(h)
        return x


class Generator(nn.Module):
    """Stages of upsampling, each followed by the mean of several residual blocks."""

    def __init__(
        self,
        config: GeneratorConfig,
        *,
        sample_rate: int,
        layers: LayerFactory = nn,
        check: Check = never_cancelled,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        placement: Placement = {"device": device, "dtype": dtype}
        self.config = config
        self.check = check
        self.sample_rate = sample_rate
        pad = (OUTER_KERNEL - 1) // 2
        channels = config.initial_channels
        self.conv_pre = layers.Conv1d(
            config.stereo_bins, channels, OUTER_KERNEL, padding=pad, **placement
        )
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()  # those of a stage stand together
        for rate, kernel in zip(config.rates, config.kernels, strict=True):
            self.ups.append(
                layers.ConvTranspose1d(
                    channels, channels // 2, kernel, stride=rate, padding=(kernel - rate) // 2,
                    **placement,
                )
            )  # fmt: skip
            channels //= 2
            for size, dilations in zip(config.block_kernels, config.block_dilations, strict=True):
                self.resblocks.append(
                    WaveBlock(channels, size, dilations, config.flavour, layers=layers, **placement)
                )
        amp = config.flavour is Flavour.AMP
        self.act_post = AntiAliased(channels, **placement) if amp else None
        self.conv_post = layers.Conv1d(
            channels, STEREO, OUTER_KERNEL, padding=pad, bias=config.final_bias, **placement
        )

    @property
    def samples_per_frame(self) -> int:
        """Return how many samples one mel frame becomes."""
        return self.config.samples_per_frame

    @property
    def multiple(self) -> int:
        """Return what the first frame of a piece must be a multiple of: anything."""
        return 1

    @property
    def reach(self) -> int:
        """Return how many mel frames to either side a sample depends on, rounded up."""
        config = self.config
        snake = 2 * HALO if config.flavour is Flavour.AMP else 0
        widest = max(
            sum((size - 1) // 2 * (step + 1) + 2 * snake for step in dilations)
            for size, dilations in zip(config.block_kernels, config.block_dilations, strict=True)
        )
        pad = (OUTER_KERNEL - 1) // 2
        rate, frames = 1, float(pad)
        for factor, kernel in zip(config.rates, config.kernels, strict=True):
            rate *= factor
            frames += (kernel + widest) / rate
        return int(frames + (pad + snake) / rate) + 1

    def forward(self, mel: Tensor) -> Tensor:  # [B, 2, T, bins] -> [B, 2, N]
        """Generate. The samples are bounded as the config says."""
        x = self.conv_pre(mel.transpose(2, 3).flatten(1, 2))  # [B, C, T]
        together = len(self.config.block_kernels)
        for stage, up in enumerate(self.ups):
            self.check()
            if self.act_post is None:
                x = F.leaky_relu(x, SLOPE)
            x = up(x)
            blocks = self.resblocks[stage * together : (stage + 1) * together]
            # One after the other, so that only one block's activations are alive.
            total = blocks[0](x)
            for block in blocks[1:]:
                total += block(x)
            x = total / together
        x = F.leaky_relu(x, LAST_SLOPE) if self.act_post is None else self.act_post(x)
        x = self.conv_post(x)
        if self.config.final is Final.TANH:
            return torch.tanh(x)
        return x.clamp(-1, 1) if self.config.final is Final.CLAMP else x
