"""The whole network against the reference implementation, every variant of every recorded model."""

from typing import Any

import pytest
import torch
from golden import Golden, cases
from no_float64 import NoFloat64
from transformers_at_hand import CPU, part_of, perturbations_of, stream_of

PARAMETERS = [
    pytest.param(
        case.values[0], variant, id=f"{case.id}-{variant['name']}", marks=pytest.mark.golden
    )
    for case in cases("transformer")
    for variant in case.values[0].case["variants"]
]


@pytest.mark.parametrize(("golden", "variant"), PARAMETERS)
@torch.no_grad()
def test_matches_the_reference(golden: Golden, variant: dict[str, Any]) -> None:
    network = part_of(golden).lay_out(CPU)
    video, audio = stream_of(golden, "video", variant), stream_of(golden, "audio", variant)
    hidden: dict[str, torch.Tensor] = {}
    for number, block in enumerate(network.transformer_blocks):
        block.register_forward_hook(_keep_in(hidden, number))

    velocities = network(video, audio, perturbations_of(variant))

    recorded = golden.tensors("out.")
    for name, stream, velocity in zip(("video", "audio"), (video, audio), velocities, strict=True):
        if stream is None:
            assert velocity is None and f"{variant['name']}.{name}_velocity" not in recorded
            continue
        golden.check(f"{variant['name']}.{name}_velocity", velocity)
        denoised = stream.latent.float() - velocity.float() * stream.timesteps
        golden.check(f"{variant['name']}.{name}_x0", denoised.to(stream.latent.dtype))
    for key in recorded:
        own, _, place = key.rpartition(".")
        if own == variant["name"] and "_hidden_" in place:
            golden.check(key, hidden[place])


def _keep_in(hidden: dict[str, torch.Tensor], number: int) -> Any:
    def keep(_module: Any, _inputs: Any, streams: tuple[torch.Tensor | None, ...]) -> None:
        for name, x in zip(("video", "audio"), streams, strict=True):
            if x is not None:
                hidden[f"{name}_hidden_{number}"] = x

    return keep


@pytest.mark.parametrize("golden", cases("transformer"))
@torch.no_grad()
def test_makes_no_float64_tensor(golden: Golden) -> None:
    network = part_of(golden).lay_out(CPU)
    video, audio = stream_of(golden, "video", {}), stream_of(golden, "audio", {})
    with NoFloat64():
        network(video, audio)
