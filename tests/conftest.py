"""Opens this folder as a package the way ComfyUI does, whatever the folder is called."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import live
import pytest

#: Tiny tensors: more threads only wait for one another. Set before torch is imported, and inherited
#: by every process a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]

if "ltx2_pack" not in sys.modules:
    spec = importlib.util.spec_from_file_location(
        "ltx2_pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec and spec.loader
    pack = importlib.util.module_from_spec(spec)
    sys.modules["ltx2_pack"] = pack
    spec.loader.exec_module(pack)

#: Parameters of everything that runs in each ComfyUI found.
COMFYUIS = [pytest.param(path, id=path.name) for path in live.found()]


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with a complete set of tiny random models of 2.3."""
    from ltx2_pack.headless.tiny import write_tiny_models

    folder = tmp_path_factory.mktemp("models")
    write_tiny_models(folder, "2.3", dev=True)
    return folder


@pytest.fixture(scope="session", params=COMFYUIS)
def comfyui(request: pytest.FixtureRequest) -> Path:
    """Each ComfyUI found, as a folder. Tests that ask for it are marked `live`."""
    return request.param


@pytest.fixture(scope="session")
def comfy(
    comfyui: Path, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[live.ComfyUI]:
    """Each ComfyUI found, running with this pack and the tiny models."""
    folder = tmp_path_factory.mktemp(comfyui.name)
    with ExitStack() as stack:
        try:
            server = stack.enter_context(live.started(comfyui, folder, tiny_models))
        except live.IncompleteError as error:
            pytest.skip(str(error))
        yield server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "comfyui" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.live)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ran = sum(
        "live" in report.keywords and report.when == "call"
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
    )
    terminalreporter.write_line(f"live tests: {ran} ran, {len(COMFYUIS)} ComfyUI found")
    skipped = [
        report for report in terminalreporter.stats.get("skipped", []) if "live" in report.keywords
    ]
    for reason in sorted({str(report.longrepr[-1]) for report in skipped}):
        terminalreporter.write_line(f"live tests left out: {reason}")
