"""A UI-format workflow as the nodes that would run and where each input comes from.

Everything that exists only in the browser is resolved here: reroutes, primitives, notes, muted and
bypassed nodes, subgraphs. What is left are nodes of real classes, by the ids the browser gives them
in the API format (`57:12` is node 12 inside the subgraph 57).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..ltx_core.errors import LTX2Error
from .schema import fits

NOTES = frozenset({"Note", "MarkdownNote"})
REROUTE, PRIMITIVE = "Reroute", "PrimitiveNode"
MUTED, BYPASSED = 2, 4
#: The node ids under which a subgraph's links name its own inputs and outputs.
SUBGRAPH_INPUT, SUBGRAPH_OUTPUT = -10, -20
#: More nodes than this between two real ones is a circle.
LONGEST_WAY = 200


class Link(NamedTuple):
    """An output of a node that runs."""

    node: str
    slot: int


class Value(NamedTuple):
    """A value, as the place in the file that holds it."""

    holder: Any  # a node's `widgets_values`
    place: Any

    @property
    def value(self) -> Any:
        """What lies there."""
        return self.holder[self.place]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wire:
    origin: int | str
    origin_slot: int
    target: int | str
    target_slot: int


@dataclass(kw_only=True, slots=True, eq=False)
class Level:
    """The workflow itself, or the inside of one subgraph node."""

    prefix: str
    nodes: dict[str, dict[str, Any]]
    wires: dict[int, _Wire]
    definitions: Mapping[str, dict[str, Any]]
    #: Inside a subgraph: its definition, its node one level up, and that level.
    definition: dict[str, Any] | None = None
    instance: dict[str, Any] | None = None
    above: Level | None = None
    #: Values the subgraph's node gives: by input of the subgraph, and by (inner node, widget).
    promoted: dict[int, Value] = field(default_factory=dict)
    proxied: dict[tuple[str, str], Value] = field(default_factory=dict)
    inside: dict[str, Level] = field(default_factory=dict)


class Found(NamedTuple):
    """A node that runs."""

    id: str
    node: dict[str, Any]
    level: Level


def read_graph(workflow: Mapping[str, Any]) -> Level:
    """Read a UI-format workflow."""
    listed = (workflow.get("definitions") or {}).get("subgraphs") or []
    definitions = {entry["id"]: entry for entry in listed}
    return _level("", workflow["nodes"], workflow.get("links") or [], definitions)


def _level(
    prefix: str, nodes: list[Any], links: list[Any], definitions: Mapping[str, dict[str, Any]]
) -> Level:
    level = Level(
        prefix=prefix,
        nodes={str(node["id"]): node for node in nodes},
        wires=dict(_wire(link) for link in links if link),
        definitions=definitions,
    )
    for key, node in level.nodes.items():
        definition = definitions.get(node["type"])
        if definition is None:
            continue
        if prefix.count(":") > 20:
            raise _circle(str(definition.get("name")))
        inner = _level(
            f"{prefix}{key}:", definition["nodes"], definition.get("links") or [], definitions
        )
        inner.definition, inner.instance, inner.above = definition, node, level
        _read_instance_values(inner)
        level.inside[key] = inner
    return level


def _wire(link: Any) -> tuple[int, _Wire]:
    if isinstance(link, Mapping):
        return int(link["id"]), _Wire(
            origin=link["origin_id"],
            origin_slot=int(link["origin_slot"]),
            target=link["target_id"],
            target_slot=int(link["target_slot"]),
        )
    number, origin, origin_slot, target, target_slot = link[:5]
    return int(number), _Wire(
        origin=origin, origin_slot=int(origin_slot), target=target, target_slot=int(target_slot)
    )


def _read_instance_values(level: Level) -> None:
    """Read the values a subgraph's node holds for widgets inside of it."""
    assert level.instance is not None and level.definition is not None
    values = level.instance.get("widgets_values") or []
    if not values:
        return
    proxies = (level.instance.get("properties") or {}).get("proxyWidgets") or []
    inputs = [
        number
        for number in range(len(level.definition.get("inputs") or []))
        if _feeds_a_widget(level, number)
    ]
    # A proxy of node -1 is one of the subgraph's own inputs; others may keep their value inside.
    own = [proxy for proxy in proxies if str(proxy[0]) == "-1"]
    if proxies and len(values) in (len(proxies), len(own)):
        for place, proxy in enumerate(proxies if len(values) == len(proxies) else own):
            level.proxied[str(proxy[0]), str(proxy[1])] = Value(values, place)
        _hand_down(level)
    elif not proxies and len(values) == len(inputs):
        level.promoted = {number: Value(values, place) for place, number in enumerate(inputs)}
    else:
        raise wrong_count(level.instance, len(values), len(proxies) or len(inputs))


