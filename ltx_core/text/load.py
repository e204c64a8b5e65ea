"""From files to a text encoder: what belongs to what, and what is told when it does not."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..checkpoint.keys import KeyTable, Renamed, check_fit, rename
from ..checkpoint.part import Part
from ..checkpoint.section import Section
from ..checkpoint.weights import Weights
from ..errors import LTX2Error
from ..ops.attention import AttentionFn, sdpa
from ..ops.layers import Check, LayerFactory, never_cancelled
from .config import (
    ExtractorConfig,
    GemmaConfig,
    Normalisation,
    connector_config,
    gemma_config,
    gguf_config,
    normalisation_of,
)
from .connector import Connectors
from .encoder import TextEncoder
from .features import FeatureExtractor
from .gemma import Gemma
from .keys import (
    AUDIO,
    CONNECTORS,
    EXTRACTOR,
    GEMMA,
    VIDEO,
    StateSlices,
    shapes_of,
)
from .tokenizer import read_tokenizer

log = logging.getLogger(__name__)

META = torch.device("meta")
#: What Lightricks calls the language model of LTX-2.5.
GEMMA_OF_2_5 = "gemma4-12b-ltx-v1"
#: Inputs of the projection in every official file: Gemma 3 12B has 3840 dimensions and 48 layers.
OFFICIAL_INPUTS = 3840 * 49


def text_encoder(
    gemma: Weights,
    checkpoint: Weights,
    *,
    extras: Sequence[Weights] = (),
    tokenizer: Path | None = None,
    layers: LayerFactory = nn,
    attention: AttentionFn = sdpa,
    check: Check = never_cancelled,
) -> TextEncoder:
    """Build the text encoder of LTX-2.0 or 2.3 from a Gemma 3 and the model's checkpoint.

    Projection and connectors are looked for in `checkpoint`, then `extras` (files that hold only
    them), then `gemma`. `tokenizer` is a folder or file to use instead of the one Gemma came with.
    Raises LTX2Error `wrong_role` (no Gemma), `gemma_version_mismatch`, `gemma_wrong_size`,
    `component_missing`, `tokenizer_missing`, `missing_weights`, `quant_unsupported`.
    """
    sources = (checkpoint, *extras, gemma)
    generation = generation_of(checkpoint)
    check_pair(gemma, checkpoint, generation)
    values = next((v for source in sources if (v := source.section("transformer"))), None)
    section = None if values is None else Section("transformer", values)
    kind = _normalisation(section, sources)
    projection, connectors = _holders(sources, kind, generation)
    gemma_3 = gemma_part(gemma, layers=layers, attention=attention, check=check)
    return TextEncoder(
        tokenizer=read_tokenizer(gemma, tokenizer),
        gemma=gemma_3,
        extractor=extractor_part(
            projection, gemma_3.network.config, kind, generation=generation, layers=layers
        ),
        connectors=connectors_part(
            connectors, section, generation=generation, layers=layers, attention=attention,
            check=check,
        ),
    )  # fmt: skip


#: The tensor by which each kind of projection is recognised.
SIGNATURES = {
    Normalisation.RANGE: "aggregate_embed.weight",
    Normalisation.RMS: "video_aggregate_embed.weight",
}


def generation_of(checkpoint: Weights) -> str:
    """Tell "2.0", "2.3" or "2.5" from the metadata of a model, else from its structure."""
    version = [int(part) for part in _leading(str(checkpoint.metadata.get("model_version", "")))]
    if version:
        return "2.5" if version >= [2, 4] else "2.3" if version >= [2, 3] else "2.0"
    if "gemma_source_checkpoint" in checkpoint.metadata:
        return "2.5"
    names = {key.removeprefix("model.").removeprefix("diffusion_model.") for key in checkpoint}
    if not any(name.endswith("attn1.to_gate_logits.weight") for name in names):
        wide = SIGNATURES[Normalisation.RMS] in rename(names, EXTRACTOR).values()
        return "2.3" if wide else "2.0"
    feed_forward = "transformer_blocks.0.ff.net.0.proj"
    bare = f"{feed_forward}.weight" in names and f"{feed_forward}.bias" not in names
    return "2.5" if bare or "keyframes_abs_pos_embedding" in names else "2.3"


def _leading(version: str) -> list[str]:
    """Return the numbers a version text begins with."""
    parts = version.replace("-", ".").split(".")
    stop = next((at for at, part in enumerate(parts) if not part.isdigit()), len(parts))
    return parts[:stop]


def check_pair(gemma: Weights, checkpoint: Weights, generation: str) -> None:
    """Refuse a file that is no Gemma, and a Gemma the model was not trained with."""
    names = rename(gemma, GEMMA).values()
    if "layers.0.pre_feedforward_layernorm.weight" not in names:
        raise LTX2Error(
            f"{gemma.name} is not a Gemma language model "
            f"(its keys are like {next(iter(gemma), 'none')}).",
            needed=GEMMA_OF_2_5 if generation == "2.5" else "Gemma 3 12B (gemma-3-12b-it)",
            where="models/text_encoders",
            code="wrong_role",
        )
    fourth = any(name.endswith(".layer_scalar") for name in names)
    if fourth and generation != "2.5":
        raise LTX2Error(
            f"{checkpoint.name} is LTX-{generation} and was trained with Gemma 3; {gemma.name} is "
            "a Gemma 4, the text encoder of LTX-2.5.",
            needed="Gemma 3 12B (gemma-3-12b-it, as a folder or as gemma_3_12B_it.safetensors)",
            where="models/text_encoders",
            code="gemma_version_mismatch",
        )
    if generation == "2.5" and not fourth:
        raise LTX2Error(
            f"{checkpoint.name} is LTX-2.5 and was trained with {GEMMA_OF_2_5}; {gemma.name} is a "
            "Gemma 3.",
            needed=f"{GEMMA_OF_2_5} (gemma4-12b-with-proj-ltx-2.5-bf16.safetensors)",
            where="models/text_encoders",
            code="gemma_version_mismatch",
        )


def _normalisation(section: Section | None, sources: Sequence[Weights]) -> Normalisation:
    """Read which projection is meant; where a single kind is there, the files show it."""
    names = {name for source in sources for name in rename(source, EXTRACTOR).values()}
    shown = [kind for kind, name in SIGNATURES.items() if name in names]
    stated = Normalisation.RANGE if section is None else normalisation_of(section)
    return shown[0] if len(shown) == 1 else stated


def _holders(
    sources: Sequence[Weights], kind: Normalisation, generation: str
) -> tuple[Weights, Weights]:
    """Return the first file with the text projection, and the first with the connectors."""
    wanted: dict[str, tuple[KeyTable, str]] = {
        "text projection": (EXTRACTOR, SIGNATURES[kind]),
        "text connectors": (CONNECTORS, f"{VIDEO}learnable_registers"),
    }
    found = {
        what: source
        for what, (table, signature) in wanted.items()
        for source in reversed(sources)  # the first source is entered last
        if signature in rename(source, table).values()
    }
    if missing := " and ".join(what for what in wanted if what not in found):
        raise LTX2Error(
            f"None of {', '.join(dict.fromkeys(source.name for source in sources))} holds the "
            f"{missing} of LTX-{generation}.",
            needed=f"a full checkpoint of LTX-{generation}, or a separate file with the {missing}",
            where="models/checkpoints or models/text_encoders",
            code="component_missing",
        )
    return found["text projection"], found["text connectors"]


def gemma_part(
    weights: Weights,
    *,
    layers: LayerFactory = nn,
    attention: AttentionFn = sdpa,
    check: Check = never_cancelled,
) -> Part[Gemma]:
    """Build the decoder of Gemma 3; the part's weights also hold `embed_tokens.weight`."""
    named = Renamed(weights, GEMMA)
    shapes = shapes_of(weights, named)
    if missing := [name for name in (*FIRST_LAYER, "embed_tokens.weight") if name not in shapes]:
        raise LTX2Error(
            f"{weights.name} is incomplete: {', '.join(missing)} missing.",
            needed="the complete file; download it again",
            where="models/text_encoders",
            code="missing_weights",
        )
    config = gemma_config(Section("text_config", _text_config(weights.metadata)), shapes)
    network = Gemma(config, layers=layers, attention=attention, check=check, device=META)
    check_fit(network, shapes, source=weights.name)
    return Part(network, named, role="text_encoder", source=weights.name, generation="Gemma 3")


