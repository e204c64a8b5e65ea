"""The same model in other layouts: split as others repack it, and as a diffusers folder.

The names come from the recorded tables, not from the code under test.
"""

import gzip
import json
import re
import shutil
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from checkpoint_files import tensors_of
from golden import FOLDER
from safetensors.torch import save_file
from torch import Tensor

TABLES = FOLDER / "loading" / "key_rename"
TRANSFORMER = "model.diffusion_model."
#: A number that counts modules; not that of `attn1` or `linear_1`.
NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")
#: What begins the names of each part in a single file.
PARTS: dict[str, Callable[[str], bool]] = {
    "transformer": lambda key: key.startswith(TRANSFORMER) and "embeddings_connector" not in key,
    "connectors": lambda key: "embeddings_connector." in key,
    "text_projection": lambda key: key.startswith("text_embedding_projection."),
    "video_vae": lambda key: key.startswith("vae."),
    "audio_vae": lambda key: key.startswith(("audio_vae.", "vocoder.")),
}


def table_of(name: str) -> dict[str, Any]:
    """Read a recorded table; a table that is another's is that one."""
    found = json.loads(gzip.decompress((TABLES / f"{name}.json.gz").read_bytes()))
    return table_of(found["same_as"]) if "same_as" in found else found


def take(tensors: dict[str, Tensor], *parts: str) -> dict[str, Tensor]:
    return {k: t for k, t in tensors.items() if any(PARTS[part](k) for part in parts)}


def split(source: Path, models: Path, *, prefix: str = "diffusion_model.") -> dict[str, str]:
    """Write a single-file checkpoint as five files without its config; return widget values.

    The transformer alone under `prefix`, connectors and projection in files of their own, both
    autoencoders with and without the prefix people leave.
    """
    tensors, metadata = tensors_of(source)
    config = json.loads(metadata["config"])
    stated = {key: value for key, value in metadata.items() if key == "model_version"}

    def write(name: str, parts: dict[str, Tensor], *sections: str) -> str:
        path = models / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {key: config[key] for key in sections}
        save_file(parts, path, stated | ({"config": json.dumps(kept)} if kept else {}))
        return path.name

    def renamed(part: str, old: str, new: str) -> dict[str, Tensor]:
        return {new + key.removeprefix(old): t for key, t in take(tensors, part).items()}

    generation = "2.3" if stated else "2"
    write(f"text_encoders/ltx-{generation}_text_projection_bf16.safetensors",
          take(tensors, "text_projection"))  # fmt: skip
    write(f"text_encoders/ltx-{generation}_embeddings_connector_bf16.safetensors",
          take(tensors, "connectors"))  # fmt: skip
    return {
        "unet_name": write(
            f"diffusion_models/ltx-{generation}_transformer_only_bf16.safetensors",
            renamed("transformer", TRANSFORMER, prefix), "transformer",
        ),
        "video_vae": write(
            f"vae/LTX{generation}_video_vae_bf16.safetensors", renamed("video_vae", "vae.", ""),
            "vae",
        ),
        "audio_vae": write(
            f"checkpoints/LTX{generation}_audio_vae_bf16.safetensors", take(tensors, "audio_vae"),
            "audio_vae", "vocoder",
        ),
    }  # fmt: skip


@cache
def theirs_of(table: str) -> dict[str, str]:
    """Official name -> diffusers name, with `#` for every number, from a recorded table."""
    pairs = table_of(table)["diffusers_to_official"]
    return {NUMBER.sub("#", ours): NUMBER.sub("#", theirs) for theirs, ours in pairs.items()}


def by_table(table: str, key: str) -> str:
    """Rename one official key; the numbers in it stay."""
    template = theirs_of(table)[NUMBER.sub("#", key)]
    return template.replace("#", "{}").format(*NUMBER.findall(key))


