"""Latents to tokens and back, and where each token lies in time and space.

A position is a span [start, end) per axis: seconds, pixel rows, pixel columns; audio has seconds
only. All are made on the CPU in float32, in the order of operations the checkpoints were trained
with: the fastest rotary frequencies show a single float32 step.
Letters: B batch, N tokens, C latent channels, F h w latent frames, rows, columns, L audio latent
frames, c m audio channels, mel bins.
"""

from fractions import Fraction

import torch
from einops import rearrange
from torch import Tensor

from ..grid import LatentShape, ScaleFactors

#: Audio: samples per second of the mel, samples per mel frame, mel frames per latent frame.
SAMPLE_RATE, HOP, DOWNSAMPLING = 16000, 160, 4
#: Seconds between a voice reference and the clip.
REFERENCE_AUDIO_GAP = 0.04


def patchify_video(latent: Tensor, patch: int = 1) -> Tensor:  # [B, C, F, h, w] -> [B, N, C]
    """Cut a latent into tokens, frame by frame, row by row (every LTX-2 has patches of 1)."""
    return rearrange(latent, "b c f (h p) (w q) -> b (f h w) (c p q)", p=patch, q=patch)


def unpatchify_video(tokens: Tensor, shape: LatentShape, patch: int = 1) -> Tensor:
    """Put tokens [B, N, C] of a latent of `shape` together again: [B, C, F, h, w]."""
    return rearrange(
        tokens, "b (f h w) (c p q) -> b c f (h p) (w q)",
        f=shape.frames, h=shape.height // patch, w=shape.width // patch, p=patch, q=patch,
    )  # fmt: skip


def patchify_audio(latent: Tensor) -> Tensor:  # [B, c, L, m] -> [B, L, c*m]
    """Make one token of every audio latent frame."""
    return rearrange(latent, "b c l m -> b l (c m)")


def unpatchify_audio(tokens: Tensor, bins: int) -> Tensor:  # [B, L, c*m] -> [B, c, L, m]
    """Put audio tokens of `bins` mel bins per channel together again."""
    return rearrange(tokens, "b l (c m) -> b c l m", m=bins)


def latent_spans(shape: LatentShape, patch: int = 1) -> Tensor:  # [3, N, 2] int64
    """Return the cells each token covers along frames, rows and columns."""
    axes = (
        torch.arange(shape.frames),
        torch.arange(0, shape.height, patch),
        torch.arange(0, shape.width, patch),
    )
    starts = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)  # [3, N]
    return torch.stack((starts, starts + torch.tensor([[1], [patch], [patch]])), dim=-1)


def pixel_spans(
    spans: Tensor,  # [3, N, 2] int64, of `latent_spans`
    scale: ScaleFactors = ScaleFactors(),
    *,
    causal: bool = True,
) -> Tensor:  # [3, N, 2] int64
    """Turn cells into frames, rows and columns of pixels.

    `causal`: the first latent frame stands for one frame, so all later ones begin earlier.
    """
    pixels = spans * torch.tensor([scale.time, scale.height, scale.width])[:, None, None]
    if causal:
        pixels[0] = (pixels[0] + 1 - scale.time).clamp(min=0)
    return pixels


def video_positions(
    shape: LatentShape,
    frame_rate: Fraction | float,
    *,
    batch: int = 1,
    scale: ScaleFactors = ScaleFactors(),
    patch: int = 1,
    causal: bool = True,
) -> Tensor:  # [B, 3, N, 2] float32
    """Return the positions of a latent's tokens."""
    pixels = pixel_spans(latent_spans(shape, patch), scale, causal=causal)
    return _in_seconds(pixels.float(), frame_rate, batch)


def single_frame_marks(shape: LatentShape, *, batch: int = 1) -> Tensor:  # [B, N, 1] float32
    """Mark the tokens of a causal latent that stand for one frame: those of its first frame."""
    marks = torch.zeros(batch, shape.tokens, 1)
    marks[:, : shape.height * shape.width] = 1.0
    return marks


def reference_positions(
    shape: LatentShape,
    frame_rate: Fraction | float,
    *,
    downscale: int = 1,
    temporal_scale: int = 1,
    batch: int = 1,
    scale: ScaleFactors = ScaleFactors(),
) -> Tensor:  # [B, 3, N, 2] float32
    """Return the positions of a reference clip that was shrunk and sped up by whole factors."""
    rate = float(frame_rate)
    positions = video_positions(shape, rate / temporal_scale, batch=batch, scale=scale)
    if temporal_scale != 1:
        first_end = torch.tensor(1.0) / rate  # where the target's first token ends
        positions[:, 0] = (positions[:, 0] - (temporal_scale - 1) * first_end).clamp(min=0)
    positions[:, 1:] *= downscale
    return positions


def guide_positions(
    shape: LatentShape,
    frame_rate: Fraction | float,
    *,
    frame: int,
    num_frames: int,
    batch: int = 1,
    scale: ScaleFactors = ScaleFactors(),
) -> Tensor:  # [B, 3, N, 2] float32
    """Return the positions of a guide of `num_frames` pictures beginning at pixel frame `frame`."""
    pixels = pixel_spans(latent_spans(shape), scale, causal=frame == 0)
    pixels[0] += frame
    if num_frames == 1:
        pixels[0, :, 1] = pixels[0, :, 0] + 1
    return _in_seconds(pixels.float(), frame_rate, batch)


def slot_positions(
    shape: LatentShape,
    frame_rate: Fraction | float,
    frames: tuple[int, ...],
    *,
    batch: int = 1,
    scale: ScaleFactors = ScaleFactors(),
) -> Tensor:  # [B, 3, N, 2] float32
    """Return the positions of generated single frames of the target's size at pixel `frames`."""
    one = pixel_spans(latent_spans(LatentShape(1, shape.height, shape.width)), scale)
    slots = []
    for frame in frames:
        slot = one.clone()
        slot[0] = torch.tensor([frame, frame + 1])
        slots.append(slot)
    return _in_seconds(torch.cat(slots, dim=1).float(), frame_rate, batch)


def audio_positions(
    length: int,
    *,
    batch: int = 1,
    causal: bool = True,
    shift: int = 0,
    sample_rate: int = SAMPLE_RATE,
    hop: int = HOP,
    downsampling: int = DOWNSAMPLING,
) -> Tensor:  # [B, 1, L, 2] float32
    """Return the positions of `length` audio latent frames, the first of them number `shift`."""
    mel_frames = torch.arange(shift, shift + length + 1, dtype=torch.float32) * downsampling
    if causal:
        mel_frames = (mel_frames + 1 - downsampling).clamp(min=0)
    times = mel_frames * hop / sample_rate
    return torch.stack((times[:-1], times[1:]), dim=-1).expand(batch, 1, -1, -1).contiguous()


def reference_audio_positions(length: int, *, batch: int = 1) -> Tensor:  # [B, 1, L, 2] float32
    """Return the positions of a voice reference: before the clip, with a short gap."""
    positions = audio_positions(length, batch=batch)
    return positions - positions[..., -1:, 1:] - REFERENCE_AUDIO_GAP


def _in_seconds(pixels: Tensor, frame_rate: Fraction | float, batch: int) -> Tensor:
    """Divide frames [3, N, 2] by the rate; multiplying by its inverse would round differently."""
    pixels[0] = pixels[0] / float(frame_rate)
    return pixels.expand(batch, -1, -1, -1).contiguous()
