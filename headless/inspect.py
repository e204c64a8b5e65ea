"""What `ltx2 inspect` says of a file: what it is, whether it loads, what it is worth beside others.

Beyond the header every network is built without weights, and a LoRA is compared with the models
in the same models folder.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..ltx_core.checkpoint.compatible import check_role, check_together
from ..ltx_core.checkpoint.entries import TensorEntry
from ..ltx_core.checkpoint.facts import FileFacts
from ..ltx_core.checkpoint.header import LONGEST_DESCRIPTION
from ..ltx_core.checkpoint.identify import identify
from ..ltx_core.checkpoint.library import CONFIGS, model_files
from ..ltx_core.checkpoint.lora import match
from ..ltx_core.checkpoint.lora_file import read_lora
from ..ltx_core.checkpoint.reading import DTYPES, OpenFile
from ..ltx_core.checkpoint.report import reported
from ..ltx_core.checkpoint.weights import Weights, open_weights
from ..ltx_core.errors import LTX2Error
from ..ltx_core.sampling.trial import parts_of
from ..ltx_core.transformer.keys import parameter_names

#: Of a quantised file the values of these are shown, the first of each: one layer of the video
#: stream, one of a connector, one tensor outside of layers, one of a language model.
SAMPLED = (
    r"transformer_blocks\.\d+\.attn1\.to_q\.weight$",
    r"audio_embeddings_connector\..*\.ff\.net\.2\.weight$",
    r"keyframes_abs_pos_embedding$",
    r"layers\.0\.self_attn\.q_proj\.weight$",
)
#: Folders of models that a LoRA may be for.
MODEL_FOLDERS = ("checkpoints", "diffusion_models", "unet")
#: Role of a file beside another -> the list of such files in `check_together`, "" for one alone.
BESIDE = {
    "transformer": "", "text_encoder": "", "text_encoder_extras": "extras", "video_vae": "",
    "audio_vae": "", "latent_upscaler": "", "lora": "loras",
}  # fmt: skip
#: What a file lacks and may do without, for a model of other sizes than the official ones.
NOT_DAMAGE = frozenset({"config_missing"})


def inspect_file(
    path: Path,
    wanted: str | None = None,
    others: Mapping[str, Path] | None = None,
    *,
    samples: bool = False,
) -> dict[str, Any]:
    """Return the facts of a model file or folder as JSON values, as `report.reported` does.

    `wanted` is the role it should serve in, `others` are files it should go with, by the arguments
    of `compatible.check_together`. `samples` adds some values of a quantised file, which are read.
    What is wrong stands in `error` (a code) and `message`.
    """
    try:
        facts = identify(path)
    except LTX2Error as error:
        return reported(error, path)
    values = reported(facts, path)
    if "error" in values:
        return values
    try:
        _check(path, facts, wanted, others or {})
        if samples and facts.quant is not None:
            values["samples"] = sampled(open_weights(path))
    except LTX2Error as error:
        values["problem"] = str(error)
        if error.code not in NOT_DAMAGE:
            values |= {"error": error.code, "message": str(error)}
    return values


def _check(path: Path, facts: FileFacts, wanted: str | None, others: Mapping[str, Path]) -> None:
    if wanted is not None:
        check_role(facts, wanted)
    if facts.role == "lora":
        _check_lora(path)
    elif facts.components:
        parts_of(path, facts)
    if others:
        _check_others(facts, wanted or facts.role, others)


def _check_others(facts: FileFacts, role: str, others: Mapping[str, Path]) -> None:
    """Refuse files that do not serve as what they are given for, or not together."""
    given: dict[str, Any] = {"transformer" if role == "checkpoint" else role: facts}
    for name, path in others.items():
        if name not in BESIDE:
            raise LTX2Error(
                f"{name} is no role that files are checked in together.",
                needed=f"one of {', '.join(BESIDE)}", where="--with", code="bad_question",
            )  # fmt: skip
        given[name] = identify(path)
        check_role(given[name], name)
    if "transformer" in given:
        together: dict[str, Any] = {n: f for n, f in given.items() if n in BESIDE and not BESIDE[n]}
        together |= {BESIDE[n]: [f] for n, f in given.items() if BESIDE.get(n)}
        check_together(**together)


def sampled(weights: Weights) -> dict[str, Any]:
    """Return shape, sum and first four values of some quantised tensors."""
    found: dict[str, Any] = {}
    for pattern in SAMPLED:
        key = next((k for k in weights if re.search(pattern, k) and weights.packing(k)), None)
        if key is not None:
            tensor = weights[key].float()
            found[key] = {
                "shape": list(tensor.shape),
                "sum": round(tensor.double().sum().item(), 4),
                "first": [round(value, 5) for value in tensor.flatten()[:4].tolist()],
            }
    return found


def is_models_folder(path: Path) -> bool:
    """Say whether a path is a folder of models, and not one model in a folder."""
    if not path.is_dir() or any((path / name).is_file() for name in CONFIGS):
        return False
    return not any(path.glob("model*.safetensors*"))


def models_folder(path: Path) -> Path | None:
    """Return the models folder that a file lies in, if it looks like one."""
    return next(
        (
            folder
            for folder in list(path.absolute().parents)[:4]
            if any((folder / name).is_dir() for name in MODEL_FOLDERS)
        ),
        None,
    )


def _check_lora(path: Path) -> None:
    """Refuse a LoRA that fits none of the models beside it; without models nothing is known."""
    lora = read_lora(_shapes_only(path))
    refused: LTX2Error | None = None
    for model in _models_beside(path):
        names = parameter_names(model)
        shapes = {name: model.shape(key) for key, name in names.items()}
        try:
            match(lora, shapes, model.name)
        except LTX2Error as error:
            refused = refused or error
        else:
            return
    if refused is not None:
        raise refused


def _models_beside(path: Path) -> Iterator[Weights]:
    root = models_folder(path)
    for name in MODEL_FOLDERS if root is not None else ():
        for file in model_files(Path(root or "") / name):
            try:
                if "transformer" in identify(file).components:
                    yield open_weights(file)
            except LTX2Error:
                continue  # said where that file itself is looked at


def _shapes_only(path: Path) -> Weights:
    """Open a file whose large tensors have shapes and no values."""
    file = OpenFile(path)
    tensors = {key: _light(file, entry) for key, entry in file.header.tensors.items()}
    return Weights(path.name, tensors, file.header.metadata, path=path)


def _light(file: OpenFile, entry: TensorEntry) -> Tensor:
    if entry.bytes <= LONGEST_DESCRIPTION:
        return file.tensor(entry)
    return torch.empty(entry.shape, dtype=DTYPES.get(entry.dtype, torch.uint8), device="meta")
