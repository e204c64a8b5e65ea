"""Mean and deviation of every feature of an audio token."""

import torch
from torch import Tensor, nn


class TokenStatistics(nn.Module):
    """Takes latents to and from mean zero and deviation one.

    The entries are those of a token, channel-major: one per channel and mel bin of the latent.
    (Reference: it sizes them by the width of the first convolution, which is the same number in
    all official files.)
    """

    def __init__(
        self,
        channels: int,
        bins: int,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels
        for name in ("mean-of-means", "std-of-means"):
            self.register_buffer(name, torch.empty(channels * bins, device=device, dtype=dtype))

    def normalise(self, latent: Tensor) -> Tensor:  # [B, c, L, m]
        """Return the latent as the transformer knows it."""
        mean, deviation = self._of(latent)
        return (latent - mean) / deviation

    def denormalise(self, latent: Tensor) -> Tensor:  # [B, c, L, m]
        """Return the latent as the decoder needs it."""
        mean, deviation = self._of(latent)
        return latent * deviation + mean

    def _of(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and deviation, each [c, 1, m]."""
        stored = (self.get_buffer("mean-of-means"), self.get_buffer("std-of-means"))
        mean, deviation = (x.to(latent).unflatten(0, (self.channels, 1, -1)) for x in stored)
        return mean, deviation
