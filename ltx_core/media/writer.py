"""A clip into a file: pictures and sound go to the encoders as they come.

MP4 and MOV hold H.264 and AAC, WEBM holds VP9 and Opus. All are BT.709, 4:2:0, limited range, and
say so. The frame rate is kept as the fraction it is. WEBM counts time in milliseconds: there the
single frame is placed to the nearest one, while the stated rate stays exact.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.codec import Codec
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream
from torch import Tensor

from ..errors import LTX2Error
from ..ops.layers import Check, never_cancelled
from .codecs import require_encoder
from .colour import check_finite, from_core_range, i420
from .partial import partial_file, told
from .sound import SoundFeed, Waveform, audio_frame

log = logging.getLogger(__name__)

#: BT.709 as primaries, transfer function and matrix, and limited range, in FFmpeg's numbers.
BT709, LIMITED = 1, 1
#: Opus knows this rate best, and AAC all that are usual; other rates are brought to it.
STANDARD_RATE = 48_000
#: Bits of AAC or Opus per second of stereo.
SOUND_BIT_RATE = 192_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipFormat:
    """What a kind of file holds, and how its encoders are set."""

    video: str
    audio: str
    rates: tuple[int, ...] | None  # sample rates it may hold; None asks the encoder
    container_options: Mapping[str, str] = field(default_factory=dict)
    video_options: Mapping[str, str] = field(default_factory=dict)


#: The index goes to the front, so that a browser plays while loading; tags keep names of ours.
_QUICKTIME = ClipFormat(
    video="libx264",
    audio="aac",
    rates=None,
    container_options={"movflags": "use_metadata_tags+faststart"},
    video_options={"preset": "veryfast"},
)
FORMATS: Mapping[str, ClipFormat] = {
    "mp4": _QUICKTIME,
    "mov": _QUICKTIME,
    "webm": ClipFormat(
        video="libvpx-vp9",
        audio="libopus",
        rates=(STANDARD_RATE,),
        # A bit rate of 0 makes the crf decide alone.
        video_options={"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A finished file. `sample_rate` and `samples` are None where it has no sound."""

    path: Path
    width: int
    height: int
    frames: int
    frame_rate: Fraction
    sample_rate: int | None
    samples: int | None

    @property
    def seconds(self) -> float:
        """Return how long the picture lasts."""
        return float(self.frames / self.frame_rate)


def crf_of(quality: int) -> int:
    """Return the encoders' rate factor (lower is better) of a quality from 20 to 99."""
    if not 20 <= quality <= 99:
        raise LTX2Error(f"A quality of {quality} cannot be had.", needed="a quality from 20 to 99")
    return round(51 - 0.4 * quality)


