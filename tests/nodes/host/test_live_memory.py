"""Parts moved through a real ComfyUI's memory management, on the processor."""

import json
import subprocess
from pathlib import Path

import pytest
from live import ROOT, python_of

pytestmark = pytest.mark.live


def test_parts_come_and_go_as_comfyui_asks(comfyui: Path) -> None:
    script = Path(__file__).with_name("inside_comfyui.py")
    done = subprocess.run(
        [python_of(comfyui), script, ROOT], cwd=comfyui, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {
        "text": [[9.0] * 4],
        "transformer": [[9.0] * 4],
        "decoder": [[9.0] * 4],
        "loaded": ["PartPatcher"] * 3,
        "decoder computes on": "cpu",
        "all rest": [True] * 3,
        "cancelled while it came": ["InterruptProcessingException", True],
        "came after all": [[9.0] * 4],
        "cancelled": "InterruptProcessingException",
        "free": True,
        "lines": [
            "[LTX-2] text_encoder -> cpu, 0.0 GB",
            "[LTX-2] text_encoder -> rest",
            "[LTX-2] transformer -> cpu, 0.0 GB",
            "[LTX-2] video_decoder -> cpu, 0.0 GB",
            "[LTX-2] transformer -> rest",
            "[LTX-2] video_decoder -> rest",
            "[LTX-2] transformer -> cpu, 0.0 GB",
        ],
    }
