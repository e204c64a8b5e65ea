"""Runs a recipe: each stage at its size, the upscaler in between, one clip at the end."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from torch import Tensor

from ..checkpoint.part import Part, Place
from ..conditioning.items import Item
from ..conditioning.state import LatentState
from ..errors import LTX2Error
from ..latents import AVLatent, Streams
from ..ops.layers import Check, never_cancelled
from ..transformer.config import TransformerConfig
from ..upscaler.model import Upscaler, upscale
from ..video_vae.statistics import Statistics
from .models import Models, Request
from .noise import NoiseSource, OwnNoise
from .preflight import UPSCALERS, check_run, fitted_guidance
from .stage import OnStep, StageInput, StageResult, noisy_states, run_stage
from .stages import Recipe, Stage
from .told import Encoded, encoder_of, needs_encoder, video_items, with_region

log = logging.getLogger(__name__)

#: Called with a phase's name when it begins: "guides", "stage 1", "upscale", "stage 2".
OnPhase: TypeAlias = Callable[[str], None]
#: Bytes a forward pass needs per token and channel of a stream: about twenty tensors of 16 bits.
BYTES_PER_VALUE = 40
#: Bytes of an attention mask per pair of tokens: as given in float32, and as added in 16 bits.
BYTES_PER_PAIR = 8


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Result:
    """A finished clip, and what is worth knowing of its making."""

    latent: AVLatent  # on the CPU, float32
    stages: tuple[StageResult, ...]
    notes: tuple[str, ...]  # adjustments; warnings begin with "warning:"
    seconds: dict[str, float] = field(default_factory=dict)  # by phase


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Calls:
    """Whom to tell about a run, and who may end it by raising."""

    on_phase: OnPhase | None = None
    on_step: OnStep | None = None
    check: Check = never_cancelled


def run_recipe(
    recipe: Recipe,
    models: Models,
    request: Request,
    *,
    seed: int = 0,
    noise: NoiseSource | None = None,  # None: our own order, from `seed`
    encoded: Encoded | None = None,  # None: by the models' video encoder
    audio: bool = True,  # False: picture only
    first_stage: int = 1,  # number of the recipe's first stage, where others ran before
    from_noise: bool | None = None,  # noise covers the start wholly; None: in stage 1 only
    max_batch_size: int = 1,  # guidance passes per call of the transformer
    calls: Calls = Calls(),
) -> Result:
    """Take a request through all stages of a recipe.

    Raises LTX2Error before anything long where models, request and recipe do not go together, and
    after a step whose result cannot be a clip.
    """
    if not audio:
        request = replace(request, clip=request.clip.with_audio(None))
    check_run(recipe, models, request, has_encoder=encoded is not None)
    source = OwnNoise(seed) if noise is None else noise
    notes = dict.fromkeys(recipe.notes)
    clock = _Clock(calls)
    done: list[StageResult] = []
    with torch.no_grad():
        for number, stage in enumerate(recipe.stages, start=first_stage):
            start = _first(stage, request) if not done else _next(models, request, done, clock)
            plans, changes = fitted_guidance(
                stage.guidance, models.transformer.network.config.num_layers
            )
            notes.update(dict.fromkeys(changes))
            given = StageInput(
                number=number,
                start=start,
                sigmas=stage.sigmas,
                sampler=stage.sampler,
                guidance=plans,
                prompts=request.prompts(),
                items=_told(stage, number, models, request, start, encoded, clock),
                frozen=request.frozen,
                noise=source,
                from_noise=number == 1 if from_noise is None else from_noise,
            )
            with clock.phase(f"stage {number}"):
                done.append(_walked(given, stage, models, max_batch_size, calls))
    log.info("%s: %s", recipe.name, ", ".join(f"{k} {v:.1f} s" for k, v in clock.seconds.items()))
    sound = done[recipe.sound_from].latent.audio
    return Result(
        latent=done[-1].latent.with_audio(sound),
        stages=tuple(done),
        notes=tuple(notes),
        seconds=clock.seconds,
    )


class _Clock:
    """Announces phases and counts their seconds."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time one phase; the run may be cancelled where it begins."""
        self._calls.check()
        if self._calls.on_phase is not None:
            self._calls.on_phase(name)
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def _first(stage: Stage, request: Request) -> AVLatent:
    """Return what the first stage starts from: the given clip, or nothing at half its size."""
    clip = request.clip
    if not stage.half or clip.video is None:
        return clip
    batch, channels, frames, height, width = clip.video.shape
    return clip.with_video(torch.zeros(batch, channels, frames, height // 2, width // 2))


def _next(models: Models, request: Request, done: list[StageResult], clock: _Clock) -> AVLatent:
    """Return what a later stage starts from: the picture so far upscaled, the sound as it is."""
    latent = done[-1].latent
    if latent.video is None:
        return latent
    upscaler, statistics = models.upscaler, models.statistics
    assert upscaler is not None and statistics is not None, "checked before the run"
    with clock.phase("upscale"):
        larger = upscaled_latent(latent.video, upscaler, statistics, models.place)
    wanted = request.clip.video
    assert wanted is not None
    if larger.shape != wanted.shape:
        raise LTX2Error(
            f"The upscaler makes {list(larger.shape[2:])} of {list(latent.video.shape[2:])} "
            f"latent cells, and {list(wanted.shape[2:])} are needed.",
            needed=UPSCALERS[models.generation], where="models/latent_upscale_models",
            code="wrong_role",
        )  # fmt: skip
    return latent.with_video(larger)


def upscaled_latent(
    latent: Tensor, upscaler: Part[Upscaler], statistics: Statistics, place: Place
) -> Tensor:
    """Return a normalised latent [B, C, F, h, w] enlarged, on the CPU in float32."""
    needed = upscaler.network.activation_bytes(*latent.shape[2:]) * latent.shape[0]
    with place(upscaler, activation_bytes=needed) as network:
        return upscale(network, latent, statistics).float().cpu()


def _told(
    stage: Stage,
    number: int,
    models: Models,
    request: Request,
    start: AVLatent,
    encoded: Encoded | None,
    clock: _Clock,
) -> Streams[list[Item]]:
    """Encode what a stage is shown, with the encoder only where there is something."""
    if encoded is not None or not needs_encoder(stage, request):
        video = video_items(stage, number, request, start, encoded)
    else:
        with clock.phase("guides"), encoder_of(models, request) as encode:
            video = video_items(stage, number, request, start, encode)
    return with_region(Streams(video, []), request)


def _walked(
    given: StageInput, stage: Stage, models: Models, max_batch_size: int, calls: Calls
) -> StageResult:
    """Bring the transformer with the stage's LoRAs and run the stage."""
    part = models.transformer
    states = noisy_states(given)
    needed = activation_bytes(part.network.config, states, max_batch_size)
    loras = models.loras_of(stage)
    with models.place(part, loras=loras, activation_bytes=needed) as transformer:
        result = run_stage(
            given,
            states,
            transformer,
            device=part.device or torch.device("cpu"),
            dtype=transformer.dtype,
            max_batch_size=max_batch_size,
            on_step=calls.on_step,
            check=calls.check,
        )
    latent = replace(
        result.latent,
        generation=models.generation,
        source=part.source,
        identity=part.identity,
    )
    return replace(result, latent=latent)


def activation_bytes(
    config: TransformerConfig, states: Streams[LatentState], max_batch_size: int = 1
) -> int:
    """Return about what one call of the transformer needs beside its weights."""
    total = 0
    for state, stream in ((states.video, config.video), (states.audio, config.audio)):
        if state is None or stream is None:
            continue
        batch, tokens, _ = state.tokens.shape
        values = tokens * stream.dim * BYTES_PER_VALUE
        if state.attention_mask is not None:
            values += tokens * tokens * BYTES_PER_PAIR
        total += batch * max_batch_size * values
    return total
