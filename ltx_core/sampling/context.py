"""What a generation is told by text: the prompt, and what to steer away from."""

import json
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file

from ..checkpoint.part import Place, place_on_cpu
from ..checkpoint.weights import open_weights
from ..errors import LTX2Error
from ..ops.layers import Check, never_cancelled
from ..text.context import TextContext
from ..text.encoder import TextEncoder, encode_prompts
from ..text.tokenizer import CONTEXT_LENGTH

#: Stands in the metadata of every file we write.
FORMAT = "ltx2_prompt_context"


class ContextCache:
    """Prompts that were read, by their text; the oldest go first. `clear` empties it."""

    def __init__(self, limit: int = 32) -> None:
        self._limit = limit
        self._known: OrderedDict[str, TextContext] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, prompt: str) -> TextContext | None:
        """Return what a prompt became, if it was read before."""
        if prompt in self._known:
            self._known.move_to_end(prompt)
        return self._known.get(prompt)

    def keep(self, context: TextContext) -> None:
        """Remember a prompt."""
        self._known[context.prompt] = context
        self._known.move_to_end(context.prompt)
        while len(self._known) > self._limit:
            self._known.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PromptContext:
    """The prompt as the transformer reads it, and the negative one if there is any."""

    positive: TextContext
    negative: TextContext | None = None
    seconds: float = 0.0  # how long reading took
    notices: tuple[str, ...] = ()  # what is worth knowing of the reading

    @property
    def generation(self) -> str:
        """Return the generation it was encoded for."""
        return self.positive.generation

    @property
    def prompt(self) -> str:
        """Return the user's text."""
        return self.positive.prompt


def encode_pair(
    encoder: TextEncoder,
    cache: ContextCache,
    prompt: str,
    negative_prompt: str,
    place: Place = place_on_cpu,
    *,
    check: Check = never_cancelled,
    on_progress: Callable[[int, int], None] | None = None,
) -> PromptContext:
    """Encode both texts together, or take from `cache` what was read before."""
    wanted = list(dict.fromkeys((prompt, negative_prompt)))
    new = [text for text in wanted if cache.get(text) is None]
    found = {text: cache.get(text) for text in wanted}
    for context in encode_prompts(encoder, new, place, check=check, on_progress=on_progress):
        cache.keep(context)
        found[context.prompt] = context
    positive, negative = found[prompt], found[negative_prompt]
    assert positive is not None and negative is not None
    texts = {"prompt": prompt, "negative prompt": negative_prompt}
    notices = [line for name, text in texts.items() for line in _cut(encoder, name, text)]
    return PromptContext(positive=positive, negative=negative, notices=tuple(notices))


def _cut(encoder: TextEncoder, name: str, text: str) -> list[str]:
    count = len(encoder.tokenizer.ids(text, None))
    if count <= CONTEXT_LENGTH:
        return []
    return [f"the {name} has {count} tokens and is cut after {CONTEXT_LENGTH}"]


def save_pair(path: Path, context: PromptContext) -> None:
    """Write both texts as one safetensors file; it appears under its name only when complete."""
    sides = {"positive": context.positive, "negative": context.negative}
    tensors, prompts = {}, {}
    for name, side in sides.items():
        if side is not None:
            tensors[f"{name}.video"] = side.video.cpu().clone()
            tensors[f"{name}.audio"] = side.audio.cpu().clone()
            prompts[name] = side.prompt
    metadata = {
        "format": FORMAT,
        "generation": json.dumps(context.generation),
        "source": json.dumps(context.positive.source),
        "prompts": json.dumps(prompts),
    }
    unfinished = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, unfinished, metadata)
        unfinished.replace(path)
    except (OSError, SafetensorError) as error:
        raise LTX2Error(
            f"{path.name} cannot be written ({error}).",
            needed="a folder with room that can be written to",
            where=str(path.parent),
            code="unwritable",
        ) from None
    finally:
        with suppress(OSError):  # nothing to remove where the folder could not be made
            unfinished.unlink()


def load_pair(path: Path) -> PromptContext:
    """Read what `save_pair` wrote. Raises LTX2Error `wrong_role` for any other file."""
    weights = open_weights(path)
    stated = weights.metadata
    prompts = stated.get("prompts")
    names = [f"{side}.{stream}" for side in prompts or () for stream in ("video", "audio")]
    if (
        stated.get("format") != FORMAT
        or not isinstance(prompts, dict)
        or "positive" not in prompts
        or any(name not in weights or len(weights.shape(name)) != 3 for name in names)
    ):
        raise LTX2Error(
            f"{path.name} is not a saved prompt context.",
            needed="a file of LTX-2 Save Prompt Context",
            where=str(path.parent),
            code="wrong_role",
        )
    sides = {
        side: TextContext(
            video=weights[f"{side}.video"].clone(),
            audio=weights[f"{side}.audio"].clone(),
            generation=str(stated.get("generation", "")),
            prompt=str(prompts[side]),
            source=path.name,
        )
        for side in prompts
    }
    return PromptContext(positive=sides["positive"], negative=sides.get("negative"))
