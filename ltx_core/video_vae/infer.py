"""The config of a convolutional autoencoder whose file states none, from the shapes of its tensors.

A block that changes the resolution is one convolution [O, I, 3, 3, 3]. With N channels in what
follows, an upsampling has O / N positions and divides the channels by I / N; a downsampling has
N / O positions and multiplies them by N / I.
"""

from collections.abc import Iterable
from math import isqrt
from typing import Any

from ..checkpoint.weights import Weights
from .statistics import MEAN

#: positions that move together -> what is compressed.
_AXES = {2: "time", 4: "space", 8: "all"}
_CONV, _RES = "conv.conv.weight", "res_blocks.0.conv1.conv.weight"


def inferred_config(weights: Weights) -> dict[str, Any]:
    """Return a `vae` section in the flat official layout for what the file holds.

    Neither residual upsampling nor the padding shows in shapes: three upsamplings of all axes are
    2.0 (residual, reflecting), anything else the later decoder (no residual, zeros).
    """
    prefix = "vae." if any(key.startswith("vae.") for key in weights) else ""
    shapes = {
        key.removeprefix(prefix): weights.shape(key)
        for key in weights
        if key.startswith((f"{prefix}encoder.", f"{prefix}decoder.", f"{prefix}per_channel"))
    }
    config: dict[str, Any] = {}
    if (latent := shapes.get(f"per_channel_statistics.{MEAN}")) is not None:
        config["latent_channels"] = latent[0]
    if "encoder.conv_in.conv.weight" in shapes:
        config |= _encoder(shapes)
    if "decoder.conv_in.conv.weight" in shapes:
        config |= _decoder(shapes)
    return config


def _encoder(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    entering, leaving = (
        shapes["encoder.conv_in.conv.weight"],
        shapes["encoder.conv_out.conv.weight"],
    )
    doubled = leaving[0] == 2 * entering[0]
    return {
        "encoder_blocks": _blocks(shapes, "encoder.down_blocks", leaving[1], "_res", up=False),
        "patch_size": isqrt(entering[1] // 3),
        "latent_log_var": "per_channel" if doubled else "uniform",
    }


def _decoder(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    leaving = shapes["decoder.conv_out.conv.weight"]
    blocks = _blocks(shapes, "decoder.up_blocks", leaving[1], "", up=True)
    ups = [block for block in blocks if block[0] != "res_x"]
    residual = bool(ups) and all(block[0] == "compress_all" for block in ups)
    for block in ups:
        block[1]["residual"] = residual
    return {
        "decoder_blocks": blocks[::-1],
        "decoder_base_channels": leaving[1],
        "patch_size": isqrt(leaving[0] // 3),
        # The key stands for both halves, and an encoder without it pads with zeros.
        **({} if residual else {"spatial_padding_mode": "zeros"}),
    }


def _blocks(
    shapes: dict[str, tuple[int, ...]], folder: str, last: int, suffix: str, *, up: bool
) -> list[list[Any]]:
    """Return the blocks of one half in the order of execution; `last` is the width at its end."""
    numbers = sorted(
        {int(key.removeprefix(f"{folder}.").split(".")[0]) for key in _under(shapes, folder)}
    )
    blocks: list[list[Any]] = []
    for number in numbers:
        name = f"{folder}.{number}"
        convolution = shapes.get(f"{name}.{_CONV}")
        if convolution is None:
            count = len({key.split(".")[4] for key in _under(shapes, f"{name}.res_blocks")})
            blocks.append(["res_x", {"num_layers": count}])
            continue
        follows = f"{folder}.{number + 1}"
        after = shapes.get(f"{follows}.{_RES}") or shapes.get(f"{follows}.{_CONV}") or (0, last)
        out_channels, in_channels = convolution[:2]
        positions = out_channels // after[1] if up else after[1] // out_channels
        multiplier = in_channels // after[1] if up else after[1] // in_channels
        axes = _AXES.get(positions, f"{positions}_positions")  # refused when the config is read
        blocks.append([f"compress_{axes}{suffix}", {"multiplier": multiplier}])
    return blocks


def _under(shapes: Iterable[str], folder: str) -> list[str]:
    return [key for key in shapes if key.startswith(f"{folder}.")]
