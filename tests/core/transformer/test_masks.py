"""Masks against the reference implementation."""

from dataclasses import replace

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.transformer.masks import context_bias, grown_mask, strength_bias
from transformers_at_hand import small_streams, small_transformer

HIDDEN = -1e30


def check_bias(golden: Golden, name: str, found: torch.Tensor) -> None:
    """Compare biases; how far below zero a hidden entry lies says nothing."""
    expected, found = golden.tensors("out.")[name], found.float()
    assert torch.equal(found < HIDDEN, expected < HIDDEN)
    torch.testing.assert_close(
        found.clamp(min=HIDDEN), expected.clamp(min=HIDDEN), rtol=0, atol=golden.tolerance
    )


@pytest.mark.parametrize("golden", cases("masks"))
def test_matches_the_reference(golden: Golden) -> None:
    case, given = golden.case, golden.tensors("in.")
    mask, tokens = None, case["noisy"]
    for number, group in enumerate(case["groups"]):
        mask = grown_mask(
            mask, given[f"cross_mask_{number}"], num_target=case["noisy"], num_tokens=tokens
        )
        tokens += group["tokens"]
        golden.check(f"mask_{number}", mask)
    assert mask is not None
    for name, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16)):
        check_bias(golden, f"bias_{name}", strength_bias(mask, dtype))
        check_bias(golden, f"context_bias_{name}", context_bias(given["context_mask"], dtype))


def test_float_text_masks_are_taken_as_they_are() -> None:
    mask = torch.randn(4, 5)
    assert torch.equal(context_bias(mask, torch.float32), mask)
    assert context_bias(mask.expand(2, 4, 5), torch.float32).shape == (2, 1, 4, 5)


def test_a_bool_text_mask_is_one_of_integers() -> None:
    mask = torch.tensor([[True, False]])
    assert torch.equal(context_bias(mask, torch.float32), context_bias(mask.long(), torch.float32))


@torch.no_grad()
def test_masks_of_ones_change_nothing() -> None:
    network, streams = small_transformer(), small_streams()
    masked = {
        name: replace(
            stream,
            attention_mask=torch.ones(1, stream.latent.shape[1], stream.latent.shape[1]),
            context_mask=torch.ones(stream.context.shape[:2], dtype=torch.int64),
        )
        for name, stream in streams.items()
    }
    torch.testing.assert_close(network(**masked), network(**streams), rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_key_padding_mask_hides_tokens() -> None:
    """A hidden token's content must not reach the others."""
    network, video = small_transformer(), small_streams()["video"]
    mask = torch.ones(1, 1, video.latent.shape[1])
    mask[..., -2:] = 0
    changed = video.latent.clone()
    changed[:, -2:] += 1
    one = network(replace(video, attention_mask=mask), None)[0]
    two = network(replace(video, attention_mask=mask, latent=changed), None)[0]
    torch.testing.assert_close(one[:, :-2], two[:, :-2], rtol=0, atol=1e-6)
    assert not torch.allclose(one[:, -2:], two[:, -2:])
