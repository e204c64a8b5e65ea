"""How a file stores its quantised weights: which of its tensors make one weight, and how.

Everything is decided layer by layer from what the file holds. What cannot be understood whole is
refused: a weight without its scale, or a scale without its weight, would be plausible noise.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import LTX2Error
from ..ops import gguf_blocks
from ..ops.dequantize import BLOCK, MXFP8_GROUP, NVFP4_GROUP, widened
from ..ops.packed import Packed
from ..ops.rotation import is_group
from .header import TensorEntry
from .quantised import (
    DESCRIPTION,
    FLOAT8,
    FORMATS,
    Entries,
    Options,
    layer_options,
    missing_scale,
    scale_of,
)  # fmt: skip

log = logging.getLogger(__name__)

#: Format -> how its weight is stored.
STORED_AS = {
    "float8_e4m3fn": ("F8_E4M3",), "float8_e5m2": ("F8_E5M2",), "mxfp8": ("F8_E4M3",),
    "nvfp4": ("U8",), "int8_tensorwise": ("I8",), "convrot_w4a4": ("I8", "U8"),
    "asym_w4a8_int8": ("I8", "U8"),
}  # fmt: skip
#: Two numbers in each byte.
HALVES = frozenset({"nvfp4", "convrot_w4a4", "asym_w4a8_int8"})
#: What the columns of a weight come in.
MULTIPLES = {"nvfp4": NVFP4_GROUP, "mxfp8": MXFP8_GROUP}
#: Formats whose numbers always rest rotated, unless the layer says otherwise.
ROTATED = frozenset({"convrot_w4a4", "asym_w4a8_int8"})
#: Columns rotated together where a file does not say how many.
USUAL_GROUP = 256
#: Tensors beside a weight that may be there and may not.
OPTIONAL = ("weight_scale", "input_scale", "pre_quant_scale", "weight_codebook")
#: Endings of tensors that mean something only beside a quantised weight.
COMPANIONS = (
    ".weight_scale", ".scale_weight", ".weight_scale_2", ".pre_quant_scale", ".weight_s_rel",
    ".weight_s_channel", ".weight_codebook",
)  # fmt: skip
#: Endings of tensors that change nothing where the weight is plain.
HARMLESS = (".input_scale", ".scale_input", "scaled_fp8")
#: Block types of GGUF files that hold plain numbers.
PLAIN_TYPES = frozenset({"F32", "F16", "BF16"})
GGUF_TYPES = {
    kind.name: number for number, kind in gguf_blocks.TYPES.items() if kind.name not in PLAIN_TYPES
}
#: The exponent of mxfp8 that stands for NaN.
NO_POWER = 255
#: Scales up to this many bytes are looked at when a file is opened, larger ones when they are read.
SMALL = 1 << 16


@dataclass(frozen=True, slots=True)
class Packing:
    """One quantised weight of a file."""

    format: str  # a key of `ops.packed.FORMULAS`
    shape: tuple[int, ...]  # of its numbers; may be padded
    keys: Mapping[str, str]  # `weight`, `weight_scale`, ... -> key of the file
    bytes: int
    group: int | None = None  # columns that rest rotated together
    gguf_type: int | None = None

    def read(self, source: str, tensor: Callable[[str], Tensor]) -> Packed:
        """Read the stored tensors. Raises LTX2Error `scale_not_finite`; `source` is the file."""
        stored = {name: tensor(key) for name, key in self.keys.items()}
        for name, key in self.keys.items():
            if name != "weight":
                check_finite(source, self.format, key, stored[name])
        return Packed(self.format, self.shape, stored, self.group, self.gguf_type)


def packings_of(
    source: str, entries: Entries, metadata: Mapping[str, object], blobs: Mapping[str, bytes]
) -> tuple[dict[str, Packing], frozenset[str]]:
    """Return how each quantised weight is stored, by its key, and the keys of what is beside them.

    `blobs` holds the bytes of the layers' own descriptions. Raises LTX2Error `quant_unsupported`,
    `scale_missing`, `scale_unused` or `shape_mismatch`, naming `source`, layer and tensor.
    """
    options = layer_options(entries, metadata, blobs)
    for layer, said in options.items():
        if str(said["format"]) not in FORMATS:
            raise unsupported(source, layer, str(said["format"]))
    if missing := missing_scale(entries, options):
        raise scale_missing(source, *missing)
    found = {f"{layer}.weight": _layer(source, entries, layer, o) for layer, o in options.items()}
    beside = {key for packing in found.values() for key in packing.keys.values()}
    for key, entry in entries.items():
        if key in found or key in beside:
            continue
        if entry.dtype in FLOAT8 and f"{key}_scale" in entries:
            found[key] = _other(source, entries, key)
            beside |= {*found[key].keys.values()}
        elif entry.dtype in GGUF_TYPES:
            found[key] = _blocks(key, entry)
    beside |= {key for key in entries if key.endswith((DESCRIPTION, *HARMLESS))}
    _check_unused(source, entries, found, beside, blobs)
    _warn_of_rotation(source, options)
    return found, frozenset(beside - found.keys())


def check_finite(source: str, kind: str, key: str, scale: Tensor) -> None:
    """Refuse a scale that is NaN or infinite: everything it touches would be.

    `kind` is the format, by which bytes are known for what they are.
    """
    if kind == "mxfp8":
        good = not (scale.view(torch.uint8) == NO_POWER).any()
    else:
        good = bool(torch.isfinite(widened(scale)).all())
    if not good:
        raise LTX2Error(
            f"{source} is damaged: {key} is not a finite number.",
            needed="an undamaged file; download it again", code="scale_not_finite",
        )  # fmt: skip


def check_small_scales(
    source: str, packings: Mapping[str, Packing], entries: Entries, tensor: Callable[[str], Tensor]
) -> None:
    """Refuse a file of whose scales one is NaN or infinite, as far as they are small to read."""
    for packing in packings.values():
        for name, key in packing.keys.items():
            if name != "weight" and entries[key].bytes <= SMALL:
                check_finite(source, packing.format, key, tensor(key))


def unsupported(source: str, layer: str, found: str) -> LTX2Error:
    """Return the error for a layer in a format nobody here knows."""
    return LTX2Error(
        f"{source} stores {layer} as {found!r}, a format nobody here knows.",
        needed=f"a file in one of {', '.join(FORMATS)}", code="quant_unsupported",
    )  # fmt: skip


def scale_missing(source: str, layer: str, scale: str) -> LTX2Error:
    """Return the error for a quantised layer without its scale."""
    return LTX2Error(
        f"{source} is damaged: {layer} is quantised but has no {scale}.",
        needed="the complete file; download it again", code="scale_missing",
    )  # fmt: skip


def _layer(source: str, entries: Entries, layer: str, options: Options) -> Packing:
    """Put together what belongs to the weight of one layer."""
    kind, key = str(options["format"]), f"{layer}.weight"
    if entries[key].dtype not in STORED_AS[kind]:
        raise unsupported(source, layer, f"{kind} in {entries[key].dtype}")
    stored = entries[key].shape
    shape = (*stored[:-1], 2 * stored[-1]) if kind in HALVES and stored else stored
    if not kind.startswith("float8") and (len(shape) != 2 or shape[1] % MULTIPLES.get(kind, 1)):
        raise LTX2Error(
            f"{source} is damaged: {key} has shape {list(stored)}, which {kind} cannot have.",
            needed="the complete file; download it again", code="shape_mismatch",
        )  # fmt: skip
    keys = {"weight": key}
    for name in dict.fromkeys((*FORMATS[kind], *OPTIONAL)):
        if (spelling := scale_of(entries, layer, name)) is not None:
            keys[name] = f"{layer}.{spelling}"
    group = _group(source, layer, kind, shape, options)
    packing = Packing(kind, shape, keys, sum(entries[k].bytes for k in keys.values()), group=group)
    _check_shapes(source, entries, packing)
    return packing


def _group(
    source: str, layer: str, kind: str, shape: Sequence[int], options: Options
) -> int | None:
    """Return how many columns rest rotated together, None where they do not."""
    if not options.get("convrot", kind in ROTATED):
        return None
    size = options.get("convrot_groupsize", USUAL_GROUP)
    if type(size) is not int or len(shape) != 2 or not is_group(size, shape[1]):
        raise unsupported(source, layer, f"{kind} rotated in groups of {size}")
    return size


def _other(source: str, entries: Entries, key: str) -> Packing:
    """Describe scaled float8 numbers that are no layer's weight: a vector, a bias."""
    keys, entry = {"weight": key, "weight_scale": f"{key}_scale"}, entries[key]
    size = sum(entries[k].bytes for k in keys.values())
    packing = Packing(FLOAT8[entry.dtype], entry.shape, keys, size)
    _check_shapes(source, entries, packing)
    return packing


