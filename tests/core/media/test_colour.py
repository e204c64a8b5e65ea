"""Bytes of the core's pixels."""

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.media.colour import (
    bt709,
    check_finite,
    from_core_range,
    i420,
    rgb_bytes,
    to_core_range,
)


@pytest.mark.parametrize("golden", cases("colour"))
def test_luma_and_chroma_are_as_recorded(golden: Golden) -> None:
    rgb, expected = golden.tensors("in.")["rgb01"], golden.tensors("out.")
    luma, chroma = bt709(rgb)
    limit = golden.tolerance * 255  # of the largest value, as the collection's README says
    torch.testing.assert_close(luma, expected["bt709.y"], rtol=0, atol=limit)
    torch.testing.assert_close(chroma, expected["bt709.uv"], rtol=0, atol=limit)


@pytest.mark.parametrize("golden", cases("colour"))
def test_bytes_are_as_recorded_but_for_the_rounding(golden: Golden) -> None:
    rgb, expected = golden.tensors("in.")["rgb01"], golden.tensors("out.")
    for name, actual in (("bt709.i420", i420(rgb)), ("rgb_uint8", rgb_bytes(rgb))):
        assert actual.dtype == torch.uint8 and actual.shape == expected[name].shape
        above = actual.int() - expected[name].int()  # the recorded bytes are truncated
        assert above.min() >= 0 and above.max() <= 1


@pytest.mark.parametrize("golden", cases("colour"))
def test_the_core_range_is_clamped_as_recorded(golden: Golden) -> None:
    golden.check("from_vae_range", from_core_range(torch.linspace(-1.5, 1.5, 13)))


def test_bytes_survive_the_core_range() -> None:
    image = torch.arange(256, dtype=torch.uint8).reshape(16, 16, 1).repeat(1, 1, 3)
    image[..., 1] = 255 - image[..., 1]
    assert torch.equal(rgb_bytes(from_core_range(to_core_range(image))), image)


def test_white_black_and_grey_are_at_the_ends_of_the_limited_range() -> None:
    rgb = torch.tensor([1.0, 0.0, 0.5]).reshape(3, 1, 1, 1).expand(3, 3, 2, 2)
    planes = i420(rgb)
    assert planes[:, 0, 0].tolist() == [235, 16, 126]  # 125.5 goes to the even neighbour
    assert (planes[:, 2] == 128).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(bad: float) -> None:
    values = torch.zeros(3, 4)
    check_finite(values, "The picture")
    values[1, 2] = bad
    with pytest.raises(LTX2Error, match="The picture contains values that are not numbers"):
        check_finite(values, "The picture")
