"""The route in a real ComfyUI."""

import shutil
from urllib.error import HTTPError

import pytest
from live import ComfyUI

pytestmark = pytest.mark.live


def test_a_real_server_tells_what_files_are(comfy: ComfyUI) -> None:
    body = comfy.get("/ltx2/inspect?folder=checkpoints")
    assert body["files"]
    for name, facts in body["files"].items():
        again = comfy.get(f"/api/ltx2/inspect?name={name}&role=checkpoint")
        assert again["text"] == facts["text"]
        assert facts["role"] == "checkpoint"


def test_a_real_server_tells_nothing_of_other_files(comfy: ComfyUI) -> None:
    secret = comfy.folder / "secret.safetensors"
    shutil.copy(next((comfy.models / "checkpoints").iterdir()), secret)
    for name in (str(secret), "../../secret.safetensors", "..%2F..%2Fsecret.safetensors"):
        with pytest.raises(HTTPError) as caught:
            comfy.get(f"/ltx2/inspect?name={name}&role=checkpoint")
        assert caught.value.code == 404