def their_vae(keys: Iterable[str]) -> dict[str, str]:
    """Rename the video VAE, whose blocks diffusers groups into levels and a middle."""
    found: dict[str, str] = {}
    keys = [key.removeprefix("vae.") for key in keys]
    for half, folder in (("encoder", "down_blocks"), ("decoder", "up_blocks")):
        own = [key for key in keys if key.startswith(f"{half}.{folder}.")]
        numbers = sorted({int(key.split(".")[2]) for key in own})
        residual = {n for n in numbers if any(f"{folder}.{n}.res_blocks" in key for key in own)}
        middle = numbers[-1] if half == "encoder" else numbers[0]
        middle = middle if middle in residual else None
        level, places = 0, {}
        change = "downsamplers.0" if half == "encoder" else "upsamplers.0"
        for number in numbers:
            if number == middle:
                places[number] = f"{half}.mid_block"
            elif half == "encoder":
                places[number] = f"{half}.{folder}.{level}" + (
                    "" if number in residual else f".{change}"
                )
                level += number not in residual
            else:
                places[number] = f"{half}.{folder}.{level}" + (
                    "" if number in residual else f".{change}"
                )
                level += number in residual
        for key in own:
            number = int(key.split(".")[2])
            rest = key.removeprefix(f"{half}.{folder}.{number}.").replace("res_blocks.", "resnets.")
            found[key] = f"{places[number]}.{rest}"
    for key in keys:
        statistics = {"mean-of-means": "latents_mean", "std-of-means": "latents_std"}
        found.setdefault(key, statistics.get(key.removeprefix("per_channel_statistics."), key))
    return {f"vae.{ours}": theirs for ours, theirs in found.items()}


def diffusers(source: Path, gemma: Path, folder: Path, generation: str) -> Path:
    """Write a single-file checkpoint and its language model as a diffusers folder."""
    tensors, metadata = tensors_of(source)
    config = json.loads(metadata["config"])
    table = {part: f"{part}_{generation}" for part in ("transformer", "connectors", "audio_vae",
                                                      "vocoder")}  # fmt: skip
    vae = their_vae(key for key in tensors if key.startswith("vae."))
    written: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if PARTS["transformer"](key):
            part, name = (
                "transformer",
                by_table(table["transformer"], key.removeprefix(TRANSFORMER)),
            )
        elif PARTS["connectors"](key) or PARTS["text_projection"](key):
            part, name = "connectors", by_table(table["connectors"], key.removeprefix(TRANSFORMER))
        elif key.startswith("vae."):
            part, name = "vae", vae[key]
        elif key.startswith("audio_vae."):
            part, name = "audio_vae", by_table(table["audio_vae"], key.removeprefix("audio_vae."))
        else:
            part, name = "vocoder", by_table(table["vocoder"], key.removeprefix("vocoder."))
        written.setdefault(part, {})[name] = tensor
    for part, content in written.items():
        (folder / part).mkdir(parents=True)
        values = their_config(part, config)
        (folder / part / "config.json").write_text(json.dumps(values), "utf-8")
        write_part(folder / part, content, shards=2 if part == "transformer" else 1)
    index = {"_class_name": "LTX2Pipeline", **{part: ["diffusers", "?"] for part in written}}
    (folder / "model_index.json").write_text(json.dumps(index), "utf-8")
    shutil.copytree(gemma, folder / "text_encoder", ignore=shutil.ignore_patterns("tokenizer*"))
    shutil.copytree(gemma, folder / "tokenizer", ignore=shutil.ignore_patterns("*.safetensors*"))
    return folder


def write_part(folder: Path, tensors: dict[str, Tensor], shards: int) -> None:
    stem, names = "diffusion_pytorch_model", sorted(tensors)
    if shards == 1:
        save_file(tensors, folder / f"{stem}.safetensors", {"format": "pt"})
        return
    files = {}
    for number in range(shards):
        own = names[number::shards]
        file = f"{stem}-{number + 1:05}-of-{shards:05}.safetensors"
        save_file({name: tensors[name] for name in own}, folder / file, {"format": "pt"})
        files |= dict.fromkeys(own, file)
    index = {"metadata": {}, "weight_map": files}
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index), "utf-8")


