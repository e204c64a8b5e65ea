"""From the tensor names of a file to the parameter names of a network.

Parameters keep their checkpoint names, so a table only moves prefixes. The first rule whose prefix
matches decides; a rule to None says: known, and not wanted by this network.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from torch import Tensor, nn

from ..errors import LTX2Error
from ..ops.packed import Packed
from .packing import Packing
from .weights import Holding

log = logging.getLogger(__name__)

KeyTable: TypeAlias = tuple[tuple[str, str | None], ...]


def rename(keys: Iterable[str], table: KeyTable) -> dict[str, str]:
    """Map the file keys that `table` wants to parameter names; leave out all others."""
    renamed: dict[str, str] = {}
    for key in keys:
        prefix, target = next(((p, t) for p, t in table if key.startswith(p)), ("", None))
        if target is not None:
            renamed[key] = target + key.removeprefix(prefix)
    return renamed


def check_fit(network: nn.Module, shapes: Mapping[str, Sequence[int]], *, source: str = "") -> None:
    """Refuse weights, given as name -> shape, of which some are missing or of another shape.

    `source` names the file in messages.
    """
    name = type(network).__name__
    expected = network.state_dict()
    missing = [key for key in expected if key not in shapes]
    if missing:
        raise LTX2Error(
            f"{source or 'This file'} does not fit {name}: "
            f"{len(missing)} weights are missing, first {', '.join(missing[:5])}.",
            needed="the complete file; download it again",
            code="missing_weights",
        )
    for key, tensor in expected.items():
        if tuple(shapes[key]) != tuple(tensor.shape):
            raise misfit(network, key, shapes[key], tensor.shape, source=source)


def misfit(
    network: nn.Module, key: str, found: Sequence[int], needed: Sequence[int], *, source: str = ""
) -> LTX2Error:
    """Return the error for a weight of another shape than the network's."""
    return LTX2Error(
        f"{source or 'This file'} does not fit {type(network).__name__}: {key} has shape "
        f"{list(found)}, {list(needed)} is needed.",
        needed="a file of the generation its config states",
        code="shape_mismatch",
    )


class Named(Holding):
    """Tensors of a file by parameter name; each is read when asked for."""

    def __init__(self, weights: Mapping[str, Tensor], keys_of: Mapping[str, str]) -> None:
        self._weights = weights
        #: parameter name -> key of the file
        self.keys_of = keys_of

    @property
    def identity(self) -> str:
        return self._weights.identity if isinstance(self._weights, Holding) else ""

    def __getitem__(self, name: str) -> Tensor:
        return self._weights[self.keys_of[name]]

    def packing(self, name: str) -> Packing | None:
        if isinstance(self._weights, Holding) and name in self.keys_of:
            return self._weights.packing(self.keys_of[name])
        return None

    def packed(self, name: str) -> Packed | None:
        if isinstance(self._weights, Holding) and name in self.keys_of:
            return self._weights.packed(self.keys_of[name])
        return None

    def shape(self, name: str) -> tuple[int, ...]:
        if isinstance(self._weights, Holding):
            return self._weights.shape(self.keys_of[name])
        return super().shape(name)

    def rows(self, name: str, numbers: Sequence[int]) -> Tensor:
        if isinstance(self._weights, Holding):
            return self._weights.rows(self.keys_of[name], numbers)
        return super().rows(name, numbers)

    def __contains__(self, name: object) -> bool:  # Mapping's own would read the tensor
        return name in self.keys_of

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys_of)

    def __len__(self) -> int:
        return len(self.keys_of)


class Renamed(Named):
    """The tensors of a file that a table wants."""

    def __init__(self, weights: Mapping[str, Tensor], table: KeyTable) -> None:
        super().__init__(weights, {name: key for key, name in rename(weights, table).items()})


def assign(network: nn.Module, state: Mapping[str, Tensor], *, source: str = "") -> None:
    """Give a network built on the meta device its weights.

    `source` names the file in messages. A missing tensor or one of another shape is an error, a
    surplus one a log line.
    """
    check_fit(network, {key: tensor.shape for key, tensor in state.items()}, source=source)
    expected = network.state_dict()
    if surplus := [key for key in state if key not in expected]:
        log.warning(
            "%s: %s: ignoring %d unknown keys %s",
            source,
            type(network).__name__,
            len(surplus),
            surplus[:3],
        )
    network.load_state_dict({key: state[key] for key in expected}, strict=True, assign=True)
