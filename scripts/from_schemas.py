"""Writes what follows from the schemas: the English locale, help pages, the schema snapshot.

`uv run python -m ltx2_pack.scripts.from_schemas` writes them; a test compares without writing.
"""

import json
from pathlib import Path
from typing import Any

from ..nodes import all_nodes
from ..nodes.host.api import io
from .help_texts import HELP, Help

ROOT = Path(__file__).resolve().parents[1]
SNAPSHOT = ROOT / "tests" / "nodes" / "schemas.json"
#: A list that holds files differs from machine to machine.
FILE_LISTS = "files of this machine"


def schemas() -> dict[str, io.Schema]:
    """Return every node's schema by id."""
    found = [node.define_schema() for node in all_nodes()]
    return {schema.node_id: schema for schema in found}


def locale() -> dict[str, Any]:
    """Return `locales/en/nodeDefs.json`."""
    return {
        schema.node_id: {
            "display_name": schema.display_name,
            "description": schema.description,
            "inputs": {
                entry.id: {"name": entry.display_name or entry.id, "tooltip": entry.tooltip}
                for entry in schema.inputs
            },
            "outputs": {
                str(number): {"name": output.display_name, "tooltip": output.tooltip}
                for number, output in enumerate(schema.outputs)
            },
        }
        for schema in schemas().values()
    }


def snapshot() -> dict[str, Any]:
    """Return what may only ever grow: ids, order, types, defaults, options."""
    return {
        node: {
            "inputs": [
                {
                    "id": entry.id,
                    "type": entry.io_type,
                    "optional": bool(entry.optional),
                    **_frozen(entry),
                }
                for entry in schema.inputs
            ],
            "outputs": [
                {"name": output.display_name, "type": output.io_type} for output in schema.outputs
            ],
        }
        for node, schema in schemas().items()
    }


def _frozen(entry: Any) -> dict[str, Any]:
    if not entry.is_widget:
        return {}
    options = entry.widget.get("options")
    if options is None:
        return {"default": entry.default}
    if lists_files(entry):
        return {"options": FILE_LISTS}
    return {"default": entry.default, "options": list(options)}


def lists_files(entry: Any) -> bool:
    """Say whether a combo holds files found on this machine."""
    return entry.id in {
        "unet_name", "clip_name", "video_vae", "audio_vae", "upscale_model", "distilled_lora",
        "lora_name",
    }  # fmt: skip


def help_page(schema: io.Schema) -> str:
    """Return one node's help page in Markdown."""
    text: Help = HELP[schema.node_id]
    lines = [f"# {schema.display_name}", "", schema.description or "", ""]
    if schema.inputs:
        lines += [
            "## Inputs",
            "",
            "| name | range | default | meaning |",
            "| --- | --- | --- | --- |",
        ]
        lines += [_input_row(entry) for entry in schema.inputs]
        lines += [""]
    if schema.outputs:
        lines += ["## Outputs", "", "| name | meaning |", "| --- | --- |"]
        lines += [f"| {output.display_name} | {output.tooltip} |" for output in schema.outputs]
        lines += [""]
    lines += ["## Adjusted by itself", "", text.adjusted, ""]
    lines += ["## In a graph", "", "```", text.graph, "```", ""]
    lines += ["## Common mistakes", "", *(f"- {mistake}" for mistake in text.mistakes), ""]
    return "\n".join(lines)


def _input_row(entry: Any) -> str:
    name = entry.display_name or entry.id
    label = name if name == entry.id else f"{name} (`{entry.id}`)"
    needed = " (optional)" if entry.optional and not entry.is_widget else ""
    return f"| {label} | {_range(entry)}{needed} | {_default(entry)} | {entry.tooltip} |"


def _range(entry: Any) -> str:
    if not entry.is_widget:
        return entry.io_type
    widget = entry.widget
    if lists_files(entry):
        return "a file"
    if "options" in widget:
        return ", ".join(str(option) for option in widget["options"])
    if "min" in widget:
        return f"{widget['min']:g} to {widget['max']:g}" if widget["max"] < 1e9 else "any seed"
    return {"BOOLEAN": "on, off", "STRING": "text"}[entry.io_type]


def _default(entry: Any) -> str:
    if not entry.is_widget or lists_files(entry):
        return ""
    value = entry.default
    if isinstance(value, bool):
        return "on" if value else "off"
    text = "" if value is None else str(value)
    return text if len(text) <= 40 else "see the node"


def written_files() -> dict[Path, str]:
    """Return every generated file and what it must hold."""
    found = {
        ROOT / "locales" / "en" / "nodeDefs.json": _json(locale()),
        SNAPSHOT: _json(snapshot()),
        ROOT / "web" / "js" / "lib" / "node_ids.js": folded(),
    }
    for node, schema in schemas().items():
        found[ROOT / "web" / "docs" / f"{node}.md"] = help_page(schema)
    return found


def folded() -> str:
    """Return the script that tells the browser which settings are rare."""
    lines = [
        f"  {json.dumps(node)}: {json.dumps(rare)},\n"
        for node, schema in schemas().items()
        if (rare := [entry.id for entry in schema.inputs if entry.is_widget and entry.advanced])
    ]
    return (
        "/** Rare settings by node, made from the schemas: older servers do not tell them. */\n"
        f"export const FOLDED = {{\n{''.join(lines)}}};\n"
    )


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def what_shrank(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return what a new snapshot takes away from, moves in or changes in an older one.

    Files hold values by position and by id: nodes, inputs, outputs and options may only be added at
    the end, and an added input must be optional.
    """
    found = [f"{node} is gone" for node in before if node not in after]
    for node in before.keys() & after.keys():
        for side in ("inputs", "outputs"):
            old, new = before[node][side], after[node][side]
            if [_fixed(entry) for entry in old] != [_fixed(entry) for entry in new[: len(old)]]:
                found.append(f"{side} of {node}")
            for mine, theirs in zip(old, new, strict=False):
                options = mine.get("options")
                if theirs.get("options", [])[: len(options or [])] != (options or []):
                    found.append(f"options of {node}.{mine['id']}")
        added = after[node]["inputs"][len(before[node]["inputs"]) :]
        found += [f"{node}.{entry['id']} is required" for entry in added if not entry["optional"]]
    return found


def _fixed(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != "options"}


if __name__ == "__main__":
    if SNAPSHOT.is_file():
        frozen = json.loads(SNAPSHOT.read_text("utf-8"))
        if shrank := what_shrank(frozen, snapshot()):
            raise SystemExit("files that people have saved would break: " + ", ".join(shrank))
    for path, content in written_files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
