"""Where the video autoencoder's tensors sit in a checkpoint, or in a file of its own."""

from ..checkpoint.keys import KeyTable

#: Written by the trainer, read by nobody.
_STATISTICS: KeyTable = tuple(
    (f"{prefix}per_channel_statistics.{name}", target)
    for prefix in ("vae.", "")
    for name, target in (
        ("mean-of-means", "per_channel_statistics.mean-of-means"),
        ("std-of-means", "per_channel_statistics.std-of-means"),
        ("", None),
    )
)
ENCODER: KeyTable = (("vae.encoder.", ""), ("encoder.", ""), *_STATISTICS)
DECODER: KeyTable = (("vae.decoder.", ""), ("decoder.", ""), *_STATISTICS)
