"""What a models folder is good for: which shipped workflow runs, what is missing, what is wrong."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..ltx_core.checkpoint import companions
from ..ltx_core.checkpoint.catalogue import PublishedFile, by_name, published
from ..ltx_core.checkpoint.compatible import check_together
from ..ltx_core.checkpoint.facts import ROLES, FileFacts, covers
from ..ltx_core.checkpoint.library import FactsCache, model_files
from ..ltx_core.checkpoint.report import check_alone, reported
from ..ltx_core.errors import LTX2Error
from ..nodes.host.files import ROLES as PLACES

WORKFLOWS = Path(__file__).parents[1] / "workflows"
#: Two names of one folder.
ALIASES = {"unet": "diffusion_models", "clip": "text_encoders"}
#: What people have in a models folder for other programs.
FOREIGN = frozenset(
    {"not_ltx2", "ltxv_video_only", "diffusers_layout", "shard", "lora_no_match", "gemma_not_ltx"}
)
#: Bytes compared of files that are of one size and have one header.
SAMPLE = 1 << 16
#: Generations whose models these nodes can run.
RUN = ("2.0", "2.3")


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """Everything in one models folder. Names are paths inside it."""

    root: Path
    good: Mapping[str, FileFacts]
    bad: Mapping[str, LTX2Error]

    def usable(self) -> list[FileFacts]:
        """Return the files that can be loaded as what they are."""
        return [facts for facts in self.good.values() if not _refusal(facts)]

    def name_of(self, facts: FileFacts) -> str:
        """Return a file's path inside the folder."""
        return facts.path.relative_to(self.root).as_posix()


