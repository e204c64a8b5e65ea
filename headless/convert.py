"""A UI-format workflow (what the browser saves) to the API format (what is executed)."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ..ltx_core.errors import LTX2Error
from .graph import (
    Found,
    Link,
    Value,
    read_graph,
    running_nodes,
    source,
    title_of,
    wrong_count,
)
from .schema import CONTROLS, Infos, InputInfo, inputs_of

#: node id -> {"class_type", "inputs": {id: value or [node id, slot]}, "_meta": {"title"}}.
Prompt: TypeAlias = dict[str, dict[str, Any]]


def is_api_format(workflow: Mapping[str, Any]) -> bool:
    """Say whether a workflow is in the API format already."""
    return "nodes" not in workflow and all(
        isinstance(node, Mapping) and "class_type" in node for node in workflow.values()
    )


def to_api(workflow: Mapping[str, Any], infos: Infos) -> Prompt:
    """Return a workflow in the API format; one that is in it already is only checked for classes.

    Raises LTX2Error: not_a_workflow, unknown_node, widget_count, widget_value, circle.
    """
    if is_api_format(workflow):
        prompt = {str(key): dict(node) for key, node in workflow.items()}
        for key, node in prompt.items():
            if node["class_type"] not in infos:
                raise unknown_node(node["class_type"], f"node {key}")
        return prompt
    try:
        found = list(running_nodes(read_graph(workflow)))
        return {entry.id: _api_node(entry, infos) for entry in found}
    except LTX2Error:
        raise
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise LTX2Error(
            "This is not a workflow in ComfyUI's format.",
            needed="a file saved by ComfyUI (Save, or Export (API))",
            code="not_a_workflow",
        ) from error


def with_values(workflow: Mapping[str, Any], prompt: Prompt, infos: Infos) -> dict[str, Any]:
    """Return a UI-format workflow that holds the values of a prompt made of it.

    So a file saved by a run with other values opens with these in the browser.
    """
    changed = copy.deepcopy(dict(workflow))
    for found in running_nodes(read_graph(changed)):
        given = prompt[found.id]["inputs"]
        for name, cell in _cells(found, infos).items():
            if isinstance(cell, Value) and isinstance(cell.holder, list) and name in given:
                cell.holder[cell.place] = given[name]
    return changed


def unknown_node(class_type: str, where: str) -> LTX2Error:
    """Return the sentence for a node nobody here provides."""
    return LTX2Error(
        f"The node {class_type} is not known here.",
        needed="a workflow of this pack's nodes and ComfyUI's own, or --server with a ComfyUI "
        "that has the node",
        where=where,
        code="unknown_node",
    )


def _api_node(found: Found, infos: Infos) -> dict[str, Any]:
    node = found.node
    inputs = {
        name: [*cell] if isinstance(cell, Link) else cell.value
        for name, cell in _cells(found, infos).items()
    }
    named = infos[node["type"]].get("display_name")
    title = str(node.get("title") or named or node["type"])
    return {"class_type": node["type"], "inputs": inputs, "_meta": {"title": title}}


def _cells(found: Found, infos: Infos) -> dict[str, Link | Value]:
    """Return where each input of a node comes from: a link, or the place of its value."""
    node = found.node
    info = infos.get(node["type"])
    if info is None:
        raise unknown_node(node["type"], f"node {found.id}")
    cells: dict[str, Link | Value] = {**_widget_values(node, info)}
    for (inner, widget), value in found.level.proxied.items():
        if inner == str(node["id"]) and widget in cells:
            cells[widget] = value
    for slot in node.get("inputs") or []:
        fed = source(found.level, slot)
        if fed is not None:
            cells[(slot.get("widget") or {}).get("name") or slot["name"]] = fed
    return cells


def _widget_values(node: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, Value]:
    """Return a node's widget values by input id; the file holds them by position."""
    values = node.get("widgets_values") or []
    if isinstance(values, Mapping):
        known = {entry.name for entry in inputs_of(info) if entry.is_widget}
        return {name: Value(values, name) for name in values if name in known}
    reader = _Reader(node, values)
    reader.take_all([entry for entry in inputs_of(info) if entry.is_widget], "")
    reader.finish()
    return reader.found


class _Reader:
    """Goes through the values of one node in the order of its widgets."""

    def __init__(self, node: Mapping[str, Any], values: Sequence[Any]) -> None:
        self.node = node
        self.values = values
        self.place = 0
        self.widgets = 0
        self.uploads = 0
        self.found: dict[str, Value] = {}
        self.linked = {
            (slot.get("widget") or {}).get("name")
            for slot in node.get("inputs") or []
            if slot.get("link") is not None
        }

    def take_all(self, entries: Sequence[InputInfo], prefix: str) -> None:
        for entry in entries:
            self._take(entry, prefix + entry.name)

    def _take(self, entry: InputInfo, name: str) -> None:
        self.widgets += 1
        self.uploads += entry.upload_widgets
        if self.place >= len(self.values):
            self._fill_in(entry, name)
            return
        value = self.values[self.place]
        self._check(entry, name, value)
        self.found[name] = Value(self.values, self.place)
        self.place += 1
        if entry.has_control and self._next() in CONTROLS:
            self.place += 1
        if entry.type == "COMFY_DYNAMICCOMBO_V3":
            self._take_dependent(entry, name, value)

    def _next(self) -> Any:
        value = self.values[self.place] if self.place < len(self.values) else None
        return value if isinstance(value, str) else None

    def _fill_in(self, entry: InputInfo, name: str) -> None:
        """Give an input that came after the file was saved its default."""
        if "default" in entry.options:
            self.found[name] = Value(entry.options, "default")
        elif not entry.optional and name not in self.linked:
            raise wrong_count(self.node, len(self.values), self.widgets)

    def _take_dependent(self, entry: InputInfo, name: str, chosen: Any) -> None:
        """Read the widgets of the chosen option, which follow their combo."""
        for option in entry.options.get("options") or []:
            if option.get("key") == chosen:
                inner = inputs_of({"input": option.get("inputs") or {}})
                self.take_all([item for item in inner if item.is_widget], f"{name}.")

    def _check(self, entry: InputInfo, name: str, value: Any) -> None:
        if name in self.linked or _is_of(entry.value_type, value):
            return
        raise LTX2Error(
            f"{title_of(self.node)}.{name} is {value!r}, which is no {entry.value_type}.",
            needed="the workflow saved again by the version of the nodes that is installed",
            where=f"node {self.node['id']} ({self.node['type']})",
            code="widget_value",
        )

    def finish(self) -> None:
        surplus = len(self.values) - self.place
        # Values of a node without widgets are those of displays in the browser.
        if self.widgets and surplus > self.uploads:
            raise wrong_count(self.node, len(self.values), self.widgets)


def _is_of(kind: str, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "INT":
        return number and float(value).is_integer()
    if kind == "FLOAT":
        return number
    if kind == "BOOLEAN":
        return isinstance(value, bool)
    return kind != "STRING" or isinstance(value, str)
