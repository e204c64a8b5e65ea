"""GGUF files: what a good one says, and one clear error for every bad one."""

import json
import struct
from pathlib import Path

import pytest
import torch
from gguf_files import aligned, field, header, info, q8_0, text, write_gguf
from golden import FOLDER
from ltx2_pack.ltx_core.checkpoint.entries import BLOCK_TYPES
from ltx2_pack.ltx_core.checkpoint.gguf import CHUNK
from ltx2_pack.ltx_core.checkpoint.header import read_header
from ltx2_pack.ltx_core.checkpoint.identify import identify
from ltx2_pack.ltx_core.checkpoint.llama import own_name
from ltx2_pack.ltx_core.checkpoint.weights import open_weights
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.ops.gguf_blocks import TYPES
from safetensors.torch import save_file

FILES = FOLDER / "loading" / "files"
EXPECTED = json.loads((FILES / "expected.json").read_text("utf-8"))
SAMPLES = [
    (name, key)
    for name, entry in EXPECTED.items()
    if name.endswith(".gguf")
    for key in entry.get("samples", ())
]
TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b.weight": torch.linspace(-1, 1, 128).reshape(2, 64),
    "c": torch.arange(5).bfloat16(),
    "d": torch.tensor([1, -2], dtype=torch.int8),
}


def refused(path: Path) -> LTX2Error:
    with pytest.raises(LTX2Error) as caught:
        read_header(path)
    error = caught.value
    assert path.name in error.what
    assert error.needed
    assert error.where
    return error


def raw(path: Path, fields: list[bytes], infos: list[bytes], data: bytes = b"") -> Path:
    start = header(fields, infos)
    path.write_bytes(start.ljust(aligned(len(start)), b"\0") + data)
    return path


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("alignment", [32, 8, 64])
def test_names_types_shapes_and_values(tmp_path, version, alignment):
    fields = [field("general.alignment", alignment)] if alignment != 32 else []
    path = write_gguf(
        tmp_path / "m.gguf", TENSORS, fields,
        packed=("b.weight",), alignment=alignment, version=version,
    )  # fmt: skip
    weights = open_weights(path)
    assert weights.keys() == TENSORS.keys()
    for key, tensor in TENSORS.items():
        assert weights.shape(key) == tuple(tensor.shape)
        if key != "b.weight":
            assert weights[key].dtype == tensor.dtype
            assert torch.equal(weights[key], tensor)
    assert weights.entry("b.weight").dtype == "Q8_0"
    packed = weights.packed("b.weight")
    assert packed is not None
    assert packed.gguf_type == 8
    assert packed.tensors["weight"].shape == (2, 68)
    assert packed.tensors["weight"].numpy().tobytes() == q8_0(TENSORS["b.weight"])
    assert (weights["b.weight"] - TENSORS["b.weight"]).abs().max() <= 0.5 / 127


def test_rows_of_blocks_are_read_alone(tmp_path):
    values = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    path = write_gguf(tmp_path / "m.gguf", {"b.weight": values}, packed=("b.weight",))
    weights = open_weights(path)
    assert torch.equal(weights.rows("b.weight", [4, 0, 4]), weights["b.weight"][[4, 0, 4]])


