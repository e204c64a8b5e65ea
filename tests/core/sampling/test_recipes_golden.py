"""Whole recipes against the reference's pipelines, through the machinery every run uses."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.checkpoint.lora import LoraUse
from ltx2_pack.ltx_core.checkpoint.lora_file import read_lora
from ltx2_pack.ltx_core.checkpoint.part import place_on_cpu
from ltx2_pack.ltx_core.checkpoint.weights import weights_of
from ltx2_pack.ltx_core.conditioning.guides import Guide, Reference
from ltx2_pack.ltx_core.grid import VideoShape, even_keyframes
from ltx2_pack.ltx_core.latents import AVLatent, Streams, blank
from ltx2_pack.ltx_core.sampling.guidance import GuidancePlan, always
from ltx2_pack.ltx_core.sampling.models import Models, Request
from ltx2_pack.ltx_core.sampling.noise import GivenNoise
from ltx2_pack.ltx_core.sampling.res_2s import Res2s
from ltx2_pack.ltx_core.sampling.run import Result, run_recipe
from ltx2_pack.ltx_core.sampling.stages import SIMPLE, Recipe, Stage
from ltx2_pack.ltx_core.sampling.steps import Euler, EulerAncestral, Sampler, denoised_of
from ltx2_pack.ltx_core.text.context import TextContext
from ltx2_pack.ltx_core.transformer.inputs import StreamInput
from ltx2_pack.ltx_core.upscaler.load import upscaler_part
from ltx2_pack.ltx_core.video_vae.statistics import read_statistics
from sampling_cases import guidance_of, model_weights, transformer_of
from torch import Tensor

KINDS = (
    "one_stage",
    "two_stage",
    "i2v_two_stage",
    "distilled",
    "ic_lora",
    "two_stage_hq",
    "keyframe",
    "a2v",
    "t2a",
)
SLOTS = "VideoGeneratedKeyframeSlots"
REFERENCES = {"VideoConditionByReferenceLatent", "ConditioningItemAttentionStrengthWrapper"}


class Recorder:
    """A transformer that notes what it is given and what it answers."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.dtype = network.dtype
        self.seen: list[tuple[Streams[StreamInput], Streams[Tensor]]] = []

    def __call__(self, video: Any, audio: Any, perturbations: Any = None) -> Any:
        answer = self.network(video, audio, perturbations)
        self.seen.append((Streams(video, audio), Streams(*answer)))
        return answer

    def calls(self, sigma: float) -> list[tuple[Streams[StreamInput], Streams[Tensor]]]:
        """Return the passes made at one sigma, in order."""
        found = []
        for given, answer in self.seen:
            level = max(side.timesteps.max().item() for side in given.present())
            if level == pytest.approx(sigma, abs=1e-6):
                found.append((given, answer))
        return found


def plan_of(recorded: dict[str, Any]) -> GuidancePlan:
    """Translate guider parameters, constant or by sigma."""
    if "bins" in recorded:
        return tuple((sigma, guidance_of(params)) for sigma, params in recorded["bins"])
    return always(guidance_of(recorded))


def sampler_of(case: dict[str, Any], number: int) -> Sampler:
    if case.get("loop") == "res_2s":
        return Res2s(eta=case["eta"], bongmath=case["bongmath"])
    if number == 1 and case.get("stage1_sampler") == "euler_ancestral":
        return EulerAncestral(eta=case["eta"], s_noise=case["s_noise"])
    return Euler()


def recipe_of(golden: Golden, *, sound_from: int) -> Recipe:
    """Write a recorded pipeline down as a recipe."""
    case = golden.case
    stages = []
    for number, recorded in enumerate(case["stages"], start=1):
        guided = number == 1 and ("video_guider" in case or "audio_guider" in case)
        uses = dict(case.get("loras", {}).get(f"stage{number}", []))
        told = set((recorded["video"] or {}).get("conditionings", []))
        stages.append(
            Stage(
                sigmas=tuple(recorded["sigmas"]),
                half=number < len(case["stages"]),
                sampler=sampler_of(case, number),
                guidance=Streams(
                    *(
                        plan_of(case[f"{name}_guider"]) if f"{name}_guider" in case else plan
                        for name, plan in (("video", SIMPLE.video), ("audio", SIMPLE.audio))
                    )
                )
                if guided
                else SIMPLE,
                user_loras=bool(uses.keys() - {"distilled"}),
                distilled=uses.get("distilled", 0.0),
                references=bool(told & REFERENCES),
                slots=SLOTS in told,
            )
        )
    return Recipe(name=golden.kind, stages=tuple(stages), sound_from=sound_from)


