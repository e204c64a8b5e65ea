"""Linear layers that hold quantised weights; products of quantised inputs."""

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.ops import native, products
from ltx2_pack.ltx_core.ops.packed import AT_ONCE, Packed
from ltx2_pack.ltx_core.ops.quantize import float8, int8
from ltx2_pack.ltx_core.ops.quantized import Linear, SideBranch, quantized
from ltx2_pack.ltx_core.ops.rotation import rotated
from torch import Tensor

from .test_dequantize import packed_of


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer_of(packed: Packed, bias: Tensor | None, dtype: torch.dtype = torch.float32) -> Linear:
    """Return a layer as `Part` lays it out: the weight has no storage."""
    rows, columns = packed.shape
    layer = Linear(columns, rows, bias=bias is not None, device="meta", dtype=dtype)
    if bias is not None:
        layer.bias = torch.nn.Parameter(bias.to(dtype), requires_grad=False)
    layer.hold(packed)
    return layer


@torch.no_grad()
@pytest.mark.parametrize("golden", cases("dequant"))
def test_a_layer_answers_as_the_reference(golden: Golden):
    packed, bias = packed_of(golden)
    golden.check("linear", layer_of(packed, bias)(golden.tensors("in.")["x"]))


@torch.no_grad()
@pytest.mark.parametrize("golden", cases("dequant", lambda g: "weight_bf16" in g.tensors("out.")))
def test_in_bfloat16_the_weight_is_rounded_once(golden: Golden):
    packed, _ = packed_of(golden)
    exact, theirs = (golden.tensors("out.")[name] for name in ("weight", "weight_bf16"))
    ours = packed.dequantized(torch.bfloat16)
    half_step = exact.abs() * torch.finfo(torch.bfloat16).eps / 2
    assert ((ours.float() - exact).abs() <= half_step + golden.tolerance).all()
    assert ((ours.float() - theirs.float()).abs() <= 4 * half_step + golden.tolerance).all()


def with_output(name: str) -> list:
    return cases("dequant", lambda golden: name in golden.tensors("out."))


def check_low_precision(golden: Golden, name: str, found: Tensor) -> None:
    """A value on a tie may go either way, and moves the result by one step."""
    error = (found - golden.tensors("out.")[name]).abs()
    assert error.max() <= golden.case["tolerance_act_max"]
    assert error.mean() <= golden.case["tolerance_act_mean"]


@pytest.mark.parametrize("golden", with_output("linear_static_fp8"))
def test_inputs_in_fp8_with_the_scale_of_the_file(golden: Golden):
    packed, bias = packed_of(golden)
    x = golden.tensors("in.")["x"]
    check_low_precision(golden, "linear_static_fp8", products.static_fp8(x, packed, bias))


@pytest.mark.parametrize("golden", with_output("linear_dynamic_int8"))
def test_inputs_in_int8_with_a_scale_per_row(golden: Golden):
    packed, bias = packed_of(golden)
    x = golden.tensors("in.")["x"]
    check_low_precision(golden, "linear_dynamic_int8", products.dynamic_int8(x, packed, bias))


@pytest.mark.parametrize("golden", with_output("linear_dynamic_int4"))
def test_inputs_in_int4_with_a_scale_per_row(golden: Golden):
    packed, bias = packed_of(golden)
    x = golden.tensors("in.")["x"]
    check_low_precision(golden, "linear_dynamic_int4", products.dynamic_int4(x, packed, bias))


@pytest.mark.parametrize("golden", with_output("linear_dynamic_nvfp4"))
def test_inputs_in_nvfp4_with_each_kind_of_scale(golden: Golden):
    packed, bias = packed_of(golden)
    scales = {
        "static": packed.tensors.get("input_scale"),
        "fixed1": torch.tensor(1.0),
        "dynamic": None,
    }
    for kind, scale in scales.items():
        if f"linear_{kind}_nvfp4" in golden.tensors("out."):
            found = products.nvfp4(golden.tensors("in.")["x"], packed, bias, scale=scale)
            check_low_precision(golden, f"linear_{kind}_nvfp4", found)


