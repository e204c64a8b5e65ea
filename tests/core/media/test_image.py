"""Pictures as the model was trained on them."""

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.media.image import (
    Fit,
    align_resolution,
    cover_resize,
    fit_frames,
    long_side_resize,
    prepare_image,
    recompress,
    reflect_pad,
)


def planes(image: torch.Tensor) -> torch.Tensor:
    return image.permute(2, 0, 1).unsqueeze(0).float()


def noise(height: int, width: int) -> torch.Tensor:
    return torch.randint(256, (height, width, 3), generator=torch.Generator().manual_seed(1)).byte()


@pytest.mark.parametrize("golden", cases("image_preprocess"))
def test_pictures_are_prepared_as_recorded(golden: Golden) -> None:
    images = golden.tensors("in.image.")
    for number, call in enumerate(golden.case["calls"]):
        height, width = call["target"]
        for fit in Fit:
            pixels = prepare_image(images[str(number)], height, width, crf=0, fit=fit)
            golden.check(f"{fit.value}.{number}", pixels)
    resized = long_side_resize(planes(images["long_side"]), golden.case["long_side"])
    golden.check("long_side", resized[0].permute(1, 2, 0))


@pytest.mark.parametrize("golden", cases("image_preprocess"))
def test_sizes_are_aligned_as_recorded(golden: Golden) -> None:
    for call in golden.case["align_resolution"]:
        size = align_resolution(
            call["width"], call["height"], divisor=call["divisor"], fit=Fit(call["mode"])
        )
        assert list(size) == call["result"]


@pytest.mark.parametrize("golden", cases("image_crf"))
def test_pictures_are_compressed_as_recorded(golden: Golden) -> None:
    image = golden.tensors("in.")["image"]
    for crf in golden.case["crf"]:
        expected = golden.tensors("out.")[f"crf{crf}"]
        actual = recompress(image, crf)
        assert actual.shape == expected.shape and actual.dtype == torch.uint8
        assert (actual.float() - expected.float()).abs().mean() < golden.tolerance


def test_stronger_compression_is_further_from_the_picture() -> None:
    image = noise(32, 48)[..., :1].expand(-1, -1, 3)  # grey: chroma loses detail at any strength
    errors = [(recompress(image, crf).float() - image.float()).abs().mean() for crf in (1, 18, 40)]
    assert errors[0] * 2 < errors[1] and errors[1] * 2 < errors[2]


@pytest.mark.parametrize("size", [(1, 8), (8, 1)])
def test_a_single_row_or_column_is_not_compressed(size: tuple[int, int]) -> None:
    image = noise(*size)
    assert recompress(image, 33) is image


def test_compression_comes_before_resizing() -> None:
    image = noise(24, 40)
    first = planes(recompress(image, 33)) / 127.5 - 1
    torch.testing.assert_close(
        prepare_image(image, 16, 16, crf=33)[:, :, 0],
        cover_resize(first, 16, 16),
        rtol=0,
        atol=1e-5,
    )


@pytest.mark.parametrize("resize", [cover_resize, reflect_pad])
def test_the_right_size_is_left_alone(resize) -> None:
    pixels = torch.rand(2, 3, 6, 10)
    assert torch.equal(resize(pixels, 6, 10), pixels)


def test_a_small_picture_is_mirrored_not_enlarged() -> None:
    pixels = torch.arange(12.0).reshape(1, 1, 3, 4)
    padded = reflect_pad(pixels, 4, 6)
    assert torch.equal(padded[..., :3, :4], pixels)
    assert padded[0, 0, 0].tolist() == [0, 1, 2, 3, 2, 1]
    assert torch.equal(padded[..., 3, :], padded[..., 1, :])


def test_the_long_side_may_stand_or_lie() -> None:
    assert long_side_resize(torch.rand(1, 3, 40, 20), 30).shape == (1, 3, 30, 15)
    assert long_side_resize(torch.rand(1, 3, 2, 400), 30).shape == (1, 3, 1, 30)


def test_frames_are_resized_one_by_one() -> None:
    frames = torch.rand(2, 3, 4, 9, 13)
    resized = fit_frames(frames, 8, 8)
    assert resized.shape == (2, 3, 4, 8, 8)
    assert torch.equal(resized[1, :, 2], cover_resize(frames[1:, :, 2], 8, 8)[0])
