"""Everything one generation needs, loaded from files and checked against each other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..audio_vae.load import audio_decoder_part, audio_encoder_part, vocoder_part
from ..checkpoint.compatible import check_together, lora_warnings, require
from ..checkpoint.facts import FileFacts
from ..checkpoint.folders import tokenizer_folder
from ..checkpoint.identify import identify
from ..checkpoint.lora import Lora, LoraMatch, LoraUse, match
from ..checkpoint.lora_file import read_lora
from ..checkpoint.part import Part, Place
from ..checkpoint.weights import Weights, open_weights
from ..conditioning.guides import Guide, Reference
from ..errors import LTX2Error
from ..latents import AUDIO_BINS, AUDIO_CHANNELS, VIDEO_CHANNELS, AVLatent
from ..ops.layers import Check, never_cancelled
from ..ops.native import native
from ..ops.quantized import quantized
from ..text.encoder import TextEncoder
from ..text.load import text_encoder
from ..transformer.held import Hold
from ..transformer.load import transformer_part
from ..transformer.model import Transformer
from ..upscaler.load import upscaler_part
from ..upscaler.model import Upscaler
from ..video_vae.decoder import VideoDecoder
from ..video_vae.encoder import VideoEncoder
from ..video_vae.load import video_decoder_part, video_encoder_part
from ..video_vae.preview import preview_factors
from ..video_vae.statistics import Statistics, read_statistics
from .context import ContextCache


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Model:
    """The transformer of one file, and the LoRAs it is to run with."""

    transformer: Part[Transformer]
    checkpoint: Weights
    facts: FileFacts
    loras: tuple[LoraUse, ...] = ()

    @property
    def generation(self) -> str:
        """Return "2.0", "2.3" or "2.5"."""
        return self.transformer.generation

    @property
    def source(self) -> str:
        """Name the file."""
        return self.checkpoint.name

    @property
    def path(self) -> Path:
        """Return where the file is."""
        return self.facts.path

    def match(self, lora: Lora) -> LoraMatch:
        """Compare a LoRA with this transformer; raises LTX2Error if nothing matches."""
        state = self.transformer.network.state_dict()
        return match(lora, {name: tensor.shape for name, tensor in state.items()}, self.source)

    def warnings(self, lora: Lora) -> list[str]:
        """Say in words what speaks against a LoRA that fits by its shapes."""
        return lora_warnings(self.facts, lora.name, lora.generation)

    def with_lora(self, use: LoraUse) -> "Model":
        """Return the same model with one LoRA more."""
        return replace(self, loras=(*self.loras, use))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Text:
    """A text encoder, and the prompts it has read."""

    encoder: TextEncoder
    facts: FileFacts
    #: Files that brought connectors or projection, where the model's own lacks them.
    extras: tuple[FileFacts, ...] = ()
    cache: ContextCache = field(default_factory=ContextCache)


class PreviewColours:
    """The map from a latent cell to RGB of one decoder; computed at first use, then kept."""

    def __init__(self, decoder: Part[VideoDecoder]) -> None:
        self._decoder = decoder
        self._known: Tensor | None = None

    def get(self, place: Place) -> Tensor:
        """Return the factors [C + 1, 3], float32 on the CPU."""
        if self._known is None:
            with torch.no_grad(), place(self._decoder) as decoder:
                self._known = preview_factors(decoder)
        return self._known

    def clear(self) -> None:
        """Forget them."""
        self._known = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VideoVAE:
    """Encoder, decoder and statistics of one file."""

    encoder: Part[VideoEncoder]
    decoder: Part[VideoDecoder]
    statistics: Statistics
    facts: FileFacts
    colours: PreviewColours

    @property
    def source(self) -> str:
        """Name the file."""
        return self.facts.name


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AudioVAE:
    """Encoder, decoder and vocoder of one file."""

    encoder: Part[Any]
    decoder: Part[Any]
    vocoder: Part[Any]
    facts: FileFacts

    @property
    def source(self) -> str:
        """Name the file."""
        return self.facts.name


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Guides:
    """What a stage is shown: pictures, reference clips, and the IC-LoRAs that read them."""

    guides: tuple[Guide, ...] = ()
    references: tuple[Reference, ...] = ()
    loras: tuple[LoraUse, ...] = ()

    def with_guide(self, guide: Guide) -> "Guides":
        """Return the same with one picture more."""
        return replace(self, guides=(*self.guides, guide))

    def with_reference(self, reference: Reference, *loras: LoraUse) -> "Guides":
        """Return the same with one reference more, and the LoRA that reads it."""
        return replace(self, references=(*self.references, reference), loras=(*self.loras, *loras))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LatentUpscaler:
    """An upscaler and what is known of its file."""

    part: Part[Upscaler]
    facts: FileFacts


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LoadedLora:
    """A LoRA and what is known of its file."""

    lora: Lora
    facts: FileFacts


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Bundle:
    """All parts of one generation. `memory_budget` is in bytes, 0 for as much as is free."""

    model: Model
    text: Text
    video_vae: VideoVAE
    audio_vae: AudioVAE
    upscaler: LatentUpscaler | None = None
    distilled_lora: LoadedLora | None = None
    memory_budget: int = 0

    @property
    def generation(self) -> str:
        """Return "2.0", "2.3" or "2.5"."""
        return self.model.generation

    def check(self) -> list[str]:
        """Refuse parts that do not belong together, naming both files; return warnings."""
        return check_together(
            transformer=self.model.facts,
            text_encoder=self.text.facts,
            extras=self.text.extras,
            video_vae=self.video_vae.facts,
            audio_vae=self.audio_vae.facts,
            latent_upscaler=None if self.upscaler is None else self.upscaler.facts,
            loras=[] if self.distilled_lora is None else [self.distilled_lora.facts],
        )

    def sources(self) -> dict[str, str]:
        """Return the file of every part."""
        extras = self.text.extras
        return {
            "model": self.model.source,
            "text_encoder": self.text.facts.name,
            **({"text_parts": ", ".join(file.name for file in extras)} if extras else {}),
            "video_vae": self.video_vae.source,
            "audio_vae": self.audio_vae.source,
            "upscaler": "none" if self.upscaler is None else self.upscaler.facts.name,
            "distilled_lora": "none"
            if self.distilled_lora is None
            else self.distilled_lora.lora.name,
        }

    def lines(self) -> list[str]:
        """Say in words what was loaded."""
        parts = (f"{part.replace('_', ' ')}: {name}" for part, name in self.sources().items())
        return [f"LTX-{self.generation}", *parts]


def load_model(path: Path, check: Check = never_cancelled, hold: Hold = Hold.AS_IN_FILE) -> Model:
    """Load the transformer of a checkpoint. Raises LTX2Error, as all loaders here.

    `hold` says how plain weights rest in memory.
    """
    facts = require(identify(path), "transformer")
    weights = open_weights(path)
    held = weights.quantised or hold is not Hold.AS_IN_FILE
    part = transformer_part(weights, layers=quantized if held else native, check=check, hold=hold)
    if part.generation not in ("2.0", "2.3"):
        raise LTX2Error(
            f"{path.name} is a model of LTX-{part.generation}, which these nodes cannot run yet.",
            needed="a checkpoint of LTX-2.0 or 2.3",
            where="models/checkpoints",
            code="generation_unsupported",
        )
    part.check_weights()
    return Model(transformer=part, checkpoint=weights, facts=facts)


def load_text(
    path: Path, model: Model, check: Check = never_cancelled, *, extras: Sequence[Path] = ()
) -> Text:
    """Load Gemma, and what belongs to it from the model's checkpoint, or else from `extras`."""
    facts = require(identify(path), "text_encoder")
    beside = [require(identify(file), "text_encoder_extras") for file in extras]
    check_together(transformer=model.facts, text_encoder=facts, extras=beside)
    gemma = open_weights(path)
    others = [open_weights(file) for file in extras]
    held = any(weights.quantised for weights in (gemma, model.checkpoint, *others))
    encoder = text_encoder(
        gemma,
        model.checkpoint,
        extras=others,
        tokenizer=tokenizer_folder(path) if path.is_dir() else None,
        layers=quantized if held else nn,
        check=check,
    )
    return Text(encoder=encoder, facts=facts, extras=tuple(beside))


