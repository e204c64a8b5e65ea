"""From prompts to contexts: tokens, Gemma, feature extractor, connectors."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checkpoint.part import Part, Place, place_on_cpu
from ..checkpoint.weights import Holding
from ..errors import LTX2Error
from ..ops.layers import Check, never_cancelled
from .connector import Connectors
from .context import TextContext
from .features import FeatureExtractor, Features
from .gemma import Gemma
from .tokenizer import CONTEXT_LENGTH, Tokenizer

log = logging.getLogger(__name__)

#: Ids of Gemma 3 that stand for pictures; GGUF files leave their rows out.
PICTURE_IDS = range(262144, 262208)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextEncoder:
    """All that encodes a prompt. `gemma.weights` also holds the embedding table, read by rows."""

    tokenizer: Tokenizer
    gemma: Part[Gemma]
    extractor: Part[FeatureExtractor]
    connectors: Part[Connectors]

    @property
    def generation(self) -> str:
        """Return the generation its contexts are for."""
        return self.connectors.generation

    @property
    def source(self) -> str:
        """Name the files, each once."""
        parts = (self.gemma, self.extractor, self.connectors)
        return ", ".join(dict.fromkeys(part.source for part in parts))

    @property
    def identity(self) -> str:
        """Name the files with digests of their headers, each once."""
        parts = (self.gemma, self.extractor, self.connectors)
        return ", ".join(dict.fromkeys(part.identity for part in parts))


def encode_prompts(
    encoder: TextEncoder,
    prompts: Sequence[str],
    place: Place = place_on_cpu,
    *,
    length: int = CONTEXT_LENGTH,
    check: Check = never_cancelled,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[TextContext]:
    """Encode prompts together; each gets a context of `length` positions, on the CPU, with B = 1.

    Gemma and the feature extractor are brought first and let go before the connectors come. `check`
    is called once per hidden state of Gemma and before the connectors; `on_progress` gets (done,
    total) after each Gemma layer and at the end. An empty prompt is encoded like any other.
    Raises LTX2Error `dtype_unsupported` if the place computes in float16, which Gemma overflows.
    """
    if not prompts:
        return []
    ids = [encoder.tokenizer.ids(prompt, length) for prompt in prompts]
    lengths = [len(prompt) for prompt in ids]
    total = encoder.gemma.network.config.num_layers + 1

    def report(done: int) -> None:
        if on_progress is not None and done:
            on_progress(done, total)

    with torch.no_grad():
        features = _features(encoder, ids, length, place, check, report)
        check()
        needed = connector_bytes(encoder.connectors.network, len(prompts), length)
        with place(encoder.connectors, activation_bytes=needed) as connectors:
            moved = Features(*(stream.to(connectors.device) for stream in features))
            video, audio = (context.cpu() for context in connectors(moved, lengths, length))
    report(total)
    log.info("Encoded %d prompts of %s tokens for LTX-%s", len(ids), lengths, encoder.generation)
    return [
        TextContext(
            video=video[row : row + 1].clone(),  # [1, S, D], free of the other prompts
            audio=audio[row : row + 1].clone(),
            generation=encoder.generation,
            prompt=prompt,
            source=encoder.source,
            identity=encoder.identity,
        )
        for row, prompt in enumerate(prompts)
    ]


def _features(
    encoder: TextEncoder,
    ids: Sequence[list[int]],
    end: int,
    place: Place,
    check: Check,
    report: Callable[[int], None],
) -> Features:
    """Run all prompts through Gemma in one pass, projecting each hidden state as it comes."""
    tokens = [token for prompt in ids for token in prompt]
    known = {token: number for number, token in enumerate(sorted({*tokens}))}
    table = embedding_rows(encoder, [*known])
    lengths = [len(prompt) for prompt in ids]
    needed = gemma_bytes(encoder.gemma.network, lengths)
    with (
        place(encoder.gemma, activation_bytes=needed) as gemma,
        place(encoder.extractor) as extractor,
    ):
        if gemma.dtype == torch.float16:
            raise LTX2Error(
                "Gemma cannot compute in float16: its hidden states exceed the range.",
                needed="bfloat16, or float32 on devices without it",
                code="dtype_unsupported",
            )
        embeddings = gemma.embed(table, [known[token] for token in tokens])
        states = gemma(embeddings, lengths, end)
        return extractor(_watched(states, check, report), lengths)


def _watched(
    states: Iterator[Tensor], check: Check, report: Callable[[int], None]
) -> Iterator[Tensor]:
    for number, state in enumerate(states):
        check()
        yield state
        report(number)


def embedding_rows(encoder: TextEncoder, ids: Sequence[int]) -> Tensor:
    """Return Gemma's embeddings [n, D] of some ids, ascending; the file's other rows rest there.

    Tables without the last ids, which stand for pictures, are zero there, as llama.cpp leaves them.
    """
    weights, name = encoder.gemma.weights, "embed_tokens.weight"
    assert isinstance(weights, Holding)  # of `gemma_part`
    rows, dim = weights.shape(name)
    if ids[-1] >= (PICTURE_IDS.stop if rows == PICTURE_IDS.start else rows):
        raise LTX2Error(
            f"The tokenizer ({encoder.tokenizer.source}) gives id {ids[-1]}, but "
            f"{encoder.gemma.source} knows only {rows} tokens.",
            needed="the tokenizer of the same language model",
            where="models/text_encoders",
            code="tokenizer_mismatch",
        )
    found = weights.rows(name, [number for number in ids if number < rows])
    return torch.cat((found, found.new_zeros(len(ids) - len(found), dim)))


def gemma_bytes(gemma: Gemma, lengths: Sequence[int]) -> int:
    """Return about what one layer needs beside its weights, at four bytes a number."""
    config = gemma.config
    per_token = 3 * config.mlp_dim + 8 * config.dim + 6 * config.num_heads * config.head_dim
    scores = (config.num_heads + 3) * max(lengths) ** 2
    return 4 * (sum(lengths) * per_token + scores)


def connector_bytes(connectors: Connectors, num_prompts: int, length: int) -> int:
    """Return about what one block needs beside its weights, at four bytes a number."""
    dim = connectors.video_embeddings_connector.config.dim
    return 4 * num_prompts * length * 16 * dim
