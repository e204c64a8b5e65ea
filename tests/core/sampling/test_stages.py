"""Recipes as data: what they contain, what the user may change, what they refuse."""

from math import inf

import pytest
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.sampling.guidance import Guidance, guidance_at
from ltx2_pack.ltx_core.sampling.preflight import fitted_guidance
from ltx2_pack.ltx_core.sampling.schedule import DISTILLED, REFINE, ltx2_schedule
from ltx2_pack.ltx_core.sampling.stages import (
    GUIDED,
    SIMPLE,
    Equipment,
    Overrides,
    Recipe,
    recipe_for,
)
from ltx2_pack.ltx_core.sampling.steps import Euler, EulerAncestral

DISTILLED_23 = Equipment(generation="2.3", checkpoint="ltx-2.3-22b-distilled.safetensors")
DEV_23 = Equipment(generation="2.3", checkpoint="ltx-2.3-22b-dev.safetensors", distilled_lora=True)


def guidance(recipe: Recipe, name: str, stage: int = 0) -> Guidance:
    """Return the guidance of one stream of a stage, which does not depend on sigma here."""
    return guidance_at(getattr(recipe.stages[stage].guidance, name), inf)


def test_fast_is_two_distilled_stages_with_the_second_ones_sound() -> None:
    recipe = recipe_for("fast", DISTILLED_23)
    first, second = recipe.stages
    assert (first.sigmas, second.sigmas) == (DISTILLED, REFINE)
    assert (first.half, second.half) == (True, False)
    assert (first.guidance, second.guidance) == (SIMPLE, SIMPLE)
    assert (first.distilled, second.distilled) == (0.0, 0.0)
    assert recipe.sound_from == 1
    assert recipe.notes == ()


def test_draft_is_the_first_stage_of_fast() -> None:
    draft, fast = (recipe_for(name, DISTILLED_23) for name in ("draft", "fast"))
    assert draft.stages == fast.stages[:1]
    assert draft.sound_from == 0


@pytest.mark.parametrize(
    ("generation", "steps", "block"), [("2.0", 40, 29), ("2.3", 30, 28), ("2.5", 30, 28)]
)
def test_pro_is_guided_as_its_generation_was_tuned(generation: str, steps: int, block: int) -> None:
    equipment = Equipment(generation=generation, checkpoint="dev", distilled_lora=True)
    recipe = recipe_for("pro", equipment)
    first, second = recipe.stages
    assert first.sigmas == ltx2_schedule(steps)
    common = {"stg": 1.0, "stg_blocks": (block,), "rescale": 0.7, "modality_scale": 3.0}
    assert guidance(recipe, "video") == Guidance(cfg=3.0, **common)
    assert guidance(recipe, "audio") == Guidance(cfg=7.0, **common)
    assert (second.sigmas, second.guidance) == (REFINE, SIMPLE)
    assert (first.distilled, second.distilled) == (0.0, None)
    assert recipe.sound_from == 0
    assert first.sampler == second.sampler == Euler()


def test_only_the_first_distilled_stage_of_2_5_adds_noise_between_steps() -> None:
    equipment = Equipment(generation="2.5", checkpoint="ltx-2.5-distilled")
    first, second = recipe_for("fast", equipment).stages
    assert (first.sampler, second.sampler) == (EulerAncestral(eta=1.0, s_noise=1.0), Euler())
    shown = Equipment(generation="2.5", checkpoint="ltx-2.5-distilled", references=True)
    assert recipe_for("fast", shown).stages[0].sampler == Euler()


def test_fast_on_a_dev_checkpoint_uses_the_distilled_lora_in_both_stages() -> None:
    recipe = recipe_for("fast", DEV_23)
    assert [stage.distilled for stage in recipe.stages] == [None, None]
    assert recipe.notes == ()


def test_fast_on_a_dev_checkpoint_without_the_lora_warns() -> None:
    equipment = Equipment(generation="2.3", checkpoint="ltx-2.3-22b-dev.safetensors")
    (note,) = recipe_for("fast", equipment).notes
    assert note.startswith("warning:")
    assert "ltx-2.3-22b-dev.safetensors" in note


