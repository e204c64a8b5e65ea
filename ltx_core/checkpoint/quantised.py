"""Which layers of a file are quantised, and how: from dtypes, names and the layers' descriptions.

A layer's own description (`<layer>.comfy_quant`, a few bytes of JSON) beats the list in the file's
metadata, which beats what dtype and sibling tensors show.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from .entries import BLOCK_TYPES
from .facts import Quantisation
from .header import Header, TensorEntry, read_small

#: Format -> the tensors beside `weight` without which its values mean nothing.
FORMATS: Mapping[str, tuple[str, ...]] = {
    "float8_e4m3fn": ("weight_scale",),
    "float8_e5m2": ("weight_scale",),
    "nvfp4": ("weight_scale", "weight_scale_2"),
    "mxfp8": ("weight_scale",),
    "int8_tensorwise": ("weight_scale",),
    "convrot_w4a4": ("weight_scale",),
    "asym_w4a8_int8": ("weight_s_rel", "weight_s_channel"),
}
FLOAT8 = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
PACKED = {*FLOAT8, "I8", "U8"}
OLD_SPELLING = {"weight_scale": "scale_weight", "input_scale": "scale_input"}
DESCRIPTION = ".comfy_quant"

Entries = Mapping[str, TensorEntry]
Options = Mapping[str, Any]


def quantisation(header: Header) -> Quantisation | None:
    """Describe the quantised layers of a file; None if there are none."""
    keys = header.tensors
    if blocks := [key for key, entry in keys.items() if entry.dtype in BLOCK_TYPES]:
        return Quantisation(format="gguf", layers=len(blocks))
    blobs = read_small(header, [key for key in keys if key.endswith(DESCRIPTION)])
    found = layer_options(keys, header.metadata, blobs)
    if not found:
        return None
    formats = Counter(str(options["format"]) for options in found.values())
    unsupported = next(
        ((layer, o["format"]) for layer, o in found.items() if o["format"] not in FORMATS), None
    )
    return Quantisation(
        format=formats.most_common(1)[0][0],
        layers=len(found),
        static_input_scale=any(scale_of(keys, layer, "input_scale") for layer in found),
        convrot=any(bool(options.get("convrot")) for options in found.values()),
        full_precision_matrix_mult=_full_precision(keys, found.values()),
        spelling=_spelling(keys, found),
        unsupported=unsupported,
        scale_missing=missing_scale(keys, found),
    )


def layer_options(
    keys: Entries, metadata: Mapping[str, Any], blobs: Mapping[str, bytes]
) -> dict[str, Options]:
    """Return layer -> how its weight is stored: `format` and what else describes it.

    `blobs` holds the bytes of the layers' own descriptions by key. A format that cannot be read is
    "unreadable"; `cast` is true where a float8 weight has no scale and no other has one.
    """
    layers = [
        key.removesuffix(".weight")
        for key, entry in keys.items()
        if key.endswith(".weight") and entry.dtype in PACKED
    ]
    described = {key.removesuffix(DESCRIPTION): _description(blob) for key, blob in blobs.items()}
    table = metadata.get("_quantization_metadata")
    named = table.get("layers") if isinstance(table, dict) else None
    named = named if isinstance(named, dict) else {}
    scaled = any(scale_of(keys, layer, "weight_scale") for layer in layers)
    found: dict[str, Options] = {}
    for layer in layers:
        options = described.get(layer, named.get(layer))
        if isinstance(options, dict):
            found[layer] = {"format": "unreadable", **options}
        else:
            found[layer] = {"format": _shown(keys, layer), "cast": not scaled}
    return found


def _description(blob: bytes) -> dict[str, Any]:
    """Return what a layer says of itself; options may stand under `params`."""
    try:
        value = json.loads(blob.decode("utf-8"))
    except (ValueError, RecursionError):
        value = None
    options = value if isinstance(value, dict) else {"format": "unreadable"}
    params = options.get("params")
    return {**(params if isinstance(params, dict) else {}), **options}


def _shown(keys: Entries, layer: str) -> str:
    """Return the format that dtype and siblings show where nothing describes the layer."""
    dtype = keys[f"{layer}.weight"].dtype
    if dtype in FLOAT8:
        return FLOAT8[dtype]
    if dtype == "U8":
        return "nvfp4"
    return "int8_tensorwise"


def scale_of(keys: Entries, layer: str, name: str) -> str | None:
    """Return how the file spells a layer's scale, None if the layer has none."""
    for spelling in (name, OLD_SPELLING.get(name)):
        if spelling is not None and f"{layer}.{spelling}" in keys:
            return spelling
    return None


def _spelling(keys: Entries, layers: Iterable[str]) -> str:
    return next((found for layer in layers if (found := scale_of(keys, layer, "weight_scale"))), "")


def _full_precision(keys: Entries, options: Iterable[Options]) -> bool:
    """Say whether the file forbids low-precision products (the old marker: by two elements)."""
    marker = next((e for k, e in keys.items() if k.endswith("scaled_fp8")), None)
    if marker is not None and marker.shape == (2,):
        return True
    return any(bool(option.get("full_precision_matrix_mult")) for option in options)


def missing_scale(keys: Entries, found: Mapping[str, Options]) -> tuple[str, str] | None:
    """Return the first layer without a scale that its format needs, and that scale's name.

    A float8 file without any scale holds plain values ("cast"), and nothing is missing.
    """
    for layer, options in found.items():
        if options.get("cast") and options["format"] in FLOAT8.values():
            continue
        for name in FORMATS.get(str(options["format"]), ()):
            if scale_of(keys, layer, name) is None:
                return layer, name
    return None
