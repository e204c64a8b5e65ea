"""One stage by itself, for graphs that wire every stage: by names, as widgets hold them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isclose
from typing import Any

import torch

from ..checkpoint.compatible import check_latents, upscaler_warnings
from ..checkpoint.part import Place
from ..errors import LTX2Error
from ..latents import AVLatent, Streams, each
from .bundle import Guides, LatentUpscaler, Model, VideoVAE
from .context import PromptContext
from .guidance import Guidance, always
from .models import Models, Request
from .noise import NoiseSource, OfficialNoise, OwnNoise
from .res_2s import Res2s
from .run import Calls, run_recipe, upscaled_latent
from .schedule import (
    DISTILLED,
    REFINE,
    Sigmas,
    beta_schedule,
    linear_quadratic_schedule,
    ltx2_schedule,
    resampled,
)
from .stages import GUIDED, SIMPLE, Recipe, Stage
from .steps import Euler, EulerAncestral, EulerCfgPP, GradientEstimation, Sampler

#: How a step is made, by the name users know.
SAMPLERS: Mapping[str, Sampler] = {
    "euler": Euler(),
    "euler_ancestral": EulerAncestral(),
    "gradient_estimation": GradientEstimation(),
    "euler_cfg_pp": EulerCfgPP(),
    "res_2s": Res2s(),
}
SCHEDULES = ("ltx2", "distilled", "refine", "linear_quadratic", "beta")
NOISES = ("own", "official")
AUTO_BLOCKS = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class GuidancePair:
    """Guidance of both streams; `auto_blocks` takes the generation's blocks for STG."""

    video: Guidance
    audio: Guidance
    auto_blocks: bool = True

    @classmethod
    def of(cls, scales: Mapping[str, float], *, stg_blocks: str, skip_step: int) -> "GuidancePair":
        """Read `video_cfg`, `audio_stg`, ... and blocks as text ("auto", "28", "14, 19")."""
        blocks = block_numbers(stg_blocks)

        def one(stream: str) -> Guidance:
            return Guidance(
                cfg=scales[f"{stream}_cfg"],
                stg=scales[f"{stream}_stg"],
                stg_blocks=blocks or (),
                rescale=scales[f"{stream}_rescale"],
                modality_scale=scales[f"{stream}_modality"],
                skip_step=skip_step,
            )

        return cls(video=one("video"), audio=one("audio"), auto_blocks=blocks is None)

    def of_generation(self, generation: str) -> Streams[Guidance]:
        """Return both with the blocks they skip."""
        both = Streams(self.video, self.audio)
        if not self.auto_blocks:
            return both
        return each(lambda one: replace(one, stg_blocks=GUIDED[generation].stg_blocks), both)


