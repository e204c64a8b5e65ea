"""From a log-mel picture to a normalised latent.

Letters: B batch, T mel frames, L latent frames, c channels and m mel bins of the latent.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.attention import AttentionFn, sdpa
from ..ops.layers import Check, LayerFactory, never_cancelled
from .blocks import CausalConv2d, Downsample, Level, Middle, Placement, norm
from .chunks import spans
from .config import FRAMES_PER_LATENT, AudioVaeConfig
from .statistics import TokenStatistics

#: Latents made at a time when the sound is long: 20 s, well below a gigabyte of activations.
LATENTS_AT_ONCE = 512


class AudioEncoder(nn.Module):
    """Halves time and frequency at every level but the last; gives the mean, never a sample."""

    def __init__(
        self,
        config: AudioVaeConfig,
        *,
        layers: LayerFactory = nn,
        attention: AttentionFn = sdpa,
        check: Check = never_cancelled,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        placement: Placement = {"device": device, "dtype": dtype}
        axis = config.causality_axis
        widths = [config.channels * multiplier for multiplier in config.multipliers]
        self.config = config
        self.check = check
        self.conv_in = CausalConv2d(
            config.in_channels, config.channels, 3, axis, layers=layers, **placement
        )
        self.down = nn.ModuleList()
        for number, (before, after) in enumerate(
            zip([config.channels, *widths[:-1]], widths, strict=True)
        ):
            level = Level(
                before, after, config.num_res_blocks, config, layers=layers, attention=attention,
                attends=config.has_attention(number), **placement,
            )  # fmt: skip
            if number < len(widths) - 1:
                level.downsample = Downsample(after, axis, layers=layers, **placement)
            self.down.append(level)
        self.mid = Middle(widths[-1], config, layers=layers, attention=attention, **placement)
        self.norm_out = norm(widths[-1], config, layers, placement)
        self.conv_out = CausalConv2d(
            widths[-1], 2 * config.latent_channels, 3, axis, layers=layers, **placement
        )
        self.per_channel_statistics = TokenStatistics(
            config.latent_channels, config.latent_bins, **placement
        )

    @property
    def look_back(self) -> int:
        """Return how many latents of the past a latent depends on, rounded up."""
        blocks, last = self.config.num_res_blocks, len(self.down) - 1
        rows = sum((2 * blocks * 2 + 2) / 2 ** (last - level) for level in range(last))
        finest = 2 / 2**last  # conv_in
        coarsest = 2 * (2 * blocks + 4 + 1)  # the last level, the middle, conv_out
        return int(rows + finest + coarsest) + 2

    def forward(
        self,
        mel: Tensor,  # [B, 2, T, bins] natural logarithm
        *,
        at_once: int = LATENTS_AT_ONCE,  # latents; more are encoded piece by piece
    ) -> Tensor:  # [B, c, L, m], L = ceil(T / 4)
        """Encode; a long sound in pieces that give the same latents as one pass."""
        if not self.config.streams_in_time:
            return self._encode(mel)
        latents = []
        for span in spans(-(-mel.shape[2] // FRAMES_PER_LATENT), at_once, before=self.look_back):
            # A latent depends on nothing behind the first of its four frames.
            last = (span.end - 1) * FRAMES_PER_LATENT + 1
            piece = self._encode(mel[:, :, span.first * FRAMES_PER_LATENT : last])
            latents.append(piece[:, :, span.start - span.first :])
        return torch.cat(latents, dim=2)

    def _encode(self, mel: Tensor) -> Tensor:
        x = self.conv_in(mel)  # [B, C, T, bins]
        for level in self.down:
            self.check()
            x = level(x)
        x = self.conv_out(F.silu(self.norm_out(self.mid(x))))  # [B, 2c, L, m]
        return self.per_channel_statistics.normalise(x.chunk(2, dim=1)[0])
