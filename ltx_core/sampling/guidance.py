"""Guidance: several predictions of the same state, combined into one, for each stream on its own.

A guided call makes up to four passes, in this order: `cond` (the prompt), `uncond` (the negative
prompt), `perturbed` (some blocks without self-attention, STG) and `isolated` (picture and sound do
not see each other). All work on what is seen behind the noise, in float32.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isclose
from typing import TypeAlias

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Guidance:
    """How strongly one stream is guided. The defaults are neutral: the prompt alone."""

    cfg: float = 1.0
    stg: float = 0.0
    stg_blocks: tuple[int, ...] | None = ()  # None: every block
    rescale: float = 0.0
    modality_scale: float = 1.0
    skip_step: int = 0

    @property
    def wants_uncond(self) -> bool:
        """Say whether the negative prompt matters."""
        return not isclose(self.cfg, 1.0)

    @property
    def wants_perturbed(self) -> bool:
        """Say whether skipping self-attention matters."""
        return not isclose(self.stg, 0.0)

    @property
    def wants_isolated(self) -> bool:
        """Say whether cutting picture from sound matters."""
        return not isclose(self.modality_scale, 1.0)

    @property
    def neutral(self) -> bool:
        """Say whether one pass is enough."""
        return not (self.wants_uncond or self.wants_perturbed or self.wants_isolated)

    def skips(self, step_index: int) -> bool:
        """Say whether the last result is used again at this step; never at step 0."""
        return step_index % (self.skip_step + 1) != 0


NEUTRAL = Guidance()

#: (upper sigma, guidance) pairs: the smallest upper sigma that is not below the current one counts.
GuidancePlan: TypeAlias = tuple[tuple[float, Guidance], ...]


def always(guidance: Guidance) -> GuidancePlan:
    """Return a plan that does not depend on sigma."""
    return ((inf, guidance),)


def guidance_at(plan: GuidancePlan, sigma: float) -> Guidance:
    """Return what counts at `sigma`; above all upper sigmas, the one of the largest."""
    reaching = [entry for entry in plan if entry[0] >= sigma]
    if reaching:
        return min(reaching, key=lambda entry: entry[0])[1]
    return max(plan, key=lambda entry: entry[0])[1]


def combine(guidance: Guidance, passes: Mapping[str, Tensor]) -> Tensor:
    """Return the guided prediction [B, N, C], in the prediction's dtype.

    A pass that is missing contributes nothing. The deviations of `rescale` are over the whole
    tensor, appended and given tokens included, as in the reference.
    """
    cond = passes["cond"].float()
    guided = cond
    if "uncond" in passes:
        guided = guided + (guidance.cfg - 1) * (cond - passes["uncond"].float())
    if "perturbed" in passes:
        guided = guided + guidance.stg * (cond - passes["perturbed"].float())
    if "isolated" in passes:
        guided = guided + (guidance.modality_scale - 1) * (cond - passes["isolated"].float())
    if guidance.rescale != 0:
        factor = cond.std() / guided.std()
        guided = guided * (guidance.rescale * factor + 1 - guidance.rescale)
    return guided.to(passes["cond"].dtype)


# Other ways to turn two predictions into a direction. Each returns what is added to `cond`; tensors
# are [B, ...] with B = 1, as their projections are over the whole tensor of a stream.


def cfg_delta(cond: Tensor, uncond: Tensor, scale: float) -> Tensor:
    """Return the plain classifier-free direction."""
    return (scale - 1) * (cond - uncond)


def cfg_star_delta(cond: Tensor, uncond: Tensor, scale: float) -> Tensor:
    """Return the direction away from `uncond` scaled to fit `cond` best (CFG-Zero*)."""
    fit = (cond * uncond).sum() / ((uncond * uncond).sum() + 1e-8)
    return (scale - 1) * (cond - fit * uncond)


def stg_delta(cond: Tensor, perturbed: Tensor, scale: float) -> Tensor:
    """Return the spatio-temporal direction."""
    return scale * (cond - perturbed)


def _projected(direction: Tensor, cond: Tensor, eta: float, norm_threshold: float) -> Tensor:
    """Limit a direction's length and weigh its part along `cond` by `eta`."""
    if norm_threshold > 0:
        length = direction.norm(p=2, dim=(-1, -2, -3), keepdim=True)
        direction = direction * torch.clamp(norm_threshold / length, max=1.0)
    along = (direction * cond).sum() / ((cond * cond).sum() + 1e-8) * cond
    return eta * along + direction - along


def apg_delta(
    cond: Tensor, uncond: Tensor, scale: float, *, eta: float = 1.0, norm_threshold: float = 0.0
) -> Tensor:
    """Return the adaptive projected direction (APG); tensors need at least three dimensions."""
    return (scale - 1) * _projected(cond - uncond, cond, eta, norm_threshold)


def momentum_apg_delta(
    cond: Tensor,
    uncond: Tensor,
    scale: float,
    average: Tensor | None,  # what the last call returned second; None at the first
    *,
    eta: float = 1.0,
    norm_threshold: float = 5.0,
    momentum: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return the older APG with a running direction, and that running direction.

    Reference: its factor is `scale`, not `scale` - 1.
    """
    direction = cond - uncond
    if momentum != 0 and average is not None:
        direction = average * momentum + direction
    return scale * _projected(direction, cond, eta, norm_threshold), direction
