"""Where files lie: models by role, media that come in, results that go out."""

import hashlib
import mimetypes
import os
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from ...ltx_core.checkpoint.companions import generation_in
from ...ltx_core.checkpoint.compatible import check_loadable, check_role
from ...ltx_core.checkpoint.facts import FileFacts, covers
from ...ltx_core.checkpoint.library import CONFIGS, FactsCache, model_files, stamp
from ...ltx_core.errors import LTX2Error

if find_spec("comfy_api"):
    from .comfyui.files import ABSOLUTE_ALLOWED, folder, model_folders
    from .comfyui.files import metadata_enabled as metadata_enabled
else:
    from .standin.files import ABSOLUTE_ALLOWED, folder, model_folders
    from .standin.files import metadata_enabled as metadata_enabled

#: Characters that some file system refuses in a name.
FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')
DATE_FIELD = re.compile(r"yyyy|yy|MM|M|dd|d|HH|hh|H|h|mm|m|ss|s")
#: What files are, by path, size and time of change; asked each time ComfyUI lists our nodes.
FACTS = FactsCache()


@dataclass(frozen=True, kw_only=True, slots=True)
class Role:
    """One thing a node asks a file for."""

    components: tuple[str, ...]  # one of them, as `FileFacts.components` spells it; a prefix
    wanted: str  # as `compatible.check_role` spells it
    keys: tuple[str, ...]  # the kinds of folders people put such files in, the usual one first
    example: str
    missing: str  # its first 18 characters carry the meaning, a combo shows no more


ROLES: dict[str, Role] = {
    "checkpoint": Role(
        components=("transformer",),
        wanted="transformer",
        keys=("checkpoints", "diffusion_models"),
        example="ltx-2.3-22b-distilled.safetensors",
        missing="no LTX-2 model",
    ),
    "text_encoder": Role(
        components=("gemma",),
        wanted="text_encoder",
        keys=("text_encoders", "checkpoints", "diffusion_models"),
        example="gemma_3_12B_it.safetensors",
        missing="no text encoder",
    ),
    "text_encoder_extras": Role(
        components=("connectors", "text_projection"),
        wanted="text_encoder_extras",
        keys=("text_encoders", "checkpoints", "diffusion_models"),
        example="ltx-2.3_text_projection_bf16.safetensors",
        missing="no text connector",
    ),
    "video_vae": Role(
        components=("video_vae",),
        wanted="video_vae",
        keys=("vae", "checkpoints", "diffusion_models"),
        example="ltx-2.5-video-vae-bf16.safetensors",
        missing="no LTX video VAE",
    ),
    "audio_vae": Role(
        components=("audio_vae",),
        wanted="audio_vae",
        keys=("vae", "checkpoints", "diffusion_models"),
        example="ltx-2.5-audio-vae-bf16.safetensors",
        missing="no LTX audio VAE",
    ),
    "latent_upscaler": Role(
        components=("latent_upscaler",),
        wanted="latent_upscaler",
        keys=("latent_upscale_models", "upscale_models"),
        example="ltx-2.3-spatial-upscaler-x2-1.1.safetensors",
        missing="no latent upscaler",
    ),
    "lora": Role(
        components=("lora",),
        wanted="lora",
        keys=("loras",),
        example="ltx-2.3-22b-distilled-lora-384.safetensors",
        missing="no LTX-2 LoRA",
    ),
    "duration_head": Role(
        components=("duration_head",),
        wanted="duration_head",
        keys=("model_patches",),
        example="ltx-2.5-duration-head-bf16.safetensors",
        missing="no duration head",
    ),
}


def choices(role: str) -> list[str]:
    """Return the files that can serve as `role`, for a combo; one sentence if there are none.

    A value is the path inside its folder, with `/`; where two folders hold the same path the later
    one's has its folder's name behind it: `x.safetensors [unet]`.
    """
    wanted = ROLES[role].components
    found: dict[str, None] = {}
    for place, label in _folders(role):
        for path in model_files(place):
            value = path.relative_to(place).as_posix()
            if value in found:
                value = f"{value} [{label}]"
            if _holds(path, wanted):
                found[value] = None
    return sorted(found, key=str.casefold) or [nothing_there(role)]


def nothing_there(role: str) -> str:
    """Return the only entry of a combo without files: what is missing and where it goes."""
    asked = ROLES[role]
    return f"{asked.missing}: put {asked.example} into models/{asked.keys[0]}"


def find(role: str, value: str) -> Path:
    r"""Return the file a combo value of `role` means. Raises LTX2Error (not_found).

    Values written on Windows (`\` between folders) are understood.
    """
    asked = ROLES[role]
    where = " or ".join(f"models/{key}" for key in asked.keys)
    if value == nothing_there(role):
        raise LTX2Error(
            f"There is {asked.missing}.", needed=asked.example, where=where, code="not_found"
        )
    value = value.replace("\\", "/")
    name, label = _split_label(value)
    if ABSOLUTE_ALLOWED and Path(value).is_absolute() and _is_model(Path(value)):
        return Path(value)
    if not escapes(value):
        for place, known_as in _folders(role):
            if _is_model(place / value):
                return place / value
            if label == known_as and _is_model(place / name):
                return place / name
    raise LTX2Error(f"{value} is not there.", needed=name, where=where, code="not_found")


