"""Where the transformer's tensors sit in a file, and what its tensors say of its structure."""

from collections.abc import Callable, Iterable, Mapping

from ..checkpoint.diffusers_keys import TRANSFORMER as DIFFUSERS
from ..checkpoint.diffusers_keys import by_parts
from ..checkpoint.keys import KeyTable, rename

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.", "")
#: Belong to `ltx_core.text`, whatever the prefix.
CONNECTORS = (
    "video_embeddings_connector.",
    "audio_embeddings_connector.",
    "embeddings_connector.",
)
#: What only one of the streams needs, by the beginning of a name or of a block's name.
CROSSING = (
    "av_ca_", "audio_to_video_attn.", "video_to_audio_attn.", "scale_shift_table_a2v_ca_",
)  # fmt: skip


def table(prefix: str) -> KeyTable:
    """Return the rules for a file whose transformer stands under `prefix`."""
    return (*((prefix + connector, None) for connector in CONNECTORS), (prefix, ""))


def parameter_names(keys: Iterable[str]) -> dict[str, str]:
    """Map a file's keys to parameter names; empty if the file holds no LTX transformer."""
    keys = [*keys]
    known = set(keys)
    for prefix in PREFIXES:
        for first in ("patchify_proj.weight", "audio_patchify_proj.weight"):
            if prefix + first in known:
                return rename(keys, table(prefix))
        for first in ("proj_in.weight", "audio_proj_in.weight"):
            if prefix + first in known:
                names = rename(keys, table(prefix))
                return {key: from_diffusers(name) for key, name in names.items()}
    return {}


def from_diffusers(name: str) -> str:
    """Return the official name of a parameter in diffusers' naming: whole components change."""
    return by_parts(name, DIFFUSERS)


def belongs(name: str, *, video: bool, audio: bool) -> bool:
    """Say whether the variant with these streams has the parameter `name`."""
    parts = name.split(".", 2)
    own = ".".join(parts[2:]) if parts[0] == "transformer_blocks" else name
    if own.startswith(CROSSING):
        return video and audio
    return audio if own.startswith("audio_") else video


def structure(
    shape: Callable[[str], tuple[int, ...]], names: Mapping[str, str], heads: int
) -> dict[str, object]:
    """Read from tensors what they show, as keys of a config. `shape` takes parameter names.

    Widths come from norms and biases, which no quantised file packs. `heads` counts where there
    are no gates to count.
    """
    blocks = [int(name.split(".")[1]) for name in names if name.startswith("transformer_blocks.")]
    shown: dict[str, object] = {
        "num_layers": max(blocks, default=-1) + 1,
        "caption_proj_before_connector": not (
            {"caption_projection.linear_1.bias", "audio_caption_projection.linear_1.bias"}
            & {*names}
        ),
        "use_prompt_adaln_single": bool(
            {"prompt_adaln_single.linear.bias", "audio_prompt_adaln_single.linear.bias"} & {*names}
        ),
        "use_keyframes_abs_pos_embedding": "keyframes_abs_pos_embedding" in names,
    }
    for prefix in ("", "audio_"):
        first = f"transformer_blocks.0.{prefix}"
        if f"{first}scale_shift_table" not in names:
            continue
        (dim,) = shape(f"{first}attn1.q_norm.weight")
        gated = f"{first}attn1.to_gate_logits.bias" in names
        count = shape(f"{first}attn1.to_gate_logits.bias")[0] if gated else heads
        shown[f"{prefix}num_attention_heads"] = count
        shown[f"{prefix}attention_head_dim"] = dim // count
        shown[f"{prefix}cross_attention_dim"] = dim
        shown[f"{prefix}in_channels"] = shape(f"{prefix}patchify_proj.weight")[1]
        shown[f"{prefix}out_channels"] = shape(f"{prefix}proj_out.bias")[0]
        shown[f"{prefix}ff_bias"] = f"{first}ff.net.2.bias" in names
        shown["apply_gated_attention"] = gated
        shown["cross_attention_adaln"] = shape(f"{first}scale_shift_table")[0] == 9
        if f"{prefix}caption_projection.linear_1.bias" in names:
            shown["caption_channels"] = shape(f"{prefix}caption_projection.linear_1.weight")[1]
    return shown
