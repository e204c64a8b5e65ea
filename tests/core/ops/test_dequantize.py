"""Every stored format of quantised weights against recorded numbers."""

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.checkpoint.header import parse_metadata
from ltx2_pack.ltx_core.checkpoint.weights import weights_of
from ltx2_pack.ltx_core.ops.packed import Packed
from torch import Tensor


def packed_of(golden: Golden) -> tuple[Packed, Tensor | None]:
    """Return a fixture's weight, its format found from what is stored, and its bias."""
    stored, layer = golden.tensors("weights."), golden.case["layer"]
    shape = golden.tensors("out.")["weight"].shape
    if "gguf_type_id" in golden.case:  # in a GGUF file the header says so
        data = stored[f"{layer}.weight"]
        number = golden.case["gguf_type_id"]
        return Packed("gguf", tuple(shape), {"weight": data}, gguf_type=number), None
    weights = weights_of(stored, parse_metadata(golden.metadata), golden.path.name)
    packed = weights.packed(f"{layer}.weight")
    assert packed is not None
    fitted = packed.fitted(tuple(shape))
    assert fitted is not None
    assert [*weights] == [f"{layer}.bias", f"{layer}.weight"]
    return fitted, weights[f"{layer}.bias"]


@pytest.mark.parametrize("golden", cases("dequant"))
def test_the_numbers_of_a_format(golden):
    packed, _ = packed_of(golden)
    values = packed.rows(slice(None))[: packed.shape[0]]
    assert values.dtype == torch.float32
    golden.check("weight", values)
