"""Are weights numbers at all? Looked at where they run, as they are brought in."""

import logging

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..ops.packed import Packed

log = logging.getLogger(__name__)

#: Where smallest and largest are found in one pass, and a NaN among the numbers is both.
ONE_PASS = frozenset({"cpu", "cuda"})
NUMBERS = frozenset({torch.float16, torch.bfloat16, torch.float32})
#: Bits of a float8 code without its sign; the first of them that is NaN or infinite.
SIZE_BITS = 0x7F
NO_NUMBER = {torch.float8_e4m3fn: 0x7F, torch.float8_e5m2: 0x7C}


class Soundness:
    """Finds weights that are not finite, and matrices that are all zero.

    `add` only asks the device for two numbers per weight; `finish` waits for all of them at once.
    The cost is one more pass over what was just copied, a few percent of reading it.
    """

    def __init__(self) -> None:
        self._matrices: list[bool] = []
        self._names: list[str] = []
        self._extremes: list[Tensor] = []  # each [2], float32

    def add(self, name: str, weight: Tensor | Packed) -> None:
        """Look at one weight; of a packed one at codes or scales that can be no numbers."""
        if isinstance(weight, Packed):
            extremes, ndim = _packed_extremes(weight), len(weight.shape)
        elif weight.dtype not in NUMBERS or weight.is_meta or not weight.numel():
            return
        else:
            extremes, ndim = _extremes(weight), weight.ndim
        if extremes is not None:
            self._names.append(name)
            self._matrices.append(ndim > 1)
            self._extremes.append(extremes)

    def finish(self, source: str) -> None:
        """Refuse weights that are not finite (`not_finite`); warn of zeros. `source`: the file."""
        if not self._extremes:
            return
        found = torch.stack(self._extremes).cpu()  # [n, 2]
        finite, zero = found.isfinite().all(1).tolist(), (found == 0).all(1).tolist()
        if bad := [name for name, good in zip(self._names, finite, strict=True) if not good]:
            raise LTX2Error(
                f"{source} is damaged: {_some(bad)} not finite (NaN, or beyond the range).",
                needed="an undamaged file; download it again", where=source, code="not_finite",
            )  # fmt: skip
        rows = zip(self._names, self._matrices, zero, strict=True)
        if empty := [name for name, is_matrix, nothing in rows if is_matrix and nothing]:
            log.warning(
                "%s: %s all zeros, as in a file whose download was cut and filled up",
                source, _some(empty),
            )  # fmt: skip


def _extremes(weight: Tensor) -> Tensor:
    """Return the smallest and the largest number [2]; what is not finite shows in one of them."""
    if weight.device.type in ONE_PASS:
        return torch.stack(torch.aminmax(weight.detach())).float()
    numbers = weight.detach()
    finite = torch.where(numbers.isfinite().all(), 1.0, float("nan"))
    return torch.stack((finite * numbers.any().float(),) * 2)


def _packed_extremes(packed: Packed) -> Tensor | None:
    """Return two numbers [2] that are NaN where the weight has some; None if it cannot have."""
    codes, scale = packed.tensors["weight"], packed.tensors.get("weight_scale")
    if codes.dtype in NO_NUMBER and codes.numel():
        largest = (codes.view(torch.uint8) & SIZE_BITS).amax().float()
        nothing = torch.full_like(largest, float("nan"))
        return torch.where(largest < NO_NUMBER[codes.dtype], largest, nothing).expand(2)
    if scale is not None and scale.dtype in NUMBERS and scale.numel():
        return _extremes(scale)
    return None


def _some(names: list[str]) -> str:
    """Name the first of many, and say how they are."""
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{rest} {'is' if len(names) == 1 else 'are'}"
