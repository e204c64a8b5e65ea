"""A folder of a hundred checkpoints of full size: what listing it reads, and how often."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from checkpoint_files import header_only, manifest
from golden import FOLDER
from ltx2_pack.ltx_core.checkpoint import library
from ltx2_pack.ltx_core.checkpoint.identify import identify
from ltx2_pack.nodes.host import files
from ltx2_pack.nodes.host.standin.host import Host, hosted

HUNDRED = 100


class Counted:
    """Counts what is read of files through `Path.open`."""

    def __init__(self) -> None:
        self.opened: list[Path] = []
        self.bytes = 0

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        really = Path.open

        def noted(path: Path, *arguments: Any, **more: Any) -> Any:
            self.opened.append(path)
            file = really(path, *arguments, **more)
            read = file.read

            class Reading:
                def __enter__(self) -> Any:
                    return self

                def __exit__(self, *error: object) -> None:
                    file.close()

                def __getattr__(self, name: str) -> Any:
                    return getattr(file, name)

                @staticmethod
                def read(size: int = -1) -> Any:
                    found = read(size)
                    self.bytes += len(found)
                    return found

            return Reading()

        monkeypatch.setattr(Path, "open", noted)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    folder = tmp_path_factory.mktemp("models")
    (folder / "checkpoints").mkdir()
    first = folder / "checkpoints" / "model-0.safetensors"
    header_only(first, manifest("diffusion_model_prefix_2.3_22b"))
    length = 8 + int.from_bytes(first.open("rb").read(8), "little")
    for number in range(1, HUNDRED):
        os.link(first, folder / "checkpoints" / f"model-{number}.safetensors")
    return folder, length


def test_a_hundred_checkpoints_are_listed_from_their_headers_once(
    models: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, length = models
    assert (folder / "checkpoints" / "model-0.safetensors").stat().st_size > 40 * 10**9
    counted = Counted()
    counted.patch(monkeypatch)
    files.FACTS.clear()
    with hosted(Host(models=(folder,))):
        assert len(files.choices("checkpoint")) == HUNDRED
        # A glance at each header, its digest, and the one header they all have.
        assert len(counted.opened) == 2 * HUNDRED + 1
        assert counted.bytes <= (2 * HUNDRED + 1) * (length + 1024)
        before = (len(counted.opened), counted.bytes)
        for role in ("checkpoint", "video_vae", "audio_vae", "text_encoder_extras", "text_encoder"):
            files.choices(role)
        assert (len(counted.opened), counted.bytes) == before


def test_checkpoints_of_other_models_are_looked_at_and_not_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = {
        f"model.diffusion_model.input_blocks.{n}.weight": {
            "dtype": "F16", "shape": [4], "data_offsets": [8 * n, 8 * n + 8],
        }
        for n in range(2000)
    }  # fmt: skip
    text = json.dumps(header).encode()
    for number in range(HUNDRED):
        path = tmp_path / "checkpoints" / f"sdxl-{number}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(16000))
    counted = Counted()
    counted.patch(monkeypatch)
    files.FACTS.clear()
    with hosted(Host(models=(tmp_path,))):
        for _ in range(2):
            assert files.choices("checkpoint") == [files.nothing_there("checkpoint")]
    # One look at each header and no more: what is parsed is opened again, and remembered.
    assert len(files.FACTS) == 0
    assert len(counted.opened) == HUNDRED
    assert counted.bytes == HUNDRED * (8 + len(text))


@pytest.mark.golden
def test_a_glance_never_misses_a_file_of_ours() -> None:
    good = [
        path
        for path in sorted((FOLDER / "loading" / "files").rglob("*.safetensors"))
        # A preview autoencoder is in no list.
        if path.parent.name not in ("wrong", "vae_approx") and "-of-" not in path.name
    ]
    assert len(good) > 20
    for path in good:
        assert library.may_be_ours(path), path.name
        assert files.FACTS.ours(path) == identify(path)
