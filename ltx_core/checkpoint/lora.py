"""A LoRA file as pairs per parameter name, and their exact addition to a weight.

Formula (`spec` of the trainer): W' = W + strength * (alpha / rank, if the file states alpha) * B @ A.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import LTX2Error
from .keys import KeyTable, rename
from .weights import Weights

log = logging.getLogger(__name__)

#: The official trainer's prefix; what follows is the module's own name.
OFFICIAL: KeyTable = (("diffusion_model.", ""),)
DOWN, UP = ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True, slots=True, eq=False)
class LoraPair:
    """The two thin matrices of one linear layer."""

    down: Tensor  # [rank, in]
    up: Tensor  # [out, rank]

    def delta(self, strength: float, device: torch.device) -> Tensor:
        """Return what is added to the weight, float32 [out, in]."""
        down, up = self.down.to(device, torch.float32), self.up.to(device, torch.float32)
        return (up * strength) @ down


@dataclass(frozen=True, slots=True, eq=False)
class Lora:
    """One LoRA file, by module name."""

    name: str
    pairs: dict[str, LoraPair]
    reference_downscale: int = 1
    reference_temporal_scale: int = 1
    generation: str = ""


@dataclass(frozen=True, slots=True)
class LoraUse:
    """A LoRA and how strongly it counts."""

    lora: Lora
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class LoraMatch:
    """How much of a LoRA a network knows."""

    name: str
    matched: int
    total: int
    unmatched: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.matched} of {self.total} modules matched"


def read_lora(weights: Weights) -> Lora:
    """Read a LoRA in the official naming.

    Raises LTX2Error `wrong_role` (no LoRA keys) or `lora_incomplete` (one half of a pair missing).
    """
    names = rename(weights, OFFICIAL)
    downs = {name.removesuffix(DOWN): key for key, name in names.items() if name.endswith(DOWN)}
    ups = {name.removesuffix(UP): key for key, name in names.items() if name.endswith(UP)}
    if not downs and not ups:
        raise LTX2Error(
            f"{weights.name} is not a LoRA in the official naming (its keys are like "
            f"{next(iter(weights), 'none')}).",
            needed="a LoRA file with diffusion_model.*.lora_A.weight keys",
            where="models/loras",
            code="wrong_role",
        )
    if halves := sorted(downs.keys() ^ ups.keys()):
        half = "lora_B" if halves[0] in downs else "lora_A"
        raise LTX2Error(
            f"{weights.name} is incomplete: {halves[0]} has no {half}.",
            needed="the complete file; download it again", where="models/loras",
            code="lora_incomplete",
        )  # fmt: skip
    pairs = {module: LoraPair(weights[downs[module]], weights[ups[module]]) for module in downs}
    return Lora(
        weights.name,
        pairs,
        reference_downscale=_factor(weights, "reference_downscale_factor"),
        reference_temporal_scale=_factor(weights, "reference_temporal_scale_factor"),
        generation=str(weights.metadata.get("model_version", "")),
    )


def _factor(weights: Weights, name: str) -> int:
    value = next((v for key, v in weights.metadata.items() if key.endswith(name)), 1)
    try:
        return max(1, round(float(value)))
    except (TypeError, ValueError):
        raise LTX2Error(
            f"{weights.name} states {name} = {value!r}, which is not a number.",
            needed="an undamaged LoRA file", where="models/loras", code="config_unsupported",
        ) from None  # fmt: skip


def match(lora: Lora, shapes: Mapping[str, Sequence[int]]) -> LoraMatch:
    """Compare a LoRA with the parameters (name -> shape) it is to change.

    Raises LTX2Error `lora_no_match` if nothing fits, `lora_shape_mismatch` if a shape differs.
    """
    unmatched = [module for module in lora.pairs if f"{module}.weight" not in shapes]
    matched = len(lora.pairs) - len(unmatched)
    if not matched:
        raise LTX2Error(
            f"{lora.name}: 0 of {len(lora.pairs)} modules match this model; it was made for another "
            f"one (its keys are like {unmatched[0]}).",
            needed="a LoRA for LTX-2", where="models/loras", code="lora_no_match",
        )  # fmt: skip
    for module, pair in lora.pairs.items():
        wanted = shapes.get(f"{module}.weight")
        found = [pair.up.shape[0], pair.down.shape[1]]
        if wanted is not None and (list(wanted) != found or pair.up.shape[1] != pair.down.shape[0]):
            raise LTX2Error(
                f"{lora.name} does not fit: {module} is {list(wanted)} in the model and {found} in "
                "the LoRA.",
                needed="a LoRA of the model's generation", where="models/loras",
                code="lora_shape_mismatch",
            )  # fmt: skip
    if unmatched:
        log.warning("%s: %d modules unknown to the model, first %s", lora.name, len(unmatched), unmatched[0])
    return LoraMatch(lora.name, matched, len(lora.pairs), tuple(unmatched))


def fused(parameter: str, weight: Tensor, uses: Sequence[LoraUse]) -> Tensor:
    """Return `weight` with every LoRA of `uses` added: in float32, rounded once to its own dtype.

    A parameter no LoRA names is returned as it is, without a copy.
    """
    module = parameter.removesuffix(".weight")
    changes = [
        (use.lora.pairs[module], use.strength)
        for use in uses
        if use.strength != 0 and parameter.endswith(".weight") and module in use.lora.pairs
    ]
    if not changes:
        return weight
    total = weight.to(torch.float32, copy=True)
    for pair, strength in changes:
        total += pair.delta(strength, weight.device)
    return total.to(weight.dtype)
