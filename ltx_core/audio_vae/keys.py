"""Where the audio networks' tensors sit in a checkpoint.

`vocoder.` is stripped once: 2.3's `vocoder.vocoder.conv_pre` becomes `vocoder.conv_pre`.
"""

from ..checkpoint.keys import KeyTable

STATISTICS = "audio_vae.per_channel_statistics."
#: Parameters that encoder and decoder both have, so their presence shows neither.
SHARED = "per_channel_statistics."

ENCODER: KeyTable = (
    ("audio_vae.encoder.", ""),
    (STATISTICS, SHARED),
)
DECODER: KeyTable = (
    ("audio_vae.decoder.", ""),
    (STATISTICS, SHARED),
)
VOCODER: KeyTable = (
    ("vocoder.mel_stft.stft_fn.inverse_basis", None),  # stored, never used
    ("vocoder.", ""),
)

#: Their presence tells which vocoder a file holds.
PLAIN_MARK = "vocoder.conv_pre.weight"
EXTENDED_MARK = "vocoder.bwe_generator.conv_pre.weight"
#: Low-pass filters end so; a file may lack them, they are then computed.
FILTERS = (".upsample.filter", ".downsample.lowpass.filter")
