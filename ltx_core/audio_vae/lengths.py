"""How long a sound is as samples, mel frames and latents (spec audio 9).

Frames of picture to latents is `grid.audio_latent_frames`.
"""

import torch.nn.functional as F
from torch import Tensor

from .config import FRAMES_PER_LATENT, FrontEndConfig
from .waveform import resampled_length


def mel_frames_of(
    samples: int, sampling_rate: int, config: FrontEndConfig = FrontEndConfig()
) -> int:
    """Return how many mel frames the front end makes of a sound."""
    return 1 + resampled_length(samples, sampling_rate, config.sampling_rate) // config.hop_length


def latents_of(samples: int, sampling_rate: int, config: FrontEndConfig = FrontEndConfig()) -> int:
    """Return how many latents a sound encodes to: one more than its duration times 25."""
    return -(-mel_frames_of(samples, sampling_rate, config) // FRAMES_PER_LATENT)


def decoded_mel_frames(latents: int) -> int:
    """Return how many mel frames the causal decoder makes: the first latent gives one."""
    return max(FRAMES_PER_LATENT * latents - (FRAMES_PER_LATENT - 1), 1)


def decoded_samples(latents: int, samples_per_frame: int) -> int:
    """Return how many samples come out of decoder and vocoder (240 or 480 per mel frame)."""
    return samples_per_frame * decoded_mel_frames(latents)


def conform(latent: Tensor, latents: int) -> Tensor:
    """Return [B, c, latents, m] of [B, c, L, m]: cut at the end, or zeros added there.

    Zeros are the mean sound, not silence. Reference: it does the same when it retakes, but refuses
    a sound too short for its video.
    """
    if latent.shape[2] >= latents:
        return latent[:, :, :latents]
    return F.pad(latent, (0, 0, 0, latents - latent.shape[2]))
