"""Which layers of a file are quantised, and how: from dtypes, names and the layers' descriptions.

A layer's own description (`<layer>.comfy_quant`, a few bytes of JSON) beats the list in the file's
metadata, which beats what dtype and sibling tensors show.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from .facts import Quantisation
from .header import Header, read_small

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


def quantisation(header: Header) -> Quantisation | None:
    """Describe the quantised layers of a file; None if there are none."""
    keys = header.tensors
    layers = [
        key.removesuffix(".weight")
        for key, entry in keys.items()
        if key.endswith(".weight") and entry.dtype in PACKED
    ]
    if not layers:
        return None
    blobs = _descriptions(header)
    scaled = any(_scale(keys, layer, "weight_scale") for layer in layers)
    found = {layer: _options(header, layer, blobs, scaled=scaled) for layer in layers}
    formats = Counter(str(options["format"]) for options in found.values())
    unsupported = next(
        ((layer, o["format"]) for layer, o in found.items() if o["format"] not in FORMATS), None
    )
    return Quantisation(
        format=formats.most_common(1)[0][0],
        layers=len(layers),
        static_input_scale=any(_scale(keys, layer, "input_scale") for layer in layers),
        convrot=any(bool(options.get("convrot")) for options in found.values()),
        full_precision_matrix_mult=_full_precision(header, found.values()),
        spelling=_spelling(keys, layers),
        unsupported=unsupported,
        scale_missing=_missing(keys, found),
    )


def _descriptions(header: Header) -> dict[str, dict[str, Any]]:
    """Return layer -> its own description."""
    found: dict[str, dict[str, Any]] = {}
    blobs = read_small(header, [key for key in header.tensors if key.endswith(".comfy_quant")])
    for key, blob in blobs.items():
        try:
            value = json.loads(blob.decode("utf-8"))
        except (ValueError, RecursionError):
            value = None
        options = value if isinstance(value, dict) else {"format": "unreadable"}
        params = options.get("params")
        found[key.removesuffix(".comfy_quant")] = {
            **(params if isinstance(params, dict) else {}),
            **options,
        }
    return found


def _options(
    header: Header, layer: str, blobs: Mapping[str, dict[str, Any]], *, scaled: bool
) -> dict[str, Any]:
    if layer in blobs:
        return {"format": "unreadable", **blobs[layer]}
    table = header.metadata.get("_quantization_metadata")
    named = table.get("layers") if isinstance(table, dict) else None
    options = named.get(layer) if isinstance(named, dict) else None
    if isinstance(options, dict):
        return {"format": "unreadable", **options}
    return {"format": _shown(header, layer), "cast": not scaled}


def _shown(header: Header, layer: str) -> str:
    """Return the format that dtype and siblings show where nothing describes the layer."""
    dtype = header.tensors[f"{layer}.weight"].dtype
    if dtype in FLOAT8:
        return FLOAT8[dtype]
    if dtype == "U8":
        return "nvfp4"
    return "int8_tensorwise"


def _scale(keys: Mapping[str, Any], layer: str, name: str) -> str | None:
    """Return how the file spells a layer's scale, None if the layer has none."""
    for spelling in (name, OLD_SPELLING.get(name)):
        if spelling is not None and f"{layer}.{spelling}" in keys:
            return spelling
    return None


def _spelling(keys: Mapping[str, Any], layers: list[str]) -> str:
    return next((found for layer in layers if (found := _scale(keys, layer, "weight_scale"))), "")


def _full_precision(header: Header, options: Iterable[Mapping[str, Any]]) -> bool:
    """Say whether the file forbids low-precision products (the old marker: by two elements)."""
    marker = next((e for k, e in header.tensors.items() if k.endswith("scaled_fp8")), None)
    if marker is not None and marker.shape == (2,):
        return True
    return any(bool(option.get("full_precision_matrix_mult")) for option in options)


def _missing(
    keys: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]
) -> tuple[str, str] | None:
    """Return the first layer without a scale that its format needs, and that scale's name.

    A float8 file without any scale holds plain values ("cast"), and nothing is missing.
    """
    for layer, options in found.items():
        if options.get("cast") and options["format"] in FLOAT8.values():
            continue
        for name in FORMATS.get(str(options["format"]), ()):
            if _scale(keys, layer, name) is None:
                return layer, name
    return None
