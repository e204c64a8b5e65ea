"""A tiny Gemma 3 of random numbers, with a real tokenizer, in both layouts users have."""

import io
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..ltx_core.text.config import GemmaConfig, Rope
from ..ltx_core.text.gemma import Gemma
from .tiny_numbers import Numbers, shapes_of
from .tiny_sizes import GEMMA_LAYERS, NUM_HEADS, TEXT_DIM, VOCABULARY, gemma_folder_config

#: What the tokenizer learns its pieces from; bytes stand for all else.
SENTENCES = (
    "A red fox walks through deep snow while the wind blows and the trees creak.",
    "Slow camera movement along a quiet street at night, rain falling on the pavement.",
    "A woman in a blue coat speaks to the camera: good evening, and welcome to the show.",
    "Waves roll onto the beach, gulls cry, and a child laughs in the distance.",
    "An old man plays the piano in a warm room, close-up of his hands on the keys.",
    "worst quality, inconsistent motion, blurry, jittery, distorted, watermark, text",
)
#: The picture tower, which prompts do not use: name -> shape, width 8.
TOWER = {
    "embeddings.patch_embedding.weight": (8, 3, 4, 4),
    "embeddings.patch_embedding.bias": (8,),
    "embeddings.position_embedding.weight": (4, 8),
    **{
        f"encoder.layers.0.{module}.{kind}": (8, 8) if kind == "weight" else (8,)
        for module in (
            "mlp.fc1", "mlp.fc2", "self_attn.k_proj", "self_attn.out_proj", "self_attn.q_proj",
            "self_attn.v_proj",
        )
        for kind in ("weight", "bias")
    },
    **{
        f"{norm}.{kind}": (8,)
        for norm in ("encoder.layers.0.layer_norm1", "encoder.layers.0.layer_norm2",
                     "post_layernorm")
        for kind in ("weight", "bias")
    },
}  # fmt: skip
PROJECTOR = {"mm_input_projection_weight": (8, TEXT_DIM), "mm_soft_emb_norm.weight": (8,)}


def write_gemma_file(path: Path, seed: int) -> Path:
    """Write a single file as ComfyUI has it, the tokenizer in the tensor `spiece_model`."""
    tensors = _tensors("model.", "vision_model.", seed)
    spiece = torch.frombuffer(bytearray(spiece_model()), dtype=torch.uint8)
    save_file({**tensors, "spiece_model": spiece}, path)
    return path


def write_gemma_folder(folder: Path, seed: int) -> Path:
    """Write a Hugging Face folder: two shards, their index, config and tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = _tensors("language_model.model.", "vision_tower.vision_model.", seed)
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    weight_map = {key: names["vision" in key or ".norm." in key] for key in tensors}
    for name in names:
        shard = {key: tensor for key, tensor in tensors.items() if weight_map[key] == name}
        save_file(shard, folder / name, {"format": "pt"})
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    (folder / "config.json").write_text(json.dumps(gemma_folder_config()), "utf-8")
    (folder / "tokenizer.model").write_bytes(spiece_model())
    return folder


def spiece_model() -> bytes:
    """Train a small SentencePiece model, with bytes for what it has no pieces of."""
    import sentencepiece  # late: only writing models needs it

    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=trained, model_type="unigram",
        vocab_size=VOCABULARY, hard_vocab_limit=False, byte_fallback=True, character_coverage=1.0,
        add_dummy_prefix=False, remove_extra_whitespaces=False,
        normalization_rule_name="identity", pad_id=0, eos_id=1, bos_id=2, unk_id=3,
        num_threads=1, minloglevel=2,
    )  # fmt: skip
    return trained.getvalue()


def _tensors(model: str, tower: str, seed: int) -> dict[str, Tensor]:
    """Return language model, picture tower and projector under the names of one layout."""
    config = GemmaConfig(
        vocab_size=VOCABULARY,
        dim=TEXT_DIM,
        mlp_dim=2 * TEXT_DIM,
        num_heads=NUM_HEADS,
        num_kv_heads=1,
        head_dim=TEXT_DIM // NUM_HEADS,
        sees_all=(False,) * (GEMMA_LAYERS - 1) + (True,),
        window=1024,
        query_scalar=256,
        norm_eps=1e-6,
        local_rope=Rope(theta=10_000.0),
        global_rope=Rope(theta=1_000_000.0, factor=8.0),
    )
    network = Gemma(config, device=torch.device("meta"))
    shapes = {
        f"{model}embed_tokens.weight": (VOCABULARY, TEXT_DIM),
        **{model + name: shape for name, shape in shapes_of(network).items()},
        **{tower + name: shape for name, shape in TOWER.items()},
        **{f"multi_modal_projector.{name}": shape for name, shape in PROJECTOR.items()},
    }
    # Gemma's norms multiply by one plus what is stored.
    return Numbers(seed, norm=0.0).tensors(shapes)
