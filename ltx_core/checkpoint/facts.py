"""What is known of a model file from its header: plain values, under one set of names."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

#: role -> how messages call a file of it, and the models sub-folder it belongs in.
ROLES: Mapping[str, tuple[str, str]] = {
    "checkpoint": ("a checkpoint of several parts", "checkpoints"),
    "transformer": ("a transformer (diffusion model)", "diffusion_models"),
    "text_encoder": ("a text encoder (Gemma)", "text_encoders"),
    "text_encoder_extras": ("a text projection or connector file", "text_encoders"),
    "video_vae": ("a video VAE", "vae"),
    "audio_vae": ("an audio VAE", "vae"),
    "latent_upscaler": ("a latent upscaler", "latent_upscale_models"),
    "duration_head": ("a duration head", "model_patches"),
    "lora": ("a LoRA", "loras"),
    "preview_vae": ("a preview autoencoder, for small previews only", "vae_approx"),
    "config": ("a configuration, not weights", "text_encoders"),
    "index": ("an index of shards, not weights", "text_encoders"),
}
#: component -> how messages call it.
COMPONENTS: Mapping[str, str] = {
    "transformer": "transformer",
    "connectors": "text connectors",
    "text_projection": "text projection",
    "video_vae": "video VAE",
    "audio_vae": "audio VAE",
    "vocoder": "vocoder",
    "duration_head": "duration head",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantisation:
    """How the quantised layers of a file are stored."""

    format: str  # of most layers
    layers: int
    static_input_scale: bool = False
    convrot: bool = False
    full_precision_matrix_mult: bool = False
    spelling: str = ""  # how the file names the weight's scale; "" if it has none
    unsupported: tuple[str, str] | None = None  # a layer, and its format nobody knows
    scale_missing: tuple[str, str] | None = None  # a layer, and the scale it lacks

    def as_dict(self) -> dict[str, Any]:
        """Return the fields under the names of the file format's documentation."""
        return {
            "format": self.format,
            "layers": self.layers,
            "static_input_scale": self.static_input_scale,
            "convrot": self.convrot,
            "full_precision_matrix_mult": self.full_precision_matrix_mult,
            "spelling": self.spelling,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFacts:
    """One model file or folder, as its header describes it.

    `version` is the generation ("2.0", "2.3", "2.5"), a range ("2.0-2.3", "2.3+") or None where the
    file does not tell; `version_source` is where that was read. A field that does not apply to the
    role is None.
    """

    path: Path
    role: str
    bytes: int = 0
    digest: str = ""  # of the header
    version: str | None = None
    version_source: str | None = None
    components: tuple[str, ...] = ()
    tensors: int = 0
    storage_dtypes: dict[str, int] = field(default_factory=dict)
    gguf_types: dict[str, int] | None = None  # of a GGUF file, as `storage_dtypes`
    metadata_keys: tuple[str, ...] = ()
    quant: Quantisation | None = None
    ignored: tuple[str, ...] | None = None  # tensors no reader needs
    layout: str | None = None  # "diffusers" for a folder of that layout
    # transformer
    blocks: int | None = None
    heads: int | None = None
    hidden: int | None = None  # of the video stream; of a text encoder, of its language model
    audio_hidden: int | None = None
    keyframes: bool | None = None  # the embedding of generated keyframes is there
    # text
    gemma: str | None = None  # "gemma3", "gemma4_unified", ...
    gemma_version: str | None = None  # of the text encoder, or that the transformer asks for
    layers: int | None = None
    text_hidden: int | None = None  # of the language model in a folder of all parts
    projection_inputs: int | None = None  # columns of the text projection = hidden * (layers + 1)
    # autoencoders, upscaler
    decoder: str | None = None  # "conv" or "diffusion"
    vocoder: str | None = None  # "plain" or "bwe" (with bandwidth extension)
    kind: str | None = None  # "spatial" or "temporal"
    scale: float | None = None
    # LoRA
    format: str | None = None
    modules: int | None = None
    rank: int | None = None  # the largest
    alpha: float | None = None
    unmatched: int | None = None  # modules that no LTX-2 model has
    half_pair: tuple[str, str] | None = None  # a module, and which half it lacks: "down" or "up"
    streams: tuple[str, ...] | None = None
    reference_downscale_factor: int | None = None
    reference_temporal_scale_factor: int | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def identity(self) -> str:
        """Return what tells the file from others of its name."""
        return f"{self.name}#{self.digest}" if self.digest else self.name

    @property
    def language_width(self) -> int | None:
        """Return the width of the language model, if there is one."""
        return self.hidden if self.text_hidden is None else self.text_hidden

    def as_dict(self) -> dict[str, Any]:
        """Return everything that applies as JSON values, the common fields always."""
        found: dict[str, Any] = {"name": self.name}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "path" or (value is None and item.name not in COMMON):
                continue
            if isinstance(value, Quantisation):
                value = value.as_dict()
            found[item.name] = list(value) if isinstance(value, tuple) else value
        return found


#: Fields that `as_dict` names even where they are None.
COMMON = frozenset({"version", "version_source", "quant"})


def covers(version: str | None, generation: str | None) -> bool:
    """Say whether two versions can belong together; an unknown one belongs with all."""
    if version is None or generation is None:
        return True
    low, high = _span(version)
    other_low, other_high = _span(generation)
    return low <= other_high and other_low <= high


def _span(version: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    first, dash, last = version.partition("-")
    low = tuple(int(part) for part in first.rstrip("+").split("."))
    if version.endswith("+"):
        return low, (99,)
    return low, tuple(int(part) for part in last.split(".")) if dash else low