def test_inputs_out_of_range_are_clamped_and_never_nan():
    stored = {"input_scale": torch.tensor(0.01)}
    packed = float8(random(4, 8))
    packed = Packed(packed.format, packed.shape, {**packed.tensors, **stored})
    assert torch.isfinite(products.static_fp8(1000 * random(2, 8), packed)).all()


@pytest.mark.parametrize(
    ("value", "nearest"),
    [(0.25, 0.0), (0.75, 1.0), (1.25, 1.0), (1.75, 2.0), (2.5, 2.0), (3.5, 4.0), (5.0, 4.0),
     (0.26, 0.5), (-2.6, -3.0), (-5.0, -4.0), (6.0, 6.0)],
)  # fmt: skip
def test_halfway_goes_to_the_even_code(value, nearest):
    assert products.nearest_e2m1(torch.tensor([value])).item() == nearest


@pytest.mark.parametrize("group", [4, 16, 256])
def test_turning_twice_changes_nothing(group):
    x = random(3, 512)
    torch.testing.assert_close(rotated(rotated(x, group), group), x)
    torch.testing.assert_close(rotated(x, group).norm(), x.norm())


def test_one_turn_is_the_matrix_of_the_format():
    h = torch.tensor([[1.0, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]])
    whole = torch.kron(h, h) / 4
    torch.testing.assert_close(rotated(torch.eye(16), 16), whole)


@pytest.mark.parametrize("quantise", [float8, int8])
def test_a_weight_quantised_here_is_within_half_a_step(quantise):
    weight = random(16, 32).bfloat16()
    weight[3] = 0
    packed = quantise(weight)
    found = packed.dequantized(torch.float32)
    if quantise is float8:
        step = (weight.float().abs() / 8).clamp(min=weight.abs().max().item() / 448 * 2**-9)
    else:
        step = (weight.float().abs().amax(1, keepdim=True) / 127).expand_as(found)
    assert ((found - weight.float()).abs() <= step / 2 * 1.0001).all()
    assert packed.bytes < weight.nbytes * 0.7


@pytest.mark.parametrize("quantise", [float8, int8])
def test_a_weight_of_zeros_stays_zero(quantise):
    assert torch.equal(quantise(torch.zeros(4, 8)).dequantized(torch.float32), torch.zeros(4, 8))


def test_large_weights_are_dequantised_in_parts_to_the_same_numbers():
    rows = AT_ONCE // 4096 + 3
    weight = random(1, 4096).expand(rows, -1) * torch.arange(1, rows + 1)[:, None]
    packed = int8(weight)
    whole = packed.rows(slice(None)).bfloat16()
    assert torch.equal(packed.dequantized(torch.bfloat16), whole)


@pytest.mark.parametrize("golden", cases("dequant"))
def test_rows_taken_by_number_are_the_rows(golden: Golden):
    packed, _ = packed_of(golden)
    numbers = torch.tensor([3, 0, 5])
    assert torch.equal(packed.rows(numbers), packed.rows(slice(None))[numbers])


@torch.no_grad()
def test_a_branch_is_added_to_the_answer():
    weight, down, up = random(6, 8), random(2, 8, seed=1), random(6, 2, seed=2)
    packed, x = int8(weight), random(3, 5, 8, seed=3)
    layer = layer_of(packed, random(6, seed=4))
    alone = layer(x)
    layer.hold(packed, SideBranch(down, up))
    torch.testing.assert_close(layer(x), alone + x @ (up @ down).T)


@torch.no_grad()
def test_a_plain_weight_is_multiplied_as_ever():
    layer, ours = native.Linear(8, 6), Linear(8, 6)
    ours.load_state_dict(layer.state_dict())
    x = random(3, 8)
    assert torch.equal(ours(x), layer(x))
    ours.hold(int8(layer.weight), None)
    ours.hold(None)
    assert torch.equal(ours(x), layer(x))


def test_the_namespace_differs_in_its_linear_layer_alone():
    for name in native.NativeLayers.__annotations__:
        same = getattr(quantized, name) is getattr(native.native, name)
        assert same == (name != "Linear")
