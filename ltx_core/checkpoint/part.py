"""One network and the weights it rests on, laid out on a device when it runs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ..ops.layers import Check, never_cancelled
from .keys import assign
from .lora import LoraUse, fused, match

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
    ) -> None:
        self.network = network
        self.weights = weights
        self.role = role
        self.source = source
        self.generation = generation
        #: What floating weights are cast to when laid out; None keeps what the file holds.
        self.dtype = dtype
        self.num_bytes = num_bytes if num_bytes is not None else parameter_bytes(network)
        self.device: torch.device | None = None
        self.loras: tuple[LoraUse, ...] = ()
        #: What the host keeps about this part, for as long as the part lives.
        self.handle: object | None = None

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
        called once per tensor.
        """
        wanted = (device, self.dtype or dtype, tuple(loras))
        if (self.device, getattr(self, "_dtype", None), self.loras) == wanted:
            return self.network
        shapes = {name: tensor.shape for name, tensor in self.network.state_dict().items()}
        for use in loras:
            match(use.lora, shapes, self.source)
        state = {}
        for name in shapes:
            if name not in self.weights:
                continue
            check()
            weight = fused(name, self.weights[name].to(device), loras)
            state[name] = weight if wanted[1] is None else _held(weight, wanted[1])
        try:
            assign(self.network, state, source=self.source)
        except BaseException:  # half of the weights came
            self.rest()
            raise
        self.device, self._dtype, self.loras = wanted
        return self.network

    def rest(self) -> None:
        """Let go of the laid-out weights; the file keeps them."""
        self.network.to_empty(device="meta")
        self.device, self._dtype, self.loras = None, None, ()


def _held(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def parameter_bytes(network: nn.Module) -> int:
    """Return the bytes of all parameters and buffers as the network declares them."""
    return sum(t.numel() * t.element_size() for t in network.state_dict().values())


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
