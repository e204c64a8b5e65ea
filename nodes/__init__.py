"""The nodes, by family. A class is listed once: in `NODES` at the end of its own module."""

import logging
from importlib import import_module

from .host.api import ComfyExtension, io
from .host.inspection import serve
from .host.log import name_lines

log = logging.getLogger(__name__)

FAMILIES = (
    "models",
    "loaders",
    "prompt",
    "size",
    "guides",
    "sampling",
    "latent",
    "audio",
    "output",
)


class LTX2Extension(ComfyExtension):
    """What ComfyUI asks for the node list."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        name_lines(__name__.rpartition(".")[0])
        serve()
        return all_nodes()


def all_nodes() -> list[type[io.ComfyNode]]:
    """Return every node of every family."""
    return [node for family in FAMILIES for node in nodes_of(family)]


def nodes_of(family: str) -> list[type[io.ComfyNode]]:
    """Import one family. If that fails the others must still load."""
    try:
        return list(import_module(f".{family}", __name__).NODES)
    except Exception as error:  # noqa: BLE001  ComfyUI would drop the whole pack
        log.error("[LTX-2] no %s nodes: %s", family, error)
        return []
