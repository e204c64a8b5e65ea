"""Tiny models of both generations, written once, and studios that use them."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from ltx2_pack.headless.tiny import write_tiny_models
from ltx2_pack.ltx_core.media.writer import write_clip
from PIL import Image
from studio import NewStudio, Studio


@pytest.fixture(scope="session")
def models_23(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder of 2.3, with the dev checkpoint."""
    folder = tmp_path_factory.mktemp("models-2.3")
    write_tiny_models(folder, "2.3", dev=True)
    return folder


@pytest.fixture(scope="session")
def models_20(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder of 2.0, with the dev checkpoint."""
    folder = tmp_path_factory.mktemp("models-2.0")
    write_tiny_models(folder, "2.0", dev=True)
    return folder


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture and a clip with sound, under the names that the workflows ask for."""
    folder = tmp_path_factory.mktemp("media")
    rows = np.linspace(0, 255, 96, dtype=np.uint8)[:, None, None]
    Image.fromarray(np.broadcast_to(rows, (96, 120, 3)).copy()).save(folder / "example.png")
    spans = torch.rand(1, 3, 9, 64, 96, generator=torch.Generator().manual_seed(4)) * 2 - 1
    tone = 0.1 * torch.sin(torch.arange(18_000) / 20).expand(1, 2, -1)
    write_clip(folder / "reference.mp4", [spans], Fraction(24), sound=(tone, 48_000))
    return folder


@pytest.fixture
def new_studio(tmp_path: Path, models_23: Path, media: Path) -> NewStudio:
    """Make studios below the test's folder."""

    def make(*models: Path, name: str = "studio", **more: object) -> Studio:
        made = Studio(folder=tmp_path / name, models=models or (models_23,), **more)
        for path in media.iterdir():
            target = made.host.input / path.name
            if not target.exists():
                target.symlink_to(path)
        return made

    return make


@pytest.fixture
def studio(new_studio: NewStudio) -> Studio:
    """A studio with the models of 2.3."""
    return new_studio()
