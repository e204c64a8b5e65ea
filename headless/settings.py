"""`--set`: which values of a workflow can be set, what they are called, and setting them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..ltx_core.errors import LTX2Error
from .convert import Prompt
from .schema import Infos, InputInfo, inputs_of
from .validate import is_link, title

YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One widget of one node."""

    node: str  # its id
    title: str  # the node's
    entry: InputInfo
    value: Any

    @property
    def name(self) -> str:
        """How `--set` addresses exactly this one."""
        return f"{self.title}.{self.entry.name}"

    def __str__(self) -> str:
        value = f"{self.value!r}" if isinstance(self.value, str) else f"{self.value}"
        return f"{self.name} = {value}  ({_kind(self.entry)})"


def _kind(entry: InputInfo) -> str:
    if entry.choices is not None:
        return " | ".join(map(str, entry.choices[:12])) or "nothing to choose from"
    low, high = entry.options.get("min"), entry.options.get("max")
    span = f" {low} to {high}" if low is not None and high is not None else ""
    return entry.value_type.lower() + span


def settings_of(prompt: Prompt, infos: Infos) -> Iterator[Setting]:
    """Go through all values of a workflow that no link fills."""
    for key, node in prompt.items():
        given = node.get("inputs", {})
        for entry in inputs_of(infos[node["class_type"]]):
            value = given.get(entry.name, entry.options.get("default"))
            if entry.is_widget and not is_link(value):
                yield Setting(node=key, title=title(prompt, key), entry=entry, value=value)


def with_settings(prompt: Prompt, infos: Infos, texts: Sequence[str]) -> Prompt:
    """Return the workflow with `name=value` and `<title>.<id>=value` applied, in this order.

    Raises LTX2Error: bad_setting, unknown_setting, ambiguous_setting.
    """
    changed = {key: node | {"inputs": dict(node.get("inputs", {}))} for key, node in prompt.items()}
    for text in texts:
        name, _, value = text.partition("=")
        for setting in _addressed(changed, infos, name.strip()):
            changed[setting.node]["inputs"][setting.entry.name] = _parsed(setting, value)
    return changed


def _addressed(prompt: Prompt, infos: Infos, name: str) -> list[Setting]:
    """Return the widgets a name means: all of that input id, or the one of a node."""
    every = list(settings_of(prompt, infos))
    exact = [item for item in every if name in (item.name, f"{item.node}.{item.entry.name}")]
    found = exact or [item for item in every if item.entry.name == name]
    if not found:
        raise LTX2Error(
            f"This workflow has no value called {name}.",
            needed="one of: " + ", ".join(sorted({item.entry.name for item in every})),
            where="--list shows them all",
            code="unknown_setting",
        )
    if not exact and len({repr(item.value) for item in found}) > 1:
        raise LTX2Error(
            f"{len(found)} nodes have a value called {name}, and they differ.",
            needed="one of: " + ", ".join(item.name for item in found),
            code="ambiguous_setting",
        )
    return found


def _parsed(setting: Setting, text: str) -> Any:
    """Read a value by the type of its widget."""
    kind, low = setting.entry.value_type, text.strip().lower()
    try:
        if kind == "INT":
            return int(text)
        if kind == "FLOAT":
            return float(text)
    except ValueError:
        low = ""
    if kind == "BOOLEAN" and low in (*YES, *NO):
        return low in YES
    if kind in ("INT", "FLOAT", "BOOLEAN"):
        raise LTX2Error(
            f"{text!r} is no value for {setting.name}.",
            needed=_kind(setting.entry),
            code="bad_setting",
        )
    numbers = {str(choice): choice for choice in setting.entry.choices or ()}
    return numbers.get(text, text)
