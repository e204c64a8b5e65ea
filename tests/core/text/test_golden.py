"""Every stage of the text room against recorded answers."""

import json
from pathlib import Path

import pytest
import torch
from golden import Golden, cases
from ltx2_pack.ltx_core.checkpoint.keys import assign
from ltx2_pack.ltx_core.checkpoint.part import place_on_cpu
from ltx2_pack.ltx_core.checkpoint.section import Section
from ltx2_pack.ltx_core.checkpoint.weights import Weights, open_weights
from ltx2_pack.ltx_core.ops.quantized import quantized
from ltx2_pack.ltx_core.ops.rope import RopeLayout, frequencies, rotary_table
from ltx2_pack.ltx_core.text.config import GemmaConfig, Rope, normalisation_of
from ltx2_pack.ltx_core.text.encoder import encode_prompts
from ltx2_pack.ltx_core.text.features import Features
from ltx2_pack.ltx_core.text.load import (
    connectors_part,
    extractor_part,
    gemma_part,
    generation_of,
    text_encoder,
)
from ltx2_pack.ltx_core.text.tokenizer import read_tokenizer
from ltx2_pack.ltx_core.transformer.feed_forward import ContextProjection
from torch import Tensor, nn

from .files import left_padded, lengths_of, section_of, valid, weights_in


def is_gemma_3(golden: Golden) -> bool:
    return golden.case["format"] in ("hf_gemma3", "comfy_gemma3", "gguf_gemma3")


def gemma_weights(golden: Golden, folder: Path) -> Weights:
    """A fixture's language model; a GGUF file is one, not tensors of one."""
    if golden.case["format"] != "gguf_gemma3":
        return weights_in(golden)
    path = folder / "gemma.gguf"
    path.write_bytes(golden.tensors("weights.")["gguf"].numpy().tobytes())
    weights = open_weights(path)
    # Its pattern of layers is not Gemma 3 12B's, and llama.cpp has no field for it.
    weights.metadata["gemma_config"] = json.loads(golden.metadata["gemma_config"])
    return weights


@pytest.mark.parametrize("golden", cases("tokenize"))
def test_tokens_are_the_references(golden):
    tokenizer = read_tokenizer(weights_in(golden))
    length = golden.case["max_length"]
    rows = [tokenizer.ids(prompt, length) for prompt in golden.case["prompts"]]
    ids, mask = left_padded(rows, length)
    golden.check("input_ids", ids)
    golden.check("attention_mask", mask)


@pytest.mark.parametrize("layers", [nn, quantized], ids=["plain", "packed"])
@pytest.mark.parametrize("golden", cases("gemma_text", is_gemma_3))
def test_gemma_yields_every_hidden_state(golden, layers, tmp_path):
    ids, mask = (golden.tensors("in.")[name] for name in ("input_ids", "attention_mask"))
    weights = gemma_weights(golden, tmp_path)
    part = gemma_part(weights, layers=layers)
    with torch.no_grad(), place_on_cpu(part) as gemma:
        rests_packed = getattr(gemma.layers[0].mlp.up_proj, "packed", None) is not None
        assert rests_packed == (weights.quantised and layers is quantized)
        embeddings = gemma.embed(part.weights["embed_tokens.weight"], valid(ids, mask).tolist())
        states = torch.stack([*gemma(embeddings, lengths_of(mask), ids.shape[1])])
    expected = golden.tensors("out.")["hidden_states"][:, mask.bool()]
    torch.testing.assert_close(states, expected, rtol=0, atol=golden.tolerance)


def gemma_of_size(dim: int, num_layers: int) -> GemmaConfig:
    return GemmaConfig(
        vocab_size=8, dim=dim, mlp_dim=8, num_heads=1, num_kv_heads=1, head_dim=8,
        sees_all=(True,) * num_layers, window=8, query_scalar=8.0, norm_eps=1e-6,
        local_rope=Rope(theta=1.0), global_rope=Rope(theta=1.0),
    )  # fmt: skip


def extracted(golden: Golden) -> Features:
    """Features of the valid tokens of a fixture's hidden states."""
    states, mask = (golden.tensors("in.")[name] for name in ("hidden_states", "attention_mask"))
    kind = normalisation_of(Section("transformer", section_of(golden)))
    size = gemma_of_size(golden.case["hidden_size"], golden.case["num_hidden_layers"])
    part = extractor_part(weights_in(golden), size, kind)
    with torch.no_grad(), place_on_cpu(part) as extractor:
        return extractor((valid(state, mask) for state in states), lengths_of(mask))


