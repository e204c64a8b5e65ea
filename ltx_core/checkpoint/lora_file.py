"""Reads LoRA files: the tensors of every module, in whatever spelling, as changes of parameters."""

from collections.abc import Mapping

from torch import Tensor

from ..errors import LTX2Error
from .header import Header, stated_generation
from .lora import Lora
from .lora_changes import (
    Change,
    Difference,
    Dora,
    Hadamard,
    Kronecker,
    LoraPair,
    Replacement,
)  # fmt: skip
from .lora_keys import lora_key
from .weights import Weights

HADAMARD = ("hada_w1_b", "hada_w1_a", "hada_w2_b", "hada_w2_a")
KRONECKER = tuple(f"lokr_w{n}{side}" for n in "12" for side in ("", "_a", "_b"))
#: Part of a key -> the form it belongs to; a module has one.
FORMS = {
    **dict.fromkeys(("down", "up"), "pair"),
    **dict.fromkeys(HADAMARD, "LoHa"),
    **dict.fromkeys(KRONECKER, "LoKr"),
}
#: A whole change: part of a key -> what it changes.
WHOLE = {"diff": "weight", "diff_b": "bias", "w_norm": "weight", "b_norm": "bias"}
#: Forms for convolutions, or that widen a layer: this model has no use for them.
FOREIGN = frozenset({"lora_mid", "reshape_weight", "hada_t1", "hada_t2", "lokr_t2"})


def read_lora(weights: Weights) -> Lora:
    """Read a LoRA in any of the spellings of `lora_keys`.

    Raises LTX2Error `wrong_role` (no LoRA keys), `lora_incomplete` (one half of a pair missing) or
    `lora_unsupported` (forms made for convolutions, tensors of odd shapes).
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
    pairs: dict[str, LoraPair] = {}
    changes: dict[str, tuple[Change | Replacement, ...]] = {}
    for module, keys in modules.items():
        parts = {part: weights[key] for part, key in keys.items()}
        low_rank = _low_rank(weights.name, module, parts)
        if isinstance(low_rank, LoraPair) and "dora_scale" not in parts:
            pairs[module] = low_rank
        elif low_rank is not None:
            if (scale := parts.get("dora_scale")) is not None:
                low_rank = Dora(low_rank, _dora_scale(weights.name, module, scale, low_rank.shape))
            changes[f"{module}.weight"] = (low_rank,)
        for parameter, change in _whole_changes(module, parts):
            changes[parameter] = (*changes.get(parameter, ()), change)
    return Lora(
        weights.name,
        pairs,
        reference_downscale=reference_factor(weights, "reference_downscale_factor"),
        reference_temporal_scale=reference_factor(weights, "reference_temporal_scale_factor"),
        generation=stated_generation(weights.metadata) or "",
        changes=changes,
    )


def _low_rank(name: str, module: str, parts: Mapping[str, Tensor]) -> Change | None:
    """Return the change of a weight that a module's thin matrices make, if it has some."""
    if foreign := sorted(parts.keys() & FOREIGN):
        raise _odd(name, f"changes {module} by {foreign[0]}, a form that linear layers do not have")
    alpha = _alpha(name, module, parts)
    forms = {FORMS[part] for part in parts if part in FORMS}
    if len(forms) > 1:
        raise _odd(name, f"changes {module} in two forms at once ({' and '.join(sorted(forms))})")
    if "pair" in forms:
        if missing := {"down", "up"} - parts.keys():
            raise incomplete(name, module, missing.pop())
        return _pair(name, module, parts["down"], parts["up"], alpha)
    if "LoHa" in forms:
        down, up, other_down, other_up = (_part(name, module, parts, part) for part in HADAMARD)
        first, second = _pair(name, module, down, up), _pair(name, module, other_down, other_up)
        if first.shape != second.shape:
            raise _odd(name, f"holds two products of different shapes for {module}")
        return Hadamard(first, second, alpha)
    if "LoKr" in forms:
        return Kronecker(
            _factor(name, module, parts, "lokr_w1"), _factor(name, module, parts, "lokr_w2"), alpha
        )
    if "dora_scale" in parts:
        raise incomplete(name, module, "down")
    return None


def _pair(name: str, module: str, down: Tensor, up: Tensor, alpha: float | None = None) -> LoraPair:
    if down.ndim != 2 or up.ndim != 2 or not len(down) or up.shape[1] != len(down):
        shapes = f"{list(down.shape)} and {list(up.shape)}"
        raise _odd(name, f"holds no pair of matrices for {module}: {shapes}")
    return LoraPair(down, up, alpha)


def _factor(name: str, module: str, parts: Mapping[str, Tensor], part: str) -> Tensor | LoraPair:
    """Return one side of a Kronecker product."""
    if part not in parts:
        down, up = (_part(name, module, parts, f"{part}_{side}") for side in "ba")
        return _pair(name, module, down, up)
    if parts[part].ndim != 2:
        raise _odd(name, f"holds no matrix for {module}: {part} is {list(parts[part].shape)}")
    return parts[part]


def _part(name: str, module: str, parts: Mapping[str, Tensor], part: str) -> Tensor:
    if part not in parts:
        raise LTX2Error(
            f"{name} is incomplete: {module} has no {part}.",
            needed="the complete file; download it again", where="models/loras",
            code="lora_incomplete",
        )  # fmt: skip
    return parts[part]


def _alpha(name: str, module: str, parts: Mapping[str, Tensor]) -> float | None:
    alpha = parts.get("alpha")
    if alpha is not None and alpha.numel() != 1:
        raise _odd(name, f"holds no number as the alpha of {module}: {list(alpha.shape)}")
    return None if alpha is None else float(alpha)


def _dora_scale(name: str, module: str, scale: Tensor, shape: tuple[int, ...]) -> Tensor:
    rows, columns = shape
    if scale.numel() == rows and scale.shape[:1] == (rows,):
        return scale.reshape(rows, 1)
    if scale.numel() == columns:
        return scale.reshape(1, columns)
    raise _odd(name, f"holds a dora_scale of shape {list(scale.shape)} for {module}")


def _whole_changes(
    module: str, parts: Mapping[str, Tensor]
) -> list[tuple[str, Change | Replacement]]:
    """Return the changes of parameters that are as large as the parameter, by its name."""
    found: list[tuple[str, Change | Replacement]] = [
        (f"{module}.{parameter}", Difference(parts[part]))
        for part, parameter in WHOLE.items()
        if part in parts
    ]
    if "set_weight" in parts:
        found.append((f"{module}.weight", Replacement(parts["set_weight"])))
    return found


def incomplete(name: str, module: str, part: str) -> LTX2Error:
    """Return the error for a module of which one half is missing (`part`: "down" or "up")."""
    half = {"down": "lora_A (lora_down)", "up": "lora_B (lora_up)"}[part]
    return LTX2Error(
        f"{name} is incomplete: {module} has no {half}.",
        needed="the complete file; download it again", where="models/loras",
        code="lora_incomplete",
    )  # fmt: skip


def _odd(name: str, what: str) -> LTX2Error:
    return LTX2Error(
        f"{name} {what}.",
        needed="a LoRA for linear layers (lora_A and lora_B, LoHa, LoKr or whole differences)",
        where="models/loras", code="lora_unsupported",
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