def loras_of(golden: Golden) -> dict[str, LoraUse]:
    """Read every LoRA a fixture holds, at the strength a stage uses it."""
    strengths = {
        name: strength for uses in golden.case.get("loras", {}).values() for name, strength in uses
    }
    found = {}
    for name, strength in strengths.items():
        tensors = golden.tensors(f"lora.{name}.")
        found[name] = LoraUse(read_lora(weights_of(tensors, {}, name)), strength)
    return found


def models_of(golden: Golden, recorders: list[Recorder]) -> Models:
    """Load the tiny models a fixture names; every layout of the transformer is recorded."""
    loras = loras_of(golden)
    two_stages = len(golden.case["stages"]) > 1

    @contextmanager
    def place(part: Any, *, loras: Sequence[LoraUse] = (), activation_bytes: int = 0) -> Iterator:
        assert activation_bytes > 0
        with place_on_cpu(part, loras=loras) as network:
            if part.role != "transformer":
                yield network
                return
            recorders.append(Recorder(network))
            yield recorders[-1]

    return Models(
        transformer=transformer_of(golden),
        upscaler=upscaler_part(model_weights(golden, "upsampler")) if two_stages else None,
        statistics=read_statistics(model_weights(golden, "vae_stats")) if two_stages else None,
        distilled_lora=loras.get("distilled"),
        loras=tuple(use for name, use in loras.items() if name != "distilled"),
        place=place,
    )


def clip_of(golden: Golden) -> tuple[AVLatent, Streams[bool]]:
    """Return the clip that is asked for, and which of its streams are given."""
    recorded, given = golden.case["stages"][-1], golden.tensors("in.")
    shape = VideoShape(recorded["frames"], recorded["height"], recorded["width"])
    clip = blank(shape, Fraction(recorded["fps"]), sound=recorded["audio"] is not None)
    if recorded["video"] is None:
        clip = clip.with_video(None)
    frozen = Streams(*((recorded[name] or {}).get("frozen", False) for name in ("video", "audio")))
    if frozen.audio:
        clip = clip.with_audio(given["audio_latent"][:, :, : clip.audio.shape[2]])
    return clip, frozen


def context_of(given: dict[str, Tensor], side: str) -> TextContext | None:
    names = [f"context.{name}.{side}" for name in ("video", "audio")]
    if not any(name in given for name in names):
        return None
    blank = torch.zeros(1, 1, 1)
    video, audio = (given.get(name, blank) for name in names)
    return TextContext(video=video, audio=audio, generation="")


def request_of(golden: Golden) -> Request:
    """Write a recorded pipeline's arguments down as a request."""
    case, given = golden.case, golden.tensors("in.")
    clip, frozen = clip_of(golden)
    picture = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
    rate = case["stages"][-1]["fps"]
    guides = tuple(
        Guide(
            frames=picture,
            time=image["frame_idx"] / rate,
            strength=image["strength"],
            beside=golden.kind == "keyframe",
        )
        for image in case.get("images", [])
    )
    references = ()
    if "reference_latent" in given:
        mask = given.get("attention_mask_pixels")
        references = (
            Reference(
                frames=picture.expand(clip.video.shape[2] * 8 - 7, -1, -1, -1),
                strength=case["reference_strength"],
                attention=case["conditioning_attention_strength"],
                mask=None if mask is None else mask[0, 0],
                downscale=case["reference_downscale_factor"],
                temporal_scale=case["reference_temporal_scale_factor"],
            ),
        )
    slots = case.get("generated_keyframes", 0)
    return Request(
        clip=clip,
        positive=context_of(given, "pos"),
        negative=context_of(given, "neg"),
        guides=guides,
        references=references,
        keyframe_slots=even_keyframes(slots, case["num_frames"]) if slots else (),
        frozen=frozen,
    )


