"""Mean and deviation of each latent channel: between normalised and the networks' own latents.

Everything outside the autoencoder and the upscaler sees normalised latents. The two tensors stand
once in a file and serve encoder, decoder and upscaler.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..checkpoint.weights import Weights
from ..errors import LTX2Error

MEAN, STD = "mean-of-means", "std-of-means"


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Mean and standard deviation per channel, each [C]."""

    mean: Tensor
    std: Tensor

    def normalise(self, x: Tensor) -> Tensor:
        """Return `x` [B, C, F, h, w] with mean 0 and deviation 1, computed in the dtype of `x`."""
        # Reference: the statistics are rounded to x's dtype before the arithmetic.
        return (x - self._along(self.mean, x)) / self._along(self.std, x)

    def denormalise(self, x: Tensor) -> Tensor:
        """Return what `normalise` made `x` [B, C, F, h, w] from."""
        return x * self._along(self.std, x) + self._along(self.mean, x)

    @staticmethod
    def _along(values: Tensor, x: Tensor) -> Tensor:
        return values.to(x).view(1, -1, 1, 1, 1)


class ChannelStatistics(nn.Module):
    """The statistics as part of a network, under the names they have in a checkpoint."""

    def __init__(
        self,
        channels: int,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for name in (MEAN, STD):
            self.register_buffer(name, torch.empty(channels, device=device, dtype=dtype))

    @property
    def value(self) -> Statistics:
        """The statistics where the network lies now."""
        return Statistics(self.get_buffer(MEAN), self.get_buffer(STD))


def read_statistics(weights: Weights) -> Statistics:
    """Read the two tensors of a video autoencoder's file, without building a network.

    Raises LTX2Error `component_missing` if the file has none.
    """
    found = _found(weights)
    if found is None:
        raise LTX2Error(
            f"{weights.name} holds no video autoencoder: per_channel_statistics is missing.",
            needed="a checkpoint or a video VAE file of the latent's model generation",
            code="component_missing",
        )
    return Statistics(weights[found + MEAN], weights[found + STD])


def _found(weights: Mapping[str, Tensor]) -> str | None:
    prefixes = ("vae.per_channel_statistics.", "per_channel_statistics.")
    return next((p for p in prefixes if p + MEAN in weights and p + STD in weights), None)
