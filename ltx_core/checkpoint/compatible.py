"""May this file be loaded as that, and do these files belong together? Answered from facts alone.

Codes of the errors: `wrong_role`, `component_missing`, `gemma_not_ltx`, `projection_missing`,
`tokenizer_missing`, `lora_incomplete`, `lora_no_match`; for quantised layers `quant_unsupported`
and `scale_missing`; between files `gemma_version_mismatch`, `gemma_wrong_size`,
`component_missing` and `generation_mismatch`.
"""

from collections.abc import Sequence

from ..errors import LTX2Error
from .catalogue import BRINGS, bringing, by_name, published
from .facts import COMPONENTS, ROLES, FileFacts, covers
from .lora_file import incomplete
from .packing import scale_missing, unsupported

#: The language models, as people call them.
GEMMA_3, GEMMA_4 = "Gemma 3 12B", "gemma4-12b-ltx-v1"
WHOLE = tuple(BRINGS)


def check_role(facts: FileFacts, wanted: str) -> None:
    """Refuse a file that cannot serve as `wanted`: a role of `facts.ROLES` or a component.

    "checkpoint" asks for all parts but the language model in one file.
    """
    if wanted == "text_encoder":
        _check_text_encoder(facts)
    elif wanted == "lora":
        _check_lora(facts)
    elif wanted == "checkpoint":
        if facts.role not in ("checkpoint", "transformer"):
            raise _wrong_role(facts, wanted)
        _check_components(facts, WHOLE)
    elif wanted == "text_encoder_extras":
        if not {"connectors", "text_projection"} & {*facts.components}:
            raise _wrong_role(facts, wanted)
    elif wanted in COMPONENTS and facts.role in ("checkpoint", "transformer"):
        _check_components(facts, (wanted,))
    elif wanted not in facts.components:
        raise _wrong_role(facts, wanted)


def check_loadable(facts: FileFacts) -> None:
    """Refuse a file with quantised layers that nobody here knows, or that are damaged."""
    quant = facts.quant
    if quant is None:
        return
    error = None
    if quant.unsupported is not None:
        error = unsupported(facts.name, *quant.unsupported)
    elif quant.scale_missing is not None:
        error = scale_missing(facts.name, *quant.scale_missing)
    if error is not None:
        where = f"models/{ROLES[facts.role][1]}"
        raise LTX2Error(error.what, needed=error.needed, where=where, code=error.code)


def require(facts: FileFacts, wanted: str) -> FileFacts:
    """Return the facts of a file that can be loaded as `wanted`; refuse any other."""
    check_role(facts, wanted)
    check_loadable(facts)
    return facts


def check_together(
    *,
    transformer: FileFacts,
    text_encoder: FileFacts | None = None,
    extras: Sequence[FileFacts] = (),
    video_vae: FileFacts | None = None,
    audio_vae: FileFacts | None = None,
    latent_upscaler: FileFacts | None = None,
    loras: Sequence[FileFacts] = (),
) -> list[str]:
    """Refuse files that do not belong together; return sentences to warn with.

    `extras` are files with connectors or text projection where the transformer's lacks them.
    An upscaler without a stated version cannot be told apart from another generation's.
    """
    warnings = []
    if text_encoder is not None:
        warnings += check_gemma(transformer, text_encoder)
        _check_text_parts(transformer, text_encoder, extras)
    for file in extras:
        if not covers(file.version, transformer.version):
            raise LTX2Error(
                f"{file.name} is of LTX-{file.version}, {transformer.name} of "
                f"LTX-{transformer.version}: they do not work together.",
                needed=f"{ROLES['text_encoder_extras'][0]} of LTX-{transformer.version}",
                where="models/text_encoders", code="generation_mismatch",
            )  # fmt: skip
    for other in (video_vae, audio_vae, latent_upscaler):
        if other is not None and other.path != transformer.path:
            check_latents(transformer.name, transformer.version, other)
    if latent_upscaler is not None:
        warnings += upscaler_warnings(transformer.name, transformer.version, latent_upscaler)
    for lora in loras:
        warnings += lora_warnings(transformer, lora.name, lora.version)
    return warnings


def _check_components(facts: FileFacts, wanted: Sequence[str]) -> None:
    lacking = [part for part in wanted if part not in facts.components]
    if lacking:
        files = [_published_with(part, facts.version) for part in lacking]
        raise _refuse(
            facts, f"has no {' and no '.join(COMPONENTS[part] for part in lacking)}",
            "; ".join(dict.fromkeys(filter(None, files))) or "a file that holds it",
            "component_missing",
        )  # fmt: skip


def _published_with(part: str, version: str | None) -> str:
    """Name the published file that brings a part to a model of a generation, or of a range."""
    order = ("2.3", "2.5", "2.0")
    generation = next((one for one in order if version and covers(version, one)), None)
    file = bringing(part, generation) if generation else None
    return str(file) if file else ""


def _wrong_role(facts: FileFacts, wanted: str) -> LTX2Error:
    is_a, folder = ROLES.get(facts.role, (facts.role, ""))
    noun = ROLES[wanted][0] if wanted in ROLES else f"a {COMPONENTS.get(wanted, wanted)}"
    place = ROLES[wanted][1] if wanted in ROLES else "checkpoints"
    return LTX2Error(
        f"{facts.name} is {is_a}, not {noun}; it belongs in models/{folder}.",
        needed=noun, where=f"models/{place}", code="wrong_role",
    )  # fmt: skip


def _refuse(facts: FileFacts, what: str, needed: str, code: str) -> LTX2Error:
    where = f"models/{ROLES[facts.role][1]}"
    return LTX2Error(f"{facts.name} {what}.", needed=needed, where=where, code=code)


