"""A weight that rests quantised: its stored tensors, and what numbers they stand for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from . import dequantize
from .gguf_blocks import unpacked

#: Dtypes that not every device has; elsewhere their bytes rest as U8.
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)
#: Numbers that are computed in float32 at a time: what lies beside the result stays small.
AT_ONCE = 2**24
#: Format -> what rows and columns are padded to a multiple of.
PADDED_TO = {"nvfp4": 16, "mxfp8": 32}
#: Scales that stand in the order of tiles, not of rows.
TILED = frozenset(PADDED_TO)
#: Tensors with an entry for every row, beside `weight` and its scale.
BY_ROW = frozenset({"weight_s_rel", "weight_s_channel"})


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """One quantised weight.

    `tensors` are named as in the files: `weight`, `weight_scale`, `weight_scale_2`, ... A matrix is
    [N, K]: N outputs, K inputs. `shape` is that of the numbers; what is stored may be padded.
    """

    format: str
    shape: tuple[int, ...]
    tensors: Mapping[str, Tensor]
    group: int | None = None  # columns that rest rotated together
    gguf_type: int | None = None  # a key of `gguf_blocks.TYPES`

    @property
    def bytes(self) -> int:
        """Return what it takes in memory."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())

    @property
    def device(self) -> torch.device:
        """Return where it rests."""
        return self.tensors["weight"].device

    def to(self, device: torch.device) -> "Packed":
        """Return it on another device."""
        return replace(self, tensors={k: _moved(t, device) for k, t in self.tensors.items()})

    def fitted(self, shape: tuple[int, ...]) -> "Packed | None":
        """Return it as a weight of this shape, without its padding; None if it is not that."""
        if shape == self.shape:
            return self
        size = PADDED_TO.get(self.format, 1)
        padded = tuple(-(-length // size) * size for length in shape)
        return replace(self, shape=shape) if padded == self.shape else None

    def dequantized(self, dtype: torch.dtype) -> Tensor:
        """Return the weight a linear layer multiplies by, rounded once, in `dtype`.

        What a file says to scale the layer's inputs by (`pre_quant_scale`) is part of it.
        """
        each = max(1, AT_ONCE // max(1, prod(self.shape[1:])))
        rows = self.shape[0]
        if rows <= each or self._crosses:
            return self._weighed(slice(0, rows)).to(dtype)
        whole = torch.empty(self.shape, dtype=dtype, device=self.device)
        for start in range(0, rows, each):
            part = slice(start, min(start + each, rows))
            whole[part] = self._weighed(part)
        return whole

    def _weighed(self, index: slice) -> Tensor:
        values, inputs = self.rows(index), self.tensors.get("pre_quant_scale")
        return values if inputs is None else values * inputs.float()

    @property
    def _crosses(self) -> bool:
        """Say whether blocks reach from one row into the next, so that rows cannot be taken."""
        return self.format == "gguf" and len(self.tensors["weight"]) != self.shape[0]

    def rows(self, index: slice | Tensor) -> Tensor:
        """Return the stored numbers of some rows, float32 [n, K]."""
        if self._crosses:
            return _gguf(self).view(self.shape)[index]
        taken = {name: self._taken(name, index) for name in self.tensors}
        values = FORMULAS[self.format](replace(self, tensors=taken))
        return values[:, : self.shape[1]] if values.ndim == 2 else values

    def _taken(self, name: str, index: slice | Tensor) -> Tensor:
        """Return those entries of a stored tensor that belong to some rows."""
        tensor = self.tensors[name]
        rows = len(self.tensors["weight"]) if self.tensors["weight"].ndim else 1
        if name == "weight_scale" and self.format in TILED:
            return _indexed(dequantize.unswizzled(tensor, rows), index)
        if name == "weight_scale" and tensor.numel() > 1:
            if len(tensor) != rows:  # one scale for 128 rows
                tensor = tensor.repeat_interleave(dequantize.BLOCK, 0)[:rows]
            return _indexed(tensor, index)
        return _indexed(tensor, index) if name == "weight" or name in BY_ROW else tensor


def _indexed(tensor: Tensor, index: slice | Tensor) -> Tensor:
    if isinstance(index, slice) or tensor.element_size() > 1:
        return tensor[index]
    return tensor.view(torch.uint8)[index].view(
        tensor.dtype
    )  # float8 cannot be gathered everywhere


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    if device.type == "mps" and tensor.dtype in FLOAT8:
        tensor = tensor.view(torch.uint8)
    return tensor.to(device)


def _float8(kind: torch.dtype) -> Callable[[Packed], Tensor]:
    def values(packed: Packed) -> Tensor:
        stored = packed.tensors
        return dequantize.scaled(
            dequantize.widened(stored["weight"], kind), stored.get("weight_scale")
        )

    return values


def _nvfp4(packed: Packed) -> Tensor:
    t = packed.tensors
    return dequantize.nvfp4(t["weight"], dequantize.widened(t["weight_scale"]), t["weight_scale_2"])


def _mxfp8(packed: Packed) -> Tensor:
    return dequantize.mxfp8(
        packed.tensors["weight"], packed.tensors["weight_scale"].view(torch.uint8)
    )


def _int8(packed: Packed) -> Tensor:
    return dequantize.int8(packed.tensors["weight"], packed.tensors["weight_scale"], packed.group)


def _int4(packed: Packed) -> Tensor:
    t = packed.tensors
    return dequantize.int4(t["weight"], t["weight_scale"], packed.group)


def _codebook_int8(packed: Packed) -> Tensor:
    t = packed.tensors
    return dequantize.codebook_int8(
        t["weight"], t["weight_s_rel"], t["weight_s_channel"], t.get("weight_codebook"),
        packed.group,
    )  # fmt: skip


def _gguf(packed: Packed) -> Tensor:
    assert packed.gguf_type is not None
    values = unpacked(packed.tensors["weight"], packed.gguf_type)  # [N, numbers of a row]
    return values if len(packed.shape) == 2 else values.view(-1, *packed.shape[1:])


#: Format -> the numbers its stored tensors stand for.
FORMULAS: Mapping[str, Callable[[Packed], Tensor]] = {
    "float8_e4m3fn": _float8(torch.float8_e4m3fn),
    "float8_e5m2": _float8(torch.float8_e5m2),
    "nvfp4": _nvfp4,
    "mxfp8": _mxfp8,
    "int8_tensorwise": _int8,
    "convrot_w4a4": _int4,
    "asym_w4a8_int8": _codebook_int8,
    "gguf": _gguf,
}
