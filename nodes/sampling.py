"""From noise to a clip."""

from typing import Any

from ..ltx_core.grid import ClipSize
from ..ltx_core.latents import AVLatent
from ..ltx_core.sampling import bundle as core
from ..ltx_core.sampling.context import PromptContext
from ..ltx_core.sampling.generate import Settings, generate
from ..ltx_core.sampling.single import (
    NOISES,
    SAMPLERS,
    SCHEDULES,
    GuidancePair,
    StageSettings,
    block_numbers,
    run_single,
    upscaled,
)
from ..ltx_core.sampling.stages import RECIPES, Overrides, check_recipe
from .choices import refusal
from .host.api import ADVANCED, also_called, io
from .host.memory import place
from .host.progress import Progress
from .report import told
from .sockets import (
    ClipSocket,
    ContextSocket,
    GuidanceSocket,
    GuidesSocket,
    LatentSocket,
    ModelSocket,
    ModelsSocket,
    SizeSocket,
    UpscalerSocket,
    VideoVAESocket,
)
from .watching import watched

OF_RECIPE = -1.0
HIGHEST_SEED = 0xFFFFFFFFFFFFFFFF


def _seed() -> Any:
    return io.Int.Input(
        "seed",
        default=7,
        min=0,
        max=HIGHEST_SEED,
        control_after_generate=True,
        tooltip="The same seed gives the same clip, on every machine.",
    )


def _override(name: str, tooltip: str, highest: float = 100.0, step: float = 0.1) -> Any:
    return io.Float.Input(
        name,
        default=OF_RECIPE,
        min=OF_RECIPE,
        max=highest,
        step=step,
        tooltip=f"{tooltip} -1 is the recipe's.",
        **ADVANCED,
    )


