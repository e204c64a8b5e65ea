"""Lists of files in nodes: what they offer, which file `auto` means, why one cannot be taken."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..ltx_core.errors import LTX2Error
from .host import files

AUTO = "auto"
NONE = "none"


def choice(role: str, *first: str) -> list[str]:
    """Return the files of a role for a list, after entries that are no files."""
    found = files.choices(role)
    return found if not first else [*first, *(name for name in found if files.is_file(role, name))]


def problem(**chosen: tuple[Any, ...]) -> bool | str:
    """Return True, or why one of the `input=(role, value, *words that are no files)` is refused.

    For `validate_inputs`: a value that is linked (None) is not known yet.
    """
    for role, value, *words in chosen.values():
        if value is None or value in words:
            continue
        if not isinstance(value, str):
            return f"{value!r} is no file name."
        if said := files.problem(role, value):
            return said
    return True


def state(**chosen: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what changes when one of the `input=(role, value, *words that are no files)` does.

    For `fingerprint_inputs`: a file that was put right is read again. Where a word leaves the
    choice to us, all files of the role count.
    """
    found: list[Any] = []
    for role, value, *words in chosen.values():
        names = files.choices(role) if value in words else [value]
        found += [files.state(role, name) for name in names if isinstance(name, str)]
    return tuple(found)


def refusal(check: Callable[[Any], object], value: Any) -> bool | str:
    """Return True, or the sentence with which `check` refuses a value; for `validate_inputs`."""
    try:
        check(value)
    except LTX2Error as error:
        return str(error)
    return True


def upscaler(name: str, generation: str) -> Path | None:
    """Find the spatial upscaler: the one named, or with `auto` the one of the generation."""
    return files.only_upscaler(generation) if name == AUTO else files.find("latent_upscaler", name)


def distilled_lora(name: str, generation: str) -> Path | None:
    """Find the distilled LoRA: the one named, or with `auto` the one whose name says so."""
    if name == NONE:
        return None
    return files.only_distilled_lora(generation) if name == AUTO else files.find("lora", name)