def write_clip(
    path: Path,
    spans: Iterable[Tensor],  # each [1, 3, f, H, W] in -1..1; what lies outside is clamped
    frame_rate: Fraction,
    *,
    sound: tuple[Waveform, int] | None = None,  # waveform and its sample rate
    format: str = "mp4",  # of FORMATS
    quality: int = 95,  # 20..99
    metadata: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None,
    frames: int | None = None,
    check: Check = never_cancelled,
    on_frames: Callable[[int], None] | None = None,
) -> Written:
    """Write pictures and sound, under a temporary name until the file is complete.

    `frames` is how many are wanted: later spans are not asked for, fewer are an error. The sound is
    cut, or continued by silence, to the length of the picture. An odd side loses its last row or
    column, since 4:2:0 has none. `check` is called before each chunk that is muxed, `on_frames`
    with the number of frames encoded so far. A `metadata` that is a function is asked when all
    frames are encoded, so that it can tell how long that took. Names in it keep their capitals in
    MP4 and MOV; WEBM has capitals only and is read back in small letters.

    Raises LTX2Error if the file cannot be written, an encoder is missing, or a picture or the sound
    holds values that are no numbers. Whatever is raised, no unfinished file stays behind.
    """
    kind = FORMATS.get(format)
    if kind is None:
        raise LTX2Error(f"Clips cannot be written as {format}.", needed=", ".join(FORMATS))
    crf = crf_of(quality)
    require_encoder(kind.video)
    if sound is not None:
        require_encoder(kind.audio)
    with (
        partial_file(path) as partial,
        _container(path, partial, format, kind, metadata) as container,
    ):
        muxer = _Muxer(container, path, check)
        with told(path):
            picture = _PictureTrack(muxer, kind, frame_rate, crf)
            track = None if sound is None else _SoundTrack(muxer, kind, *sound)
        for planes in _pictures(spans, frames):
            picture.add(planes)
            if track is not None:
                track.extend_to(picture.frames / frame_rate)
            if on_frames is not None:
                on_frames(picture.frames)
        _check_count(path, picture.frames, frames)
        picture.finish()
        if track is not None:
            track.finish()
    log.info("wrote %s: %d frames at %s per second", path, picture.frames, frame_rate)
    return Written(
        path=path,
        width=picture.width,
        height=picture.height,
        frames=picture.frames,
        frame_rate=frame_rate,
        sample_rate=track.sample_rate if track else None,
        samples=track.samples if track else None,
    )


def _check_count(path: Path, frames: int, wanted: int | None) -> None:
    if frames == 0:
        raise LTX2Error(f"{path.name} was not written: the clip has no frames.")
    if wanted is not None and frames < wanted:
        raise LTX2Error(f"{path.name} was not written: {frames} of {wanted} frames came.")


def _pictures(spans: Iterable[Tensor], wanted: int | None) -> Iterator[Tensor]:
    """Yield bytes [H * 3/2, W] of one frame after the other; a span is let go before the next."""
    done = 0
    if wanted == 0:
        return
    for span in spans:
        assert span.shape[0] == 1, "one clip to a file"
        for index in range(span.shape[2]):
            yield _planes(span[:, :, index])
            done += 1
            if done == wanted:
                return
        del span


def _planes(frame: Tensor) -> Tensor:
    """Return a frame [1, 3, H, W] in -1..1 as bytes [H * 3/2, W] of even sides."""
    height, width = frame.shape[-2] // 2 * 2, frame.shape[-1] // 2 * 2
    if height == 0 or width == 0:
        raise LTX2Error(f"{frame.shape[-1]}x{frame.shape[-2]} pixels are too few for a clip.")
    check_finite(frame, "The picture")
    return i420(from_core_range(frame[..., :height, :width]))[0].cpu()


@contextmanager
def _container(
    path: Path,
    partial: Path,
    format: str,
    kind: ClipFormat,
    metadata: Mapping[str, str] | Callable[[], Mapping[str, str]] | None,
) -> Iterator[OutputContainer]:
    """Yield what packets go into; tags that are known only at the end are added by copying."""
    if not callable(metadata):
        with _opened(path, partial, format, kind.container_options) as container:
            container.metadata.update(metadata or {})
            yield container
        return
    untagged = partial.with_suffix(".raw")
    try:
        with _opened(path, untagged, format, {}) as container:
            yield container
        tags = metadata()
        with (
            told(path),
            av.open(str(untagged.absolute()), format=format) as source,
            _opened(path, partial, format, kind.container_options) as container,
        ):
            container.metadata.update(tags)
            _copy(source, container)
    finally:
        with suppress(OSError):
            untagged.unlink(missing_ok=True)


@contextmanager
def _opened(
    path: Path, partial: Path, format: str, options: Mapping[str, str]
) -> Iterator[OutputContainer]:
    # The absolute path, because FFmpeg takes "name:rest" for a protocol.
    with told(path):
        container = av.open(
            str(partial.absolute()),
            "w",
            format=format,
            options=dict(options),
            metadata_errors="replace",
        )
    try:
        yield container
    except BaseException:
        with suppress(FFmpegError, OSError):  # it would write an index; the file goes anyway
            container.close()
        raise
    with told(path):
        container.close()


