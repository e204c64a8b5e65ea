"""One stream on its way through a stage: tokens, where they lie, and what is given of them.

Letters: B batch, N tokens, appended ones at the end, C latent channels.
"""

from dataclasses import dataclass, field, replace
from fractions import Fraction

import torch
from torch import Tensor

from ..grid import LatentShape, ScaleFactors
from ..transformer.positions import (
    audio_positions,
    patchify_audio,
    patchify_video,
    single_frame_marks,
    unpatchify_audio,
    unpatchify_video,
    video_positions,
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LatentState:
    """The tokens of one stream with all that is said about each."""

    tokens: Tensor  # [B, N, C]
    clean: Tensor  # [B, N, C] what is given where the mask is below 1
    denoise_mask: Tensor  # [B, N, 1] float32: 1 generate, 0 keep
    positions: Tensor  # [B, 3, N, 2] seconds, pixel rows, columns; audio [B, 1, N, 2]; float32
    target_shape: tuple[int, ...]  # [B, C, F, h, w] or [B, c, L, m]
    rate: float = 1.0  # frames per second; no meaning for audio
    scale: ScaleFactors = field(default_factory=ScaleFactors)
    keyframes_mask: Tensor | None = None  # [B, N, 1] 1 on single-frame tokens; video only
    attention_mask: Tensor | None = None  # [B, N, N] in 0..1
    appended: tuple[int, ...] = ()  # tokens of each appended item
    slots: slice | None = None  # where generated keyframes lie
    frozen: bool = False

    @property
    def target_tokens(self) -> int:
        """How many of the tokens are the clip itself."""
        return self.tokens.shape[1] - sum(self.appended)

    def latent(self, tokens: Tensor | None = None) -> Tensor:
        """Return the clip's latent without anything appended, from other `tokens` if given."""
        tokens = self.tokens if tokens is None else tokens
        return unpatchify(tokens[:, : self.target_tokens], self.target_shape)

    def keyframes(self, tokens: Tensor | None = None) -> Tensor | None:
        """Return generated keyframes [B, C, K, h, w], if there are slots for them."""
        if self.slots is None:
            return None
        tokens = self.tokens if tokens is None else tokens
        batch, channels, _, height, width = self.target_shape
        count = (self.slots.stop - self.slots.start) // (height * width)
        return unpatchify(tokens[:, self.slots], (batch, channels, count, height, width))

    def with_tokens(self, tokens: Tensor) -> "LatentState":
        """Return the same state with other tokens [B, N, C]."""
        return replace(self, tokens=tokens)

    def to(self, device: torch.device) -> "LatentState":
        """Move everything to a device."""

        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device)

        return replace(
            self,
            tokens=self.tokens.to(device),
            clean=self.clean.to(device),
            denoise_mask=self.denoise_mask.to(device),
            positions=self.positions.to(device),
            keyframes_mask=moved(self.keyframes_mask),
            attention_mask=moved(self.attention_mask),
        )


def patchify(latent: Tensor) -> Tensor:
    """Cut a latent into tokens [B, N, C]: video [B, C, F, h, w] or audio [B, c, L, m]."""
    return patchify_video(latent) if latent.ndim == 5 else patchify_audio(latent)


def unpatchify(tokens: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Put tokens [B, N, C] back into a latent of `shape`."""
    if len(shape) == 5:
        return unpatchify_video(tokens, LatentShape(*shape[2:]))
    return unpatchify_audio(tokens, shape[3])


def video_state(
    latent: Tensor,  # [B, C, F, h, w]
    frame_rate: Fraction | float,
    *,
    scale: ScaleFactors = ScaleFactors(),
) -> LatentState:
    """Return the picture's state before anything is given: everything will be generated."""
    batch, shape = latent.shape[0], LatentShape(*latent.shape[2:])
    tokens = patchify(latent)
    marks = single_frame_marks(shape, batch=batch).to(latent.device)
    return LatentState(
        tokens=tokens,
        clean=tokens,
        denoise_mask=torch.ones_like(marks),
        positions=video_positions(shape, frame_rate, batch=batch, scale=scale).to(latent.device),
        target_shape=tuple(latent.shape),
        rate=float(frame_rate),
        scale=scale,
        keyframes_mask=marks,
    )


def audio_state(latent: Tensor) -> LatentState:  # [B, c, L, m]
    """Return the sound's state before anything is given: everything will be generated."""
    tokens = patchify(latent)
    return LatentState(
        tokens=tokens,
        clean=tokens,
        denoise_mask=torch.ones(*tokens.shape[:2], 1, device=latent.device),
        positions=audio_positions(latent.shape[2], batch=latent.shape[0]).to(latent.device),
        target_shape=tuple(latent.shape),
    )
