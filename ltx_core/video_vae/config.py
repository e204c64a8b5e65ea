"""The sizes of the convolutional video autoencoder, as one checkpoint states them.

Two layouts: flat (`CausalVideoAutoencoder`, both halves in `vae`) and nested (`CausalDiffusionVAE`,
whose encoder is this one and stands in `vae.encoder`).
"""

from dataclasses import dataclass
from enum import Enum
from math import prod
from typing import Any

from ..checkpoint.section import Section
from ..errors import LTX2Error
from ..grid import ScaleFactors
from .layers import Norm, Padding

FLAT_CLASS = "CausalVideoAutoencoder"
#: Keys of `vae` that mean nothing to inference.
UNREAD = (
    "_class_name", "scaling_factor", "use_quant_conv", "normalize_latent_channels",
    "latent_log_var_value", "encoder_base_channels", "decoder_spatial_padding_mode",
    "base_channels",
)  # fmt: skip
ENCODER_KEYS = ("in_channels", "encoder_blocks", "latent_log_var", "encoder_spatial_padding_mode")
DECODER_KEYS = (
    "out_channels", "decoder_blocks", "causal_decoder", "timestep_conditioning",
    "decoder_base_channels",
)  # fmt: skip


class BlockKind(Enum):
    """What one entry of a block list does."""

    RES = "res_x"
    RES_WIDER = "res_x_y"  # one residual block that changes the number of channels
    ATTENTION = "attn"
    TIME = "compress_time"
    SPACE = "compress_space"
    ALL = "compress_all"
    ALL_WIDER = "compress_all_x_y"
    TIME_RES = "compress_time_res"
    SPACE_RES = "compress_space_res"
    ALL_RES = "compress_all_res"

    @property
    def stride(self) -> tuple[int, int, int]:
        """By how much frames, rows and columns become fewer, or in a decoder more."""
        time = 2 if "_time" in self.value or "_all" in self.value else 1
        side = 2 if "_space" in self.value or "_all" in self.value else 1
        return time, side, side


ENCODER_KINDS = frozenset(BlockKind)
DECODER_KINDS = frozenset(
    {
        BlockKind.RES, BlockKind.RES_WIDER, BlockKind.ATTENTION,
        BlockKind.TIME, BlockKind.SPACE, BlockKind.ALL,
    }
)  # fmt: skip


