"""Guidance against the reference: the combination, when it runs, and with a tiny transformer."""

from dataclasses import replace

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.conditioning.items import frozen
from ltx2_pack.ltx_core.conditioning.state import LatentState
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.latents import Streams, each
from ltx2_pack.ltx_core.sampling.guidance import (
    NEUTRAL,
    Guidance,
    GuidancePlan,
    always,
    apg_delta,
    cfg_delta,
    cfg_star_delta,
    combine,
    guidance_at,
    momentum_apg_delta,
    stg_delta,
)
from ltx2_pack.ltx_core.sampling.predict import Guided, Predictor, Prompts
from sampling_cases import guidance_of, laid_out_transformer
from torch import Tensor

PASSES = {
    "uncond": ("uncond_text", "do_uncond"),
    "perturbed": ("uncond_perturbed", "do_perturbed"),
    "isolated": ("uncond_modality", "do_modality"),
}


def of_kind(name: str):
    """Select guider fixtures: `delta` or `multimodal`."""
    return cases("guider", lambda golden: golden.case["guider"] == name)


@pytest.mark.parametrize("golden", of_kind("multimodal"))
def test_the_combination_matches_reference(golden: Golden) -> None:
    given = golden.tensors("in.")
    for number, call in enumerate(golden.case["calls"]):
        passes = {name: given[key] for name, (key, flag) in PASSES.items() if call[flag]}
        guided = combine(guidance_of(call["params"]), {"cond": given["cond"], **passes})
        golden.check(f"guided.{number:02d}", guided)


@pytest.mark.parametrize("golden", of_kind("delta"))
def test_directions_match_reference(golden: Golden) -> None:
    given = golden.tensors("in.")
    plain = {"cfg": cfg_delta, "cfg_star": cfg_star_delta, "stg": stg_delta, "apg": apg_delta}
    for number, call in enumerate(golden.case["calls"]):
        numbers = {k: call[k] for k in ("eta", "norm_threshold", "momentum") if k in call}
        if call["guider"] in plain:
            delta = plain[call["guider"]](given["cond"], given["uncond"], call["scale"], **numbers)
            golden.check(f"delta.{number:02d}", delta)
            continue
        average = None
        for turn in range(call["calls"]):
            delta, average = momentum_apg_delta(
                given[f"cond.m{turn}"], given[f"uncond.m{turn}"], call["scale"], average, **numbers
            )
            golden.check(f"delta.m{turn}", delta)


@pytest.mark.parametrize("golden", cases("guider_params"))
def test_skipped_steps_match_reference(golden: Golden) -> None:
    for entry in golden.case["skip"]:
        guidance = Guidance(skip_step=entry["skip_step"])
        assert [guidance.skips(index) for index in range(len(entry["skip"]))] == entry["skip"]


@pytest.mark.parametrize("golden", cases("guider_params"))
def test_sigma_bins_match_reference(golden: Golden) -> None:
    for entry in golden.case["bins"]:
        plan = tuple((sigma, Guidance(cfg=cfg)) for sigma, cfg in entry["table"])
        assert [guidance_at(plan, sigma).cfg for sigma in entry["sigmas"]] == entry["cfg"]


def predictor(
    golden: Golden,
    plans: Streams[GuidancePlan] = Streams(always(NEUTRAL), always(NEUTRAL)),
    *,
    only: str = "",
    freeze_audio: bool = False,
    negative: tuple[str, ...] = ("video", "audio"),
    max_batch_size: int = 1,
) -> tuple[Predictor, Streams[Tensor]]:
    """Return a predictor over a recorded state, and that state's tokens."""
    given = golden.tensors("in.")
    names = Streams(*(name if only in ("", name) else None for name in ("video", "audio")))

    def state(name: str) -> LatentState:
        own = {k.removeprefix(f"{name}."): v for k, v in given.items() if k.startswith(f"{name}.")}
        shape = golden.case["target_shape" if name == "video" else "audio_shape"]
        found = LatentState(
            tokens=own["latent"],
            clean=own["clean_latent"],
            denoise_mask=own["denoise_mask"],
            positions=own["positions"],
            target_shape=tuple(shape),
            keyframes_mask=own.get("keyframes_mask"),
            attention_mask=own.get("attention_mask"),
        )
        if freeze_audio and name == "audio":
            found = frozen(replace(found, tokens=found.clean))
        return found

    def prompts(name: str) -> Prompts:
        context = f"context.{name}."
        return Prompts(
            positive=given[f"{context}pos"],
            negative=given[f"{context}neg"] if name in negative else None,
        )

    states = each(state, names)
    network = laid_out_transformer(golden)
    made = Predictor(
        network, states, each(prompts, names), plans=plans, max_batch_size=max_batch_size
    )
    return made, each(lambda state: state.tokens, states)


def check(golden: Golden, name: str, result: Streams[Tensor], suffix: str = "") -> None:
    """Compare both streams with `out.<name>.<stream><suffix>`."""
    names = Streams("video", "audio")
    each(lambda x, stream: golden.check(f"{name}.{stream}{suffix}", x), result, names)


@pytest.mark.parametrize("golden", cases("guided_denoise"))
@torch.no_grad()
def test_one_pass_matches_reference(golden: Golden) -> None:
    predict, x = predictor(golden)
    check(golden, "simple", predict(x, golden.case["sigma"], 0).denoised)


