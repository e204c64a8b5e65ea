"""The command line, without ComfyUI."""

import json
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from live import ROOT
from ltx2_pack.headless.cli import main
from ltx2_pack.ltx_core.media.reader import clip_info, read_metadata
from ltx2_pack.ltx_core.media.writer import write_clip
from PIL import Image

Capture = pytest.CaptureFixture[str]
VIDEO = [{"name": "VIDEO", "type": "VIDEO"}]
LOAD = {"id": 1, "type": "LoadVideo", "widgets_values": ["none.mp4", "image"], "outputs": VIDEO}
SLOT = {"name": "video", "type": "VIDEO", "link": 1}
SAVE = {
    "id": 2,
    "type": "SaveVideo",
    "widgets_values": ["video/%width%x%height%", "auto", "auto"],
    "inputs": [SLOT],
}
COPY = {"nodes": [LOAD, SAVE], "links": [[1, 1, 0, 2, 0, "VIDEO"]]}
START = (
    f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); import conftest;"
    "from ltx2_pack.headless.cli import main; sys.exit(main(sys.argv[1:]))"
)


def clip(path: Path, frames: int = 9) -> Path:
    spans = (torch.full((1, 3, 1, 64, 96), number / frames) for number in range(frames))
    write_clip(path, spans, Fraction(24), sound=(torch.zeros(1, 2, 18000), 48000))
    return path


def arguments(folder: Path, workflow: Any = COPY) -> list[str]:
    path = folder / "workflow.json"
    path.write_text(workflow if isinstance(workflow, str) else json.dumps(workflow))
    (folder / "models").mkdir(exist_ok=True)
    options = ("models", "input", "output")
    return [
        "run",
        str(path),
        *(part for name in options for part in (f"--{name}", str(folder / name))),
    ]


def test_a_workflow_runs_and_names_what_it_wrote(tmp_path: Path, capsys: Capture) -> None:
    source = clip(tmp_path / "clip.mp4")
    code = main([*arguments(tmp_path), "--set", f"file={source}", "--device", "cpu"])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert "[1/2] Load Video" in shown.err and "[2/2] Save Video" in shown.err
    path = tmp_path / "output" / "video" / "96x64_00001_.mp4"
    assert shown.out.splitlines() == [str(path)]
    info = clip_info(path)
    assert (info.width, info.height, info.frames, info.frame_rate) == (96, 64, 9, 24)
    tags = read_metadata(path)
    assert json.loads(tags["workflow"])["nodes"][0]["widgets_values"] == [str(source), "image"]
    assert json.loads(tags["prompt"])["1"]["inputs"] == {"file": str(source)}


def test_without_metadata_the_file_carries_none(tmp_path: Path, capsys: Capture) -> None:
    source = clip(tmp_path / "clip.mp4")
    assert main([*arguments(tmp_path), "--set", f"file={source}", "--disable-metadata"]) == 0
    tags = read_metadata(Path(capsys.readouterr().out.strip()))
    assert not {"workflow", "prompt"} & tags.keys()


