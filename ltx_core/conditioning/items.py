"""What a latent state can be told: each function takes a state and returns another one.

Latents are normalised: video [B, C, F, h, w], audio [B, c, L, m]. Strength 1 keeps given tokens as
they are, 0 ignores them. Items are applied in the order given; a later one overwrites.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..grid import LatentShape
from ..transformer.masks import grown_mask
from ..transformer.positions import (
    audio_positions,
    guide_positions,
    reference_audio_positions,
    reference_positions,
    slot_positions,
)
from .state import LatentState, patchify


def latent_frames(
    state: LatentState, latent: Tensor, *, first_frame: int, strength: float
) -> LatentState:
    """Give the target's latent frames from `first_frame` on their content.

    Raises LTX2Error `guide_size` if the latent does not fit the target.
    """
    batch, channels, frames, height, width = state.target_shape
    given = latent.shape[2]
    if (*latent.shape[:2], *latent.shape[3:]) != (batch, channels, height, width) or not (
        0 <= first_frame <= frames - given
    ):
        raise LTX2Error(
            f"A guide of latent size {list(latent.shape)} does not fit at latent frame "
            f"{first_frame} of a clip of {list(state.target_shape)}.",
            needed="a guide of the clip's size that ends within it", code="guide_size",
        )  # fmt: skip
    cells = height * width
    place = slice(first_frame * cells, (first_frame + given) * cells)
    clean, mask = state.clean.clone(), state.denoise_mask.clone()
    clean[:, place] = patchify(latent).to(clean)
    mask[:, place] = 1 - strength
    return replace(state, clean=clean, denoise_mask=mask)


def keyframe(
    state: LatentState,
    latent: Tensor,
    *,
    frame: int,
    strength: float,
    num_frames: int = 1,
    attention: float | Tensor | None = None,
) -> LatentState:
    """Append a given latent that stands at pixel frame `frame` of the clip.

    `num_frames` is how many pixel frames it encodes: a single picture spans one frame, not eight.
    """
    shape = LatentShape(*latent.shape[2:])
    positions = guide_positions(
        shape, state.rate, frame=frame, num_frames=num_frames, scale=state.scale
    )
    return appended(state, latent, positions, strength=strength, attention=attention)


def reference_video(
    state: LatentState,
    latent: Tensor,
    *,
    downscale: int = 1,
    temporal_scale: int = 1,
    strength: float = 1.0,
    attention: float | Tensor | None = None,
) -> LatentState:
    """Append a clip to look at.

    One of its pixels stands for `downscale` of the target's, one frame for `temporal_scale`.
    """
    positions = reference_positions(
        LatentShape(*latent.shape[2:]),
        state.rate,
        downscale=downscale,
        temporal_scale=temporal_scale,
        scale=state.scale,
    )
    return appended(state, latent, positions, strength=strength, attention=attention)


def reference_audio(
    state: LatentState,
    latent: Tensor,  # [B, c, L, m]
    *,
    strength: float = 1.0,
    before: bool = True,
) -> LatentState:
    """Append a sound to listen to, placed `before` the clip in time."""
    length = latent.shape[2]
    positions = reference_audio_positions(length) if before else audio_positions(length)
    return appended(state, latent, positions, strength=strength)


def appended(
    state: LatentState,
    latent: Tensor,
    positions: Tensor,  # [1, axes, M, 2] float32
    *,
    strength: float,
    attention: float | Tensor | None = None,  # Tensor: one weight per token [B, M]
) -> LatentState:
    """Append given tokens after everything there is."""
    tokens = patchify(latent).to(state.clean)  # [B, M, C]
    mask = torch.full_like(tokens[..., :1], 1 - strength, dtype=torch.float32)
    return _grown(state, torch.zeros_like(tokens), tokens, mask, positions, 0.0, attention)


def keyframe_slots(
    state: LatentState, frames: Sequence[int], initial: Tensor | None = None
) -> LatentState:
    """Append tokens for single frames that are generated along with the clip (2.5).

    `initial` [B, C, K, h, w] is what they begin from, zeros if None. They are read back by
    `LatentState.keyframes` before the state is stripped. Raises LTX2Error `keyframe_slots` for
    places outside the clip or not rising.
    """
    assert state.slots is None, "one set of slots per state"
    batch, channels, latent_frames, height, width = state.target_shape
    last = (latent_frames - 1) * state.scale.time
    if not frames or sorted({*frames}) != [*frames] or frames[0] < 0 or frames[-1] > last:
        raise LTX2Error(
            f"Generated keyframes at {[*frames]} are impossible in a clip of {last + 1} frames.",
            needed=f"rising frame numbers between 0 and {last}", code="keyframe_slots",
        )  # fmt: skip
    shape = LatentShape(latent_frames, height, width)
    positions = slot_positions(shape, state.rate, tuple(frames), scale=state.scale)
    if initial is None:
        initial = torch.zeros(batch, channels, len(frames), height, width)
    tokens = patchify(initial).to(state.tokens)
    ones = torch.ones_like(tokens[..., :1], dtype=torch.float32)
    first = state.tokens.shape[1]
    grown = _grown(state, tokens, torch.zeros_like(tokens), ones, positions, 1.0, None)
    return replace(grown, slots=slice(first, first + tokens.shape[1]))


def _grown(
    state: LatentState,
    tokens: Tensor,  # [B, M, C] what the state begins from
    clean: Tensor,  # [B, M, C]
    mask: Tensor,  # [B, M, 1]
    positions: Tensor,  # [1, axes, M, 2]
    keyframe_mark: float,
    attention: float | Tensor | None,
) -> LatentState:
    """Put new tokens at the end of everything the state has per token."""
    batch, count, _ = tokens.shape
    where = positions.to(state.positions).expand(batch, -1, -1, -1)
    marks = state.keyframes_mask
    if marks is not None:
        marks = torch.cat((marks, torch.full_like(mask, keyframe_mark)), dim=1)
    return replace(
        state,
        tokens=torch.cat((state.tokens, tokens), dim=1),
        clean=torch.cat((state.clean, clean), dim=1),
        denoise_mask=torch.cat((state.denoise_mask, mask), dim=1),
        positions=torch.cat((state.positions, where), dim=2),
        keyframes_mask=marks,
        attention_mask=_attention(state, count, attention),
        appended=(*state.appended, count),
    )


def _attention(state: LatentState, count: int, weight: float | Tensor | None) -> Tensor | None:
    """Return who may look at whom once `count` tokens are appended; None while all may."""
    if state.attention_mask is None and weight is None:
        return None
    batch, old, _ = state.tokens.shape
    weights = torch.as_tensor(1.0 if weight is None else weight, dtype=torch.float32)
    weights = weights.to(state.tokens.device).expand(batch, count)
    return grown_mask(state.attention_mask, weights, num_target=state.target_tokens, num_tokens=old)


def kept_region(
    state: LatentState, latent: Tensor, keep: Tensor, *, strength: float = 1.0
) -> LatentState:
    """Keep the target where `keep` [B, F, h, w] (audio [B, L]) is 1; generate where it is 0."""
    keep = keep.flatten(1).unsqueeze(-1).to(state.denoise_mask)  # [B, N, 1]
    target = state.target_tokens
    clean, mask = state.clean.clone(), state.denoise_mask.clone()
    clean[:, :target] = clean[:, :target] * (1 - keep) + patchify(latent).to(clean) * keep
    mask[:, :target] = mask[:, :target] * (1 - keep) + (1 - strength) * keep
    return replace(state, clean=clean, denoise_mask=mask)


def temporal_region(state: LatentState, start: float, end: float) -> LatentState:
    """Generate only what touches [start, end) seconds. Replaces the whole mask."""
    time = state.positions[:, 0]  # [B, N, 2] seconds
    inside = (time[..., 1] > start) & (time[..., 0] < end)  # [B, N]
    return replace(state, denoise_mask=inside.unsqueeze(-1).to(torch.float32))


def frozen(state: LatentState) -> LatentState:
    """Take the stream as it is: nothing is generated, and the model is told it is clean.

    Applied after noising.
    """
    return replace(state, denoise_mask=torch.zeros_like(state.denoise_mask), frozen=True)


#: A change of a state, as stages keep them in lists.
Item = Callable[[LatentState], LatentState]


def conditioned(state: LatentState, items: Sequence[Item]) -> LatentState:
    """Apply items in order."""
    for item in items:
        state = item(state)
    return state
