"""A sound on its way into a file: at the encoder's rate, in stereo, as long as the picture."""

from collections.abc import Iterable, Iterator

import av
import numpy as np
import torch
from torch import Tensor

from .colour import check_finite

#: A waveform [1, C, T] or [C, T] in -1..1, whole or in chunks along T; C is 1 or 2.
Waveform = Tensor | Iterable[Tensor]


class SoundFeed:
    """Hands out a waveform in portions of any length, and silence after its end.

    Chunks are asked for as they are needed, so that a long sound never lies in memory as a whole.
    """

    def __init__(self, waveform: Waveform, sample_rate: int, *, to_rate: int) -> None:
        chunks = _stereo_chunks(waveform)
        if sample_rate != to_rate:
            chunks = _resampled(chunks, sample_rate, to_rate)
        self._chunks = chunks
        self._rest = np.zeros((2, 0), np.float32)
        self._ended = False

    def take(self, count: int) -> np.ndarray:  # float32 [2, count]
        """Return the next `count` samples of both channels."""
        parts, missing = [self._rest], count - self._rest.shape[1]
        while missing > 0 and not self._ended:
            chunk = next(self._chunks, None)
            self._ended = chunk is None
            if chunk is not None:
                parts.append(chunk)
                missing -= chunk.shape[1]
        if missing > 0:
            parts.append(np.zeros((2, missing), np.float32))
        samples = np.concatenate(parts, axis=1)
        self._rest = samples[:, count:]
        return np.ascontiguousarray(samples[:, :count])


def _stereo_chunks(waveform: Waveform) -> Iterator[np.ndarray]:
    """Yield float32 [2, t] in -1..1."""
    for chunk in (waveform,) if isinstance(waveform, Tensor) else waveform:
        samples = chunk.detach()
        if samples.ndim == 3:  # [1, C, T]
            samples = samples.squeeze(0)
        if samples.ndim != 2 or samples.shape[0] not in (1, 2):
            raise ValueError(f"a waveform is [1|2, samples], not {list(chunk.shape)}")
        check_finite(samples, "The sound")
        yield samples.to(torch.float32).clamp(-1, 1).expand(2, -1).cpu().numpy()


def _resampled(chunks: Iterator[np.ndarray], rate: int, to_rate: int) -> Iterator[np.ndarray]:
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=to_rate)
    for chunk in chunks:
        if chunk.shape[1]:
            for frame in resampler.resample(audio_frame(chunk, rate)):
                yield frame.to_ndarray()
    for frame in resampler.resample(None):
        yield frame.to_ndarray()


def audio_frame(samples: np.ndarray, sample_rate: int) -> av.AudioFrame:
    """Return samples float32 [2, T] as a frame of PyAV."""
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(samples), format="fltp", layout="stereo"
    )
    frame.sample_rate = sample_rate
    return frame