def test_fields_of_every_kind(tmp_path):
    fields = [
        field("general.architecture", "ltxv"),
        field("config", '{"transformer": {"num_layers": 2}}'),
        field("model_version", "2.3.0"),
        field("gemma_source_checkpoint", '{"ltx_version": "2.5.0"}'),
        *(field(k, 3, k) for k in ("u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64")),
        field("f32", 0.5, "f32"),
        field("f64", 0.25, "f64"),
        field("bool", True, "bool"),
        field("few", [1, 2], "i32"),
        field("texts", ["x", "ü"]),
        field("long", [*range(100)], "u16"),
        field("long texts", [f"token {n}" for n in range(100)]),
    ]
    path = write_gguf(tmp_path / "m.gguf", {"a": torch.ones(2)}, fields)
    weights = open_weights(path)
    said = weights.metadata
    assert weights.section("transformer") == {"num_layers": 2}
    assert said["model_version"] == "2.3.0"
    assert said["gemma_source_checkpoint"] == {"ltx_version": "2.5.0"}
    assert all(said[k] == 3 for k in ("u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64"))
    assert (said["f32"], said["f64"], said["bool"]) == (0.5, 0.25, True)
    assert (said["few"], said["texts"]) == ([1, 2], ["x", "ü"])
    assert weights.long_list("few") == [1, 2]
    assert weights.long_list("long") == [*range(100)]
    assert weights.long_list("long texts") == [f"token {n}" for n in range(100)]
    assert weights.long_list("nothing") is None


@pytest.mark.parametrize("shift", range(0, 40, 3))
def test_a_header_longer_than_one_read(tmp_path, shift):
    tokens = [f"{'x' * (n % 17)}{n}" for n in range(60_000)]
    fields = [
        field("shift", "s" * shift),
        field("tokens", tokens),
        *(field(f"short {n}", [n] * 60) for n in range(500)),
        field("scores", [*range(300_000)], "i32"),
        *(field(f"last {n}", n) for n in range(50)),
    ]
    tensors = {f"tensor {n}": torch.full((3,), float(n)) for n in range(9_000)}
    assert sum(map(len, fields)) > 2 * CHUNK
    weights = open_weights(write_gguf(tmp_path / "m.gguf", tensors, fields))
    assert weights.long_list("tokens") == tokens
    assert weights.long_list("scores") == [*range(300_000)]
    assert all(weights.metadata[f"short {n}"] == [n] * 60 for n in range(500))
    assert all(weights.metadata[f"last {n}"] == n for n in range(50))
    assert weights["tensor 8999"].tolist() == [8999.0] * 3


def test_a_stated_original_shape_goes_before_the_files_own(tmp_path):
    fields = [field("comfy.gguf.orig_shape.t", [4, 1, 8], "i32")]
    path = write_gguf(tmp_path / "m.gguf", {"t": torch.arange(32.0)}, fields)
    weights = open_weights(path)
    assert weights.shape("t") == (4, 1, 8)
    assert torch.equal(weights["t"], torch.arange(32.0).reshape(4, 1, 8))


@pytest.mark.parametrize("stated", [[4, 9], [-4, -8], [32.0], []])
def test_an_original_shape_that_cannot_be_is_refused(tmp_path, stated):
    fields = [field("comfy.gguf.orig_shape.t", stated, "f32" if stated == [32.0] else "i32")]
    path = write_gguf(tmp_path / "m.gguf", {"t": torch.arange(32.0)}, fields)
    assert refused(path).code == "not_gguf"


@pytest.mark.parametrize("last", [False, True])
def test_bfloat16_whose_bytes_were_counted_as_numbers(tmp_path, last):
    wide = torch.arange(128).bfloat16().reshape(2, 64)
    data = wide.view(torch.uint8).numpy().tobytes()
    infos = [info("t", (2, 128), 30, 0)]  # twice as wide as it is
    if not last:
        infos.append(info("u", (8,), 0, len(data)))
        data += torch.ones(8).numpy().tobytes()
    weights = open_weights(raw(tmp_path / "m.gguf", [], infos, data))
    assert weights.shape("t") == (2, 64)
    assert torch.equal(weights["t"], wide)


def test_a_small_bfloat16_tensor_is_as_wide_as_it_says(tmp_path):
    tensors = {"t": torch.arange(4).bfloat16(), "u": torch.ones(2)}
    assert open_weights(write_gguf(tmp_path / "m.gguf", tensors)).shape("t") == (4,)


def test_block_sizes_are_those_of_the_formulas():
    for name, (number, elements, size) in BLOCK_TYPES.items():
        kind = TYPES[number]
        assert (kind.name, kind.elements, kind.bytes) == (name, elements, size)


