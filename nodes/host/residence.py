"""Parts moving between their files and a device: what both hosts do and say."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import torch

from ...ltx_core.checkpoint.lora import LoraUse
from ...ltx_core.checkpoint.part import Part
from ...ltx_core.errors import LTX2Error
from .progress import check

log = logging.getLogger(__name__)

AnyPart: TypeAlias = Part[Any]

#: Too large to lie on a device together; the one that comes makes the others go.
HEAVY = frozenset({"transformer", "text_encoder"})


def lay_out(
    part: AnyPart, device: torch.device, dtype: torch.dtype, loras: Sequence[LoraUse]
) -> None:
    """Bring a part to `device`, saying so. Does nothing if it is there with the same LoRAs."""
    if part.device == device and part.loras == tuple(loras):
        return
    let_rest(part)  # the new weights never lie beside the old ones
    part.lay_out(device, dtype=dtype, loras=loras, check=check)
    size = part.laid_out_bytes(dtype, loras) / 1e9
    log.info("[LTX-2] %s -> %s, %.1f GB", part.role, device, size)


def let_rest(part: AnyPart) -> None:
    """Take a part off its device, saying so. Does nothing if it rests."""
    if part.device is None:
        return
    part.rest()
    log.info("[LTX-2] %s -> rest", part.role)


def in_the_way(part: AnyPart, others: Iterable[AnyPart]) -> list[AnyPart]:
    """Return those of `others` that must rest before `part` comes."""
    if part.role not in HEAVY:
        return []
    return [other for other in others if other is not part and other.role in HEAVY]


def does_not_fit(part: AnyPart, device: torch.device, needed: int, free: int) -> LTX2Error:
    """Return the sentence for a part that found no room."""
    return LTX2Error(
        f"There is no room for the {part.role.replace('_', ' ')}: it needs "
        f"{needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free.",
        needed="a smaller file (fp8, int8, nvfp4) or less of other models in memory",
        where=str(device),
        code="out_of_memory",
    )
