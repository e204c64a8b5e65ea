"""What would stop a run later is refused before it begins, in a sentence."""

from dataclasses import replace

from ..checkpoint.part import Part
from ..errors import LTX2Error
from ..latents import Streams, each
from ..upscaler.model import Upscaler
from .guidance import GuidancePlan
from .models import Models, Request, check_together
from .stages import Recipe, Stage

#: The upscaler between two stages, by generation.
UPSCALERS = {
    "2.0": "ltx-2-spatial-upscaler-x2-1.0.safetensors",
    "2.3": "ltx-2.3-spatial-upscaler-x2-1.1.safetensors",
    "2.5": "ltx-2.5-latent-spatial-upscaler-x2-bf16-1.0.safetensors",
}


def check_run(
    recipe: Recipe, models: Models, request: Request, *, has_encoder: bool = False
) -> None:
    """Refuse a run that cannot be finished with these models. Raises LTX2Error.

    `has_encoder`: guides are encoded by somebody else, so the models need no encoder.
    """
    check_together(models, request)
    _check_streams(models, request)
    _check_parts(recipe, models, request, has_encoder)
    _check_size(recipe, request)
    _check_negative(recipe, request)


def fitted_guidance(
    guidance: Streams[GuidancePlan], num_layers: int
) -> tuple[Streams[GuidancePlan], list[str]]:
    """Move STG blocks a shorter transformer does not have to its last one, and say so."""
    notes: dict[str, None] = {}

    def one(plan: GuidancePlan) -> GuidancePlan:
        entries = []
        for sigma, entry in plan:
            blocks = entry.stg_blocks
            if blocks and max(blocks) >= num_layers and entry.wants_perturbed:
                fitting = tuple(dict.fromkeys(min(block, num_layers - 1) for block in blocks))
                notes[f"stg blocks {[*blocks]} -> {[*fitting]} ({num_layers} blocks)"] = None
                entry = replace(entry, stg_blocks=fitting)
            entries.append((sigma, entry))
        return tuple(entries)

    return each(one, guidance), [*notes]


def _check_streams(models: Models, request: Request) -> None:
    config = models.transformer.network.config
    clip = request.clip
    for name, wanted, there in (
        ("picture", clip.video, config.video),
        ("sound", clip.audio, config.audio),
    ):
        if wanted is not None and there is None:
            raise LTX2Error(
                f"{models.transformer.source} makes no {name}.",
                needed=f"a transformer with a stream for {name}", code="wrong_role",
            )  # fmt: skip
    if clip.video is None and clip.audio is None:
        raise LTX2Error("There is neither picture nor sound to be made.", code="nothing_to_do")
    if request.keyframe_slots and (config.video is None or not config.video.marks_keyframes):
        raise LTX2Error(
            f"{models.transformer.source} cannot generate keyframes of their own.",
            needed="a model of LTX-2.5", code="generation_mismatch",
        )  # fmt: skip


def _check_parts(recipe: Recipe, models: Models, request: Request, has_encoder: bool) -> None:
    has_encoder = has_encoder or models.video_encoder is not None
    if (request.guides or request.references) and not has_encoder:
        raise LTX2Error(
            "Guides and references need the video VAE's encoder, and none is loaded.",
            needed="a checkpoint or video VAE file", where="models/checkpoints or models/vae",
            code="component_missing",
        )  # fmt: skip
    upscales = len(recipe.stages) > 1 and request.clip.video is not None
    if upscales and (models.upscaler is None or models.statistics is None):
        raise LTX2Error(
            f"The recipe {recipe.name} has two stages and needs a spatial upscaler between them.",
            needed=UPSCALERS.get(models.generation, "the generation's spatial x2 upscaler"),
            where="models/latent_upscale_models", code="component_missing",
        )  # fmt: skip
    if upscales and models.upscaler is not None:
        _check_upscaler(recipe, models.upscaler, models.generation)


def _check_upscaler(recipe: Recipe, upscaler: Part[Upscaler], generation: str) -> None:
    time, side = upscaler.network.config.scale
    if (time, side) != (1.0, 2.0):
        raise LTX2Error(
            f"{upscaler.source} makes {time:g} times as many frames and sides {side:g} times as "
            f"long; the recipe {recipe.name} doubles the sides and nothing else.",
            needed=UPSCALERS.get(generation, "the generation's spatial x2 upscaler"),
            where="models/latent_upscale_models", code="wrong_role",
        )  # fmt: skip


def _check_size(recipe: Recipe, request: Request) -> None:
    video = request.clip.video
    if video is None or not any(stage.half for stage in recipe.stages):
        return
    if video.shape[3] % 2 or video.shape[4] % 2:
        raise LTX2Error(
            f"{video.shape[4] * 32}x{video.shape[3] * 32} cannot be halved for the first stage.",
            needed="sides that are multiples of 64", where="LTX-2 Size", code="size",
        )  # fmt: skip
    if request.frozen.video or request.region is not None:
        raise LTX2Error(
            f"The recipe {recipe.name} begins at half size, where a given picture cannot be kept.",
            needed="a recipe of one stage at full size", code="recipe",
        )  # fmt: skip


def _check_negative(recipe: Recipe, request: Request) -> None:
    if request.negative is None and any(_wants_uncond(stage) for stage in recipe.stages):
        raise LTX2Error(
            f"The recipe {recipe.name} guides away from a negative prompt, and there is none.",
            needed="a negative prompt (it may be empty), or cfg 1", code="no_negative",
        )  # fmt: skip


def _wants_uncond(stage: Stage) -> bool:
    return any(g.wants_uncond for plan in stage.guidance.present() for _, g in plan)
