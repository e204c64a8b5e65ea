"""From a normalised latent to a log-mel picture.

Letters: B batch, T mel frames, L latent frames, c channels and m mel bins of the latent.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import LTX2Error
from ..ops.attention import AttentionFn, sdpa
from ..ops.layers import Check, LayerFactory, never_cancelled
from .blocks import CausalConv2d, Level, Middle, Placement, Upsample, norm
from .chunks import spans
from .config import FRAMES_PER_LATENT, AudioVaeConfig, CausalityAxis
from .lengths import decoded_mel_frames
from .statistics import TokenStatistics

#: Latents decoded at a time when the sound is long: 20 s, well below a gigabyte of activations.
LATENTS_AT_ONCE = 512


class AudioDecoder(nn.Module):
    """Doubles time and frequency at every level but the finest."""

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
            config.latent_channels, widths[-1], 3, axis, layers=layers, **placement
        )
        self.mid = Middle(widths[-1], config, layers=layers, attention=attention, **placement)
        self.up = nn.ModuleList()  # by level, finest first; the last one runs first
        for number, (before, after) in enumerate(
            zip([*widths[1:], widths[-1]], widths, strict=True)
        ):
            level = Level(
                before, after, config.num_res_blocks + 1, config, layers=layers,
                attention=attention, attends=config.has_attention(number), **placement,
            )  # fmt: skip
            if number > 0:
                level.upsample = Upsample(after, axis, layers=layers, **placement)
            self.up.append(level)
        self.norm_out = norm(widths[0], config, layers, placement)
        self.conv_out = CausalConv2d(
            widths[0], config.out_channels, 3, axis, layers=layers, **placement
        )
        self.per_channel_statistics = TokenStatistics(
            config.latent_channels, config.latent_bins, **placement
        )

    @property
    def look_back(self) -> int:
        """Return how many latents of the past a mel frame depends on, rounded up."""
        blocks, last = self.config.num_res_blocks + 1, len(self.up) - 1
        coarsest = 2 * (1 + 4 + 2 * blocks)  # conv_in, the middle, the first level to run
        finer = sum(2 * (1 + 2 * blocks) / 2 ** (last - level) for level in range(last))
        return int(coarsest + finer + 2 / 2**last) + 2

    def forward(
        self,
        latent: Tensor,  # [B, c, L, m] normalised
        *,
        at_once: int = LATENTS_AT_ONCE,  # latents; more are decoded piece by piece
    ) -> Tensor:  # [B, 2, T, bins] natural logarithm, T = 4L - 3
        """Decode; a long sound in pieces that give the same picture as one pass."""
        expected = (self.config.latent_channels, self.config.latent_bins)
        if latent.ndim != 4 or (latent.shape[1], latent.shape[3]) != expected:
            raise LTX2Error(
                f"This is not an audio latent: its shape is {list(latent.shape)}, "
                f"[batch, {expected[0]}, length, {expected[1]}] is needed.",
                code="shape_mismatch",
            )
        if not self.config.streams_in_time:
            return self._decode(latent)
        pictures = []
        for span in spans(latent.shape[2], at_once, before=self.look_back):
            picture = self._decode(latent[:, :, span.first : span.end])
            # The first latent of all makes one frame, every other four.
            surplus = FRAMES_PER_LATENT * (span.start - span.first) - (FRAMES_PER_LATENT - 1)
            pictures.append(picture[:, :, max(0, surplus) :])
        return torch.cat(pictures, dim=2)

    def _decode(self, latent: Tensor) -> Tensor:
        x = self.conv_in(self.per_channel_statistics.denormalise(latent))  # [B, C, L, m]
        x = self.mid(x)
        for level in reversed(self.up):
            self.check()
            x = level(x)
        x = self.conv_out(F.silu(self.norm_out(x)))  # [B, 2, T, bins]
        return self._fitted(x, latent.shape[2])

    def _fitted(self, picture: Tensor, latents: int) -> Tensor:
        """Cut or pad with zeros at the ends to the promised size; nothing to do for real files."""
        bins = self.config.front_end.mel_bins
        frames = (
            FRAMES_PER_LATENT * latents
            if self.config.causality_axis is CausalityAxis.NONE
            else decoded_mel_frames(latents)
        )
        picture = picture[:, :, :frames, :bins]
        return F.pad(picture, (0, bins - picture.shape[3], 0, frames - picture.shape[2]))
