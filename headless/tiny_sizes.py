"""Configs of the tiny models: the keys of official files, with a few blocks and narrow widths.

What the rest of the pack counts on is as in official files: 128 latent channels in cells of 32 x 32
pixels and 8 frames, audio latents of 8 x 16 at 25 per second, 64 mel bins, the sampling rates.
"""

from typing import Any

#: Widths of the two streams, of Gemma, and how many heads share each.
VIDEO_DIM, AUDIO_DIM, TEXT_DIM, NUM_HEADS = 32, 16, 32, 2
NUM_BLOCKS, CONNECTOR_BLOCKS, GEMMA_LAYERS, VOCABULARY = 2, 2, 6, 512
REGISTERS = 128

_TRANSFORMER: dict[str, Any] = {
    "_class_name": "AVTransformer3DModel",
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "attention_head_dim": VIDEO_DIM // NUM_HEADS,
    "attention_type": "default",
    "audio_attention_head_dim": AUDIO_DIM // NUM_HEADS,
    "audio_cross_attention_dim": AUDIO_DIM,
    "audio_num_attention_heads": NUM_HEADS,
    "audio_out_channels": 128,
    "audio_positional_embedding_max_pos": [20],
    "av_ca_timestep_scale_multiplier": 1000.0,
    "av_cross_ada_norm": True,
    "caption_channels": TEXT_DIM,
    "causal_temporal_positioning": True,
    "connector_norm_output": True,
    "connector_num_layers": CONNECTOR_BLOCKS,
    "connector_num_attention_heads": NUM_HEADS,
    "connector_attention_head_dim": VIDEO_DIM // NUM_HEADS,
    "connector_num_learnable_registers": REGISTERS,
    "connector_positional_embedding_max_pos": [4096],
    "cross_attention_dim": VIDEO_DIM,
    "cross_attention_norm": True,
    "double_self_attention": False,
    "dropout": 0.0,
    "frequencies_precision": "float64",
    "in_channels": 128,
    "norm_elementwise_affine": False,
    "norm_eps": 1e-06,
    "norm_num_groups": 32,
    "num_attention_heads": NUM_HEADS,
    "num_embeds_ada_norm": 1000,
    "num_layers": NUM_BLOCKS,
    "num_vector_embeds": None,
    "only_cross_attention": False,
    "out_channels": 128,
    "positional_embedding_max_pos": [20, 2048, 2048],
    "positional_embedding_theta": 10000.0,
    "positional_embedding_type": "rope",
    "qk_norm": "rms_norm",
    "rope_type": "split",
    "share_ff": False,
    "standardization_norm": "rms_norm",
    "timestep_scale_multiplier": 1000,
    "upcast_attention": False,
    "use_audio_video_cross_attention": True,
    "use_embeddings_connector": True,
    "use_linear_projection": False,
    "use_middle_indices_grid": True,
}
#: What 2.3 states beyond that.
_TRANSFORMER_23: dict[str, Any] = {
    "apply_gated_attention": True,
    "audio_connector_attention_head_dim": AUDIO_DIM // NUM_HEADS,
    "audio_connector_num_attention_heads": NUM_HEADS,
    "caption_proj_before_connector": True,
    "caption_proj_input_norm": False,
    "caption_projection_first_linear": False,
    "caption_projection_second_linear": False,
    "connector_apply_gated_attention": True,
    "connector_learnable_registers_std": 1,
    "cross_attention_adaln": True,
    "text_encoder_norm_type": "per_token_rms",
}
_VIDEO_VAE: dict[str, Any] = {
    "_class_name": "CausalVideoAutoencoder",
    "dims": 3,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 128,
    # The first width is that of the latent, so residual blocks stand where there are few cells.
    "encoder_blocks": [
        ["compress_space_res", {"multiplier": 1}],
        ["compress_time_res", {"multiplier": 1}],
        ["compress_all_res", {"multiplier": 1}],
        ["compress_all_res", {"multiplier": 1}],
        ["res_x", {"num_layers": 1}],
    ],
    "scaling_factor": 1.0,
    "norm_layer": "pixel_norm",
    "patch_size": 4,
    "latent_log_var": "uniform",
    "use_quant_conv": False,
    "causal_decoder": False,
    "timestep_conditioning": False,
    "normalize_latent_channels": False,
    "encoder_base_channels": 128,
    "decoder_base_channels": 4,
}
#: Decoder blocks in config order, which is from the picture to the latent.
_DECODER_20 = [
    ["res_x", {"num_layers": 1, "inject_noise": False}],
    *[
        ["compress_all", {"residual": True, "multiplier": 2}],
        ["res_x", {"num_layers": 1, "inject_noise": False}],
    ]
    * 3,
]
_DECODER_23 = [
    ["res_x", {"num_layers": 1}],
    ["compress_space", {"multiplier": 2}],
    ["res_x", {"num_layers": 1}],
    ["compress_time", {"multiplier": 2}],
    ["res_x", {"num_layers": 1}],
    ["compress_all", {"multiplier": 1}],
    ["res_x", {"num_layers": 1}],
    ["compress_all", {"multiplier": 2}],
    ["res_x", {"num_layers": 1}],
]
_AUDIO_VAE: dict[str, Any] = {
    "model": {
        "params": {
            "ddconfig": {
                "double_z": True,
                "mel_bins": 64,
                "z_channels": 8,
                "resolution": 256,
                "downsample_time": False,
                "in_channels": 2,
                "out_ch": 2,
                "ch": 8,
                "ch_mult": [1, 2, 4],
                "num_res_blocks": 1,
                "attn_resolutions": [],
                "dropout": 0.0,
                "mid_block_add_attention": False,
                "norm_type": "pixel",
                "causality_axis": "height",
            },
            "sampling_rate": 16000,
        }
    },
    "preprocessing": {
        "audio": {
            "sampling_rate": 16000,
            "max_wav_value": 32768.0,
            "duration": 5.12,
            "stereo": True,
            "causal_padding": 3,
        },
        "stft": {"filter_length": 1024, "hop_length": 160, "win_length": 1024, "causal": True},
        "mel": {"n_mel_channels": 64, "mel_fmin": 0, "mel_fmax": 8000},
    },
}
_VOCODER_20: dict[str, Any] = {
    "resblock_dilation_sizes": [[1, 3, 5]],
    "stereo": True,
    "upsample_rates": [6, 5, 2, 2, 2],
    "resblock_kernel_sizes": [3],
    "upsample_kernel_sizes": [16, 15, 8, 4, 4],
    "resblock": "1",
    "upsample_initial_channel": 64,
}
_GENERATOR_23: dict[str, Any] = {
    "resblock": "AMP1",
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3, 5]],
    "stereo": True,
    "use_tanh_at_final": False,
    "activation": "snakebeta",
    "use_bias_at_final": False,
}
_VOCODER_23: dict[str, Any] = {
    "vocoder": {
        **_GENERATOR_23,
        "upsample_initial_channel": 64,
        "upsample_rates": [5, 2, 2, 2, 2, 2],
        "upsample_kernel_sizes": [11, 4, 4, 4, 4, 4],
    },
    "bwe": {
        **_GENERATOR_23,
        "upsample_initial_channel": 32,
        "upsample_rates": [6, 5, 2, 2, 2],
        "upsample_kernel_sizes": [12, 11, 4, 4, 4],
        "apply_final_activation": False,
        "input_sampling_rate": 16000,
        "output_sampling_rate": 48000,
        "hop_length": 80,
        "n_fft": 512,
        "win_size": 512,
        "num_mels": 64,
    },
}
_SCHEDULER: dict[str, Any] = {
    "_class_name": "RectifiedFlowScheduler",
    "_diffusers_version": "0.25.1",
    "num_train_timesteps": 1000,
    "shifting": None,
    "base_resolution": None,
    "sampler": "LinearQuadratic",
}


