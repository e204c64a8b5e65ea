"""One section of a checkpoint's config: every key is taken, expected, skipped or reported."""

import logging
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar, cast

from ..errors import LTX2Error

log = logging.getLogger(__name__)
T = TypeVar("T", bool, int, float, str)
Choice = TypeVar("Choice", bound=Enum)


class Section:
    """A named dictionary that remembers which of its keys were read."""

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        self.name = name
        self._values = values
        self._read: set[str] = set()

    def has(self, key: str) -> bool:
        """Say whether the file states `key` (a stated null counts as absent)."""
        self._read.add(key)
        return self._values.get(key) is not None

    def take(self, key: str, default: T) -> T:
        """Read a value that may differ between checkpoints. It must have the default's type."""
        self._read.add(key)
        value = self._values.get(key, default)
        if type(default) is float and type(value) is int:
            value = float(value)
        if type(value) is not type(default):
            raise self._refused(key, value, type(default).__name__)
        return cast(T, value)

    def take_list(self, key: str, default: tuple[T, ...]) -> tuple[T, ...]:
        """Read a list of values of the default's first item's type."""
        self._read.add(key)
        values = self._values.get(key, default)
        kind = type(default[0]) if default else None
        if isinstance(values, (list, tuple)):
            items = tuple(
                float(v) if kind is float and type(v) is int else v
                for v in cast("list[Any]", values)
            )
            if kind is None or all(type(item) is kind for item in items):
                return cast("tuple[T, ...]", items)
        raise self._refused(key, values, f"a list of {kind.__name__ if kind else 'values'}")

    def raw(self, key: str, default: object = None) -> Any:
        """Read a nested value whose form the caller checks itself."""
        self._read.add(key)
        return self._values.get(key, default)

    def choose(self, key: str, default: Choice) -> Choice:
        """Read the name of one of the default's siblings."""
        name = self.take(key, str(default.value))
        options = {str(option.value): option for option in type(default)}
        if name not in options:
            raise self._refused(key, name, f"one of {[*options]}")
        return options[name]

    def expect(self, key: str, supported: object) -> None:
        """Refuse any value but the one this code is written for."""
        self._read.add(key)
        value = self._values.get(key, supported)
        if value != supported:
            raise LTX2Error(
                f"The file's config says {self.name}.{key} = {value!r}; "
                f"only {supported!r} is implemented.",
                needed="a checkpoint of LTX-2.0, 2.3 or 2.5, or a newer version of these nodes",
                code="config_unsupported",
            )

    def skip(self, *keys: str) -> None:
        """Note keys that mean nothing to inference, whatever their value."""
        self._read.update(keys)

    def finish(self) -> None:
        """After all readers: name the keys nobody asked for. There may be a feature we lack."""
        if unread := sorted(self._values.keys() - self._read):
            log.warning("%s: ignoring unknown config keys %s", self.name, unread)

    def _refused(self, key: str, value: object, wanted: str) -> LTX2Error:
        return LTX2Error(
            f"The file's config says {self.name}.{key} = {value!r}; expected {wanted}.",
            needed="a checkpoint with an undamaged config",
            code="config_unsupported",
        )
