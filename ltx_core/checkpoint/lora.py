"""LoRAs and how strongly they count; their exact addition to a weight, or a branch beside it.

Formula: W' = W + strength * (alpha / rank, if the file states alpha) * B @ A. The official trainer
saves no alpha; the rank is that of the module, since modules of one file may differ.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..ops.quantized import SideBranch
from .lora_changes import Change, LoraPair, Replacement
from .lora_keys import stream_of

log = logging.getLogger(__name__)

AnyChange: TypeAlias = Change | Replacement


@dataclass(frozen=True, slots=True, eq=False)
class Lora:
    """One LoRA file, by module name."""

    name: str
    pairs: dict[str, LoraPair]
    reference_downscale: int = 1
    reference_temporal_scale: int = 1
    generation: str = ""  # "2.0", "2.3", "2.5" as the file states it
    #: Parameter name -> changes that are no plain pairs, or of parameters that are no weights.
    changes: Mapping[str, tuple[AnyChange, ...]] = field(default_factory=dict)

    def changes_of(self, parameter: str) -> tuple[AnyChange, ...]:
        """Return everything that is to be done to one parameter."""
        pair = self.pairs.get(_module(parameter)) if parameter.endswith(".weight") else None
        others = self.changes.get(parameter, ())
        return others if pair is None else (pair, *others)

    @property
    def modules(self) -> list[str]:
        """Return every module that is changed, each once."""
        return [*dict.fromkeys((*self.pairs, *map(_module, self.changes)))]


@dataclass(frozen=True, slots=True)
class LoraUse:
    """A LoRA and how strongly it counts, if wanted otherwise for the streams.

    A module belongs to the stream its output lands in.
    """

    lora: Lora
    strength: float = 1.0
    video_strength: float | None = None
    audio_strength: float | None = None

    def strength_of(self, parameter: str) -> float:
        """Return how strongly one parameter is changed."""
        audio = stream_of(_module(parameter)) == "audio"
        own = self.audio_strength if audio else self.video_strength
        return self.strength if own is None else own


@dataclass(frozen=True, slots=True)
class LoraMatch:
    """How much of a LoRA a network knows."""

    name: str
    matched: int
    total: int
    unmatched: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.matched} of {self.total} modules matched"


def match(lora: Lora, shapes: Mapping[str, Sequence[int]], source: str = "the model") -> LoraMatch:
    """Compare a LoRA with the parameters (name -> shape) it is to change; `source` names them.

    Raises LTX2Error `lora_no_match` if nothing fits, `lora_shape_mismatch` if a shape differs.
    """
    wanted: dict[str, list[tuple[str, AnyChange]]] = {module: [] for module in lora.modules}
    for module, pair in lora.pairs.items():
        wanted[module].append((f"{module}.weight", pair))
    for parameter, changes in lora.changes.items():
        wanted[_module(parameter)] += [(parameter, change) for change in changes]
    unmatched = [
        module for module, found in wanted.items() if not any(name in shapes for name, _ in found)
    ]
    matched = len(wanted) - len(unmatched)
    if not matched:
        raise LTX2Error(
            f"{lora.name}: 0 of {len(wanted)} modules match {source}: it was made for a "
            f"different model (its modules are like {unmatched[0]}).",
            needed="a LoRA for LTX-2", where="models/loras", code="lora_no_match",
        )  # fmt: skip
    for name, change in (one for found in wanted.values() for one in found):
        if name in shapes and tuple(shapes[name]) != change.shape:
            raise LTX2Error(
                f"{lora.name} does not fit {source}: {_module(name)} is {list(shapes[name])} there "
                f"and {list(change.shape)} in the LoRA.",
                needed="a LoRA of the model's generation", where="models/loras",
                code="lora_shape_mismatch",
            )  # fmt: skip
    if unmatched:
        log.warning(
            "%s: %d modules unknown to the model, first %s", lora.name, len(unmatched), unmatched[0]
        )
    return LoraMatch(lora.name, matched, len(wanted), tuple(unmatched))


def fused(parameter: str, weight: Tensor, uses: Sequence[LoraUse]) -> Tensor:
    """Return `weight` with every LoRA of `uses` added: in float32, rounded once to its own dtype.

    A parameter no LoRA names is returned as it is, without a copy. The order of `uses` matters only
    where two replace the same parameter whole: the last one counts. What is added is added in the
    order of names, since float32 sums depend on it.
    """
    changes = _changes(parameter, uses)
    if not changes:
        return weight
    base = weight.to(torch.float32)
    for _, change in changes:
        if isinstance(change, Replacement):
            base = change.value.to(weight.device, torch.float32)
    total = base.clone()
    for use, change in sorted(
        changes, key=lambda one: (one[0].lora.name, one[0].strength_of(parameter))
    ):
        if not isinstance(change, Replacement):
            total += change.difference(base, use.strength_of(parameter))
    return total.to(weight.dtype)


def must_fuse(parameter: str, uses: Sequence[LoraUse]) -> bool:
    """Say whether some LoRA changes a weight in a way that no branch beside it can."""
    return any(not isinstance(change, LoraPair) for _, change in _changes(parameter, uses))


def side_branch(
    parameter: str, uses: Sequence[LoraUse], device: torch.device, dtype: torch.dtype | None
) -> SideBranch | None:
    """Return all LoRAs of a weight that is not written to as one pair; None if there are none.

    Matrices stay in the dtype of the file where `dtype` is None.
    """
    found = [
        (change, use.strength_of(parameter) * change.scale)
        for use, change in _changes(parameter, uses)
        if isinstance(change, LoraPair)
    ]
    if not found:
        return None
    down = torch.cat([pair.down.to(device, dtype) for pair, _ in found])  # [rank, in]
    up = torch.cat([pair.up.to(device, torch.float32) * scale for pair, scale in found], 1)
    return SideBranch(down, up if dtype is None else up.to(dtype))


def _changes(parameter: str, uses: Sequence[LoraUse]) -> list[tuple[LoraUse, AnyChange]]:
    """Return what is done to a parameter at a strength other than zero."""
    return [
        (use, change)
        for use in uses
        for change in use.lora.changes_of(parameter)
        if use.strength_of(parameter) != 0
    ]


def _module(parameter: str) -> str:
    return parameter.rpartition(".")[0]
