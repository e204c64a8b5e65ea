"""What one stage is told besides text: the request's guides and references at the stage's size."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

from torch import Tensor

from ..conditioning import items
from ..conditioning.guides import (
    Guide,
    Reference,
    guide_frame,
    guide_pixels,
    reference_attention,
    reference_pixels,
)
from ..conditioning.items import Item
from ..grid import LatentShape
from ..latents import AVLatent, Streams
from ..video_vae.encode import encode
from .models import Models, Request
from .stages import Stage

#: (guide or reference, stage from 1, width and height in pixels) -> latent [1, C, F, h, w],
#: normalised, on the CPU.
Encoded: TypeAlias = Callable[["Guide | Reference", int, int, int], Tensor]


def needs_encoder(stage: Stage, request: Request) -> bool:
    """Say whether a stage is shown anything."""
    return bool(request.guides or (stage.references and request.references))


@contextmanager
def encoder_of(models: Models, request: Request) -> Iterator[Encoded]:
    """Bring the video encoder, and yield what turns guides and references into latents."""
    part = models.video_encoder
    assert part is not None, "checked before the run"
    generation = part.generation or models.generation
    frames, rate = _frames(request.clip), request.clip.frame_rate
    with models.place(part) as network:

        def encoded(source: Guide | Reference, stage: int, height: int, width: int) -> Tensor:
            del stage
            if isinstance(source, Guide):
                pixels = guide_pixels(source, height, width, generation)
            else:
                pixels = reference_pixels(source, frames, rate, height, width)
            return encode(network, pixels).float().cpu()

        yield encoded


def video_items(
    stage: Stage, number: int, request: Request, start: AVLatent, encoded: Encoded | None
) -> list[Item]:
    """Return what the picture is told: guides as given, then keyframe slots, then references.

    `encoded` may be None where `needs_encoder` says no.
    """
    if start.video is None:
        return []
    batch, _, _, rows, columns = start.video.shape
    height, width = rows * 32, columns * 32
    frames, rate = _frames(start), start.frame_rate
    told: list[Item] = []

    def latent_of(source: Guide | Reference) -> Tensor:
        assert encoded is not None
        return encoded(source, number, height, width).expand(batch, -1, -1, -1, -1)

    for guide in request.guides:
        frame, strength = guide_frame(guide, frames, rate), guide.strength_in(number)
        latent = latent_of(guide)
        if frame == 0 and not guide.beside:
            told.append(
                partial(items.latent_frames, latent=latent, first_frame=0, strength=strength)
            )
        else:
            count = guide.frames.shape[0]
            told.append(
                partial(
                    items.keyframe, latent=latent, frame=frame, strength=strength, num_frames=count
                )
            )
    if stage.slots and request.keyframe_slots:
        told.append(partial(items.keyframe_slots, frames=request.keyframe_slots))
    for reference in request.references if stage.references else ():
        latent = latent_of(reference)
        told.append(
            partial(
                items.reference_video,
                latent=latent,
                downscale=reference.downscale,
                temporal_scale=reference.temporal_scale,
                strength=reference.strength,
                attention=reference_attention(
                    reference, LatentShape(*latent.shape[2:]), frames, rate, height, width
                ),
            )
        )
    return told


def with_region(told: Streams[list[Item]], request: Request) -> Streams[list[Item]]:
    """Add to every stream that is generated which seconds of it are; the rest is kept."""
    if request.region is None:
        return told
    begin, end = request.region
    item = partial(items.temporal_region, start=begin, end=end)
    return Streams(
        *(
            None if side is None else side if frozen else [*side, item]
            for side, frozen in (
                (told.video, request.frozen.video),
                (told.audio, request.frozen.audio),
            )
        )
    )


def _frames(clip: AVLatent) -> int:
    """Return how many pictures a clip has."""
    return 0 if clip.video is None else (clip.video.shape[2] - 1) * 8 + 1
