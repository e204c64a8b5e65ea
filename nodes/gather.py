"""Which files a set of choices means, checked against each other before any weight is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ltx_core.checkpoint import companions
from ..ltx_core.checkpoint.compatible import check_together
from . import choices
from .choices import AUTO
from .host import files


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """The files of one generation."""

    model: Path
    text_encoder: Path
    text_parts: tuple[Path, ...]  # with connectors or projection, where the model's lacks them
    video_vae: Path
    audio_vae: Path
    upscaler: Path | None
    distilled_lora: Path | None

    def check(self) -> list[str]:
        """Refuse files that do not belong together; return sentences to warn with."""
        known = {
            name: files.facts(path)
            for name, path in (("video_vae", self.video_vae), ("audio_vae", self.audio_vae),
                               ("latent_upscaler", self.upscaler))
            if path is not None
        }  # fmt: skip
        lora = self.distilled_lora
        return check_together(
            transformer=files.facts(self.model),
            text_encoder=files.facts(self.text_encoder),
            extras=[files.facts(path) for path in self.text_parts],
            loras=[] if lora is None else [files.facts(lora)],
            **known,
        )


def gathered(
    unet_name: str,
    clip_name: str,
    video_vae: str,
    audio_vae: str,
    upscale_model: str,
    distilled_lora: str,
) -> Gathered:
    """Find all files; `auto` takes the model's own, else the only one that fits.

    Raises LTX2Error (`not_found`, `component_missing`).
    """
    model = files.find("checkpoint", unet_name)
    encoder = files.find("text_encoder", clip_name)
    known = files.facts(model)
    generation = known.version or ""
    return Gathered(
        model=model,
        text_encoder=encoder,
        text_parts=text_files(AUTO, model, encoder),
        video_vae=autoencoder("video_vae", video_vae, model),
        audio_vae=autoencoder("audio_vae", audio_vae, model),
        upscaler=choices.upscaler(upscale_model, generation),
        distilled_lora=choices.distilled_lora(distilled_lora, generation),
    )


def autoencoder(role: str, name: str, model: Path) -> Path:
    """Find `video_vae` or `audio_vae`: the one named, the model's own, or the only one."""
    if name != AUTO:
        return files.find(role, name)
    return companions.autoencoder(role, files.facts(model), files.present(role)).path


def text_files(name: str, model: Path, encoder: Path) -> tuple[Path, ...]:
    """Find what brings connectors and projection, where the model's file lacks them."""
    role = "text_encoder_extras"
    chosen = None if name == AUTO else files.facts(files.find(role, name))
    found = companions.text_parts(
        files.facts(model), files.facts(encoder), files.present(role), chosen
    )
    return tuple(file.path for file in found)


def problem(**values: Any) -> bool | str:
    """Return True, or why these choices do not make a whole; for `validate_inputs`.

    Where a value is linked, and so not known yet, nothing can be said.
    """
    if any(not isinstance(value, str) for value in values.values()):
        return True
    return choices.refusal(lambda given: gathered(**given).check(), values)