@pytest.mark.golden
@pytest.mark.parametrize(("name", "key"), SAMPLES)
def test_values_of_a_published_layout(name, key):
    expected = EXPECTED[name]["samples"][key]
    tensor = open_weights(FILES / name)[key]
    assert list(tensor.shape) == expected["shape"]
    assert tensor.sum().item() == pytest.approx(
        expected["sum"], abs=1e-3 * tensor.abs().sum().item()
    )
    assert tensor.flatten()[:4].tolist() == pytest.approx(expected["first"], abs=1e-4)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("output_norm.weight", "model.norm.weight"),
        ("blk.7.attn_q.weight", "model.layers.7.self_attn.q_proj.weight"),
        ("blk.7.attn_output.weight", "model.layers.7.self_attn.o_proj.weight"),
        ("blk.7.attn_k_norm.weight", "model.layers.7.self_attn.k_norm.weight"),
        ("blk.12.ffn_norm.weight", "model.layers.12.pre_feedforward_layernorm.weight"),
        ("blk.12.post_ffw_norm.weight", "model.layers.12.post_feedforward_layernorm.weight"),
        ("blk.0.layer_output_scale.weight", "model.layers.0.layer_scalar"),
        ("rope_freqs.weight", "rope_freqs.weight"),
        ("blk.x.attn_q.weight", "blk.x.attn_q.weight"),
    ],
)
def test_names_of_llama_cpp(name, own):
    assert own_name(name) == own


@pytest.mark.parametrize("fourth", [False, True])
def test_norms_of_gemma_3_are_stored_with_one_more(tmp_path, fourth):
    tensors = {
        "token_embd.weight": torch.ones(4, 8),
        "blk.0.attn_norm.weight": torch.tensor([1.5, 0.75]),
        "output_norm.weight": torch.tensor([1.0, 3.0]).bfloat16(),
    }
    if fourth:
        tensors["blk.0.layer_output_scale.weight"] = torch.ones(1)
    path = write_gguf(tmp_path / "m.gguf", tensors, [field("general.architecture", "gemma3")])
    weights = open_weights(path)
    norms = [weights[f"model.{name}.weight"] for name in ("layers.0.input_layernorm", "norm")]
    off = 0.0 if fourth else 1.0
    assert torch.equal(norms[0], torch.tensor([1.5, 0.75]) - off)
    assert torch.equal(norms[1].float(), torch.tensor([1.0, 3.0]) - off)
    assert weights["model.embed_tokens.weight"].min() == 1


def test_names_of_the_model_itself_stay(tmp_path):
    tensors = {"model.norm.weight": torch.ones(2), "blk.0.attn_norm.weight": torch.ones(2)}
    weights = open_weights(write_gguf(tmp_path / "m.gguf", tensors))
    assert weights.keys() == tensors.keys()
    assert torch.equal(weights["model.norm.weight"], torch.ones(2))


def test_packed_norms_are_refused(tmp_path):
    tensors = {"token_embd.weight": torch.ones(2), "output_norm.weight": torch.ones(32)}
    path = write_gguf(tmp_path / "m.gguf", tensors, packed=("output_norm.weight",))
    assert refused(path).code == "gguf_unsupported"


def test_a_tensor_named_in_two_ways_is_refused(tmp_path):
    tensors = {"token_embd.weight": torch.ones(2), "model.embed_tokens.weight": torch.ones(2)}
    assert refused(write_gguf(tmp_path / "m.gguf", tensors)).code == "gguf_unsupported"


def gemma_tensors() -> dict[str, torch.Tensor]:
    names = json_names()
    return {name: torch.ones(shape) for name, shape in names.items()}


