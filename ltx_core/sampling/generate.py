"""From a bundle, a prompt and a size to a clip: what the one-node generation does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import lcm
from typing import Any

from ..checkpoint.lora import LoraUse
from ..checkpoint.part import Place
from ..grid import SIDE_STEP, ClipSize, VideoShape, nearest_side
from ..latents import blank
from .bundle import Bundle, Guides, Model
from .clip import Clip
from .context import PromptContext
from .models import Models, Request
from .noise import NoiseSource
from .run import Calls, Result, run_recipe
from .stages import Overrides, Recipe, recipe_for


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What the user chooses besides models, prompt and size."""

    recipe: str = "fast"
    seed: int = 0
    audio: bool = True
    overrides: Overrides = field(default_factory=Overrides)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Plan:
    """A generation, ready to run."""

    recipe: Recipe
    models: Models
    request: Request
    size: ClipSize


def plan(
    bundle: Bundle,
    context: PromptContext,
    size: ClipSize,
    guides: Guides,
    settings: Settings,
    place: Place,
) -> Plan:
    """Put models, recipe and request together. Raises LTX2Error if they cannot be."""
    lora = bundle.distilled_lora
    models = Models(
        transformer=bundle.model.transformer,
        video_encoder=bundle.video_vae.encoder,
        upscaler=None if bundle.upscaler is None else bundle.upscaler.part,
        statistics=bundle.video_vae.statistics,
        distilled_lora=None if lora is None else LoraUse(lora.lora),
        loras=(*bundle.model.loras, *guides.loras),
        place=place,
    )
    equipment = models.equipment(references=bool(guides.references))
    size = _for_references(size, guides)
    request = Request(
        clip=blank(size.shape, size.frame_rate, sound=settings.audio),
        positive=context.positive,
        negative=context.negative,
        guides=guides.guides,
        references=guides.references,
    )
    recipe = recipe_for(settings.recipe, equipment, settings.overrides)
    return Plan(recipe=recipe, models=models, request=request, size=size)


def generate(
    bundle: Bundle,
    context: PromptContext,
    size: ClipSize,
    guides: Guides,
    settings: Settings,
    place: Place,
    *,
    noise: NoiseSource | None = None,
    calls: Calls = Calls(),
) -> Clip:
    """Run a recipe and return the clip, not yet decoded."""
    made = plan(bundle, context, size, guides, settings, place)
    notices = [*context.notices, *lora_notices(bundle.model, guides)]
    result = run_recipe(
        made.recipe, made.models, made.request, seed=settings.seed, noise=noise, calls=calls
    )
    return Clip(
        latent=result.latent,
        video_vae=bundle.video_vae,
        audio_vae=bundle.audio_vae if settings.audio else None,
        seed=settings.seed,
        memory_budget=bundle.memory_budget,
        facts=_facts(bundle, context, made, settings, result, notices),
    )


def lora_notices(model: Model, guides: Guides) -> list[str]:
    """Say how far the guides' LoRAs fit the model; raises LTX2Error if one does not at all."""
    lines: list[str] = []
    for use in guides.loras:
        report = model.match(use.lora)
        lines += [str(report)] if report.unmatched else []
        lines += model.warnings(use.lora)
    return lines


def _for_references(size: ClipSize, guides: Guides) -> ClipSize:
    """Move the sides to what every reference's downscale factor divides, at half size too."""
    step = SIDE_STEP * lcm(*(reference.downscale for reference in guides.references), 1)
    shape = size.shape
    width, height = nearest_side(shape.width, step), nearest_side(shape.height, step)
    changes = [
        f"{name} {old} -> {new} (the reference needs multiples of {step})"
        for name, old, new in (("width", shape.width, width), ("height", shape.height, height))
        if old != new
    ]
    moved = VideoShape(shape.frames, height, width)
    return ClipSize(moved, size.frame_rate, (*size.adjustments, *changes))


def _facts(
    bundle: Bundle,
    context: PromptContext,
    made: Plan,
    settings: Settings,
    result: Result,
    notices: list[str],
) -> Mapping[str, Any]:
    return {
        "generation": bundle.generation,
        "recipe": settings.recipe,
        "seed": settings.seed,
        "steps": [len(stage.sigmas) - 1 for stage in made.recipe.stages],
        "prompt": context.prompt,
        "files": bundle.sources(),
        "adjustments": list(made.size.adjustments),
        "notices": [*notices, *result.notes],
        "seconds": {"text": context.seconds, **result.seconds},
    }
