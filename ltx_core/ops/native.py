"""PyTorch's own layers, with the faster matrix product where the processor has two.

On a CPU `nn.Linear` in float32 goes through a library tuned for one maker's processors and writes
the bias in a pass of its own. oneDNN, which PyTorch carries too, does neither, and applies a GELU
while the product is still in the cache. Results agree to rounding; everything but inference on
plain CPU tensors is left to PyTorch.
"""

from functools import cache

import torch
from torch import Tensor, nn

#: Multiplications from which on the call's own cost is lost in the product's.
WORTHWHILE = 2**23


class Linear(nn.Linear):
    """`nn.Linear` with the same parameters and the same answers."""

    def forward(self, input: Tensor) -> Tensor:  # [..., in] -> [..., out]
        return product(input, self.weight, self.bias)


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x @ weight.T + bias: [..., in] -> [..., out]."""
    if _fits(x, weight):
        return _product(x, weight, bias, "none", [], "")
    return nn.functional.linear(x, weight, bias)


def gelu_of(layer: nn.Module, x: Tensor) -> Tensor:  # [..., in] -> [..., out]
    """Return the tanh form of GELU of a linear layer's output."""
    if type(layer) is Linear and _fits(x, layer.weight):
        return _product(x, layer.weight, layer.bias, "gelu", [], "tanh")
    return nn.functional.gelu(layer(x), approximate="tanh")


def _product(*arguments: object) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(*arguments)


def _fits(x: Tensor, weight: Tensor) -> bool:
    large = x.numel() * weight.shape[0] >= WORTHWHILE
    return large and _plain(x) and _plain(weight) and x.dtype == weight.dtype


def _plain(tensor: Tensor) -> bool:
    return (
        tensor.device.type == "cpu"
        and tensor.ndim > 1
        and not (tensor.requires_grad and torch.is_grad_enabled())
        and tensor.dtype in _known_dtypes()
        and not torch.compiler.is_compiling()
    )


@cache
def _known_dtypes() -> frozenset[torch.dtype]:
    """Return what this build and this processor multiply through oneDNN."""
    if not torch.backends.mkldnn.is_available() or not hasattr(
        torch.ops.mkldnn, "_linear_pointwise"
    ):
        return frozenset()
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return frozenset({torch.float32})
    return frozenset({torch.float32, torch.bfloat16})


class NativeLayers:
    """The namespace: what is not here faster is `torch.nn`'s."""

    Linear: type[nn.Linear] = Linear
    Conv1d: type[nn.Conv1d] = nn.Conv1d
    Conv2d: type[nn.Conv2d] = nn.Conv2d
    Conv3d: type[nn.Conv3d] = nn.Conv3d
    ConvTranspose1d: type[nn.ConvTranspose1d] = nn.ConvTranspose1d
    GroupNorm: type[nn.GroupNorm] = nn.GroupNorm
    LayerNorm: type[nn.LayerNorm] = nn.LayerNorm
    RMSNorm: type[nn.RMSNorm] = nn.RMSNorm
    Embedding: type[nn.Embedding] = nn.Embedding


native = NativeLayers()
