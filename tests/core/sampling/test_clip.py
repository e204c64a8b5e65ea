"""Clips that are decoded when somebody looks; pictures and sound made into latents."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from ltx2_pack.headless.tiny import write_tiny_models
from ltx2_pack.ltx_core.audio_vae.lengths import decoded_samples
from ltx2_pack.ltx_core.checkpoint.part import place_on_cpu
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.grid import VideoShape, audio_latent_frames
from ltx2_pack.ltx_core.latents import AVLatent, blank
from ltx2_pack.ltx_core.sampling.bundle import (
    AudioVAE,
    VideoVAE,
    joined_latent,
    load_audio_vae,
    load_video_vae,
)
from ltx2_pack.ltx_core.sampling.clip import (
    Clip,
    decode_audio,
    encode_audio,
    encode_frames,
    picture_of,
    picture_spans,
    playable,
)
from ltx2_pack.ltx_core.video_vae.decode import decode

RATE = Fraction(24)
ROOM = 4 << 30


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        generation: write_tiny_models(tmp_path_factory.mktemp("models"), generation)["checkpoint"]
        for generation in ("2.0", "2.3")
    }


@pytest.fixture(scope="module")
def video_vae(checkpoints: dict[str, Path]) -> VideoVAE:
    return load_video_vae(checkpoints["2.3"])


@pytest.fixture(scope="module")
def audio_vae(checkpoints: dict[str, Path]) -> AudioVAE:
    return load_audio_vae(checkpoints["2.3"])


def noise(frames: int = 17, height: int = 64, width: int = 96, batch: int = 1) -> AVLatent:
    empty = blank(VideoShape(frames, height, width), RATE, batch=batch)
    generator = torch.Generator().manual_seed(3)
    assert empty.video is not None and empty.audio is not None
    return empty.with_video(torch.randn(empty.video.shape, generator=generator)).with_audio(
        torch.randn(empty.audio.shape, generator=generator)
    )


def test_spans_are_the_frames_of_the_whole_decode(video_vae: VideoVAE) -> None:
    latent, counted = noise(97, 32, 64), []
    clip = picture_of(latent, video_vae)
    assert (clip.frames, clip.size, clip.latent.audio) == (97, (64, 32), None)
    spans = list(picture_spans(clip, place_on_cpu, free_bytes=ROOM, on_frames=counted.append))
    with place_on_cpu(video_vae.decoder) as decoder, torch.no_grad():
        whole = decode(decoder, latent.video)
    torch.testing.assert_close(torch.cat(spans, dim=2), whole, rtol=1e-4, atol=1e-4)
    assert len(spans) > 1 and counted[-1] == 97
    assert counted == [sum(s.shape[2] for s in spans[: n + 1]) for n in range(len(spans))]


def test_a_decode_that_is_left_lets_the_decoder_rest(video_vae: VideoVAE) -> None:
    spans = picture_spans(picture_of(noise(33), video_vae), place_on_cpu, free_bytes=ROOM)
    next(spans)
    assert video_vae.decoder.device is not None
    spans.close()
    assert video_vae.decoder.device is None


def test_no_room_at_all_is_said_with_numbers(video_vae: VideoVAE) -> None:
    clip = picture_of(noise(), video_vae)
    with pytest.raises(LTX2Error, match="no room for decoding") as caught:
        next(picture_spans(clip, place_on_cpu, free_bytes=1000))
    assert caught.value.code == "out_of_memory"
    with pytest.raises(LTX2Error, match="no room"):
        next(picture_spans(replace(clip, memory_budget=1000), place_on_cpu, free_bytes=ROOM))
    assert video_vae.decoder.device is None


def test_of_a_batch_the_first_clip_is_decoded_and_that_is_said(video_vae: VideoVAE) -> None:
    two, one = noise(9, batch=2), noise(9)
    assert two.video is not None
    clip = picture_of(two, video_vae)
    assert clip.facts["notices"] == ["only the first of 2 clips is decoded"]
    alone = picture_of(one.with_video(two.video[:1]), video_vae)
    spans = [
        torch.cat(list(picture_spans(c, place_on_cpu, free_bytes=ROOM)), 2) for c in (clip, alone)
    ]
    assert torch.equal(*spans)


def test_a_latent_of_another_generation_is_refused_naming_both(
    checkpoints: dict[str, Path], video_vae: VideoVAE, audio_vae: AudioVAE
) -> None:
    made = replace(noise(9), generation="2.0", source="ltx-2-19b-dev.safetensors")
    waveform = torch.zeros(1, 2, 16_000)
    for attempt in (
        lambda: picture_of(made, video_vae),
        lambda: decode_audio(made, audio_vae, place_on_cpu),
        lambda: encode_audio(made, waveform, 16_000, audio_vae, place_on_cpu),
    ):
        with pytest.raises(LTX2Error) as caught:
            attempt()
        assert caught.value.code == "generation_mismatch"
        for name in ("ltx-2-19b-dev.safetensors", checkpoints["2.3"].name):
            assert name in str(caught.value)
    fitting = load_video_vae(checkpoints["2.0"])
    assert picture_of(made, fitting).frames == 9


def test_nothing_to_decode_is_said(video_vae: VideoVAE, audio_vae: AudioVAE) -> None:
    with pytest.raises(LTX2Error, match="no picture"):
        picture_of(noise().with_video(None), video_vae)
    with pytest.raises(LTX2Error, match="no picture"):
        next(picture_spans(Clip(latent=noise()), place_on_cpu, free_bytes=ROOM))
    with pytest.raises(LTX2Error, match="no sound"):
        decode_audio(noise().with_audio(None), audio_vae, place_on_cpu)


def test_a_sound_is_decoded_in_stereo_at_its_rate_and_volume(audio_vae: AudioVAE) -> None:
    latent = noise(25)
    waveform, rate = decode_audio(latent, audio_vae, place_on_cpu)
    assert latent.audio is not None
    assert waveform.shape == (1, 2, decoded_samples(latent.audio.shape[2], rate // 100))
    assert rate == 48_000 and waveform.dtype == torch.float32 and waveform.std() > 1e-4
    louder, _ = decode_audio(latent, audio_vae, place_on_cpu, volume=2.0)
    torch.testing.assert_close(louder, 2 * waveform)
    assert audio_vae.decoder.device is None and audio_vae.vocoder.device is None


def tone(seconds: float, rate: int = 16_000, batch: int = 1, channels: int = 2) -> torch.Tensor:
    samples = torch.arange(round(seconds * rate)) / rate
    return (0.3 * torch.sin(2765 * samples)).expand(batch, channels, -1)


@pytest.mark.parametrize(
    ("seconds", "lines"),
    [(25 / 24, []), (3.0, ["sound 3.00 s -> 1.04 s"]), (0.2, ["sound 0.20 s -> 1.04 s"])],
)
def test_a_sound_is_brought_to_the_length_of_its_picture_and_that_is_said(
    audio_vae: AudioVAE, seconds: float, lines: list[str]
) -> None:
    latent, told = encode_audio(noise(25), tone(seconds), 16_000, audio_vae, place_on_cpu)
    assert latent.audio is not None
    assert latent.audio.shape == (1, 8, audio_latent_frames(25, RATE), 16)
    assert told == lines


def test_a_short_sound_is_continued_by_silence(audio_vae: AudioVAE) -> None:
    quiet, _ = encode_audio(noise(49), torch.zeros(1, 2, 16_000), 16_000, audio_vae, place_on_cpu)
    short, _ = encode_audio(noise(49), tone(0.1), 16_000, audio_vae, place_on_cpu)
    assert quiet.audio is not None and short.audio is not None
    torch.testing.assert_close(short.audio[:, :, -4:], quiet.audio[:, :, -4:])
    assert not torch.allclose(short.audio[:, :, :2], quiet.audio[:, :, :2])


def test_a_sound_without_a_picture_keeps_its_length(audio_vae: AudioVAE) -> None:
    alone, lines = encode_audio(
        noise().with_video(None), tone(2.0), 16_000, audio_vae, place_on_cpu
    )
    assert alone.audio is not None and alone.audio.shape[2] == 51 and lines == []


@pytest.mark.parametrize(
    ("clips", "sounds", "lines"),
    [(2, 1, []), (2, 2, []), (1, 3, ["only the first of 3 sounds is used"])],
)
def test_batches_of_sound_and_picture_are_brought_together(
    audio_vae: AudioVAE, clips: int, sounds: int, lines: list[str]
) -> None:
    waveform = tone(25 / 24, batch=sounds)
    latent, told = encode_audio(noise(25, batch=clips), waveform, 16_000, audio_vae, place_on_cpu)
    assert latent.audio is not None and latent.audio.shape[0] == clips
    assert told == lines


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
def test_any_number_of_channels_can_be_played_and_encoded(
    audio_vae: AudioVAE, channels: int
) -> None:
    waveform = tone(25 / 24, channels=channels, batch=2)
    assert playable(waveform).shape == (1, 2, waveform.shape[-1])
    latent, _ = encode_audio(noise(25, batch=2), waveform, 16_000, audio_vae, place_on_cpu)
    assert latent.audio is not None and latent.audio.isfinite().all()


def test_a_sound_that_is_no_number_is_refused(audio_vae: AudioVAE) -> None:
    waveform = torch.full((1, 2, 16_000), float("nan"))
    with pytest.raises(LTX2Error) as caught:
        encode_audio(noise(25), waveform, 16_000, audio_vae, place_on_cpu)
    assert caught.value.code == "not_finite"
    assert audio_vae.encoder.device is None


def frames(count: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    shape = (count, height, width, 3)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def test_pictures_are_cut_to_fit_around_their_centre_and_that_is_said(video_vae: VideoVAE) -> None:
    pictures = frames(12, 70, 100)
    latent, lines = encode_frames(pictures, RATE, video_vae, place_on_cpu, free_bytes=ROOM)
    assert latent.video is not None and latent.video.shape == (1, 128, 2, 2, 3)
    assert lines == ["100x70 -> 96x64", "12 -> 9 frames"]
    assert latent.facts["adjustments"] == lines
    assert (latent.generation, latent.source) == ("2.3", video_vae.source)
    fitting, none = encode_frames(
        pictures[:9, 3:67, 2:98], RATE, video_vae, place_on_cpu, free_bytes=ROOM
    )
    assert fitting.video is not None and none == []
    assert torch.equal(latent.video, fitting.video)


def test_a_long_film_is_encoded_span_by_span(video_vae: VideoVAE) -> None:
    film = frames(73, 64, 64)
    latent, _ = encode_frames(film, RATE, video_vae, place_on_cpu, free_bytes=ROOM)
    assert latent.video is not None and latent.video.shape[2] == 10
    start, _ = encode_frames(film[:41], RATE, video_vae, place_on_cpu, free_bytes=ROOM)
    torch.testing.assert_close(latent.video[:, :, :6], start.video, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(9, 20, 64), (9, 64, 31), (0, 64, 64)])
def test_pictures_too_small_are_refused(video_vae: VideoVAE, shape: tuple[int, int, int]) -> None:
    with pytest.raises(LTX2Error, match=f"{shape[2]}x{shape[1]}") as caught:
        encode_frames(frames(*shape), RATE, video_vae, place_on_cpu, free_bytes=ROOM)
    assert caught.value.code == "size"


@pytest.mark.parametrize(
    ("video", "audio", "words"),
    [
        ((1, 16, 2, 4, 4), None, "picture latent"),
        ((1, 128, 4, 4), None, "picture latent"),
        (None, (1, 4, 9, 16), "sound latent"),
        (None, (1, 8, 9, 12), "12 bins"),
        (None, None, "No latent"),
    ],
)
def test_tensors_of_another_model_are_no_latents(
    video: tuple[int, ...] | None, audio: tuple[int, ...] | None, words: str
) -> None:
    made = [None if shape is None else torch.zeros(shape) for shape in (video, audio)]
    with pytest.raises(LTX2Error, match=words):
        joined_latent(*made, RATE)
