"""A Gemma 3 as a GGUF file of llama.cpp: the same contexts as from safetensors."""

import gzip
import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gguf_files import aligned, field, header, info, write_gguf
from golden import MANIFESTS, cases
from ltx2_pack.ltx_core.checkpoint.identify import identify
from ltx2_pack.ltx_core.checkpoint.llama import LAYER, OUTSIDE
from ltx2_pack.ltx_core.checkpoint.weights import Weights, open_weights
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.text.config import GEMMA3_12B, gguf_config
from ltx2_pack.ltx_core.text.encoder import embedding_rows, encode_prompts
from ltx2_pack.ltx_core.text.load import gemma_part, text_encoder
from ltx2_pack.ltx_core.text.pieces import spiece_model
from ltx2_pack.ltx_core.text.tokenizer import read_tokenizer
from sentencepiece import SentencePieceProcessor

from . import tiny

PROMPTS = ["a cat walks slowly", "", "rain falls"]
ARCHITECTURE = field("general.architecture", "gemma3")
MODULES = {own: name for name, own in LAYER.items()}
NAMES = {own: name for name, own in OUTSIDE.items()}


def llama_name(own: str) -> str:
    if own in NAMES:
        return NAMES[own]
    _, _, number, module = own.removesuffix(".weight").split(".", 3)
    return f"blk.{number}.{MODULES[module]}.weight"


def gguf_gemma(path: Path, *fields: bytes, packed: bool = False) -> Path:
    """Write the tiny Gemma as llama.cpp's converter would: norms are one more."""
    gemma = tiny.gemma()
    tensors = {
        llama_name(key): tensor + key.endswith("norm.weight")
        for key, tensor in gemma.items()
        if key.startswith("model.")
    }
    wide = tuple(key for key, tensor in tensors.items() if packed and tensor.shape[-1] % 32 == 0)
    assert bool(wide) == packed
    return write_gguf(path, tensors, [ARCHITECTURE, *fields], packed=wide)


def test_contexts_are_those_of_the_same_numbers_as_safetensors(tmp_path):
    path = gguf_gemma(tmp_path / "gemma.gguf")
    (tmp_path / "tokenizer.json").write_text(tiny.tokenizer_json())
    checkpoint = tiny.checkpoint("2.3")
    found, expected = (
        encode_prompts(text_encoder(gemma, checkpoint), PROMPTS, length=16)
        for gemma in (open_weights(path), tiny.gemma())
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.video, theirs.video, rtol=0, atol=1e-4)
        torch.testing.assert_close(ours.audio, theirs.audio, rtol=0, atol=1e-4)


def test_contexts_of_blocks_are_those_of_their_numbers(tmp_path):
    path = gguf_gemma(tmp_path / "gemma.gguf", packed=True)
    (tmp_path / "tokenizer.json").write_text(tiny.tokenizer_json())
    packed = open_weights(path)
    assert packed.quantised
    plain = Weights("plain", {key: packed[key] for key in packed}, packed.metadata)
    checkpoint, place = tiny.checkpoint("2.0"), tmp_path / "tokenizer.json"
    found, expected = (
        encode_prompts(text_encoder(gemma, checkpoint, tokenizer=place), PROMPTS, length=16)
        for gemma in (packed, plain)
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.video, theirs.video, rtol=0, atol=1e-5)


def test_a_file_without_any_tokenizer_says_what_to_put_beside_it(tmp_path):
    path = gguf_gemma(tmp_path / "gemma.gguf")
    with pytest.raises(LTX2Error) as caught:
        read_tokenizer(open_weights(path))
    assert caught.value.code == "tokenizer_missing"
    assert "tokenizer.json or tokenizer.model" in caught.value.needed


def message_fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Read the fields of a protobuf message, each as its number and its bytes."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        tag = number()
        if tag & 7 == 0:
            yield tag >> 3, bytes([number() % 256])
            continue
        length = 4 if tag & 7 == 5 else number()
        yield tag >> 3, message[at : at + length]
        at += length


def vocabulary(model: bytes) -> list[bytes]:
    """Write a SentencePiece model's vocabulary as the fields of a GGUF file."""
    pieces = [dict(message_fields(piece)) for key, piece in message_fields(model) if key == 1]
    scores = [struct.unpack("<f", piece.get(2, bytes(4)))[0] for piece in pieces]
    kinds = [piece.get(3, b"\1")[0] for piece in pieces]
    tokens = [piece[1].decode() for piece in pieces]
    return [
        field("tokenizer.ggml.model", "llama"),
        field("tokenizer.ggml.tokens", tokens),
        field("tokenizer.ggml.scores", scores, "f32"),
        field("tokenizer.ggml.token_type", kinds, "i32"),
    ]


