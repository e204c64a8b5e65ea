"""From a prompt to token ids, with whichever tokenizer came along with the language model."""

import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..checkpoint.weights import Weights
from ..errors import LTX2Error
from .pieces import spiece_model

log = logging.getLogger(__name__)

#: Begins every prompt.
BOS = 2
#: Positions of a context in every generation; longer prompts are cut.
CONTEXT_LENGTH = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Tokenizer:
    """Turns text into ids; `encode` neither cuts nor need add BOS."""

    encode: Callable[[str], list[int]]
    source: str

    def ids(self, prompt: str, length: int | None = CONTEXT_LENGTH) -> list[int]:
        """Return a prompt's ids: white space around it removed, BOS in front, cut at `length`.

        An empty prompt is BOS alone. Text that spells a special token becomes that token.
        """
        ids = self.encode(prompt.strip())
        if ids[:1] != [BOS]:
            ids = [BOS, *ids]
        if length is not None and len(ids) > length:
            log.warning("A prompt of %d tokens is cut at %d: %.60s...", len(ids), length, prompt)
        return ids[:length]


def read_tokenizer(weights: Weights, beside: Path | None = None) -> Tokenizer:
    """Find the tokenizer of a language model.

    `beside` is another place to look first: a folder or file. Then the tensors `tokenizer_json` and
    `spiece_model` of the file are tried, the vocabulary of a GGUF file, and `tokenizer.json` and
    `tokenizer.model` of the folder; a GGUF file's folder is the one it lies in. Raises LTX2Error
    `tokenizer_missing`.
    """
    for place in (beside, weights, _folder_of(weights)):
        if isinstance(place, Path):
            found = _of_folder(place) if place.is_dir() else _of_file(place)
        else:
            found = _of_tensors(place) if place is not None else None
        if found is not None:
            return found
    raise LTX2Error(
        f"{weights.name} has no tokenizer.",
        needed="tokenizer.json or tokenizer.model of gemma-3-12b-it in its folder, or a single "
        "file with the tokenizer in it (tensor spiece_model or tokenizer_json)",
        where="models/text_encoders",
        code="tokenizer_missing",
    )


def _of_tensors(weights: Weights) -> Tokenizer | None:
    for name, build in (("tokenizer_json", json_tokenizer), ("spiece_model", spiece_tokenizer)):
        if name in weights:
            return build(weights[name].numpy().tobytes(), f"{name} of {weights.name}")
    return _of_vocabulary(weights)


def _of_vocabulary(weights: Weights) -> Tokenizer | None:
    """Build the tokenizer of a GGUF file's vocabulary, if it is one of pieces with scores."""
    if weights.metadata.get("tokenizer.ggml.model") != "llama":
        return None
    names = (f"tokenizer.ggml.{name}" for name in ("tokens", "scores", "token_type"))
    tokens, scores, kinds = (weights.long_list(name) or () for name in names)
    source = f"vocabulary of {weights.name}"
    try:
        model = spiece_model(tokens, scores, kinds)
    except (ValueError, TypeError, AttributeError, OverflowError, struct.error) as error:
        raise _damaged(source, error) from None
    return spiece_tokenizer(model, source)


def _folder_of(weights: Weights) -> Path | None:
    """Return the folder a language model's tokenizer would lie in, if that can be told."""
    if weights.path is None or weights.path.is_dir():
        return weights.path
    return weights.path.parent if weights.path.suffix.lower() == ".gguf" else None


def _of_folder(folder: Path) -> Tokenizer | None:
    files = (folder / "tokenizer.json", folder / "tokenizer.model")
    return next((_of_file(file) for file in files if file.is_file()), None)


def _of_file(file: Path) -> Tokenizer:
    build = spiece_tokenizer if file.suffix == ".model" else json_tokenizer
    try:
        content = file.read_bytes()
    except OSError as error:
        raise LTX2Error(
            f"{file.name} cannot be read ({error.strerror}).", needed="a tokenizer.json",
            where=str(file.parent), code="tokenizer_missing",
        ) from None  # fmt: skip
    return build(content, str(file))


def json_tokenizer(content: bytes, source: str) -> Tokenizer:
    """Build the tokenizer that a Hugging Face `tokenizer.json` describes."""
    from tokenizers import Tokenizer as FastTokenizer  # late: only a run with text needs it

    try:
        tokenizer = FastTokenizer.from_buffer(content)
    except ValueError as error:
        raise _damaged(source, error) from None
    tokenizer.no_truncation()  # a file may carry the last user's settings
    tokenizer.no_padding()
    return Tokenizer(lambda text: tokenizer.encode(text).ids, source)


def spiece_tokenizer(content: bytes, source: str) -> Tokenizer:
    """Build the tokenizer of a SentencePiece model."""
    from sentencepiece import SentencePieceProcessor

    tokenizer = SentencePieceProcessor()
    try:
        tokenizer.LoadFromSerializedProto(content)
    except RuntimeError as error:
        raise _damaged(source, error) from None
    return Tokenizer(lambda text: [*tokenizer.EncodeAsIds(text)], source)


def _damaged(source: str, error: Exception) -> LTX2Error:
    return LTX2Error(
        f"The tokenizer {source} is damaged ({error}).",
        needed="the tokenizer of gemma-3-12b-it; download it again",
        where="models/text_encoders",
        code="tokenizer_missing",
    )
