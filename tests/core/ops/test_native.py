"""The faster linear layer gives PyTorch's answers, for products large enough and small ones."""

import pytest
import torch
from ltx2_pack.ltx_core.ops.native import WORTHWHILE, Linear, gelu_of
from torch import nn

IN, OUT = 256, 512
MANY = WORTHWHILE // (IN * OUT)  # rows from which the other library takes over


def pair(*, bias: bool, dtype: torch.dtype) -> tuple[Linear, nn.Linear]:
    """Return our layer and PyTorch's on the same random weights."""
    torch.manual_seed(0)
    theirs = nn.Linear(IN, OUT, bias=bias, dtype=dtype)
    ours = Linear(IN, OUT, bias=bias, dtype=dtype)
    with torch.no_grad():
        for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            own.copy_(other)
    return ours, theirs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "shape", [(IN,), (3, IN), (2, 0, IN), (MANY, IN), (2, MANY, IN), (2, 3, MANY, IN)]
)
@torch.no_grad()
def test_answers_agree(shape: tuple[int, ...], bias: bool, dtype: torch.dtype) -> None:
    ours, theirs = pair(bias=bias, dtype=dtype)
    x = torch.randn(shape, dtype=dtype)
    atol = 2e-2 if dtype is torch.bfloat16 else 1e-5
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=atol)
    expected = nn.functional.gelu(theirs(x), approximate="tanh")
    for layer in (ours, theirs):
        torch.testing.assert_close(gelu_of(layer, x), expected, rtol=0, atol=atol)


@torch.no_grad()
def test_a_view_that_is_not_contiguous_is_read_right() -> None:
    ours, theirs = pair(bias=True, dtype=torch.float32)
    x = torch.randn(IN, MANY, 2).permute(2, 1, 0)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)
    x = torch.randn(2, MANY, 2 * IN)[..., ::2]
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


def test_gradients_still_flow() -> None:
    ours, theirs = pair(bias=True, dtype=torch.float32)
    x = torch.randn(MANY, IN, requires_grad=True)
    gelu_of(ours, x).sum().backward()
    found = x.grad
    x.grad = None
    gelu_of(theirs, x).sum().backward()
    torch.testing.assert_close(found, x.grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


def test_names_are_those_of_pytorch() -> None:
    ours, theirs = pair(bias=True, dtype=torch.float32)
    assert [*ours.state_dict()] == [*theirs.state_dict()]
