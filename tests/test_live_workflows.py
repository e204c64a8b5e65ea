"""Every shipped workflow through `/prompt` of real ComfyUIs, to a file that is read back."""

import json
import re
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from live import ROOT, ComfyUI, found, started
from ltx2_pack.headless.client import Server
from ltx2_pack.headless.convert import Prompt, to_api, with_values
from ltx2_pack.headless.settings import with_settings
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.media.reader import clip_info, read_clip, read_metadata, read_sound
from media_clips import noise, numbered_clip
from PIL import Image

pytestmark = pytest.mark.live

WORKFLOWS = {path.stem: path for path in sorted((ROOT / "workflows").glob("*.json"))}
FIVE_NODES = "LTX-2 1 Text to video"
SMALL = ("aspect_ratio=custom", "width=128", "height=128", "duration=0.4", "seed=11")
#: The ComfyUI that is started once more, with another option.
ONE = [pytest.param(path, id=path.name) for path in found()[:1]]
#: Seconds for a run to come as far as is waited for.
PATIENCE = 60


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files that workflows ask for: widget -> a picture, a clip with sound."""
    folder = tmp_path_factory.mktemp("media")
    picture, clip = folder / "garden.png", folder / "walk.mp4"
    Image.radial_gradient("L").resize((160, 96)).convert("RGB").save(picture)
    numbered_clip(clip, 17, Fraction(24), sound=(noise(34000), 48000))
    return {"image": picture, "file": clip}


def prepared(server: Server, name: str, media: dict[str, Path]) -> tuple[dict[str, Any], Prompt]:
    """Return a shipped workflow, small, with our media, in both formats."""
    workflow, infos = json.loads(WORKFLOWS[name].read_text("utf-8")), server.infos()
    prompt = to_api(workflow, infos)
    texts = [*SMALL]
    texts += [f"{key}={path}" for key, path in media.items() if f'"{key}"' in json.dumps(prompt)]
    if name.endswith("wired"):
        texts.append("Stage 1, half size.steps=3")
    prompt = server.upload_media(with_settings(prompt, infos, texts), infos)
    return with_values(workflow, prompt, infos), prompt


def made(server: Server, name: str, media: dict[str, Path], folder: Path) -> Path:
    """Run a workflow; return the one file it wrote, fetched."""
    workflow, prompt = prepared(server, name, media)
    (path,) = server.fetch(server.run(prompt, workflow=workflow), folder)
    return path


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_shipped_workflow_gives_a_clip_that_knows_its_making(
    comfy: ComfyUI, name: str, media: dict[str, Path], tmp_path: Path
) -> None:
    server = Server(comfy.url)
    workflow, prompt = prepared(server, name, media)
    before = len(comfy.lines())
    (path,) = server.fetch(server.run(prompt, workflow=workflow), tmp_path)
    complaints = re.compile(r"\[(WARNING|ERROR)\]|warning|error|traceback", re.IGNORECASE)
    lines = comfy.lines()[before:]
    assert [line for line in lines if complaints.search(line)] == []
    assert [line for line in lines if "wrote" in line and "[LTX-2] wrote" in line]

    info = clip_info(path)
    assert (info.width, info.height, info.frames, info.frame_rate) == (128, 128, 9, 24)
    (pictures, *_) = read_clip(path)
    assert pictures.float().std() > 0.01
    sound, sample_rate = read_sound(path)
    assert sample_rate == info.sample_rate == 48000
    assert sound.shape[1] / sample_rate == pytest.approx(9 / 24, abs=0.06)
    assert sound.abs().max() > 0

    said = read_metadata(path)
    assert json.loads(said["workflow"]) == workflow
    assert json.loads(said["prompt"]) == prompt
    assert str(comfy.models) not in str(said)
    assert said["seed"] == "11"
    assert to_api(json.loads(said["workflow"]), server.infos()) == prompt


@pytest.mark.parametrize("comfyui", ONE, indirect=True)
def test_a_file_says_nothing_where_that_is_switched_off(
    comfyui: Path, tiny_models: Path, media: dict[str, Path], tmp_path: Path
) -> None:
    with started(comfyui, tmp_path / "base", tiny_models, "--disable-metadata") as comfy:
        path = made(Server(comfy.url), FIVE_NODES, media, tmp_path)
    content = path.read_bytes()
    assert clip_info(path).frames == 9
    assert not {"workflow", "prompt", "seed", "ltx2"} & read_metadata(path).keys()
    assert b"lighthouse" not in content
    assert b"LTX2Generate" not in content


def post(comfy: ComfyUI, path: str, body: Any) -> None:
    urlopen(Request(comfy.url + path, json.dumps(body).encode()), timeout=60).close()


def outputs(comfy: ComfyUI) -> set[Path]:
    return {path for path in (comfy.folder / "output").rglob("*") if path.is_file()}


def interrupted(comfy: ComfyUI, prompt: Prompt, when: Callable[[], bool]) -> None:
    """Start a run and interrupt it at a moment."""
    ends: list[BaseException] = []

    def run() -> None:
        try:
            Server(comfy.url).run(prompt, workflow=None)
        except LTX2Error as error:
            ends.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    last = time.monotonic() + PATIENCE
    while not when() and thread.is_alive() and time.monotonic() < last:
        time.sleep(0.02)
    post(comfy, "/interrupt", {})
    thread.join(PATIENCE)
    assert [getattr(end, "code", "") for end in ends] == ["cancelled"]


@pytest.mark.parametrize("moment", ["sampling", "writing"])
def test_an_interrupted_run_leaves_nothing_behind_and_the_next_one_works(
    comfy: ComfyUI, moment: str, media: dict[str, Path], tmp_path: Path
) -> None:
    server = Server(comfy.url)
    _, prompt = prepared(server, FIVE_NODES, media)
    long = ["steps=200", "seed=5"] if moment == "sampling" else ["duration=16", "seed=6"]
    before, lines = outputs(comfy), len(comfy.lines())

    def reached() -> bool:
        if moment == "writing":
            return outputs(comfy) > before
        return any("transformer -> cpu" in line for line in comfy.lines()[lines:])

    interrupted(comfy, with_settings(prompt, server.infos(), long), reached)
    assert outputs(comfy) == before
    path = made(server, FIVE_NODES, media, tmp_path)
    assert clip_info(path).frames == 9


def refusal(comfy: ComfyUI, prompt: Prompt) -> str:
    with pytest.raises(LTX2Error) as caught:
        Server(comfy.url).run(prompt, workflow=None)
    return str(caught.value)


def with_model(server: Server, model: str, media: dict[str, Path]) -> Prompt:
    _, prompt = prepared(server, FIVE_NODES, media)
    (loader,) = [node for node in prompt.values() if node["class_type"] == "LTX2Load"]
    loader["inputs"]["unet_name"] = model
    return prompt


def test_a_lora_in_the_place_of_a_model_is_called_one(
    comfy: ComfyUI, media: dict[str, Path]
) -> None:
    (lora,) = (comfy.models / "loras").glob("*distilled*")
    wrong = comfy.models / "checkpoints" / "style.safetensors"
    wrong.symlink_to(lora)
    try:
        said = refusal(comfy, with_model(Server(comfy.url), wrong.name, media))
    finally:
        wrong.unlink()
    assert "style.safetensors is a LoRA" in said
    assert "LTX-2 Load" in said


def test_a_missing_file_is_named_with_its_folder(comfy: ComfyUI, media: dict[str, Path]) -> None:
    said = refusal(comfy, with_model(Server(comfy.url), "gone.safetensors", media))
    assert "gone.safetensors is not there" in said
    assert "models/checkpoints" in said


def test_what_only_a_run_can_find_out_is_a_sentence_too(
    comfy: ComfyUI, media: dict[str, Path]
) -> None:
    server = Server(comfy.url)
    _, prompt = prepared(server, FIVE_NODES, media)
    said = refusal(comfy, with_settings(prompt, server.infos(), ["recipe=ultra"]))
    assert "The recipe ultra is not available yet." in said
    assert "Traceback" not in said
