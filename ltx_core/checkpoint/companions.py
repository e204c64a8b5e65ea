"""Which of the files present brings what a model's own file lacks. Facts only; nothing is opened.

A file that holds little beside the wanted part goes before one that holds a whole model. Among
several of the same kind the one whose name says "distill" goes with a model whose name does.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import LTX2Error
from .catalogue import bringing
from .compatible import check_gemma
from .facts import COMPONENTS, ROLES, FileFacts, covers

#: Parts of the text stage that a transformer's file may lack.
TEXT_PARTS = ("connectors", "text_projection")
#: An autoencoder for sound is one only with what turns its pictures into sound.
TOGETHER = {"audio_vae": ("audio_vae", "vocoder")}


@dataclass(frozen=True, slots=True)
class Found:
    """What brings one part: a file, or several that could, or none."""

    part: str
    files: tuple[FileFacts, ...]

    @property
    def only(self) -> FileFacts | None:
        """Return the file, if there is exactly one."""
        return self.files[0] if len(self.files) == 1 else None


def generation_in(name: str) -> str | None:
    """Return the generation that a file's name states: `ltx-2-` is 2.0, `LTX23_` is 2.3."""
    match = re.match(r"ltxv?-?2(?:\.?(\d))?[-_]", name.lower())
    return match and f"2.{match[1] or '0'}"


def bringers(part: str, model: FileFacts, present: Iterable[FileFacts]) -> Found:
    """Return the files that can bring `part` to a model, the best kind of them only."""
    holds = TOGETHER.get(part, (part,))
    fitting = [
        file
        for file in present
        if {*holds} <= {*file.components}
        and file.path != model.path
        and _fits(part, file, model)
        and file.decoder != "diffusion"
    ]
    kinds: dict[tuple[bool, bool], list[FileFacts]] = {}
    for file in fitting:
        another = not covers(file.version, model.version)  # of a generation that fits all the same
        kinds.setdefault((another, file.role not in SMALL), []).append(file)
    best = kinds[min(kinds)] if kinds else []
    distilled = [file for file in best if _distilled(file) == _distilled(model)]
    return Found(part, tuple(distilled or best))


#: Roles of files that hold one part and little else.
SMALL = ("text_encoder_extras", "text_encoder", "video_vae", "audio_vae")


def _fits(part: str, file: FileFacts, model: FileFacts) -> bool:
    """Say whether generations agree. The video autoencoders of 2.3 and 2.5 are the same."""
    version = generation_in(file.name) if file.version in (None, "2.3+") else None
    version = version or file.version
    if part == "video_vae" and version in ("2.3", "2.5") and model.version in ("2.3", "2.5"):
        return True
    return covers(version, model.version) and covers(file.version, model.version)


def _distilled(file: FileFacts) -> bool:
    return "distill" in file.name.lower()


def text_parts(
    model: FileFacts, encoder: FileFacts, present: Sequence[FileFacts], chosen: FileFacts | None
) -> list[FileFacts]:
    """Return the files to take connectors and projection from, beside the two that are loaded.

    They are looked for in the model's file, then `chosen`, then the text encoder's file, then among
    `present`. Raises LTX2Error (`component_missing`), naming what was found or what to download.
    """
    check_gemma(model, encoder)
    known = [file for file in (model, chosen, encoder) if file is not None]
    found = [] if chosen is None else [chosen]
    for part in TEXT_PARTS:
        if any(part in file.components for file in (*known, *found)):
            continue
        lacks = f"Neither {model.name} nor {encoder.name} has the {COMPONENTS[part]}"
        where = "LTX-2 Load Text Encoder, text_parts"
        file = sure(bringers(part, model, present), model, lacks, where)
        found.append(file)
    return found


def autoencoder(part: str, model: FileFacts, present: Sequence[FileFacts]) -> FileFacts:
    """Return the file to take `video_vae` or `audio_vae` from: the model's own, or the only one.

    Raises LTX2Error (`component_missing`), naming what was found or what to download.
    """
    wanted = TOGETHER.get(part, (part,))
    lacking = [COMPONENTS[name] for name in wanted if name not in model.components]
    if not lacking and model.decoder != "diffusion":
        return model
    lacks = f"{model.name} has no {' and no '.join(lacking or [COMPONENTS[part]])}"
    return sure(bringers(part, model, present), model, lacks, f"LTX-2 Load, {part}")


def sure(found: Found, model: FileFacts, lacks: str, widget: str) -> FileFacts:
    """Return the only file; else refuse, naming those to choose from or what to download.

    `lacks` begins the sentence; `widget` is where people choose.
    """
    if found.only is not None:
        return found.only
    words = COMPONENTS[found.part]
    if found.files:
        names = ", ".join(sorted(file.name for file in found.files))
        raise LTX2Error(
            f"{lacks}; found {names}, which have it: choose one.",
            needed="one of them chosen", where=widget, code="component_missing",
        )  # fmt: skip
    file = bringing(found.part, model.version) if model.version else None
    role = ROLES.get(found.part, ROLES["text_encoder_extras"])
    raise LTX2Error(
        f"{lacks}, and no file here that fits has it.",
        needed=str(file) if file else f"a file with the {words}",
        where=f"models/{file.folder if file else role[1]}", code="component_missing",
    )  # fmt: skip