def _blocks(key: str, entry: TensorEntry) -> Packing:
    return Packing(
        "gguf", entry.shape, {"weight": key}, entry.bytes, gguf_type=GGUF_TYPES[entry.dtype]
    )


def _check_shapes(source: str, entries: Entries, packing: Packing) -> None:
    for name, key in packing.keys.items():
        if name == "weight":
            continue
        allowed = [*_allowed(packing.format, packing.shape, name)]
        found = entries[key].shape
        if allowed and found not in allowed:
            raise LTX2Error(
                f"{source} is damaged: {key} has shape {list(found)}, "
                f"{' or '.join(str(list(shape)) for shape in allowed)} is needed.",
                needed="the complete file; download it again", code="shape_mismatch",
            )  # fmt: skip


def _allowed(kind: str, shape: tuple[int, ...], name: str) -> Iterator[tuple[int, ...]]:
    """Yield the shapes that a tensor beside a weight may have; none where any will do."""
    rows, columns = (shape[0] if shape else 1), (shape[1] if len(shape) > 1 else 1)
    if name == "weight_scale" and kind in ("nvfp4", "mxfp8"):
        groups = columns // (NVFP4_GROUP if kind == "nvfp4" else MXFP8_GROUP)
        yield -(-rows // 128) * 128, -(-groups // 4) * 4  # whole tiles of 128 x 4
    elif name == "weight_scale":
        yield from ((), (1,), (1, 1), (rows,), (rows, 1))
        if kind.startswith("float8") and len(shape) == 2:
            yield -(-rows // BLOCK), -(-columns // BLOCK)
    elif name in ("weight_scale_2", "input_scale"):
        yield from ((), (1,))
    elif name == "pre_quant_scale":
        yield (columns,)
    elif name == "weight_s_channel":
        yield from ((rows,), (rows, 1))
    elif name == "weight_codebook":
        yield (16,)
    elif name == "weight_s_rel":
        yield from ((rows, n) for n in range(1, columns + 1) if columns % n == 0)


def _check_unused(
    source: str,
    entries: Entries,
    found: Mapping[str, Packing],
    beside: set[str],
    blobs: Mapping[str, bytes],
) -> None:
    """Refuse scales that belong to no quantised weight, and descriptions of plain weights."""
    for key in entries.keys() - beside:
        if key.endswith(COMPANIONS):
            raise LTX2Error(
                f"{source} is damaged: {key} belongs to no quantised weight.",
                needed="the complete file; download it again", code="scale_unused",
            )  # fmt: skip
    for key in blobs:
        layer = key.removesuffix(DESCRIPTION)
        entry = entries.get(f"{layer}.weight")
        if entry is not None and f"{layer}.weight" not in found:
            raise unsupported(source, layer, f"quantised in {entry.dtype}")


def _warn_of_rotation(source: str, options: Mapping[str, Options]) -> None:
    """Say that a file whose name says convrot does not say so of its layers."""
    silent = [layer for layer, o in options.items() if "cast" in o]
    if "convrot" in source.lower() and silent and len(silent) == len(options):
        log.warning(
            "%s: its name says convrot, but nothing in it does: read as it is, it may give noise",
            source,
        )
