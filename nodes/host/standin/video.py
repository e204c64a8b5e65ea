"""VIDEO values: a clip in memory, and a clip in a file that is read when somebody looks."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ....ltx_core.errors import LTX2Error
from ....ltx_core.media.reader import clip_info, read_clip, read_sound
from .progress import check


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoComponents:
    """A clip as tensors."""

    images: Tensor  # [F, H, W, 3] in 0..1
    frame_rate: Fraction
    audio: dict[str, Any] | None = None  # {"waveform": [B, channels, samples], "sample_rate": int}


@dataclass(frozen=True, slots=True)
class VideoFromComponents:
    """A clip in memory."""

    components: VideoComponents

    def get_components(self) -> VideoComponents:
        return self.components

    def get_dimensions(self) -> tuple[int, int]:
        """Return width and height."""
        return self.components.images.shape[2], self.components.images.shape[1]

    def get_duration(self) -> float:
        """Return seconds."""
        return float(self.components.images.shape[0] / self.components.frame_rate)


@dataclass(frozen=True, slots=True)
class VideoFromFile:
    """A clip in a file."""

    source: str

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.source)

    def get_components(self) -> VideoComponents:
        """Decode the whole clip."""
        frames = torch.stack([*read_clip(self.path, check=check)])  # [F, H, W, 3] uint8
        return VideoComponents(
            images=frames.float() / 255,
            frame_rate=clip_info(self.path).frame_rate,
            audio=self._sound(),
        )

    def _sound(self) -> dict[str, Any] | None:
        try:
            waveform, sample_rate = read_sound(self.path, check=check)
        except LTX2Error as error:
            if error.code != "no_sound":
                raise
            return None
        return {"waveform": waveform[None], "sample_rate": sample_rate}

    def get_dimensions(self) -> tuple[int, int]:
        """Return width and height."""
        info = clip_info(self.path)
        return info.width, info.height

    def get_duration(self) -> float:
        """Return seconds."""
        return clip_info(self.path).seconds

    def get_stream_source(self) -> str:
        """Return the path, for those who read the file themselves."""
        return self.source
