"""Recorded answers of the reference implementation. Files are found by kind, never by name."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

HERE = Path(__file__).parent
SHARED = HERE.parents[1] / "shared" / "golden"
#: `LTX2_GOLDEN` names another collection; else the one beside the checkout, else our selection.
FOLDER = Path(os.environ.get("LTX2_GOLDEN") or (SHARED if SHARED.is_dir() else HERE / "golden"))


@dataclass(frozen=True, kw_only=True)
class Golden:
    """One file: small weights under their checkpoint names, inputs, and what came out."""

    path: Path
    kind: str
    config: dict[str, Any]
    case: dict[str, Any]
    tolerance: float
    metadata: dict[str, str]

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Read everything under `weights.`, `in.`, `out.` or `lora.`, without that prefix."""
        with safe_open(self.path, framework="pt") as file:
            keys = [key for key in file.keys() if key.startswith(prefix)]  # noqa: SIM118
            return {key.removeprefix(prefix): file.get_tensor(key) for key in keys}

    def check(self, name: str, actual: Tensor) -> None:
        expected = self.tensors("out.")[name]
        torch.testing.assert_close(actual, expected, rtol=0, atol=self.tolerance)


@cache
def every_golden() -> tuple[Golden, ...]:
    """Every file of the collection that has a kind."""
    found = []
    for path in sorted(FOLDER.rglob("*.safetensors")):
        if "files" in path.relative_to(FOLDER).parts:  # whole files for the loaders, some damaged
            continue
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
        if "kind" in header:
            found.append(
                Golden(
                    path=path,
                    kind=header["kind"],
                    config=json.loads(header.get("config", "{}")),
                    case=json.loads(header.get("case", "{}")),
                    tolerance=float(header.get("tolerance", 0)),
                    metadata=header,
                )
            )
    return tuple(found)


def cases(kind: str, wanted: Callable[[Golden], bool] = lambda golden: True) -> list[Any]:
    """Every fixture of a kind, as pytest parameters marked `golden`."""
    return [
        pytest.param(golden, id=str(golden.path.relative_to(FOLDER)), marks=pytest.mark.golden)
        for golden in every_golden()
        if golden.kind == kind and wanted(golden)
    ]


#: Keys, shapes and configs of the official checkpoints.
MANIFESTS = HERE / "manifests"
