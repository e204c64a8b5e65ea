"""What LoRA files do to one parameter: pairs of thin matrices, and the other forms there are.

Every form gives the difference it makes at a strength, in float32, from the parameter as the file
of the model has it; so the order of LoRAs changes nothing.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Change(Protocol):
    """One change of one parameter."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the parameter it fits."""
        ...

    def difference(self, base: Tensor, strength: float) -> Tensor:
        """Return what is added to `base`, float32 on its device."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LoraPair:
    """The two thin matrices of one linear layer."""

    down: Tensor  # [rank, in]
    up: Tensor  # [out, rank]
    alpha: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.up.shape[0], self.down.shape[1]

    @property
    def scale(self) -> float:
        """Return what the file scales the product by: alpha / rank, 1 where it states no alpha."""
        return 1.0 if self.alpha is None else self.alpha / self.down.shape[0]

    def delta(self, strength: float, device: torch.device) -> Tensor:
        """Return what is added to the weight, float32 [out, in]."""
        down, up = self.down.to(device, torch.float32), self.up.to(device, torch.float32)
        return (up * (strength * self.scale)) @ down

    def difference(self, base: Tensor, strength: float) -> Tensor:
        return self.delta(strength, base.device)


@dataclass(frozen=True, slots=True, eq=False)
class Hadamard:
    """LoHa: two pairs, multiplied number by number. Scaled by alpha / rank as a pair is."""

    first: LoraPair
    second: LoraPair
    alpha: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.first.shape

    def difference(self, base: Tensor, strength: float) -> Tensor:
        scale = 1.0 if self.alpha is None else self.alpha / self.first.down.shape[0]
        first, second = (pair.delta(1.0, base.device) for pair in (self.first, self.second))
        return first * second * (strength * scale)


@dataclass(frozen=True, slots=True, eq=False)
class Kronecker:
    """LoKr: the Kronecker product of two matrices, each whole or as a pair.

    Scaled by alpha / rank of the last one that is a pair; by 1 if both are whole.
    """

    first: Tensor | LoraPair
    second: Tensor | LoraPair
    alpha: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        (a, b), (c, d) = self.first.shape, self.second.shape
        return a * c, b * d

    def difference(self, base: Tensor, strength: float) -> Tensor:
        ranks = [len(m.down) for m in (self.first, self.second) if isinstance(m, LoraPair)]
        scale = self.alpha / ranks[-1] if ranks and self.alpha is not None else 1.0
        first, second = (_whole(matrix, base.device) for matrix in (self.first, self.second))
        return torch.kron(first, second) * (strength * scale)


def _whole(matrix: Tensor | LoraPair, device: torch.device) -> Tensor:
    if isinstance(matrix, LoraPair):
        return matrix.delta(1.0, device)
    return matrix.to(device, torch.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Dora:
    """A change whose result keeps the lengths of rows or columns that the file states.

    V = W + change; W' = V * scale / n with n the length of a row of W, or of a column of V.
    Reference: ComfyUI takes the rows of W where the paper takes those of V; artists know its
    pictures.
    """

    inner: Change
    scale: Tensor  # [out, 1] or [1, in]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape

    def difference(self, base: Tensor, strength: float) -> Tensor:
        whole = base + self.inner.difference(base, 1.0)
        scale = self.scale.to(base.device, torch.float32)
        if len(scale) == len(base):
            length = base.norm(dim=1, keepdim=True)  # [out, 1]
        else:
            length = whole.norm(dim=0, keepdim=True)  # [1, in]
        eps = torch.finfo(torch.float32).eps
        return strength * (whole * (scale / (length + eps)) - base)


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """A whole difference, of a weight or of a bias."""

    value: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape)

    def difference(self, base: Tensor, strength: float) -> Tensor:
        return strength * self.value.to(base.device, torch.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Replacement:
    """Another parameter in the place of the model's, whatever the strength but zero."""

    value: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape)
