"""Reading headers: what a good file says, and one clear error for every bad one."""

import json
import struct
from pathlib import Path

import pytest
import torch
from checkpoint_files import plain_header, raw_file
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ltx2_pack.ltx_core.checkpoint.header import Header, read_header, read_small, scalar
from ltx2_pack.ltx_core.checkpoint.identify import facts_of
from ltx2_pack.ltx_core.checkpoint.quantised import quantisation
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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
NUMBERS = st.integers(-2, 40) | st.integers(2**60, 2**70)
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "U8", "F4", "F8_E4M3", "X"]) | JSON,
        "shape": st.lists(NUMBERS, max_size=3) | JSON,
        "data_offsets": st.lists(NUMBERS, min_size=2, max_size=2) | JSON,
    }
)
NAMES = st.sampled_from(
    [
        "x.lora_A.weight", "x.lora_B.weight", "x.alpha", "decoder.1.weight", "decoder.22.bias",
        "audio_adaln_single.linear.weight", "transformer_blocks.0.attn1.to_gate_logits.weight",
        "initial_conv.weight", "post_upsample_res_blocks.0.conv2.bias", "upsampler.0.weight",
        "upsampler.conv.weight", "a.weight", "a.comfy_quant", "vocoder.conv_pre.weight",
        "text_embedding_projection.aggregate_embed.weight", "model.norm.weight",
    ]
) | st.text(max_size=6)  # fmt: skip
METADATA = st.dictionaries(
    st.sampled_from(
        ["config", "model_version", "gemma_config", "_quantization_metadata",
         "reference_downscale_factor", "gemma_source_checkpoint", "k"]
    ),
    JSON.map(json.dumps) | st.text(max_size=8) | st.sampled_from(["2.3", "nan", "1e999", "2.-1"]),
)  # fmt: skip
HEADERS = st.builds(
    lambda tensors, metadata: {**tensors, "__metadata__": metadata},
    st.dictionaries(NAMES, ENTRY | JSON, max_size=5),
    METADATA | JSON,
)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    header=HEADERS | JSON | st.binary(max_size=64),
    data=st.binary(max_size=40),
    length=st.none() | st.integers(0, 2**64 - 1),
)
@example(header=b"{}", data=b"", length=None)
def test_any_file_gives_a_header_or_the_one_error(tmp_path, header, data, length):
    path = raw_file(tmp_path / "a.safetensors", header, data, length)
    try:
        found = read_header(path)
        facts_of(found, quantisation(found))
    except LTX2Error as error:
        assert error.code
        assert path.name in str(error)


SHAPES = st.lists(st.integers(0, 3), max_size=5)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    tensors=st.dictionaries(
        NAMES, st.tuples(st.sampled_from(["F32", "U8", "BF16"]), SHAPES), max_size=6
    ),
    metadata=METADATA,
)
def test_any_sound_file_is_identified_or_refused(tmp_path, tensors, metadata):
    at, header, sizes = 0, {"__metadata__": metadata}, {"F32": 4, "U8": 1, "BF16": 2}
    for name, (dtype, shape) in tensors.items():
        size = sizes[dtype]
        for side in shape:
            size *= side
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    found = read_header(raw_file(tmp_path / "a.safetensors", header, b"\x7b" * at))
    assert isinstance(found, Header)
    try:
        json.dumps(facts_of(found, quantisation(found)).as_dict())
    except LTX2Error as error:
        assert error.code
