"""Reading headers: what a good file says, and one clear error for every bad one."""

import json
import struct
import tracemalloc
from pathlib import Path

import pytest
import torch
from checkpoint_files import plain_header, raw_file
from ltx2_pack.ltx_core.checkpoint.header import (
    LONGEST_HEADER,
    read_header,
    read_small,
    scalar,
)
from ltx2_pack.ltx_core.errors import LTX2Error
from safetensors.torch import save_file


def refused(path: Path) -> LTX2Error:
    with pytest.raises(LTX2Error) as caught:
        read_header(path)
    assert path.name in str(caught.value)
    return caught.value


def test_names_shapes_dtypes_places_and_metadata(tmp_path):
    path = tmp_path / "a.safetensors"
    tensors = {"x": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3), "y": torch.zeros(())}
    save_file(tensors, path, {"config": '{"vae": {"a": 1}}', "model_version": "2.3.0"})
    header = read_header(path)
    assert header.tensors["x"].shape == (2, 3)
    assert header.tensors["x"].dtype == "BF16"
    assert header.tensors["y"].shape == ()
    assert header.file_bytes == path.stat().st_size
    assert header.section("vae") == {"a": 1}
    assert header.section("transformer") is None
    assert header.metadata["model_version"] == "2.3.0"
    entry = header.tensors["x"]
    assert (
        path.read_bytes()[entry.start : entry.end]
        == tensors["x"].view(torch.uint8).numpy().tobytes()
    )


def test_metadata_that_is_not_json_stays_text(tmp_path):
    header = read_header(
        raw_file(tmp_path / "a.safetensors", plain_header(__metadata__={"k": "{no"}), bytes(24))
    )
    assert header.metadata == {"k": "{no"}


@pytest.mark.parametrize("keep", [1, 5, 7, 8, 9, 20, 60, -1, -10, -23])
def test_a_truncated_file_says_so(tmp_path, keep):
    path = raw_file(tmp_path / "a.safetensors", plain_header(), bytes(24))
    path.write_bytes(path.read_bytes()[:keep])
    error = refused(path)
    assert error.code == "truncated"
    assert "incomplete" in str(error)
    assert "download" in str(error)


def test_a_truncated_file_names_both_sizes(tmp_path):
    path = raw_file(tmp_path / "a.safetensors", plain_header(), bytes(10))
    size = path.stat().st_size
    assert f"{size:,}" in str(refused(path))
    assert f"{size + 14:,}" in str(refused(path))


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"", "empty", "0 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 42018190584\n",
         "lfs_pointer", "42,018,190,584"),
        (b"<!DOCTYPE html><html></html>", "html_page", "licence"),
        (b"  <html>login</html>", "html_page", "HTML"),
        (b"<?xml version='1.0'?><Error/>", "html_page", "HTML"),
        (b'{"error": "not in the authorized list"}', "not_safetensors", "download"),
        (b"[]", "not_safetensors", "text"),
        (b"PK\x03\x04" + bytes(40), "pickle", "safetensors"),
        (b"\x80\x02}q\x00.", "pickle", "safetensors"),
        (b"\x80\x05\x95" + bytes(40), "pickle", "safetensors"),
        (b"GGUF\x03\x00\x00\x00" + bytes(40), "gguf_misnamed", ".gguf"),
        (b"plain words of some length", "not_safetensors", "not a safetensors"),
        (bytes(64), "not_safetensors", "not a safetensors"),
        (struct.pack("<Q", 2**63) + b"{}", "not_safetensors", "not a safetensors"),
        (struct.pack("<Q", 100_000_001) + b"{}", "not_safetensors", "not a safetensors"),
    ],
)  # fmt: skip
def test_what_is_no_safetensors_file_is_called_by_its_name(tmp_path, content, code, words):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    error = refused(path)
    assert error.code == code
    assert words in str(error)


@pytest.mark.parametrize("length", [0x0280, 0x0380, 0x0480, 0x7B, 0x5B + 0x100])
def test_a_header_whose_length_looks_like_another_format_is_read(tmp_path, length):
    text = json.dumps(plain_header()).encode()
    path = raw_file(tmp_path / "a.safetensors", text.ljust(length), bytes(24))
    assert set(read_header(path).tensors) == {"a", "b"}


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (16, 24)) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "b",
    [
        entry(offsets=(8, 16)),  # overlaps a
        entry(offsets=(0, 8)),  # begins where a begins
        entry(offsets=(24, 16)),  # ends before it begins
        entry(offsets=(-8, 0)),
        entry(offsets=(16.0, 24.0)),
        entry(offsets=(16,)),
        entry(shape=(3,)),  # does not fit its bytes
        entry(shape=(-2,)),
        entry(shape=(True, 2)),
        entry(shape="2"),
        entry(dtype="F33"),
        entry(dtype="BF16"),
        entry(dtype=["F32"]),
        {"dtype": "F32", "shape": [2]},
        [1, 2],
        7,
    ],
)
def test_a_tensor_that_cannot_be_is_refused(tmp_path, b):
    path = raw_file(tmp_path / "a.safetensors", plain_header(b=b), bytes(24))
    assert refused(path).code == "not_safetensors"


