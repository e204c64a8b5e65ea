"""A workflow in ComfyUI's UI format, laid out from a short description and the nodes' schemas."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..nodes.host.api import io

#: Registry id and version that every node of ours carries.
PACK, PACK_VERSION = "ltx2-audio-video", "0.1.0"
#: The widget values the frontend adds behind a seed.
SEED_CONTROL = "fixed"


@dataclass(kw_only=True)
class Box:
    """One node: where it stands, what its widgets say, what feeds its inputs."""

    type: str
    at: tuple[int, int]
    size: tuple[int, int]
    widgets: dict[str, Any] = field(default_factory=dict)
    #: input id -> (name of the box, output number)
    links: dict[str, tuple[str, int]] = field(default_factory=dict)
    title: str = ""
    models: list[dict[str, str]] = field(default_factory=list)


def note(text: str, at: tuple[int, int], size: tuple[int, int]) -> Box:
    """Return a note; it runs nothing."""
    return Box(type="MarkdownNote", at=at, size=size, title="Files", widgets={"text": text})


def workflow(
    boxes: Mapping[str, Box],
    schemas: Mapping[str, io.Schema],
    *,
    ours: Iterable[str],
    linear_inputs: Iterable[tuple[str, str]],
    linear_outputs: Iterable[str],
) -> dict[str, Any]:
    """Return the UI-format workflow of `boxes`, which are numbered in their order.

    `linear_inputs` are (box, widget) pairs for the form of App mode, `linear_outputs` the boxes
    whose results it shows.
    """
    numbers = {name: number for number, name in enumerate(boxes, start=1)}
    links: list[list[Any]] = []
    for name, box in boxes.items():
        for slot, entry in enumerate(_sockets(box, schemas)):
            if entry.id in box.links:
                source, output = box.links[entry.id]
                kind = schemas[boxes[source].type].outputs[output].io_type
                links.append([len(links) + 1, numbers[source], output, numbers[name], slot, kind])
    nodes = [
        _node(numbers[name], box, schemas, links, box.type in set(ours))
        for name, box in boxes.items()
    ]
    return {
        "revision": 0,
        "last_node_id": len(nodes),
        "last_link_id": len(links),
        "nodes": nodes,
        "links": links,
        "groups": [],
        "config": {},
        "extra": {
            "ds": {"scale": 0.8, "offset": [60, 90]},
            "linearData": {
                "inputs": [[str(numbers[name]), widget] for name, widget in linear_inputs],
                "outputs": [str(numbers[name]) for name in linear_outputs],
            },
        },
        "version": 0.4,
    }


def _sockets(box: Box, schemas: Mapping[str, io.Schema]) -> list[Any]:
    """Return the inputs in the order the frontend keeps them: as in the schema."""
    return list(schemas[box.type].inputs) if box.type in schemas else []


def _is_widget(entry: Any) -> bool:
    return bool(entry.is_widget)


def _node(
    number: int, box: Box, schemas: Mapping[str, io.Schema], links: list[list[Any]], ours: bool
) -> dict[str, Any]:
    known = box.type in schemas
    inputs = []
    for slot, entry in enumerate(_sockets(box, schemas)):
        link = next((link[0] for link in links if link[3] == number and link[4] == slot), None)
        spec: dict[str, Any] = {"name": entry.id, "type": entry.io_type, "link": link}
        if _is_widget(entry):
            spec["widget"] = {"name": entry.id}
        if entry.optional and not _is_widget(entry):
            spec["shape"] = 7  # the frontend draws optional inputs hollow
        inputs.append(spec)
    outputs = [
        {
            "name": output.display_name or output.io_type,
            "type": output.io_type,
            "links": [link[0] for link in links if link[1] == number and link[2] == slot] or None,
        }
        for slot, output in enumerate(schemas[box.type].outputs if known else [])
    ]
    properties: dict[str, Any] = {}
    if known:
        properties["Node name for S&R"] = box.type
        properties["cnr_id"] = PACK if ours else "comfy-core"
        properties["ver"] = PACK_VERSION if ours else "0.3.64"
    if box.models:
        properties["models"] = box.models
    node = {
        "id": number,
        "type": box.type,
        "pos": list(box.at),
        "size": list(box.size),
        "flags": {},
        "order": number - 1,
        "mode": 0,
        "inputs": inputs,
        "outputs": outputs,
        "properties": properties,
        "widgets_values": _values(box, schemas),
    }
    if box.title:
        node["title"] = box.title
    return node


def _values(box: Box, schemas: Mapping[str, io.Schema]) -> list[Any]:
    """Return the widget values by position, with the control value behind a seed."""
    if box.type not in schemas:
        return list(box.widgets.values())
    values: list[Any] = []
    entries = [entry for entry in schemas[box.type].inputs if _is_widget(entry)]
    if unknown := box.widgets.keys() - {entry.id for entry in entries}:
        raise ValueError(f"{box.type} has no widget {sorted(unknown)}")
    for entry in entries:
        values.append(box.widgets.get(entry.id, entry.default))
        if entry.widget.get("control_after_generate"):
            values.append(SEED_CONTROL)
        if any(entry.widget.get(kind) for kind in ("image_upload", "video_upload", "audio_upload")):
            values.append("image")
    return values
