"""Nodes for the live tests: one that is slow, one that fails."""

import time

from comfy import model_management
from comfy_api.latest import ComfyExtension, io


class LiveSlow(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LiveSlow",
            display_name="Slow",
            category="test",
            is_output_node=True,
            inputs=[io.Float.Input("seconds", default=0.0, min=0.0, max=600.0)],
            outputs=[],
        )

    @classmethod
    def execute(cls, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            model_management.throw_exception_if_processing_interrupted()
            time.sleep(0.05)
        return io.NodeOutput(ui={"text": (f"{seconds}",)})


class LiveFailing(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LiveFailing",
            display_name="Failing",
            category="test",
            is_output_node=True,
            inputs=[io.String.Input("message", default="This one fails.")],
            outputs=[],
        )

    @classmethod
    def execute(cls, message):
        raise ValueError(message)


class Extension(ComfyExtension):
    async def get_node_list(self):
        return [LiveSlow, LiveFailing]


async def comfy_entrypoint():
    return Extension()
