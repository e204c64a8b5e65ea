"""Inputs, outputs, schema and node class: the part of `comfy_api.latest.io` that our nodes use.

The constructors take what the oldest ComfyUI we support takes, and `advanced` and `search_aliases`
besides, which `nodes.host.api` hands on only where they are known.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, NamedTuple


class FolderType(str, Enum):
    """Which of the host's folders a file lies in."""

    input = "input"
    output = "output"
    temp = "temp"


class UploadType(str, Enum):
    """What a combo's upload button accepts."""

    image = "image_upload"
    audio = "audio_upload"
    video = "video_upload"
    model = "file_upload"


class NumberDisplay(str, Enum):
    """How a number is shown."""

    number = "number"
    slider = "slider"


class Hidden(str, Enum):
    """What the host hands to a node besides its inputs."""

    unique_id = "UNIQUE_ID"
    prompt = "PROMPT"
    extra_pnginfo = "EXTRA_PNGINFO"
    dynprompt = "DYNPROMPT"


class HiddenValues(NamedTuple):
    """The hidden values of one run of one node; None where the schema does not ask for them."""

    unique_id: str | None = None
    prompt: Any = None
    extra_pnginfo: Any = None
    dynprompt: Any = None


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


class SocketInput:
    """An input that only a link can fill."""

    io_type = "*"

    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        lazy: bool | None = None,
        extra_dict: Mapping[str, Any] | None = None,
        advanced: bool | None = None,
    ) -> None:
        self.id = id
        self.display_name = display_name
        self.optional = optional
        self.tooltip = tooltip
        self.lazy = lazy
        self.advanced = advanced
        self.extra = dict(extra_dict or {})

    @property
    def is_widget(self) -> bool:
        """Whether the input has a value of its own when no link fills it."""
        return False

    def options(self) -> dict[str, Any]:
        """Return what `object_info` says of the input besides its type."""
        return self.extra | _given(
            display_name=self.display_name,
            tooltip=self.tooltip,
            lazy=self.lazy,
            advanced=self.advanced,
        )


class WidgetInput(SocketInput):
    """An input with a value of its own, typed or linked."""

    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        lazy: bool | None = None,
        default: Any = None,
        socketless: bool | None = None,
        force_input: bool | None = None,
        advanced: bool | None = None,
        **widget: Any,
    ) -> None:
        super().__init__(id, display_name, optional, tooltip, lazy, advanced=advanced)
        self.default = default
        self.force_input = force_input
        self.socketless = socketless
        self.widget = _given(**widget)

    @property
    def is_widget(self) -> bool:
        return not self.force_input

    def options(self) -> dict[str, Any]:
        return (
            super().options()
            | _given(default=self.default, socketless=self.socketless, forceInput=self.force_input)
            | self.widget
        )


class Output:
    """A value a node gives."""

    io_type = "*"

    def __init__(
        self,
        id: str | None = None,
        display_name: str | None = None,
        tooltip: str | None = None,
        is_output_list: bool = False,
    ) -> None:
        self.id = id
        self.display_name = display_name
        self.tooltip = tooltip
        self.is_output_list = is_output_list


class SocketType:
    """A type of socket: `X.Input(...)` and `X.Output(...)`."""

    io_type: ClassVar[str] = "*"
    Input: ClassVar[type[Any]] = SocketInput
    Output: ClassVar[type[Any]] = Output


def Custom(io_type: str) -> type[SocketType]:  # noqa: N802  the interface's name
    """Return a socket type of the given name."""
    sides = {
        "io_type": io_type,
        "Input": type("Input", (SocketInput,), {"io_type": io_type}),
        "Output": type("Output", (Output,), {"io_type": io_type}),
    }
    return type(io_type, (SocketType,), sides)


Image = Custom("IMAGE")
Mask = Custom("MASK")
Audio = Custom("AUDIO")
Video = Custom("VIDEO")
Latent = Custom("LATENT")
Vae = Custom("VAE")
Sigmas = Custom("SIGMAS")
AnyType = Custom("*")


