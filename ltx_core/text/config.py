"""Sizes and rules of the text networks: a file's tensors decide where its config speaks too."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..checkpoint.section import Section
from ..errors import LTX2Error
from ..ops.rope import RopeLayout

#: `text_config` of Gemma 3 12B, the language model of LTX-2.0 and 2.3, for files that carry none.
GEMMA3_12B: Mapping[str, Any] = {
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-6,
    "rope_local_base_freq": 10_000,
    "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    "rope_theta": 1_000_000,
    "sliding_window": 1024,
    "sliding_window_pattern": 6,
}
#: What selects the feature extractor: none stated is V1, exactly these values are V2.
EXTRACTOR_V2: Mapping[str, bool] = {
    "caption_proj_before_connector": True,
    "caption_projection_first_linear": False,
    "caption_projection_second_linear": False,
    "caption_proj_input_norm": False,
}


#: Fields of a GGUF file (after the architecture's name) -> what `text_config` calls them.
GGUF_FIELDS: Mapping[str, str] = {
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.sliding_window": "sliding_window",
    "rope.freq_base": "rope_theta",
    "rope.local.freq_base": "rope_local_base_freq",
}


def gguf_config(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the `text_config` that a GGUF file of llama.cpp states; what it leaves out is Gemma's.

    Its numbers are float32: 1e-6 is written as 9.99999997e-07.
    """
    architecture = metadata.get("general.architecture")
    stated = {own: metadata.get(f"{architecture}.{field}") for field, own in GGUF_FIELDS.items()}
    numbers = {
        own: float(f"{value:.7g}") if isinstance(value, float) else value
        for own, value in stated.items()
        if isinstance(value, (int, float))
    }
    return {**GEMMA3_12B, **numbers}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rope:
    """Angles of one kind of Gemma layer: position * theta ** (-2i / head_dim) / factor."""

    theta: float
    factor: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class GemmaConfig:
    """Sizes of a Gemma 3 decoder."""

    vocab_size: int
    dim: int
    mlp_dim: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    #: One per layer: True sees everything before it, False only `window` tokens.
    sees_all: tuple[bool, ...]
    window: int
    #: Scores are q k / sqrt(this).
    query_scalar: float
    norm_eps: float
    local_rope: Rope
    global_rope: Rope

    @property
    def num_layers(self) -> int:
        """Return the number of decoder layers."""
        return len(self.sees_all)

    @property
    def num_states(self) -> int:
        """Return how many hidden states a prompt yields: the embeddings, and one per layer."""
        return self.num_layers + 1


def gemma_config(section: Section, shapes: Mapping[str, tuple[int, ...]]) -> GemmaConfig:
    """Read a Gemma 3 `text_config`; every size follows from the parameters' shapes."""
    section.skip(
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads", "head_dim",
    )  # fmt: skip
    section.expect("hidden_activation", "gelu_pytorch_tanh")
    section.expect("attention_bias", False)
    section.expect("attn_logit_softcapping", None)
    section.expect("use_bidirectional_attention", False)
    num_layers = count("layers", shapes)
    head_dim = shapes["layers.0.self_attn.q_norm.weight"][0]
    vocab_size, dim = shapes["embed_tokens.weight"]
    local_rope, global_rope = _ropes(section)
    return GemmaConfig(
        vocab_size=vocab_size,
        dim=dim,
        mlp_dim=shapes["layers.0.mlp.gate_proj.weight"][0],
        num_heads=shapes["layers.0.self_attn.q_proj.weight"][0] // head_dim,
        num_kv_heads=shapes["layers.0.self_attn.k_proj.weight"][0] // head_dim,
        head_dim=head_dim,
        sees_all=_global_layers(section, num_layers),
        window=section.take("sliding_window", 4096),
        query_scalar=section.take("query_pre_attn_scalar", 256.0),
        norm_eps=section.take("rms_norm_eps", 1e-6),
        local_rope=local_rope,
        global_rope=global_rope,
    )


def _global_layers(section: Section, num_layers: int) -> tuple[bool, ...]:
    """Read which layers see everything: listed one by one, or every `sliding_window_pattern`-th."""
    if section.has("layer_types"):
        kinds = section.take_list("layer_types", ("",))
        if len(kinds) != num_layers or not {*kinds} <= {"full_attention", "sliding_attention"}:
            raise _refused(section, f"layer_types = {list(kinds)} for {num_layers} layers")
        return tuple(kind == "full_attention" for kind in kinds)
    pattern = section.take("sliding_window_pattern", section.take("_sliding_window_pattern", 6))
    return tuple((layer + 1) % pattern == 0 for layer in range(num_layers))