#: The tensors all sizes are read from.
FIRST_LAYER = tuple(
    f"layers.0.{name}.weight"
    for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.q_norm", "mlp.gate_proj")
)


def _text_config(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Find the language model's config: of a folder, of a single file, or the official one."""
    for config in (metadata.get("gemma_config"), metadata.get("config")):
        if not isinstance(config, dict):
            continue
        if isinstance(config.get("text_config"), dict):
            return config["text_config"]
        if config.get("model_type") == "gemma3_text":
            return config
    return gguf_config(metadata)


def extractor_part(
    weights: Weights,
    gemma: GemmaConfig,
    kind: Normalisation,
    *,
    generation: str = "",
    layers: LayerFactory = nn,
) -> Part[FeatureExtractor]:
    """Build the feature extractor that takes this Gemma's states."""
    named = Renamed(weights, EXTRACTOR)
    shapes = shapes_of(weights, named)
    inputs = gemma.dim * gemma.num_states
    outputs, found = shapes[SIGNATURES[kind]]
    if found != inputs:
        sizes = f"{gemma.dim} dimensions and {gemma.num_layers} layers"
        needed = "Gemma 3 12B: 3840 dimensions and 48 layers" if found == OFFICIAL_INPUTS else ""
        raise LTX2Error(
            f"The language model has the wrong size: with {sizes} it gives {inputs} numbers per "
            f"token, the projection of {weights.name} takes {found}.",
            needed=needed or "the language model this checkpoint was trained with",
            where="models/text_encoders",
            code="gemma_wrong_size",
        )
    audio = shapes.get("audio_aggregate_embed.weight", (outputs,))
    config = ExtractorConfig(
        normalisation=kind,
        state_dim=gemma.dim,
        num_states=gemma.num_states,
        video_dim=outputs,
        audio_dim=audio[0] if kind is Normalisation.RMS else outputs,
    )
    network = FeatureExtractor(config, layers=layers, device=META)
    slices = StateSlices(named, config.num_states)
    check_fit(network, slices.shapes(shapes), source=weights.name)
    return Part(network, slices, role="text_projection", source=weights.name, generation=generation)


def connectors_part(
    weights: Weights,
    section: Section | None,
    *,
    generation: str = "",
    layers: LayerFactory = nn,
    attention: AttentionFn = sdpa,
    check: Check = never_cancelled,
) -> Part[Connectors]:
    """Build both connectors; `section` is the model's `config.transformer`, if it has one."""
    named = Renamed(weights, CONNECTORS)
    shapes = shapes_of(weights, named)
    if f"{AUDIO}learnable_registers" not in shapes:
        raise LTX2Error(
            f"{weights.name} has no audio connector: it is a model without sound.",
            needed="a checkpoint of LTX-2.0, 2.3 or 2.5",
            where="models/checkpoints",
            code="component_missing",
        )
    video, audio = (
        connector_config(
            section,
            {n.removeprefix(prefix): s for n, s in shapes.items() if n.startswith(prefix)},
            audio=prefix == AUDIO,
        )
        for prefix in (VIDEO, AUDIO)
    )
    network = Connectors(video, audio, layers=layers, attention=attention, check=check, device=META)
    check_fit(network, shapes, source=weights.name)
    return Part(network, named, role="connectors", source=weights.name, generation=generation)
