"""Random numbers: bit for bit those of the reference, and what our own order promises."""

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.latents import Streams
from ltx2_pack.ltx_core.sampling.noise import (
    NoiseShape,
    NoiseSource,
    OfficialNoise,
    OwnNoise,
    generator_of,
)


def token_shape(shape: list[int]) -> NoiseShape:
    """Describe tokens [B, N, C] as a latent of N frames of one cell."""
    return NoiseShape((shape[0], shape[2], shape[1], 1, 1))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("golden", cases("rng"))
def test_the_official_order_matches_reference(golden: Golden, dtype: str) -> None:
    shapes = golden.case["shapes"]
    source = OfficialNoise(golden.case["seed"], getattr(torch, dtype))
    for stage in (1, 2):
        wanted = Streams(
            token_shape(shapes[f"stage{stage}_video"]), token_shape(shapes[f"stage{stage}_audio"])
        )
        drawn = source.initial(stage, wanted)
        golden.check(f"{dtype}.stage{stage}_video", drawn.video)
        golden.check(f"{dtype}.stage{stage}_audio", drawn.audio)


@pytest.mark.parametrize("golden", cases("rng"))
def test_noise_between_steps_matches_reference(golden: Golden) -> None:
    shapes = golden.case["shapes"]
    wanted = Streams(token_shape(shapes["stage1_video"]), token_shape(shapes["stage1_audio"]))
    loop = OfficialNoise(golden.case["seed"]).loop(1, wanted)
    expected = golden.tensors("out.")
    for name, draw in (
        ("ancestral", loop.plain), ("res2s.substep", loop.substep), ("res2s.step", loop.step)
    ):  # fmt: skip
        for number in range(sum(key.startswith(f"{name}.video.") for key in expected)):
            drawn = draw()
            golden.check(f"{name}.video.{number}", drawn.video)
            golden.check(f"{name}.audio.{number}", drawn.audio)


@pytest.mark.parametrize("golden", cases("rng"))
def test_our_first_stage_is_comfyuis_noise(golden: Golden) -> None:
    video, audio = (golden.tensors("out.")[f"comfy.{name}"] for name in ("video", "audio"))
    shapes = Streams(NoiseShape(tuple(video.shape)), NoiseShape(tuple(audio.shape)))
    drawn = OwnNoise(golden.case["seed"]).initial(1, shapes)
    assert torch.equal(drawn.video, video.flatten(2).transpose(1, 2))
    assert torch.equal(drawn.audio, audio.transpose(1, 2).flatten(2))


VIDEO, AUDIO = (1, 4, 3, 2, 2), (1, 2, 5, 3)


def streams(*appended: int) -> Streams[NoiseShape]:
    """Describe a small clip with appended items in its picture."""
    return Streams(NoiseShape(VIDEO, appended), NoiseShape(AUDIO))


def test_adding_a_guide_leaves_the_noise_of_the_clip_unchanged() -> None:
    source = OwnNoise(7)
    plain, guided = source.initial(1, streams()), source.initial(1, streams(4, 4))
    assert torch.equal(guided.video[:, :12], plain.video)
    assert torch.equal(guided.audio, plain.audio)
    assert guided.video.shape == (1, 20, 4)
    more = source.initial(1, streams(4))
    assert torch.equal(more.video, guided.video[:, :16])


@pytest.mark.parametrize("kind", ["plain", "substep", "step"])
def test_adding_a_guide_leaves_noise_between_steps_unchanged(kind: str) -> None:
    plain, guided = (getattr(OwnNoise(7).loop(1, streams(*a)), kind) for a in ((), (4, 4)))
    for _ in range(3):
        alone, together = plain(), guided()
        assert torch.equal(together.video[:, :12], alone.video)
        assert torch.equal(together.audio, alone.audio)


def test_leaving_out_the_sound_leaves_the_picture_unchanged() -> None:
    silent = OwnNoise(7).initial(1, Streams(NoiseShape(VIDEO), None))
    assert torch.equal(silent.video, OwnNoise(7).initial(1, streams()).video)
    assert silent.audio is None


@pytest.mark.parametrize("source", [OwnNoise(9), OfficialNoise(9)], ids=["own", "official"])
def test_noise_is_made_on_the_cpu_in_float32(source: NoiseSource) -> None:
    for drawn in (source.initial(1, streams(4)), source.loop(1, streams(4)).plain()):
        for tensor in drawn.present():
            assert (tensor.device.type, tensor.dtype) == ("cpu", torch.float32)


def test_stages_and_items_have_noise_of_their_own() -> None:
    first, second = (OwnNoise(7).initial(stage, streams(4, 4)).video for stage in (1, 2))
    assert not torch.equal(first[:, :12], second[:, :12])
    assert not torch.equal(first[:, 12:16], first[:, 16:])
    assert torch.equal(second[:, :12], OwnNoise(8).initial(1, streams()).video)


@pytest.mark.parametrize("seed", [0, 2**63, 2**64 - 1])
def test_every_seed_of_64_bits_works(seed: int) -> None:
    assert OwnNoise(seed).initial(2, streams(4)).video.isfinite().all()
    assert generator_of(seed + 2**64).initial_seed() == generator_of(seed).initial_seed()