def test_a_distilled_checkpoint_is_not_distilled_twice() -> None:
    equipment = Equipment(generation="2.3", checkpoint="x-distilled", distilled_lora=True)
    for name in ("fast", "pro"):
        recipe = recipe_for(name, equipment)
        assert [stage.distilled for stage in recipe.stages] == [0.0, 0.0]
        assert recipe.notes


@pytest.mark.parametrize("generation", ["2.0", "2.3", "2.5"])
def test_pro_without_a_distilled_lora_is_refused_and_names_the_file(generation: str) -> None:
    with pytest.raises(LTX2Error, match=GUIDED[generation].distilled_lora) as caught:
        recipe_for("pro", Equipment(generation=generation, checkpoint="dev"))
    assert caught.value.where == "models/loras"


@pytest.mark.parametrize("name", ["ultra", "turbo"])
def test_what_does_not_exist_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(LTX2Error, match=name):
        recipe_for(name, DEV_23)


def test_an_unknown_generation_is_refused_in_a_sentence() -> None:
    with pytest.raises(LTX2Error, match="generation"):
        recipe_for("fast", Equipment(generation="1.0", checkpoint="ltxv"))


def test_every_value_of_the_first_stage_can_be_overridden() -> None:
    overrides = Overrides(
        steps=12, cfg=4.0, audio_cfg=5.0, stg=0.5, modality_scale=2.0, rescale=0.3
    )
    recipe = recipe_for("pro", DEV_23, overrides)
    assert recipe.stages[0].sigmas == ltx2_schedule(12)
    common = {"stg": 0.5, "stg_blocks": (28,), "rescale": 0.3, "modality_scale": 2.0}
    assert guidance(recipe, "video") == Guidance(cfg=4.0, **common)
    assert guidance(recipe, "audio") == Guidance(cfg=5.0, **common)
    assert recipe.stages[1] == recipe_for("pro", DEV_23).stages[1]


def test_overriding_one_value_leaves_the_others() -> None:
    changed = recipe_for("pro", DEV_23, Overrides(cfg=2.0))
    plain = recipe_for("pro", DEV_23)
    assert guidance(changed, "video").cfg == 2.0
    assert guidance(changed, "audio") == guidance(plain, "audio")


def test_a_distilled_recipe_with_other_steps_keeps_its_ends() -> None:
    first = recipe_for("fast", DISTILLED_23, Overrides(steps=4)).stages[0]
    assert len(first.sigmas) == 5
    assert (first.sigmas[0], first.sigmas[-1]) == (1.0, 0.0)


def test_guidance_can_be_switched_on_in_a_distilled_recipe() -> None:
    recipe = recipe_for("fast", DISTILLED_23, Overrides(cfg=2.0, stg=1.0))
    assert guidance(recipe, "video") == Guidance(cfg=2.0, stg=1.0, stg_blocks=(28,))
    assert guidance(recipe, "video", stage=1).neutral


def test_beside_a_reference_the_users_loras_leave_before_the_second_stage() -> None:
    equipment = Equipment(generation="2.3", checkpoint="x-distilled", references=True, loras=True)
    recipe = recipe_for("fast", equipment)
    assert [stage.user_loras for stage in recipe.stages] == [True, False]
    assert [stage.references for stage in recipe.stages] == [True, False]
    assert any("LoRAs" in note for note in recipe.notes)


def test_stg_blocks_a_small_model_lacks_become_its_last_one() -> None:
    guidance, notes = fitted_guidance(recipe_for("pro", DEV_23).stages[0].guidance, 4)
    assert guidance_at(guidance.video, 1.0).stg_blocks == (3,)
    assert len(notes) == 1
    assert fitted_guidance(recipe_for("pro", DEV_23).stages[0].guidance, 48)[1] == []


def test_recipes_are_values() -> None:
    assert recipe_for("pro", DEV_23) == recipe_for("pro", DEV_23)
    assert hash(recipe_for("fast", DEV_23)) == hash(recipe_for("fast", DEV_23))
