"""Where ComfyUI lets networks run, and its book-keeping of who lies there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from comfy import model_management as manager  # pyright: ignore[reportMissingImports]

from ....ltx_core.checkpoint.lora import LoraUse
from ..residence import AnyPart, does_not_fit, in_the_way, lay_out, let_rest

#: The exception class of a failed allocation.
out_of_memory: type[BaseException] = manager.OOM_EXCEPTION


def run_device() -> torch.device:
    """Return the device networks run on."""
    return manager.get_torch_device()


def resting_device() -> torch.device:
    """Return the device on which latents and frames wait between nodes."""
    return manager.intermediate_device()


def run_dtype() -> torch.dtype:
    """Return what networks compute in: bfloat16 where the device is good at it, else float32."""
    device = run_device()
    good = not manager.is_device_cpu(device) and manager.should_use_bf16(device)
    return torch.bfloat16 if good else torch.float32


def free_bytes() -> int:
    """Return what a computation on the run device may plan with: free memory and idle models."""
    device = run_device()
    idle = sum(
        model.loaded_size()
        for model in manager.loaded_models()
        if model.load_device == device and not getattr(model, "users", 0)
    )
    return int(manager.get_free_memory(device)) + (0 if manager.is_device_cpu(device) else idle)


class PartPatcher:
    """A part as an entry in ComfyUI's list of loaded models.

    ComfyUI asks for whole or partial loads; a part comes and goes as a whole.
    """

    parent = None

    def __init__(self, part: AnyPart, device: torch.device, dtype: torch.dtype) -> None:
        self.part = part
        self.model = part.network
        self.load_device = device
        self.offload_device = torch.device("cpu")
        self.dtype = dtype
        self.loras: tuple[LoraUse, ...] = ()
        self.size = part.laid_out_bytes(dtype)
        #: `with` blocks that compute with the part now; while there are any it stays.
        self.users = 0
        #: ComfyUI wanted the room while the part computed.
        self.leaves_later = False

    def model_size(self) -> int:
        return self.size

    def loaded_size(self) -> int:
        return 0 if self.part.device is None else self.size

    def current_loaded_device(self) -> torch.device:
        return self.part.device or self.offload_device

    def model_dtype(self) -> torch.dtype:
        return self.dtype

    def partially_load(
        self, device: torch.device, extra_memory: float = 0, force_patch_weights: bool = False
    ) -> int:
        """Lay the whole part out; return the bytes that came."""
        del extra_memory, force_patch_weights
        before = self.loaded_size()
        lay_out(self.part, device, self.dtype, self.loras)
        return self.size - before

    def partially_unload(
        self, device: torch.device, memory_to_free: float = 0, force_patch_weights: bool = False
    ) -> int:
        """Free nothing: ComfyUI then detaches the whole part."""
        del device, memory_to_free, force_patch_weights
        return 0

    def detach(self, unpatch_all: bool = True) -> None:
        """Let the part rest, unless ComfyUI only re-enters it into its list or it computes."""
        if not unpatch_all:
            return
        self.leaves_later = self.users > 0
        if not self.users:
            let_rest(self.part)

    def is_clone(self, other: Any) -> bool:
        return getattr(other, "model", None) is self.model

    def clone_has_same_weights(self, clone: Any, allow_multigpu: bool = False) -> bool:
        del allow_multigpu
        return self.is_clone(clone)

    def is_dynamic(self) -> bool:
        return False

    def lowvram_patch_counter(self) -> int:
        return 0

    def memory_required(self, input_shape: Sequence[int]) -> int:
        del input_shape  # the caller of `place` says what its computation needs
        return 0

    def model_patches_to(self, device: torch.device | torch.dtype) -> None:
        """Move patches: there are none, LoRAs are fused while laying out."""

    def model_patches_models(self) -> list[Any]:
        return []


def _patcher(part: AnyPart) -> PartPatcher:
    """Return the part's entry; ComfyUI refers to it weakly, so the part holds it."""
    device, dtype = run_device(), run_dtype()
    entry = part.handle
    if isinstance(entry, PartPatcher) and (entry.load_device, entry.dtype) == (device, dtype):
        return entry
    part.handle = entry = PartPatcher(part, device, dtype)
    return entry


@contextmanager
def place(
    part: AnyPart, *, loras: Sequence[LoraUse] = (), activation_bytes: int = 0
) -> Iterator[Any]:
    """Bring a part to the run device through ComfyUI's memory management.

    It stays afterwards until somebody needs the room; the transformer and the text encoder make
    one another go. Raises LTX2Error (out_of_memory) if there is no room for the weights.
    """
    entry = _patcher(part)
    ours = [model for model in manager.loaded_models() if isinstance(model, PartPatcher)]
    idle = [model.part for model in ours if not model.users]
    if leaving := [other for other in in_the_way(part, idle) if other.device is not None]:
        for other in leaving:
            let_rest(other)
        manager.soft_empty_cache()
    if entry.loras != tuple(loras):
        let_rest(part)
        entry.loras = tuple(loras)
        entry.size = part.laid_out_bytes(entry.dtype, loras)
    at_work = [model for model in ours if model.users and model is not entry]
    entry.users += 1
    try:
        _load([*at_work, entry], activation_bytes)
        yield part.network
    finally:
        entry.users -= 1
        if entry.leaves_later:
            entry.detach()


def _load(entries: list[PartPatcher], activation_bytes: int) -> None:
    """Load through ComfyUI; if that finds no room, once more after everybody else has gone."""
    entry = entries[-1]
    try:
        manager.load_models_gpu(entries, activation_bytes, force_full_load=True)
        return
    except out_of_memory:
        pass  # the frames of the failed try hold tensors: clean up outside of the handler
    manager.free_memory(1e32, entry.load_device)
    manager.soft_empty_cache()
    try:
        manager.load_models_gpu(entries, activation_bytes, force_full_load=True)
    except out_of_memory:
        free = int(manager.get_free_memory(entry.load_device))
        raise does_not_fit(entry.part, entry.load_device, entry.size, free) from None
