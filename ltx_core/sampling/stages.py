"""Recipes as data: which stages a clip goes through, and with what.

The only place that knows a default of guidance, steps or schedule. Everything official, except that
`draft` and its name are ours.
"""

from dataclasses import dataclass, replace

from ..errors import LTX2Error
from ..latents import Streams, each
from .guidance import NEUTRAL, Guidance, GuidancePlan, always
from .schedule import DISTILLED, REFINE, Sigmas, ltx2_schedule, resampled
from .steps import Euler, EulerAncestral, Sampler

#: One pass, no guidance: what distilled models need.
SIMPLE: Streams[GuidancePlan] = Streams(always(NEUTRAL), always(NEUTRAL))
EULER = Euler()


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One walk down the noise levels at one size."""

    sigmas: Sigmas
    half: bool = False  # at half the clip's sides
    sampler: Sampler = EULER
    guidance: Streams[GuidancePlan] = SIMPLE
    user_loras: bool = True
    distilled: float | None = 0.0  # strength of the distilled LoRA; None: as it was loaded
    references: bool = False  # look at IC-LoRA references
    slots: bool = False  # generate keyframes along with the clip

    @property
    def guided(self) -> bool:
        """Say whether any stream asks for more than one pass."""
        return any(not g.neutral for plan in self.guidance.present() for _, g in plan)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Stages one after the other; each begins from the upscaled result of the one before."""

    name: str
    stages: tuple[Stage, ...]
    sound_from: int = 0  # index of the stage whose sound is returned
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Overrides:
    """What the user sets differently in stage 1; None (steps: 0 too) leaves the recipe's value."""

    steps: int | None = None
    cfg: float | None = None
    audio_cfg: float | None = None
    stg: float | None = None
    modality_scale: float | None = None
    rescale: float | None = None

    def applied(
        self, guidance: Streams[Guidance], stg_blocks: tuple[int, ...]
    ) -> Streams[Guidance]:
        """Return guidance with the user's values; one that asks for STG gets its blocks."""
        shared = {
            name: value
            for name, value in (
                ("stg", self.stg),
                ("modality_scale", self.modality_scale),
                ("rescale", self.rescale),
            )
            if value is not None
        }

        def one(guidance: Guidance, cfg: float | None) -> Guidance:
            changed = replace(guidance, **shared)
            changed = changed if cfg is None else replace(changed, cfg=cfg)
            if not changed.wants_perturbed or changed.stg_blocks:
                return changed
            return replace(changed, stg_blocks=stg_blocks)

        return each(one, guidance, Streams(self.cfg, self.audio_cfg))


@dataclass(frozen=True, slots=True)
class GuidedDefaults:
    """What the full models of one generation were tuned for."""

    steps: int
    stg_blocks: tuple[int, ...]
    distilled_lora: str  # the file that goes with it

    @property
    def guidance(self) -> Streams[Guidance]:
        """Return the guidance of both streams."""
        video = Guidance(
            cfg=3.0, stg=1.0, stg_blocks=self.stg_blocks, rescale=0.7, modality_scale=3.0
        )
        return Streams(video, replace(video, cfg=7.0))


GUIDED = {
    "2.0": GuidedDefaults(40, (29,), "ltx-2-19b-distilled-lora-384.safetensors"),
    "2.3": GuidedDefaults(30, (28,), "ltx-2.3-22b-distilled-lora-384.safetensors"),
    "2.5": GuidedDefaults(30, (28,), "ltx-2.5-22b-distilled-lora-450-bf16.safetensors"),
}

RECIPES = ("draft", "fast", "pro", "ultra")


@dataclass(frozen=True, kw_only=True, slots=True)
class Equipment:
    """What is known of the models when a recipe is chosen."""

    generation: str
    checkpoint: str  # name of the transformer's file
    distilled_lora: bool = False
    loras: bool = False
    references: bool = False

    @property
    def distilled(self) -> bool:
        """Say whether the checkpoint calls itself distilled."""
        return "distilled" in self.checkpoint.lower()