def their_config(part: str, config: dict[str, Any]) -> dict[str, Any]:
    """State a part's sizes in diffusers' words."""
    transformer, vae = config["transformer"], config["vae"]
    newer = transformer.get("apply_gated_attention", False)
    if part == "transformer":
        limits = transformer["positional_embedding_max_pos"]
        return {
            "_class_name": "LTX2VideoTransformer3DModel",
            **{key: transformer[key] for key in (
                "num_layers", "num_attention_heads", "attention_head_dim", "cross_attention_dim",
                "audio_num_attention_heads", "audio_attention_head_dim",
                "audio_cross_attention_dim", "norm_eps", "rope_type", "caption_channels",
                "timestep_scale_multiplier",
            )},
            "gated_attn": newer, "cross_attn_mod": newer, "qk_norm": "rms_norm_across_heads",
            "rope_theta": transformer["positional_embedding_theta"],
            "rope_double_precision": transformer["frequencies_precision"] == "float64",
            "cross_attn_timestep_scale_multiplier": int(
                transformer["av_ca_timestep_scale_multiplier"]
            ),
            "pos_embed_max_pos": limits[0], "base_height": limits[1], "base_width": limits[2],
            "audio_pos_embed_max_pos": transformer["audio_positional_embedding_max_pos"][0],
        }  # fmt: skip
    if part == "connectors":
        heads = transformer["connector_num_attention_heads"]
        return {
            "_class_name": "LTX2TextConnectors",
            "video_connector_num_attention_heads": heads,
            "audio_connector_num_attention_heads": transformer.get(
                "audio_connector_num_attention_heads", heads
            ),
            "connector_rope_base_seq_len": transformer["connector_positional_embedding_max_pos"][0],
            "per_modality_projections": newer,
        }
    if part == "vae":
        padding = vae.get("spatial_padding_mode")
        return {
            "_class_name": "AutoencoderKLLTX2Video",
            "decoder_causal": vae["causal_decoder"],
            "encoder_spatial_padding_mode": padding or "zeros",
            "decoder_spatial_padding_mode": padding or "reflect",
        }
    if part == "audio_vae":
        params = config["audio_vae"]["model"]["params"]
        sizes = params["ddconfig"]
        return {
            "_class_name": "AutoencoderKLLTX2Audio",
            "base_channels": sizes["ch"], "output_channels": sizes["out_ch"],
            "latent_channels": sizes["z_channels"], "attn_resolutions": None,
            "sample_rate": params["sampling_rate"],
            "mel_hop_length": config["audio_vae"]["preprocessing"]["stft"]["hop_length"],
            **{key: sizes[key] for key in (
                "ch_mult", "num_res_blocks", "in_channels", "resolution", "norm_type",
                "causality_axis", "mid_block_add_attention", "mel_bins", "double_z",
            )},
        }  # fmt: skip
    stated = config["vocoder"]
    if "bwe" not in stated:
        return {"_class_name": "LTX2Vocoder", **their_generator(stated, ""), "final_act_fn": "tanh"}
    bwe = stated["bwe"]
    return {
        "_class_name": "LTX2VocoderWithBWE",
        **their_generator(stated["vocoder"], ""), **their_generator(bwe, "bwe_"),
        "input_sampling_rate": bwe["input_sampling_rate"],
        "output_sampling_rate": bwe["output_sampling_rate"],
        "hop_length": bwe["hop_length"], "filter_length": bwe["n_fft"],
        "window_length": bwe["win_size"], "num_mel_channels": bwe["num_mels"],
    }  # fmt: skip


def their_generator(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    names = {
        "upsample_initial_channel": "hidden_channels", "upsample_rates": "upsample_factors",
        "upsample_kernel_sizes": "upsample_kernel_sizes",
        "resblock_kernel_sizes": "resnet_kernel_sizes",
        "resblock_dilation_sizes": "resnet_dilations", "use_bias_at_final": "final_bias",
    }  # fmt: skip
    found = {prefix + theirs: values[ours] for ours, theirs in names.items() if ours in values}
    if "activation" in values:
        found[f"{prefix}act_fn"] = values["activation"]
    return found | {f"{prefix}final_act_fn": None}