def block_numbers(text: str) -> tuple[int, ...] | None:
    """Read "28" or "14, 19"; None for "auto" or nothing. Raises LTX2Error for anything else."""
    if text.strip().lower() in ("", AUTO_BLOCKS):
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() for part in parts):
        raise LTX2Error(
            f"stg_blocks is {text!r}, which is no list of block numbers.",
            needed="auto, or numbers such as 28 or 14, 19",
            where="LTX-2 Guidance",
        )
    return tuple(int(part) for part in parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageSettings:
    """One stage as its widgets say."""

    sampler: str = "euler"
    schedule: str = "ltx2"
    steps: int = 0  # 0: the schedule's own
    seed: int = 0
    stage: int = 1  # which of the clip's stages this is, from 1
    keep_sound: bool = False
    noise: str = "own"
    guidance: GuidancePair | None = None


def schedule_of(settings: StageSettings, generation: str) -> Sigmas:
    """Return the noise levels a stage walks down."""
    steps = settings.steps
    if settings.schedule == "distilled":
        return resampled(DISTILLED, steps) if steps else DISTILLED
    if settings.schedule == "refine":
        return resampled(REFINE, steps) if steps else REFINE
    steps = steps or GUIDED[generation].steps
    if settings.schedule == "linear_quadratic":
        return linear_quadratic_schedule(steps)
    return beta_schedule(steps) if settings.schedule == "beta" else ltx2_schedule(steps)


def run_single(
    latent: AVLatent,
    model: Model,
    context: PromptContext,
    guides: Guides,
    video_vae: VideoVAE | None,
    settings: StageSettings,
    place: Place,
    calls: Calls = Calls(),
) -> tuple[AVLatent, list[str]]:
    """Run one stage at the latent's own size; return the result and what is worth saying.

    A schedule that starts at full noise ignores the latent's content, another one covers it as far
    as its first sigma says. With the official order of noise a later stage continues the random
    numbers of the one whose latent it gets.
    """
    models = Models(
        transformer=model.transformer,
        video_encoder=None if video_vae is None else video_vae.encoder,
        loras=(*model.loras, *guides.loras),
        place=place,
    )
    guidance = None if settings.guidance is None else settings.guidance
    sigmas = schedule_of(settings, model.generation)
    stage = Stage(
        sigmas=sigmas,
        sampler=SAMPLERS[settings.sampler],
        guidance=SIMPLE
        if guidance is None
        else each(always, guidance.of_generation(model.generation)),
        references=True,
    )
    request = Request(
        clip=latent,
        positive=context.positive,
        negative=context.negative,
        guides=guides.guides,
        references=guides.references,
    )
    noise: NoiseSource
    noise = official = OfficialNoise(settings.seed, state=latent.noise_state)
    if settings.noise == "own":
        # Stage n draws from seed + n - 1 whichever node it is in.
        noise = OwnNoise(settings.seed)
    # Reference: the float32 schedule may begin a rounding step below 1; noise covers all of it.
    from_noise = isclose(sigmas[0], 1.0, abs_tol=1e-5)
    result = run_recipe(
        Recipe(name="one stage", stages=(stage,)),
        models,
        request,
        noise=noise,
        first_stage=settings.stage,
        from_noise=from_noise,
        calls=calls,
    )
    made = result.latent
    if settings.keep_sound:
        made = made.with_audio(latent.audio)
    notes = [*context.notices, *result.notes]
    return replace(
        made,
        noise_state=official.state if settings.noise == "official" else None,
        facts=_facts(latent.facts, model, context, settings, len(sigmas) - 1, notes),
    ), notes


def _facts(
    before: Mapping[str, Any],
    model: Model,
    context: PromptContext,
    settings: StageSettings,
    steps: int,
    notes: list[str],
) -> dict[str, Any]:
    """Return what is known of a clip after a stage, of earlier stages too."""
    notices = dict.fromkeys([*before.get("notices", ()), *notes])
    return {
        **before,
        "generation": model.generation,
        "seed": settings.seed,
        "steps": [*before.get("steps", ()), steps],
        "prompt": context.prompt,
        "files": {"model": model.source, "text_encoder": context.positive.source},
        "notices": [*notices],
    }


def upscaled(
    latent: AVLatent, upscaler: LatentUpscaler, video_vae: VideoVAE, place: Place
) -> tuple[AVLatent, list[str]]:
    """Return the latent with its picture enlarged, and warnings.

    Raises LTX2Error if it has none, or if something is of another generation than the latent.
    """
    if latent.video is None:
        raise LTX2Error(
            "The latent has no picture to enlarge.", needed="a latent with a picture",
            where="LTX-2 Spatial Upscale",
        )  # fmt: skip
    generation = latent.generation or None
    for facts in (upscaler.facts, video_vae.facts):
        check_latents(latent.name, generation, facts)
    with torch.no_grad():
        video = upscaled_latent(latent.video, upscaler.part, video_vae.statistics, place)
    return latent.with_video(video), upscaler_warnings(latent.name, generation, upscaler.facts)
