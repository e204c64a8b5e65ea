"""Reading weights while files change under them, and how much memory it takes."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from gguf_files import write_gguf
from live_bytes import LiveBytes
from ltx2_pack.ltx_core.checkpoint.part import Part
from ltx2_pack.ltx_core.checkpoint.weights import Weights, open_weights
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.ops.quantized import quantized
from ltx2_pack.ltx_core.text.keys import StateSlices
from safetensors.torch import save_file
from torch import nn

TESTS = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
SIDE = 256


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {f"{n}.weight": torch.randn(SIDE, SIDE, generator=generator) for n in range(6)}


def written(path: Path) -> Path:
    if path.suffix == ".gguf":
        return write_gguf(path, tensors(), packed=("3.weight",))
    save_file({key: value.bfloat16() for key, value in tensors().items()}, path)
    return path


def network(layers=nn) -> nn.Module:
    return nn.ModuleList(layers.Linear(SIDE, SIDE, bias=False, device="meta") for _ in range(6))


def part_of(weights: Weights, layers=nn) -> Part[nn.Module]:
    return Part(network(layers), weights, role="test", source=weights.name)


def refused(weights: Weights) -> LTX2Error:
    with pytest.raises(LTX2Error) as caught:
        part_of(weights).lay_out(CPU, dtype=torch.float32)
    error = caught.value
    assert weights.name in error.what
    assert error.needed
    assert error.where
    return error


NAMES = ["m.safetensors", "m.gguf"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_replaced_goes_on_as_it_was(tmp_path, name):
    path = written(tmp_path / name)
    weights = open_weights(path)
    before = {key: weights[key] for key in weights}
    other = tmp_path / f"other{path.suffix}"
    write_gguf(other, {"x": torch.ones(2)}) if path.suffix == ".gguf" else save_file(
        {"x": torch.ones(2)}, other
    )
    other.replace(path)
    weights.check_unchanged()
    assert all(torch.equal(weights[key], value) for key, value in before.items())
    assert open_weights(path).keys() == {"x"}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_deleted_goes_on_as_it_was(tmp_path, name):
    path = written(tmp_path / name)
    weights = open_weights(path)
    before = weights["5.weight"]
    path.unlink()
    assert torch.equal(weights["5.weight"], before)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_was_written_to_is_not_read_on(tmp_path, name):
    path = written(tmp_path / name)
    weights = open_weights(path)
    os.utime(path, ns=(0, 0))
    error = refused(weights)
    assert error.code == "changed"
    assert "was written to" in error.what
    with pytest.raises(LTX2Error) as caught:
        weights.check_unchanged()
    assert caught.value.code == "changed"


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_grew_is_not_read_on(tmp_path, name):
    path = written(tmp_path / name)
    weights = open_weights(path)
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"more")
    error = refused(weights)
    assert error.code == "changed"
    assert f"{size:,}" in error.what
    assert f"{size + 4:,}" in error.what


#: Run in a process of its own: a mapped file would end it with a signal.
CUT = """
import os, sys
from pathlib import Path
import conftest, torch
from ltx2_pack.ltx_core.checkpoint.weights import open_weights
from ltx2_pack.ltx_core.errors import LTX2Error
for path in map(Path, sys.argv[1:]):
    content = path.read_bytes()
    cuts = [0, 1, 8, 100, 4096, *range(5000, len(content), len(content) // 24), len(content) - 1]
    for cut in cuts:
        path.write_bytes(content)
        weights = open_weights(path)
        first = weights["0.weight"].sum()
        os.truncate(path, cut)
        for key in weights:
            for read in (lambda: weights[key], lambda: weights.rows(key, [0, 255])):
                try:
                    read()
                except LTX2Error as error:
                    assert error.code == "changed" and error.needed and error.where, error
                else:
                    raise AssertionError((cut, key))
        first.item()
    print(len(cuts))
"""


def test_a_file_cut_short_in_place_is_an_error_and_no_signal(tmp_path):
    paths = [str(written(tmp_path / name)) for name in NAMES]
    done = subprocess.run(
        [sys.executable, "-c", CUT, *paths],
        capture_output=True, text=True, check=False, cwd=TESTS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert all(int(count) >= 20 for count in done.stdout.split())
    assert len(done.stdout.split()) == len(NAMES)


def test_a_disk_that_fails_is_an_error_of_ours(tmp_path):
    weights = open_weights(written(tmp_path / "m.safetensors"))
    file = next(iter(weights._places.values()))[0]._file
    with Path(os.devnull).open("wb") as closed_to_reading:
        os.dup2(closed_to_reading.fileno(), file.fileno())
    error = refused(weights)
    assert error.code == "unreadable"


def test_threads_read_one_file_together(tmp_path):
    weights = open_weights(written(tmp_path / "m.safetensors"))
    expected = {key: weights[key] for key in weights}
    keys = [*weights] * 20
    with ThreadPoolExecutor(4) as pool:
        for key, found in zip(keys, pool.map(weights.__getitem__, keys), strict=True):
            assert torch.equal(found, expected[key])


def test_what_was_read_may_be_written_to(tmp_path):
    weights = open_weights(written(tmp_path / "m.safetensors"))
    before = weights["0.weight"].clone()
    weights["0.weight"].zero_()
    assert torch.equal(weights["0.weight"], before)


def test_opening_reads_no_weights(tmp_path):
    path = written(tmp_path / "m.safetensors")
    with LiveBytes() as counter:
        weights = open_weights(path)
        assert [weights.shape(key) for key in weights] == [(SIDE, SIDE)] * 6
        assert weights.entry("0.weight").dtype == "BF16"
    assert counter.peak == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
def test_beside_the_weights_there_is_never_more_than_one_tensor(tmp_path, name, dtype):
    weights = open_weights(written(tmp_path / name))
    part = part_of(weights, quantized)
    largest = max(weights.entry(key).bytes for key in weights)
    with LiveBytes() as counter:
        part.lay_out(CPU, dtype=dtype)
        assert counter.peak <= counter.live + 1.1 * largest
        part.rest()
        assert counter.live == 0


def test_on_another_device_there_is_never_more_than_one_tensor(tmp_path):
    weights = open_weights(written(tmp_path / "m.safetensors"))
    largest = max(weights.entry(key).bytes for key in weights)
    with LiveBytes() as counter:
        part_of(weights).lay_out(torch.device("meta"))
    assert counter.live == 0
    assert counter.peak <= 1.1 * largest


def test_a_projection_is_regrouped_without_a_second_copy(tmp_path):
    path = tmp_path / "m.safetensors"
    matrix = torch.randn(4096, 48, generator=torch.Generator().manual_seed(0))
    save_file({"x.weight": matrix, "x.bias": torch.ones(4096)}, path)
    slices = StateSlices(open_weights(path), 4)
    with LiveBytes() as counter:
        first = slices["x.0.weight"]
    assert torch.equal(first, matrix[:, 0::4])
    assert counter.peak <= 1.1 * matrix.nbytes
