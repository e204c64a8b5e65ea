"""The V3 node interface, as far as our nodes use it."""

from . import io as io
from . import ui as ui


class ComfyExtension:
    """A pack of nodes."""

    async def on_load(self) -> None:
        """Do what has to be done once, before the nodes are asked for."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        raise NotImplementedError
