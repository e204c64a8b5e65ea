"""The sizes of the audio autoencoder and of the vocoder, as one checkpoint states them.

The field defaults are those of the official files, which are the same in 2.0, 2.3 and 2.5 for the
autoencoder; `read` fills a key that a stated section lacks as the official code does, which differs
for attention. A file without any config is an official one, repacked.
"""

from dataclasses import dataclass
from enum import Enum
from math import prod
from typing import Any

from ..checkpoint.section import Section
from ..errors import LTX2Error

#: The encoder and the vocoders know only stereo.
STEREO = 2
#: Mel frames of one audio latent. Fixed, whatever the number of levels.
FRAMES_PER_LATENT = 4


class CausalityAxis(Enum):
    """The axis along which convolutions see only the past: height is time, width is frequency."""

    HEIGHT = "height"
    WIDTH = "width"
    WIDTH_COMPATIBILITY = "width-compatibility"
    NONE = "none"


class NormType(Enum):
    """How activations are normalised."""

    PIXEL = "pixel"
    GROUP = "group"


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontEndConfig:
    """From a waveform to a log-mel picture. All of it in samples."""

    sampling_rate: int = 16000
    n_fft: int = 1024
    hop_length: int = 160
    mel_bins: int = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioVaeConfig:
    """The autoencoder between log-mel pictures and latents."""

    front_end: FrontEndConfig = FrontEndConfig()
    channels: int = 128
    in_channels: int = 2
    out_channels: int = 2
    multipliers: tuple[int, ...] = (1, 2, 4)  # of `channels`, per level, finest first
    num_res_blocks: int = 2
    latent_channels: int = 8
    resolution: int = 256
    attention_resolutions: tuple[int, ...] = ()
    mid_attention: bool = False
    norm_type: NormType = NormType.PIXEL
    norm_eps: float = 1e-6
    causality_axis: CausalityAxis = CausalityAxis.HEIGHT

    @property
    def latent_bins(self) -> int:
        """Rows of frequency of a latent."""
        return self.front_end.mel_bins >> (len(self.multipliers) - 1)

    def has_attention(self, level: int) -> bool:
        """Say whether the residual blocks of a level are followed by attention."""
        return self.resolution >> level in self.attention_resolutions

    @property
    def streams_in_time(self) -> bool:
        """Say whether nothing looks ahead in time, so that a long sound can be cut into pieces."""
        levels = range(len(self.multipliers))
        attends = self.mid_attention or any(self.has_attention(level) for level in levels)
        four_to_one = 2 ** (len(levels) - 1) == FRAMES_PER_LATENT
        return self.causality_axis is CausalityAxis.HEIGHT and four_to_one and not attends

    @classmethod
    def read(cls, values: dict[str, Any]) -> "AudioVaeConfig":
        """Read a header's `audio_vae` section.

        Raises LTX2Error (`config_unsupported`) for a value that this code is not written for.
        """
        whole = Section("audio_vae", values)
        model = _inner(whole, "model")
        params = _inner(model, "params")
        sizes = _inner(params, "ddconfig")
        config = cls(
            front_end=_front_end(whole, params, sizes),
            channels=sizes.take("ch", 128),
            in_channels=sizes.take("in_channels", 2),
            out_channels=sizes.take("out_ch", 2),
            multipliers=sizes.take_list("ch_mult", (1, 2, 4)),
            num_res_blocks=sizes.take("num_res_blocks", 2),
            latent_channels=sizes.take("z_channels", 8),
            resolution=sizes.take("resolution", 256),
            attention_resolutions=sizes.take_list("attn_resolutions", (8, 16, 32)),
            mid_attention=sizes.take("mid_block_add_attention", True),
            norm_type=sizes.choose("norm_type", NormType.PIXEL),
            causality_axis=_causality(sizes),
        )
        sizes.expect("double_z", True)
        sizes.expect("attn_type", "vanilla")
        sizes.expect("resamp_with_conv", True)
        sizes.skip("dropout", "downsample_time")
        params.skip("embed_dim")
        for section in (sizes, params, model, whole):
            section.finish()
        return config


def _inner(section: Section, key: str) -> Section:
    values = section.raw(key)
    return Section(f"{section.name}.{key}", values if isinstance(values, dict) else {})


def _causality(sizes: Section) -> CausalityAxis:
    """Read the axis; a stated null means none."""
    if sizes.raw("causality_axis", "height") is None:
        return CausalityAxis.NONE
    return sizes.choose("causality_axis", CausalityAxis.HEIGHT)


def _front_end(whole: Section, params: Section, sizes: Section) -> FrontEndConfig:
    preprocessing = _inner(whole, "preprocessing")
    stft = _inner(preprocessing, "stft")
    mel = _inner(preprocessing, "mel")
    variables = _inner(whole, "variables")
    stated = ((sizes, "mel_bins"), (mel, "n_mel_channels"), (variables, "mel_bins"))
    bins = [section.take(key, 64) for section, key in stated if section.has(key)]
    # The reference ignores these, too; the window is as long as the transform.
    stft.skip("win_length", "causal")
    mel.skip("mel_fmin", "mel_fmax")
    preprocessing.skip("audio")
    config = FrontEndConfig(
        sampling_rate=params.take("sampling_rate", 16000),
        n_fft=stft.take("filter_length", 1024),
        hop_length=stft.take("hop_length", 160),
        mel_bins=bins[0] if bins else 64,
    )
    for section in (stft, mel, preprocessing):
        section.finish()
    return config


