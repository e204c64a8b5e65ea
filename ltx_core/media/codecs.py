"""The encoders of the installed PyAV, by name."""

import av
from av.codec import Codec

from ..errors import LTX2Error

#: What people call the formats behind FFmpeg's encoder names.
SPOKEN = {
    "libx264": "H.264",
    "libvpx-vp9": "VP9",
    "aac": "AAC",
    "libopus": "Opus",
    "mjpeg": "JPEG",
    "png": "PNG",
}


def require_encoder(name: str) -> None:
    """Raise LTX2Error if the installed PyAV was built without an encoder."""
    try:
        Codec(name, "w")
    except ValueError as error:  # av's UnknownCodecError is one
        raise LTX2Error(
            f"The installed PyAV {av.__version__} cannot encode {SPOKEN.get(name, name)}.",
            needed=f"a PyAV built with {name}, as the wheels of the package `av` are",
            code="no_encoder",
        ) from error


def encoder(name: str) -> av.CodecContext:
    """Return an encoder to be set up, or raise LTX2Error if this PyAV lacks it."""
    require_encoder(name)
    return av.CodecContext.create(name, "w")
