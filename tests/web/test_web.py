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


def test_every_node_id_is_a_node():
    text = (ROOT / "web" / "js" / "lib" / "node_ids.js").read_text("utf-8")
    named = re.findall(r'"(LTX2\w+)"', text)
    assert named
    assert set(named) <= {node.define_schema().node_id for node in all_nodes()}


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
