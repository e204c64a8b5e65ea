"""The rotary tables of a clip, kept from step to step.

Tables depend on positions alone, so every step of a stage shares them. They are made on the CPU,
where their float32 temporaries cost no room on the device, and cast once.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..ops.rope import RotaryTable, frequencies, rotary_table
from .config import StreamConfig, TransformerConfig


@dataclass(slots=True, eq=False)
class _Entry:
    positions: Tensor  # [B, axes, N, 2]
    dtype: torch.dtype
    tables: dict[bool, RotaryTable] = field(default_factory=dict)  # by: where the streams meet?


class RotaryTables:
    """Tables of the positions seen last, for each stream. `clear` empties it."""

    def __init__(self, config: TransformerConfig) -> None:
        self._config = config
        self._entries: dict[str, _Entry] = {}

    def clear(self) -> None:
        """Let go of all tables."""
        self._entries.clear()

    def self_attention(self, stream: str, positions: Tensor, dtype: torch.dtype) -> RotaryTable:
        """Return the table of a stream ("video", "audio") among its own tokens."""
        return self._table(stream, positions, dtype, crossing=False)

    def crossing(self, stream: str, positions: Tensor, dtype: torch.dtype) -> RotaryTable:
        """Return the table of a stream's tokens where the two streams meet: in time alone."""
        return self._table(stream, positions, dtype, crossing=True)

    def _table(
        self, stream: str, positions: Tensor, dtype: torch.dtype, *, crossing: bool
    ) -> RotaryTable:
        entry = self._entries.get(stream)
        if entry is None or not _equal(entry.positions, positions) or entry.dtype is not dtype:
            entry = self._entries[stream] = _Entry(positions.clone(), dtype)
        if crossing not in entry.tables:
            made = self._made(stream, _shared(positions.cpu()), crossing=crossing)
            entry.tables[crossing] = made.to(made.cos.device, dtype).to(positions.device, dtype)
        return entry.tables[crossing]

    def _made(self, stream: str, positions: Tensor, *, crossing: bool) -> RotaryTable:
        config = self._config
        own: StreamConfig | None = getattr(config, stream)
        # Both sides of the crossing have the audio stream's width.
        sizes = config.audio if crossing else own
        assert own is not None and sizes is not None
        limits = (config.cross_max_position,) if crossing else own.max_positions
        grid = frequencies(sizes.dim, len(limits), config.rope_theta, double=config.rope_double)
        return rotary_table(
            positions[:, : len(limits)],
            grid,
            limits,
            dim=sizes.dim,
            num_heads=sizes.num_heads,
            layout=config.rope_layout,
        )


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.device == b.device and torch.equal(a, b)


def _shared(positions: Tensor) -> Tensor:
    """Return one item for the whole batch where all items have the same positions."""
    same = positions.shape[0] > 1 and bool((positions == positions[:1]).all())
    return positions[:1] if same else positions
