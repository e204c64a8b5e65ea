"""The transformer's sizes, as one checkpoint states them."""

from dataclasses import dataclass

from ..checkpoint.section import Section
from ..errors import LTX2Error
from ..ops.rope import RopeLayout

#: What no tensor shows, for files without a config: the same in 2.0, 2.3 and 2.5. The defaults of
#: `TransformerConfig.read` are those of a config that leaves a key out, and differ.
OFFICIAL: dict[str, object] = {
    "av_ca_timestep_scale_multiplier": 1000.0,
    "frequencies_precision": "float64",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamConfig:
    """One of the two token streams."""

    num_heads: int
    head_dim: int
    in_channels: int
    out_channels: int
    #: Width of the text features as they come in; `dim` unless the stream projects them itself.
    context_dim: int
    #: 2.0: the caption projection is part of the transformer.
    projects_context: bool
    #: Seconds, and for video pixel rows and columns, that a fraction of 1 stands for in the rope.
    max_positions: tuple[float, ...]
    ff_bias: bool
    #: 2.5, video: a learned mark on tokens that are one frame of their own.
    marks_keyframes: bool

    @property
    def dim(self) -> int:
        """Width of the residual stream."""
        return self.num_heads * self.head_dim


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerConfig:
    """Sizes of the audio-video transformer. A variant with one stream has None for the other."""

    num_layers: int
    video: StreamConfig | None
    audio: StreamConfig | None
    gated_attention: bool
    #: 2.3 and 2.5: queries and keys/values of the text attention are modulated too.
    modulates_context: bool
    #: The key/value modulation depends on sigma, and not on a learned table alone.
    modulates_context_by_sigma: bool
    norm_eps: float
    rope_layout: RopeLayout
    rope_theta: float
    #: The frequency grid is made in float64 and rounded once.
    rope_double: bool
    timestep_scale: float
    #: Scale of the sigma that gates what one stream takes from the other.
    cross_gate_timestep_scale: float

    @property
    def num_modulations(self) -> int:
        """Rows of a block's table: shift, scale, gate of self-attention, feed-forward, text."""
        return 9 if self.modulates_context else 6

    @property
    def cross_max_position(self) -> float:
        """Seconds that a fraction of 1 stands for where the two streams meet."""
        return max(stream.max_positions[0] for stream in (self.video, self.audio) if stream)

    @classmethod
    def read(
        cls, section: Section, *, video: bool = True, audio: bool = True
    ) -> "TransformerConfig":
        """Read our part of a header's `transformer` section, for the streams that are wanted.

        Raises LTX2Error `config_unsupported` for values this code is not written for.
        """
        _expect_architecture(section)
        streams = {"video": _video(section), "audio": _audio(section)}
        if streams["video"].num_heads != streams["audio"].num_heads and video and audio:
            raise _contradiction("audio_num_attention_heads", "num_attention_heads")
        modulates_context = section.take("cross_attention_adaln", False)
        by_sigma = section.take("use_prompt_adaln_single", True)
        return cls(
            num_layers=section.take("num_layers", 48),
            video=streams["video"] if video else None,
            audio=streams["audio"] if audio else None,
            gated_attention=section.take("apply_gated_attention", False),
            modulates_context=modulates_context,
            modulates_context_by_sigma=modulates_context and by_sigma,
            norm_eps=section.take("norm_eps", 1e-6),
            rope_layout=section.choose("rope_type", RopeLayout.SPLIT),
            rope_theta=section.take("positional_embedding_theta", 10000.0),
            rope_double=section.take("frequencies_precision", "float32") == "float64",
            timestep_scale=section.take("timestep_scale_multiplier", 1000.0),
            # 1 is what the reference assumes where a config is silent; no official config is.
            cross_gate_timestep_scale=section.take("av_ca_timestep_scale_multiplier", 1.0),
        )


def _video(section: Section) -> StreamConfig:
    num_heads = section.take("num_attention_heads", 32)
    head_dim = section.take("attention_head_dim", 128)
    projects = not section.take("caption_proj_before_connector", False)
    _same(section, "cross_attention_dim", 4096, num_heads * head_dim)
    return StreamConfig(
        num_heads=num_heads,
        head_dim=head_dim,
        in_channels=section.take("in_channels", 128),
        out_channels=section.take("out_channels", 128),
        context_dim=section.take("caption_channels", 3840) if projects else num_heads * head_dim,
        projects_context=projects,
        max_positions=section.take_list("positional_embedding_max_pos", (20.0, 2048.0, 2048.0)),
        ff_bias=section.take("ff_bias", True),
        marks_keyframes=section.take("use_keyframes_abs_pos_embedding", False),
    )


def _audio(section: Section) -> StreamConfig:
    num_heads = section.take("audio_num_attention_heads", 32)
    head_dim = section.take("audio_attention_head_dim", 64)
    projects = not section.take("caption_proj_before_connector", False)
    # Also the width of the rotary table where the streams meet, which is why it has to be ours.
    _same(section, "audio_cross_attention_dim", 2048, num_heads * head_dim)
    return StreamConfig(
        num_heads=num_heads,
        head_dim=head_dim,
        in_channels=section.take("audio_in_channels", 128),
        out_channels=section.take("audio_out_channels", 128),
        context_dim=section.take("caption_channels", 3840) if projects else num_heads * head_dim,
        projects_context=projects,
        max_positions=section.take_list("audio_positional_embedding_max_pos", (20.0,)),
        ff_bias=section.take("audio_ff_bias", True),
        marks_keyframes=False,
    )


def _same(section: Section, key: str, default: int, dim: int) -> None:
    """Check that the text inside the blocks is as wide as the stream that reads it."""
    if section.take(key, default) != dim:
        raise _contradiction(key, "heads times head_dim")


def _contradiction(key: str, other: str) -> LTX2Error:
    return LTX2Error(
        f"The file's config says transformer.{key} differs from {other}, as in no LTX-2 model.",
        needed="a checkpoint with an undamaged config",
        code="config_unsupported",
    )


def _expect_architecture(section: Section) -> None:
    for key, supported in {
        "dropout": 0.0,
        "attention_bias": True,
        "num_vector_embeds": None,
        "activation_fn": "gelu-approximate",
        "num_embeds_ada_norm": 1000,
        "use_linear_projection": False,
        "only_cross_attention": False,
        "cross_attention_norm": True,
        "double_self_attention": False,
        "upcast_attention": False,
        "standardization_norm": "rms_norm",
        "norm_elementwise_affine": False,
        "qk_norm": "rms_norm",
        "positional_embedding_type": "rope",
        "use_audio_video_cross_attention": True,
        "share_ff": False,
        "av_cross_ada_norm": True,
        "use_middle_indices_grid": True,
    }.items():
        section.expect(key, supported)
    section.skip(
        "_class_name", "_diffusers_version", "attention_type", "norm_num_groups",
        "causal_temporal_positioning", "text_encoder_norm_type", "use_embeddings_connector",
    )  # fmt: skip