def load_video_vae(path: Path, check: Check = never_cancelled) -> VideoVAE:
    """Load the video VAE of a checkpoint or of a file of its own."""
    facts = require(identify(path), "video_vae")
    weights = open_weights(path)
    encoder, decoder = (
        video_encoder_part(weights, check=check),
        video_decoder_part(weights, check=check),
    )
    for part in (encoder, decoder):
        part.check_weights()
    return VideoVAE(
        encoder=encoder,
        decoder=decoder,
        statistics=read_statistics(weights),
        facts=facts,
        colours=PreviewColours(decoder),
    )


def load_audio_vae(path: Path, check: Check = never_cancelled) -> AudioVAE:
    """Load the audio VAE and vocoder of a checkpoint or of a file of their own."""
    facts = require(identify(path), "audio_vae")
    weights = open_weights(path)
    return AudioVAE(
        encoder=audio_encoder_part(weights, check=check),
        decoder=audio_decoder_part(weights, check=check),
        vocoder=vocoder_part(weights, check=check),
        facts=facts,
    )


def load_upscaler(path: Path, check: Check = never_cancelled) -> LatentUpscaler:
    """Load a latent upscaler."""
    facts = require(identify(path), "latent_upscaler")
    part = upscaler_part(open_weights(path), check=check)
    part.check_weights()
    return LatentUpscaler(part=part, facts=facts)


def load_lora(path: Path) -> LoadedLora:
    """Load a LoRA."""
    facts = require(identify(path), "lora")
    return LoadedLora(lora=read_lora(open_weights(path)), facts=facts)


def joined_latent(video: Tensor | None, audio: Tensor | None, frame_rate: Fraction) -> AVLatent:
    """Make a latent of two plain tensors. Raises LTX2Error if they are of another model."""
    shapes: Iterable[tuple[str, Tensor | None, tuple[int, ...]]] = (
        ("picture", video, (5, VIDEO_CHANNELS)),
        ("sound", audio, (4, AUDIO_CHANNELS)),
    )
    for name, tensor, wanted in shapes:
        if tensor is not None and (tensor.ndim, tensor.shape[1]) != wanted:
            raise LTX2Error(
                f"The {name} latent is {list(tensor.shape)}, which LTX-2 does not make.",
                needed=f"{wanted[0]} dimensions and {wanted[1]} channels",
                where="LTX-2 From Core Latent",
                code="shape_mismatch",
            )
    if audio is not None and audio.shape[-1] != AUDIO_BINS:
        raise LTX2Error(
            f"The sound latent has {audio.shape[-1]} bins.", needed=f"{AUDIO_BINS} bins",
            where="LTX-2 From Core Latent", code="shape_mismatch",
        )  # fmt: skip
    if video is None and audio is None:
        raise LTX2Error(
            "No latent is connected.", needed="a picture, a sound, or both",
            where="LTX-2 From Core Latent",
        )  # fmt: skip
    return AVLatent(
        video=None if video is None else video.detach().to("cpu", torch.float32),
        audio=None if audio is None else audio.detach().to("cpu", torch.float32),
        frame_rate=frame_rate,
    )
