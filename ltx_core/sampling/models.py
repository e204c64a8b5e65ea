"""The parts a recipe needs, and what is to be made with them."""

from dataclasses import dataclass, replace
from typing import Any

from ..checkpoint.lora import LoraUse
from ..checkpoint.part import Part, Place, place_on_cpu
from ..conditioning.guides import Guide, Reference
from ..errors import LTX2Error
from ..latents import AVLatent, Streams
from ..text.context import TextContext
from ..transformer.model import Transformer
from ..upscaler.model import Upscaler
from ..video_vae.statistics import Statistics
from .predict import Prompts
from .stages import Equipment, Stage


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Models:
    """Networks and LoRAs of one generation. What a recipe does not use may be None."""

    transformer: Part[Transformer]
    video_encoder: Part[Any] | None = None  # needed for guides and references
    upscaler: Part[Upscaler] | None = None  # needed for two stages
    statistics: Statistics | None = None  # of the video autoencoder; with the upscaler
    distilled_lora: LoraUse | None = None
    loras: tuple[LoraUse, ...] = ()
    place: Place = place_on_cpu

    @property
    def generation(self) -> str:
        """Return "2.0", "2.3" or "2.5"."""
        return self.transformer.generation

    def equipment(self, *, references: bool = False) -> Equipment:
        """Return what a recipe has to know."""
        return Equipment(
            generation=self.generation,
            checkpoint=self.transformer.source,
            distilled_lora=self.distilled_lora is not None,
            loras=bool(self.loras),
            references=references,
        )

    def loras_of(self, stage: Stage) -> tuple[LoraUse, ...]:
        """Return the LoRAs a stage runs with: the user's first, then the distilled one."""
        uses = self.loras if stage.user_loras else ()
        if stage.distilled == 0 or self.distilled_lora is None:
            return uses
        distilled = self.distilled_lora
        if stage.distilled is not None:
            distilled = replace(distilled, strength=stage.distilled)
        return (*uses, distilled)


#: Both streams are generated.
NOTHING_FROZEN = Streams(False, False)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Request:
    """One clip to be made."""

    clip: AVLatent  # its size, length and rate; its content only where a stream is frozen or kept
    positive: TextContext
    negative: TextContext | None = None
    guides: tuple[Guide, ...] = ()
    references: tuple[Reference, ...] = ()
    keyframe_slots: tuple[int, ...] = ()  # pixel frames to generate on their own (2.5)
    region: tuple[float, float] | None = None  # seconds to generate; the rest is kept
    frozen: Streams[bool] = NOTHING_FROZEN  # given and only listened to, or looked at

    def prompts(self) -> Streams[Prompts]:
        """Return what each stream that is there is told.

        A frozen stream has no negative prompt: it hears its own prompt in every pass.
        """

        def one(name: str, present: object, frozen: bool | None) -> Prompts | None:
            if present is None:
                return None
            negative = None if frozen or self.negative is None else getattr(self.negative, name)
            return Prompts(positive=getattr(self.positive, name), negative=negative)

        return Streams(
            one("video", self.clip.video, self.frozen.video),
            one("audio", self.clip.audio, self.frozen.audio),
        )


def check_together(models: Models, request: Request) -> None:
    """Refuse what was made for different generations, naming both files.

    Raises LTX2Error `generation_mismatch`. What states no generation is taken on trust.
    """
    ours = models.transformer
    others = [
        (part.source, part.generation)
        for part in (models.video_encoder, models.upscaler)
        if part is not None
    ]
    contexts = (request.positive, request.negative)
    others += [
        (context.source or "the prompt", context.generation)
        for context in contexts
        if context is not None
    ]
    others.append((request.clip.name, request.clip.generation))
    for source, generation in others:
        if generation and ours.generation and generation != ours.generation:
            raise LTX2Error(
                f"{source} is of LTX-{generation}, {ours.source} of LTX-{ours.generation}: "
                "they do not work together.",
                needed=f"everything of LTX-{ours.generation}", code="generation_mismatch",
            )  # fmt: skip
