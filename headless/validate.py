"""What has to be right before a workflow runs: everything that is wrong, at once.

The rules are those of ComfyUI's server, so that a workflow that runs here runs there.
"""

import inspect
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

from ..ltx_core.errors import LTX2Error
from ..nodes.host.standin.io import ComfyNode, overrides
from .convert import Prompt, unknown_node
from .schema import Infos, InputInfo, fits, inputs_of

Nodes = Mapping[str, type[ComfyNode]]

#: Nodes are followed by recursion; no workflow of people is this deep.
LONGEST_CHAIN = 150


class Problem(NamedTuple):
    """One thing that is wrong."""

    title: str
    input: str
    sentence: str

    def __str__(self) -> str:
        where = f"{self.title}.{self.input}" if self.input else self.title
        return f"{where}: {self.sentence}"


def title(prompt: Prompt, key: str) -> str:
    """Return what a node of a prompt is called."""
    node = prompt[key]
    return str((node.get("_meta") or {}).get("title") or node["class_type"])


def is_link(value: Any) -> bool:
    """Say whether an input's value is `[node id, slot]`."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[1], int)


def outputs_of(prompt: Prompt, infos: Infos) -> list[str]:
    """Return the nodes that save or show. Raises LTX2Error: no_outputs, unknown_node."""
    for key, node in prompt.items():
        if node["class_type"] not in infos:
            raise unknown_node(node["class_type"], f"node {key}")
    ends = [key for key, node in prompt.items() if infos[node["class_type"]].get("output_node")]
    if not ends:
        raise LTX2Error(
            "Nothing in this workflow is saved or shown.",
            needed="a node that saves, such as LTX-2 Save Video",
            code="no_outputs",
        )
    return ends


def needed(prompt: Prompt, ends: Sequence[str]) -> list[str]:
    """Return the nodes that `ends` need, each after those it needs itself.

    Raises LTX2Error: circle, too_long.
    """
    order: dict[str, None] = {}
    open_nodes: dict[str, None] = {}

    def visit(key: str) -> None:
        if key in order:
            return
        if key in open_nodes:
            raise LTX2Error(
                f"The links of the workflow go in a circle at {title(prompt, key)}.", code="circle"
            )
        if len(open_nodes) >= LONGEST_CHAIN:
            raise LTX2Error(f"More than {LONGEST_CHAIN} nodes follow one another.", code="too_long")
        open_nodes[key] = None
        for value in prompt[key].get("inputs", {}).values():
            if is_link(value) and str(value[0]) in prompt:
                visit(str(value[0]))
        del open_nodes[key]
        order[key] = None

    for key in ends:
        visit(key)
    return list(order)


def check_prompt(prompt: Prompt, keys: Sequence[str], nodes: Nodes, infos: Infos) -> None:
    """Raise one LTX2Error (invalid_workflow) with everything that is wrong with these nodes."""
    problems = [found for key in keys for found in _problems(prompt, key, nodes, infos)]
    if problems:
        raise LTX2Error("\n".join(map(str, problems)), code="invalid_workflow")


def _problems(prompt: Prompt, key: str, nodes: Nodes, infos: Infos) -> list[Problem]:
    node, name = prompt[key], title(prompt, key)
    cls, info = nodes[node["class_type"]], infos[node["class_type"]]
    given = node.get("inputs", {})
    asked = _validated_names(cls)
    found: list[Problem] = []
    for entry in inputs_of(info):
        if entry.name not in given:
            if not entry.optional:
                found.append(Problem(name, entry.name, "this input is required"))
            continue
        value = given[entry.name]
        sentence = (
            _link_problem(prompt, value, entry, infos)
            if is_link(value)
            else _value_problem(value, entry, free=asked is None or entry.name in asked)
        )
        if sentence:
            found.append(Problem(name, entry.name, sentence))
    return found or _own_problems(cls, name, given, info, asked)


def _validated_names(cls: type[ComfyNode]) -> set[str] | None:
    """Return the inputs a node checks itself; None means all."""
    if not overrides(cls, "validate_inputs"):
        return set()
    parameters = inspect.signature(cls.validate_inputs).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {parameter.name for parameter in parameters}


def _link_problem(prompt: Prompt, value: Any, entry: InputInfo, infos: Infos) -> str:
    origin = prompt.get(str(value[0]))
    if origin is None:
        return f"is linked to node {value[0]}, which is not there"
    outputs = infos[origin["class_type"]]["output"]
    if not 0 <= value[1] < len(outputs):
        return f"is linked to output {value[1]} of {origin['class_type']}, which has {len(outputs)}"
    if not fits(str(outputs[value[1]]), entry.type):
        return f"takes {entry.type}, and {outputs[value[1]]} is linked to it"
    return ""


def _value_problem(value: Any, entry: InputInfo, *, free: bool) -> str:
    """Check a value's type, and unless the node checks it itself its range."""
    if not entry.is_widget:
        return "needs a link"
    try:
        value = converted(value, entry)
    except (TypeError, ValueError):
        return f"{value!r} is no {entry.value_type}"
    if isinstance(value, float) and not isfinite(value):
        return f"{value} is no number"
    if free:
        return ""
    low, high = entry.options.get("min"), entry.options.get("max")
    if entry.value_type in ("INT", "FLOAT"):
        if low is not None and value < low:
            return f"{value} is less than {low}"
        if high is not None and value > high:
            return f"{value} is more than {high}"
    if entry.choices is not None and value not in entry.choices:
        shown = ", ".join(map(str, entry.choices[:20]))
        return f"{value!r} is none of: {shown}" if shown else f"{value!r}: there is none to choose"
    return ""


def converted(value: Any, entry: InputInfo) -> Any:
    """Return a value in its input's type. Raises TypeError or ValueError."""
    kinds: dict[str, type] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}
    kind = kinds.get(entry.value_type)
    return value if kind is None else kind(value)


def _own_problems(
    cls: type[ComfyNode],
    name: str,
    given: Mapping[str, Any],
    info: Mapping[str, Any],
    asked: set[str] | None,
) -> list[Problem]:
    """Ask the node itself. A linked input is not known yet: None."""
    if asked == set():
        return []
    values = {
        entry.name: None if is_link(value) else converted(value, entry)
        for entry in inputs_of(info)
        if (value := given.get(entry.name, _ABSENT)) is not _ABSENT
        and (asked is None or entry.name in asked)
    }
    answer = cls.validate_inputs(**values)
    if answer is True:
        return []
    return [Problem(name, "", answer if isinstance(answer, str) else "its inputs do not fit")]


_ABSENT = object()
