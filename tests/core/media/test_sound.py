"""A sound on its way into a file."""

import numpy as np
import pytest
import torch
from ltx2_pack.ltx_core.media.sound import SoundFeed
from media_clips import noise


def taken(feed: SoundFeed, counts: list[int]) -> np.ndarray:
    return np.concatenate([feed.take(count) for count in counts], axis=1)


def test_portions_are_the_waveform_and_then_silence() -> None:
    sound = noise(1000)
    samples = taken(SoundFeed(sound, 48000, to_rate=48000), [1, 0, 333, 600, 200])
    assert samples.shape == (2, 1134) and samples.dtype == np.float32
    assert np.array_equal(samples[:, :1000], sound[0].numpy())
    assert not samples[:, 1000:].any()


@pytest.mark.parametrize("to_rate", [48000, 24000])
def test_chunks_are_the_same_as_the_whole(to_rate: int) -> None:
    sound = noise(10000)
    whole = SoundFeed(sound, 24000, to_rate=to_rate).take(25000)
    chunks = sound.split([1, 0, 4000, 7, 5992], dim=2)
    parts = taken(SoundFeed(iter(chunks), 24000, to_rate=to_rate), [10, 20000, 4990])
    assert np.array_equal(whole, parts)


def test_another_rate_keeps_length_and_shape() -> None:
    time = torch.arange(24000) / 24000
    sound = torch.sin(2 * torch.pi * 440 * time).expand(2, -1)
    samples = SoundFeed(sound, 24000, to_rate=48000).take(48000)
    expected = torch.sin(2 * torch.pi * 440 * torch.arange(48000) / 48000).numpy()
    assert np.abs(samples[:, 100:-100] - expected[100:-100]).max() < 2e-3


def test_a_single_channel_is_heard_on_both_sides_and_too_loud_is_clipped() -> None:
    samples = SoundFeed(torch.tensor([[0.5, -3.0, 2.0]]), 48000, to_rate=48000).take(3)
    assert samples.tolist() == [[0.5, -1, 1]] * 2


def test_chunks_are_asked_for_when_they_are_needed() -> None:
    asked = []

    def chunks():
        for number in range(5):
            asked.append(number)
            yield torch.zeros(2, 100)

    feed = SoundFeed(chunks(), 48000, to_rate=48000)
    assert asked == []
    feed.take(150)
    assert asked == [0, 1]
