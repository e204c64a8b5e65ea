"""The shipped workflows in the page of real ComfyUIs: opened, looked at, compared with ours."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from live import PACK, ComfyUI
from ltx2_pack.headless.client import Server
from ltx2_pack.headless.convert import to_api
from ltx2_pack.nodes import all_nodes
from ltx2_pack.scripts.pictures import browser, run_page, shipped
from media_clips import numbered_clip
from PIL import Image

pytestmark = pytest.mark.live

WORKFLOWS = shipped()
LIBRARY = "playwright-core@1.56.1"
#: What a page puts into what it sends, for showing only: the server does not know it.
SHOWN_ONLY = {"LoadVideo": "video-preview"}
PATIENCE = 400
#: The first frontend whose second renderer is offered to everybody.
BOTH_RENDERERS = (1, 40)
OURS = re.compile(rf"ltx|{PACK}", re.IGNORECASE)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what drives the browser."""
    npm = shutil.which("npm")
    if npm is None or browser() is None:
        pytest.skip("no npm or no Chromium here: the page of ComfyUI was not looked at")
    folder = tmp_path_factory.mktemp("library")
    command = [
        npm,
        "install",
        "--no-save",
        "--no-audit",
        "--no-fund",
        "--prefix",
        str(folder),
        LIBRARY,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"npm could not install {LIBRARY}: the page of ComfyUI was not looked at")
    return folder


def has_both_renderers(comfy: ComfyUI) -> bool:
    version = comfy.get("/system_stats")["system"]["required_frontend_version"]
    return tuple(map(int, version.split(".")[:2])) >= BOTH_RENDERERS


@pytest.fixture(scope="session")
def seen(comfy: ComfyUI, library: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page of one ComfyUI showed; it is opened once."""
    given = comfy.folder / "input"
    given.mkdir(exist_ok=True)
    Image.radial_gradient("L").resize((160, 96)).convert("RGB").save(given / "example.png")
    numbered_clip(given / "reference.mp4", 17, Fraction(24), sound=None)
    job = {
        "library": str(library),
        "browser": browser(),
        "url": comfy.url,
        "pack": PACK,
        "workflows": WORKFLOWS,
        "renderers": ["canvas", "vue"] if has_both_renderers(comfy) else ["canvas"],
        "help": {"node": "LTX2Generate", "words": "Common mistakes"},
    }
    return run_page(job, tmp_path_factory.mktemp("page"), PATIENCE)


def boxes(graph: dict[str, Any]) -> Iterator[tuple[str, list[float]]]:
    """Go through a graph's nodes with left, top, right, bottom of each as it was drawn."""
    for node in graph["nodes"]:
        (left, top), (width, height) = node["at"], node["size"]
        yield f"{node['type']} {node['id']}", [left, top, left + width, top + height]


def overlaps(graph: dict[str, Any]) -> list[str]:
    return [
        f"{one} and {other}"
        for (one, a), (other, b) in combinations(boxes(graph), 2)
        if min(a[2], b[2]) - max(a[0], b[0]) > 0 and min(a[3], b[3]) - max(a[1], b[1]) > 0
    ]


def sent(prompt: dict[str, Any]) -> dict[str, Any]:
    """Return what a page sends, without what is only for showing."""
    return {
        key: node
        | {
            "inputs": {
                k: v for k, v in node["inputs"].items() if k != SHOWN_ONLY.get(node["class_type"])
            }
        }
        for key, node in prompt.items()
    }


def test_templates_are_listed_by_their_names(seen: dict[str, Any]) -> None:
    assert sorted(seen["templates"]) == sorted(WORKFLOWS)


def test_each_extension_registers_once(seen: dict[str, Any]) -> None:
    assert [name for name in seen["extensions"] if name.startswith("ltx2.")] == ["ltx2.advanced"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_opens_whole(seen: dict[str, Any], name: str) -> None:
    graph = seen["canvas"][name]
    assert len(graph["nodes"]) == len(WORKFLOWS[name]["nodes"])
    assert [node for node in graph["nodes"] if node["red"] or not node["known"]] == []
    assert graph["complaints"] == []


def test_a_page_that_misses_a_file_says_so(seen: dict[str, Any]) -> None:
    """Else the test above would see nothing."""
    assert seen["absent"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_opens_readable(seen: dict[str, Any], name: str) -> None:
    assert seen["canvas"][name]["scale"] >= 0.8
    for renderer in ("canvas", "vue"):
        if name in seen[renderer]:
            assert overlaps(seen[renderer][name]) == [], renderer


def test_both_renderers_were_looked_at_where_both_are_offered(
    comfy: ComfyUI, seen: dict[str, Any]
) -> None:
    assert sorted(seen["canvas"]) == sorted(WORKFLOWS)
    assert sorted(seen["vue"]) == (sorted(WORKFLOWS) if has_both_renderers(comfy) else [])


@pytest.mark.parametrize("name", WORKFLOWS)
def test_nothing_of_ours_is_in_the_console(seen: dict[str, Any], name: str) -> None:
    found = [*seen["canvas"][name]["errors"], *seen["vue"].get(name, {}).get("errors", ())]
    assert [line for line in found if line not in seen["empty"]] == []
    assert [line for line in [*found, *seen["empty"], *seen["errors"]] if OURS.search(line)] == []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_what_the_page_would_send_is_what_we_send(
    comfy: ComfyUI, seen: dict[str, Any], name: str
) -> None:
    ours = to_api(WORKFLOWS[name], Server(comfy.url).infos())
    for renderer in ("canvas", "vue"):
        if name in seen[renderer]:
            assert sent(seen[renderer][name]["prompt"]) == ours, renderer


@pytest.mark.parametrize("name", WORKFLOWS)
def test_rare_settings_are_folded_until_asked_for(seen: dict[str, Any], name: str) -> None:
    rare = {
        schema.node_id: [entry.id for entry in schema.inputs if entry.is_widget and entry.advanced]
        for schema in (node.define_schema() for node in all_nodes())
    }
    graph = seen["canvas"][name]
    folded = {node["type"]: node["hidden"] for node in graph["nodes"]}
    assert {node: rare.get(node, []) for node in folded} == folded
    assert any(folded.values())
    assert graph["unfolded"] == []


def test_the_help_page_of_a_node_opens(seen: dict[str, Any]) -> None:
    assert seen["help"]["shown"] == 1
