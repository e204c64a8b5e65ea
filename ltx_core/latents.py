"""The audio-video latent as one value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from .grid import VideoShape, audio_latent_frames

#: Channels of a video latent; channels and mel bins of an audio latent. The same in 2.0, 2.3, 2.5.
VIDEO_CHANNELS = 128
AUDIO_CHANNELS = 8
AUDIO_BINS = 16


T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Streams(Generic[T]):
    """One thing for picture and one for sound; None where the stream is absent."""

    video: T | None
    audio: T | None

    def present(self) -> list[T]:
        """Return what is there, video first."""
        return [side for side in (self.video, self.audio) if side is not None]


def each(function: Callable[..., U], first: Streams[Any], *others: Streams[Any]) -> Streams[U]:
    """Apply a function of one stream to every stream that `first` has, video first."""
    video = audio = None
    if first.video is not None:
        video = function(first.video, *(other.video for other in others))
    if first.audio is not None:
        audio = function(first.audio, *(other.audio for other in others))
    return Streams(video, audio)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AVLatent:
    """Picture and sound of one clip, encoded and normalised. Either may be absent.

    Both travel as one value with one frame rate, so no step can forget the sound or count time
    differently. Never changed in place.
    """

    video: Tensor | None  # [B, C, F, h, w]
    audio: Tensor | None  # [B, c, L, m]
    frame_rate: Fraction
    #: "2.0", "2.3", "2.5" of the model that made it; "" when blank or not known.
    generation: str = ""
    #: Random state after the stage that made it, where the next one continues it; see `noise`.
    noise_state: Tensor | None = None
    #: The file of the model that made it; "" when blank or not known.
    source: str = ""
    #: That file and a digest of its header, which tells it from others of its name.
    identity: str = ""
    #: How it was made so far (adjustments, seed, ...), for the metadata of the finished file.
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return what messages call it."""
        return f"the latent of {self.source}" if self.source else "the latent"

    def with_video(self, video: Tensor | None) -> "AVLatent":
        """Return the same clip with another picture."""
        return replace(self, video=video)

    def with_audio(self, audio: Tensor | None) -> "AVLatent":
        """Return the same clip with another sound."""
        return replace(self, audio=audio)


def blank(
    shape: VideoShape,
    frame_rate: Fraction,
    *,
    batch: int = 1,
    sound: bool = True,
    facts: Mapping[str, Any] | None = None,
) -> AVLatent:
    """Return darkness and silence of the given size, on the CPU in float32."""
    cells = shape.latent()
    video = torch.zeros(batch, VIDEO_CHANNELS, cells.frames, cells.height, cells.width)
    length = audio_latent_frames(shape.frames, frame_rate)
    audio = torch.zeros(batch, AUDIO_CHANNELS, length, AUDIO_BINS) if sound else None
    return AVLatent(video=video, audio=audio, frame_rate=frame_rate, facts=facts or {})
