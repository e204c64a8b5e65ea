"""One stage: conditioning, noise, loop, strip."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ..conditioning.items import Item, conditioned, frozen
from ..conditioning.state import LatentState, audio_state, video_state
from ..errors import LTX2Error
from ..latents import AVLatent, Streams, each
from ..ops.layers import Check, never_cancelled
from .denoise import denoise
from .guidance import GuidancePlan
from .noise import NoiseShape, NoiseSource
from .predict import Predictor, Prompts, Velocities
from .schedule import Sigmas
from .steps import Prediction, Sampler, noised

#: (stage from 1, steps done, steps in all, what is seen behind the noise, on the CPU).
OnStep: TypeAlias = Callable[[int, int, int, AVLatent], None]
#: Deviation of a prediction after one step; a model that runs as it was trained is near 1.
PLAUSIBLE = (1e-4, 1e3)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StageResult:
    """What came out of one stage, on the CPU in float32."""

    latent: AVLatent
    keyframes: Tensor | None = None  # [B, C, K, h, w] generated on their own


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StageInput:
    """All that one stage is given besides the transformer."""

    number: int  # from 1
    start: AVLatent  # content counts where noise does not cover it
    sigmas: Sigmas
    sampler: Sampler
    guidance: Streams[GuidancePlan]
    prompts: Streams[Prompts]
    items: Streams[list[Item]]
    frozen: Streams[bool]
    noise: NoiseSource
    from_noise: bool  # noise covers the start wholly, else as far as the first sigma says

    @property
    def noise_scale(self) -> float:
        """How much noise covers the start."""
        return 1.0 if self.from_noise else self.sigmas[0]


def run_stage(
    given: StageInput,
    states: Streams[LatentState],  # of `noisy_states`
    transformer: Velocities,
    *,
    device: torch.device,
    dtype: torch.dtype,  # what the transformer computes in
    max_batch_size: int = 1,
    on_step: OnStep | None = None,
    check: Check = never_cancelled,
) -> StageResult:
    """Walk one stage's noise levels; the state is float32 on `device`.

    Raises LTX2Error `not_finite` or `diverged` after a step whose result cannot be a clip.
    """
    shapes = each(_shape, states)
    states = each(lambda state: state.to(device), states)
    predictor = Predictor(
        transformer,
        states,
        given.prompts,
        plans=given.guidance,
        dtype=dtype,
        needs_uncond=given.sampler.needs_uncond,
        max_batch_size=max_batch_size,
    )

    def predict(x: Streams[Tensor], sigma: float, index: int) -> Prediction:
        guided = predictor(x, sigma, index)
        return Prediction(guided.denoised, guided.passes.get("uncond"))

    def stepped(done: int, total: int, denoised: Streams[Tensor]) -> None:
        _check_plausible(given.number, done, states, denoised)
        if on_step is not None:
            on_step(given.number, done, total, _clip(given.start, states, denoised))

    tokens = denoise(
        each(lambda state: state.tokens, states),
        given.sigmas,
        predict,
        sampler=given.sampler,
        masks=each(lambda state: state.denoise_mask, states),
        clean=each(lambda state: state.clean, states),
        noise=given.noise.loop(given.number, shapes),
        on_step=stepped,
        check=check,
    )
    keyframes = None
    if states.video is not None and tokens.video is not None:
        keyframes = states.video.keyframes(tokens.video)
    return StageResult(
        latent=_clip(given.start, states, tokens),
        keyframes=None if keyframes is None else keyframes.cpu(),
    )


def noisy_states(given: StageInput) -> Streams[LatentState]:
    """Return both streams as their stage begins, on the CPU: conditioned, noised, then frozen."""
    start = given.start
    states = Streams(
        None if start.video is None else video_state(start.video.float(), start.frame_rate),
        None if start.audio is None else audio_state(start.audio.float()),
    )
    states = each(conditioned, states, given.items)
    noise = given.noise.initial(given.number, each(_shape, states))

    def begun(state: LatentState, noise: Tensor, freeze: bool | None) -> LatentState:
        scale = 0.0 if freeze else given.noise_scale
        state = state.with_tokens(
            noised(state.tokens, state.clean, state.denoise_mask, noise.float(), scale)
        )
        return frozen(state) if freeze else state

    return each(begun, states, noise, given.frozen)


def _shape(state: LatentState) -> NoiseShape:
    return NoiseShape(state.target_shape, state.appended)


def _clip(start: AVLatent, states: Streams[LatentState], tokens: Streams[Tensor]) -> AVLatent:
    """Strip what was appended and put the clip together, on the CPU."""
    latents = each(lambda state, tokens: state.latent(tokens).cpu(), states, tokens)
    return start.with_video(latents.video).with_audio(latents.audio)


def _check_plausible(
    stage: int, done: int, states: Streams[LatentState], denoised: Streams[Tensor]
) -> None:
    """Stop a run whose result is already lost: after every step NaN, after the first its size."""

    def one(state: LatentState, tokens: Tensor, name: str) -> None:
        if state.frozen:
            return
        if not bool(tokens.isfinite().all()):
            raise LTX2Error(
                f"The {name} is not a number any more after step {done} of stage {stage}.",
                needed="an undamaged checkpoint, or a computation in bfloat16 or float32",
                code="not_finite",
            )
        generated = tokens[state.denoise_mask[..., 0] > 0.5]  # [., C]
        if done > 1 or generated.numel() < 2:
            return
        deviation = generated.std().item()
        if not PLAUSIBLE[0] <= deviation <= PLAUSIBLE[1]:
            raise LTX2Error(
                f"The {name} has a deviation of {deviation:.3g} after the first step of stage "
                f"{stage}, where a clip has about 1.",
                needed="a checkpoint, LoRAs and text encoder that belong together, "
                "and guidance near the recipe's",
                code="diverged",
            )

    each(one, states, denoised, Streams("picture", "sound"))