@pytest.mark.parametrize("name", ["video", "audio"])
@pytest.mark.parametrize("golden", cases("guided_denoise"))
@torch.no_grad()
def test_a_stream_alone_matches_reference(golden: Golden, name: str) -> None:
    predict, x = predictor(golden, only=name)
    golden.check(f"{name}_only", getattr(predict(x, golden.case["sigma"], 0).denoised, name))


@pytest.mark.parametrize("golden", cases("guided_denoise"))
@torch.no_grad()
def test_a_frozen_sound_matches_reference(golden: Golden) -> None:
    predict, x = predictor(golden, freeze_audio=True)
    check(golden, "frozen_audio", predict(x, golden.case["sigma"], 0).denoised)


def guided(golden: Golden, number: int, max_batch_size: int) -> Guided:
    """Run one recorded guided call."""
    call = golden.case["calls"][number]
    plans = Streams(
        *(always(guidance_of(call[s]) if call[s] else NEUTRAL) for s in ("video", "audio"))
    )
    negative = tuple(name for name in ("video", "audio") if call[name])
    predict, x = predictor(golden, plans, negative=negative, max_batch_size=max_batch_size)
    return predict(x, golden.case["sigma"], 0)


@pytest.mark.parametrize("max_batch_size", [1, 3, 4])
@pytest.mark.parametrize("golden", cases("guided_denoise"))
@torch.no_grad()
def test_guided_calls_match_reference_however_they_are_batched(
    golden: Golden, max_batch_size: int
) -> None:
    names = {"cond": "cond", "uncond": "uncond", "perturbed": "ptb", "isolated": "mod"}
    for number in range(len(golden.case["calls"])):
        result = guided(golden, number, max_batch_size)
        check(golden, str(number), result.denoised)
        if number == 0:
            for name, recorded in names.items():
                check(golden, "0", result.passes[name], f".{recorded}")


SHAPE = (1, 4, 2, 2, 2)


def flat_state(frozen: bool = False) -> LatentState:
    """Return a small state without transformer."""
    tokens = torch.linspace(-1, 1, 32).reshape(1, 8, 4)
    return LatentState(
        tokens=tokens,
        clean=tokens,
        denoise_mask=torch.ones(1, 8, 1),
        positions=torch.zeros(1, 3, 8, 2),
        target_shape=SHAPE,
        frozen=frozen,
    )


def counting(calls: list):
    """Return a model whose velocity is the state, and that notes every call."""

    def model(video, audio, perturbations):
        calls.append((video, audio, perturbations))
        return video.latent, None if audio is None else audio.latent

    return model


def simple(plan: Streams[GuidancePlan], calls: list) -> Predictor:
    """Return a predictor of two small streams over a noting model."""
    context = torch.ones(1, 2, 4)
    prompts = Prompts(positive=context, negative=-context)
    states = Streams(flat_state(), flat_state())
    return Predictor(counting(calls), states, Streams(prompts, prompts), plans=plan)


def test_neutral_guidance_is_one_pass() -> None:
    calls: list = []
    predict = simple(Streams(always(NEUTRAL), always(NEUTRAL)), calls)
    predict(Streams(flat_state().tokens, flat_state().tokens), 0.5, 0)
    assert len(calls) == 1


def test_a_skipped_step_of_both_streams_asks_nothing_and_repeats_the_last_result() -> None:
    calls: list = []
    plan = always(Guidance(cfg=3.0, skip_step=1))
    predict = simple(Streams(plan, plan), calls)
    x = Streams(flat_state().tokens, flat_state().tokens)
    first = predict(x, 0.9, 0).denoised
    asked = len(calls)
    again = predict(each(lambda x: x * 2, x), 0.5, 1).denoised
    assert len(calls) == asked
    assert again.video is first.video and again.audio is first.audio


def test_a_stream_skipped_alone_is_read_but_not_updated() -> None:
    calls: list = []
    predict = simple(Streams(always(Guidance(skip_step=1)), always(NEUTRAL)), calls)
    x = Streams(flat_state().tokens, flat_state().tokens)
    first = predict(x, 0.9, 0).denoised
    second = predict(each(lambda x: x * 2, x), 0.5, 1).denoised
    assert (calls[-1][0].enabled, calls[-1][1].enabled) == (False, True)
    assert second.video is first.video
    assert not torch.equal(second.audio, first.audio)


def test_cfg_without_a_negative_prompt_is_refused_in_a_sentence() -> None:
    prompts = Prompts(positive=torch.ones(1, 2, 4))
    predict = Predictor(
        counting([]),
        Streams(flat_state(), None),
        Streams(prompts, None),
        plans=Streams(always(Guidance(cfg=3.0)), None),
    )
    with pytest.raises(LTX2Error, match="needs a negative prompt"):
        predict(Streams(flat_state().tokens, None), 0.9, 0)


def test_contexts_of_different_lengths_do_not_share_a_call() -> None:
    calls: list = []
    prompts = Prompts(positive=torch.ones(1, 2, 4), negative=torch.ones(1, 5, 4))
    predict = Predictor(
        counting(calls),
        Streams(flat_state(), None),
        Streams(prompts, None),
        plans=Streams(always(Guidance(cfg=3.0)), None),
        max_batch_size=4,
    )
    predict(Streams(flat_state().tokens, None), 0.9, 0)
    assert [call[0].context.shape[1] for call in calls] == [2, 5]