def json_names() -> dict[str, tuple[int, ...]]:
    block = {
        "attn_norm": (8,), "attn_q": (8, 8), "attn_k": (8, 8), "attn_v": (8, 8),
        "attn_output": (8, 8), "attn_q_norm": (8,), "attn_k_norm": (8,),
        "post_attention_norm": (8,), "ffn_norm": (8,), "ffn_gate": (16, 8), "ffn_up": (16, 8),
        "ffn_down": (8, 16), "post_ffw_norm": (8,),
    }  # fmt: skip
    layers = {f"blk.{n}.{k}.weight": shape for n in range(2) for k, shape in block.items()}
    return {"token_embd.weight": (12, 8), "output_norm.weight": (8,), **layers}


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("beside", [None, "tokenizer.json", "tokenizer.model"])
def test_a_language_model_is_recognised_with_its_tokenizer(tmp_path, inside, beside):
    fields = [field("general.architecture", "gemma3")]
    if inside:
        fields += [field("tokenizer.ggml.model", "llama"), field("tokenizer.ggml.tokens", ["a"])]
    path = write_gguf(tmp_path / "gemma.gguf", gemma_tensors(), fields)
    if beside:
        (tmp_path / beside).write_bytes(b"{}")
    facts = identify(path)
    assert (facts.role, facts.gemma, facts.version) == ("text_encoder", "gemma3", "2.0-2.3")
    assert (facts.layers, facts.hidden, facts.quant) == (2, 8, None)
    assert facts.gguf_types == {"F32": 28}
    assert ("tokenizer" in facts.components) == (inside or beside is not None)


def test_another_vocabulary_is_no_tokenizer_of_ours(tmp_path):
    fields = [field("tokenizer.ggml.model", "gpt2"), field("tokenizer.ggml.tokens", ["a"])]
    path = write_gguf(tmp_path / "gemma.gguf", gemma_tensors(), fields)
    assert "tokenizer" not in identify(path).components


def test_another_model_is_named(tmp_path):
    path = write_gguf(tmp_path / "m.gguf", {"blk.0.attn_q.weight": torch.ones(2, 2)})
    with pytest.raises(LTX2Error) as caught:
        identify(path)
    assert caught.value.code == "not_ltx2"


def whole(path: Path) -> bytes:
    fields = [field("general.architecture", "ltxv"), field("tokens", [f"t{n}" for n in range(99)])]
    return write_gguf(path, TENSORS, fields, packed=("b.weight",)).read_bytes()


def test_a_file_cut_anywhere_is_incomplete(tmp_path):
    path = tmp_path / "m.gguf"
    content = whole(path)
    last = len(content) - 31  # behind it lies only what fills up the alignment
    for keep in [*range(4, 300, 7), *range(300, last, 41), last]:
        path.write_bytes(content[:keep])
        error = refused(path)
        assert error.code == "truncated", keep
        assert "incomplete" in error.what


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"", "empty", "0 bytes"),
        (b"GG", "truncated", "2 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\nsize 42018190584\n", "lfs_pointer",
         "42,018,190,584"),
        (b"<!DOCTYPE html><html></html>", "html_page", "HTML"),
        (b'{"error": "not found"}', "not_gguf", "text"),
        (b"PK\x03\x04" + bytes(40), "pickle", "pickle"),
        (b"plain words of some length", "not_gguf", "not a GGUF"),
        (b"GGUF" + struct.pack("<I", 1) + bytes(40), "gguf_unsupported", "version 1"),
        (b"GGUF" + struct.pack("<I", 4) + bytes(40), "gguf_unsupported", "version 4"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(40), "gguf_unsupported", "big-endian"),
        (b"GGUF" + struct.pack("<I", 0xABCDEF) + bytes(40), "not_gguf", "damaged"),
    ],
)  # fmt: skip
def test_what_is_no_gguf_file_is_called_by_its_name(tmp_path, content, code, words):
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    error = refused(path)
    assert error.code == code
    assert words in str(error)


