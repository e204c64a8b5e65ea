"""Which weights of a plain file may rest quantised in memory, and how."""

import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum

from torch import Tensor

from ..ops.packed import Packed
from ..ops.quantize import float8, int8


class Hold(Enum):
    """What the linear layers of the blocks rest as."""

    AS_IN_FILE = "as in file"
    FP8 = "fp8"  # E4M3, one scale per weight
    INT8 = "int8"  # one scale per row


QUANTISE: Mapping[Hold, Callable[[Tensor], Packed]] = {Hold.FP8: float8, Hold.INT8: int8}
#: Queries, keys, values and outputs of attention and both layers of feed-forward. Gates are left.
CHOSEN = re.compile(
    r"transformer_blocks\.(\d+)\..*(\.to_[qkv]|\.to_out\.0|ff\.net\.0\.proj|ff\.net\.2)\.weight"
)
#: Blocks left plain at either end: what goes wrong there shows most.
ENDS = 2


def held_weights(
    names: Iterable[str], num_layers: int, hold: Hold
) -> dict[str, Callable[[Tensor], Packed]]:
    """Return parameter name -> how it is quantised, for those that are."""
    if hold is Hold.AS_IN_FILE:
        return {}
    inner = range(ENDS, num_layers - ENDS)
    found = ((name, CHOSEN.fullmatch(name)) for name in names)
    return {name: QUANTISE[hold] for name, match in found if match and int(match[1]) in inner}