class Flavour(Enum):
    """What the residual blocks of a generator are activated by."""

    LEAKY = "1"  # HiFi-GAN: LeakyReLU
    AMP = "AMP1"  # BigVGAN: anti-aliased snake


class Final(Enum):
    """What bounds a generator's samples."""

    TANH = "tanh"
    CLAMP = "clamp"
    NONE = "none"  # a residual, added to something that is


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratorConfig:
    """One mel-to-waveform generator."""

    flavour: Flavour
    initial_channels: int
    rates: tuple[int, ...]
    kernels: tuple[int, ...]  # of the upsampling stages
    block_kernels: tuple[int, ...] = (3, 7, 11)
    block_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    final: Final
    final_bias: bool
    stereo_bins: int = 128  # stereo times mel bins; fixed in the reference

    @property
    def samples_per_frame(self) -> int:
        """How many samples one mel frame becomes."""
        return prod(self.rates)

    @classmethod
    def read(
        cls, section: Section, flavour: Flavour, *, residual: bool = False
    ) -> "GeneratorConfig":
        """Read a generator of the given flavour; `residual`: its samples stay unbounded."""
        section.expect("resblock", flavour.value)
        section.expect("stereo", True)
        if flavour is Flavour.AMP:
            section.expect("activation", "snakebeta")
        section.skip("apply_final_activation")
        tanh = section.take("use_tanh_at_final", True)
        bounded = Final.TANH if tanh else Final.CLAMP
        dilations = section.raw("resblock_dilation_sizes", ((1, 3, 5),) * 3)
        return cls(
            flavour=flavour,
            initial_channels=section.take("upsample_initial_channel", 1024),
            rates=section.take_list("upsample_rates", (6, 5, 2, 2, 2)),
            kernels=section.take_list("upsample_kernel_sizes", (16, 15, 8, 4, 4)),
            block_kernels=section.take_list("resblock_kernel_sizes", (3, 7, 11)),
            block_dilations=_dilations(section, dilations),
            final=Final.NONE if residual else bounded,
            final_bias=section.take("use_bias_at_final", True),
        )


def _dilations(section: Section, values: Any) -> tuple[tuple[int, ...], ...]:
    try:
        return tuple(tuple(int(dilation) for dilation in row) for row in values)
    except (TypeError, ValueError):
        raise LTX2Error(
            f"The file's config says {section.name}.resblock_dilation_sizes = {values!r}; "
            "expected a list of lists of numbers.",
            needed="a checkpoint with an undamaged config",
            code="config_unsupported",
        ) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainConfig:
    """The vocoder of 2.0: one generator."""

    generator: GeneratorConfig
    sampling_rate: int = 24000


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtendedConfig:
    """The vocoder of 2.3 and 2.5: a generator, and a second one that adds the upper octaves."""

    generator: GeneratorConfig
    extension: GeneratorConfig
    low_rate: int = 16000
    sampling_rate: int = 48000
    n_fft: int = 512
    hop_length: int = 80
    mel_bins: int = 64

    @property
    def ratio(self) -> int:
        """How many samples come out for one of the first generator."""
        return self.sampling_rate // self.low_rate


#: The official vocoders, for files that do not say.
PLAIN = PlainConfig(
    generator=GeneratorConfig(
        flavour=Flavour.LEAKY,
        initial_channels=1024,
        rates=(6, 5, 2, 2, 2),
        kernels=(16, 15, 8, 4, 4),
        final=Final.TANH,
        final_bias=True,
    )
)
EXTENDED = ExtendedConfig(
    generator=GeneratorConfig(
        flavour=Flavour.AMP,
        initial_channels=1536,
        rates=(5, 2, 2, 2, 2, 2),
        kernels=(11, 4, 4, 4, 4, 4),
        final=Final.CLAMP,
        final_bias=False,
    ),
    extension=GeneratorConfig(
        flavour=Flavour.AMP,
        initial_channels=512,
        rates=(6, 5, 2, 2, 2),
        kernels=(12, 11, 4, 4, 4),
        final=Final.NONE,
        final_bias=False,
    ),
)


def read_vocoder(values: dict[str, Any]) -> PlainConfig | ExtendedConfig:
    """Read a header's `vocoder` section; a `bwe` in it means 2.3 or later.

    Raises LTX2Error (`config_unsupported`) for a value that this code is not written for.
    """
    whole = Section("vocoder", values)
    if not whole.has("bwe"):
        plain = PlainConfig(
            generator=GeneratorConfig.read(whole, Flavour.LEAKY),
            sampling_rate=whole.take("output_sampling_rate", 24000),
        )
        whole.finish()
        return plain
    low, extension = _inner(whole, "vocoder"), _inner(whole, "bwe")
    extension.skip("win_size")
    low.skip("output_sampling_rate")
    extended = ExtendedConfig(
        generator=GeneratorConfig.read(low, Flavour.AMP),
        extension=GeneratorConfig.read(extension, Flavour.AMP, residual=True),
        low_rate=extension.take("input_sampling_rate", 16000),
        sampling_rate=extension.take("output_sampling_rate", 48000),
        n_fft=extension.take("n_fft", 512),
        hop_length=extension.take("hop_length", 80),
        mel_bins=extension.take("num_mels", 64),
    )
    for section in (low, extension, whole):
        section.finish()
    return extended