def run(golden: Golden, *, sound_from: int) -> tuple[Result, list[Recorder]]:
    """Run a fixture with everything it gives."""
    given = golden.tensors("in.")
    request = request_of(golden)
    recorders: list[Recorder] = []
    initial = {
        number: Streams(*(given.get(f"noise.stage{number}.{name}") for name in ("video", "audio")))
        for number in range(1, len(golden.case["stages"]) + 1)
    }
    between = [given[key] for key in sorted(given) if key.startswith("loop_noise.")]

    def encoded(source: Guide | Reference, stage: int, height: int, width: int) -> Tensor:
        if isinstance(source, Reference):
            return given["reference_latent"]
        number = next(i for i, guide in enumerate(request.guides) if guide is source)
        return given[f"image_latent.{number}.stage{stage}"]

    result = run_recipe(
        recipe_of(golden, sound_from=sound_from),
        models_of(golden, recorders),
        request,
        noise=GivenNoise(initial, between),
        encoded=encoded,
    )
    return result, recorders


#: Whose sound the pipelines return, as an index of stages.
SOUND_FROM = {"distilled": 1, "ic_lora": 1, "keyframe": 1, "a2v": 1}


@pytest.mark.parametrize("golden", [golden for kind in KINDS for golden in cases(kind)])
def test_a_whole_run_matches_reference(golden: Golden) -> None:
    expected = golden.tensors("out.")
    result, recorders = run(golden, sound_from=SOUND_FROM.get(golden.kind, 0))
    for name in ("video", "audio"):
        latent = getattr(result.latent, name)
        if f"final.{name}" in expected:
            golden.check(f"final.{name}", latent)
        for number, stage in enumerate(result.stages, start=1):
            if f"stage{number}.{name}.latent" in expected:
                golden.check(f"stage{number}.{name}.latent", getattr(stage.latent, name))
        for number, recorder in enumerate(recorders, start=1):
            check_inputs(golden, expected, f"stage{number}.{name}", recorder, name)
            check_states(golden, expected, number, name, recorder)
            check_passes(golden, expected, number, name, recorder)
    for number, stage in enumerate(result.stages, start=1):
        key = f"stage{number}.video.generated_keyframes"
        assert (key in expected) == (stage.keyframes is not None)
        if stage.keyframes is not None:
            golden.check(key, stage.keyframes)


def check_inputs(
    golden: Golden, expected: dict[str, Tensor], place: str, recorder: Recorder, name: str
) -> None:
    """Compare what the transformer is told of every token."""
    given = getattr(recorder.seen[0][0], name)
    if given is None:
        assert not any(key.startswith(f"{place}.") for key in expected)
        return
    sigma = golden.case["stages"][int(place[5]) - 1]["sigmas"][0]
    torch.testing.assert_close(
        given.timesteps, expected[f"{place}.denoise_mask"] * sigma, rtol=0, atol=1e-6
    )
    golden.check(f"{place}.positions", given.positions)
    for mask in ("keyframes_mask", "attention_mask"):
        recorded = f"{place}.{mask}" in expected
        assert recorded == (getattr(given, mask) is not None)
        if recorded:
            golden.check(f"{place}.{mask}", getattr(given, mask))


def check_states(
    golden: Golden, expected: dict[str, Tensor], number: int, name: str, recorder: Recorder
) -> None:
    """Compare the noisy latents of every call that was recorded and not skipped."""
    for stage, call, sigma in golden.case["denoiser_calls"]:
        key = f"stage{number}.{name}.x.{call:02d}"
        calls = recorder.calls(sigma) if stage == number and key in expected else []
        if calls:
            golden.check(key, getattr(calls[0][0], name).latent)


def check_passes(
    golden: Golden, expected: dict[str, Tensor], number: int, name: str, recorder: Recorder
) -> None:
    """Compare what each pass of a stage's first call saw behind the noise."""
    place = f"stage{number}.{name}"
    wanted = [p for p in ("cond", "uncond", "ptb", "mod") if f"{place}.{p}.00" in expected]
    wanted = [f"{place}.{p}.00" for p in wanted] or [f"{place}.x0.00"]
    if wanted[0] not in expected:
        return
    calls = recorder.calls(golden.case["stages"][number - 1]["sigmas"][0])
    for key, (given, answer) in zip(wanted, calls, strict=True):
        side = getattr(given, name)
        golden.check(key, denoised_of(side.latent, getattr(answer, name), side.timesteps))
