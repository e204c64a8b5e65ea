"""Timestep embedding against the reference implementation, and which token takes which row."""

from dataclasses import replace

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.checkpoint.keys import assign, rename
from ltx2_pack.ltx_core.transformer.adaln import (
    AdaLN,
    Spread,
    added,
    distinct,
    scaled_and_shifted,
    sinusoids,
)
from transformers_at_hand import small_streams, small_transformer


@pytest.mark.parametrize("golden", cases("timestep_embedding"))
@torch.no_grad()
def test_matches_the_reference(golden: Golden) -> None:
    case, weights = golden.case, golden.tensors("weights.")
    layer = AdaLN(case["dim"], case["coefficient"], device=torch.device("meta"))
    prefix = f"model.diffusion_model.{case['module']}."
    assign(layer, {name: weights[key] for key, name in rename(weights, ((prefix, ""),)).items()})
    timesteps = golden.tensors("in.")["timesteps"]
    modulation, embedding = layer(timesteps[None], torch.float32)
    golden.check("sinusoid", sinusoids(timesteps))
    golden.check("embedded_timestep", embedding[0])
    golden.check("modulation", modulation[0].flatten(1))


def test_equal_timesteps_are_embedded_once() -> None:
    values, spread = distinct(torch.full((2, 7, 1), 0.5))
    assert values.shape == (2, 1)
    assert spread == Spread((7,))


def test_runs_are_found_across_the_batch() -> None:
    timesteps = torch.tensor([[0.0, 0.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0, 0.5]])
    values, spread = distinct(timesteps.unsqueeze(-1))
    assert spread == Spread((1, 1, 2, 1))
    assert values.tolist() == [[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.5]]


@pytest.mark.parametrize("runs", [(6,), (2, 1, 3)])
def test_runs_and_single_rows_agree(runs: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x, update = (torch.randn(2, 6, 4, generator=generator) for _ in range(2))
    scale, shift = (torch.randn(2, len(runs), 4, generator=generator) for _ in range(2))
    own = torch.arange(len(runs)).repeat_interleave(torch.tensor(runs))  # [N]
    index = own + torch.tensor([[0], [len(runs)]])  # [B, N]
    flat = Spread(index=index)
    row = scale.flatten(0, 1)[None], shift.flatten(0, 1)[None]
    before = x.clone(), update.clone()
    torch.testing.assert_close(
        scaled_and_shifted(x, scale, shift, Spread(runs)), scaled_and_shifted(x, *row, flat)
    )
    torch.testing.assert_close(
        added(x, update, scale, Spread(runs)), added(x, update, row[0], flat)
    )
    torch.testing.assert_close(added(x, update, scale, Spread(runs)), x + update * scale[:, own])
    assert torch.equal(x, before[0]) and torch.equal(update, before[1])


@torch.no_grad()
def test_one_timestep_per_item_says_the_same_as_one_per_token() -> None:
    network, streams = small_transformer(), small_streams(batch=2)
    short = {
        name: replace(stream, timesteps=stream.timesteps[:, :1]) for name, stream in streams.items()
    }
    torch.testing.assert_close(network(**short), network(**streams), rtol=0, atol=0)


@torch.no_grad()
def test_the_order_of_tokens_does_not_matter() -> None:
    """Sorted by timestep the tokens form two runs; shuffled, each looks its row up."""
    network, streams = small_transformer(), small_streams()
    video = streams["video"]
    tokens = video.latent.shape[1]
    timesteps = torch.where(torch.arange(tokens) < tokens // 2, 0.0, 0.8).view(1, tokens, 1)
    video = replace(video, timesteps=timesteps)
    order = torch.arange(tokens).view(2, -1).T.flatten()  # alternates between the halves
    shuffled = replace(
        video,
        latent=video.latent[:, order],
        timesteps=timesteps[:, order],
        positions=video.positions[:, :, order],
    )
    assert distinct(video.timesteps)[1].index is None
    assert distinct(shuffled.timesteps)[1].index is not None
    expected = network(video, streams["audio"])
    found = network(shuffled, streams["audio"])
    torch.testing.assert_close(found[0], expected[0][:, order], rtol=0, atol=1e-5)
    torch.testing.assert_close(found[1], expected[1], rtol=0, atol=1e-5)
