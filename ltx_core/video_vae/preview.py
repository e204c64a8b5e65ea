"""Cheap previews: the linear map from a latent cell to its mean colour."""

import torch
from torch import Tensor

from .decode import decode
from .decoder import VideoDecoder

#: Cells that are decoded for the fit, per unknown; and the side and frames of one sample.
CELLS_PER_UNKNOWN = 4
SIDE, FRAMES = 8, 3


def preview_factors(decoder: VideoDecoder) -> Tensor:  # float32 [C+1, 3] on the CPU
    """Return the linear map from a normalised latent cell to colour in -1..1; a constant is last.

    Computed, not copied: least squares over a few small random latents that the decoder at hand
    decodes, with fixed random numbers. Each cell's target is the mean over the frames and pixels it
    stands for.
    """
    channels = decoder.config.latent_channels
    samples = -(-CELLS_PER_UNKNOWN * (channels + 1) // (FRAMES * SIDE * SIDE))
    generator = torch.Generator("cpu").manual_seed(0)
    cells, colours = [], []
    for _ in range(samples):
        latent = torch.randn(1, channels, FRAMES, SIDE, SIDE, generator=generator)
        video = decode(decoder, latent)  # on the CPU in float32, as the latent is
        cells.append(latent.movedim(1, -1).flatten(0, 3))  # [F*h*w, C]
        colours.append(_means(video, decoder).movedim(1, -1).flatten(0, 3))  # [F*h*w, 3]
    return linear_fit(torch.cat(cells), torch.cat(colours))


def linear_fit(inputs: Tensor, targets: Tensor) -> Tensor:
    """Return [C+1, D] that maps `inputs` [N, C], and a one, nearest to `targets` [N, D]."""
    inputs = torch.cat((inputs, torch.ones(inputs.shape[0], 1)), dim=1)  # [N, C+1]
    return torch.linalg.lstsq(inputs, targets).solution


def preview(latent: Tensor, factors: Tensor) -> Tensor:
    """Turn a normalised latent [B, C, F, h, w] into [B, 3, F, h, w] in -1..1, a pixel per cell."""
    factors = factors.to(latent)
    colours = torch.einsum("bcfhw,cd->bdfhw", latent, factors[:-1])
    return (colours + factors[-1].view(1, -1, 1, 1, 1)).clamp(-1, 1)


def _means(video: Tensor, decoder: VideoDecoder) -> Tensor:
    """Return the mean of what each cell stands for, [B, 3, F, h, w]."""
    scale = decoder.config.scale
    video = video.unflatten(4, (-1, scale.width)).mean(5).unflatten(3, (-1, scale.height)).mean(4)
    first, later = video[:, :, :1], video[:, :, 1:]
    return torch.cat((first, later.unflatten(2, (-1, scale.time)).mean(3)), dim=2)
