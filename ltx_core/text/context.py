"""What the transformer is told by a prompt, as a value and as a file."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..checkpoint.weights import open_weights
from ..errors import LTX2Error

#: Stands in the metadata of every file we write.
FORMAT = "ltx2_text_context"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextContext:
    """One encoded prompt. In 2.0 the transformer still widens it; there is no mask.

    `generation` is that of the connectors ("2.0", "2.3", "2.5"), `source` names the files it came
    from. Never changed in place.
    """

    video: Tensor  # [B, S, D]
    audio: Tensor  # [B, S, A]
    generation: str
    prompt: str = ""
    source: str = ""


def save_context(path: Path, context: TextContext) -> None:
    """Write a context as safetensors; under its name the file appears only when complete."""
    stated = {
        "generation": context.generation,
        "prompt": context.prompt,
        "source": context.source,
    }
    # As JSON, because readers take metadata through `json.loads`: a prompt may be the text "24".
    metadata = {"format": FORMAT, **{key: json.dumps(value) for key, value in stated.items()}}
    tensors = {  # cloned, because the two may share memory, which the format refuses
        "video_context": context.video.cpu().contiguous(),
        "audio_context": context.audio.cpu().clone(memory_format=torch.contiguous_format),
    }
    unfinished = path.with_name(f"{path.name}.part")
    try:
        save_file(tensors, unfinished, metadata)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_context(path: Path) -> TextContext:
    """Read what `save_context` wrote.

    Raises LTX2Error `wrong_role` for any other safetensors file, and those of `read_header`.
    """
    weights = open_weights(path)
    names = ("video_context", "audio_context")
    metadata = weights.metadata
    stated = [metadata.get(key) for key in ("generation", "prompt", "source")]
    if (
        metadata.get("format") != FORMAT
        or any(name not in weights or len(weights.shape(name)) != 3 for name in names)
        or not all(isinstance(value, str) for value in stated)
    ):
        raise LTX2Error(
            f"{path.name} is not a saved text context.",
            needed="a file written by saving an encoded prompt",
            where=str(path.parent),
            code="wrong_role",
        )
    video, audio = (weights[name].clone() for name in names)  # no longer tied to the mapped file
    generation, prompt, source = (str(value) for value in stated)
    return TextContext(
        video=video, audio=audio, generation=generation, prompt=prompt, source=source
    )
