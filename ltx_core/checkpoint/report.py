"""What a model file is, for programs and for people. Only its header is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import LTX2Error
from .catalogue import still_needs
from .compatible import check_loadable, check_role
from .facts import COMPONENTS, ROLES, FileFacts

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


def reported(found: FileFacts | LTX2Error, path: Path) -> dict[str, Any]:
    """Return what is known of a file, or why nothing can be, as JSON values.

    Beside the facts: `folder` below ComfyUI's models it belongs in, `problem` that keeps these
    nodes from loading it (or null), and `needs`, sentences on files it needs beside it. A file that
    is none of ours, or damaged, has `error` (a code) and `message` instead.
    """
    if isinstance(found, LTX2Error):
        return {"name": path.name, "error": found.code, "message": str(found)}
    values = {**found.as_dict(), "folder": ROLES[found.role][1], "problem": None}
    try:
        check_alone(found)
    except LTX2Error as error:
        values["problem"] = str(error)
        if not may_be_completed(found, error):
            values |= {"error": error.code, "message": str(error)}
    return {**values, "needs": still_needs(found)}


def check_alone(facts: FileFacts) -> None:
    """Refuse a file that cannot be loaded as what it is, whatever lies beside it."""
    check_loadable(facts)
    if facts.role in ("text_encoder", "lora"):
        check_role(facts, facts.role)


def may_be_completed(facts: FileFacts, error: LTX2Error) -> bool:
    """Say whether the file itself is right: a tokenizer can be put into its folder."""
    beside = facts.path.is_dir() or facts.gguf_types is not None
    return error.code == "tokenizer_missing" and beside


def report_text(facts: Mapping[str, Any]) -> str:
    """Return what `reported` gives as lines for people."""
    if "role" not in facts:
        return "\n  ".join([f"{facts['name']}: refused", *str(facts["message"]).splitlines()])
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