@dataclass(frozen=True, kw_only=True, slots=True)
class Readiness:
    """What one workflow would run with, and what it lacks."""

    workflow: str
    uses: dict[str, str] = field(default_factory=dict)  # what for -> file
    missing: list[PublishedFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what to choose in its place, and what differs

    @property
    def ready(self) -> bool:
        """Say whether it runs with what is there."""
        return not self.missing and not self.problems


def examined(root: Path) -> Folder:
    """Read the header of every model file below a folder. Raises LTX2Error (not_found)."""
    if not root.is_dir():
        raise LTX2Error(
            f"{root} is no folder.", needed="a folder laid out like ComfyUI/models",
            code="not_found",
        )  # fmt: skip
    found = FactsCache(1 << 20).listing(model_files(root))
    good: dict[str, FileFacts] = {}
    bad: dict[str, LTX2Error] = {}
    for path, facts in found.items():
        name = path.relative_to(root).as_posix()
        if isinstance(facts, LTX2Error):
            bad[name] = facts
        else:
            good[name] = facts
    return Folder(root=root, good=good, bad=bad)


def diagnosis(root: Path) -> dict[str, Any]:
    """Return all that is to be said of a models folder as JSON values."""
    folder = examined(root)
    refused = {name: error for name, facts in folder.good.items() if (error := _refusal(facts))}
    wrong = {**folder.bad, **refused}
    by_code: dict[str, dict[str, str]] = {"pointers": {}, "others": {}, "damaged": {}}
    for name, error in wrong.items():
        kind = "pointers" if error.code == "lfs_pointer" else (
            "others" if error.code in FOREIGN else "damaged"
        )  # fmt: skip
        by_code[kind][name] = str(error)
    return {
        "folder": str(root),
        "files": len(folder.good) + len(folder.bad),
        "workflows": {item.workflow: _as_json(item) for item in _workflows(folder)},
        **by_code,
        "duplicates": _duplicates(folder),
        "misplaced": _misplaced(folder),
        "useless": _useless(folder),
    }


def listing(root: Path) -> dict[str, Any]:
    """Return what every model file of a folder is: path inside it -> `report.reported`."""
    folder = examined(root)
    found = {**folder.good, **folder.bad}
    return {name: reported(found[name], root / name) for name in sorted(found, key=str.casefold)}


def _refusal(facts: FileFacts) -> LTX2Error | None:
    try:
        check_alone(facts)
    except LTX2Error as error:
        return error
    return None


def _as_json(item: Readiness) -> dict[str, Any]:
    return {
        "ready": item.ready,
        "uses": item.uses,
        "missing": [
            {"name": f.name, "folder": f.folder, "gigabytes": f.gigabytes, "link": f.link}
            for f in item.missing
        ],
        "problems": item.problems,
        "notes": item.notes,
    }


def _workflows(folder: Folder) -> Iterator[Readiness]:
    for path in sorted(WORKFLOWS.glob("*.json")):
        yield _readiness(path.stem, named_files(path), folder)


def named_files(workflow: Path) -> list[PublishedFile]:
    """Return the published files that the loaders of a workflow name."""
    nodes = json.loads(workflow.read_text("utf-8"))["nodes"]
    names = [model["name"] for node in nodes for model in node["properties"].get("models", ())]
    return [file for name in dict.fromkeys(names) if (file := by_name(name))]


def _readiness(name: str, named: Sequence[PublishedFile], folder: Folder) -> Readiness:
    found = Readiness(workflow=name)
    files = folder.usable()
    wanted = next(file for file in named if file.role in ("checkpoint", "transformer"))
    model = _serving(wanted, [f for f in files if f.version in RUN], ("transformer",), None)
    if model is None:
        found.missing.extend(named)
        return found
    found.uses["model"] = folder.name_of(model)
    if model.name != wanted.name:
        found.notes.append(_instead(wanted, model))
    for file in named:
        if file.role == "text_encoder":
            _text(file, model, files, folder, found)
        elif file is not wanted:
            _beside(file, model, files, folder, found)
    for part in ("video_vae", "audio_vae"):
        try:
            chosen = companions.autoencoder(part, model, files)
        except LTX2Error as error:
            _lacking(error, part, model, found)
        else:
            found.uses[part] = folder.name_of(chosen)
    return found


def _instead(wanted: PublishedFile, model: FileFacts) -> str:
    """Say that another model than the workflow's own is there, and where that matters."""
    line = f"the workflow names {wanted.name}: choose {model.name} in its loader"
    if ("distill" in wanted.name) != ("distill" in model.name.lower()):
        line += "; one is distilled and the other is not, so its steps and guidance do not fit"
    return line


def _text(
    wanted: PublishedFile, model: FileFacts, files: Sequence[FileFacts], folder: Folder,
    found: Readiness,
) -> None:  # fmt: skip
    encoder = _serving(wanted, files, ("gemma",), model)
    if encoder is None:
        found.missing.append(_for(model, wanted))
        return
    found.uses["text_encoder"] = folder.name_of(encoder)
    try:
        extras = companions.text_parts(model, encoder, files, None)
        check_together(transformer=model, text_encoder=encoder, extras=extras)
    except LTX2Error as error:
        _lacking(error, "text_projection", model, found)
    else:
        for number, file in enumerate(extras):
            found.uses[f"text_parts{number or ''}"] = folder.name_of(file)


def _beside(
    wanted: PublishedFile, model: FileFacts, files: Sequence[FileFacts], folder: Folder,
    found: Readiness,
) -> None:  # fmt: skip
    """Find an upscaler or a LoRA."""
    wanted = _for(model, wanted)
    distilled = "distilled" in wanted.name
    fitting = [
        file
        for file in files
        if wanted.role in (file.role, *file.components)
        and (wanted.role != "latent_upscaler" or file.kind == "spatial")
        and (wanted.role != "lora" or distilled == ("distilled" in file.name.lower()))
    ]
    file = _serving(wanted, fitting, (wanted.role,), model)
    if file is None:
        found.missing.append(wanted)
    else:
        what = f"{wanted.role}_distilled" if wanted.role == "lora" and distilled else wanted.role
        found.uses[what] = folder.name_of(file)


def _for(model: FileFacts, wanted: PublishedFile) -> PublishedFile:
    """Return the published file of the model's generation where the named one is another's."""
    if model.version is None or covers(wanted.generation, model.version):
        return wanted
    return published(wanted.role, model.version) or wanted


def _serving(
    wanted: PublishedFile, files: Sequence[FileFacts], parts: tuple[str, ...],
    model: FileFacts | None,
) -> FileFacts | None:  # fmt: skip
    """Return the file of the wanted name, else one that holds the part and fits the model."""
    fitting = [
        file
        for file in files
        if any(part.startswith(parts) for part in file.components)
        and (model is None or covers(_version(file), model.version))
    ]
    named = [file for file in fitting if file.name == wanted.name]
    hint = "distill" in wanted.name
    like = [file for file in fitting if ("distill" in file.name.lower()) == hint]
    return next(iter([*named, *like, *fitting]), None)


def _version(file: FileFacts) -> str | None:
    return file.version or companions.generation_in(file.name)


def _lacking(error: LTX2Error, part: str, model: FileFacts, found: Readiness) -> None:
    """Note what cannot be had: the file that brings it, or why none of those here is taken."""
    file = companions.bringing(part, model.version or "")
    if error.code == "component_missing" and file is not None and file.name in str(error):
        found.missing.append(file)
    else:
        found.problems.append(str(error))


def _duplicates(folder: Folder) -> list[list[str]]:
    """Return groups of files with the same content, as far as size, header and samples tell.

    The header alone does not: two checkpoints of one generation differ in their numbers only.
    """
    groups: dict[tuple[int, str, bytes], list[str]] = {}
    sizes: dict[tuple[int, str], int] = {}
    for facts in folder.good.values():
        key = (facts.bytes, facts.digest)
        sizes[key] = sizes.get(key, 0) + 1
    for name, facts in folder.good.items():
        if sizes[facts.bytes, facts.digest] > 1 and facts.path.is_file():
            group = (facts.bytes, facts.digest, _samples(facts.path, facts.bytes))
            groups.setdefault(group, []).append(name)
    return [sorted(names) for names in groups.values() if len(names) > 1]


def _samples(path: Path, size: int) -> bytes:
    """Read a few pieces of a file: from the middle to the end."""
    found = []
    with path.open("rb") as file:
        for part in (4, 6, 8):
            file.seek(max(0, size * part // 8 - SAMPLE))
            found.append(file.read(SAMPLE))
    return b"".join(found)


def _misplaced(folder: Folder) -> dict[str, str]:
    """Return file -> the folder it belongs in, for those where no list looks."""
    found: dict[str, str] = {}
    for name, facts in folder.good.items():
        top = name.split("/")[0]
        roles = [role for role in PLACES.values() if _has(facts, role.components)]
        if (
            roles
            and not _refusal(facts)
            and not any(ALIASES.get(top, top) in role.keys for role in roles)
        ):
            found[name] = f"models/{ROLES[facts.role][1]}"
    return found


def _useless(folder: Folder) -> dict[str, str]:
    """Return file -> why no node here takes it."""
    return {
        name: f"{ROLES[facts.role][0]}: no node here takes it"
        for name, facts in folder.good.items()
        if not any(_has(facts, role.components) for role in PLACES.values())
    }


def _has(facts: FileFacts, parts: tuple[str, ...]) -> bool:
    return any(component.startswith(parts) for component in facts.components)


def diagnosis_text(found: Mapping[str, Any]) -> str:
    """Return a diagnosis as lines for people."""
    lines = [f"{found['folder']}: {found['files']} model files"]
    for name, item in found["workflows"].items():
        lines.append(f"{'ready  ' if item['ready'] else 'missing'} {name}")
        lines += [f"    {what.replace('_', ' ')}: {file}" for what, file in item["uses"].items()]
        lines += [f"    {note}" for note in item["notes"]]
        lines += [
            f"    get {f['name']} ({f['gigabytes']:.3g} GB) into models/{f['folder']}: {f['link']}"
            for f in item["missing"]
        ]
        lines += [f"    {line}" for problem in item["problems"] for line in problem.splitlines()]
    for title, key in (("damaged", "damaged"), ("Git LFS pointers", "pointers"),
                       ("of other models", "others")):  # fmt: skip
        if found[key]:
            lines.append(f"{title}:")
            lines += [f"    {name}: {text.splitlines()[0]}" for name, text in found[key].items()]
    if found["duplicates"]:
        lines += ["the same file more than once:"]
        lines += [f"    {', '.join(names)}" for names in found["duplicates"]]
    if found["misplaced"]:
        lines.append("in a folder where no list looks:")
        lines += [f"    {name}: put it into {where}" for name, where in found["misplaced"].items()]
    if found["useless"]:
        lines.append("of no use here:")
        lines += [f"    {name}: {why}" for name, why in found["useless"].items()]
    return "\n".join(lines)