class LTX2Generate(io.ComfyNode):
    """A whole recipe in one node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2Generate",
            display_name="LTX-2 Generate",
            category="LTX-2/sampling",
            description="Makes the clip: all stages of a recipe, picture and sound together.",
            **also_called("ksampler", "sampler", "t2v", "text to video", "i2v"),
            inputs=[
                ModelsSocket.Input("models", tooltip="From LTX-2 Load."),
                ContextSocket.Input("context", tooltip="From LTX-2 Prompt."),
                SizeSocket.Input("size", tooltip="From LTX-2 Size."),
                GuidesSocket.Input(
                    "guides", optional=True, tooltip="Pictures and references to follow."
                ),
                io.Combo.Input(
                    "recipe",
                    options=[*RECIPES],
                    default="fast",
                    tooltip="Draft: half size, 8 steps. Fast: distilled, 8 and 3 steps. Pro: a dev "
                    "checkpoint, guided. Ultra comes later. Fast is good.",
                ),
                _seed(),
                io.Boolean.Input(
                    "audio", default=True, tooltip="Make sound with the picture. On is good."
                ),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=200,
                    tooltip="Steps of the first stage; 0 is the recipe's.",
                    **ADVANCED,
                ),
                _override("cfg", "How strongly the picture follows the prompt; 1 is off."),
                _override("audio_cfg", "How strongly the sound follows the prompt; 1 is off."),
                _override("stg", "Spatio-temporal guidance, for firmer motion; 0 is off."),
                _override("modality_scale", "How closely sound and picture agree; 1 is off."),
                _override("rescale", "How far guided contrast is pulled back, 0 to 1.", 1.0, 0.01),
            ],
            outputs=[
                ClipSocket.Output(
                    display_name="clip", tooltip="Decoded when it is saved. To Save Video."
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        models: core.Bundle,
        context: PromptContext,
        size: ClipSize,
        recipe: str,
        seed: int,
        audio: bool,
        guides: core.Guides | None = None,
        steps: int = 0,
        cfg: float = OF_RECIPE,
        audio_cfg: float = OF_RECIPE,
        stg: float = OF_RECIPE,
        modality_scale: float = OF_RECIPE,
        rescale: float = OF_RECIPE,
    ) -> io.NodeOutput:
        overrides = Overrides(
            steps=steps or None,
            cfg=_set(cfg),
            audio_cfg=_set(audio_cfg),
            stg=_set(stg),
            modality_scale=_set(modality_scale),
            rescale=_set(rescale),
        )
        settings = Settings(recipe=recipe, seed=seed, audio=audio, overrides=overrides)
        with watched(models.video_vae) as calls:
            clip = generate(
                models, context, size, guides or core.Guides(), settings, place, calls=calls
            )
        lines = [*clip.facts["notices"], *clip.facts["adjustments"]]
        return io.NodeOutput(clip, ui=told(f"seed {seed}", *lines, **clip.facts))

    @classmethod
    def validate_inputs(cls, recipe: Any = None) -> bool | str:
        return True if recipe is None else refusal(check_recipe, recipe)


def _set(value: float) -> float | None:
    return None if value < 0 else value


class LTX2Guidance(io.ComfyNode):
    """How strongly text and agreement pull, per stream."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        def scale(name: str, default: float, tooltip: str, highest: float = 100.0) -> Any:
            return io.Float.Input(
                name, default=default, min=0.0, max=highest, step=0.05, tooltip=tooltip
            )

        return io.Schema(
            node_id="LTX2Guidance",
            display_name="LTX-2 Guidance",
            category="LTX-2/sampling",
            description="Guidance of picture and sound by text, by skipped blocks and by each "
            "other, for a dev checkpoint. The defaults are the models' own.",
            **also_called("cfg guider", "modality cfg", "stg", "multimodal guider"),
            inputs=[
                scale("video_cfg", 3.0, "How strongly the picture follows the prompt; 1 is off."),
                scale("video_stg", 1.0, "Firmer motion of the picture; 0 is off."),
                scale("video_rescale", 0.7, "Pulls guided contrast back, 0 to 1.", 1.0),
                scale(
                    "video_modality", 3.0, "How closely the picture follows the sound; 1 is off."
                ),
                scale("audio_cfg", 7.0, "How strongly the sound follows the prompt; 1 is off."),
                scale("audio_stg", 1.0, "Firmer course of the sound; 0 is off."),
                scale("audio_rescale", 0.7, "Pulls guided loudness back, 0 to 1.", 1.0),
                scale(
                    "audio_modality", 3.0, "How closely the sound follows the picture; 1 is off."
                ),
                io.String.Input(
                    "stg_blocks",
                    default="auto",
                    tooltip="Blocks that stg skips, such as 14, 19. Auto is the generation's.",
                    **ADVANCED,
                ),
                io.Int.Input(
                    "skip_step",
                    default=0,
                    min=0,
                    max=10,
                    tooltip="Guide only every n + 1 steps, to save time. 0 guides all.",
                    **ADVANCED,
                ),
            ],
            outputs=[
                GuidanceSocket.Output(
                    display_name="guidance", tooltip="To the first stage sampler."
                )
            ],
        )

    @classmethod
    def execute(
        cls, stg_blocks: str = "auto", skip_step: int = 0, **scales: float
    ) -> io.NodeOutput:
        pair = GuidancePair.of(scales, stg_blocks=stg_blocks, skip_step=skip_step)
        return io.NodeOutput(pair)

    @classmethod
    def validate_inputs(cls, stg_blocks: Any = None) -> bool | str:
        return True if stg_blocks is None else refusal(block_numbers, str(stg_blocks))


