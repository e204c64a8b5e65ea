"""A LoRA file as pairs per module name, and their exact addition to a weight.

Formula: W' = W + strength * (alpha / rank, if the file states alpha) * B @ A. The official trainer
saves no alpha; the rank is that of the module, since modules of one file may differ.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import LTX2Error
from .header import Header, stated_generation
from .lora_keys import lora_key
from .weights import Weights

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class LoraPair:
    """The two thin matrices of one linear layer."""

    down: Tensor  # [rank, in]
    up: Tensor  # [out, rank]
    alpha: float | None = None

    def delta(self, strength: float, device: torch.device) -> Tensor:
        """Return what is added to the weight, float32 [out, in]."""
        down, up = self.down.to(device, torch.float32), self.up.to(device, torch.float32)
        scale = 1.0 if self.alpha is None else self.alpha / self.down.shape[0]
        return (up * (strength * scale)) @ down


@dataclass(frozen=True, slots=True, eq=False)
class Lora:
    """One LoRA file, by module name."""

    name: str
    pairs: dict[str, LoraPair]
    reference_downscale: int = 1
    reference_temporal_scale: int = 1
    generation: str = ""  # "2.0", "2.3", "2.5" as the file states it


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
    """Read a LoRA in any of the spellings of `lora_keys`.

    Raises LTX2Error `wrong_role` (no LoRA keys), `lora_incomplete` (one half of a pair missing) or
    `lora_unsupported` (changes that are not pairs: DoRA, LoHa, LoKr, whole differences).
    """
    modules: dict[str, dict[str, str]] = {}  # module -> part -> key
    for key in weights:
        if found := lora_key(key):
            modules.setdefault(found.module, {})[found.part] = key
    if not any(parts.keys() - {"alpha"} for parts in modules.values()):
        raise LTX2Error(
            f"{weights.name} is not a LoRA (its keys are like {next(iter(weights), 'none')}).",
            needed="a LoRA file, with keys like diffusion_model.*.lora_A.weight",
            where="models/loras",
            code="wrong_role",
        )
    pairs = {module: _pair(weights, module, parts) for module, parts in modules.items()}
    return Lora(
        weights.name,
        pairs,
        reference_downscale=reference_factor(weights, "reference_downscale_factor"),
        reference_temporal_scale=reference_factor(weights, "reference_temporal_scale_factor"),
        generation=stated_generation(weights.metadata) or "",
    )


def _pair(weights: Weights, module: str, parts: Mapping[str, str]) -> LoraPair:
    if others := sorted(parts.keys() - {"down", "up", "alpha"}):
        raise LTX2Error(
            f"{weights.name} changes {module} by {others[0]}, which is not implemented.",
            needed="a LoRA of plain pairs (lora_A and lora_B)", where="models/loras",
            code="lora_unsupported",
        )  # fmt: skip
    if missing := {"down", "up"} - parts.keys():
        raise incomplete(weights.name, module, missing.pop())
    down, up = weights[parts["down"]], weights[parts["up"]]
    alpha = weights[parts["alpha"]] if "alpha" in parts else None
    if (
        down.ndim != 2
        or up.ndim != 2
        or not len(down)
        or (alpha is not None and alpha.numel() != 1)
    ):
        raise LTX2Error(
            f"{weights.name} holds no pair of matrices for {module}: {list(down.shape)} and "
            f"{list(up.shape)}.",
            needed="a LoRA of plain pairs (lora_A and lora_B)", where="models/loras",
            code="lora_unsupported",
        )  # fmt: skip
    return LoraPair(down, up, None if alpha is None else float(alpha))


def incomplete(name: str, module: str, part: str) -> LTX2Error:
    """Return the error for a module of which one half is missing (`part`: "down" or "up")."""
    half = {"down": "lora_A (lora_down)", "up": "lora_B (lora_up)"}[part]
    return LTX2Error(
        f"{name} is incomplete: {module} has no {half}.",
        needed="the complete file; download it again", where="models/loras",
        code="lora_incomplete",
    )  # fmt: skip


def reference_factor(weights: Weights | Header, name: str) -> int:
    """Read how much smaller an IC-LoRA wants its reference; 1 where the file does not say.

    Reference: ComfyUI also takes the first metadata key that ends with `name`, rounded, at least 1.
    """
    value = next((v for key, v in weights.metadata.items() if key.endswith(name)), 1)
    try:
        return max(1, round(float(value)))
    except (TypeError, ValueError, OverflowError):
        file = weights.name if isinstance(weights, Weights) else weights.path.name
        raise LTX2Error(
            f"{file} states {name} = {value!r}, which is not a number.",
            needed="an undamaged LoRA file", where="models/loras", code="config_unsupported",
        ) from None  # fmt: skip


def match(lora: Lora, shapes: Mapping[str, Sequence[int]], source: str = "the model") -> LoraMatch:
    """Compare a LoRA with the parameters (name -> shape) it is to change; `source` names them.

    Raises LTX2Error `lora_no_match` if nothing fits, `lora_shape_mismatch` if a shape differs.
    """
    unmatched = [module for module in lora.pairs if f"{module}.weight" not in shapes]
    matched = len(lora.pairs) - len(unmatched)
    if not matched:
        raise LTX2Error(
            f"{lora.name}: 0 of {len(lora.pairs)} modules match {source}: it was made for a "
            f"different model (its modules are like {unmatched[0]}).",
            needed="a LoRA for LTX-2", where="models/loras", code="lora_no_match",
        )  # fmt: skip
    for module, pair in lora.pairs.items():
        wanted = shapes.get(f"{module}.weight")
        found = [pair.up.shape[0], pair.down.shape[1]]
        if wanted is not None and (list(wanted) != found or pair.up.shape[1] != pair.down.shape[0]):
            raise LTX2Error(
                f"{lora.name} does not fit {source}: {module} is {list(wanted)} there and {found} "
                "in the LoRA.",
                needed="a LoRA of the model's generation", where="models/loras",
                code="lora_shape_mismatch",
            )  # fmt: skip
    if unmatched:
        log.warning(
            "%s: %d modules unknown to the model, first %s", lora.name, len(unmatched), unmatched[0]
        )
    return LoraMatch(lora.name, matched, len(lora.pairs), tuple(unmatched))


def fused(parameter: str, weight: Tensor, uses: Sequence[LoraUse]) -> Tensor:
    """Return `weight` with every LoRA of `uses` added: in float32, rounded once to its own dtype.

    A parameter no LoRA names is returned as it is, without a copy. The order of `uses` does not
    matter: they are added in the order of their names, since float32 sums depend on it.
    """
    module = parameter.removesuffix(".weight")
    changing = [
        use
        for use in uses
        if use.strength != 0 and parameter.endswith(".weight") and module in use.lora.pairs
    ]
    if not changing:
        return weight
    total = weight.to(torch.float32, copy=True)
    for use in sorted(changing, key=lambda use: (use.lora.name, use.strength)):
        total += use.lora.pairs[module].delta(use.strength, weight.device)
    return total.to(weight.dtype)
