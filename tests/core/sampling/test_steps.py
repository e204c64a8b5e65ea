"""Formulas and samplers against the reference, and what a perfect prediction must lead to."""

from collections import deque

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.latents import Streams, each
from ltx2_pack.ltx_core.sampling.denoise import denoise
from ltx2_pack.ltx_core.sampling.noise import NoiseShape, OwnNoise
from ltx2_pack.ltx_core.sampling.res_2s import Res2s, coefficients, with_noise
from ltx2_pack.ltx_core.sampling.schedule import DISTILLED, ltx2_schedule
from ltx2_pack.ltx_core.sampling.steps import (
    Euler,
    EulerAncestral,
    EulerCfgPP,
    GradientEstimation,
    LoopNoise,
    Prediction,
    Sampler,
    blend,
    denoised_of,
    euler,
    euler_ancestral,
    euler_cfg_pp,
    noised,
    velocity_of,
)
from torch import Tensor

SAMPLERS = [
    Euler(),
    EulerAncestral(),
    EulerAncestral(eta=0.5),
    EulerCfgPP(),
    EulerCfgPP(eta=1.0),
    GradientEstimation(),
    Res2s(),
    Res2s(eta=0.0),
    Res2s(bongmath=False),
    Res2s(legacy_mode=False),
]


