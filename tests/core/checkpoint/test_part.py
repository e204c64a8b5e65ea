"""A network and its weights: laying out, resting, laying out again."""

from collections.abc import Iterator, Mapping

import pytest
import torch
from ltx2_pack.ltx_core.checkpoint.header import read_header
from ltx2_pack.ltx_core.checkpoint.keys import Named
from ltx2_pack.ltx_core.checkpoint.lora import Lora, LoraUse
from ltx2_pack.ltx_core.checkpoint.lora_changes import LoraPair
from ltx2_pack.ltx_core.checkpoint.part import Part, place_on_cpu
from ltx2_pack.ltx_core.checkpoint.weights import Weights, open_weights
from ltx2_pack.ltx_core.errors import LTX2Error
from safetensors.torch import save_file
from torch import Tensor, nn

CPU = torch.device("cpu")


class Counted(Mapping[str, Tensor]):
    """Weights that count how often each was read."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors
        self.reads: list[str] = []

    def __getitem__(self, key: str) -> Tensor:
        self.reads.append(key)
        return self.tensors[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __contains__(self, key: object) -> bool:
        return key in self.tensors


def part(**changes: Tensor) -> Part[nn.Linear]:
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "weight": torch.randn(2, 3, generator=generator).bfloat16(),
        "bias": torch.randn(2, generator=generator),
        **changes,
    }
    network = nn.Linear(3, 2, device="meta", dtype=torch.bfloat16)
    return Part(network, Counted(tensors), role="test", source="m.safetensors")


def lora(strength: float = 1.0) -> LoraUse:
    module = Lora("l", {"": LoraPair(torch.ones(1, 3), torch.ones(2, 1))})
    return LoraUse(module, strength)


def named(use: LoraUse) -> tuple[nn.Sequential, LoraUse]:
    pair = use.lora.pairs[""]
    return nn.Sequential(nn.Linear(3, 2, device="meta")), LoraUse(
        Lora("l", {"0": pair}), use.strength
    )


def test_nothing_is_read_before_it_is_laid_out():
    found = part()
    assert found.device is None
    assert found.network.weight.is_meta
    assert not found.weights.reads


def test_the_stored_dtypes_are_kept_unless_one_is_asked_for():
    found = part().lay_out(CPU)
    assert (found.weight.dtype, found.bias.dtype) == (torch.bfloat16, torch.float32)
    found = part().lay_out(CPU, dtype=torch.float32)
    assert (found.weight.dtype, found.bias.dtype) == (torch.float32, torch.float32)


def test_a_part_may_name_its_own_dtype():
    tensors = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
    network = nn.Linear(3, 2, device="meta")
    own = Part(network, tensors, role="r", source="s", dtype=torch.float64)
    assert own.lay_out(CPU, dtype=torch.bfloat16).weight.dtype == torch.float64


def test_the_same_layout_reads_nothing_again():
    found = part()
    found.lay_out(CPU)
    reads = len(found.weights.reads)
    found.lay_out(CPU)
    assert len(found.weights.reads) == reads
    found.lay_out(CPU, dtype=torch.float32)
    assert len(found.weights.reads) == 2 * reads


def test_resting_lets_go_and_laying_out_starts_from_the_file():
    found = part()
    found.lay_out(CPU)
    found.rest()
    assert found.device is None
    assert found.network.weight.is_meta
    assert torch.equal(found.lay_out(CPU).weight, found.weights["weight"])


def test_a_lora_comes_and_goes_without_a_trace():
    network, use = named(lora(0.5))
    tensors = {"0.weight": torch.rand(2, 3).bfloat16(), "0.bias": torch.ones(2)}
    found = Part(network, tensors, role="r", source="s")
    found.lay_out(CPU, loras=[use])
    changed = found.network.state_dict()["0.weight"].clone()
    assert torch.equal(changed, (tensors["0.weight"].float() + 0.5).bfloat16())
    assert found.loras == (use,)
    found.lay_out(CPU)
    assert torch.equal(found.network.state_dict()["0.weight"], tensors["0.weight"])
    assert found.loras == ()


def test_a_lora_that_fits_nothing_leaves_the_part_as_it_was():
    found = part()
    found.lay_out(CPU)
    with pytest.raises(LTX2Error, match="0 of 1"):
        found.lay_out(
            CPU,
            loras=[LoraUse(Lora("l", {"no.such": LoraPair(torch.ones(1, 3), torch.ones(2, 1))}))],
        )
    assert found.device == CPU
    assert torch.equal(found.network.weight, found.weights["weight"])


def test_missing_weights_name_the_file():
    network = nn.Linear(3, 2, device="meta")
    found = Part(network, {"weight": torch.ones(2, 3)}, role="r", source="m.safetensors")
    with pytest.raises(LTX2Error, match=r"m\.safetensors.*bias"):
        found.lay_out(CPU)
    assert found.device is None


def test_bytes_as_declared():
    assert part().num_bytes == 2 * (2 * 3 + 2)


def test_a_place_lays_out_in_float32_and_rests_even_after_an_error():
    found = part()
    with place_on_cpu(found) as network:
        assert network.weight.dtype == torch.float32
    assert found.network.weight.is_meta
    with pytest.raises(RuntimeError), place_on_cpu(found):
        raise RuntimeError
    assert found.network.weight.is_meta


def test_missing_and_ill_fitting_weights_are_refused_without_reading():
    network = nn.Linear(3, 2, device="meta")

    class Unread(dict[str, torch.Tensor]):
        def __getitem__(self, key: str) -> torch.Tensor:
            raise AssertionError(f"{key} was read")

    def part(**shapes: tuple[int, ...]) -> Part[nn.Linear]:
        stored = Unread({name: torch.empty(shape) for name, shape in shapes.items()})
        weights = Weights("file", stored, {}, shapes=shapes)
        return Part(network, Named(weights, {name: name for name in shapes}), role="x", source="f")

    part(weight=(2, 3), bias=(2,)).check_weights()
    for shapes, code in (
        ({"weight": (2, 3)}, "missing_weights"),
        ({"weight": (2, 4), "bias": (2,)}, "shape_mismatch"),
    ):
        with pytest.raises(LTX2Error) as caught:
            part(**shapes).check_weights()
        assert caught.value.code == code


def test_a_part_carries_the_identity_of_its_file(tmp_path):
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for path, size in zip(paths, (2, 3), strict=True):
        save_file({"x": torch.ones(size)}, path)
    weights = [open_weights(path) for path in paths]
    parts = [
        Part(nn.Identity(), Named(one, {"x": "x"}), role="x", source=one.name) for one in weights
    ]
    assert parts[0].identity.startswith("a.safetensors#")
    assert len({part.identity for part in parts}) == 2
    assert parts[0].identity == f"{paths[0].name}#{read_header(paths[0]).digest}"
