"""The feature extractor: from Gemma's hidden states to one vector per token and stream.

Formula: the states are evened out, laid side by side (D * S numbers per token) and projected. Both
the evening out and the projection work state by state, so each is used as it comes and let go.

Letters: N tokens of all prompts, D Gemma's width, S states, V and A width of the streams' features.
"""

from collections.abc import Iterable, Sequence
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..ops.layers import LayerFactory
from .config import ExtractorConfig, Normalisation


class Features(NamedTuple):
    """One vector per token of all prompts."""

    video: Tensor  # [N, V]
    audio: Tensor  # [N, A]


class FeatureExtractor(nn.Module):
    """One linear layer per hidden state, so that a namespace can stream them like any other.

    In the checkpoint the S matrices are one (`keys.StateSlices`); its bias is the first layer's.
    """

    def __init__(
        self,
        config: ExtractorConfig,
        *,
        layers: LayerFactory = nn,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        shared = config.normalisation is Normalisation.RANGE

        def projection(dim: int) -> nn.ModuleList:
            return nn.ModuleList(
                layers.Linear(
                    config.state_dim,
                    dim,
                    bias=state == 0 and not shared,
                    device=device,
                    dtype=dtype,
                )
                for state in range(config.num_states)
            )

        if shared:
            self.aggregate_embed = projection(config.video_dim)
        else:
            self.video_aggregate_embed = projection(config.video_dim)
            self.audio_aggregate_embed = projection(config.audio_dim)

    def forward(
        self,
        states: Iterable[Tensor],  # S of [N, D], in order
        lengths: Sequence[int],  # tokens of each prompt, N in all
    ) -> Features:
        """Add up what every state contributes; the sums are float32, rounded at the end."""
        sums: list[Tensor] = []
        dtype = torch.float32
        for number, state in enumerate(states):
            dtype = state.dtype
            parts = [part.float() for part in self._parts(number, state, lengths)]
            sums = [a + b for a, b in zip(sums, parts, strict=True)] if sums else parts
        return Features(sums[0].to(dtype), sums[-1].to(dtype))

    def _parts(self, number: int, state: Tensor, lengths: Sequence[int]) -> list[Tensor]:
        """Return what one state adds to each stream; one tensor where they share it."""
        if self.config.normalisation is Normalisation.RANGE:
            return [self.aggregate_embed[number](evened_by_range(state, lengths))]
        evened = evened_by_rms(state)
        return [
            projections[number](evened * sqrt(dim / self.config.state_dim))
            for projections, dim in (
                (self.video_aggregate_embed, self.config.video_dim),
                (self.audio_aggregate_embed, self.config.audio_dim),
            )
        ]


def evened_by_range(state: Tensor, lengths: Sequence[int]) -> Tensor:
    """Even a state [N, D] out as 2.0 was trained: 8 (x - mean) / range over each whole prompt.

    Mean and quotient are float32, the range has the state's dtype, as in the reference.
    """
    evened = []
    for x in state.split(list(lengths)):  # [n, D]
        mean = x.float().sum() / (x.numel() + 1e-6)
        span = x.max() - x.min()
        evened.append((8 * (x.float() - mean) / (span + 1e-6)).to(x.dtype))
    return torch.cat(evened)


def evened_by_rms(state: Tensor) -> Tensor:
    """Even a state [N, D] out as from 2.3 on: each token by its root mean square, in its dtype."""
    return state * torch.rsqrt(state.pow(2).mean(-1, keepdim=True) + 1e-6)
