"""Every recorded answer is compared by some test, or is on the short list of what is missing."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from golden import FOLDER, Golden, every_golden

ROOT = Path(__file__).resolve().parents[1]


def _is(**values: str) -> Callable[[Golden], bool]:
    return lambda golden: all(golden.case.get(key) == value for key, value in values.items())


def _version(golden: Golden) -> str:
    stated = golden.case.get("generation") or golden.metadata.get("model_version", "2.0")
    return str(stated)[:3]


#: kind -> which of its files nothing here can answer yet, by their metadata.
NOT_BUILT: dict[str, Callable[[Golden], bool]] = {
    # sampling
    "retake": lambda golden: True,
    "dubit": lambda golden: True,
    "hdr_ic_lora": lambda golden: True,
    "dfr": lambda golden: True,
    "colour": lambda golden: True,
    "diffusion_tiling": lambda golden: True,
    # video autoencoder: the diffusion decoder
    "diffusion_decode": lambda golden: True,
    "diffusion_auto_tiling": lambda golden: True,
    "na_attention": lambda golden: True,
    "neighborhood_attention": lambda golden: True,
    "tile_masks": _is(decoder="diffusion"),
    # text: Gemma 4, enhancement, durations
    "gemma_text": lambda golden: "gemma4" in golden.case["format"],
    "text_conditioning": lambda golden: "gemma4" in golden.case["format"],
    "gemma_generate": lambda golden: True,
    "clean_response": lambda golden: True,
    "duration_head": lambda golden: True,
    "duration_frames": lambda golden: True,
    # whole: 2.5 needs Gemma 4 and its split files
    "whole": lambda golden: _version(golden) == "2.5",
}


@cache
def collected() -> str:
    """The ids of every golden test of the suite, each of which holds its file's path."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "-m",
            "golden",
            str(ROOT / "tests"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"LTX2_GOLDEN": str(FOLDER), "LTX2_COLLECTING": "1"},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def _params() -> list[object]:
    return [
        pytest.param(golden, id=f"kind:{golden.kind}:{golden.path.stem}")
        for golden in every_golden()
        if golden.kind != "model"  # weights that other files name
    ]


@pytest.mark.skipif("LTX2_COLLECTING" in os.environ, reason="asked for the list of tests only")
@pytest.mark.parametrize("golden", _params())
def test_a_recorded_answer_is_compared(golden: Golden):
    if str(golden.path.relative_to(FOLDER)) in collected():
        return
    missing = NOT_BUILT.get(golden.kind)
    assert missing is not None and missing(golden), f"nobody handles kind {golden.kind!r}"
    pytest.skip(f"not built: {golden.kind}")