def close(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Compare as the kind asks: relative to the largest value where values are large."""
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("golden", cases("convert"))
@pytest.mark.parametrize("prefix", ["", "bf16."])
def test_conversions_match_reference(golden: Golden, prefix: str) -> None:
    given = golden.tensors("in.")
    sigma, mask = golden.case["sigma"], given["denoise_mask"]
    x = given[f"{prefix}x"]
    timesteps = mask * sigma
    if not prefix:
        golden.check("timesteps", timesteps)
    denoised = denoised_of(x, given[f"{prefix}velocity"], timesteps)
    golden.check(f"{prefix}x0", denoised)
    golden.check(f"{prefix}blended", blend(denoised, mask, given[f"{prefix}clean"]))
    golden.check(f"{prefix}velocity_back", velocity_of(x, denoised, sigma))


@pytest.mark.parametrize("golden", cases("noiser"))
def test_noising_matches_reference(golden: Golden) -> None:
    given = golden.tensors("in.")
    for number, call in enumerate(golden.case["calls"]):
        state = noised(
            given["latent"],
            given["clean_latent"],
            given["denoise_mask"],
            given["noise"],
            call["noise_scale"],
        )
        golden.check(f"noised.{number}", state)


def stepped(call: dict, given: dict[str, Tensor]) -> Tensor:
    """Make the one step a recorded call describes."""
    sigma, after = given["sigmas"][call["step_index"] : call["step_index"] + 2].tolist()
    x, denoised, noise = given["x"], given["denoised"], given["noise"]
    dtype = getattr(torch, call.get("dtype", "float32"))
    if call["step"] == "euler":
        return euler(x.to(dtype), denoised.to(dtype), sigma, after)
    numbers = {k: call[k] for k in ("eta", "s_noise") if k in call}
    if call["step"] == "euler_ancestral":
        return euler_ancestral(x, denoised, sigma, after, noise, **numbers)
    if call["step"] == "euler_cfg_pp":
        return euler_cfg_pp(x, denoised, given["uncond"], sigma, after, noise, **numbers)
    assert call["step"] == "res_2s_sde"
    return with_noise(x.double(), denoised.double(), sigma, after, noise.double(), call["eta"])


@pytest.mark.parametrize("golden", cases("sampler_step"))
def test_single_steps_match_reference(golden: Golden) -> None:
    given, expected = golden.tensors("in."), golden.tensors("out.")
    for number, call in enumerate(golden.case["calls"]):
        close(stepped(call, given), expected[f"next.{number:02d}"], golden.tolerance)


@pytest.mark.parametrize("golden", cases("sampler_step"))
def test_res_2s_coefficients_match_reference(golden: Golden) -> None:
    for h, expected in zip(golden.case["res2s_h"], golden.case["res2s_a21_b1_b2"], strict=True):
        assert coefficients(h) == pytest.approx(expected, abs=1e-9)


def sampler_of(case: dict) -> Sampler:
    """Return the sampler a recorded loop used."""
    numbers = {k: case[k] for k in ("eta", "s_noise", "bongmath", "legacy_mode") if k in case}
    if case["loop"] == "gradient_estimation":
        return GradientEstimation(gamma=case["ge_gamma"])
    kinds = {"euler_ancestral": EulerAncestral, "euler_cfg_pp": EulerCfgPP, "res_2s": Res2s}
    return Euler() if case["loop"] == "euler" else kinds[case["loop"]](**numbers)


@pytest.mark.parametrize("golden", cases("sampler_loop"))
def test_whole_loops_match_reference(golden: Golden) -> None:
    case, given, expected = golden.case, golden.tensors("in."), golden.tensors("out.")
    names = Streams(*(n if f"{n}.latent" in given else None for n in ("video", "audio")))
    noise = deque(given[key] for key in sorted(k for k in given if k.startswith("noise.")))
    asked: list[float] = []

    def predict(x: Streams[Tensor], sigma: float, index: int) -> Prediction:
        call = len(asked)
        asked.append(sigma)

        def fake(x: Tensor, name: str) -> Tensor:
            close(x, expected[f"{name}.seen.{call:02d}"], golden.tolerance)
            return (given[f"{name}.denoised.{call:02d}"] + case["mix"] * x.float()).to(x.dtype)

        uncond = each(lambda name: given.get(f"{name}.uncond.{call:02d}"), names)
        return Prediction(each(fake, x, names), uncond)

    draw = lambda: each(lambda _: noise.popleft(), names)  # noqa: E731
    result = denoise(
        each(lambda name: given[f"{name}.latent"], names),
        tuple(given["sigmas"].tolist()),
        predict,
        sampler=sampler_of(case),
        masks=each(lambda name: given[f"{name}.denoise_mask"], names),
        clean=each(lambda name: given[f"{name}.clean_latent"], names),
        noise=LoopNoise(draw, draw, draw),
    )
    each(lambda name, x: golden.check(f"{name}.latent", x), names, result)
    assert asked == pytest.approx(case["denoiser_sigmas"], abs=1e-7)
    assert not noise


def run(sampler: Sampler, sigmas: tuple[float, ...], mask: float = 1.0) -> tuple[Tensor, Tensor]:
    """Walk with a model that always sees the same clip; return that clip and the result."""
    generator = torch.Generator().manual_seed(3)
    clip = torch.randn(1, 6, 4, generator=generator)
    x = torch.randn(1, 6, 4, generator=generator) * sigmas[0] + clip * (1 - sigmas[0])
    shapes = Streams(NoiseShape((1, 4, 6, 1, 1)), None)
    result = denoise(
        Streams(x, None),
        sigmas,
        lambda x, sigma, index: Prediction(Streams(clip, None), Streams(clip, None)),
        sampler=sampler,
        masks=Streams(torch.full((1, 6, 1), mask), None),
        clean=Streams(clip, None),
        noise=OwnNoise(5).loop(1, shapes),
    )
    assert result.video is not None
    return clip, result.video


@pytest.mark.parametrize("sigmas", [DISTILLED, ltx2_schedule(6)], ids=["distilled", "ltx2"])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_a_perfect_model_is_followed_exactly(sampler: Sampler, sigmas: tuple[float, ...]) -> None:
    clip, result = run(sampler, sigmas)
    torch.testing.assert_close(result, clip, rtol=0, atol=1e-5)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_given_tokens_stay_given_whatever_the_model_says(sampler: Sampler) -> None:
    given = torch.linspace(-1, 1, 24).reshape(1, 6, 4)
    other = Streams(torch.full((1, 6, 4), 7.0), None)
    shapes = Streams(NoiseShape((1, 4, 6, 1, 1)), None)
    seen: list[Tensor] = []

    def predict(x: Streams[Tensor], sigma: float, index: int) -> Prediction:
        assert x.video is not None
        seen.append(x.video)
        # CFG++ also walks along the unconditioned prediction, which a model gives for what it sees.
        return Prediction(other, x)

    denoise(
        Streams(given, None),
        DISTILLED,
        predict,
        sampler=sampler,
        masks=Streams(torch.zeros(1, 6, 1), None),
        clean=Streams(given, None),
        noise=OwnNoise(5).loop(1, shapes),
    )
    for x in seen:
        torch.testing.assert_close(x, given, rtol=0, atol=1e-5)