@pytest.mark.parametrize(
    "golden", cases("tokenize", lambda golden: golden.case["source"] == "spiece_model")
)
def test_the_vocabulary_in_the_file_is_the_tokenizer(golden, tmp_path):
    model = golden.tensors("weights.")["spiece_model"].numpy().tobytes()
    path = gguf_gemma(tmp_path / "gemma.gguf", *vocabulary(model))
    assert "tokenizer" in identify(path).components
    tokenizer = read_tokenizer(open_weights(path))
    theirs = SentencePieceProcessor()
    theirs.LoadFromSerializedProto(model)
    for prompt in golden.case["prompts"]:
        assert tokenizer.encode(prompt) == theirs.EncodeAsIds(prompt)


def test_a_vocabulary_whose_lists_do_not_fit_is_damaged(tmp_path):
    path = gguf_gemma(
        tmp_path / "gemma.gguf",
        field("tokenizer.ggml.model", "llama"),
        field("tokenizer.ggml.tokens", ["a", "b"]),
        field("tokenizer.ggml.scores", [0.0], "f32"),
    )
    with pytest.raises(LTX2Error) as caught:
        read_tokenizer(open_weights(path))
    assert caught.value.code == "tokenizer_missing"
    assert "damaged" in caught.value.what


@pytest.mark.parametrize(
    ("tokens", "scores", "kinds"),
    [([], [], []), (["a"], [0.0], [7]), (["a"], [0.0], [1, 1]), (["a", "b"], [0.0], [1, 1])],
)
def test_a_vocabulary_that_cannot_be(tokens, scores, kinds):
    with pytest.raises(ValueError, match=r"tokens"):
        spiece_model(tokens, scores, kinds)


def test_what_the_file_states_goes_before_what_gemma_has():
    said = {
        "general.architecture": "gemma3",
        "gemma3.attention.layer_norm_rms_epsilon": 9.999999974752427e-07,
        "gemma3.attention.sliding_window": 512,
        "gemma3.rope.freq_base": 1e6,
    }
    found = gguf_config(said)
    assert found["rms_norm_eps"] == 1e-6
    assert found["sliding_window"] == 512
    assert {**found, "sliding_window": 1024} == dict(GEMMA3_12B)
    assert gguf_config({}) == dict(GEMMA3_12B)


def full_size(path: Path) -> Path:
    """Write the header of Gemma 3 12B as a GGUF file; the weights are a hole in the file."""
    table = json.loads(gzip.decompress((MANIFESTS / "gemma3-12b-gguf.json.gz").read_bytes()))
    infos, at = [], 0
    for name, shape in table.items():
        kind = 0 if len(shape) == 1 else 1  # float32 norms, float16 matrices
        infos.append(info(name, tuple(shape), kind, at))
        size = 4 * shape[0] if len(shape) == 1 else 2 * shape[0] * shape[1]
        at += aligned(size)
    start = header([ARCHITECTURE], infos)
    with path.open("wb") as file:
        file.write(start)
        file.truncate(aligned(len(start)) + at)
    return path


def test_the_full_size_file_is_accepted_whole(tmp_path):
    path = full_size(tmp_path / "gemma.gguf")
    facts = identify(path)
    assert (facts.role, facts.gemma, facts.layers, facts.hidden) == (
        "text_encoder", "gemma3", 48, 3840,
    )  # fmt: skip
    weights = open_weights(path)
    part = gemma_part(weights)
    ours = {name: tuple(tensor.shape) for name, tensor in part.network.state_dict().items()}
    rows = (262144, 3840)
    assert {**ours, "embed_tokens.weight": rows} == {
        name: part.weights.shape(name) for name in part.weights
    }
    assert {*weights} == {*part.weights.keys_of.values()}  # nothing is left over
    assert [n for n, whole in enumerate(part.network.config.sees_all) if whole][:2] == [5, 11]


def test_ids_of_pictures_have_rows_of_zeros_where_the_file_has_none(tmp_path):
    part = gemma_part(open_weights(full_size(tmp_path / "gemma.gguf")))
    encoder = replace(text_encoder(tiny.gemma(), tiny.checkpoint("2.3")), gemma=part)
    rows = embedding_rows(encoder, [2, 262143, 262144, 262207])
    assert rows.shape == (4, 3840)
    assert rows.dtype is torch.float16
    with pytest.raises(LTX2Error, match="262208"):
        embedding_rows(encoder, [262208])
