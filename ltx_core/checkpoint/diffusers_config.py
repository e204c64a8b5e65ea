"""From the `config.json` files of a diffusers folder to the sections of an official `config`.

Only what no tensor shows has to be there; a key that is not in the file is left out, so the rooms
fill it as they do for any other file.
"""

from collections.abc import Mapping
from typing import Any

Values = Mapping[str, Any]

#: diffusers key -> official key, of the same meaning and form.
TRANSFORMER = {
    **{name: name for name in (
        "num_layers", "num_attention_heads", "attention_head_dim", "cross_attention_dim",
        "in_channels", "out_channels", "audio_num_attention_heads", "audio_attention_head_dim",
        "audio_cross_attention_dim", "audio_in_channels", "audio_out_channels", "norm_eps",
        "caption_channels", "rope_type", "timestep_scale_multiplier", "activation_fn",
        "norm_elementwise_affine", "attention_bias", "ff_bias", "audio_ff_bias",
        "use_prompt_adaln_single", "use_keyframes_abs_pos_embedding",
    )},
    "rope_theta": "positional_embedding_theta",
    "cross_attn_timestep_scale_multiplier": "av_ca_timestep_scale_multiplier",
    "gated_attn": "apply_gated_attention",
    "cross_attn_mod": "cross_attention_adaln",
}  # fmt: skip
CONNECTORS = {
    "video_connector_num_attention_heads": "connector_num_attention_heads",
    "audio_connector_num_attention_heads": "audio_connector_num_attention_heads",
}
#: What the text projections of 2.3 state; those of 2.0 state nothing.
TWO_PROJECTIONS = {
    "caption_proj_before_connector": True,
    "caption_projection_first_linear": False,
    "caption_projection_second_linear": False,
    "caption_proj_input_norm": False,
}
#: For a folder without the transformer's own config: what all official ones state.
UNSEEN = {"av_ca_timestep_scale_multiplier": 1000.0, "frequencies_precision": "float64"}
AUDIO_VAE = {
    "base_channels": "ch", "output_channels": "out_ch", "ch_mult": "ch_mult",
    "num_res_blocks": "num_res_blocks", "in_channels": "in_channels", "resolution": "resolution",
    "latent_channels": "z_channels", "norm_type": "norm_type", "causality_axis": "causality_axis",
    "mid_block_add_attention": "mid_block_add_attention", "mel_bins": "mel_bins",
    "double_z": "double_z",
}  # fmt: skip
GENERATOR = {
    "hidden_channels": "upsample_initial_channel", "upsample_factors": "upsample_rates",
    "upsample_kernel_sizes": "upsample_kernel_sizes",
    "resnet_kernel_sizes": "resblock_kernel_sizes",
    "resnet_dilations": "resblock_dilation_sizes", "final_bias": "use_bias_at_final",
}  # fmt: skip
EXTENSION = {
    "input_sampling_rate": "input_sampling_rate", "output_sampling_rate": "output_sampling_rate",
    "hop_length": "hop_length", "filter_length": "n_fft", "window_length": "win_size",
    "num_mel_channels": "num_mels",
}  # fmt: skip


def official_config(configs: Mapping[str, Values], *, two_projections: bool) -> dict[str, Any]:
    """Return the sections that the configs of a folder, by sub-folder, stand for.

    `two_projections` is what the tensors show: one text projection, or one for each stream.
    """
    found: dict[str, Any] = {}
    if {"transformer", "connectors"} & configs.keys():
        projections = TWO_PROJECTIONS if two_projections else {}
        found["transformer"] = {
            **_transformer(configs.get("transformer", {})),
            **_connectors(configs.get("connectors", {})),
            **projections,
        }
    for name, section, read in (
        ("vae", "vae", _video_vae),
        ("audio_vae", "audio_vae", _audio_vae),
        ("vocoder", "vocoder", _vocoder),
    ):
        if name in configs:
            found[section] = read(configs[name])
    return found


def _renamed(values: Values, names: Mapping[str, str], prefix: str = "") -> dict[str, Any]:
    return {
        ours: values[prefix + theirs] for theirs, ours in names.items() if prefix + theirs in values
    }


def _transformer(values: Values) -> dict[str, Any]:
    found = {**UNSEEN, **_renamed(values, TRANSFORMER)}
    if "rope_double_precision" in values:
        found["frequencies_precision"] = "float64" if values["rope_double_precision"] else "float32"
    limits = [values.get(key) for key in ("pos_embed_max_pos", "base_height", "base_width")]
    if None not in limits:
        found["positional_embedding_max_pos"] = limits
    if "audio_pos_embed_max_pos" in values:
        found["audio_positional_embedding_max_pos"] = [values["audio_pos_embed_max_pos"]]
    # The norm over all heads together has another name there; any other value is refused later.
    if (norm := values.get("qk_norm", "rms_norm_across_heads")) != "rms_norm_across_heads":
        found["qk_norm"] = norm
    return found


def _connectors(values: Values) -> dict[str, Any]:
    found = _renamed(values, CONNECTORS)
    if "connector_rope_base_seq_len" in values:
        found["connector_positional_embedding_max_pos"] = [values["connector_rope_base_seq_len"]]
    return found


def _video_vae(values: Values) -> dict[str, Any]:
    """Return what shapes do not show; the list of blocks follows from them."""
    found = _renamed(values, {"decoder_causal": "causal_decoder"})
    encoder = values.get("encoder_spatial_padding_mode")
    decoder = values.get("decoder_spatial_padding_mode")
    if encoder is not None:
        found["encoder_spatial_padding_mode"] = encoder
    # The official key stands for both halves, so a decoder of its own padding cannot have it.
    if decoder is not None and decoder == encoder:
        found["spatial_padding_mode"] = decoder
    return found


def _audio_vae(values: Values) -> dict[str, Any]:
    sizes = _renamed(values, AUDIO_VAE)
    sizes["attn_resolutions"] = values.get("attn_resolutions") or []
    params: dict[str, Any] = {
        "ddconfig": sizes,
        **_renamed(values, {"sample_rate": "sampling_rate"}),
    }
    stft = _renamed(values, {"mel_hop_length": "hop_length"})
    return {"model": {"params": params}, "preprocessing": {"stft": stft}}


def _vocoder(values: Values) -> dict[str, Any]:
    if "bwe_hidden_channels" not in values:
        rate = _renamed(values, {"output_sampling_rate": "output_sampling_rate"})
        return {**_generator(values, "", "1"), **rate}
    return {
        "vocoder": _generator(values, "", "AMP1"),
        "bwe": {**_generator(values, "bwe_", "AMP1"), **_renamed(values, EXTENSION)},
    }


def _generator(values: Values, prefix: str, kind: str) -> dict[str, Any]:
    return {
        **_renamed(values, GENERATOR, prefix),
        "resblock": kind,
        "stereo": True,
        "use_tanh_at_final": values.get(f"{prefix}final_act_fn") == "tanh",
        **({"activation": values.get(f"{prefix}act_fn", "snakebeta")} if kind == "AMP1" else {}),
    }