def facts(path: Path) -> FileFacts:
    """Return what a model file is, from its header. Raises LTX2Error (see `identify`)."""
    return FACTS.facts(path)


def is_file(role: str, value: str) -> bool:
    """Say whether an entry of `choices` is a file, not the sentence that there is none."""
    return value != nothing_there(role)


def problem(role: str, value: str) -> str:
    """Return what is wrong with a combo's value, for `validate_inputs`; "" if it can be used.

    Looks at the header only: the right kind of file, whole, and of a kind that can be loaded.
    """
    try:
        found = facts(find(role, value))
        check_role(found, ROLES[role].wanted)
        check_loadable(found)
    except LTX2Error as error:
        return str(error)
    return ""


def state(role: str, value: str) -> str:
    """Return what changes when the file a combo's value means does; for `fingerprint_inputs`."""
    try:
        return state_of(find(role, value))
    except LTX2Error as error:
        return str(error)


def state_of(path: Path) -> str:
    """Return what changes when a file does. Raises OSError.

    A digest: ComfyUI saves fingerprints with its results, and a path would tell of the machine.
    """
    return hashlib.sha256(repr(stamp(path)).encode()).hexdigest()[:16]


def present(role: str) -> list[FileFacts]:
    """Return what is known of every file that can serve as `role`."""
    return [facts(find(role, value)) for value in choices(role) if is_file(role, value)]


def only_upscaler(generation: str) -> Path | None:
    """Return the spatial upscaler for a generation: the only one, or the best by its name."""
    return _only("latent_upscaler", generation, lambda found: found.kind == "spatial")


def only_distilled_lora(generation: str) -> Path | None:
    """Return the distilled LoRA for a generation. Only its name tells that it is one."""
    return _only("lora", generation, lambda found: "distilled" in found.name.lower())


def _only(role: str, generation: str, wanted: Callable[[FileFacts], bool]) -> Path | None:
    """Return the file of a role that a generation can use, if there is one.

    Where a header does not state the generation the name must not state another; of several the
    one that doubles comes before others, then the last by name, which is the newest.
    """
    paths = [find(role, value) for value in choices(role) if is_file(role, value)]
    fitting = [
        path
        for path in paths
        if wanted(facts(path))
        and covers(facts(path).version or generation_in(path.name), generation)
    ]
    return max(fitting, key=lambda path: (facts(path).scale == 2.0, path.name), default=None)


def input_choices(*kinds: str) -> list[str]:
    """Return the files of the input folder that are an "image", "video" or "audio"."""
    here = folder("input")
    if not here.is_dir():
        return []
    names = sorted(path.name for path in here.iterdir() if path.is_file())
    return [name for name in names if (mimetypes.guess_type(name)[0] or "").split("/")[0] in kinds]


def input_file(name: str) -> Path:
    """Return a medium's path: `name`, `name [output]`, `name [temp]`. Raises LTX2Error (not_found).

    Without ComfyUI an absolute path, or one from here, is taken as well.
    """
    plain, label = _split_label(name.replace("\\", "/"))
    here = folder(label if label in ("input", "output", "temp") else "input")
    if plain and not escapes(plain) and _is_file(here / plain):
        return here / plain
    if ABSOLUTE_ALLOWED and _is_file(Path(name)):
        return Path(name).resolve()
    raise LTX2Error(
        f"{name or 'The file'} is not there.",
        needed="a picture, a sound or a clip",
        where=f"the input folder ({here})",
        code="not_found",
    )


def output_path(
    prefix: str, suffix: str, *, width: int = 0, height: int = 0, now: datetime | None = None
) -> tuple[Path, str, str]:
    """Return where the next result goes: its path, its name, and its folder inside the outputs.

    `prefix` may hold folders and `%width%`, `%height%`, `%year%`, `%month%`, `%day%`, `%hour%`,
    `%minute%`, `%second%`, `%date:yyyy-MM-dd%`. The file gets the next free number. Raises
    LTX2Error (outside_output, cannot_write).
    """
    root, goal = _goal(prefix, width, height, now or datetime.now().astimezone())
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        number = _next_number(goal)
    except OSError as error:
        raise _no_folder(goal.parent, error.strerror) from None
    name = f"{goal.name}_{number:05}_{suffix}"
    subfolder = goal.parent.relative_to(root).as_posix()
    return goal.parent / name, name, "" if subfolder == "." else subfolder


