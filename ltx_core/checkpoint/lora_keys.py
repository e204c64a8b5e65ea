"""The spellings of LoRA keys, and the official module name each one means.

Writers differ in the prefix (`diffusion_model.`, `transformer.`, `lora_unet_`, ...), in the names
of modules (diffusers has its own) and in the ending that says which part of the change it is.
"""

import re
from typing import NamedTuple

#: How a key ends, and which part of a module's change it holds. The longer ending stands first.
ENDINGS = (
    (".lora_A.default.weight", "down"), (".lora_B.default.weight", "up"),
    (".lora_A.weight", "down"), (".lora_B.weight", "up"),
    (".lora_A", "down"), (".lora_B", "up"),
    (".lora_down.weight", "down"), (".lora_up.weight", "up"),
    ("_lora.down.weight", "down"), ("_lora.up.weight", "up"),
    (".lora.down.weight", "down"), (".lora.up.weight", "up"),
    (".lora_linear_layer.down.weight", "down"), (".lora_linear_layer.up.weight", "up"),
    (".alpha", "alpha"), (".dora_scale", "dora_scale"),
    (".diff_b", "diff_b"), (".diff", "diff"), (".set_weight", "set_weight"),
    (".w_norm", "w_norm"), (".b_norm", "b_norm"),
    (".lora_mid.weight", "lora_mid"), (".reshape_weight", "reshape_weight"),
    *((f".{kind}", kind) for kind in (
        "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2",
        "lokr_w1", "lokr_w2", "lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b", "lokr_t2",
    )),
)  # fmt: skip
_ENDS = tuple(ending for ending, _ in ENDINGS)
#: Prefix -> the writer it tells of. Tried in this order, one after another where two are stacked.
PREFIXES = (
    ("base_model.model.diffusion_model.", "peft"),
    ("base_model.model.", "peft"),
    ("diffusion_model.", "official"),
    ("model.diffusion_model.", "comfy"),
    ("lora_unet_", "kohya"),
    ("lycoris_", "kohya"),
    ("transformer.", "diffusers"),
    ("connectors.", "diffusers"),
)
#: diffusers name -> official name of the first components of a module.
DIFFUSERS = (
    ("proj_in", "patchify_proj"),
    ("audio_proj_in", "audio_patchify_proj"),
    ("time_embed", "adaln_single"),
    ("audio_time_embed", "audio_adaln_single"),
    ("prompt_adaln", "prompt_adaln_single"),
    ("audio_prompt_adaln", "audio_prompt_adaln_single"),
    ("av_cross_attn_video_scale_shift", "av_ca_video_scale_shift_adaln_single"),
    ("av_cross_attn_audio_scale_shift", "av_ca_audio_scale_shift_adaln_single"),
    ("av_cross_attn_video_a2v_gate", "av_ca_a2v_gate_adaln_single"),
    ("av_cross_attn_audio_v2a_gate", "av_ca_v2a_gate_adaln_single"),
    ("video_connector.transformer_blocks", "video_embeddings_connector.transformer_1d_blocks"),
    ("audio_connector.transformer_blocks", "audio_embeddings_connector.transformer_1d_blocks"),
    ("text_proj_in", "text_embedding_projection.aggregate_embed"),
    ("video_text_proj_in", "text_embedding_projection.video_aggregate_embed"),
    ("audio_text_proj_in", "text_embedding_projection.audio_aggregate_embed"),
)

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "to_gate_logits", "q_norm", "k_norm")
_FEED_FORWARD = ("net.0.proj", "net.2")
_ADALN = (
    "adaln_single", "audio_adaln_single", "prompt_adaln_single", "audio_prompt_adaln_single",
    "av_ca_video_scale_shift_adaln_single", "av_ca_audio_scale_shift_adaln_single",
    "av_ca_a2v_gate_adaln_single", "av_ca_v2a_gate_adaln_single",
)  # fmt: skip
#: What follows `<blocks>.<number>.` in the transformer and in the connectors.
BLOCK_MODULES = {
    "transformer_blocks": frozenset(
        [f"{name}.{leaf}" for name in (
            "attn1", "attn2", "audio_attn1", "audio_attn2",
            "audio_to_video_attn", "video_to_audio_attn",
        ) for leaf in _ATTENTION]
        + [f"{name}.{leaf}" for name in ("ff", "audio_ff") for leaf in _FEED_FORWARD]
    ),
    **{
        f"{stream}_embeddings_connector.transformer_1d_blocks": frozenset(
            [f"attn1.{leaf}" for leaf in _ATTENTION] + [f"ff.{leaf}" for leaf in _FEED_FORWARD]
        )
        for stream in ("video", "audio")
    },
}  # fmt: skip
#: Every other module of an LTX-2 model that has a weight a LoRA may change.
SINGLE_MODULES = frozenset(
    ["patchify_proj", "proj_out", "audio_patchify_proj", "audio_proj_out"]
    + [f"{name}.{leaf}" for name in _ADALN for leaf in (
        "linear", "emb.timestep_embedder.linear_1", "emb.timestep_embedder.linear_2",
    )]
    + [f"{name}.{leaf}" for name in ("caption_projection", "audio_caption_projection")
       for leaf in ("linear_1", "linear_2")]
    + [f"text_embedding_projection.{name}" for name in (
        "aggregate_embed", "video_aggregate_embed", "audio_aggregate_embed",
    )]
)  # fmt: skip

