"""An API-format workflow executed in this process."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..ltx_core.errors import LTX2Error
from ..nodes.host.progress import check
from ..nodes.host.standin.host import Host, hosted
from ..nodes.host.standin.io import (
    ComfyNode,
    HiddenValues,
    NodeOutput,
    node_info,
    overrides,
    with_hidden,
)
from .convert import Prompt
from .schema import Infos, inputs_of
from .validate import check_prompt, converted, is_link, needed, outputs_of, title

#: (number of the node from 1, how many there are, its title): a node begins.
OnNode = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Done:
    """What one node gave and showed."""

    values: tuple[Any, ...]
    ui: dict[str, list[Any]]


@dataclass(kw_only=True, slots=True)
class Result:
    """What a run has shown, by node id, and how many seconds each node took that was executed."""

    ui: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class Runner:
    """Executes workflows with a set of node classes; unchanged nodes are not executed again.

    Remembers the values of the last run only.
    """

    def __init__(self, nodes: Iterable[type[ComfyNode]], host: Host) -> None:
        self.nodes = {node.define_schema().node_id: node for node in nodes}
        self.host = host
        self._known: dict[str, Done] = {}

    def infos(self) -> Infos:
        """Return what `object_info` would say of the nodes now; folders are looked at again."""
        with hosted(self.host):
            return {name: node_info(node) for name, node in self.nodes.items()}

    def run(
        self,
        prompt: Prompt,
        *,
        extra_pnginfo: Mapping[str, Any] | None = None,
        on_node: OnNode | None = None,
    ) -> Result:
        """Execute what the prompt's outputs need.

        Raises LTX2Error: what `validate` finds, and what a node raises.
        """
        infos = self.infos()
        with hosted(self.host), torch.inference_mode():
            ends = outputs_of(prompt, infos)
            keys = needed(prompt, ends)
            check_prompt(prompt, keys, self.nodes, infos)
            run = _Run(
                self.nodes, self._known, prompt, infos, keys, dict(extra_pnginfo or {}), on_node
            )
            try:
                for key in ends:
                    run.done(key)
            finally:
                self._known = run.used  # what was finished before a failure need not be repeated
            return run.result


class _Run:
    """One walk through a prompt, from its outputs backwards, so that lazy inputs stay asleep."""

    def __init__(
        self,
        nodes: Mapping[str, type[ComfyNode]],
        known: Mapping[str, Done],
        prompt: Prompt,
        infos: Infos,
        keys: list[str],
        extra_pnginfo: dict[str, Any],
        on_node: OnNode | None,
    ) -> None:
        self.nodes = nodes
        self.known = known
        self.prompt = prompt
        self.infos = infos
        self.keys = keys
        self.extra_pnginfo = extra_pnginfo
        self.on_node = on_node
        self.result = Result()
        self.used: dict[str, Done] = {}
        self.contents: dict[str, str] = {}

    def done(self, key: str) -> Done:
        """Return what a node gives, executing it if that is not known."""
        content = self._content(key)
        if content not in self.used:
            known = self.known.get(content)
            self.used[content] = self._execute(key) if known is None else known
        done = self.used[content]
        if done.ui:
            self.result.ui[key] = done.ui
        return done

    def _content(self, key: str) -> str:
        """Return a digest of everything a node's result depends on."""
        if key in self.contents:
            return self.contents[key]
        node, cls = self.prompt[key], self._class(key)
        literal = {n: v for n, v in node.get("inputs", {}).items() if not is_link(v)}
        linked = {
            name: [self._content(str(value[0])), value[1]]
            for name, value in node.get("inputs", {}).items()
            if is_link(value)
        }
        schema = cls.define_schema()
        parts: list[Any] = [node["class_type"], literal, linked]
        if overrides(cls, "fingerprint_inputs"):
            unknown = dict.fromkeys(linked)
            parts.append(repr(cls.fingerprint_inputs(**self._declared(key, literal | unknown))))
        if schema.hidden or schema.is_output_node or schema.not_idempotent:
            parts.append(key)
        text = json.dumps(parts, sort_keys=True, default=repr)
        self.contents[key] = hashlib.sha256(text.encode()).hexdigest()
        return self.contents[key]

    def _class(self, key: str) -> type[ComfyNode]:
        return self.nodes[self.prompt[key]["class_type"]]

    def _declared(self, key: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of `values` that the node's schema names, in its types."""
        info = self.infos[self.prompt[key]["class_type"]]
        return {
            entry.name: values[entry.name]
            if values[entry.name] is None or not entry.is_widget
            else converted(values[entry.name], entry)
            for entry in inputs_of(info)
            if entry.name in values
        }

    def _execute(self, key: str) -> Done:
        cls = with_hidden(
            self._class(key),
            HiddenValues(unique_id=key, prompt=self.prompt, extra_pnginfo=self.extra_pnginfo),
        )
        inputs = self._inputs(key, cls)
        check()
        name = title(self.prompt, key)
        if self.on_node is not None:
            self.on_node(self.keys.index(key) + 1, len(self.keys), name)
        began = time.monotonic()
        try:
            output = cls.execute(**inputs)
        except LTX2Error as error:
            if error.where:
                raise
            raise LTX2Error(error.what, needed=error.needed, where=name, code=error.code) from error
        self.result.seconds[key] = time.monotonic() - began
        return _done(output)

    def _inputs(self, key: str, cls: type[ComfyNode]) -> dict[str, Any]:
        """Return a node's arguments; of its lazy inputs only those it asks for."""
        given = self.prompt[key].get("inputs", {})
        info = self.infos[self.prompt[key]["class_type"]]
        lazy = {entry.name for entry in inputs_of(info) if entry.options.get("lazy")}
        waiting = {name for name, value in given.items() if name in lazy and is_link(value)}
        values = {
            name: None if name in waiting else self._value(value) for name, value in given.items()
        }
        while waiting:
            asked = waiting & set(cls.check_lazy_status(**self._declared(key, values)))
            if not asked:
                break
            values |= {name: self._value(given[name]) for name in asked}
            waiting -= asked
        return self._declared(key, values)

    def _value(self, value: Any) -> Any:
        return self.done(str(value[0])).values[value[1]] if is_link(value) else value


def _done(output: NodeOutput) -> Done:
    shown = output.ui if isinstance(output.ui, dict) or output.ui is None else output.ui.as_dict()
    return Done(tuple(output.args), {name: list(values) for name, values in (shown or {}).items()})