def _ropes(section: Section) -> tuple[Rope, Rope]:
    """Read local and global angles in the spelling of transformers 5, or the older one."""
    if section.has("rope_parameters"):
        both = section.raw("rope_parameters")
        if not isinstance(both, dict):
            raise _refused(section, f"rope_parameters = {both!r}")
        kinds = ("sliding_attention", "full_attention")
        local, whole = (_rope(section, both.get(kind)) for kind in kinds)
        return local, whole
    local = {"rope_theta": section.take("rope_local_base_freq", 10_000.0)}
    scaling = section.raw("rope_scaling") or {}
    whole = {**scaling, "rope_theta": section.take("rope_theta", 1_000_000.0)}
    return _rope(section, local), _rope(section, whole)


def _rope(section: Section, values: Any) -> Rope:
    values = values if isinstance(values, dict) else {}
    kind = values.get("rope_type", values.get("type", "default"))
    theta = values.get("rope_theta")
    factor = values.get("factor") if kind == "linear" else 1.0
    numbers = isinstance(theta, (int, float)) and isinstance(factor, (int, float))
    if kind not in ("default", "linear") or not numbers:
        raise _refused(section, f"rotary angles {values}")
    return Rope(theta=float(theta), factor=float(factor))


def _refused(section: Section, found: str) -> LTX2Error:
    return LTX2Error(
        f"The file's config says {section.name} has {found}, which is not implemented.",
        needed="the text encoder of LTX-2: Gemma 3 12B", code="config_unsupported",
    )  # fmt: skip


class Normalisation(Enum):
    """How the feature extractor evens out Gemma's hidden states."""

    RANGE = "V1"  # 2.0: per prompt and state, by mean and range
    RMS = "V2"  # from 2.3: per token and state, by root mean square


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractorConfig:
    """Sizes of a feature extractor. With RANGE both streams get the same features."""

    normalisation: Normalisation
    state_dim: int
    num_states: int
    video_dim: int
    audio_dim: int


def normalisation_of(section: Section) -> Normalisation:
    """Read which feature extractor `config.transformer` asks for."""
    stated = {key: section.raw(key) for key in EXTRACTOR_V2 if section.has(key)}
    if not stated:
        return Normalisation.RANGE
    if stated == dict(EXTRACTOR_V2):
        return Normalisation.RMS
    raise LTX2Error(
        f"The file's config asks for an unknown text projection: {stated}.",
        needed="a checkpoint of LTX-2.0, 2.3 or 2.5, or a newer version of these nodes",
        code="config_unsupported",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectorConfig:
    """Sizes and rules of one stream's connector."""

    num_layers: int
    num_heads: int
    dim: int
    num_registers: int
    gated: bool
    ff_bias: bool
    rope_layout: RopeLayout = RopeLayout.SPLIT
    #: Whether the rotary frequencies are made in float64, as every official file asks.
    double_frequencies: bool = True
    max_position: float = 4096.0
    theta: float = 10_000.0
    norm_eps: float = 1e-6


def connector_config(
    section: Section | None, shapes: Mapping[str, tuple[int, ...]], *, audio: bool
) -> ConnectorConfig:
    """Read one connector from its parameters' shapes and, where there is one, `config.transformer`.

    Without a config: the rules of the official files. Reference: its own defaults for an absent
    `connector_positional_embedding_max_pos` (1) fit no published file.
    """
    first = "transformer_1d_blocks.0."
    num_registers, dim = shapes["learnable_registers"]
    gates = shapes.get(f"{first}attn1.to_gate_logits.weight")
    num_heads = gates[0] if gates else max(1, dim // 128)
    sizes = {
        "num_layers": count("transformer_1d_blocks", shapes),
        "dim": dim,
        "num_registers": num_registers,
        "gated": gates is not None,
        "ff_bias": f"{first}ff.net.2.bias" in shapes,
    }
    if section is None:
        return ConnectorConfig(num_heads=num_heads, **sizes)
    if gates is None:
        num_heads = section.take("connector_num_attention_heads", 30)
        if audio:
            num_heads = section.take("audio_connector_num_attention_heads", num_heads)
    limits = section.take_list("connector_positional_embedding_max_pos", (4096.0,))
    return ConnectorConfig(
        num_heads=num_heads,
        rope_layout=section.choose("rope_type", RopeLayout.SPLIT),
        double_frequencies=section.take("frequencies_precision", "float32") == "float64",
        max_position=limits[0],
        **sizes,
    )


def count(name: str, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return how many numbered modules `name.N.` there are: one more than the largest N."""
    start = f"{name}."
    numbers = (key.removeprefix(start).split(".")[0] for key in shapes if key.startswith(start))
    return 1 + max((int(number) for number in numbers if number.isdigit()), default=-1)