class _IntInput(WidgetInput):
    io_type = "INT"

    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        lazy: bool | None = None,
        default: int | None = None,
        min: int | None = None,
        max: int | None = None,
        step: int | None = None,
        control_after_generate: bool | None = None,
        display_mode: NumberDisplay | None = None,
        socketless: bool | None = None,
        force_input: bool | None = None,
        advanced: bool | None = None,
    ) -> None:
        super().__init__(
            id, display_name, optional, tooltip, lazy, default, socketless, force_input, advanced,
            min=min, max=max, step=step, control_after_generate=control_after_generate,
            display=display_mode.value if display_mode else None,
        )  # fmt: skip


class _FloatInput(WidgetInput):
    io_type = "FLOAT"

    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        lazy: bool | None = None,
        default: float | None = None,
        min: float | None = None,
        max: float | None = None,
        step: float | None = None,
        round: float | None = None,
        display_mode: NumberDisplay | None = None,
        socketless: bool | None = None,
        force_input: bool | None = None,
        advanced: bool | None = None,
    ) -> None:
        super().__init__(
            id, display_name, optional, tooltip, lazy, default, socketless, force_input, advanced,
            min=min, max=max, step=step, round=round,
            display=display_mode.value if display_mode else None,
        )  # fmt: skip


class _StringInput(WidgetInput):
    io_type = "STRING"

    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        lazy: bool | None = None,
        multiline: bool = False,
        placeholder: str | None = None,
        default: str | None = None,
        dynamic_prompts: bool | None = None,
        socketless: bool | None = None,
        force_input: bool | None = None,
        advanced: bool | None = None,
    ) -> None:
        super().__init__(
            id, display_name, optional, tooltip, lazy, default, socketless, force_input, advanced,
            multiline=multiline, placeholder=placeholder, dynamicPrompts=dynamic_prompts,
        )  # fmt: skip


class _BooleanInput(WidgetInput):
    io_type = "BOOLEAN"

    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        lazy: bool | None = None,
        default: bool | None = None,
        label_on: str | None = None,
        label_off: str | None = None,
        socketless: bool | None = None,
        force_input: bool | None = None,
        advanced: bool | None = None,
    ) -> None:
        super().__init__(
            id, display_name, optional, tooltip, lazy, default, socketless, force_input, advanced,
            label_on=label_on, label_off=label_off,
        )  # fmt: skip


class _ComboInput(WidgetInput):
    io_type = "COMBO"

    def __init__(
        self,
        id: str,
        options: Sequence[str],
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        lazy: bool | None = None,
        default: str | None = None,
        control_after_generate: bool | None = None,
        upload: UploadType | None = None,
        image_folder: FolderType | None = None,
        socketless: bool | None = None,
        advanced: bool | None = None,
    ) -> None:
        super().__init__(
            id, display_name, optional, tooltip, lazy, default, socketless, None, advanced,
            multiselect=False, options=list(options),
            control_after_generate=control_after_generate,
            image_folder=image_folder.value if image_folder else None,
            **({upload.value: True} if upload else {}),
        )  # fmt: skip


class Int(SocketType):
    """A whole number."""

    io_type = "INT"
    Input = _IntInput
    Output = Custom("INT").Output


class Float(SocketType):
    """A number."""

    io_type = "FLOAT"
    Input = _FloatInput
    Output = Custom("FLOAT").Output


class String(SocketType):
    """A text."""

    io_type = "STRING"
    Input = _StringInput
    Output = Custom("STRING").Output


class Boolean(SocketType):
    """Yes or no."""

    io_type = "BOOLEAN"
    Input = _BooleanInput
    Output = Custom("BOOLEAN").Output


class Combo(SocketType):
    """One of several texts."""

    io_type = "COMBO"
    Input = _ComboInput
    Output = Custom("COMBO").Output


class _MultiTypeInput(SocketInput):
    """A socket for any of `types`; given a widget input, that one's type and value come first."""

    def __init__(
        self,
        id: str | WidgetInput,
        types: Sequence[type[SocketType]],
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        lazy: bool | None = None,
        extra_dict: Mapping[str, Any] | None = None,
        advanced: bool | None = None,
    ) -> None:
        names = [kind.io_type for kind in types]
        self.inner = id if isinstance(id, WidgetInput) else None
        if isinstance(id, WidgetInput):
            names = [id.io_type, *(name for name in names if name != id.io_type)]
            display_name = display_name or id.display_name
            tooltip, lazy = tooltip or id.tooltip, lazy or id.lazy
            id = id.id
        super().__init__(id, display_name, optional, tooltip, lazy, extra_dict, advanced)
        self.io_type = ",".join(names)

    @property
    def is_widget(self) -> bool:
        return self.inner is not None

    def options(self) -> dict[str, Any]:
        if self.inner is None:
            return super().options()
        return self.inner.options() | super().options() | {"widgetType": self.inner.io_type}


