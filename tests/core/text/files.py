"""Text fixtures as weights, the way a loader sees the files they stand for."""

from typing import Any

import torch
from golden import Golden
from ltx2_pack.ltx_core.checkpoint.header import parse_metadata
from ltx2_pack.ltx_core.checkpoint.weights import Weights, weights_of
from torch import Tensor


def weights_in(golden: Golden, **metadata: Any) -> Weights:
    """All `weights.` tensors of a fixture with the metadata a real file would carry."""
    carried = ("config", "model_version", "gemma_config", "gemma_source_checkpoint")
    texts = {key: golden.metadata[key] for key in carried if key in golden.metadata}
    return weights_of(
        golden.tensors("weights."), {**parse_metadata(texts), **metadata}, golden.path.name
    )


def section_of(golden: Golden) -> dict[str, Any]:
    return golden.config["transformer"]


def valid(tensor: Tensor, mask: Tensor) -> Tensor:
    """The rows of [B, T, ...] whose token is real, prompt after prompt: [N, ...]."""
    return tensor[mask.bool()]


def lengths_of(mask: Tensor) -> list[int]:
    return [int(count) for count in mask.sum(dim=1)]


def left_padded(rows: list[list[int]], length: int) -> tuple[Tensor, Tensor]:
    ids = torch.tensor([[0] * (length - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
    return ids, mask