@pytest.mark.parametrize("golden", cases("feature_extractor"))
def test_features_of_valid_tokens(golden):
    mask = golden.tensors("in.")["attention_mask"].bool()
    weights = weights_in(golden)
    for name, found in extracted(golden)._asdict().items():
        # Where a prompt is padded, the reference projects zeros: what remains is the bias.
        key = f"text_embedding_projection.{name}_aggregate_embed.bias"
        bias = weights.get(key, torch.zeros(found.shape[-1]))
        whole = bias.expand(*mask.shape, -1).clone()
        whole[mask] = found
        golden.check(f"{name}_features", whole)


def connected(golden: Golden, features: Features, mask: Tensor) -> dict[str, Tensor]:
    part = connectors_part(weights_in(golden), Section("transformer", section_of(golden)))
    with torch.no_grad(), place_on_cpu(part) as connectors:
        video, audio = connectors(features, lengths_of(mask), mask.shape[1])
    return {"video_encoding": video, "audio_encoding": audio}


@pytest.mark.parametrize("golden", cases("connector"))
def test_connectors_give_the_contexts(golden):
    given = golden.tensors("in.")
    mask = given["attention_mask"]
    features = Features(*(valid(given[f"{name}_features"], mask) for name in ("video", "audio")))
    for name, context in connected(golden, features, mask).items():
        golden.check(name, context)


@pytest.mark.parametrize("golden", cases("connector_rope"))
def test_connector_angles(golden):
    case, positions = golden.case, golden.tensors("in.")["positions"].float()
    table = rotary_table(
        positions[None, None, :, None].expand(1, 1, len(positions), 2),
        frequencies(case["dim"], 1, case["theta"], double=case["double_precision"]),
        tuple(torch.tensor(case["max_pos"]).flatten().tolist()),
        dim=case["dim"],
        num_heads=case["heads"],
        layout=RopeLayout(case["rope_type"]),
    )
    golden.check("cos", table.cos)
    golden.check("sin", table.sin)


@pytest.mark.parametrize("golden", cases("embeddings_processor"))
def test_extractor_and_connectors_together(golden):
    mask = golden.tensors("in.")["attention_mask"]
    for name, context in connected(golden, extracted(golden), mask).items():
        golden.check(name, context)


@pytest.mark.parametrize("golden", cases("text_conditioning", is_gemma_3))
def test_prompts_become_contexts(golden):
    weights = weights_in(golden)
    encoder = text_encoder(weights, weights, layers=quantized if weights.quantised else nn)
    length = golden.case["max_length"]
    contexts = encode_prompts(encoder, golden.case["prompts"], length=length)
    golden.check("video_context", torch.cat([context.video for context in contexts]))
    golden.check("audio_context", torch.cat([context.audio for context in contexts]))


@pytest.mark.parametrize("golden", cases("caption_projection"))
def test_caption_projection_of_2_0(golden):
    given = golden.tensors("in.")["context"]
    for stream, prefix in (("video", ""), ("audio", "audio_")):
        key = f"model.diffusion_model.{prefix}caption_projection."
        state = {n.removeprefix(key): t for n, t in weights_in(golden).items() if n.startswith(key)}
        width, context_dim = state["linear_1.weight"].shape
        projection = ContextProjection(context_dim, width, device=torch.device("meta"))
        assign(projection, state)
        golden.check(f"{stream}_context", projection(given).detach())


def gemma_3_wholes() -> list:
    return cases(
        "whole",
        lambda golden: golden.case["part"] == "text" and "gemma" in golden.metadata["files"],
    )


@pytest.mark.parametrize("golden", gemma_3_wholes())
def test_real_files_by_path(golden):
    files = json.loads(golden.metadata["files"])
    gemma, checkpoint = (
        open_weights(golden.path.parent / files[r]) for r in ("gemma", "checkpoint")
    )
    encoder = text_encoder(gemma, checkpoint)
    assert encoder.generation == generation_of(checkpoint) == golden.case["generation"]

    prompts = [golden.case["prompt"], golden.case["negative_prompt"]]
    ids, mask = left_padded([encoder.tokenizer.ids(p) for p in prompts], golden.case["max_length"])
    golden.check("input_ids", ids)
    golden.check("attention_mask", mask)

    rows, tolerances = golden.case["context_rows"], json.loads(golden.metadata["tolerances"])
    expected = golden.tensors("out.")
    contexts = zip(("positive", "negative"), encode_prompts(encoder, prompts), strict=True)
    for sign, context in contexts:
        for stream, found in (("video", context.video), ("audio", context.audio)):
            name = f"context.{stream}.{sign}"
            torch.testing.assert_close(
                found[:, rows], expected[name], rtol=0, atol=tolerances[f"out.{name}"]
            )
