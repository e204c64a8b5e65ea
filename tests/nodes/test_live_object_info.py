"""What our stand-in says of every node is what a real ComfyUI says."""

import re

import pytest
from live import PACK, ComfyUI, differences
from ltx2_pack.headless.core_nodes import NODES as CORE_NODES
from ltx2_pack.headless.schema import inputs_of
from ltx2_pack.nodes import all_nodes
from ltx2_pack.nodes.host.standin.host import Host, hosted
from ltx2_pack.nodes.host.standin.io import node_info

pytestmark = pytest.mark.live


def test_every_node_is_there_and_looks_the_same(comfy: ComfyUI) -> None:
    theirs = comfy.get("/object_info")
    found = {}
    with hosted(Host(models=(comfy.models,), input=comfy.folder / "input")):
        for node in all_nodes():
            info = node_info(node)
            name = info["name"]
            found[name] = differences(info, theirs[name]) if name in theirs else ["is missing"]
    assert found, "no node of ours has been compared"
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_core_nodes_have_the_names_and_order_of_the_real_ones(comfy: ComfyUI) -> None:
    theirs = comfy.get("/object_info")
    for node in CORE_NODES:
        info = node_info(node)
        real = theirs[info["name"]]
        names = [entry.name for entry in inputs_of(info)]
        assert names == [entry.name for entry in inputs_of(real)][: len(names)], info["name"]
        assert info["output"] == real["output"][: len(info["output"])], info["name"]
        assert info["output_node"] == real["output_node"], info["name"]


def test_the_pack_loads_without_a_complaint(comfy: ComfyUI) -> None:
    """All that a start says of the pack is how long it took."""
    lines = comfy.lines()
    start = lines[: next(i for i, line in enumerate(lines) if "Starting server" in line)]
    said = [line for line in start if PACK in line or "LTX-2" in line or "LTX2" in line]
    assert len(said) == 1
    assert re.search(rf"\d+\.\d seconds: \S+/custom_nodes/{PACK}$", said[0].strip())