def recipe_for(name: str, equipment: Equipment, overrides: Overrides = Overrides()) -> Recipe:
    """Return a recipe by name, fitted to the models at hand.

    Raises LTX2Error `recipe` for one that does not exist or cannot run with them.
    """
    check_recipe(name)
    if name == "pro":
        return _guided(equipment, overrides)
    return _distilled(name, equipment, overrides)


def check_recipe(name: str) -> None:
    """Refuse a name that no recipe has, or one that is not there yet."""
    if name == "ultra":
        raise LTX2Error(
            "The recipe ultra is not available yet.",
            needed="pro or fast", where="the widget recipe", code="recipe",
        )  # fmt: skip
    if name not in RECIPES:
        raise LTX2Error(
            f"There is no recipe called {name}.",
            needed=f"one of {', '.join(RECIPES)}", where="the widget recipe", code="recipe",
        )  # fmt: skip


def _distilled(name: str, equipment: Equipment, overrides: Overrides) -> Recipe:
    """Return two stages without guidance, 8 + 3 steps; `draft` is the first of them alone."""
    notes = []
    uses_lora = equipment.distilled_lora and not equipment.distilled
    if equipment.distilled_lora and equipment.distilled:
        notes.append(f"{equipment.checkpoint} is distilled already: the distilled LoRA is not used")
    if not uses_lora and not equipment.distilled:
        notes.append(
            f"warning: {equipment.checkpoint} does not look distilled; {name} needs a distilled "
            f"checkpoint, or {_defaults(equipment).distilled_lora} with it, and will look poor"
        )
    # Fresh noise between steps is of 2.5, but not where a reference is looked at.
    ancestral = equipment.generation == "2.5" and not equipment.references
    guidance = overrides.applied(Streams(NEUTRAL, NEUTRAL), _defaults(equipment).stg_blocks)
    first = Stage(
        sigmas=resampled(DISTILLED, overrides.steps) if overrides.steps else DISTILLED,
        half=True,
        sampler=EulerAncestral() if ancestral else Euler(),
        guidance=each(always, guidance),
        distilled=None if uses_lora else 0.0,
        references=True,
        slots=True,
    )
    if name == "draft":
        return Recipe(name=name, stages=(first,), notes=tuple(notes))
    second = _refining(equipment, uses_lora, notes)
    return Recipe(name=name, stages=(first, second), sound_from=1, notes=tuple(notes))


def _guided(equipment: Equipment, overrides: Overrides) -> Recipe:
    """Return the full model's guided stage and a distilled second one; stage 1's sound is kept."""
    defaults = _defaults(equipment)
    if not equipment.distilled_lora:
        raise LTX2Error(
            "The recipe pro refines its second stage with a distilled LoRA, and none is loaded.",
            needed=defaults.distilled_lora, where="models/loras", code="component_missing",
        )  # fmt: skip
    notes = []
    if equipment.distilled:
        notes.append(
            f"warning: {equipment.checkpoint} is distilled; pro guides the full (dev) model"
        )
    guidance = overrides.applied(defaults.guidance, defaults.stg_blocks)
    first = Stage(
        sigmas=ltx2_schedule(overrides.steps or defaults.steps),
        half=True,
        guidance=each(always, guidance),
        references=True,
        slots=True,
    )
    second = _refining(equipment, not equipment.distilled, notes)
    return Recipe(name="pro", stages=(first, second), sound_from=0, notes=tuple(notes))


def _refining(equipment: Equipment, uses_lora: bool, notes: list[str]) -> Stage:
    """Return the second stage; where there is a reference, it runs without the user's LoRAs."""
    if equipment.references and equipment.loras:
        notes.append("LoRAs count in stage 1 only, because of the reference")
    return Stage(
        sigmas=REFINE,
        user_loras=not equipment.references,
        distilled=None if uses_lora else 0.0,
    )


def _defaults(equipment: Equipment) -> GuidedDefaults:
    if equipment.generation not in GUIDED:
        raise LTX2Error(
            f"{equipment.checkpoint} is of generation {equipment.generation or 'unknown'}.",
            needed=f"a model of {', '.join(GUIDED)}", where="models/checkpoints",
            code="generation_mismatch",
        )  # fmt: skip
    return GUIDED[equipment.generation]
