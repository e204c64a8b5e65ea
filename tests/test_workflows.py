"""Rules for what artists open: complete, readable, nobody else's nodes."""

import json
from pathlib import Path
from typing import Any

import pytest
from ltx2_pack.headless.core_nodes import NODES as CORE_NODES
from ltx2_pack.ltx_core.checkpoint.catalogue import by_name
from ltx2_pack.nodes import all_nodes
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "workflows").glob("*.json"))
OURS = {node.define_schema().node_id: node.define_schema() for node in all_nodes()}
CORE = {node.define_schema().node_id for node in CORE_NODES} | {"MarkdownNote"}


def every(files: list[Path]) -> list[Any]:
    return [pytest.param(json.loads(path.read_text("utf-8")), id=path.stem) for path in files]


def test_workflows_lie_flat_in_the_one_folder_the_browser_looks_at():
    assert FILES
    assert not [path for path in (ROOT / "workflows").iterdir() if path.is_dir()]
    others = ("example_workflows", "example", "examples", "workflow")
    assert not [name for name in others if (ROOT / name).exists()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_has_a_square_thumbnail(path: Path):
    with Image.open(path.with_suffix(".jpg")) as picture:
        assert picture.width == picture.height


@pytest.mark.parametrize("graph", every(FILES))
def test_only_our_nodes_and_core_ones_all_active(graph: dict[str, Any]):
    for node in graph["nodes"]:
        assert node["type"] in OURS or node["type"] in CORE
        assert node["mode"] == 0
        if node["type"] != "MarkdownNote":
            assert node["properties"]["cnr_id"]
            assert node["properties"]["ver"]


@pytest.mark.parametrize("graph", every(FILES))
def test_links_fit_both_ends(graph: dict[str, Any]):
    nodes = {node["id"]: node for node in graph["nodes"]}
    for link, source, output, target, slot, kind in graph["links"]:
        given, wanted = nodes[source]["outputs"][output], nodes[target]["inputs"][slot]
        assert link in given["links"]
        assert wanted["link"] == link
        assert given["type"] == wanted["type"] == kind


@pytest.mark.parametrize("graph", every(FILES))
def test_it_opens_readable(graph: dict[str, Any]):
    boxes = [(*node["pos"], *node["size"]) for node in graph["nodes"]]
    assert max(x + w for x, _, w, _ in boxes) - min(x for x, *_ in boxes) <= 1500
    assert max(y + h for _, y, _, h in boxes) - min(y for _, y, *_ in boxes) <= 700
    for at, (x, y, w, h) in enumerate(boxes):
        for left, top, width, height in boxes[at + 1 :]:
            apart = x + w <= left or left + width <= x or y + h <= top or top + height <= y
            assert apart, f"nodes overlap at {x}, {y}"


@pytest.mark.parametrize("graph", every(FILES))
def test_every_file_it_names_is_in_the_note_and_offered_for_download(graph: dict[str, Any]):
    (note,) = [node for node in graph["nodes"] if node["type"] == "MarkdownNote"]
    text = note["widgets_values"][0]
    named = {
        value
        for node in graph["nodes"]
        if node["type"] in OURS
        for value in node["widgets_values"]
        if isinstance(value, str) and value.endswith(".safetensors")
    }
    offered = {
        entry["name"]: entry
        for node in graph["nodes"]
        for entry in node["properties"].get("models", ())
    }
    assert named == set(offered)
    assert "licence" in text
    for name, entry in offered.items():
        file = by_name(name)
        assert file is not None
        assert entry["url"] == file.link
        assert entry["url"].startswith("https://huggingface.co/")
        assert entry["directory"] == file.folder
        assert f"[{name}]({file.link})" in text
        assert f"models/{file.folder} | {file.gigabytes:.1f}" in text


@pytest.mark.parametrize("graph", every(FILES))
def test_app_mode_has_its_form(graph: dict[str, Any]):
    nodes = {str(node["id"]): node for node in graph["nodes"]}
    form = graph["extra"]["linearData"]
    assert [nodes[key]["type"] for key in form["outputs"]] == ["LTX2SaveVideo"]
    for key, widget in form["inputs"]:
        widgets = {entry["name"] for entry in nodes[key]["inputs"] if "widget" in entry}
        dom = {"files", "lint", "plan", "preview", "problem", "results", "editor"}
        assert widget in widgets | dom


@pytest.mark.parametrize("graph", every(FILES))
def test_nothing_private_is_in_it(graph: dict[str, Any]):
    assert "id" not in graph
    assert set(graph["extra"]) == {"ds", "linearData"}
    text = json.dumps(graph)
    assert "/home/" not in text
    assert "C:\\" not in text