class LogVariance(Enum):
    """How many channels the encoder puts out beside the means; they are not used."""

    NONE = "none"
    UNIFORM = "uniform"
    CONSTANT = "constant"
    PER_CHANNEL = "per_channel"

    def width(self, latent_channels: int) -> int:
        """Channels of the encoder's last convolution."""
        if self is LogVariance.PER_CHANNEL:
            return 2 * latent_channels
        return latent_channels + (self is not LogVariance.NONE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One entry of a block list."""

    kind: BlockKind
    num_layers: int = 1
    multiplier: int = 1
    residual: bool = False
    inject_noise: bool = False

    @property
    def stride(self) -> tuple[int, int, int]:
        """By how much frames, rows and columns become fewer, or in a decoder more."""
        return self.kind.stride


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderConfig:
    """From frames to a latent. The first block is as wide as the latent."""

    blocks: tuple[Block, ...]  # as executed
    in_channels: int
    latent_channels: int
    patch_size: int
    norm: Norm
    log_variance: LogVariance
    padding: Padding

    @property
    def scale(self) -> ScaleFactors:
        """Frames, rows and columns of pixels per latent cell."""
        return _scale(self.blocks, self.patch_size)

    @property
    def streams(self) -> bool:
        """Whether the clip can be encoded piece by piece: nothing pools over time."""
        return _streams(self.blocks, self.norm)

    @classmethod
    def read(cls, section: Section) -> "EncoderConfig":
        """Read a flat `vae` section, or `vae.encoder` of a nested one."""
        nested = not section.has("encoder_blocks") and section.has("blocks")
        section.expect("dims", 3)
        section.skip(*UNREAD, *DECODER_KEYS)
        fallback = section.choose("encoder_spatial_padding_mode", Padding.ZEROS)
        latent_key = "out_channels" if nested else "latent_channels"
        return cls(
            blocks=_blocks(section, "blocks" if nested else "encoder_blocks", ENCODER_KINDS),
            in_channels=section.take("in_channels", 3),
            latent_channels=section.take(latent_key, 128),
            patch_size=section.take("patch_size", 4),
            norm=section.choose("norm_layer", Norm.PIXEL),
            log_variance=section.choose("latent_log_var", LogVariance.UNIFORM),
            padding=section.choose("spatial_padding_mode", fallback),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderConfig:
    """From a latent to frames."""

    blocks: tuple[Block, ...]  # as executed: the file lists them from the output side
    out_channels: int
    latent_channels: int
    base_channels: int  # of the last block
    patch_size: int
    norm: Norm
    causal: bool
    timestep_conditioning: bool
    padding: Padding

    @property
    def scale(self) -> ScaleFactors:
        """Frames, rows and columns of pixels per latent cell."""
        return _scale(self.blocks, self.patch_size)

    @property
    def streams(self) -> bool:
        """Whether the clip can be decoded piece by piece: nothing pools over time."""
        return _streams(self.blocks, self.norm)

    @property
    def first_channels(self) -> int:
        """Channels of the first block."""
        return self.base_channels * prod(block.multiplier for block in self.blocks)

    @classmethod
    def read(cls, section: Section, *, timestep_conditioning: bool) -> "DecoderConfig":
        """Read a flat `vae` section.

        `timestep_conditioning` is what the file's tensors say; the key of that name is missing in
        some files, and its default differs between implementations.
        """
        section.expect("dims", 3)
        section.skip(*UNREAD, *ENCODER_KEYS, "timestep_conditioning")
        return cls(
            blocks=tuple(reversed(_blocks(section, "decoder_blocks", DECODER_KINDS))),
            out_channels=section.take("out_channels", 3),
            latent_channels=section.take("latent_channels", 128),
            base_channels=section.take("decoder_base_channels", 128),
            patch_size=section.take("patch_size", 4),
            norm=section.choose("norm_layer", Norm.PIXEL),
            causal=section.take("causal_decoder", False),
            timestep_conditioning=timestep_conditioning,
            # Reference: a decoder without this key reflects, an encoder pads with zeros.
            padding=section.choose("spatial_padding_mode", Padding.REFLECT),
        )


def _scale(blocks: tuple[Block, ...], patch_size: int) -> ScaleFactors:
    strides = [block.stride for block in blocks]
    return ScaleFactors(
        time=prod(stride[0] for stride in strides),
        height=patch_size * prod(stride[1] for stride in strides),
        width=patch_size * prod(stride[2] for stride in strides),
    )


def _streams(blocks: tuple[Block, ...], norm: Norm) -> bool:
    # Group norms, and the norm on the shortcut of a block that changes its width, pool over time.
    return norm is Norm.PIXEL and all(block.kind is not BlockKind.RES_WIDER for block in blocks)


def _blocks(section: Section, key: str, kinds: frozenset[BlockKind]) -> tuple[Block, ...]:
    entries = section.raw(key, [])
    if not isinstance(entries, (list, tuple)):
        raise _refused(section, key, entries)
    return tuple(_block(section, key, number, entry, kinds) for number, entry in enumerate(entries))


def _block(
    section: Section, key: str, number: int, entry: Any, kinds: frozenset[BlockKind]
) -> Block:
    named = isinstance(entry, (list, tuple)) and len(entry) == 2
    kind = next((kind for kind in kinds if named and kind.value == entry[0]), None)
    if kind is None or not isinstance(entry[1], (dict, int)):
        raise _refused(section, f"{key}[{number}]", entry)
    values = entry[1] if isinstance(entry[1], dict) else {"num_layers": entry[1]}
    params = Section(f"{section.name}.{key}[{number}]", values)
    if kinds is ENCODER_KINDS:
        params.expect("inject_noise", False)  # encoding is deterministic
    return Block(
        kind=kind,
        num_layers=params.take("num_layers", 1),
        multiplier=params.take("multiplier", _multiplier(kind, decodes=kinds is DECODER_KINDS)),
        residual=params.take("residual", False) and kind is BlockKind.ALL,
        inject_noise=params.take("inject_noise", False),
    )


def _multiplier(kind: BlockKind, *, decodes: bool) -> int:
    """By how much a block changes the channels where the file does not say."""
    if kind in (BlockKind.RES, BlockKind.ATTENTION):
        return 1
    if kind in (BlockKind.TIME, BlockKind.SPACE, BlockKind.ALL):
        return 1  # an encoder's keep their channels, a decoder's default to it
    assert kind is BlockKind.RES_WIDER or not decodes
    return 2


def _refused(section: Section, key: str, value: object) -> LTX2Error:
    return LTX2Error(
        f"The file's config says {section.name}.{key} = {value!r}, which is no block known here.",
        needed="a checkpoint of LTX-2.0, 2.3 or 2.5, or a newer version of these nodes",
        code="config_unsupported",
    )