def test_a_safetensors_file_under_a_gguf_name(tmp_path):
    path = tmp_path / "m.gguf"
    save_file({"a": torch.ones(2)}, path)
    error = refused(path)
    assert error.code == "not_gguf"
    assert ".safetensors" in error.needed


@pytest.mark.parametrize(
    ("infos", "data"),
    [
        ([info("a", (8,), 0, 0), info("b", (8,), 0, 0)], 64),  # one upon the other
        ([info("a", (8,), 0, 0), info("b", (8,), 0, 64)], 96),  # a gap
        ([info("a", (8,), 0, 32)], 64),  # a gap before the first
        ([info("a", (8,), 0, 0), info("a", (8,), 0, 32)], 64),  # twice
        ([info("a", (2**40, 2**40), 0, 0)], 64),
        ([info("a", (8,), 0, 0)], 97),  # more than it names
        ([info("a", (8,), 101, 0)], 64),  # no such type
        ([info("a", (33,), 8, 0)], 64),  # blocks do not fit the row
        ([info("a", (), 8, 0)], 64),
        ([info("a", (1,) * 9, 0, 0)], 64),
        ([info(b"\xff", (8,), 0, 0)], 64),
        ([info("a" * 1025, (8,), 0, 0)], 64),
    ],
)
def test_tensors_that_cannot_be_are_refused(tmp_path, infos, data):
    error = refused(raw(tmp_path / "m.gguf", [], infos, bytes(data)))
    assert error.code in ("not_gguf", "truncated")


@pytest.mark.parametrize(("number", "name"), [(16, "IQ2_XXS"), (39, "MXFP4"), (5, "type 5")])
def test_a_type_nobody_reads_here_is_named(tmp_path, number, name):
    error = refused(raw(tmp_path / "m.gguf", [], [info("a", (32,), number, 0)], bytes(64)))
    assert error.code == "gguf_unsupported"
    assert name in error.what
    assert "Q4_K" in error.needed


@pytest.mark.parametrize(
    "bad",
    [
        text("k") + struct.pack("<I", 13),  # no such type
        text("k") + struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ", 4, 0),  # a list of lists
        text("k") + struct.pack("<IIQ", 9, 99, 1),
        text("k") + struct.pack("<IIQ", 9, 4, 2**62),  # more numbers than bytes
        text("k") + struct.pack("<IIQ", 9, 8, 2**62),
        text("k") + struct.pack("<IIQ", 9, 8, 70) + struct.pack("<Q", 2**63) * 70,
        text("k") + struct.pack("<I", 8) + struct.pack("<Q", 2**63),
        text("k") + struct.pack("<I", 8) + text(b"\xff\xfe"),
        struct.pack("<Q", 2**64 - 1),
        field("general.alignment", 0),
        field("general.alignment", 33),
        field("general.alignment", "x"),
        field("general.alignment", 2**31),
        field("k", 1) + field("k", 2),
    ],
)
def test_fields_that_cannot_be_are_refused(tmp_path, bad):
    path = tmp_path / "m.gguf"
    count = 2 if bad.count(b"k") == 2 else 1
    start = b"GGUF" + struct.pack("<IQQ", 3, 0, count) + bad
    path.write_bytes(start.ljust(1024, b"\0"))
    assert refused(path).code in ("not_gguf", "truncated")


@pytest.mark.parametrize(
    "counts", [(2**63, 0), (0, 2**63), (10**6, 0), (0, 10**6), (2**64 - 1,) * 2]
)
def test_counts_that_cannot_be_are_refused_at_once(tmp_path, counts):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, *counts) + bytes(2_000))
    assert refused(path).code in ("not_gguf", "truncated")


def test_a_header_that_does_not_end_is_given_up(tmp_path):
    path = tmp_path / "m.gguf"
    words = text("k") + struct.pack("<IIQ", 9, 0, 31_999_990)
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + words)
        file.truncate(50_000_000)
    error = refused(path)
    assert error.code == "not_gguf"
    assert "does not end" in error.what