_BLOCK = re.compile(r"(.+?)\.(\d+)\.(.+)")
#: The same names with every dot an underscore, as kohya writes them.
_FLAT_SINGLE = {name.replace(".", "_"): name for name in SINGLE_MODULES}
_FLAT_BLOCK = {
    blocks: {name.replace(".", "_"): name for name in names}
    for blocks, names in BLOCK_MODULES.items()
}
_AUDIO_BLOCK_CHILDREN = ("audio_attn1.", "audio_attn2.", "audio_ff.", "video_to_audio_attn.")
_AUDIO_SINGLE = (
    "audio_", "av_ca_audio_scale_shift_adaln_single", "av_ca_v2a_gate_adaln_single",
    "text_embedding_projection.audio_",
)  # fmt: skip


class LoraKey(NamedTuple):
    """What one key of a LoRA file means."""

    module: str  # the official module name where it is known, else as written, without the prefix
    part: str  # "down", "up", "alpha", "dora_scale", "diff", "diff_b", ...
    writer: str  # "official", "comfy", "kohya", "peft", "diffusers" or "bare"


def lora_key(key: str) -> LoraKey | None:
    """Take a key apart; None if it does not end like a LoRA key."""
    if not key.endswith(_ENDS):  # most keys of most files
        return None
    ending, part = next(pair for pair in ENDINGS if key.endswith(pair[0]))
    stem = key.removesuffix(ending)
    prefix, writer = next((pair for pair in PREFIXES if stem.startswith(pair[0])), ("", "bare"))
    name = stem.removeprefix(prefix)
    if writer == "official" and ".lora_A" not in ending and ".lora_B" not in ending:
        writer = "comfy"
    if writer == "kohya":
        return LoraKey(_unflattened(name) or name, part, writer)
    return LoraKey(_official(name), part, writer)


def is_module(name: str) -> bool:
    """Say whether an LTX-2 model can have this module, whatever its number of blocks."""
    if name in SINGLE_MODULES:
        return True
    block = _BLOCK.fullmatch(name)
    return block is not None and block[3] in BLOCK_MODULES.get(block[1], ())


def stream_of(module: str) -> str:
    """Return the stream ("video" or "audio") that a module's output lands in."""
    block = _BLOCK.fullmatch(module)
    if block is not None and block[1] == "transformer_blocks":
        return "audio" if block[3].startswith(_AUDIO_BLOCK_CHILDREN) else "video"
    return "audio" if module.startswith(_AUDIO_SINGLE) else "video"


def _official(name: str) -> str:
    """Translate a diffusers module name; any other name comes back as it is."""
    for theirs, ours in DIFFUSERS:
        if name == theirs or name.startswith(f"{theirs}."):
            name = ours + name.removeprefix(theirs)
            break
    for theirs, ours in ((".norm_q", ".q_norm"), (".norm_k", ".k_norm")):
        if name.endswith(theirs):
            name = name.removesuffix(theirs) + ours
    return name


def _unflattened(name: str) -> str | None:
    """Put the dots back into a name that has underscores for them."""
    if name in _FLAT_SINGLE:
        return _FLAT_SINGLE[name]
    for blocks, leaves in _FLAT_BLOCK.items():
        flat = f"{blocks.replace('.', '_')}_"
        number, _, leaf = name.removeprefix(flat).partition("_")
        if name.startswith(flat) and number.isdigit() and leaf in leaves:
            return f"{blocks}.{number}.{leaves[leaf]}"
    return None
