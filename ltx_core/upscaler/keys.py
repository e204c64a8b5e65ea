"""Where an upscaler's tensors sit in its file: under their own names."""

from ..checkpoint.keys import KeyTable

UPSCALER: KeyTable = tuple(
    (f"{name}.", f"{name}.")
    for name in (
        "initial_conv", "initial_norm", "res_blocks", "upsampler", "post_upsample_res_blocks",
        "final_conv",
    )
)  # fmt: skip