class MultiType:
    """Several types in one socket."""

    Input = _MultiTypeInput


@dataclass
class Schema:
    """What a node is called, takes and gives."""

    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[SocketInput] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    description: str = ""
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    not_idempotent: bool = False
    search_aliases: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        ids = [entry.id for entry in self.inputs]
        ids += [entry.id for entry in self.outputs if entry.id is not None]
        if twice := [name for name, count in Counter(ids).items() if count > 1]:
            raise ValueError(f"{self.node_id}: ids must be unique, but {twice} are not")


class NodeOutput:
    """What `execute` returns: values for the outputs, and something to show."""

    def __init__(self, *args: Any, ui: Any = None) -> None:
        self.args = args
        self.ui = ui

    @property
    def result(self) -> tuple[Any, ...] | None:
        return self.args or None

    def __getitem__(self, index: int) -> Any:
        return self.args[index]


class _Locked(type):
    """A class nobody writes to: what a node must remember travels on a socket."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise AttributeError(f"cannot set {name} on {cls.__name__}: node classes hold no state")


class ComfyNode(metaclass=_Locked):
    """A node: class methods only, never an instance."""

    hidden: ClassVar[HiddenValues] = HiddenValues()

    @classmethod
    def define_schema(cls) -> Schema:
        raise NotImplementedError

    @classmethod
    def execute(cls, **kwargs: Any) -> NodeOutput:
        raise NotImplementedError

    @classmethod
    def validate_inputs(cls, **kwargs: Any) -> bool | str:
        raise NotImplementedError

    @classmethod
    def fingerprint_inputs(cls, **kwargs: Any) -> Any:
        raise NotImplementedError

    @classmethod
    def check_lazy_status(cls, **kwargs: Any) -> list[str]:
        """Return the names of lazy inputs still needed: all that are not there yet."""
        return [name for name, value in kwargs.items() if value is None]


def overrides(node: type[ComfyNode], method: str) -> bool:
    """Say whether a node defines one of the optional methods itself."""
    return getattr(node, method).__func__ is not getattr(ComfyNode, method).__func__


def with_hidden(node: type[ComfyNode], values: HiddenValues) -> type[ComfyNode]:
    """Return the node as one run sees it: the same class with its hidden values."""
    wanted = {entry.name for entry in node.define_schema().hidden}
    if node.define_schema().is_output_node:
        wanted |= {"prompt", "extra_pnginfo"}
    shown = HiddenValues(**{k: v for k, v in values._asdict().items() if k in wanted})
    return _Locked(node.__name__, (node,), {"hidden": shown, "__module__": node.__module__})


def node_info(node: type[ComfyNode]) -> dict[str, Any]:
    """Return the node's entry in `object_info`."""
    schema = node.define_schema()
    inputs: dict[str, dict[str, Any]] = {"required": {}}
    for entry in schema.inputs:
        group = inputs.setdefault("optional" if entry.optional else "required", {})
        group[entry.id] = (entry.io_type, entry.options())
    hidden = [entry.name for entry in schema.hidden]
    if schema.is_output_node:
        hidden += [name for name in ("prompt", "extra_pnginfo") if name not in hidden]
    if hidden:
        inputs["hidden"] = {name: (Hidden[name].value,) for name in hidden}
    return {
        "input": inputs,
        "input_order": {group: list(entries) for group, entries in inputs.items()},
        "output": [entry.io_type for entry in schema.outputs],
        "output_is_list": [entry.is_output_list for entry in schema.outputs],
        "output_name": [
            entry.display_name or entry.id or entry.io_type for entry in schema.outputs
        ],
        "output_tooltips": [entry.tooltip for entry in schema.outputs],
        "name": schema.node_id,
        "display_name": schema.display_name,
        "description": schema.description,
        "category": schema.category,
        "output_node": schema.is_output_node,
        "deprecated": schema.is_deprecated,
        "experimental": schema.is_experimental,
        "search_aliases": schema.search_aliases,
    }
