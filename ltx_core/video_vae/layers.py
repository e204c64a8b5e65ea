"""The small layers of the convolutional autoencoder: convolution in time, norms, time embedding."""

from enum import Enum
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.layers import LayerFactory
from .stream import Stream

#: Of every group norm in an autoencoder that has them.
NORM_GROUPS, GROUP_NORM_EPS = 32, 1e-6
PIXEL_NORM_EPS = 1e-8
#: Channels of the sinusoid a timestep becomes, and its longest period over 2 pi.
SINUSOID, LONGEST = 256, 10_000.0


class Padding(Enum):
    """How a convolution continues a picture beyond its border. Time always repeats frames."""

    ZEROS = "zeros"
    REFLECT = "reflect"
    REPLICATE = "replicate"
    CIRCULAR = "circular"


class Norm(Enum):
    """What is normalised before each convolution."""

    PIXEL = "pixel_norm"
    GROUP = "group_norm"


class TimeConv(nn.Module):
    """A 3x3x3 convolution that continues a clip at its ends by repeating the end frames.

    Causal: the first frame stands twice more in front, and a frame sees no later one. Else once in
    front, and the last frame once more behind.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: tuple[int, int, int] = (1, 1, 1),
        causal: bool,
        padding: Padding,
        layers: LayerFactory = nn,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.causal = causal
        self.stride = stride
        self.growth = out_channels / in_channels
        self.out_channels = out_channels
        self.conv = layers.Conv3d(
            in_channels, out_channels, 3, stride=stride, padding=(0, 1, 1),
            padding_mode=padding.value, device=device, dtype=dtype,
        )  # fmt: skip

    def forward(self, x: Tensor, stream: Stream, last: bool) -> Tensor:
        """Return the frames of [B, C', F', H', W'] that are certain now; there may be none."""
        if not x.shape[2]:
            return self._nothing(x)
        frames = self._continued(x, stream, last)
        step = self.stride[0]
        done = max(0, (frames.shape[2] - 3) // step + 1)
        if not last:
            stream.keep(self, frames[:, :, done * step :])
        return self.conv(frames) if done else self._nothing(x)

    def _continued(self, x: Tensor, stream: Stream, last: bool) -> Tensor:
        """Return `x` behind the frames before it, at an end of the clip behind or before copies."""
        kept = stream.take(self)
        front = [x[:, :, :1]] * (2 if self.causal else 1) if kept is None else [kept]
        behind = [x[:, :, -1:]] if last and not self.causal else []
        return torch.cat((*front, x, *behind), dim=2)

    def _nothing(self, x: Tensor) -> Tensor:
        rows, columns = (
            (side - 1) // step + 1 for side, step in zip(x.shape[3:], self.stride[1:], strict=True)
        )
        return x.new_empty(x.shape[0], self.out_channels, 0, rows, columns)


class PixelNorm(nn.Module):
    """Divides each position by the root of its mean square over channels."""

    def forward(self, x: Tensor) -> Tensor:  # [B, C, F, H, W]
        # The mean is summed in float32 at least, and rounded once.
        length = torch.linalg.vector_norm(
            x, dim=1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32)
        )
        scale = torch.rsqrt(length.square() / x.shape[1] + PIXEL_NORM_EPS)
        return x * scale.to(x.dtype)


def norm_of(
    kind: Norm,
    channels: int,
    *,
    layers: LayerFactory = nn,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """Return the norm a config names."""
    if kind is Norm.PIXEL:
        return PixelNorm()
    return layers.GroupNorm(NORM_GROUPS, channels, eps=GROUP_NORM_EPS, device=device, dtype=dtype)


class _Embedder(nn.Module):
    """The checkpoint's extra level of names."""

    def __init__(
        self,
        width: int,
        layers: LayerFactory,
        device: torch.device | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.linear_1 = layers.Linear(SINUSOID, width, device=device, dtype=dtype)
        self.linear_2 = layers.Linear(width, width, device=device, dtype=dtype)


class TimeEmbedding(nn.Module):
    """A noise level as scales and shifts: sinusoid, then two linear layers."""

    def __init__(
        self,
        width: int,
        *,
        layers: LayerFactory = nn,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.timestep_embedder = _Embedder(width, layers, device, dtype)

    def forward(self, timestep: Tensor, dtype: torch.dtype) -> Tensor:
        """Turn `timestep` [B], float32, into [B, width] of `dtype`."""
        embedder = self.timestep_embedder
        return embedder.linear_2(F.silu(embedder.linear_1(sinusoid(timestep).to(dtype))))


def sinusoid(timestep: Tensor) -> Tensor:
    """Return cosines, then sines, of `timestep` [B] at falling frequencies: float32 [B, 256]."""
    half = SINUSOID // 2
    steps = torch.arange(half, dtype=torch.float32, device=timestep.device)
    angles = timestep.float()[:, None] * torch.exp(-log(LONGEST) * steps / half)  # [B, half]
    return torch.cat((angles.cos(), angles.sin()), dim=-1)
