"""The browser side: what it may import, which nodes it knows, and its own tests."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ltx2_pack.nodes import all_nodes

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "web").rglob("*.js"))
FRONTEND = {"../../../scripts/app.js", "../../../scripts/api.js"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_only_the_two_public_modules_of_the_frontend_are_imported(path: Path):
    for name in re.findall(r'from\s+"([^"]+)"', path.read_text("utf-8")):
        ours = not name.startswith("../") and (path.parent / name).resolve().is_file()
        assert ours or name in FRONTEND


def test_every_rare_setting_is_folded_away():
    text = (ROOT / "web" / "js" / "lib" / "node_ids.js").read_text("utf-8")
    table = text.split("FOLDED = {", 1)[1].split("};", 1)[0]
    named = {
        node: re.findall(r'"(\w+)"', names)
        for node, names in re.findall(r"(\w+): \[(.*?)\]", table, re.S)
    }
    rare = {
        schema.node_id: names
        for schema in (node.define_schema() for node in all_nodes())
        if (names := [entry.id for entry in schema.inputs if entry.is_widget and entry.advanced])
    }
    assert rare
    assert named == rare


def test_every_extension_has_its_own_name():
    names = [
        name
        for path in SCRIPTS
        for name in re.findall(r'registerExtension\(\{\s*name: "([^"]+)"', path.read_text("utf-8"))
    ]
    assert names == [f"ltx2.{path.stem}" for path in SCRIPTS if path.parent.name == "js"]
    assert len(set(names)) == len(names)


def test_pure_functions():
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the tests in tests/web/*.test.js did not run")
    tests = sorted(str(path) for path in Path(__file__).parent.glob("*.test.js"))
    done = subprocess.run([node, "--test", *tests], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
