"""Opening a file that may be anything, and one sentence if it cannot be read."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, TypeVar

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from ..errors import LTX2Error
from .whole import stated_length

Frame = TypeVar("Frame", av.VideoFrame, av.AudioFrame)

#: What PyAV raises at damaged files. Not all of it is an FFmpegError: a name that is not UTF-8 or a
#: stream without a decoder end as the others.
UNREADABLE = (FFmpegError, OSError, ValueError, AttributeError, IndexError, OverflowError)
#: A damaged header may claim any size; nothing we use is larger than this many pixels.
MAX_PIXELS = 16384 * 16384


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what is wrong with a file into an LTX2Error that names it."""
    try:
        yield
    except LTX2Error:
        raise
    except UNREADABLE as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise LTX2Error(
            f"{path.name} could not be read: {reason}.",
            needed="an undamaged picture, clip or sound file",
            where=str(path),
            code="unreadable",
        ) from error


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """Open a media file for reading, whatever its name looks like; refuse one that was cut short.

    FFmpeg gets the bytes and not the path: names with a colon or a percent sign would mean a
    protocol or a series of pictures to it, and a playlist could make it read other files.
    """
    with readable(path):
        file = path.open("rb")
    with file:
        with readable(path):
            _check_whole(file, path)
            container = av.open(
                file,
                metadata_errors="replace",
                container_options={"protocol_whitelist": "none"},
            )
        assert isinstance(container, InputContainer)
        with container:
            yield container


def _check_whole(file: BinaryIO, path: Path) -> None:
    stated, present = stated_length(file), path.stat().st_size
    if present < stated:
        raise LTX2Error(
            f"{path.name} is cut short: it has {present} of {stated} bytes.",
            needed="the whole file; download or copy it again",
            where=str(path),
            code="truncated",
        )


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """Return the first stream of pictures."""
    with readable(path):
        if not container.streams.video:
            raise LTX2Error(f"{path.name} holds no pictures.", where=str(path), code="no_picture")
        stream = container.streams.video[0]
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        stream.thread_type = "AUTO"
        return stream


def audio_stream(container: InputContainer, path: Path) -> AudioStream:
    """Return the first stream of sound."""
    with readable(path):
        if not container.streams.audio:
            raise LTX2Error(f"{path.name} holds no sound.", where=str(path), code="no_sound")
        return container.streams.audio[0]


def video_frames(
    container: InputContainer, stream: VideoStream, path: Path
) -> Iterator[av.VideoFrame]:
    """Decode pictures to the end; raise LTX2Error where one is damaged."""
    return _named(container.decode(stream), path)


def audio_frames(
    container: InputContainer, stream: AudioStream, path: Path
) -> Iterator[av.AudioFrame]:
    """Decode sound to the end; raise LTX2Error where it is damaged."""
    return _named(container.decode(stream), path)


def _named(frames: Iterator[Frame], path: Path) -> Iterator[Frame]:
    while True:
        with readable(path):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


def origin(container: InputContainer) -> Fraction:
    """Return the time stamp, in seconds, at which a file begins.

    Films cut from a broadcast begin anywhere. A start before 0 is the run-up of a sound codec and
    no beginning.
    """
    return Fraction(max(container.start_time or 0, 0), av.time_base)


def time_of(frame: av.VideoFrame | av.AudioFrame) -> Fraction | None:
    """Return a frame's time stamp in seconds."""
    stamp = frame.pts if frame.pts is not None else frame.dts
    return None if stamp is None or frame.time_base is None else stamp * frame.time_base
