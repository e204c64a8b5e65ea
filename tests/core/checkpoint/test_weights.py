"""Tensors of files and of folders of shards."""

import json
from pathlib import Path

import pytest
import torch
from checkpoint_files import raw_file
from ltx2_pack.ltx_core.checkpoint.identify import identify
from ltx2_pack.ltx_core.checkpoint.reading import DTYPES
from ltx2_pack.ltx_core.checkpoint.weights import held_as, open_weights, weights_of
from ltx2_pack.ltx_core.errors import LTX2Error
from safetensors.torch import save_file
from torch import Tensor

TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.arange(4, dtype=torch.bfloat16),
    "c": torch.tensor([1, 2], dtype=torch.int8),
}


def refusal(path: Path) -> LTX2Error:
    with pytest.raises(LTX2Error) as caught:
        open_weights(path)
    return caught.value


def same(found: Tensor, expected: Tensor) -> bool:
    return found.dtype == expected.dtype and torch.equal(found, expected)


def test_a_file_gives_its_tensors_shapes_and_metadata(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file(TENSORS, path, {"config": '{"vae": {"x": 1}}', "model_version": "2.3.0"})
    weights = open_weights(path)
    assert (weights.name, weights.path, len(weights)) == ("m.safetensors", path, 3)
    assert weights.keys() == TENSORS.keys()
    assert all(same(weights[key], value) for key, value in TENSORS.items())
    assert weights.shape("a") == (2, 3)
    assert weights.section("vae") == {"x": 1}
    assert weights.section("transformer") is None
    assert weights.metadata["model_version"] == "2.3.0"


def shards(folder: Path, **index: str) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({"a": TENSORS["a"]}, folder / "one.safetensors", {"format": "pt"})
    save_file({"b": TENSORS["b"]}, folder / "two.safetensors")
    if index:
        text = json.dumps({"weight_map": index})
        (folder / "model.safetensors.index.json").write_text(text)
    return folder


@pytest.mark.parametrize("index", [{}, {"a": "one.safetensors", "b": "two.safetensors"}])
def test_a_folder_of_shards_is_one_set_of_tensors(tmp_path, index):
    weights = open_weights(shards(tmp_path / "gemma", **index))
    assert weights.name == "gemma"
    assert weights.keys() == {"a", "b"}
    assert same(weights["b"], TENSORS["b"])
    assert weights.shape("a") == (2, 3)


def test_only_the_shards_of_the_index_are_read(tmp_path):
    assert open_weights(shards(tmp_path / "gemma", a="one.safetensors")).keys() == {"a"}


def test_a_missing_shard_is_named(tmp_path):
    error = refusal(shards(tmp_path / "gemma", a="one.safetensors", b="three.safetensors"))
    assert error.code == "component_missing"
    assert "three.safetensors" in str(error)


def test_a_damaged_shard_is_named(tmp_path):
    folder = shards(tmp_path / "gemma", a="one.safetensors", b="two.safetensors")
    (folder / "two.safetensors").write_bytes(b"")
    error = refusal(folder)
    assert error.code == "empty"
    assert "two.safetensors" in str(error)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"weight_map": []}', '{"weight_map": 3}', "\0"]
)
def test_a_damaged_index_is_refused(tmp_path, text):
    folder = shards(tmp_path / "gemma")
    (folder / "model.safetensors.index.json").write_text(text)
    assert refusal(folder).code == "not_safetensors"


def test_a_folder_without_weights_is_refused(tmp_path):
    assert refusal(tmp_path).code == "component_missing"


def test_a_file_that_is_not_there(tmp_path):
    assert refusal(tmp_path / "m.safetensors").code == "not_found"


@pytest.mark.parametrize(
    ("dtype", "shape", "num_bytes", "stored"),
    [
        ("F6_E2M3", [4], 3, (3,)),
        ("F4", [3, 4], 6, (3, 2)),
        ("F4", [2, 3], 3, (3,)),
        ("F4", [0], 0, (0,)),
        ("F6_E3M2", [2, 8], 12, (2, 6)),
    ],
)
def test_types_narrower_than_a_byte_are_read_as_bytes(tmp_path, dtype, shape, num_bytes, stored):
    header = {"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, num_bytes]}}
    weights = open_weights(raw_file(tmp_path / "m.safetensors", header, bytes(range(num_bytes))))
    assert weights.shape("a") == weights["a"].shape == stored
    assert weights["a"].flatten().tolist() == [*range(num_bytes)]
    assert weights.entry("a").dtype == dtype


@pytest.mark.parametrize("name", DTYPES)
def test_every_type_of_the_format_is_read_as_it_was_written(tmp_path, name):
    dtype = DTYPES[name]
    size = torch.empty(0, dtype=dtype).element_size()
    stored = torch.arange(6 * size, dtype=torch.uint8) % 2 if dtype is torch.bool else None
    raw = torch.arange(6 * size, dtype=torch.uint8) if stored is None else stored
    header = {"a": {"dtype": name, "shape": [2, 3], "data_offsets": [0, 6 * size]}}
    path = raw_file(tmp_path / "m.safetensors", header, raw.numpy().tobytes())
    weights = open_weights(path)
    assert weights["a"].dtype is dtype
    assert weights["a"].shape == weights.shape("a") == (2, 3)
    assert torch.equal(weights["a"].view(torch.uint8).flatten(), raw)
    assert torch.equal(
        weights.rows("a", [1, 0, 1]).view(torch.uint8).flatten(),
        raw.unflatten(0, (2, -1))[[1, 0, 1]].flatten(),
    )


def test_a_number_without_axes_and_an_empty_tensor(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"s": torch.tensor(2.5), "e": torch.zeros(0, 3, dtype=torch.bfloat16)}, path)
    weights = open_weights(path)
    assert same(weights["s"], torch.tensor(2.5))
    assert same(weights["e"], torch.zeros(0, 3, dtype=torch.bfloat16))


@pytest.mark.parametrize("read", [open_weights, identify])
@pytest.mark.parametrize("suffix", ["safetensors", "gguf", "json"])
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("nothing", "not_found"),
        ("a_file.txt/below", "unreadable"),
        ("loop", "unreadable"),
        ("long" * 100, "unreadable"),
    ],
)
def test_a_path_that_leads_nowhere(tmp_path, read, suffix, name, code):
    (tmp_path / "a_file.txt").write_text("x")
    path = tmp_path / f"{name}.{suffix}"
    if name == "loop":
        path.symlink_to(path)
    with pytest.raises(LTX2Error) as caught:
        read(path)
    error = caught.value
    assert error.code == code
    assert path.name in error.what
    assert error.needed
    assert error.where


def test_tensors_in_memory_look_like_a_file():
    weights = weights_of(TENSORS, {"config": {"vae": {}}}, "fixture")
    assert weights.shape("a") == (2, 3)
    assert weights["c"] is TENSORS["c"]
    assert weights.section("vae") == {}


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
def test_only_floating_tensors_change_their_dtype(dtype):
    assert held_as(TENSORS["c"], dtype) is TENSORS["c"]
    assert held_as(TENSORS["a"], dtype).dtype == (dtype or torch.float32)
