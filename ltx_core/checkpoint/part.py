"""One network and the weights it rests on, laid out on a device when it runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ..ops.layers import Check, never_cancelled
from ..ops.packed import Packed
from ..ops.quantized import Linear
from .keys import Named, assign, check_fit, misfit
from .lora import LoraUse, fused, match, must_fuse, side_branch
from .soundness import Soundness
from .weights import Holding

Network = TypeVar("Network", bound=nn.Module)
Network_co = TypeVar("Network_co", bound=nn.Module, covariant=True)


class Part(Generic[Network]):
    """A network built on the meta device, and its weights in a mapped file.

    `weights` maps parameter names to tensors and is read only when the part is laid out. Laying out
    again, with other LoRAs or on another device, starts from these weights each time, so nothing
    is ever subtracted. `role` is what the part does ("transformer", "text_encoder",
    "text_projection", "connectors", "video_encoder", "video_decoder", "audio_encoder",
    "audio_decoder", "vocoder", "upscaler"), `source` the file.
    """

    def __init__(
        self,
        network: Network,
        weights: Mapping[str, Tensor],
        *,
        role: str,
        source: str,
        generation: str = "",
        dtype: torch.dtype | None = None,
        num_bytes: int | None = None,
        hold: Mapping[str, Callable[[Tensor], Packed]] | None = None,
    ) -> None:
        self.network = network
        self.weights = weights
        self.role = role
        self.source = source
        self.generation = generation
        #: What floating weights are cast to when laid out; None keeps what the file holds.
        self.dtype = dtype
        #: Parameter name -> how a plain weight is quantised when it is brought in.
        self.hold = hold or {}
        self.num_bytes = num_bytes if num_bytes is not None else self._bytes(None, ())
        self.device: torch.device | None = None
        self.loras: tuple[LoraUse, ...] = ()
        #: What the host keeps about this part, for as long as the part lives.
        self.handle: object | None = None

    @property
    def identity(self) -> str:
        """Return what tells the file apart from others of its name, or just the name."""
        found = self.weights.identity if isinstance(self.weights, Holding) else ""
        return found or self.source

    def check_weights(self) -> None:
        """Refuse weights of which some are missing or of another shape; none is read.

        Raises LTX2Error `missing_weights` or `shape_mismatch`.
        """
        if not isinstance(self.weights, Named):  # made from several tensors, checked where made
            return
        shapes: dict[str, Sequence[int]] = {name: self.weights.shape(name) for name in self.weights}
        for name, expected in self.network.state_dict().items():
            if name in shapes and self._fits(name, shapes[name], expected.shape):
                shapes[name] = expected.shape
        check_fit(self.network, shapes, source=self.source)

    def _fits(self, name: str, found: Sequence[int], expected: Sequence[int]) -> bool:
        """Say whether a shape becomes the expected one: axes of 1 return, padding is cut off."""
        packing = self.weights.packing(name) if isinstance(self.weights, Holding) else None
        if packing is not None and len(found) == len(expected):
            return all(have >= want for have, want in zip(found, expected, strict=True))
        lost = len(expected) - len(found)
        return lost > 0 and tuple(expected) == (*(1,) * lost, *found)

    def lay_out(
        self,
        device: torch.device,
        *,
        dtype: torch.dtype | None = None,
        loras: Sequence[LoraUse] = (),
        check: Check = never_cancelled,
    ) -> Network:
        """Put the weights, with `loras` fused in, on `device`. Does nothing if they are there.

        `dtype` is what floating weights are cast to, unless the part names its own. `check` is
        called once per tensor. Raises LTX2Error `not_finite`, and what reading raises.
        """
        wanted = (device, self.dtype or dtype, tuple(loras))
        if (self.device, getattr(self, "_dtype", None), self.loras) == wanted:
            return self.network
        shapes = {name: tensor.shape for name, tensor in self.network.state_dict().items()}
        for use in loras:
            match(use.lora, shapes, self.source)
        holders = self._holders()
        state: dict[str, Tensor] = {}
        packed: dict[str, Packed] = {}
        sound = Soundness()
        for name, shape in shapes.items():
            if name not in self.weights:
                continue
            check()
            weight = self._brought(name, shape, device, loras, packed=name in holders)
            if isinstance(weight, Packed):
                packed[name] = weight
                # The parameter has no storage; it tells shape and dtype.
                state[name] = torch.empty(shape, dtype=wanted[1], device="meta")
            else:
                state[name] = weight if wanted[1] is None else _held(weight, wanted[1])
            del weight  # what was read is gone before the next is
            sound.add(name, packed.get(name, state[name]))
        try:
            sound.finish(self.source)
            assign(self.network, state, source=self.source)
            for name, layer in holders.items():
                branch = side_branch(name, loras, device, wanted[1]) if name in packed else None
                layer.hold(packed.get(name), branch)
        except BaseException:  # half of the weights came
            self.rest()
            raise
        self.device, self._dtype, self.loras = wanted
        return self.network

    def rest(self) -> None:
        """Let go of the laid-out weights; the file keeps them."""
        self.network.to_empty(device="meta")
        for layer in self._holders().values():
            layer.hold(None)
        self.device, self._dtype, self.loras = None, None, ()

    def laid_out_bytes(self, dtype: torch.dtype, loras: Sequence[LoraUse] = ()) -> int:
        """Return the bytes of the weights once they are laid out, what rests packed as packed.

        A part that names a dtype of its own keeps that one.
        """
        return self._bytes(self.dtype or dtype, loras)

    def _bytes(self, dtype: torch.dtype | None, loras: Sequence[LoraUse]) -> int:
        total = 0
        holders = self._holders()
        for name, tensor in self.network.state_dict().items():
            packed = self._packed_bytes(name, tensor.shape) if name in holders else None
            if packed is not None and not must_fuse(name, loras):
                branch = side_branch(name, loras, torch.device("meta"), dtype)
                total += packed + (0 if branch is None else branch.bytes)
            else:
                held = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
                total += tensor.numel() * held.itemsize
        return total

    def _packed_bytes(self, name: str, shape: torch.Size) -> int | None:
        """Return what a weight takes if it rests packed; None if it rests plain."""
        packing = self.weights.packing(name) if isinstance(self.weights, Holding) else None
        if packing is not None:
            return packing.bytes
        quantise = self.hold.get(name)
        return None if quantise is None else quantise(torch.empty(shape, device="meta")).bytes

    def _holders(self) -> dict[str, Linear]:
        """Return the layers that can hold their weight packed, by its name."""
        return {
            f"{name}.weight" if name else "weight": layer
            for name, layer in self.network.named_modules()
            if isinstance(layer, Linear)
        }

    def _brought(
        self,
        name: str,
        shape: torch.Size,
        device: torch.device,
        loras: Sequence[LoraUse],
        *,
        packed: bool,
    ) -> Tensor | Packed:
        """Read a parameter and bring it to `device`; `packed` says that its layer can hold it so.

        A weight that a LoRA changes in a way no branch can is written to, and then rests plain.
        """
        stays = packed and not must_fuse(name, loras)
        stored = self.weights.packed(name) if isinstance(self.weights, Holding) else None
        if stored is None:
            weight = with_leading_ones(self.weights[name], shape).to(device)
            if stays and name in self.hold:
                return self.hold[name](weight)
            return fused(name, weight, loras)
        fitting = stored.fitted(tuple(shape))
        if fitting is None:
            raise misfit(self.network, name, stored.shape, shape, source=self.source)
        moved = fitting.to(device)
        return moved if stays else fused(name, moved.dequantized(torch.float32), loras)


def with_leading_ones(tensor: Tensor, shape: torch.Size) -> Tensor:
    """Give a tensor back the leading axes of length 1 that a GGUF file drops."""
    missing = len(shape) - tensor.ndim
    lost = missing > 0 and shape[missing:] == tensor.shape and all(n == 1 for n in shape[:missing])
    return tensor.reshape(shape) if lost else tensor


def _held(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


class Place(Protocol):
    """How the host lays a part out for the time of a `with` block.

    `activation_bytes` is what the computation needs beside the weights; the host makes room for
    both before it yields the network on its device.
    """

    def __call__(
        self, part: "Part[Any]", *, loras: Sequence[LoraUse] = (), activation_bytes: int = 0
    ) -> AbstractContextManager[Any]: ...


@contextmanager
def place_on_cpu(
    part: "Part[Any]", *, loras: Sequence[LoraUse] = (), activation_bytes: int = 0
) -> Iterator[Any]:
    """Lay a part out in float32 on the CPU and let it rest afterwards: the default `Place`."""
    del activation_bytes
    try:
        yield part.lay_out(torch.device("cpu"), dtype=torch.float32, loras=loras)
    finally:
        part.rest()