def test_gaps_between_tensors_are_refused(tmp_path):
    header = plain_header(b=entry(offsets=(20, 28)))
    error = refused(raw_file(tmp_path / "a.safetensors", header, bytes(28)))
    assert error.code == "not_safetensors"
    assert "gaps" in str(error)


def test_bytes_after_the_last_tensor_are_refused(tmp_path):
    error = refused(raw_file(tmp_path / "a.safetensors", plain_header(), bytes(25)))
    assert error.code == "not_safetensors"
    assert "1 bytes more" in str(error)


@pytest.mark.parametrize("twice", ['"a": {"dtype": "F32"}', '"__metadata__": {"x": "1", "x": "2"}'])
def test_a_key_that_stands_twice_is_refused(tmp_path, twice):
    text = json.dumps(plain_header(__metadata__={"y": "1"}))[:-1] + f", {twice}}}"
    error = refused(raw_file(tmp_path / "a.safetensors", text.encode(), bytes(24)))
    assert error.code == "not_safetensors"
    assert "twice" in str(error)


@pytest.mark.parametrize("metadata", [{"k": 1}, {"k": None}, ["k"], None, "text"])
def test_metadata_that_is_not_text_is_refused(tmp_path, metadata):
    header = {**plain_header(), "__metadata__": metadata}
    assert (
        refused(raw_file(tmp_path / "a.safetensors", header, bytes(24))).code == "not_safetensors"
    )


@pytest.mark.parametrize(
    "text",
    [b"{", b'{"a":', b"{]", b"{\xff}", b"{" + b'"a":{' * 5000, b'{"a": 1' + b"0" * 5000 + b"}"],
)
def test_a_damaged_header_is_refused(tmp_path, text):
    assert refused(raw_file(tmp_path / "a.safetensors", text)).code == "not_safetensors"


def test_a_file_that_is_not_there(tmp_path):
    assert refused(tmp_path / "a.safetensors").code == "not_found"


def test_a_folder_is_no_file(tmp_path):
    assert refused(tmp_path).code == "directory"


def test_a_path_below_a_file_is_unreadable(tmp_path):
    raw_file(tmp_path / "a", plain_header(), bytes(24))
    assert refused(tmp_path / "a" / "b.safetensors").code == "unreadable"


def test_a_link_to_itself_is_unreadable(tmp_path):
    path = tmp_path / "a.safetensors"
    path.symlink_to(path)
    assert refused(path).code == "unreadable"


def test_small_tensors_are_read_and_large_ones_are_not(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"s": torch.tensor([1, 2], dtype=torch.uint8), "l": torch.zeros(5000)}, path)
    assert read_small(read_header(path), ["l", "s"]) == {"s": b"\1\2"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_scalar_of_every_floating_dtype(tmp_path, dtype):
    path = tmp_path / "a.safetensors"
    save_file({"s": torch.tensor(-2.5, dtype=dtype)}, path)
    header = read_header(path)
    assert scalar(header.tensors["s"].dtype, read_small(header, ["s"])["s"]) == -2.5


def test_what_is_not_one_number_is_no_scalar():
    assert scalar("F32", bytes(8)) is None
    assert scalar("I8", bytes(1)) is None


def test_a_header_no_model_needs_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", LONGEST_HEADER + 1) + b"{")
        file.truncate(LONGEST_HEADER + 100)
    error = refused(path)
    assert error.code == "not_safetensors"
    assert f"{LONGEST_HEADER + 1:,}" in error.what


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":[' + b"[]," * 1_500_000 + b"[]]}",
        b'{"__metadata__":{"config":"' + b"[]," * 1_500_000 + b'"}}',
        b'{"a":[' + b"1," * 4_000_000 + b"1]}",
    ],
    ids=["lists", "lists in a text", "numbers"],
)
def test_a_header_that_would_fill_the_memory_is_refused_before_it_does(tmp_path, text):
    path = raw_file(tmp_path / "a.safetensors", text)
    del text
    tracemalloc.start()
    try:
        found = refused(path).code
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == "not_safetensors"
    assert peak < 100_000_000
