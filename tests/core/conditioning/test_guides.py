"""Guides and references as pixels, at the size of a stage."""

from fractions import Fraction
from math import inf

import pytest
import torch
from ltx2_pack.ltx_core.conditioning.guides import (
    Guide,
    Reference,
    guide_frame,
    guide_pixels,
    picked_frames,
    reference_attention,
    reference_pixels,
)
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.grid import LatentShape
from ltx2_pack.ltx_core.media.colour import to_core_range
from ltx2_pack.ltx_core.media.image import Fit
from torch import Tensor

RATE = Fraction(24)


def film(frames: int, height: int = 64, width: int = 96) -> Tensor:
    """Return frames [F, H, W, 3], each of one grey that is its number."""
    greys = torch.arange(frames, dtype=torch.uint8)
    return greys.view(-1, 1, 1, 1).expand(-1, height, width, 3)


def greys(pixels: Tensor) -> list[int]:
    """Read frame numbers back off pixels [1, 3, F, h, w]."""
    return ((pixels[0, 0, :, 0, 0] + 1) * 127.5).round().int().tolist()


@pytest.mark.parametrize(
    ("seconds", "frame"), [(0.0, 0), (0.01, 0), (0.5, 12), (2.0, 48), (5.0, 120), (inf, 120)]
)
def test_a_guide_stands_at_the_frame_nearest_to_its_time(seconds: float, frame: int) -> None:
    assert guide_frame(Guide(frames=film(1), time=seconds), 121, RATE) == frame


def test_a_film_as_guide_ends_within_the_clip() -> None:
    assert guide_frame(Guide(frames=film(9), time=9.0), 121, RATE) == 112
    with pytest.raises(LTX2Error, match="longer than the clip"):
        guide_frame(Guide(frames=film(17)), 9, RATE)


def test_a_guide_is_brought_to_the_stages_size_in_the_models_range() -> None:
    picture = torch.randint(0, 256, (1, 100, 90, 3), dtype=torch.uint8)
    pixels = guide_pixels(Guide(frames=picture, crf=0), 32, 64, "2.3")
    assert pixels.shape == (1, 3, 1, 32, 64)
    assert pixels.dtype == torch.float32
    assert pixels.min() >= -1 and pixels.max() <= 1
    padded = guide_pixels(Guide(frames=picture, crf=0, fit=Fit.REFLECT_PAD), 32, 64, "2.3")
    assert not torch.equal(pixels, padded)


def test_a_picture_without_compression_at_its_own_size_is_untouched() -> None:
    picture = torch.randint(0, 256, (1, 32, 64, 3), dtype=torch.uint8)
    pixels = guide_pixels(Guide(frames=picture, crf=0), 32, 64, "2.3")
    assert torch.equal(pixels[0].transpose(0, 1), to_core_range(picture))


def test_pictures_are_compressed_as_their_generation_was_trained() -> None:
    picture = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    old, middle, new = (
        guide_pixels(Guide(frames=picture), 64, 64, g) for g in ("2.0", "2.3", "2.5")
    )
    plain = guide_pixels(Guide(frames=picture, crf=0), 64, 64, "2.5")
    assert torch.equal(old, middle)
    assert (old - plain).abs().mean() > (new - plain).abs().mean() > 0
    assert torch.equal(guide_pixels(Guide(frames=picture, crf=18), 64, 64, "2.0"), new)


def test_films_are_not_compressed_again() -> None:
    frames = torch.randint(0, 256, (9, 32, 32, 3), dtype=torch.uint8)
    pixels = guide_pixels(Guide(frames=frames), 32, 32, "2.3")
    assert torch.equal(pixels[0].transpose(0, 1), to_core_range(frames))


def test_a_later_strength_counts_from_the_second_stage_on() -> None:
    guide = Guide(frames=film(1), strength=0.6, later_strength=1.0)
    assert [guide.strength_in(stage) for stage in (1, 2, 3)] == [0.6, 1.0, 1.0]
    assert Guide(frames=film(1), strength=0.6).strength_in(2) == 0.6


@pytest.mark.parametrize(
    ("rate", "picked"),
    [
        (24, [0, 1, 2, 3, 4]),
        (48, [0, 2, 4, 6, 8]),
        (12, [0, 1, 1, 2, 2]),
        (Fraction(24000, 1001), [0, 1, 2, 3, 4]),
    ],
)
def test_frames_of_another_rate_are_picked_by_time(rate: Fraction, picked: list[int]) -> None:
    assert picked_frames(100, Fraction(rate), RATE, 5) == picked


def test_picking_stops_where_the_source_ends() -> None:
    assert picked_frames(3, Fraction(24), RATE, 10) == [0, 1, 2]
    assert picked_frames(3, Fraction(48), RATE, 10) == [0, 2]


def test_a_reference_has_the_clips_rate_length_and_a_divided_size() -> None:
    reference = Reference(frames=film(60), frame_rate=Fraction(48), downscale=2)
    pixels = reference_pixels(reference, 17, RATE, 64, 128)
    assert pixels.shape == (1, 3, 17, 32, 64)
    assert greys(pixels) == list(range(0, 34, 2))


def test_a_short_reference_keeps_whole_latent_frames() -> None:
    reference = Reference(frames=film(15))
    assert greys(reference_pixels(reference, 121, RATE, 32, 32)) == list(range(9))


def test_a_sped_up_reference_keeps_its_first_frame_and_every_second_other() -> None:
    reference = Reference(frames=film(40), temporal_scale=2)
    assert greys(reference_pixels(reference, 33, RATE, 32, 32)) == [0, *range(1, 33, 2)]


def test_a_reference_that_cannot_be_divided_is_refused_in_a_sentence() -> None:
    with pytest.raises(LTX2Error, match="3 times smaller"):
        reference_pixels(Reference(frames=film(9), downscale=3), 9, RATE, 64, 64)


def attention(reference: Reference, shape: LatentShape = LatentShape(2, 2, 2)) -> object:
    return reference_attention(reference, shape, 9, RATE, 64, 64)


def test_a_reference_counts_fully_by_a_number_or_by_its_mask() -> None:
    assert attention(Reference(frames=film(9))) is None
    assert attention(Reference(frames=film(9), attention=0.4)) == 0.4
    half = torch.zeros(9, 64, 64)
    half[:, :, 32:] = 1.0
    weights = attention(Reference(frames=film(9), attention=0.5, mask=half))
    expected = torch.tensor([[0.0, 0.5, 0.0, 0.5] * 2])
    torch.testing.assert_close(weights, expected)


def test_one_mask_picture_counts_for_the_whole_reference() -> None:
    mask = torch.ones(1, 64, 64)
    torch.testing.assert_close(attention(Reference(frames=film(9), mask=mask)), torch.ones(1, 8))


def test_a_mask_follows_the_references_rate() -> None:
    mask = torch.zeros(18, 64, 64)
    mask[1::2] = 1.0  # the frames that are not picked
    reference = Reference(frames=film(18), frame_rate=Fraction(48), mask=mask)
    torch.testing.assert_close(attention(reference), torch.zeros(1, 8))
