"""Small nodes for the tests of everything that handles nodes."""

from typing import Any

from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.nodes.host.standin import io, ui
from ltx2_pack.nodes.host.standin.io import Schema

#: Every execution of a toy node adds a line here; the tests that look at it clear it first.
EXECUTED: list[str] = []


class ToyNumber(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Schema:
        return Schema(
            node_id="ToyNumber",
            display_name="Number",
            inputs=[
                io.Int.Input("seed", default=1, min=0, max=100, control_after_generate=True),
                io.Float.Input("factor", default=1.0, min=0.0, max=10.0),
                io.Combo.Input("mode", options=["plain", "square"], default="plain"),
                io.Boolean.Input("negative", default=False, optional=True),
            ],
            outputs=[io.Int.Output(display_name="number")],
        )

    @classmethod
    def execute(cls, seed: int, factor: float, mode: str, negative: bool = False) -> io.NodeOutput:
        EXECUTED.append(f"number {seed}")
        value = round(seed * factor) ** (2 if mode == "square" else 1)
        return io.NodeOutput(-value if negative else value)


class ToyAdd(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Schema:
        return Schema(
            node_id="ToyAdd",
            display_name="Add",
            inputs=[
                io.Int.Input("a", default=10, min=-1000, max=1000),
                io.Int.Input("b", default=20, min=-1000, max=1000),
                io.String.Input("note", default="", multiline=True),
            ],
            outputs=[io.Int.Output(display_name="sum"), io.String.Output(display_name="note")],
        )

    @classmethod
    def execute(cls, a: int, b: int, note: str) -> io.NodeOutput:
        EXECUTED.append("add")
        return io.NodeOutput(a + b, note)


class ToySwitch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Schema:
        return Schema(
            node_id="ToySwitch",
            inputs=[
                io.Boolean.Input("first", default=True),
                io.Int.Input("one", default=0, lazy=True, force_input=True),
                io.Int.Input("two", default=0, lazy=True, force_input=True),
            ],
            outputs=[io.Int.Output()],
        )

    @classmethod
    def check_lazy_status(cls, first: bool, one: Any = None, two: Any = None) -> list[str]:
        return ["one"] if first else ["two"]

    @classmethod
    def execute(cls, first: bool, one: Any = None, two: Any = None) -> io.NodeOutput:
        return io.NodeOutput(one if first else two)


class ToyShow(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> Schema:
        return Schema(
            node_id="ToyShow",
            display_name="Show",
            is_output_node=True,
            inputs=[io.MultiType.Input("value", [io.Int, io.String])],
            outputs=[],
        )

    @classmethod
    def execute(cls, value: Any) -> io.NodeOutput:
        EXECUTED.append(f"show {value}")
        return io.NodeOutput(ui=ui.PreviewText(str(value)))


class ToyPicky(io.ComfyNode):
    """Checks one of its inputs itself, and fails on 13."""

    @classmethod
    def define_schema(cls) -> Schema:
        return Schema(
            node_id="ToyPicky",
            display_name="Picky",
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
            inputs=[io.Int.Input("size", default=8, min=1, max=16)],
            outputs=[io.String.Output()],
        )

    @classmethod
    def validate_inputs(cls, size: int | None) -> bool | str:
        return True if size is None or size < 100 else "100 is too much"

    @classmethod
    def execute(cls, size: int) -> io.NodeOutput:
        if size == 13:
            raise LTX2Error("13 brings bad luck.", needed="14")
        hidden = (cls.hidden.unique_id, cls.hidden.extra_pnginfo, cls.hidden.dynprompt)
        return io.NodeOutput(f"{size}", ui={"hidden": (hidden,)})


NODES = (ToyNumber, ToyAdd, ToySwitch, ToyShow, ToyPicky)
INFOS = {node.define_schema().node_id: io.node_info(node) for node in NODES}
