"""What one forward pass of the transformer is given, per stream.

Letters: B batch, N tokens of the stream, C latent channels, S text tokens.
"""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StreamInput:
    """The tokens of one stream and all that is said about them."""

    latent: Tensor  # [B, N, C] noisy tokens, appended conditioning tokens at the end
    sigma: Tensor  # [B] float32; 0 for a frozen stream
    timesteps: Tensor  # [B, N, 1] float32 = denoise mask * sigma; [B, 1, 1] is valid too
    positions: Tensor  # [B, 3, N, 2] seconds, pixel rows, pixel columns; audio [B, 1, N, 2] seconds
    context: Tensor  # [B, S, width]
    context_mask: Tensor | None = None  # [B, S] integer, or additive float
    attention_mask: Tensor | None = None  # [B, N, N] in 0..1
    keyframes_mask: Tensor | None = None  # [B, N, 1], > 0 on single-frame tokens; video only
    enabled: bool = True  # False: read by the other stream, but not changed by the blocks


@dataclass(frozen=True, kw_only=True, slots=True)
class Perturbation:
    """Which parts are left out in which blocks, for one item of the batch.

    Each field is a set of block numbers; None means every block, an empty set none.
    """

    skip_video_self: frozenset[int] | None = field(default_factory=frozenset)
    skip_audio_self: frozenset[int] | None = field(default_factory=frozenset)
    skip_a2v: frozenset[int] | None = field(default_factory=frozenset)
    skip_v2a: frozenset[int] | None = field(default_factory=frozenset)
