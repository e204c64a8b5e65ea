"""Following a run on its node: phases, steps, and a preview that moves."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ltx_core.latents import AVLatent
from ..ltx_core.sampling.bundle import VideoVAE
from ..ltx_core.sampling.run import Calls
from ..ltx_core.video_vae.preview import preview
from .host.memory import place
from .host.preview import latent_colours
from .host.progress import Progress

#: Preview pixels per latent cell, along each side.
ZOOM = 8
#: The phases of saving.
DECODE, WRITE = "picture decode", "writing"


@contextmanager
def watched(video_vae: VideoVAE | None) -> Iterator[Calls]:
    """Yield the calls that show a run: one phase after the other, each step with a preview."""
    progress = Progress.of_this_node()
    factors: Tensor | None = None
    with ExitStack() as phases:

        def on_phase(name: str) -> None:
            nonlocal factors
            phases.close()
            # Here, because the run has been checked, and nothing large computes between phases.
            factors = _factors(video_vae)
            phases.enter_context(progress.phase(name))

        def on_step(_stage: int, done: int, total: int, denoised: AVLatent) -> None:
            frames = None if factors is None else preview_frames(denoised.video, factors)
            progress.part(done, total, frames)

        yield Calls(on_phase=on_phase, on_step=on_step, check=progress.check)


class Writing:
    """The two phases of saving. They overlap: spans are encoded while the next ones are decoded.

    So their seconds are counted apart: what waiting for spans took, and all the rest.
    """

    def __init__(self, progress: Progress, frames: int) -> None:
        self._progress = progress
        self._frames = frames
        self._phases = ExitStack()
        self._decoding = 0.0
        self._began = time.monotonic()

    def __enter__(self) -> "Writing":
        self._phases.enter_context(self._progress.phase(DECODE, self._frames))
        return self

    def __exit__(self, *error: object) -> None:
        self._phases.close()

    def watched(self, pictures: Iterator[Tensor]) -> Iterator[Tensor]:
        """Hand spans on, and begin the second phase behind the last one."""
        while True:
            asked = time.monotonic()
            span = next(pictures, None)
            self._decoding += time.monotonic() - asked
            if span is None:
                break
            yield span
            del span  # before the next one comes
        self._phases.close()
        self._phases.enter_context(self._progress.phase(WRITE))

    def seconds(self) -> dict[str, float]:
        """Return the seconds of every phase up to now."""
        total = time.monotonic() - self._began
        found = {DECODE: self._decoding, WRITE: total - self._decoding}
        return self._progress.seconds | found


def preview_frames(latent: Tensor | None, factors: Tensor) -> Sequence[Tensor] | None:
    """Turn a latent [B, C, F, h, w] into small pictures, uint8 [H, W, 3], one per latent frame."""
    if latent is None:
        return None
    colours = preview(latent[:1].float().cpu(), factors)[0].transpose(0, 1)  # [F, 3, h, w]
    large = F.interpolate(colours, scale_factor=ZOOM, mode="bilinear")
    pixels = ((large.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return [*pixels.movedim(1, -1)]


def _factors(video_vae: VideoVAE | None) -> Tensor | None:
    known = latent_colours()
    if known is not None or video_vae is None:
        return known
    return video_vae.colours.get(place)
