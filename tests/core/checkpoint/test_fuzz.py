"""Files nobody meant to write: read, or refused by the one error with its three parts.

`LTX2_FUZZ` is how many examples each test tries; without it as many as take some seconds.
"""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoint_files import plain_header, raw_file
from gguf_files import Q8_0, aligned, field, header, info, text, write_gguf
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ltx2_pack.ltx_core.checkpoint.header import Header, read_header
from ltx2_pack.ltx_core.checkpoint.identify import facts_of, identify
from ltx2_pack.ltx_core.checkpoint.quantised import quantisation
from ltx2_pack.ltx_core.checkpoint.weights import open_weights
from ltx2_pack.ltx_core.errors import LTX2Error

#: Examples of each test.
COUNT = int(os.environ.get("LTX2_FUZZ", "400"))
many = settings(
    max_examples=COUNT, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def read_all(path: Path) -> None:
    """Do with a file all that is done with one: identify it, open it, read every tensor."""
    for read in (identify, _read_weights):
        read_or_refused(read, path)


def _read_weights(path: Path) -> None:
    weights = open_weights(path)
    for key in weights:
        assert tuple(weights[key].shape) == weights.shape(key)
        if weights.shape(key) and weights.shape(key)[0]:
            weights.rows(key, [0])
    for name in weights.metadata:
        weights.long_list(name)


def read_or_refused(read: Callable[[Path], object], path: Path) -> None:
    try:
        read(path)
    except LTX2Error as error:
        assert error.code
        assert error.what
        assert error.needed
        assert error.where
        assert path.name in error.what


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


@many
@given(
    header=HEADERS | JSON | st.binary(max_size=64),
    data=st.binary(max_size=40),
    length=st.none() | st.integers(0, 2**64 - 1),
)
@example(header=b"{}", data=b"", length=None)
def test_any_file_gives_a_header_or_the_one_error(tmp_path, header, data, length):
    read_all(raw_file(tmp_path / "a.safetensors", header, data, length))


SHAPES = st.lists(st.integers(0, 3), max_size=5)


@many
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
    path = raw_file(tmp_path / "a.safetensors", header, b"\x7b" * at)
    found = read_header(path)
    assert isinstance(found, Header)
    read_or_refused(lambda _: json.dumps(facts_of(found, quantisation(found)).as_dict()), path)
    read_all(path)


#: Changes to bytes: a place, what happens there, and with what.
EDITS = st.lists(
    st.tuples(
        st.integers(0, 2**20),
        st.sampled_from(["set", "flip", "cut", "insert", "drop", "repeat"]),
        st.binary(min_size=1, max_size=9)
        | st.sampled_from([struct.pack("<Q", n) for n in (0, 1, 2**31, 2**62, 2**63, 2**64 - 1)]),
    ),
    min_size=1,
    max_size=4,
)


def edited(content: bytes, edits: list[tuple[int, str, bytes]]) -> bytes:
    for place, kind, what in edits:
        at = place % (len(content) + 1)
        before, after = content[:at], content[at:]
        content = {
            "set": before + what + after[len(what) :],
            "flip": before + bytes([after[0] ^ what[0]]) + after[1:] if after else before,
            "cut": before,
            "insert": before + what + after,
            "drop": before + after[len(what) :],
            "repeat": before + after[:64] + after,
        }[kind]
    return content


def good_safetensors(path: Path) -> bytes:
    scale = {"dtype": "F32", "shape": [], "data_offsets": [24, 28]}
    weight = {"dtype": "F8_E4M3", "shape": [2, 2], "data_offsets": [28, 32]}
    quantised = {"a.weight": weight, "a.weight_scale": scale}
    said = {"__metadata__": {"config": '{"transformer": {}}', "model_version": "2.3.0"}}
    return raw_file(path, plain_header(**quantised, **said), bytes(range(32))).read_bytes()


def good_gguf(path: Path) -> bytes:
    fields = [
        field("general.architecture", "gemma3"),
        field("config", '{"transformer": {}}'),
        field("tokenizer.ggml.model", "llama"),
        field("tokenizer.ggml.tokens", [f"t{n}" for n in range(80)]),
        field("tokenizer.ggml.scores", [0.5] * 80, "f32"),
        field("comfy.gguf.orig_shape.a", [3, 2], "i32"),
    ]
    tensors = {
        "a": torch.arange(6.0),
        "b.weight": torch.linspace(-1, 1, 64).reshape(2, 32),
        "c": torch.ones(4).bfloat16(),
        "blk.0.attn_norm.weight": torch.ones(3),
        "token_embd.weight": torch.ones(2, 2),
    }
    return write_gguf(path, tensors, fields, packed=("b.weight",)).read_bytes()


@many
@given(edits=EDITS)
def test_a_damaged_safetensors_file(tmp_path, edits):
    path = tmp_path / "a.safetensors"
    path.write_bytes(edited(good_safetensors(path), edits))
    read_all(path)


@many
@given(edits=EDITS)
def test_a_damaged_gguf_file(tmp_path, edits):
    path = tmp_path / "a.gguf"
    path.write_bytes(edited(good_gguf(path), edits))
    read_all(path)


NUMBER = st.integers(0, 12) | st.integers(0, 2**32 - 1)
LONG = st.integers(0, 64) | st.sampled_from([2**31, 2**40, 2**63, 2**64 - 1])
WORD = st.sampled_from(
    ["a", "general.alignment", "general.architecture", "config", "model_version",
     "token_embd.weight", "blk.0.attn_norm.weight", "comfy.gguf.orig_shape.a",
     "tokenizer.ggml.tokens", "a.weight"]
) | st.text(max_size=6)  # fmt: skip
FIELDS = st.builds(
    lambda name, value: text(name) + value,
    WORD,
    st.builds(lambda kind, rest: struct.pack("<I", kind) + rest, NUMBER, st.binary(max_size=24))
    | st.builds(lambda value: field("", value)[8:], st.text(max_size=20) | st.integers(0, 99))
    | st.builds(
        lambda kind, count, rest: struct.pack("<IIQ", 9, kind, count) + rest,
        NUMBER, LONG, st.binary(max_size=40),
    ),
)  # fmt: skip
INFOS = st.builds(
    lambda name, shape, kind, offset: info(name, tuple(shape), kind, offset),
    WORD,
    st.lists(LONG, max_size=5),
    st.sampled_from([0, 1, 2, Q8_0, 12, 16, 30]) | NUMBER,
    st.integers(0, 4).map(lambda n: 32 * n) | LONG,
)


@many
@given(
    fields=st.lists(FIELDS, max_size=4),
    infos=st.lists(INFOS, max_size=4),
    data=st.integers(0, 200),
    version=st.sampled_from([1, 2, 3, 3, 3, 2**24 * 3]),
)
@example(fields=[], infos=[], data=0, version=3)
def test_any_gguf_header(tmp_path, fields, infos, data, version):
    start = header(fields, infos, version)
    path = tmp_path / "a.gguf"
    path.write_bytes(start.ljust(aligned(len(start)), b"\0") + b"\x3c" * data)
    read_all(path)


@pytest.mark.parametrize("suffix", ["safetensors", "gguf"])
@many
@given(content=st.binary(max_size=600))
def test_any_bytes(tmp_path, suffix, content):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    read_all(path)


def test_the_files_that_are_damaged_here_are_good(tmp_path):
    path = tmp_path / "a.safetensors"
    good_safetensors(path)
    assert {*open_weights(path)} == {"a", "b", "a.weight"}
    path = tmp_path / "a.gguf"
    good_gguf(path)
    assert len(open_weights(path)) == 5
