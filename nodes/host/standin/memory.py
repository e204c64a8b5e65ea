"""Where networks run without ComfyUI: on a GPU if there is one, in bfloat16, else on the CPU."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ....ltx_core.checkpoint.lora import LoraUse
from ..residence import AnyPart, does_not_fit, in_the_way, lay_out, let_rest
from .host import current

#: The exception class of a failed allocation.
out_of_memory: type[BaseException] = torch.OutOfMemoryError
#: Taken for granted where the system does not say how much memory is free.
UNKNOWN_FREE_BYTES = 8 << 30
#: Kept free beside weights and activations, for the allocator and the driver.
RESERVE_BYTES = 1 << 30


def run_device() -> torch.device:
    """Return the device networks run on."""
    if (chosen := current().device) is not None:
        return chosen
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def resting_device() -> torch.device:
    """Return the device on which latents and frames wait between nodes."""
    return torch.device("cpu")


def run_dtype() -> torch.dtype:
    """Return what networks compute in: bfloat16 on a GPU, float32 on the CPU."""
    return torch.float32 if run_device().type == "cpu" else torch.bfloat16


def free_bytes() -> int:
    """Return what a computation on the run device may plan with: free memory and idle parts."""
    idle = sum(part.laid_out_bytes(run_dtype(), part.loras) for part in _idle())
    return _free_now(run_device()) + idle


def _free_now(device: torch.device) -> int:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + cached
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:  # not Linux
        return UNKNOWN_FREE_BYTES
    kilobytes = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(kilobytes[0]) * 1024 if kilobytes else UNKNOWN_FREE_BYTES


def _idle() -> list[AnyPart]:
    host = current()
    return [part for part in host.placed if not any(part is other for other in host.at_work)]


@contextmanager
def place(
    part: AnyPart, *, loras: Sequence[LoraUse] = (), activation_bytes: int = 0
) -> Iterator[Any]:
    """Bring a part to the run device.

    It stays afterwards until its room is needed; the transformer and the text encoder make one
    another go. Raises LTX2Error (out_of_memory) if there is no room for the weights.
    """
    host, device, dtype = current(), run_device(), run_dtype()
    weights = part.laid_out_bytes(dtype, loras) if part.device is None else 0
    _make_room(part, weights + activation_bytes)
    host.placed.pop(part, None)
    try:
        lay_out(part, device, dtype, loras)
    except out_of_memory:
        needed, free = part.laid_out_bytes(dtype, loras), _free_now(device)
        raise does_not_fit(part, device, needed, free) from None
    host.placed[part] = None
    host.at_work.append(part)
    try:
        yield part.network
    finally:
        host.at_work.remove(part)


def _make_room(part: AnyPart, needed: int) -> None:
    """Let idle parts rest: those that may not stay, then the ones unused for longest."""
    device = run_device()
    idle = [other for other in _idle() if other is not part]
    leaving = in_the_way(part, idle)
    for other in leaving:
        _release(other, device)
    staying = [other for other in idle if other not in leaving]
    while staying and _free_now(device) < needed + RESERVE_BYTES:
        _release(staying.pop(0), device)


def _release(part: AnyPart, device: torch.device) -> None:
    let_rest(part)
    current().placed.pop(part, None)
    if device.type == "cuda":
        torch.cuda.empty_cache()
