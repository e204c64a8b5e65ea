"""Refuses float64 tensors: many accelerators have none, and none of ours needs one."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class NoFloat64(TorchDispatchMode):
    """Inside `with NoFloat64():` an operation that returns or reads a float64 tensor fails."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, out)):
            if isinstance(leaf, Tensor) and leaf.dtype in (torch.float64, torch.complex128):
                raise AssertionError(
                    f"{func} has a {leaf.dtype} tensor of shape {list(leaf.shape)}"
                )
        return out
