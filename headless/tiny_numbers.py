"""Random numbers for weights, scaled so that what comes out is neither zero nor boundless."""

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor, nn

from ..ltx_core.audio_vae.activations import kaiser_filter

Shape = tuple[int, ...]

#: Ending of a name -> deviation; tried in this order, before the rules by number of axes.
DEVIATIONS = (
    ("learnable_registers", 1.0),
    ("embed_tokens.weight", 0.2),
    ("adaln_single.linear.weight", 0.05),  # what modulates stays near one
    (".alpha", 0.1),
    (".beta", 0.1),
    (".bias", 0.02),
)
#: Tables that modulate: in float32, of this deviation.
TABLE, TABLE_DEVIATION = "scale_shift_table", 0.3
#: Part of a name -> factor on the usual deviation of a weight.
GAINS = (
    ("decoder.conv_out.", 0.6),  # pictures and mel spectrograms inside their range
    ("vocoder.vocoder.conv_post.", 0.03),  # sound far from full scale
    ("bwe_generator.conv_post.", 0.03),
    ("conv_post.", 0.6),  # of 2.0, whose blocks add less
    ("resblocks.", 0.3),
)
#: The fixed low-pass filters of the anti-aliased activations.
FILTERS = (".upsample.filter", ".downsample.lowpass.filter")


def shapes_of(network: nn.Module) -> dict[str, Shape]:
    """Return the names and shapes of a network, as its checkpoint has them."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


class Numbers:
    """Draws tensors from one seed. `norm` is what the factor of a norm lies around."""

    def __init__(self, seed: int, norm: float = 1.0) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._norm = norm

    def tensors(self, shapes: Mapping[str, Shape]) -> dict[str, Tensor]:
        """Draw every tensor: bfloat16, modulation tables float32, as in official files."""
        return {name: self._tensor(name, shape) for name, shape in shapes.items()}

    def _tensor(self, name: str, shape: Shape) -> Tensor:
        if name.endswith(FILTERS):
            return kaiser_filter().bfloat16()
        if name.endswith("blur_down.kernel"):
            line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
            return (line[:, None] * line).expand(shape).contiguous().bfloat16()
        values = torch.randn(shape, generator=self._generator)
        if name.endswith("std-of-means"):
            return (1 + 0.1 * values).bfloat16()
        if len(shape) == 1 and name.endswith("weight"):
            return (self._norm + 0.05 * values).bfloat16()
        if TABLE in name:
            return TABLE_DEVIATION * values
        return (_deviation(name, shape) * values).bfloat16()


def _deviation(name: str, shape: Shape) -> float:
    for ending, deviation in DEVIATIONS:
        if name.endswith(ending):
            return deviation
    if len(shape) < 2:
        return 0.05
    # A transposed convolution has its inputs first, and two taps meet at each sample.
    inputs = 2 * shape[0] if ".ups." in f".{name}" else prod(shape[1:])
    gain = next((gain for part, gain in GAINS if part in name), 1.0)
    return gain / inputs**0.5