def _copy(source: InputContainer, target: OutputContainer) -> None:
    """Copy all packets as they are, times included."""
    streams = {}
    for stream in source.streams:
        copied = target.add_stream_from_template(stream)
        copied.time_base = stream.time_base
        streams[stream.index] = copied
    for packet in source.demux():
        if packet.dts is not None:  # the empty packet that ends a stream
            packet.stream = streams[packet.stream.index]
            target.mux(packet)


class _Muxer:
    """Puts packets into the file, and lets a run be cancelled before each portion."""

    def __init__(self, container: OutputContainer, path: Path, check: Check) -> None:
        self.container = container
        self._path = path
        self._check = check

    def mux(self, encode: Callable[[], list[Packet]]) -> None:
        self._check()
        with told(self._path):
            self.container.mux(encode())


class _PictureTrack:
    """Frames of one size at an exact rate. The size is that of the first frame."""

    def __init__(self, muxer: _Muxer, kind: ClipFormat, frame_rate: Fraction, crf: int) -> None:
        stream = muxer.container.add_stream(kind.video, rate=frame_rate)
        assert isinstance(stream, VideoStream)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = 1 / frame_rate
        stream.options = {**kind.video_options, "crf": str(crf)}
        stream.codec_context.color_primaries = BT709
        stream.codec_context.color_trc = BT709
        stream.codec_context.colorspace = BT709
        stream.codec_context.color_range = LIMITED
        self.frames = 0
        self.width = self.height = 0
        self._muxer = muxer
        self._stream = stream

    def add(self, planes: Tensor) -> None:
        """Encode bytes [H * 3/2, W]."""
        frame = av.VideoFrame.from_ndarray(planes.numpy(), format="yuv420p")
        if self.frames == 0:
            self.width, self.height = frame.width, frame.height
            self._stream.width, self._stream.height = frame.width, frame.height
        assert (frame.width, frame.height) == (self.width, self.height), "the size has changed"
        frame.pts = self.frames
        frame.time_base = self._stream.codec_context.time_base
        frame.colorspace, frame.color_range = BT709, LIMITED
        self._muxer.mux(lambda: self._stream.encode(frame))
        self.frames += 1

    def finish(self) -> None:
        """Empty the encoder, which looks some frames ahead."""
        self._muxer.mux(lambda: self._stream.encode(None))


class _SoundTrack:
    """A sound that grows with the picture."""

    def __init__(
        self, muxer: _Muxer, kind: ClipFormat, waveform: Waveform, sample_rate: int
    ) -> None:
        rates = kind.rates or Codec(kind.audio, "w").audio_rates or (sample_rate,)
        self.sample_rate = sample_rate if sample_rate in rates else STANDARD_RATE
        self.samples = 0
        stream = muxer.container.add_stream(kind.audio, rate=self.sample_rate)
        assert isinstance(stream, AudioStream)
        stream.codec_context.layout = "stereo"
        # AAC has no more than 6 bits for a sample of a channel.
        stream.codec_context.bit_rate = min(SOUND_BIT_RATE, self.sample_rate * 8)
        self._stream = stream
        self._muxer = muxer
        self._feed = SoundFeed(waveform, sample_rate, to_rate=self.sample_rate)

    def extend_to(self, seconds: Fraction) -> None:
        """Encode what is missing until `seconds`, to the nearest sample."""
        count = round(seconds * self.sample_rate) - self.samples
        frame = audio_frame(self._feed.take(count), self.sample_rate)
        frame.pts = self.samples
        frame.time_base = Fraction(1, self.sample_rate)
        self._muxer.mux(lambda: self._stream.encode(frame))
        self.samples += count

    def finish(self) -> None:
        """Empty the encoder."""
        self._muxer.mux(lambda: self._stream.encode(None))
