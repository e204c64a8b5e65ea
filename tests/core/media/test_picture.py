"""Picture files."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.media.picture import encode_picture, read_picture
from PIL import Image, ImageOps


def ramp(height: int = 37, width: int = 53) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack((columns * 4, rows * 6, 255 - columns * 4), dim=-1)
    image[:10, :10] = torch.tensor([250, 20, 20])
    return image.byte()


def test_a_png_keeps_every_byte(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_picture(ramp(), "png"))
    assert torch.equal(read_picture(tmp_path / "a.png"), ramp())
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), ramp().numpy())


def test_a_better_jpeg_is_closer() -> None:
    errors = []
    for quality in (10, 50, 90, 100):
        file = io.BytesIO(encode_picture(ramp(), "jpeg", quality=quality))
        read = np.asarray(Image.open(file).convert("RGB")).astype(int)
        errors.append(np.abs(read - ramp().numpy()).mean())
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1.5


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *(("a.png", mode) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")),
        *(("a.webp", mode) for mode in ("RGB", "RGBA", "L")),
        *(("a.bmp", mode) for mode in ("RGB", "L", "P", "1")),
        *(("a.tiff", mode) for mode in ("RGB", "RGBA", "L", "P", "1")),
    ],
)
def test_pictures_of_any_kind_are_read_as_rgb(tmp_path: Path, name: str, mode: str) -> None:
    picture = Image.fromarray(ramp().numpy()).convert(mode)
    picture.save(tmp_path / name, **({"lossless": True} if name == "a.webp" else {}))
    expected = np.asarray(Image.open(tmp_path / name).convert("RGB"))
    assert np.abs(read_picture(tmp_path / name).numpy().astype(int) - expected).max() <= 1


def test_transparency_is_dropped_and_not_mixed_in(tmp_path: Path) -> None:
    picture = Image.fromarray(ramp().numpy())
    picture.putalpha(0)
    picture.save(tmp_path / "a.png")
    assert torch.equal(read_picture(tmp_path / "a.png"), ramp())


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_photo_is_turned_as_the_camera_was_held(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    picture = Image.fromarray(ramp().numpy())
    picture.save(tmp_path / "a.jpg", exif=exif, quality=98, subsampling=0)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg")))
    actual = read_picture(tmp_path / "a.jpg").numpy()
    assert actual.shape == expected.shape
    assert np.abs(actual.astype(int) - expected).max() <= 3


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_picture(ramp(), "png")[:100])
    with pytest.raises(LTX2Error, match=r"^a\.png "):
        read_picture(tmp_path / "a.png")


def test_a_picture_of_an_absurd_size_is_refused(tmp_path: Path) -> None:
    content = bytearray(encode_picture(ramp(), "png"))
    content[16:24] = (60000).to_bytes(4, "big") * 2
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(LTX2Error, match=r"^a\.png "):
        read_picture(tmp_path / "a.png")
