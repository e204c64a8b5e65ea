"""The sizes of a latent upscaler, as one file states them or as its tensors show them."""

from dataclasses import dataclass
from math import isqrt

from ..checkpoint.section import Section
from ..checkpoint.weights import Weights

#: scale -> (how often larger, then how often smaller) of the rational resampler.
RATIOS = {0.75: (3, 4), 1.5: (3, 2), 2.0: (2, 1), 4.0: (4, 1)}


@dataclass(frozen=True, kw_only=True, slots=True)
class UpscalerConfig:
    """Spatial, temporal or both; rational only where it is spatial alone."""

    in_channels: int
    mid_channels: int
    num_blocks: int  # before and after the upsampling, each
    spatial: bool
    temporal: bool
    ratio: tuple[int, int] | None  # of the rational resampler, None for a plain x2
    per_frame: bool = False  # kernels of two dimensions: every frame on its own

    @property
    def scale(self) -> tuple[float, float]:
        """How much faster and how much larger the result is: (time, each side)."""
        times, over = self.ratio or (2, 1)
        return 2.0 if self.temporal else 1.0, times / over if self.spatial else 1.0

    @classmethod
    def read(cls, section: Section) -> "UpscalerConfig":
        """Read the config, which stands at the top level of the metadata `config`."""
        section.skip("_class_name")
        spatial = section.take("spatial_upsample", True)
        temporal = section.take("temporal_upsample", False)
        per_frame = section.take("dims", 3) == 2 and not temporal
        if not per_frame:
            section.expect("dims", 3)
        scale = section.take("spatial_scale", 2.0)
        ratio = None
        if section.take("rational_resampler", False) and spatial and not temporal:
            if scale not in RATIOS:
                section.expect("spatial_scale", 2.0)
            ratio = RATIOS[scale]
        return cls(
            in_channels=section.take("in_channels", 128),
            mid_channels=section.take("mid_channels", 512),
            num_blocks=section.take("num_blocks_per_stage", 4),
            spatial=spatial,
            temporal=temporal,
            ratio=ratio,
            per_frame=per_frame,
        )


def inferred_config(weights: Weights) -> dict[str, object]:
    """Return the config of a file that states none, from the shapes of its tensors."""
    first = weights.shape("initial_conv.weight")
    mid = first[0]
    blocks = {key.split(".")[1] for key in weights if key.startswith("res_blocks.")}
    config: dict[str, object] = {
        "in_channels": first[1],
        "mid_channels": mid,
        "num_blocks_per_stage": len(blocks),
        "dims": len(first) - 2,
    }
    if "upsampler.conv.weight" in weights:
        times = isqrt(weights.shape("upsampler.conv.weight")[0] // mid)
        scale = next((s for s, (num, _) in RATIOS.items() if num == times and s > 1), 0.0)
        return {**config, "rational_resampler": True, "spatial_scale": scale}
    kernel = weights.shape("upsampler.0.weight")
    temporal = len(kernel) == 5
    return {
        **config,
        "spatial_upsample": not temporal or kernel[0] == 8 * mid,
        "temporal_upsample": temporal,
    }