def _hand_down(level: Level) -> None:
    """Give values meant for inputs of this subgraph, or of one inside it, to that subgraph."""
    for (key, widget), value in level.proxied.items():
        goal = level if key == "-1" else level.inside.get(key)
        if goal is None or goal.definition is None:
            continue
        for number, entry in enumerate(goal.definition.get("inputs") or []):
            if entry.get("name") == widget:
                goal.promoted[number] = value


def _feeds_a_widget(level: Level, number: int) -> bool:
    for wire in level.wires.values():
        if wire.origin == SUBGRAPH_INPUT and wire.origin_slot == number:
            slots = level.nodes[str(wire.target)].get("inputs") or []
            return bool(slots[wire.target_slot].get("widget"))
    return False


def wrong_count(node: Mapping[str, Any], have: int, need: int) -> LTX2Error:
    """Return the sentence for a node whose values do not fit its widgets."""
    return LTX2Error(
        f"{title_of(node)} holds {have} values, and has {need} widgets.",
        needed="the workflow saved again by the version of the nodes that is installed",
        where=f"node {node['id']} ({node['type']})",
        code="widget_count",
    )


def title_of(node: Mapping[str, Any]) -> str:
    """Return what a node is called."""
    return str(node.get("title") or node["type"])


def running_nodes(level: Level) -> Iterator[Found]:
    """Go through all nodes that run, those inside subgraphs too."""
    for key, node in level.nodes.items():
        if node.get("mode") in (MUTED, BYPASSED):
            continue
        if key in level.inside:
            yield from running_nodes(level.inside[key])
        elif node["type"] not in NOTES and node["type"] not in (REROUTE, PRIMITIVE):
            yield Found(level.prefix + key, node, level)


def source(level: Level, slot: Mapping[str, Any]) -> Link | Value | None:
    """Return what feeds an input slot of a node; None if nothing that runs does."""
    return _behind(level, slot.get("link"), str(slot.get("type", "*")), LONGEST_WAY)


def _behind(level: Level, number: Any, wanted: str, left: int) -> Link | Value | None:
    """Follow one link up to a node that runs, or a value."""
    wire = None if number is None else level.wires.get(int(number))
    if wire is None:
        return None
    if not left:
        raise _circle(f"link {number}")
    if wire.origin == SUBGRAPH_INPUT:
        return _from_outside(level, wire.origin_slot, wanted, left - 1)
    key = str(wire.origin)
    node = level.nodes.get(key, {"mode": MUTED})
    mode, kind = node.get("mode"), node.get("type")
    if mode == MUTED:
        return None
    if mode == BYPASSED or kind == REROUTE:
        stand_in = _stand_in(node, wire.origin_slot, wanted)
        return _behind(level, stand_in.get("link"), wanted, left - 1)
    if kind == PRIMITIVE:
        values = node.get("widgets_values") or []
        return Value(values, 0) if values else None
    if key in level.inside:
        inner = level.inside[key]
        return _behind(inner, _inner_link(inner, wire.origin_slot), wanted, left - 1)
    return Link(level.prefix + key, wire.origin_slot)


def _inner_link(level: Level, output: int) -> int | None:
    """Return the link that ends in an output of a subgraph."""
    goal = (SUBGRAPH_OUTPUT, output)
    ends = ((number, (w.target, w.target_slot)) for number, w in level.wires.items())
    return next((number for number, end in ends if end == goal), None)


def _from_outside(level: Level, number: int, wanted: str, left: int) -> Link | Value | None:
    """Return what comes into a subgraph by its input: a link from outside, or its own widget."""
    assert level.above and level.instance is not None and level.definition is not None
    name = level.definition["inputs"][number]["name"]
    for slot in level.instance.get("inputs") or []:
        if slot.get("name") == name and slot.get("link") is not None:
            return _behind(level.above, slot["link"], wanted, left)
    return level.promoted.get(number)


def _stand_in(node: Mapping[str, Any], output: int, wanted: str) -> Mapping[str, Any]:
    """Return the input that stands in for an output of a reroute or a bypassed node.

    The one at the same place if its type fits, else the first of exactly the type, else the first
    that fits.
    """
    inputs = node.get("inputs") or []
    if node.get("type") == REROUTE:
        return inputs[0] if inputs else {}
    given = str(node["outputs"][output].get("type", wanted))
    fitting = [slot for slot in inputs if fits(str(slot.get("type", "*")), given)]
    near = [slot for slot in inputs[output : output + 1] if slot in fitting]
    exact = [slot for slot in fitting if slot.get("type") == given]
    return next(iter([*near, *exact, *fitting]), {})


def _circle(what: str) -> LTX2Error:
    return LTX2Error(f"The links of the workflow go in a circle at {what}.", code="circle")
