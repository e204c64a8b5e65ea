"""What `object_info` says of a node's inputs, as values. The same for our stand-in and a server."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: class name -> its entry in `object_info`.
Infos: TypeAlias = Mapping[str, Mapping[str, Any]]

#: Types whose inputs have a value of their own.
VALUE_TYPES = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COMFY_DYNAMICCOMBO_V3"})
#: Options that make the browser add a widget for choosing a file, and how many it adds.
UPLOADS = {"image_upload": 1, "video_upload": 1, "audio_upload": 2, "file_upload": 1}
#: What the browser writes behind a seed.
CONTROLS = frozenset({"fixed", "increment", "decrement", "randomize", "increment-wrap"})


@dataclass(frozen=True, kw_only=True, slots=True)
class InputInfo:
    """One input of a node."""

    name: str
    type: str  # "INT", "IMAGE", "IMAGE,VIDEO", ...
    optional: bool
    options: Mapping[str, Any] = field(default_factory=dict)
    choices: tuple[Any, ...] | None = None  # of a combo

    @property
    def is_widget(self) -> bool:
        """Whether the input has a value of its own when no link fills it."""
        value_type = self.options.get("widgetType", self.type)
        return value_type in VALUE_TYPES and not self.options.get("forceInput")

    @property
    def value_type(self) -> str:
        """The type of that value."""
        return str(self.options.get("widgetType", self.type))

    @property
    def has_control(self) -> bool:
        """Whether the browser adds a widget that changes the value after each run."""
        if self.type == "INT" and self.name in ("seed", "noise_seed"):
            return True
        return bool(self.options.get("control_after_generate"))

    @property
    def upload_widgets(self) -> int:
        """How many widgets the browser adds at the end for choosing a file."""
        return sum(number for option, number in UPLOADS.items() if self.options.get(option))

    def accepts(self, type_name: str) -> bool:
        """Say whether a link of this type may come in."""
        return fits(type_name, self.type)


def fits(given: str, wanted: str) -> bool:
    """Say whether an output type may feed an input type; `*` goes with everything."""
    sides = [set(side.upper().split(",")) for side in (given, wanted)]
    return any("*" in side for side in sides) or bool(sides[0] & sides[1])


def inputs_of(info: Mapping[str, Any]) -> Iterator[InputInfo]:
    """Go through a node's inputs in the order of its widgets."""
    entries = info.get("input", {})
    order = info.get("input_order") or {}
    for group in ("required", "optional"):
        named = entries.get(group) or {}
        for name in order.get(group) or named:
            if name in named:
                yield _input(name, named[name], optional=group == "optional")


def _input(name: str, spec: Any, *, optional: bool) -> InputInfo:
    kind, options = spec[0], (spec[1] if len(spec) > 1 else {})
    choices: Any = None
    if isinstance(kind, list | tuple):  # how older nodes write a combo
        kind, choices = "COMBO", kind
    elif kind == "COMBO":
        choices = options.get("options")
    return InputInfo(
        name=name,
        type=str(kind),
        optional=optional,
        options=options,
        choices=None if choices is None else tuple(choices),
    )