def _check_text_encoder(facts: FileFacts) -> None:
    if not any(part.startswith("gemma") for part in facts.components):
        raise _wrong_role(facts, "text_encoder")
    encoder = by_name("gemma4-12b-with-proj-ltx-2.5-bf16.safetensors")
    has_projection = "text_projection" in facts.components
    if "gemma4" in facts.components:
        if not has_projection and facts.gemma_version is None:
            raise _refuse(
                facts, "is a stock Gemma 4, which LTX-2 was not trained with",
                f"Lightricks' own with its projection ({GEMMA_4}): {encoder}", "gemma_not_ltx",
            )  # fmt: skip
        if not has_projection:
            raise _refuse(
                facts, "lacks the text projection", f"the complete file: {encoder}",
                "projection_missing",
            )  # fmt: skip
    if "tokenizer" not in facts.components:
        beside = facts.path.is_dir() or facts.gguf_types is not None
        raise _refuse(
            facts, "has no tokenizer",
            "tokenizer.json or tokenizer.model in its folder"
            if beside
            else f"the complete file: {published('text_encoder', facts.version or '2.5')}",
            "tokenizer_missing",
        )  # fmt: skip


def _check_lora(facts: FileFacts) -> None:
    if facts.role != "lora":
        raise _wrong_role(facts, "lora")
    if facts.half_pair is not None:
        raise incomplete(facts.name, *facts.half_pair)
    if facts.modules and facts.unmatched == facts.modules:
        raise _refuse(
            facts, f"fits nothing here: 0 of {facts.modules} modules match; it was made for a "
            "different model",
            "a LoRA for LTX-2", "lora_no_match",
        )  # fmt: skip


def check_gemma(transformer: FileFacts, encoder: FileFacts) -> list[str]:
    """Compare the language model with the one the transformer was trained with; return warnings."""
    is_four = "gemma4" in encoder.components
    needs_four = transformer.version is not None and covers(transformer.version, "2.5")
    wanted = transformer.gemma_version or (GEMMA_4 if needs_four else GEMMA_3)
    found = encoder.gemma_version or ("a Gemma 4" if is_four else GEMMA_3)
    stated = encoder.gemma_version is not None and transformer.gemma_version is not None
    if is_four != needs_four or (stated and found != wanted):
        raise LTX2Error(
            f"{transformer.name} (LTX-{transformer.version}) and {encoder.name} ({found}) do not "
            f"belong together: LTX-{transformer.version} was trained with {wanted}.",
            needed=_published_text_encoder(transformer.version), where="models/text_encoders",
            code="gemma_version_mismatch",
        )  # fmt: skip
    if is_four and not stated:
        return [
            f"{transformer.name} and {encoder.name}: one of them does not state its text encoder "
            f"version, so it cannot be checked that they belong together."
        ]
    return []


def _published_text_encoder(version: str | None) -> str:
    file = published("text_encoder", version) if version else None
    return str(file) if file else "the text encoder of the same generation"


def _check_text_parts(
    transformer: FileFacts, encoder: FileFacts, extras: Sequence[FileFacts]
) -> None:
    """Someone must bring connectors and projection, the latter of the language model's width."""
    files = (transformer, *extras, encoder)
    for part in ("connectors", "text_projection"):
        if not any(part in file.components for file in files):
            raise LTX2Error(
                f"Neither {' nor '.join(file.name for file in files)} has the {COMPONENTS[part]}.",
                needed=_published_with(part, transformer.version)
                or f"a file with the {COMPONENTS[part]}",
                where="models/text_encoders or models/checkpoints", code="component_missing",
            )  # fmt: skip
    inputs = next((f.projection_inputs for f in files if f.projection_inputs is not None), None)
    if inputs is None or encoder.language_width is None or encoder.layers is None:
        return
    if inputs != encoder.language_width * (encoder.layers + 1):
        raise LTX2Error(
            f"{encoder.name} has {encoder.layers} layers of width {encoder.language_width}; the "
            f"text projection of {transformer.name} takes {inputs} inputs (width x (layers + 1)), "
            "so it was made for another language model.",
            needed=_published_text_encoder(transformer.version), where="models/text_encoders",
            code="gemma_wrong_size",
        )  # fmt: skip


def check_latents(source: str, generation: str | None, other: FileFacts) -> None:
    """Refuse a part of another latent space than that of the file or latent called `source`.

    The video encoder of 2.3 and 2.5 is the same.
    """
    if covers(other.version, generation):
        return
    if other.role == "video_vae" and not ({other.version, generation} & {"2.0"}):
        return
    raise LTX2Error(
        f"{other.name} is of LTX-{other.version}, {source} of LTX-{generation}: "
        "their latents differ.",
        needed=f"{ROLES[other.role][0]} of LTX-{generation}",
        where=f"models/{ROLES[other.role][1]}",
        code="generation_mismatch",
    )


def upscaler_warnings(source: str, generation: str | None, upscaler: FileFacts) -> list[str]:
    """Warn of an upscaler that states no version, where its name tells another generation's."""
    file = by_name(upscaler.name)
    if upscaler.version is None and file and not covers(file.generation, generation):
        return [
            f"{upscaler.name} is, by its name, the upscaler of LTX-{file.generation}; "
            f"{source} is LTX-{generation}."
        ]
    return []


def lora_warnings(transformer: FileFacts, name: str, version: str | None) -> list[str]:
    """Warn of a LoRA of another generation: it may fit by its shapes all the same."""
    if covers(version or None, transformer.version):
        return []
    return [
        f"{name} was made for LTX-{version}, {transformer.name} is "
        f"LTX-{transformer.version}: it may have little or no effect."
    ]
