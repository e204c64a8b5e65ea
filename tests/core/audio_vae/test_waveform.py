"""Channels, rates, loudness, the log-mel picture and all lengths."""

import math

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.audio_vae.activations import kaiser_filter
from ltx2_pack.ltx_core.audio_vae.config import AudioVaeConfig, FrontEndConfig
from ltx2_pack.ltx_core.audio_vae.lengths import (
    conform,
    decoded_mel_frames,
    decoded_samples,
    latents_of,
    mel_frames_of,
)
from ltx2_pack.ltx_core.audio_vae.mel import FRAMES_AT_ONCE, filter_bank, hann, log_mel
from ltx2_pack.ltx_core.audio_vae.vocoder import upsampled, upsampling_filter
from ltx2_pack.ltx_core.audio_vae.waveform import (
    SAMPLES_AT_ONCE,
    fit_length,
    resample,
    resampled_length,
    to_stereo,
    with_gain,
)
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.grid import audio_latent_frames


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("golden", cases("to_stereo"))
def test_any_channels_become_two(golden: Golden) -> None:
    golden.check("waveform", to_stereo(golden.tensors("in.")["waveform"]))


@pytest.mark.parametrize("golden", cases("resample"))
def test_resampling_equals_the_reference(golden: Golden) -> None:
    waveform = golden.tensors("in.")["waveform"]
    golden.check("waveform", resample(waveform, golden.case["orig_rate"], golden.case["new_rate"]))