class LTX2StageSampler(io.ComfyNode):
    """One walk down the noise levels at one size."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2StageSampler",
            display_name="LTX-2 Stage Sampler",
            category="LTX-2/sampling",
            description="One stage: noise is put on the latent and taken off again.",
            **also_called("ksampler", "sampler custom"),
            inputs=[
                LatentSocket.Input("latent", tooltip="Blank, or what came out of an upscale."),
                ModelSocket.Input("model", tooltip="The model with the LoRAs of this stage."),
                ContextSocket.Input("context", tooltip="From a prompt node."),
                GuidanceSocket.Input(
                    "guidance", optional=True, tooltip="From LTX-2 Guidance; empty is none."
                ),
                GuidesSocket.Input("guides", optional=True, tooltip="Pictures and references."),
                VideoVAESocket.Input("video_vae", optional=True, tooltip="Needed with guides."),
                io.Combo.Input(
                    "sampler",
                    options=[*SAMPLERS],
                    default="euler",
                    tooltip="How a step is made. Euler is what the official pipelines use.",
                ),
                io.Combo.Input(
                    "schedule",
                    options=[*SCHEDULES],
                    default="ltx2",
                    tooltip="Noise levels: ltx2 for a dev model; distilled for the first stage of "
                    "a distilled one; refine for a second stage.",
                ),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=200,
                    tooltip="0 is the schedule's own: 40 or 30 for ltx2, 8 distilled, 3 refine.",
                ),
                _seed(),
                io.Int.Input(
                    "stage",
                    default=1,
                    min=1,
                    max=9,
                    tooltip="Which stage of the clip this is: each draws other noise.",
                ),
                io.Boolean.Input(
                    "keep_sound",
                    default=False,
                    tooltip="Hand the incoming sound on; the stage works on a copy. On for the "
                    "second stage after guided sampling, as the official pipelines do.",
                ),
                io.Combo.Input(
                    "noise",
                    options=[*NOISES],
                    default="own",
                    tooltip="Order of random numbers. Own: guides do not change the clip's noise. "
                    "Official: the official pipelines' order.",
                    **ADVANCED,
                ),
            ],
            outputs=[
                LatentSocket.Output(display_name="latent", tooltip="To an upscale or decoder.")
            ],
        )

    @classmethod
    def execute(
        cls,
        latent: AVLatent,
        model: core.Model,
        context: PromptContext,
        sampler: str,
        schedule: str,
        steps: int,
        seed: int,
        stage: int,
        keep_sound: bool,
        guidance: GuidancePair | None = None,
        guides: core.Guides | None = None,
        video_vae: core.VideoVAE | None = None,
        noise: str = "own",
    ) -> io.NodeOutput:
        settings = StageSettings(
            sampler=sampler,
            schedule=schedule,
            steps=steps,
            seed=seed,
            stage=stage,
            keep_sound=keep_sound,
            noise=noise,
            guidance=guidance,
        )
        with watched(video_vae) as calls:
            made, notes = run_single(
                latent, model, context, guides or core.Guides(), video_vae, settings, place, calls
            )
        return io.NodeOutput(made, ui=told(f"seed {seed}", *notes, seed=seed, notices=notes))


class LTX2SpatialUpscale(io.ComfyNode):
    """A latent made larger, for the next stage."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTX2SpatialUpscale",
            display_name="LTX-2 Spatial Upscale",
            category="LTX-2/sampling",
            description="Makes a latent's picture larger; its sound is handed on.",
            **also_called("latent upscale", "ltxv latent upsampler"),
            inputs=[
                LatentSocket.Input("latent", tooltip="From the first stage sampler."),
                UpscalerSocket.Input("upscaler", tooltip="From Load Upscaler."),
                VideoVAESocket.Input("video_vae", tooltip="The model's own: its statistics count."),
            ],
            outputs=[
                LatentSocket.Output(display_name="latent", tooltip="To the next stage sampler.")
            ],
        )

    @classmethod
    def execute(
        cls, latent: AVLatent, upscaler: core.LatentUpscaler, video_vae: core.VideoVAE
    ) -> io.NodeOutput:
        with Progress.of_this_node().phase("upscale"):
            larger, warnings = upscaled(latent, upscaler, video_vae, place)
        return io.NodeOutput(larger, ui=told(*warnings, notices=warnings))


NODES = (LTX2Generate, LTX2Guidance, LTX2StageSampler, LTX2SpatialUpscale)