def check_output(prefix: str) -> None:
    """Refuse, before anything is computed, a prefix that nothing could be written under.

    Makes no folder. Raises LTX2Error (outside_output, cannot_write).
    """
    root, goal = _goal(prefix, 0, 0, datetime.now().astimezone())
    there = next(folder for folder in (*goal.parents, root) if os.path.lexists(folder))
    if not there.is_dir():
        raise _no_folder(goal.parent, f"{there.name} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise _no_folder(goal.parent, f"{there} may not be written to")


def _goal(prefix: str, width: int, height: int, now: datetime) -> tuple[Path, Path]:
    """Return the output folder, and where in it a prefix leads."""
    filled = _filled(prefix, width, height, now)
    relative = PurePosixPath(FORBIDDEN.sub("_", filled.replace("\\", "/")))
    root = folder("output").resolve()
    goal = (root / relative).resolve()
    if not relative.name:
        raise LTX2Error(
            "The file prefix is empty.", needed="a name, or folder/name", where="filename_prefix",
            code="outside_output",
        )  # fmt: skip
    if relative.is_absolute() or root not in goal.parents:
        raise LTX2Error(
            f"The file prefix {prefix!r} leads out of the output folder.",
            needed="a name, or folder/name",
            where="filename_prefix",
            code="outside_output",
        )
    return root, goal


def _no_folder(folder: Path, reason: str | None) -> LTX2Error:
    return LTX2Error(
        f"The folder {folder} cannot be written to: {reason}.",
        needed="a folder that can be written to",
        where="the output folder, or filename_prefix",
        code="cannot_write",
    )


def temp_path(prefix: str, suffix: str) -> tuple[Path, str, str]:
    """Return a new path in the temp folder, its name and its folder ("")."""
    root = folder("temp")
    root.mkdir(parents=True, exist_ok=True)
    name = f"{prefix}_{secrets.token_hex(4)}{suffix}"
    return root / name, name, ""


def _folders(role: str) -> list[tuple[Path, str]]:
    """Return the folders of a role, each with the shortest end of its path that is its own."""
    found: dict[Path, None] = {}
    for key in ROLES[role].keys:
        for path in sorted(model_folders(key), key=lambda path: path.name != key):
            found[path] = None
    return [(path, _label(path, found)) for path in found]


def _label(path: Path, others: Sequence[Path] | dict[Path, None]) -> str:
    for length in range(1, len(path.parts)):
        ending = path.parts[-length:]
        if not any(other != path and other.parts[-length:] == ending for other in others):
            return "/".join(ending)
    return path.as_posix()


def _holds(path: Path, components: tuple[str, ...]) -> bool:
    found = FACTS.ours(path)
    if found is None:  # damaged, or another model's: `ltx2 inspect` and the files panel say which
        return False
    return any(part.startswith(components) for part in found.components)


def _split_label(value: str) -> tuple[str, str | None]:
    """Split `path [folder]`."""
    match = re.fullmatch(r"(.*\S)\s+\[([^\[\]]+)\]", value)
    return (match[1], match[2]) if match else (value, None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # no file system has such a name
        return False


def _is_model(path: Path) -> bool:
    """Say whether a path is a file, or a folder of shards."""
    return _is_file(path) or any(_is_file(path / name) for name in CONFIGS)


def escapes(name: str) -> bool:
    """Say whether a name, with `/` between folders, leads out of the folder it is in."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or bool(Path(name).drive)


def _filled(prefix: str, width: int, height: int, now: datetime) -> str:
    fields = {
        "width": str(width),
        "height": str(height),
        "year": f"{now.year}",
        "month": f"{now.month:02}",
        "day": f"{now.day:02}",
        "hour": f"{now.hour:02}",
        "minute": f"{now.minute:02}",
        "second": f"{now.second:02}",
    }
    for name, text in fields.items():
        prefix = prefix.replace(f"%{name}%", text)
    return re.sub(r"%date:([^%]*)%", lambda match: _dated(match[1], now), prefix)


def _dated(form: str, now: datetime) -> str:
    """Return a date in the form the browser writes them: yyyy-MM-dd, hh counts to 24."""
    value = {
        "y": now.year, "M": now.month, "d": now.day, "H": now.hour, "h": now.hour,
        "m": now.minute, "s": now.second,
    }  # fmt: skip

    def field(match: re.Match[str]) -> str:
        digits = len(match[0])
        return f"{value[match[0][0]]:0{digits}}"[-digits:] if digits > 1 else str(value[match[0]])

    return DATE_FIELD.sub(field, form)


def _next_number(goal: Path) -> int:
    """Return one more than the largest number among the results of this prefix."""
    names = (path.name for path in goal.parent.iterdir())
    pattern = re.compile(re.escape(goal.name) + r"_(\d+)_?(\..*)?", re.IGNORECASE)
    matches = (pattern.fullmatch(name) for name in names)
    return max((int(match[1]) for match in matches if match), default=0) + 1