def by_the_formula(waveform: torch.Tensor, rate: int, new_rate: int) -> torch.Tensor:
    """Spec audio 3.2 to the letter, in float64: every tap of every phase."""
    divisor = math.gcd(rate, new_rate)
    step, phases = rate // divisor, new_rate // divisor
    base = min(step, phases) * 0.99
    width = math.ceil(6 * step / base)
    index = (torch.arange(2 * width + step, dtype=torch.float64) - width) / step
    phase = torch.arange(phases, dtype=torch.float64)[:, None]
    time = ((index - phase / phases) * base).clamp(-6, 6)
    kernel = torch.sinc(time) * torch.cos(math.pi * time / 12) ** 2 * base / step
    padded = torch.nn.functional.pad(waveform.double(), (width, width + step))
    found = torch.nn.functional.conv1d(padded.flatten(0, 1)[:, None], kernel[:, None], stride=step)
    length = -(-phases * waveform.shape[-1] // step)
    return found.transpose(1, 2).reshape(*waveform.shape[:2], -1)[..., :length]


@pytest.mark.parametrize(
    ("rate", "new_rate"), [(44100, 16000), (22050, 16000), (16000, 48000), (701, 160), (160, 701)]
)
def test_resampling_leaves_out_only_taps_that_are_zero(rate: int, new_rate: int) -> None:
    waveform = noise(2, 3, 2000)
    expected = by_the_formula(waveform, rate, new_rate).float()
    torch.testing.assert_close(resample(waveform, rate, new_rate), expected, rtol=0, atol=2e-6)


def test_rates_without_a_common_factor_keep_a_tone_in_place() -> None:
    rate, seconds = 44101, 1.5
    tone = torch.sin(2 * math.pi * 440 * torch.arange(int(rate * seconds)) / rate)
    found = resample(tone[None, None], rate, 16000)[0, 0]
    expected = torch.sin(2 * math.pi * 440 * torch.arange(len(found)) / 16000)
    torch.testing.assert_close(found[50:-50], expected[50:-50], rtol=0, atol=2e-3)


def test_a_long_sound_is_resampled_in_pieces_that_join() -> None:
    waveform = noise(1, 1, SAMPLES_AT_ONCE)
    whole = resample(waveform, 16000, 48000)
    part = resample(waveform[..., 20000:24000], 16000, 48000)
    torch.testing.assert_close(whole[..., 63000:69000], part[..., 3000:9000], rtol=0, atol=1e-6)


def test_no_sound_resamples_to_no_sound() -> None:
    assert resample(torch.zeros(1, 2, 0), 48000, 16000).shape == (1, 2, 0)


def test_equal_rates_change_nothing() -> None:
    waveform = noise(1, 2, 100)
    assert torch.equal(resample(waveform, 16000, 16000), waveform)


def test_a_sound_without_rate_or_channels_is_refused_in_words() -> None:
    with pytest.raises(LTX2Error, match="rate of 0"):
        resample(torch.zeros(1, 2, 10), 0, 16000)
    with pytest.raises(LTX2Error, match="no channels"):
        to_stereo(torch.zeros(1, 0, 10))


def test_gain_is_in_decibels() -> None:
    torch.testing.assert_close(with_gain(torch.ones(1, 2, 3), 20.0), torch.full((1, 2, 3), 10.0))
    torch.testing.assert_close(with_gain(torch.ones(1, 2, 3), 0.0), torch.ones(1, 2, 3))


@pytest.mark.parametrize("samples", [0, 4, 5, 9])
def test_a_waveform_gets_the_asked_length(samples: int) -> None:
    waveform = noise(1, 2, 5)
    fitted = fit_length(waveform, samples)
    assert fitted.shape == (1, 2, samples)
    assert torch.equal(fitted[..., :5], waveform[..., :samples])
    assert not fitted[..., 5:].any()


@pytest.mark.parametrize("golden", cases("mel"))
def test_the_log_mel_picture_equals_the_reference(golden: Golden) -> None:
    config = AudioVaeConfig.read(golden.config["audio_vae"]).front_end
    stated = {key: golden.case[key] for key in ("n_fft", "hop_length", "mel_bins")}
    assert config == FrontEndConfig(sampling_rate=golden.case["target_sampling_rate"], **stated)
    waveform = golden.tensors("in.")["waveform"]
    golden.check("log_mel", log_mel(waveform, golden.case["sampling_rate"], config))
    if "filterbank" in golden.tensors("out."):
        golden.check("filterbank", filter_bank(config))
    if "window" in golden.tensors("out."):
        golden.check("window", hann(config.n_fft))


def test_silence_is_the_floor() -> None:
    picture = log_mel(torch.zeros(1, 2, 16000), 16000, FrontEndConfig())
    torch.testing.assert_close(picture, torch.full((1, 2, 101, 64), math.log(1e-5)))


def test_the_official_filter_bank_has_no_empty_filter() -> None:
    bank = filter_bank(FrontEndConfig())
    assert bank.sum().item() == pytest.approx(4.0959, abs=1e-4)
    assert bank.max().item() == pytest.approx(0.02133, abs=1e-5)
    assert (bank.sum(0) > 0).all()


def test_a_long_sound_is_analysed_in_pieces_that_join() -> None:
    config = FrontEndConfig()
    waveform = noise(1, 1, (FRAMES_AT_ONCE + 20) * config.hop_length)
    whole = log_mel(waveform, 16000, config)
    assert whole.shape[2] == FRAMES_AT_ONCE + 21
    first = FRAMES_AT_ONCE - 20
    part = log_mel(waveform[..., first * config.hop_length :], 16000, config)
    torch.testing.assert_close(whole[:, :, first + 4 :], part[:, :, 4:], rtol=0, atol=1e-4)


def test_a_sound_of_half_a_window_is_refused_in_words() -> None:
    assert log_mel(torch.zeros(1, 2, 513), 16000, FrontEndConfig()).shape == (1, 2, 4, 64)
    with pytest.raises(LTX2Error, match="too short: 512 samples"):
        log_mel(torch.zeros(1, 2, 512), 16000, FrontEndConfig())


@pytest.mark.parametrize("golden", cases("aa_filter"))
def test_computed_filters_equal_the_reference(golden: Golden) -> None:
    golden.check("kaiser_12", kaiser_filter())
    for ratio in golden.case["ratios"]:
        golden.check(f"hann_x{ratio}", upsampling_filter(ratio))


def test_the_skip_path_equals_the_resampler_away_from_the_ends() -> None:
    waveform = noise(1, 2, 200)
    raised, resampled = upsampled(waveform, 3), resample(waveform, 16000, 48000)
    torch.testing.assert_close(raised[..., 30:-30], resampled[..., 30:-30], rtol=0, atol=1e-6)


@pytest.mark.parametrize("golden", cases("audio_length"))
def test_lengths_of_decoded_sounds(golden: Golden) -> None:
    given = golden.tensors("in.")
    pairs = zip(given["frames"].tolist(), given["fps"].tolist(), strict=True)
    latents = [audio_latent_frames(frames, rate) for frames, rate in pairs]
    golden.check("latent_frames", torch.tensor(latents))
    golden.check("mel_frames", torch.tensor([decoded_mel_frames(n) for n in latents]))
    golden.check("samples_24k", torch.tensor([decoded_samples(n, 240) for n in latents]))
    golden.check("samples_48k", torch.tensor([decoded_samples(n, 480) for n in latents]))


def test_the_shortest_clip_has_one_latent() -> None:
    assert audio_latent_frames(1, 60.0) == 1
    assert (decoded_mel_frames(1), decoded_samples(1, 480)) == (1, 480)


@pytest.mark.parametrize("golden", cases("audio_encode_length"))
def test_lengths_of_encoded_sounds(golden: Golden) -> None:
    given = golden.tensors("in.")
    pairs = list(zip(given["samples"].tolist(), given["sampling_rate"].tolist(), strict=True))
    golden.check("resampled", torch.tensor([resampled_length(n, rate, 16000) for n, rate in pairs]))
    golden.check("mel_frames", torch.tensor([mel_frames_of(n, rate) for n, rate in pairs]))
    golden.check("latent_frames", torch.tensor([latents_of(n, rate) for n, rate in pairs]))


@pytest.mark.parametrize("golden", cases("conform_length"))
def test_a_latent_is_cut_or_filled_with_zeros(golden: Golden) -> None:
    latent = golden.tensors("in.")["latent"]
    golden.check("latent", conform(latent, golden.case["latent_frames"]))
