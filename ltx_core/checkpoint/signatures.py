"""Which parts of LTX-2 a set of tensor names holds: one unmistakable name or shape for each."""

from collections.abc import Callable, Mapping, Sequence

from .header import Header, TensorEntry

Keys = Mapping[str, TensorEntry]

#: Prefixes a transformer has been published under; the official one first.
TRANSFORMER_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "")
GEMMA_PREFIXES = ("model.", "language_model.model.", "model.language_model.")
PROJECTION = "text_embedding_projection."
#: What stands for a tensor that is not there.
ABSENT = TensorEntry("", (), 0, 0)


def components(header: Header) -> tuple[str, ...]:
    """Return the parts a file holds, in the order transformer ... tokenizer."""
    keys = header.tensors
    found = [name for name, is_there in SIGNATURES if is_there(keys)]
    tokenizers = {"spiece_model", "tokenizer_json"}
    if header.metadata.get("tokenizer.ggml.model") == "llama":  # pieces with scores
        tokenizers.add("tokenizer.ggml.tokens")
    if gemma_prefix(keys) is not None and tokenizers & (keys.keys() | header.metadata.keys()):
        found.append("tokenizer")
    return tuple(found)


def transformer_prefix(keys: Keys) -> str | None:
    """Return what stands before the transformer's names; None if there is no such network."""
    signature = "audio_adaln_single.linear.weight"
    return next((p for p in TRANSFORMER_PREFIXES if p + signature in keys), None)


def gemma_prefix(keys: Keys) -> str | None:
    """Return what stands before the language model's names; None if there is none."""
    # Gemma 2 has the same norms, but none on its queries.
    signatures = ("layers.0.post_feedforward_layernorm.weight", "layers.0.self_attn.q_norm.weight")
    return next((p for p in GEMMA_PREFIXES if all(p + s in keys for s in signatures)), None)


def is_gemma4(keys: Keys) -> bool:
    """Tell Gemma 4 from Gemma 3: only its layers have a scalar."""
    return any(f"{prefix}layers.0.layer_scalar" in keys for prefix in GEMMA_PREFIXES)


def projection(keys: Keys) -> TensorEntry | None:
    """Return the text projection's weight, of two the video stream's."""
    names = ("aggregate_embed", "video_aggregate_embed")
    return next((keys[k] for n in names if (k := f"{PROJECTION}{n}.weight") in keys), None)


def video_decoder(keys: Keys) -> str | None:
    """Return the kind of a video VAE's decoder: "conv" or "diffusion"."""
    for prefix in ("vae.", ""):
        if f"{prefix}decoder.conv_in_x_t.weight" in keys:
            return "diffusion"
        statistics = f"{prefix}per_channel_statistics.mean-of-means"
        if f"{prefix}decoder.conv_in.conv.weight" in keys and statistics in keys:
            return "conv"
    return None


def vocoder(keys: Keys) -> str | None:
    """Return the kind of vocoder: "plain", or "bwe" with bandwidth extension."""
    if any(key.startswith("vocoder.bwe_generator.") for key in keys):
        return "bwe"
    names = ("vocoder.conv_pre.weight", "vocoder.vocoder.conv_pre.weight")
    return "plain" if any(name in keys for name in names) else None


def _one_of(*names: str) -> Callable[[Keys], bool]:
    return lambda keys: any(name in keys for name in names)


def _ending(*ends: str) -> Callable[[Keys], bool]:
    return lambda keys: any(key.endswith(ends) for key in keys)


def _has_video_vae(keys: Keys) -> bool:
    encoder = ("vae.encoder.conv_in.conv.weight", "encoder.conv_in.conv.weight")
    # The audio VAE has an encoder of the same name, over pictures: one axis less.
    return video_decoder(keys) is not None or any(
        len(keys.get(name, ABSENT).shape) == 5 for name in encoder
    )


def _has_upscaler(keys: Keys) -> bool:
    return {"initial_conv.weight", "post_upsample_res_blocks.0.conv2.bias"} <= keys.keys()


def _has_preview(keys: Keys) -> bool:
    return "decoder.22.bias" in keys and keys.get("decoder.1.weight", ABSENT).shape[1:2] == (128,)


SIGNATURES: Sequence[tuple[str, Callable[[Keys], bool]]] = (
    ("transformer", lambda keys: transformer_prefix(keys) is not None),
    ("connectors", _ending("_embeddings_connector.learnable_registers")),
    ("gemma3", lambda keys: gemma_prefix(keys) is not None and not is_gemma4(keys)),
    ("gemma4", lambda keys: gemma_prefix(keys) is not None and is_gemma4(keys)),
    ("text_projection", lambda keys: projection(keys) is not None),
    ("video_vae", _has_video_vae),
    (
        "audio_vae",
        _one_of("audio_vae.decoder.conv_in.conv.weight", "audio_vae.encoder.conv_in.conv.weight"),
    ),
    ("vocoder", lambda keys: vocoder(keys) is not None),
    ("duration_head", _ending("attention_pooler.query_tokens")),
    ("latent_upscaler", _has_upscaler),
    ("preview_vae", _has_preview),
)
