"""What the network promises beside its numbers."""

from dataclasses import fields, replace

import pytest
import torch
from ltx2_pack.ltx_core.transformer.inputs import Perturbation
from torch import Tensor
from transformers_at_hand import small_streams, small_transformer


@torch.no_grad()
def test_check_is_called_for_every_block() -> None:
    calls: list[None] = []
    network = small_transformer(check=lambda: calls.append(None))
    network(**small_streams())
    assert len(calls) >= network.config.num_layers


class _Cancelled(Exception):  # noqa: N818
    pass


@torch.no_grad()
def test_check_cancels_by_raising() -> None:
    def cancel() -> None:
        raise _Cancelled

    with pytest.raises(_Cancelled):
        small_transformer(check=cancel)(**small_streams())


@torch.no_grad()
def test_items_of_a_batch_do_not_meet() -> None:
    network, both = small_transformer(), small_streams(batch=2)
    together = network(**both)
    for item in range(2):
        own = {
            name: replace(
                stream,
                **{
                    field.name: value[item : item + 1]
                    for field in fields(stream)
                    if isinstance(value := getattr(stream, field.name), Tensor)
                },
            )
            for name, stream in both.items()
        }
        alone = network(**own)
        for x, y in zip(together, alone, strict=True):
            torch.testing.assert_close(x[item : item + 1], y, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "perturbation",
    [
        Perturbation(skip_video_self=frozenset({1})),
        Perturbation(skip_audio_self=None),
        Perturbation(skip_a2v=None, skip_v2a=None),
        Perturbation(skip_video_self=frozenset({0, 2}), skip_v2a=frozenset({1})),
    ],
)
@torch.no_grad()
def test_a_perturbed_item_in_a_batch_is_as_perturbed_alone(perturbation: Perturbation) -> None:
    network, streams = small_transformer(), small_streams(batch=2)
    none = Perturbation()
    mixed = network(**streams, perturbations=[none, perturbation])
    plain = network(**streams, perturbations=[none, none])
    perturbed = network(**streams, perturbations=[perturbation, perturbation])
    torch.testing.assert_close(plain, network(**streams), rtol=0, atol=0)
    changed = False
    for x, y, z in zip(mixed, plain, perturbed, strict=True):
        torch.testing.assert_close(x[0], y[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(x[1], z[1], rtol=0, atol=1e-5)
        changed = changed or not torch.allclose(y[1], z[1], atol=1e-3)
    assert changed


@torch.no_grad()
def test_the_last_block_without_exchange_leaves_streams_apart() -> None:
    """With both directions off in all blocks, audio says nothing to video."""
    network, streams = small_transformer(), small_streams()
    apart = [Perturbation(skip_a2v=None, skip_v2a=None)]
    louder = replace(streams["audio"], latent=streams["audio"].latent + 1)
    one = network(streams["video"], streams["audio"], apart)[0]
    two = network(streams["video"], louder, apart)[0]
    alone = network(streams["video"], None)[0]
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    torch.testing.assert_close(one, alone, rtol=0, atol=0)


@torch.no_grad()
def test_inputs_are_left_as_they_were() -> None:
    network, streams = small_transformer(), small_streams(batch=2)
    tensors = [
        value
        for stream in streams.values()
        for field in fields(stream)
        if isinstance(value := getattr(stream, field.name), Tensor)
    ]
    before = [tensor.clone() for tensor in tensors]
    network(**streams)
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))


@torch.no_grad()
def test_tables_stay_float32_and_results_follow_the_latent() -> None:
    network = small_transformer().to(torch.bfloat16)
    for name, table in network.named_parameters():
        if "scale_shift_table" in name:
            table.data = table.data.float()
    assert network.dtype == torch.bfloat16
    streams = small_streams(dtype=torch.bfloat16)
    velocities = network(**streams)
    assert [velocity.dtype for velocity in velocities] == [torch.bfloat16] * 2
    assert network.transformer_blocks[0].scale_shift_table.dtype == torch.float32
    exact = small_transformer()(**small_streams())
    for found, expected in zip(velocities, exact, strict=True):
        assert (found.float() - expected).norm() < 0.05 * expected.norm()


@torch.no_grad()
def test_attention_comes_from_outside() -> None:
    shapes: list[tuple[int, ...]] = []

    def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        shapes.append((*q.shape[1:], k.shape[2]))
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    network = small_transformer(attention=attention)
    streams = small_streams()
    torch.testing.assert_close(network(**streams), small_transformer()(**streams))
    per_block = [  # heads, queries, head_dim, keys
        (2, 18, 14, 18), (2, 18, 14, 5), (2, 9, 8, 9), (2, 9, 8, 5), (2, 18, 8, 9), (2, 9, 8, 18),
    ]  # fmt: skip
    assert shapes == per_block * network.config.num_layers
