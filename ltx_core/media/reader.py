"""Clips and sound from files: what a file holds, its frames at any rate, its waveform, its tags.

Times are seconds from the beginning of the file, exact fractions inside.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream
from torch import Tensor

from ..errors import LTX2Error
from ..grid import exact_rate
from ..ops.layers import Check, never_cancelled
from .container import (
    audio_frames,
    audio_stream,
    opened,
    origin,
    readable,
    time_of,
    video_frames,
    video_stream,
)
from .picture import FrameReader

Seconds = float | Fraction

#: Frame rate of what states none, as a single picture.
DEFAULT_RATE = Fraction(25)
#: Time stamps may be rounded by this much: WEBM counts milliseconds.
STAMP_ROUNDING = Fraction(1, 1000)
#: What integer samples are divided by, and what silence is, by numpy type.
SAMPLE_SCALES = {"uint8": (128, 128), "int16": (2**15, 0), "int32": (2**31, 0), "int64": (2**63, 0)}


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipInfo:
    """What a clip holds. Sides are those of the upright picture; no sound, no `sample_rate`."""

    width: int
    height: int
    frames: int
    frame_rate: Fraction
    sample_rate: int | None

    @property
    def seconds(self) -> float:
        """Return how long the picture lasts."""
        return float(self.frames / self.frame_rate)


def clip_info(path: Path) -> ClipInfo:
    """Read what a clip holds; raise LTX2Error if it has no picture that can be decoded."""
    with opened(path) as container:
        stream = video_stream(container, path)
        with readable(path):
            rate, count = _rate_of(stream), stream.frames
            sound = container.streams.audio
            sample_rate = sound[0].rate if sound else None
            if count == 0:  # not every container states it
                count = sum(packet.size > 0 for packet in container.demux(stream))
    first = next(read_clip(path, frames=1))
    height, width, _ = first.shape
    return ClipInfo(
        width=width, height=height, frames=count, frame_rate=rate, sample_rate=sample_rate
    )


def _rate_of(stream: VideoStream) -> Fraction:
    """Return the stated rate; one that a measurement blurred becomes what people mean."""
    rate = stream.average_rate or stream.guessed_rate or DEFAULT_RATE
    return rate if rate.denominator in (1, 1001) else exact_rate(float(rate))


def read_clip(
    path: Path,
    *,
    start: Seconds = 0,
    seconds: Seconds | None = None,
    frames: int | None = None,
    rate: Fraction | None = None,
    check: Check = never_cancelled,
) -> Iterator[Tensor]:
    """Yield frames uint8 [H, W, 3], upright, from `start` on; `check` is called before each.

    Ends after `seconds` or `frames`, whichever comes first, or with the clip. With a `rate`, those
    frames are picked, some twice or not at all, that are visible at k / rate seconds after
    `start`. Raises LTX2Error if the file cannot be read, is damaged before the last frame asked
    for, or has no frame there.
    """
    begin = Fraction(start)
    end = None if seconds is None else begin + Fraction(seconds)
    count = 0
    if frames == 0:
        return
    with opened(path) as container:
        stream = video_stream(container, path)
        own_rate = _rate_of(stream)
        slack = min(stream.time_base or STAMP_ROUNDING, STAMP_ROUNDING)
        timed = _timed_frames(container, stream, path, begin, own_rate)
        if rate is None:
            wanted = _between(timed, begin - slack, None if end is None else end - slack)
        else:
            wanted = _picked(timed, begin, end, rate, 1 / own_rate, slack)
        picture = FrameReader()
        for frame in wanted:
            check()
            with readable(path):
                pixels = picture(frame)
            yield pixels
            count += 1
            if count == frames:
                return
    if count == 0:
        raise LTX2Error(
            f"{path.name} has no frame from {float(begin):g} seconds on.",
            needed="a clip that is not empty, and a start before its end",
            where=str(path),
            code="no_picture",
        )


def _timed_frames(
    container: InputContainer, stream: VideoStream, path: Path, begin: Fraction, rate: Fraction
) -> Iterator[tuple[Fraction, av.VideoFrame]]:
    """Yield (seconds, frame) from the last key frame before `begin` on."""
    zero = origin(container)
    if begin > 0 and stream.time_base:
        with suppress(FFmpegError):  # what cannot be searched is decoded from its beginning
            container.seek(int((begin + zero) / stream.time_base), stream=stream)
    time = Fraction(0)
    for frame in video_frames(container, stream, path):
        stamp = time_of(frame)
        time = time if stamp is None else stamp - zero
        yield time, frame
        time += 1 / rate  # of the next frame, should it have no stamp


def _between(
    timed: Iterator[tuple[Fraction, av.VideoFrame]], begin: Fraction, end: Fraction | None
) -> Iterator[av.VideoFrame]:
    for time, frame in timed:
        if end is not None and time >= end:
            return
        if time >= begin:
            yield frame


def _picked(
    timed: Iterator[tuple[Fraction, av.VideoFrame]],
    begin: Fraction,
    end: Fraction | None,
    rate: Fraction,
    duration: Fraction,  # of the source's last frame
    slack: Fraction,
) -> Iterator[av.VideoFrame]:
    """Yield the frame visible at begin, begin + 1 / rate, and so on."""
    visible: av.VideoFrame | None = None
    asked, last = begin, begin
    for time, frame in timed:
        while asked < time - slack:
            if end is not None and asked >= end - slack:
                return
            yield visible or frame
            asked += 1 / rate
        visible, last = frame, time
    stop = last + duration if end is None else min(end, last + duration)
    while visible is not None and asked < stop - slack:
        yield visible
        asked += 1 / rate


def read_sound(
    path: Path,
    *,
    start: Seconds = 0,
    seconds: Seconds | None = None,
    check: Check = never_cancelled,
) -> tuple[Tensor, int]:
    """Read the first sound of a file: waveform float32 [C, T] and its sample rate.

    Integer samples are scaled by their full range. Sound that begins later than the file is padded
    with silence, so that it stays with the picture; nothing is added at the end. Raises LTX2Error
    if there is no sound, or none from `start` on, or the file is damaged.
    """
    with opened(path) as container:
        stream = audio_stream(container, path)
        zero = origin(container)
        with readable(path):
            sample_rate = stream.rate
        wanted = None if seconds is None else round(Fraction(seconds) * sample_rate)
        parts: list[np.ndarray] = []
        have, skip = 0, None
        for frame in audio_frames(container, stream, path):
            check()
            with readable(path):
                samples = _samples(frame)
            if skip is None:
                late = (time_of(frame) or zero) - zero
                skip = round((Fraction(start) - late) * sample_rate)
                if skip < 0:
                    parts.append(np.zeros((samples.shape[0], -skip), np.float32))
                    have, skip = -skip, 0
            dropped = min(skip, samples.shape[1])
            skip -= dropped
            parts.append(samples[:, dropped:])
            have += samples.shape[1] - dropped
            if wanted is not None and have >= wanted:
                break
    if have == 0:
        raise LTX2Error(
            f"{path.name} has no sound from {float(start):g} seconds on.",
            where=str(path),
            code="no_sound",
        )
    with readable(path):
        waveform = np.concatenate(parts, axis=1)[:, :wanted]
    return torch.from_numpy(np.ascontiguousarray(waveform)), sample_rate


def _samples(frame: av.AudioFrame) -> np.ndarray:
    """Return a frame's samples as float32 [C, T]."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:  # [1, T * C], channels next to each other
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    scale, silence = SAMPLE_SCALES.get(samples.dtype.name, (1, 0))
    return (samples.astype(np.float32) - silence) / np.float32(scale)


def read_metadata(path: Path) -> dict[str, str]:
    """Return the tags of a file, our own and the container's.

    Matroska and WEBM write all names in capitals; they are returned in small letters.
    """
    with opened(path) as container, readable(path):
        tags = dict(container.metadata)
        capitals = "matroska" in container.format.name
    return {name.lower(): text for name, text in tags.items()} if capitals else tags