def test_list_shows_what_can_be_set_and_does_nothing(tmp_path: Path, capsys: Capture) -> None:
    assert main([*arguments(tmp_path), "--list", "--set", "filename_prefix=mine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Save Video.filename_prefix = 'mine'  (string)" in lines
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("workflow", "sentence"),
    [
        (COPY, "Load Video: none.mp4 is not there."),
        ("{", "is no workflow"),
        ("[1]", "is no workflow"),
        ({"nodes": [{"id": 1, "type": "Fancy"}], "links": []}, "The node Fancy is not known here."),
        ({"1": {"class_type": "PrimitiveInt", "inputs": {"value": 1}}}, "saved or shown"),
    ],
)
def test_what_a_user_can_put_right_is_said_without_a_trace(
    tmp_path: Path, capsys: Capture, workflow: Any, sentence: str
) -> None:
    assert main(arguments(tmp_path, workflow)) == 1
    shown = capsys.readouterr()
    assert sentence in shown.err and "Traceback" not in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--models", "/nowhere"], "/nowhere is no folder."),
        (["--device", "abacus"], "There is no device abacus here"),
        (["--set", "wdith=3"], "This workflow has no value called wdith."),
        (["--server", "http://127.0.0.1:9"], "No ComfyUI answers at http://127.0.0.1:9."),
    ],
)
def test_options_that_cannot_be_followed(
    tmp_path: Path, capsys: Capture, more: list[str], sentence: str
) -> None:
    assert main([*arguments(tmp_path), *more]) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [[], ["fly"], ["run"], ["run", "x.json", "--set", "alone"], ["demo", "--generation", "9"]],
)
def test_wrong_usage_ends_with_two(wrong: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_help_does_not_wait_for_torch() -> None:
    code = START.replace("main(sys.argv[1:])", "'torch' in sys.modules")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_ctrl_c_ends_with_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mp4", frames=600)
    command = [sys.executable, "-c", START, *arguments(tmp_path), "--set", f"file={source}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "Save Video" in line:
            break
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert rest.splitlines() == ["cancelled"]
    left = [path for path in (tmp_path / "output").rglob("*") if path.is_file()]
    assert left == []


def test_the_demo_ends_with_one_object_about_its_clip(tmp_path: Path, capsys: Capture) -> None:
    assert main(["demo", "--output", str(tmp_path), "--set", "seed=5"]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    info = clip_info(Path(facts["path"]))
    assert Path(facts["path"]).is_relative_to(tmp_path)
    assert (info.width, info.height, info.frames) == (256, 256, 25)
    assert [facts[name] for name in ("width", "height", "frames")] == [256, 256, 25]
    assert facts["fps"] == "24/1" and facts["seed"] == 5
    assert facts["sample_rate"] == info.sample_rate and facts["samples"] > 0
    assert {"text", "stage 1", "upscale", "stage 2", "sound decode"} <= facts["seconds"].keys()
    assert {"picture decode", "writing"} <= facts["seconds"].keys()


def test_inspect_says_what_a_file_is(tiny_models: Path, capsys: Capture) -> None:
    (path, *_) = sorted((tiny_models / "checkpoints").iterdir())
    assert main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["role"] == "checkpoint"
    assert main(["inspect", str(path)]) == 0
    assert path.name in capsys.readouterr().out
    assert main(["inspect", "/nowhere.safetensors"]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_pictures_and_sounds_arrive_in_comfyuis_formats(tmp_path: Path) -> None:
    from ltx2_pack.headless.core_nodes import LoadAudio, LoadImage
    from ltx2_pack.nodes.host.standin.host import Host, hosted

    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[..., 0], pixels[..., 3], pixels[0, 0] = 255, 51, (0, 0, 255, 255)
    Image.fromarray(pixels).save(tmp_path / "clear.png")
    turned = Image.fromarray(pixels[..., :3])
    turned.save(tmp_path / "turned.png", exif=_turned(turned))
    clip(tmp_path / "clip.mp4")
    with hosted(Host(input=tmp_path)):
        image, mask = LoadImage.execute("clear.png").args
        assert image.shape == (1, 4, 6, 3) and mask.shape == (1, 4, 6)
        assert image[0, 0, 0].tolist() == [0, 0, 1] and image[0, 1, 1].tolist() == [1, 0, 0]
        assert mask[0, 0, 0] == 0 and mask[0, 1, 1] == pytest.approx(0.8)
        image, mask = LoadImage.execute("turned.png").args
        assert image.shape == (1, 6, 4, 3) and mask.shape == (1, 64, 64)
        assert image[0, 0, 3].tolist() == [0, 0, 1]  # the upper left corner is now to the right
        (audio,) = LoadAudio.execute("clip.mp4").args
        assert audio["waveform"].shape[:2] == (1, 2) and audio["sample_rate"] == 48000


def _turned(image: Image.Image) -> Image.Exif:
    exif = image.getexif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    return exif
