"""Lists of files in nodes: what they offer, which file `auto` means, why one cannot be taken."""

from pathlib import Path
from typing import Any

from .host import files

AUTO = "auto"
NONE = "none"


def choice(role: str, *first: str) -> list[str]:
    """Return the files of a role for a list, after entries that are no files."""
    found = files.choices(role)
    return found if not first else [*first, *(name for name in found if files.is_file(role, name))]


def problem(**chosen: tuple[str, Any]) -> bool | str:
    """Return True, or why one of the `input=(role, value)` cannot be taken.

    For `validate_inputs`: a value that is linked, or not a file, is not judged.
    """
    for role, value in chosen.values():
        if isinstance(value, str) and value not in (AUTO, NONE):
            said = files.problem(role, value)
            if said:
                return said
    return True


def upscaler(name: str, generation: str) -> Path | None:
    """Find the spatial upscaler: the one named, or with `auto` the one of the generation."""
    return files.only_upscaler(generation) if name == AUTO else files.find("latent_upscaler", name)


def distilled_lora(name: str, generation: str) -> Path | None:
    """Find the distilled LoRA: the one named, or with `auto` the one whose name says so."""
    if name == NONE:
        return None
    return files.only_distilled_lora(generation) if name == AUTO else files.find("lora", name)
