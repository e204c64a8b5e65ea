"""Frames, sides and rates."""

from fractions import Fraction

import pytest
from ltx2_pack.ltx_core.grid import (
    VideoShape,
    audio_latent_frames,
    exact_rate,
    fit_clip,
    frame_count,
    named_size,
    nearest_frames,
    nearest_side,
)


@pytest.mark.parametrize(
    ("rate", "exact"),
    [
        (23.976, Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (24.0, Fraction(24)),
        (25, Fraction(25)),
        (50.0, Fraction(50)),
        (12.5, Fraction(25, 2)),
    ],
)
def test_a_rate_is_the_rational_people_mean(rate, exact):
    assert exact_rate(rate) == exact


def test_five_seconds_at_24_are_121_frames():
    assert frame_count(5, Fraction(24)) == 121


@pytest.mark.parametrize(
    ("wish", "frames"), [(0, 1), (4, 1), (5, 9), (117, 121), (126, 129), (124, 121)]
)
def test_frames_move_to_the_nearest_8k_plus_1_ties_up(wish, frames):
    assert nearest_frames(wish) == frames


@pytest.mark.parametrize(
    ("wish", "side"), [(1, 64), (720, 704), (736, 768), (64, 64), (1088, 1088)]
)
def test_sides_move_to_the_nearest_multiple_of_64_ties_up(wish, side):
    assert nearest_side(wish) == side


def test_what_was_changed_is_said():
    size = fit_clip(1280, 720, 5.25, 24)
    assert (size.shape.width, size.shape.height, size.shape.frames) == (1280, 704, 129)
    assert [change.split()[0] for change in size.adjustments] == ["height", "length"]
    assert fit_clip(1280, 704, 5, 24).adjustments == ()
    assert fit_clip(64, 64, 0, 24).shape.frames == 1
    assert fit_clip(64, 64, 0, 24).adjustments


def test_named_sizes_keep_the_shorter_side():
    assert named_size("16:9", "720p") == (1280, 720)
    assert named_size("9:16", "720p") == (720, 1280)
    assert named_size("1:1", "1080p") == (1080, 1080)


def test_only_exact_sizes_have_a_latent():
    assert VideoShape(121, 704, 1280).latent().tokens == 16 * 22 * 40
    with pytest.raises(ValueError, match="multiples"):
        VideoShape(120, 704, 1280).latent()


def test_sound_is_counted_in_latents_of_a_25th_second():
    assert audio_latent_frames(121, Fraction(24)) == 126


def test_wishes_beyond_a_limit_become_the_limit_and_that_is_said() -> None:
    size = fit_clip(10**9, 10**12, 1e9, 1e6)
    assert (size.shape.width, size.shape.height, size.frame_rate) == (16384, 16384, 240)
    assert size.seconds == pytest.approx(600, abs=0.1)
    assert [line.split()[0] for line in size.adjustments] == ["frame", "width", "height", "length"]
