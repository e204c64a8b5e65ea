"""What a schema promises: it only grows, and everything made from it is current."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ltx2_pack.scripts import from_schemas, workflows

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FROZEN: dict[str, Any] = json.loads((HERE / "schemas.json").read_text("utf-8"))
NOW = from_schemas.snapshot()


def test_a_schema_only_grows():
    assert from_schemas.what_shrank(FROZEN, NOW) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda now: now.pop("LTX2Size"), "LTX2Size is gone"),
        (lambda now: now["LTX2Size"]["inputs"].pop(0), "inputs of LTX2Size"),
        (lambda now: now["LTX2Size"]["outputs"].reverse(), "outputs of LTX2Size"),
        (
            lambda now: now["LTX2Size"]["inputs"][0]["options"].remove("1:1"),
            "options of LTX2Size.aspect_ratio",
        ),
        (
            lambda now: now["LTX2Size"]["inputs"].append({"id": "x", "optional": False}),
            "LTX2Size.x is required",
        ),
    ],
)
def test_a_change_that_breaks_saved_files_is_named(change: Callable[[Any], Any], said: str):
    after = copy.deepcopy(NOW)
    change(after)
    assert said in from_schemas.what_shrank(NOW, after)


def test_the_snapshot_is_current():
    assert NOW == FROZEN, "run `python -m ltx2_pack.scripts.from_schemas`"


@pytest.mark.parametrize("schema", from_schemas.schemas().values(), ids=lambda s: s.node_id)
def test_everything_has_a_tooltip(schema: Any):
    assert schema.node_id.startswith("LTX2")
    assert schema.display_name.startswith("LTX-2 ")
    assert schema.category.startswith("LTX-2/")
    assert schema.description.endswith(".")
    for entry in (*schema.inputs, *schema.outputs):
        assert entry.tooltip and entry.tooltip.endswith("."), entry.display_name or entry.id
    for output in schema.outputs:
        assert output.display_name


def test_few_settings_are_visible_per_node():
    for node, schema in from_schemas.schemas().items():
        visible = [e for e in schema.inputs if e.is_widget and not e.advanced]
        assert len(visible) <= 8, node


#: The five-node graph: ids, and widgets in the order that saved files rely on.
FIVE = {
    "LTX2Load": (
        "unet_name clip_name video_vae audio_vae upscale_model distilled_lora hold_weights "
        "memory_budget"
    ),
    "LTX2Prompt": "prompt prompt_enhance negative_prompt",
    "LTX2Size": "aspect_ratio resolution duration frame_rate width height",
    "LTX2Generate": ("recipe seed audio steps cfg audio_cfg stg modality_scale rescale"),
    "LTX2SaveVideo": "filename_prefix format quality loudness",
}


@pytest.mark.parametrize("node", FIVE)
def test_the_five_nodes_have_the_promised_widgets(node: str):
    schema = from_schemas.schemas()[node]
    assert [e.id for e in schema.inputs if e.is_widget] == FIVE[node].split()


@pytest.mark.parametrize(
    ("path", "content"),
    [*from_schemas.written_files().items(), *workflows.written_files().items()],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)
def test_generated_files_are_current(path: Path, content: str):
    assert path.read_text("utf-8") == content, "run the script that writes it"


def test_no_page_or_workflow_is_left_over():
    pages = {path.stem for path in (ROOT / "web" / "docs").glob("*.md")}
    assert pages == set(from_schemas.schemas())
    files = {path.name for path in (ROOT / "workflows").glob("*.json")}
    assert files == {f"{name}.json" for name in workflows.shipped()}
    assert files == {path.name for path in (ROOT / "api_examples").glob("*.json")}
