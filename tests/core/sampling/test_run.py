"""Runs on a tiny transformer: what a run promises whoever calls it."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.checkpoint.lora import Lora, LoraUse
from ltx2_pack.ltx_core.checkpoint.lora_changes import LoraPair
from ltx2_pack.ltx_core.conditioning.guides import Guide, Reference
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.grid import VideoShape
from ltx2_pack.ltx_core.latents import AVLatent, Streams, blank
from ltx2_pack.ltx_core.sampling.guidance import Guidance, always
from ltx2_pack.ltx_core.sampling.models import Models, Request
from ltx2_pack.ltx_core.sampling.noise import NoiseShape, OwnNoise
from ltx2_pack.ltx_core.sampling.run import Calls, Result, run_recipe
from ltx2_pack.ltx_core.sampling.stage import StageInput, noisy_states
from ltx2_pack.ltx_core.sampling.stages import SIMPLE, Overrides, Recipe, Stage, recipe_for
from ltx2_pack.ltx_core.sampling.steps import Euler
from ltx2_pack.ltx_core.sampling.told import video_items
from ltx2_pack.ltx_core.text.context import TextContext
from ltx2_pack.ltx_core.upscaler.load import upscaler_part
from ltx2_pack.ltx_core.video_vae.statistics import read_statistics
from sampling_cases import model_weights, transformer_of
from torch import Tensor

#: One fixture gives the models; what is asked of them is our own.
GOLDENS = cases("i2v_two_stage", lambda g: g.metadata["model_version"].startswith("2.3"))[:1]
SIZE = VideoShape(9, 64, 128)
PICTURE = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
SHORT = Stage(sigmas=(1.0, 0.7, 0.3, 0.0))

pytestmark = pytest.mark.parametrize("golden", GOLDENS)


def models(golden: Golden, **changes: Any) -> Models:
    found = Models(
        transformer=transformer_of(golden),
        upscaler=upscaler_part(model_weights(golden, "upsampler")),
        statistics=read_statistics(model_weights(golden, "vae_stats")),
    )
    return replace(found, **changes)


def context(golden: Golden, side: str, **changes: Any) -> TextContext:
    given = golden.tensors("in.context.")
    video, audio = (given[f"{name}.{side}"] for name in ("video", "audio"))
    return TextContext(video=video, audio=audio, generation="2.3", **changes)


def request(golden: Golden, **changes: Any) -> Request:
    found = Request(
        clip=blank(SIZE, Fraction(48)),
        positive=context(golden, "pos"),
        negative=context(golden, "neg"),
    )
    return replace(found, **changes)


def encoded(source: Guide | Reference, stage: int, height: int, width: int) -> Tensor:
    """Stand in for the video encoder: a flat latent of the asked size."""
    frames = (source.frames.shape[0] - 1) // 8 + 1
    return torch.full((1, 128, frames, height // 32, width // 32), 0.5)


def run(golden: Golden, recipe: Recipe | str, **changes: Any) -> Result:
    """Run a recipe, with named changes of the models, the request or the call."""
    parts = {k: changes.pop(k) for k in [*changes] if k in Models.__dataclass_fields__}
    asked = {k: changes.pop(k) for k in [*changes] if k in Request.__dataclass_fields__}
    tools = models(golden, **parts)
    recipe = recipe_for(recipe, tools.equipment()) if isinstance(recipe, str) else recipe
    return run_recipe(recipe, tools, request(golden, **asked), **changes)


def one(stage: Stage = SHORT) -> Recipe:
    return Recipe(name="one", stages=(stage,))


def test_the_default_noise_comes_from_the_seed(golden: Golden) -> None:
    first, again, other = (run(golden, one(), seed=seed).latent for seed in (1, 1, 2))
    assert torch.equal(first.video, again.video) and torch.equal(first.audio, again.audio)
    assert not torch.equal(first.video, other.video)
    given = run(golden, one(), noise=OwnNoise(1)).latent
    assert torch.equal(given.video, first.video)


def test_fast_returns_the_second_stages_sound(golden: Golden) -> None:
    result = run(golden, "fast")
    first, second = result.stages
    assert result.latent.video.shape == blank(SIZE, Fraction(48)).video.shape
    assert first.latent.video.shape[3:] == (1, 2)
    assert torch.equal(result.latent.audio, second.latent.audio)
    assert not torch.equal(result.latent.audio, first.latent.audio)
    assert result.latent.generation == "2.3"


def distilled_lora(golden: Golden) -> LoraUse:
    name, weight = next(
        (n.removesuffix(".weight"), w)
        for n, w in transformer_of(golden).network.state_dict().items()
        if n.endswith("attn1.to_q.weight")
    )
    generator = torch.Generator().manual_seed(0)
    down, up = (
        torch.randn(s, generator=generator) for s in ((2, weight.shape[1]), (weight.shape[0], 2))
    )
    return LoraUse(Lora("distilled", {name: LoraPair(down, up)}), 1.0)


def test_pro_returns_the_first_stages_sound(golden: Golden) -> None:
    lora = distilled_lora(golden)
    tools = models(golden, distilled_lora=lora)
    recipe = recipe_for("pro", tools.equipment(), Overrides(steps=2))
    result = run_recipe(recipe, tools, request(golden))
    first, second = result.stages
    assert torch.equal(result.latent.audio, first.latent.audio)
    assert not torch.equal(first.latent.audio, second.latent.audio)
    assert any("stg blocks" in note for note in result.notes)


def test_a_lora_counts_in_the_stages_that_use_it(golden: Golden) -> None:
    lora = distilled_lora(golden)
    plain = run(golden, one(), distilled_lora=lora)
    merged = run(golden, one(replace(SHORT, distilled=None)), distilled_lora=lora)
    weaker = run(golden, one(replace(SHORT, distilled=0.5)), distilled_lora=lora)
    own = run(golden, one(), loras=(replace(lora, strength=0.5),))
    assert not torch.equal(plain.latent.video, merged.latent.video)
    assert not torch.equal(weaker.latent.video, merged.latent.video)
    assert torch.equal(weaker.latent.video, own.latent.video)


def test_draft_is_half_the_size(golden: Golden) -> None:
    result = run(golden, "draft", upscaler=None, statistics=None)
    assert result.latent.video.shape[3:] == (1, 2)
    assert len(result.stages) == 1


def test_without_sound_only_the_picture_is_made(golden: Golden) -> None:
    result = run(golden, "fast", audio=False)
    assert result.latent.audio is None
    assert result.latent.video.isfinite().all()


def test_batching_of_passes_does_not_matter(golden: Golden) -> None:
    guided = Guidance(cfg=3.0, stg=1.0, stg_blocks=(1,), rescale=0.7, modality_scale=3.0)
    recipe = one(replace(SHORT, guidance=Streams(always(guided), always(guided))))
    alone, together = (run(golden, recipe, max_batch_size=n).latent for n in (1, 4))
    torch.testing.assert_close(alone.video, together.video, rtol=0, atol=1e-4)
    torch.testing.assert_close(alone.audio, together.audio, rtol=0, atol=1e-4)


def test_several_clips_at_once_share_the_prompt(golden: Golden) -> None:
    two = blank(SIZE, Fraction(48), batch=2)
    guided = Guidance(cfg=3.0, stg=1.0, stg_blocks=(1,), modality_scale=3.0)
    recipe = one(replace(SHORT, guidance=Streams(always(guided), always(guided))))
    alone, together = (run(golden, recipe, clip=two, max_batch_size=n).latent for n in (1, 4))
    assert alone.video.shape[0] == alone.audio.shape[0] == 2
    assert not torch.equal(alone.video[0], alone.video[1])
    torch.testing.assert_close(alone.video, together.video, rtol=0, atol=1e-4)


def test_a_guide_of_full_strength_is_in_the_result(golden: Golden) -> None:
    result = run(golden, "fast", guides=(Guide(frames=PICTURE),), encoded=encoded)
    torch.testing.assert_close(result.latent.video[:, :, 0], torch.full((1, 128, 2, 4), 0.5))


def test_a_frozen_sound_is_returned_as_it_was_given(golden: Golden) -> None:
    clip = blank(SIZE, Fraction(48))
    sound = torch.linspace(-1, 1, clip.audio.numel()).reshape(clip.audio.shape)
    result = run(golden, "fast", clip=clip.with_audio(sound), frozen=Streams(False, True))
    assert torch.equal(result.latent.audio, sound)


def test_outside_a_region_the_clip_is_kept(golden: Golden) -> None:
    clip = blank(SIZE, Fraction(48))
    kept = AVLatent(video=clip.video + 0.3, audio=clip.audio + 0.2, frame_rate=clip.frame_rate)
    result = run(golden, one(), clip=kept, region=(0.05, 9.0)).latent
    assert torch.equal(result.video[:, :, 0], kept.video[:, :, 0])
    assert not torch.equal(result.video[:, :, 1], kept.video[:, :, 1])
    assert torch.equal(result.audio[:, :, :2], kept.audio[:, :, :2])


def test_a_region_over_everything_equals_no_region(golden: Golden) -> None:
    everything, nothing = (run(golden, one(), region=r).latent for r in ((0.0, 99.0), None))
    assert torch.equal(everything.video, nothing.video)
    assert torch.equal(everything.audio, nothing.audio)


def test_a_guide_leaves_the_noise_of_the_clip_unchanged(golden: Golden) -> None:
    def begun(guides: tuple[Guide, ...]) -> Streams[Tensor]:
        asked = request(golden, guides=guides)
        items = video_items(SHORT, 1, asked, asked.clip, encoded)
        states = noisy_states(
            StageInput(
                number=1,
                start=asked.clip,
                sigmas=SHORT.sigmas,
                sampler=Euler(),
                guidance=SIMPLE,
                prompts=asked.prompts(),
                items=Streams(items, []),
                frozen=asked.frozen,
                noise=OwnNoise(3),
                from_noise=True,
            )
        )
        return Streams(states.video.tokens, states.audio.tokens)

    plain = begun(())
    guided = begun((Guide(frames=PICTURE, time=0.1),))
    assert guided.video.shape[1] == plain.video.shape[1] + 8
    assert torch.equal(guided.video[:, : plain.video.shape[1]], plain.video)
    assert torch.equal(guided.audio, plain.audio)


def test_callers_hear_of_every_phase_and_step(golden: Golden) -> None:
    phases: list[str] = []
    steps: list[tuple[int, int, int]] = []

    def on_step(stage: int, done: int, total: int, denoised: AVLatent) -> None:
        steps.append((stage, done, total))
        assert denoised.video.shape[3:] == ((1, 2), (2, 4))[stage - 1]
        assert denoised.audio.shape == blank(SIZE, Fraction(48)).audio.shape

    calls = Calls(on_phase=phases.append, on_step=on_step)
    guide = Guide(frames=PICTURE, time=0.1)
    result = run(golden, "fast", guides=(guide,), encoded=encoded, calls=calls)
    assert phases == ["stage 1", "upscale", "stage 2"]
    assert steps == [(1, n, 8) for n in range(1, 9)] + [(2, n, 3) for n in range(1, 4)]
    assert [*result.seconds] == phases
    assert all(seconds >= 0 for seconds in result.seconds.values())


class CancelledError(Exception):
    """What a host raises to end a run."""


def test_a_run_can_be_cancelled_between_steps(golden: Golden) -> None:
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 4:
            raise CancelledError

    steps: list[int] = []
    calls = Calls(on_step=lambda stage, done, total, latent: steps.append(done), check=check)
    with pytest.raises(CancelledError):
        run(golden, "fast", calls=calls)
    assert steps == [1, 2]


def test_a_warning_of_the_recipe_is_in_the_result(golden: Golden) -> None:
    assert any(note.startswith("warning:") for note in run(golden, "draft").notes)


def test_a_result_that_is_no_number_stops_the_run_in_a_sentence(golden: Golden) -> None:
    positive = context(golden, "pos")
    broken = replace(positive, video=positive.video * float("nan"))
    steps: list[int] = []
    calls = Calls(on_step=lambda stage, done, total, latent: steps.append(done))
    with pytest.raises(LTX2Error, match=r"not a number.*step 1 of stage 1") as caught:
        run(golden, one(), positive=broken, calls=calls)
    assert caught.value.code == "not_finite"
    assert steps == []


def test_a_result_far_from_any_clip_stops_the_run_in_a_sentence(golden: Golden) -> None:
    strong = Guidance(cfg=1e7)
    recipe = one(replace(SHORT, guidance=Streams(always(strong), always(strong))))
    with pytest.raises(LTX2Error, match="deviation") as caught:
        run(golden, recipe)
    assert caught.value.code == "diverged"


@pytest.mark.parametrize("what", ["context", "latent", "upscaler"])
def test_parts_of_another_generation_are_refused_naming_both(golden: Golden, what: str) -> None:
    changes: dict[str, Any] = {}
    if what == "context":
        other = context(golden, "pos", source="gemma-other")
        changes["positive"] = replace(other, generation="2.0")
        named = "gemma-other"
    elif what == "latent":
        changes["clip"] = replace(blank(SIZE, Fraction(48)), generation="2.0")
        named = "the latent"
    else:
        upscaler = upscaler_part(model_weights(golden, "upsampler"))
        upscaler.generation = "2.0"
        changes["upscaler"] = upscaler
        named = upscaler.source
    with pytest.raises(LTX2Error, match="do not work together") as caught:
        run(golden, "fast", **changes)
    assert named in str(caught.value)
    assert transformer_of(golden).source in str(caught.value)


def test_two_stages_without_an_upscaler_are_refused_and_name_it(golden: Golden) -> None:
    with pytest.raises(LTX2Error, match=r"ltx-2\.3-spatial-upscaler-x2"):
        run(golden, "fast", upscaler=None)


def test_guides_without_an_encoder_are_refused_before_the_run(golden: Golden) -> None:
    with pytest.raises(LTX2Error, match="encoder"):
        run(golden, "fast", guides=(Guide(frames=PICTURE),))


def test_guidance_without_a_negative_prompt_is_refused_before_the_run(golden: Golden) -> None:
    recipe = one(replace(SHORT, guidance=Streams(always(Guidance(cfg=3.0)), SIMPLE.audio)))
    phases: list[str] = []
    with pytest.raises(LTX2Error, match="negative prompt"):
        run(golden, recipe, negative=None, calls=Calls(on_phase=phases.append))
    assert phases == []


def test_a_size_that_cannot_be_halved_is_refused_in_a_sentence(golden: Golden) -> None:
    with pytest.raises(LTX2Error, match="cannot be halved"):
        run(golden, "fast", clip=blank(VideoShape(9, 96, 128), Fraction(48)))


def test_keyframe_slots_need_a_model_that_knows_them(golden: Golden) -> None:
    with pytest.raises(LTX2Error, match="keyframes"):
        run(golden, "fast", keyframe_slots=(4,))


def test_nothing_to_make_is_refused(golden: Golden) -> None:
    empty = AVLatent(video=None, audio=None, frame_rate=Fraction(24))
    with pytest.raises(LTX2Error, match="neither picture nor sound"):
        run(golden, one(), clip=empty)


def test_a_given_picture_cannot_begin_at_half_size(golden: Golden) -> None:
    with pytest.raises(LTX2Error, match="half size"):
        run(golden, "fast", frozen=Streams(True, False))


def test_what_is_drawn_fits_the_state(golden: Golden) -> None:
    shape = NoiseShape((1, 128, 2, 2, 4), (8,))
    assert shape.all_tokens == (1, 24, 128)
    assert NoiseShape((1, 8, 5, 16)).all_tokens == (1, 5, 128)
