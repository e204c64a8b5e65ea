"""Schedules against the reference, and what holds for all of them."""

from itertools import pairwise

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.sampling.schedule import (
    DISTILLED,
    FIXED,
    Sigmas,
    beta_quantile,
    beta_schedule,
    linear_quadratic_schedule,
    ltx2_schedule,
    resampled,
)


def schedule_of(call: dict) -> Sigmas:
    """Make the schedule one recorded call describes."""
    arguments = {k: v for k, v in call.items() if k not in ("scheduler", "latent_shape", "name")}
    if call["scheduler"] == "constant":
        return FIXED[call["name"]]
    if call["scheduler"] == "linear_quadratic":
        return linear_quadratic_schedule(**arguments)
    if call["scheduler"] == "beta":
        return beta_schedule(**arguments)
    if "latent_shape" in call:
        frames, height, width = call["latent_shape"][2:]
        arguments["tokens"] = frames * height * width
    if arguments.get("tokens") is None:
        arguments.pop("tokens", None)
    return ltx2_schedule(**arguments)


@pytest.mark.parametrize("golden", cases("schedule"))
def test_matches_reference(golden: Golden) -> None:
    for number, call in enumerate(golden.case["calls"]):
        golden.check(f"sigmas.{number:03d}", torch.tensor(schedule_of(call)))


@pytest.mark.parametrize("steps", [2, 15, 30, 40])
def test_a_schedule_falls_to_the_terminal_and_then_to_zero(steps: int) -> None:
    sigmas = ltx2_schedule(steps)
    assert len(sigmas) == steps + 1
    assert all(a > b for a, b in pairwise(sigmas))
    assert sigmas[-2] == pytest.approx(0.1, abs=1e-6)
    assert sigmas[-1] == 0


def test_every_sigma_is_exact_in_float32() -> None:
    for sigmas in (*FIXED.values(), ltx2_schedule(7), resampled(DISTILLED, 5), beta_schedule(6)):
        assert torch.tensor(sigmas).tolist() == list(sigmas)


@pytest.mark.parametrize("steps", [0, 1])
def test_too_few_steps_are_refused_in_a_sentence(steps: int) -> None:
    with pytest.raises(LTX2Error, match="too few"):
        ltx2_schedule(steps)


def test_resampling_a_list_to_its_own_length_changes_nothing() -> None:
    assert resampled(DISTILLED, 8) == DISTILLED


@pytest.mark.parametrize("steps", [1, 4, 12])
def test_a_resampled_list_keeps_both_ends(steps: int) -> None:
    sigmas = resampled(DISTILLED, steps)
    assert (sigmas[0], sigmas[-1], len(sigmas)) == (1.0, 0.0, steps + 1)
    assert all(a > b for a, b in pairwise(sigmas))


@pytest.mark.parametrize("probability", [0.01, 0.3, 0.5, 0.9])
def test_the_beta_quantile_of_the_arcsine_distribution_is_known(probability: float) -> None:
    expected = torch.sin(torch.tensor(probability * torch.pi / 2, dtype=torch.float64)) ** 2
    assert beta_quantile(probability, 0.5, 0.5) == pytest.approx(expected.item(), abs=1e-12)
