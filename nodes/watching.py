"""Following a run on its node: phases, steps, and a preview that moves."""

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


@contextmanager
def watched(video_vae: VideoVAE | None) -> Iterator[Calls]:
    """Yield the calls that show a run: one phase after the other, each step with a preview."""
    progress = Progress.of_this_node()
    factors = _factors(video_vae)
    with ExitStack() as phases:

        def on_phase(name: str) -> None:
            phases.close()
            phases.enter_context(progress.phase(name))

        def on_step(_stage: int, done: int, total: int, denoised: AVLatent) -> None:
            frames = None if factors is None else preview_frames(denoised.video, factors)
            progress.part(done, total, frames)

        yield Calls(on_phase=on_phase, on_step=on_step, check=progress.check)


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
