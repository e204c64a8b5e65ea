"""From a state to what the transformer sees behind its noise, guided.

The only place that knows there is a prompt and a negative one. Letters: B batch, N tokens, C latent
channels, S text tokens.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from ..conditioning.state import LatentState
from ..errors import LTX2Error
from ..latents import Streams, each
from ..transformer.inputs import Perturbation, StreamInput
from .guidance import NEUTRAL, Guidance, GuidancePlan, always, combine, guidance_at
from .steps import denoised_of

#: (video, audio, perturbations) -> velocities [B, N, C]: the transformer.
Velocities: TypeAlias = Callable[
    [StreamInput | None, StreamInput | None, Sequence[Perturbation] | None],
    tuple[Tensor | None, Tensor | None],
]
#: Name of a pass -> what it saw behind the noise, per stream.
Passes: TypeAlias = dict[str, Streams[Tensor]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prompts:
    """What one stream is told: contexts [B, S, width]."""

    positive: Tensor
    negative: Tensor | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Guided:
    """A guided prediction, per stream: the result, and every pass that ran."""

    denoised: Streams[Tensor]
    passes: Passes


class Predictor:
    """Asks the transformer, as often as guidance wants, and combines the answers.

    Belongs to one walk down one schedule: it keeps the last result for streams that are skipped.
    """

    def __init__(
        self,
        transformer: Velocities,
        states: Streams[LatentState],
        prompts: Streams[Prompts],
        *,
        plans: Streams[GuidancePlan] = Streams(always(NEUTRAL), always(NEUTRAL)),
        dtype: torch.dtype = torch.float32,  # what the transformer computes in
        needs_uncond: bool = False,
        max_batch_size: int = 1,  # passes per call of the transformer
    ) -> None:
        self._transformer = transformer
        self._states = states
        self._plans = plans
        self._needs_uncond = needs_uncond
        self._max_batch_size = max_batch_size
        self._dtype = dtype
        self._last: Streams[Tensor] = Streams(None, None)
        self._prompts = each(self._fitting, states, prompts)

    def _fitting(self, state: LatentState, prompts: Prompts) -> Prompts:
        """Bring contexts to the state's batch and device and the transformer's dtype, once."""
        batch, device = state.tokens.shape[0], state.tokens.device

        def fitted(context: Tensor) -> Tensor:
            return context.to(device, self._dtype).expand(batch, -1, -1)

        negative = prompts.negative
        return Prompts(
            positive=fitted(prompts.positive),
            negative=None if negative is None else fitted(negative),
        )

    def __call__(self, x: Streams[Tensor], sigma: float, step_index: int) -> Guided:
        """Predict both streams at `sigma`; a skipped stream gets its last result again."""
        guidance = each(lambda _, plan: guidance_at(plan, sigma), self._states, self._plans)
        each(self._check, guidance, self._prompts, Streams("video", "audio"))
        skipped = each(lambda g: g.skips(step_index), guidance)
        if all(skipped.present()):
            return Guided(denoised=self._last, passes={})
        passes = self._passes(x, sigma, guidance, skipped)

        def result(guidance: Guidance, skip: bool, last: Tensor | None, name: str) -> Tensor:
            if skip:
                assert last is not None, "step 0 never skips"
                return last
            own = {key: getattr(streams, name) for key, streams in passes.items()}
            return combine(guidance, own)

        names = Streams("video", "audio")
        self._last = each(result, guidance, skipped, self._last, names)
        return Guided(denoised=self._last, passes=passes)

    def _check(self, guidance: Guidance, prompts: Prompts, name: str) -> None:
        if guidance.wants_uncond and prompts.negative is None:
            raise LTX2Error(
                f"Guidance of {name} with cfg {guidance.cfg:g} needs a negative prompt.",
                needed="a negative prompt (it may be empty), or cfg 1", code="no_negative",
            )  # fmt: skip

    def _passes(
        self,
        x: Streams[Tensor],
        sigma: float,
        guidance: Streams[Guidance],
        skipped: Streams[bool],
    ) -> Passes:
        """Run the passes that matter, in chunks of `max_batch_size`."""
        positive = each(lambda prompts: prompts.positive, self._prompts)
        plan: dict[str, tuple[Streams[Tensor], Perturbation]] = {"cond": (positive, Perturbation())}
        # What only a skipped stream asked for would be thrown away.
        wanted = [
            g for g, skip in zip(guidance.present(), skipped.present(), strict=True) if not skip
        ]
        if self._needs_uncond or any(g.wants_uncond for g in wanted):
            # A stream without a negative prompt hears its own prompt instead.
            negative = each(
                lambda p: p.positive if p.negative is None else p.negative, self._prompts
            )
            plan["uncond"] = (negative, Perturbation())
        if any(g.wants_perturbed for g in wanted):
            plan["perturbed"] = (
                positive,
                Perturbation(
                    skip_video_self=_skipped_blocks(guidance.video),
                    skip_audio_self=_skipped_blocks(guidance.audio),
                ),
            )
        # A stream that is alone is isolated anyway: that pass would add nothing.
        if len(guidance.present()) == 2 and any(g.wants_isolated for g in wanted):
            plan["isolated"] = (positive, Perturbation(skip_a2v=None, skip_v2a=None))

        inputs = each(lambda state, x: self._input(state, x, sigma), self._states, x)
        inputs = each(lambda i, skip: replace(i, enabled=not skip), inputs, skipped)
        found: Passes = {}
        for names in self._chunks(plan):
            velocities = self._run(inputs, [plan[name] for name in names])
            for number, name in enumerate(names):
                found[name] = each(
                    lambda x, i, v, n=number: denoised_of(
                        x, v[n * x.shape[0] : (n + 1) * x.shape[0]], i.timesteps
                    ),
                    x, inputs, velocities,
                )  # fmt: skip
        return found

    def _chunks(self, plan: Mapping[str, tuple[Streams[Tensor], Perturbation]]) -> list[list[str]]:
        """Share passes out among calls; contexts of different lengths cannot share one."""
        chunks: list[list[str]] = []
        for name, (contexts, _) in plan.items():
            shapes = [context.shape for context in contexts.present()]
            if chunks and len(chunks[-1]) < self._max_batch_size:
                others = plan[chunks[-1][0]][0].present()
                if shapes == [context.shape for context in others]:
                    chunks[-1].append(name)
                    continue
            chunks.append([name])
        return chunks

    def _input(self, state: LatentState, x: Tensor, sigma: float) -> StreamInput:
        """Return one stream's input but for the context, float32."""
        level = 0.0 if state.frozen else sigma
        return StreamInput(
            latent=x,
            sigma=torch.full((x.shape[0],), level, dtype=torch.float32, device=x.device),
            timesteps=state.denoise_mask * sigma,
            positions=state.positions,
            context=x,  # replaced by every pass
            attention_mask=state.attention_mask,
            keyframes_mask=state.keyframes_mask,
        )

    def _run(
        self,
        inputs: Streams[StreamInput],
        passes: Sequence[tuple[Streams[Tensor], Perturbation]],
    ) -> Streams[Tensor]:
        """Call the transformer once with the passes one after the other in the batch."""
        count = len(passes)

        def stacked(stream: StreamInput, *contexts: Tensor) -> StreamInput:
            return replace(
                _repeated(stream, count),
                latent=_repeat(stream.latent, count).to(self._dtype),
                context=torch.cat(contexts),
            )

        batch = inputs.present()[0].latent.shape[0]
        perturbations = [p for _, p in passes for _ in range(batch)]
        stream = each(stacked, inputs, *(contexts for contexts, _ in passes))
        plain = all(p == Perturbation() for p in perturbations)
        return Streams(
            *self._transformer(stream.video, stream.audio, None if plain else perturbations)
        )


def _skipped_blocks(guidance: Guidance | None) -> frozenset[int] | None:
    """Return the blocks whose self-attention a stream leaves out; None means all."""
    if guidance is None or not guidance.wants_perturbed:
        return frozenset()
    return None if guidance.stg_blocks is None else frozenset(guidance.stg_blocks)


def _repeat(tensor: Tensor, count: int) -> Tensor:
    return tensor if count == 1 else tensor.repeat(count, *(1 for _ in tensor.shape[1:]))


def _repeated(stream: StreamInput, count: int) -> StreamInput:
    """Repeat what a stream says of its tokens along the batch."""

    def maybe(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else _repeat(tensor, count)

    return replace(
        stream,
        sigma=_repeat(stream.sigma, count),
        timesteps=_repeat(stream.timesteps, count),
        positions=_repeat(stream.positions, count),
        attention_mask=maybe(stream.attention_mask),
        keyframes_mask=maybe(stream.keyframes_mask),
    )
