"""A long sound made piece by piece is the sound made at once."""

from typing import Any

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.audio_vae.activations import AntiAliased
from ltx2_pack.ltx_core.audio_vae.chunks import spans
from ltx2_pack.ltx_core.audio_vae.config import EXTENDED, PLAIN, AudioVaeConfig
from ltx2_pack.ltx_core.audio_vae.decoder import AudioDecoder
from ltx2_pack.ltx_core.audio_vae.encoder import AudioEncoder
from ltx2_pack.ltx_core.audio_vae.generator import Generator
from ltx2_pack.ltx_core.audio_vae.load import audio_decoder_part, audio_encoder_part, vocoder_part
from ltx2_pack.ltx_core.audio_vae.vocoder import ExtendedVocoder, vocode
from ltx2_pack.ltx_core.checkpoint.header import parse_metadata
from ltx2_pack.ltx_core.checkpoint.part import Part
from ltx2_pack.ltx_core.checkpoint.weights import Weights, weights_of
from torch import nn

META = torch.device("meta")


def stored(golden: Golden) -> Weights:
    metadata = parse_metadata(golden.metadata)
    return weights_of(golden.tensors("weights."), metadata, golden.path.name)


def laid_out(part: Part[Any]) -> Any:
    return part.lay_out(torch.device("cpu"))


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(11))


def counted() -> tuple[list[int], Any]:
    calls: list[int] = []
    return calls, lambda: calls.append(1)


@pytest.mark.parametrize("at_once", [1, 7, 40])
@pytest.mark.parametrize("golden", cases("audio_decode"))
def test_decoding_in_pieces(golden: Golden, at_once: int) -> None:
    decoder = laid_out(audio_decoder_part(stored(golden)))
    latent = noise(1, decoder.config.latent_channels, 83, decoder.config.latent_bins)
    whole, pieces = decoder(latent, at_once=83), decoder(latent, at_once=at_once)
    torch.testing.assert_close(pieces, whole, rtol=0, atol=golden.tolerance)


@pytest.mark.parametrize("at_once", [1, 7, 40])
@pytest.mark.parametrize("frames", [329, 330, 332])
@pytest.mark.parametrize("golden", cases("audio_encode"))
def test_encoding_in_pieces(golden: Golden, frames: int, at_once: int) -> None:
    encoder = laid_out(audio_encoder_part(stored(golden)))
    if not encoder.config.streams_in_time:
        frames = 32  # made at once anyway; attention over more would only take time
    mel = noise(1, 2, frames, encoder.config.front_end.mel_bins)
    whole, pieces = encoder(mel, at_once=frames), encoder(mel, at_once=at_once)
    torch.testing.assert_close(pieces, whole, rtol=0, atol=golden.tolerance)


@pytest.mark.parametrize("at_once", [10, 61])
@pytest.mark.parametrize("golden", [*cases("vocoder"), *cases("vocoder_bwe")])
def test_vocoding_in_pieces(golden: Golden, at_once: int) -> None:
    vocoder = laid_out(vocoder_part(stored(golden)))
    mel = noise(1, 2, 183, 64)
    whole, pieces = vocoder(mel), vocode(vocoder, mel, at_once=at_once)
    torch.testing.assert_close(pieces, whole, rtol=0, atol=golden.tolerance)


@pytest.mark.parametrize("golden", [*cases("vocoder"), *cases("vocoder_bwe")])
def test_no_sample_depends_on_more_than_the_reach(golden: Golden) -> None:
    vocoder = laid_out(vocoder_part(stored(golden)))
    mel, middle = noise(1, 2, 2 * vocoder.reach + 41, 64), vocoder.reach + 20
    other = mel.clone()
    other[:, :, middle] += 1.0
    changed = (vocoder(mel) != vocoder(other)).any(dim=(0, 1)).nonzero()
    frames = changed // vocoder.samples_per_frame
    assert frames.min() >= middle - vocoder.reach
    assert frames.max() <= middle + vocoder.reach


def test_official_sizes_need_the_context_the_reference_was_measured_to() -> None:
    config = AudioVaeConfig()
    assert 34 <= AudioDecoder(config, device=META).look_back <= 40
    assert AudioEncoder(config, device=META).look_back <= 34
    plain = Generator(PLAIN.generator, sample_rate=PLAIN.sampling_rate, device=META)
    assert 18 <= plain.reach <= 24
    assert 56 <= ExtendedVocoder(EXTENDED, device=META).reach <= 64


@pytest.mark.parametrize("golden", cases("decode_audio"))
def test_every_piece_can_be_cancelled(golden: Golden) -> None:
    calls, check = counted()
    decoder = laid_out(audio_decoder_part(stored(golden), check=check))
    decoder(noise(1, decoder.config.latent_channels, 60, decoder.config.latent_bins), at_once=20)
    assert len(calls) == 3 * len(decoder.config.multipliers)

    calls, check = counted()
    vocoder = laid_out(vocoder_part(stored(golden), check=check))
    mel = noise(1, 2, 60, 64)
    vocoder(mel)
    once = len(calls)
    vocode(vocoder, mel, at_once=20)
    assert len(calls) == once + 3 * once


@pytest.mark.parametrize(
    ("frames", "at_once", "multiple"), [(1, 10, 1), (10, 10, 1), (11, 10, 4), (97, 10, 3)]
)
def test_spans_cover_everything_once(frames: int, at_once: int, multiple: int) -> None:
    found = list(spans(frames, at_once, before=6, after=5, multiple=multiple))
    assert [n for span in found for n in range(span.start, span.end)] == list(range(frames))
    for span in found:
        assert 0 < span.end - span.start <= at_once
        assert span.first % multiple == 0
        assert span.first <= max(0, span.start - 6)
        assert span.last == min(frames, span.end + 5)


def plainly(snake: AntiAliased, x: torch.Tensor) -> torch.Tensor:
    """Spec audio 10, step by step, with inserted zeros."""
    channels, pad = x.shape[1], nn.functional.pad
    up = snake.upsample.filter.expand(channels, -1, -1)
    doubled = nn.functional.conv_transpose1d(
        pad(x, (5, 5), mode="replicate"), up, stride=2, groups=channels
    )
    v = 2 * doubled[..., 15:-15]
    alpha, beta = snake.act.alpha.exp()[:, None], snake.act.beta.exp()[:, None]
    v = v + torch.sin(v * alpha) ** 2 / (beta + 1e-9)
    down = snake.downsample.lowpass.filter.expand(channels, -1, -1)
    return nn.functional.conv1d(pad(v, (5, 6), mode="replicate"), down, stride=2, groups=channels)


@pytest.mark.parametrize("shape", [(1, 3, 1), (2, 3, 2), (2, 5, 40), (1, 2, 70001), (1, 1, 131073)])
def test_the_polyphase_snake_is_the_plain_one(shape: tuple[int, ...]) -> None:
    snake = AntiAliased(shape[1]).requires_grad_(False)
    for number, tensor in enumerate([*snake.parameters(), *snake.buffers()]):
        tensor.copy_(0.3 * noise(*tensor.shape, number + 1)[..., -1])
    x = noise(*shape)
    torch.testing.assert_close(snake(x), plainly(snake, x), rtol=0, atol=1e-5)
