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
from ltx2_pack.ltx_core.media.reader import clip_info, read_metadata
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


def made(comfy: ComfyUI, folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Make a small clip by the first shipped workflow."""
    workflow = ROOT / "workflows" / "LTX-2 1 Text to video.json"
    small = ["aspect_ratio=custom", "width=128", "height=128", "duration=0.4"]
    settings = [part for value in small for part in ("--set", value)]
    code = main(["run", str(workflow), "--server", comfy.url, "--output", str(folder), *settings])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    (path,) = map(Path, shown.out.splitlines())
    return path


def test_a_shipped_workflow_gives_a_clip(
    comfy: ComfyUI, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(comfy, tmp_path, capsys)
    info = clip_info(path)
    assert (info.width, info.height, info.frames, info.frame_rate) == (128, 128, 9, 24)
    assert info.sample_rate is not None
    assert json.loads(read_metadata(path)["prompt"])


def test_text_encoder_and_transformer_never_lie_on_the_device_together(
    comfy: ComfyUI, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(comfy, tmp_path, capsys)
    moves = [line.split("[LTX-2] ")[1] for line in comfy.lines() if "[LTX-2] " in line]
    there: set[str] = set()
    seen: set[str] = set()
    for role, goal in (move.split(" -> ") for move in moves if " -> " in move):
        there = there - {role} if goal.strip() == "rest" else there | {role}
        seen |= there
        assert not {"text_encoder", "transformer"} <= there
    assert {"text_encoder", "transformer"} <= seen


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
