"""Colours for previews that the host already knows."""

from importlib.util import find_spec

import torch
from torch import Tensor


def latent_colours() -> Tensor | None:
    """Return ComfyUI's map from an LTX-2 latent cell to RGB, [C + 1, 3]; None where it has none."""
    if not find_spec("comfy"):
        return None
    from comfy import latent_formats  # pyright: ignore[reportMissingImports]

    known = getattr(latent_formats, "LTXAV", None)  # came with ComfyUI's own LTX-2
    if known is None:
        return None
    made = known()
    factors = getattr(made, "latent_rgb_factors", None)
    if not factors:
        return None
    bias = getattr(made, "latent_rgb_factors_bias", None) or [0.0, 0.0, 0.0]
    return torch.tensor([*factors, bias], dtype=torch.float32)
