"""Lists of files in nodes: what they offer, which file `auto` means, why one cannot be taken."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..ltx_core.checkpoint.facts import FileFacts, covers
from ..ltx_core.errors import LTX2Error
from .host import files

log = logging.getLogger(__name__)

AUTO = "auto"
NONE = "none"


def choice(role: str, *first: str) -> list[str]:
    """Return the files of a role for a list, after entries that are no files."""
    found = files.choices(role)
    return found if not first else [*first, *(f for f in found if f != files.nothing_there(role))]


def problem(**chosen: tuple[str, Any]) -> bool | str:
    """Return True, or why one of the `input=(role, value)` cannot be taken.

    For `validate_inputs`: a value that is linked, or not a file, is not judged.
    """
    for role, value in chosen.values():
        if isinstance(value, str) and value not in (AUTO, NONE):
            try:
                files.find(role, value)
            except LTX2Error as error:
                return str(error)
    return True


def upscaler(name: str, generation: str) -> Path | None:
    """Find the spatial upscaler: the one named, or with `auto` the x2 one of the generation."""

    def wanted(facts: FileFacts) -> bool:
        return facts.kind == "spatial" and facts.scale == 2

    return _named_or_auto("latent_upscaler", name, generation, wanted)


def distilled_lora(name: str, generation: str) -> Path | None:
    """Find the distilled LoRA: the one named, or with `auto` the one whose name says so."""
    return _named_or_auto("lora", name, generation, lambda facts: "distilled" in facts.path.name)


def _named_or_auto(
    role: str, name: str, generation: str, wanted: Callable[[FileFacts], bool]
) -> Path | None:
    """Return the file of a name; for `auto` the only one that fits, or the last by name of several."""
    if name == NONE:
        return None
    if name != AUTO:
        return files.find(role, name)
    found = [facts.path for facts in _present(role) if wanted(facts) and _of(generation, facts)]
    found.sort(key=lambda path: path.name)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        log.warning("[LTX-2] auto could be any of %s: %s is taken", names, found[-1].name)
    return found[-1] if found else None


def _present(role: str) -> list[FileFacts]:
    """Return what the files of a role on this machine are."""
    names = [name for name in files.choices(role) if name != files.nothing_there(role)]
    return [files.facts(files.find(role, name)) for name in names]


def _of(generation: str, facts: FileFacts) -> bool:
    """Say whether a file can be of a generation; one that states none is judged by its name."""
    if facts.version is not None:
        return covers(facts.version, generation)
    name = facts.path.name.lower()
    hints = {"2.0": "ltx-2-", "2.3": "ltx-2.3", "2.5": "ltx-2.5"}
    named = [known for known, hint in hints.items() if name.startswith(hint)]
    return not named or generation in named
