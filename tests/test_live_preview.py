"""Previews and phases reach the page of real ComfyUIs, whatever their preview setting is."""

import io
import json
from typing import Any
from urllib.request import Request, urlopen

import pytest
from live import ROOT, ComfyUI
from ltx2_pack.headless.client import Server
from ltx2_pack.headless.convert import to_api
from ltx2_pack.headless.settings import with_settings
from PIL import Image
from websockets.sync.client import connect

pytestmark = pytest.mark.live

WORKFLOW = ROOT / "workflows" / "LTX-2 1 Text to video.json"
SMALL = ["aspect_ratio=custom", "width=128", "height=128", "duration=0.4", "seed=23"]
#: Of this test alone: the server keeps prompts that it has read.
PROMPT = "prompt=A preview grows, frame by frame."
#: Seconds without a word from the server.
SILENCE = 60
PHASES = {"text", "stage 1", "upscale", "stage 2", "sound decode", "picture decode", "writing"}


def followed(comfy: ComfyUI) -> tuple[list[bytes], list[dict[str, Any]]]:
    """Run the workflow; return the binary and the JSON messages that the page would get."""
    infos = Server(comfy.url).infos()
    prompt = with_settings(
        to_api(json.loads(WORKFLOW.read_text("utf-8")), infos), infos, [*SMALL, PROMPT]
    )
    binary: list[bytes] = []
    texts: list[dict[str, Any]] = []
    with connect(f"ws{comfy.url.removeprefix('http')}/ws?clientId=preview") as socket:
        body = json.dumps({"prompt": prompt, "client_id": "preview"}).encode()
        header = {"Content-Type": "application/json"}
        with urlopen(Request(f"{comfy.url}/prompt", body, header)) as answer:
            number = json.load(answer)["prompt_id"]
        while True:
            message = socket.recv(timeout=SILENCE)
            if isinstance(message, bytes):
                binary.append(message)
                continue
            texts.append(json.loads(message))
            data = texts[-1].get("data", {})
            if data.get("prompt_id") == number and (
                texts[-1]["type"] in ("execution_success", "execution_error")
            ):
                return binary, texts


def test_a_moving_preview_and_every_phase_reach_the_page(comfy: ComfyUI):
    binary, texts = followed(comfy)
    assert texts[-1]["type"] == "execution_success"
    pictures = [
        message[message.find(b"\xff\xd8\xff") :] for message in binary if b"\xff\xd8\xff" in message
    ]
    assert len(pictures) >= 11  # one for each of 8 + 3 steps
    sizes = set()
    for picture in pictures:
        with Image.open(io.BytesIO(picture)) as shown:
            assert shown.format == "JPEG"
            sizes.add(shown.size)
    assert all(min(size) >= 16 for size in sizes)
    assert len(set(pictures)) > len(pictures) // 2  # it moves
    said = {phase for phase in PHASES for message in binary if phase.encode() in message}
    assert said == PHASES
