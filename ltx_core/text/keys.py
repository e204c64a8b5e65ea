"""Names of the text networks' tensors in the files users have."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ..checkpoint.keys import KeyTable, Renamed
from ..checkpoint.weights import Holding, Weights

#: Gemma 3: Hugging Face folders old and new, saved modules, full ComfyUI checkpoints, single files.
GEMMA: KeyTable = (
    ("language_model.lm_head.", None),  # equals embed_tokens
    ("language_model.model.", ""),
    ("model.language_model.", ""),
    ("model.vision_tower.", None),  # pictures: for prompt enhancement, not for encoding
    ("model.multi_modal_projector.", None),
    ("text_encoders.gemma3_12b.transformer.model.", ""),
    ("text_encoders.", None),
    ("model.diffusion_model.", None),
    ("model.", ""),
    ("lm_head.", None),
    ("vision_tower.", None),
    ("vision_model.", None),
    ("multi_modal_projector.", None),
    ("spiece_model", None),
    ("tokenizer_json", None),
    ("hf_asset__", None),
    ("text_embedding_projection.", None),
)
#: The feature extractor's linear layers, and the names of early and repacked files.
EXTRACTOR: KeyTable = (
    ("text_embedding_projection.weight", "aggregate_embed.weight"),
    ("text_embedding_projection.", ""),
    ("aggregate_embed.", "aggregate_embed."),
    ("video_aggregate_embed.", "video_aggregate_embed."),
    ("audio_aggregate_embed.", "audio_aggregate_embed."),
)
VIDEO, AUDIO = "video_embeddings_connector.", "audio_embeddings_connector."
#: Both connectors, with the transformer's prefix in its three spellings.
CONNECTORS: KeyTable = (
    *((f"{start}{name}", name)
      for start in ("model.diffusion_model.", "diffusion_model.", "") for name in (VIDEO, AUDIO)),
    ("model.diffusion_model.embeddings_connector.", VIDEO),
)  # fmt: skip


#: Of a matrix that is regrouped.
ROWS_AT_ONCE = 64


def shapes_of(weights: Weights, named: Renamed) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter without reading one."""
    return {name: weights.shape(key) for name, key in named.keys_of.items()}


class StateSlices(Holding):
    """A projection of all hidden states side by side, taken apart into one matrix per state.

    The file's matrix [out, D * S] has column d * S + s for dimension d of state s. `x.weight`
    becomes `x.0.weight` to `x.(S-1).weight`, each [out, D]; `x.bias` belongs to the first. The
    matrix is regrouped when its first slice is asked for and let go after the last: one pass over
    1.5 GB instead of one per state, and never two copies of it in memory.
    """

    def __init__(self, named: Mapping[str, Tensor], num_states: int) -> None:
        self._named = named
        self._num_states = num_states
        self._regrouped: tuple[str, Tensor] | None = None
        self._names: dict[str, tuple[str, int]] = {}
        for name in named:
            module, kind = name.rsplit(".", 1)
            for state in range(num_states if kind == "weight" else 1):
                self._names[f"{module}.{state}.{kind}"] = (name, state)

    @property
    def identity(self) -> str:
        return self._named.identity if isinstance(self._named, Holding) else ""

    def __getitem__(self, name: str) -> Tensor:
        whole, state = self._names[name]
        if whole.endswith(".bias"):
            return self._named[whole]
        if self._regrouped is None or self._regrouped[0] != whole:
            self._regrouped = (whole, _by_state(self._named, whole, self._num_states))
        tensor = self._regrouped[1][state]
        if state == self._num_states - 1:
            self._regrouped = None
        return tensor

    def __contains__(self, name: object) -> bool:  # Mapping's own would regroup the matrix
        return name in self._names

    def shapes(self, whole: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Return every slice's shape, given the shapes of the whole tensors."""
        return {
            name: (whole[of][0], whole[of][1] // self._num_states)
            if len(whole[of]) == 2
            else whole[of]
            for name, (of, _) in self._names.items()
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _by_state(named: Mapping[str, Tensor], whole: str, num_states: int) -> Tensor:
    """Read [out, D * S] as [S, out, D], some rows at a time: they fit the processor's cache."""
    if isinstance(named, Holding) and named.packing(whole) is None:
        rows, columns = named.shape(whole)
        parts = (named.rows(whole, numbers) for numbers in _runs(rows))
    else:
        matrix = named[whole]
        rows, columns = matrix.shape
        parts = (matrix[numbers.start : numbers.stop] for numbers in _runs(rows))
    grouped = torch.empty(0)
    for numbers, part in zip(_runs(rows), parts, strict=True):
        if not numbers.start:
            grouped = torch.empty(num_states, rows, columns // num_states, dtype=part.dtype)
        for row, target in zip(
            part, grouped[:, numbers.start : numbers.stop].unbind(1), strict=True
        ):
            target.copy_(row.unflatten(0, (-1, num_states)).transpose(0, 1))  # [S, D]
    return grouped


def _runs(rows: int) -> Iterator[range]:
    return (range(at, min(at + ROWS_AT_ONCE, rows)) for at in range(0, rows, ROWS_AT_ONCE))
