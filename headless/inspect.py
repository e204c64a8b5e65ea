"""What a model file is, for programs and for people. Only its header is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..ltx_core.checkpoint.catalogue import still_needs
from ..ltx_core.checkpoint.compatible import check_loadable
from ..ltx_core.checkpoint.facts import COMPONENTS, ROLES
from ..ltx_core.checkpoint.identify import identify
from ..ltx_core.errors import LTX2Error

#: What is said of a file, in this order: field -> words.
LABELS = {
    "blocks": "blocks",
    "layers": "layers",
    "heads": "heads",
    "hidden": "width",
    "audio_hidden": "width of the audio stream",
    "gemma": "language model",
    "gemma_version": "text encoder version",
    "decoder": "video decoder",
    "vocoder": "vocoder",
    "kind": "enlarges",
    "scale": "by",
    "format": "written by",
    "modules": "modules",
    "unmatched": "modules LTX-2 does not have",
    "rank": "rank",
    "alpha": "alpha",
    "streams": "streams",
    "reference_downscale_factor": "reference is smaller by",
    "reference_temporal_scale_factor": "reference has fewer frames by",
    "tensors": "tensors",
    "storage_dtypes": "stored as",
    "metadata_keys": "metadata",
}


def inspect_file(path: Path) -> dict[str, Any]:
    """Return the facts of a model file or folder as JSON values.

    Beside those of `FileFacts`: `folder` below ComfyUI's models it belongs in, `problem` that keeps
    these nodes from loading it (or null), and `needs`, sentences on files it needs beside it.
    Raises LTX2Error as `identify` does.
    """
    facts = identify(path)
    try:
        check_loadable(facts)
        problem = None
    except LTX2Error as error:
        problem = str(error)
    return {
        **facts.as_dict(),
        "folder": ROLES[facts.role][1],
        "problem": problem,
        "needs": still_needs(facts),
    }


def inspect_text(facts: Mapping[str, Any]) -> str:
    """Return the facts of `inspect_file` as lines for people."""
    words, folder = ROLES[facts["role"]]
    lines = [f"{facts['name']}: {words}, {_size(facts['bytes'])}; belongs in models/{folder}"]
    if facts["version"]:
        source = str(facts["version_source"]).replace("_", " ")
        lines.append(f"  generation: {facts['version']} (from {source})")
    if len(facts.get("components", ())) > 1:
        parts = (COMPONENTS.get(part, part) for part in facts["components"])
        lines.append(f"  holds: {', '.join(parts)}")
    lines += [f"  {words}: {_shown(facts[key])}" for key, words in LABELS.items() if facts.get(key)]
    if quant := facts["quant"]:
        lines.append(f"  quantised: {quant['layers']} layers as {quant['format']}")
    if facts["problem"]:
        lines += ["  cannot be loaded:", *(f"    {line}" for line in facts["problem"].splitlines())]
    if facts["needs"]:
        lines += ["  needs beside it:", *(f"    {need}" for need in facts["needs"])]
    return "\n".join(lines)


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{count} {key}" for key, count in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _size(size: int) -> str:
    """Return bytes in the unit people compare downloads in."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"