def checkpoint_config(generation: str) -> dict[str, Any]:
    """Return the metadata `config` of a tiny single-file checkpoint of "2.0" or "2.3"."""
    newer = generation != "2.0"
    video_vae = {**_VIDEO_VAE, "decoder_blocks": _DECODER_23 if newer else _DECODER_20}
    return {
        "transformer": {**_TRANSFORMER, **(_TRANSFORMER_23 if newer else {})},
        "vae": {**video_vae, **({"spatial_padding_mode": "zeros"} if newer else {})},
        "audio_vae": _AUDIO_VAE,
        "vocoder": _VOCODER_23 if newer else _VOCODER_20,
        "scheduler": _SCHEDULER,
    }


def upscaler_config(generation: str) -> dict[str, Any]:
    """Return the metadata `config` of a tiny spatial upscaler, x2."""
    return {
        "_class_name": "LatentUpsampler",
        "in_channels": 128,
        "mid_channels": 32,
        "num_blocks_per_stage": 1,
        "dims": 3,
        "spatial_upsample": True,
        "temporal_upsample": False,
        "spatial_scale": 2.0,
        "rational_resampler": generation == "2.0",
    }


def gemma_folder_config() -> dict[str, Any]:
    """Return the `config.json` of a folder with the tiny Gemma 3."""
    return {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": {
            "model_type": "gemma3_text",
            "hidden_activation": "gelu_pytorch_tanh",
            "hidden_size": TEXT_DIM,
            "intermediate_size": 2 * TEXT_DIM,
            "num_hidden_layers": GEMMA_LAYERS,
            "num_attention_heads": NUM_HEADS,
            "num_key_value_heads": 1,
            "head_dim": TEXT_DIM // NUM_HEADS,
            "vocab_size": VOCABULARY,
            "attention_bias": False,
            "query_pre_attn_scalar": 256,
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000,
            "rope_local_base_freq": 10000,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "sliding_window": 1024,
            "sliding_window_pattern": 6,
        },
    }
