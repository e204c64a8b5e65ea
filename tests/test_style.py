"""The house's tools have nothing to say, and the package holds every folder of code."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def tool(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_ruff_finds_nothing():
    done = tool("ruff", "check", "--output-format", "concise", ".")
    assert done.returncode == 0, done.stdout


def test_every_file_is_formatted():
    done = tool("ruff", "format", "--check", ".")
    assert done.returncode == 0, done.stdout


def test_types_fit():
    done = tool("basedpyright", "--level", "error")
    assert done.returncode == 0, done.stdout[-5000:]


def test_a_wheel_holds_every_folder_of_code(tmp_path: Path):
    """An editable install would hide a stale list of packages."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed: the wheel was not built")
    copy = tmp_path / "copy"
    ignored = shutil.ignore_patterns(".venv", ".git", "tests", "demo", "node_modules", "*.egg-info")
    shutil.copytree(ROOT, copy, ignore=ignored)
    done = subprocess.run(
        [uv, "build", "--wheel", "--quiet", "--out-dir", str(tmp_path), str(copy)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    listing = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(wheel)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for folder in ("ltx_core", "nodes", "headless"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = f"ltx2_pack/{path.relative_to(ROOT).as_posix()}"
            assert name in listing, f"{name} is not in the wheel"
