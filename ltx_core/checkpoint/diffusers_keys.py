"""From the names in diffusers folders to those of the official files, component by component.

Rules, not tables: they hold for any number of blocks. The networks and the recognition of files
then see one naming only.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple


class Official(NamedTuple):
    """Where a tensor of a diffusers file belongs."""

    name: str  # as in a single-file checkpoint
    third: int | None = None  # which third of it, along the rows, this tensor is


#: Components of a transformer's names; both spellings of the two prompt modules exist.
TRANSFORMER: Mapping[str, str] = {
    "proj_in": "patchify_proj",
    "audio_proj_in": "audio_patchify_proj",
    "time_embed": "adaln_single",
    "audio_time_embed": "audio_adaln_single",
    "prompt_adaln": "prompt_adaln_single",
    "audio_prompt_adaln": "audio_prompt_adaln_single",
    "av_cross_attn_video_scale_shift": "av_ca_video_scale_shift_adaln_single",
    "av_cross_attn_audio_scale_shift": "av_ca_audio_scale_shift_adaln_single",
    "av_cross_attn_video_a2v_gate": "av_ca_a2v_gate_adaln_single",
    "av_cross_attn_audio_v2a_gate": "av_ca_v2a_gate_adaln_single",
    "video_a2v_cross_attn_scale_shift_table": "scale_shift_table_a2v_ca_video",
    "audio_a2v_cross_attn_scale_shift_table": "scale_shift_table_a2v_ca_audio",
    "norm_q": "q_norm",
    "norm_k": "k_norm",
}
CONNECTORS: Mapping[str, str] = {
    "video_connector": "model.diffusion_model.video_embeddings_connector",
    "audio_connector": "model.diffusion_model.audio_embeddings_connector",
    "transformer_blocks": "transformer_1d_blocks",
    "text_proj_in": "text_embedding_projection.aggregate_embed",
    "video_text_proj_in": "text_embedding_projection.video_aggregate_embed",
    "audio_text_proj_in": "text_embedding_projection.audio_aggregate_embed",
    "norm_q": "q_norm",
    "norm_k": "k_norm",
}
VOCODER: Mapping[str, str] = {
    "conv_in": "conv_pre",
    "conv_out": "conv_post",
    "resnets": "resblocks",
    "upsamplers": "ups",
    "act_out": "act_post",
    "downsample": "downsample.lowpass",
}
#: Names that both autoencoders have in the same place.
STATISTICS: Mapping[str, str] = {
    "latents_mean": "per_channel_statistics.mean-of-means",
    "latents_std": "per_channel_statistics.std-of-means",
}
#: Of a decoder that is told the noise level, outside its blocks.
CONDITIONED: Mapping[str, str] = {
    "decoder.time_embedder": "decoder.last_time_embedder",
    "decoder.scale_shift_table": "decoder.last_scale_shift_table",
}
THIRDS: Sequence[str] = ("to_q", "to_k", "to_v")
#: A block of the video autoencoder: half, level ("mid_block" has none), what is in it, the rest.
LEVEL = re.compile(
    r"(encoder|decoder)\.(mid_block|down_blocks\.\d+|up_blocks\.\d+)"
    r"(\.downsamplers\.0|\.upsamplers\.0|)\.(.+)"
)
#: Attention of the diffusion decoder, whose queries, keys and values lie in one matrix.
FUSED = re.compile(r"(decoder\.(?:det_stages\.\d+|diff_blocks)\.\d+\.attn)\.(.+)")


def official_names(component: str, keys: Iterable[str]) -> dict[str, Official]:
    """Map all keys of one component's files; `component` is the name of its sub-folder.

    "transformer", "connectors", "vae", "diffusion_decoder", "audio_vae", "vocoder",
    "duration_head"; others (the text encoder) keep their names.
    """
    keys = [*keys]
    if component in ("vae", "diffusion_decoder"):
        return _video_vae(keys)
    naming = NAMINGS.get(component)
    return {key: naming(key) if naming else Official(key) for key in keys}


def by_parts(name: str, parts: Mapping[str, str]) -> str:
    """Replace every dotted part of a name that has another spelling."""
    return ".".join(parts.get(part, part) for part in name.split("."))


def _audio_vae(key: str) -> Official:
    return Official(f"audio_vae.{STATISTICS.get(key, key)}")


def _duration_head(key: str) -> Official:
    start, _, rest = key.rpartition("attention_pooler.")
    module, _, kind = rest.partition(".")
    pooler = f"duration_head.{start}attention_pooler"
    if start + rest == key or module not in (*THIRDS, "to_out"):
        return Official(f"duration_head.{key}")
    if module == "to_out":
        return Official(f"{pooler}.cross_attn.out_proj.{kind}")
    return Official(f"{pooler}.cross_attn.in_proj_{kind}", THIRDS.index(module))


NAMINGS: Mapping[str, Callable[[str], Official]] = {
    "transformer": lambda key: Official(f"model.diffusion_model.{by_parts(key, TRANSFORMER)}"),
    "connectors": lambda key: Official(by_parts(key, CONNECTORS)),
    "vocoder": lambda key: Official(f"vocoder.{by_parts(key, VOCODER)}"),
    "audio_vae": _audio_vae,
    "duration_head": _duration_head,
}


def _video_vae(keys: Sequence[str]) -> dict[str, Official]:
    numbers = _block_numbers(keys)
    return {key: _of_video_vae(key, numbers) for key in keys}


def _of_video_vae(key: str, numbers: Mapping[str, str]) -> Official:
    if level := LEVEL.fullmatch(key):
        half, place, changes, rest = level.groups()
        # diffusers: residual blocks lie in `resnets`, beside what is particular to the level.
        rest = re.sub(r"^resnets\.", "res_blocks.", rest)
        return Official(f"vae.{half}.{numbers[f'{half}.{place}{changes}']}.{rest}")
    if fused := FUSED.fullmatch(key):
        return _attention(f"vae.{fused[1]}", fused[2])
    if key in STATISTICS:
        return Official(f"vae.{STATISTICS[key]}")
    name = key.replace("t_embedder.timestep_embedder.linear_1.", "t_embedder.mlp.0.")
    name = name.replace("t_embedder.timestep_embedder.linear_2.", "t_embedder.mlp.2.")
    for theirs, ours in CONDITIONED.items():
        if name == theirs or name.startswith(f"{theirs}."):
            name = ours + name.removeprefix(theirs)
    return Official(f"vae.{name}")


def _attention(start: str, rest: str) -> Official:
    module, _, kind = rest.partition(".")
    if module in THIRDS:
        return Official(f"{start}.qkv.{kind}", THIRDS.index(module))
    rest = re.sub(r"^to_out\.0\.", "proj.", rest)
    return Official(f"{start}.{by_parts(rest, {'norm_q': 'q_norm', 'norm_k': 'k_norm'})}")


def _block_numbers(keys: Iterable[str]) -> dict[str, str]:
    """Return the number of each block: one list per half, in the order of execution.

    An encoder's level is its residual blocks, then what makes fewer cells; the middle comes last.
    A decoder begins with the middle, and a level begins with what makes more cells.
    """
    places = {
        f"{level[1]}.{level[2]}{level[3]}": None for key in keys if (level := LEVEL.fullmatch(key))
    }
    found: dict[str, str] = {}
    for half, folder in (("encoder", "down_blocks"), ("decoder", "up_blocks")):
        own = sorted((place for place in places if place.startswith(f"{half}.")), key=_order)
        found |= {place: f"{folder}.{number}" for number, place in enumerate(own)}
    return found


def _order(place: str) -> tuple[float, int]:
    half, name, *rest = place.split(".")
    if name == "mid_block":
        return (float("inf") if half == "encoder" else -1, 0)
    changes = len(rest) > 1
    return (int(rest[0]), int(changes if half == "encoder" else not changes))
