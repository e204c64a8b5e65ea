"""The command line against a real ComfyUI: upload, run, fetch, errors, cancelling."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from live import ROOT, ComfyUI
from ltx2_pack.headless.cli import main
from PIL import Image

pytestmark = pytest.mark.live

OUT = [{"name": "IMAGE", "type": "IMAGE"}, {"name": "MASK", "type": "MASK"}]
LOAD = {"id": 1, "type": "LoadImage", "widgets_values": ["none.png", "image"], "outputs": OUT}
SLOT = {"name": "images", "type": "IMAGE", "link": 1}
SAVE = {"id": 2, "type": "SaveImage", "widgets_values": ["pictures/copy"], "inputs": [SLOT]}
LOAD_AND_SAVE = {"nodes": [LOAD, SAVE], "links": [[1, 1, 0, 2, 0, "IMAGE"]]}


def saved(path: Path, workflow: object) -> str:
    path.write_text(json.dumps(workflow))
    return str(path)


def node(kind: str, **inputs: object) -> dict[str, object]:
    return {"1": {"class_type": kind, "inputs": inputs}}


def test_media_go_up_and_results_come_back(
    comfy: ComfyUI, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "colours.png"
    colours = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(colours).save(picture)
    workflow = saved(tmp_path / "w.json", LOAD_AND_SAVE)
    arguments = ["--server", comfy.url, "--output", str(tmp_path / "out")]
    code = main(["run", workflow, *arguments, "--set", f"image={picture}"])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    (path,) = map(Path, shown.out.splitlines())
    assert path.parent == tmp_path / "out" / "pictures"
    with Image.open(path) as result:
        assert np.array_equal(np.asarray(result), colours)
        graph = json.loads(result.info["workflow"])
    assert graph["nodes"][0]["widgets_values"][0] == str(picture)
    assert "Load" in shown.err and "Save" in shown.err


def test_what_the_server_refuses_is_said_by_node_and_input(
    comfy: ComfyUI, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow = saved(tmp_path / "w.json", node("LiveSlow", seconds=1e6))
    assert main(["run", workflow, "--server", comfy.url, "--output", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "LiveSlow" in said and "seconds" in said and "600" in said


def test_what_a_node_raises_is_said(
    comfy: ComfyUI, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow = saved(tmp_path / "w.json", node("LiveFailing", message="Something is amiss."))
    assert main(["run", workflow, "--server", comfy.url, "--output", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "Something is amiss." in said and "LiveFailing" in said


def test_a_node_the_server_lacks_is_named(
    comfy: ComfyUI, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow = saved(tmp_path / "w.json", node("NobodysNode"))
    assert main(["run", workflow, "--server", comfy.url]) == 1
    assert "NobodysNode" in capsys.readouterr().err


def test_ctrl_c_takes_the_run_off_the_server(comfy: ComfyUI, tmp_path: Path) -> None:
    workflow = saved(tmp_path / "w.json", node("LiveSlow", seconds=500.0))
    start = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); import conftest;"
        "from ltx2_pack.headless.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", start, "run", workflow, "--server", comfy.url],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert "LiveSlow" in process.stderr.readline()
    assert comfy.get("/queue")["queue_running"]
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest.splitlines() == ["cancelled"]
    end = time.monotonic() + 30
    while comfy.get("/queue")["queue_running"] and time.monotonic() < end:
        time.sleep(0.2)
    assert not comfy.get("/queue")["queue_running"]
