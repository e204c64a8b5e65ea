"""Sound to latents and back, with networks that are laid out already.

Letters: B batch, C channels, N samples, L latent frames.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import LTX2Error
from .decoder import LATENTS_AT_ONCE, AudioDecoder
from .encoder import AudioEncoder
from .mel import log_mel
from .vocoder import FRAMES_AT_ONCE, Vocoder, vocode
from .waveform import to_stereo


class Sound(NamedTuple):
    """A waveform and its rate in samples per second."""

    waveform: Tensor  # [B, 2, N] float32 in -1..1
    sample_rate: int


@torch.no_grad()
def encode_waveform(
    encoder: AudioEncoder,
    waveform: Tensor,  # [B, C, N] in -1..1, any number of channels
    sampling_rate: int,
) -> Tensor:  # [B, c, L, m] float32 on the encoder's device
    """Return the normalised latent of a sound: made stereo, resampled, analysed, encoded.

    A sound of exactly L/25 seconds gives L + 1 latents; `lengths.conform` cuts or fills up.
    Raises LTX2Error: `too_short` below 32 ms, `not_finite`.
    """
    if not torch.isfinite(waveform).all():
        raise LTX2Error(
            "The sound has samples that are not numbers.",
            needed="a sound from an undamaged file",
            code="not_finite",
        )
    waveform = to_stereo(waveform.to(device_of(encoder), torch.float32))
    return encoder(log_mel(waveform, sampling_rate, encoder.config.front_end))


@torch.no_grad()
def decode_mel(
    decoder: AudioDecoder,
    latent: Tensor,  # [B, c, L, m] normalised
    *,
    at_once: int = LATENTS_AT_ONCE,
) -> Tensor:  # [B, 2, 4L - 3, bins] float32 on the decoder's device
    """Return the log-mel picture of a latent, at most `at_once` latents at a time."""
    return decoder(latent.to(device_of(decoder), torch.float32), at_once=at_once)


@torch.no_grad()
def mel_to_sound(
    vocoder: Vocoder,
    mel: Tensor,  # [B, 2, T, bins] natural logarithm
    *,
    at_once: int = FRAMES_AT_ONCE,
) -> Sound:
    """Return the sound of a log-mel picture, at most `at_once` mel frames at a time."""
    picture = mel.to(device_of(vocoder), torch.float32)
    return Sound(vocode(vocoder, picture, at_once=at_once), vocoder.sample_rate)


def decode_sound(
    decoder: AudioDecoder,
    vocoder: Vocoder,
    latent: Tensor,  # [B, c, L, m] normalised
    *,
    latents_at_once: int = LATENTS_AT_ONCE,
    frames_at_once: int = FRAMES_AT_ONCE,
) -> Sound:
    """Return the sound of a latent, float32 throughout, on the vocoder's device.

    L latents are 4L - 3 mel frames of 10 ms: always 10 to 50 ms less than the picture they go with.
    """
    return mel_to_sound(
        vocoder, decode_mel(decoder, latent, at_once=latents_at_once), at_once=frames_at_once
    )


def device_of(network: nn.Module) -> torch.device:
    """Return where a network's weights lie."""
    return next(network.parameters()).device
