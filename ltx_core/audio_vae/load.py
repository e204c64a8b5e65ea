"""From a file to the audio networks. All of them compute in float32, whatever the file stores."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..checkpoint.keys import KeyTable, Renamed, check_fit
from ..checkpoint.part import Part
from ..checkpoint.weights import Holding, Weights
from ..errors import LTX2Error
from ..ops.attention import AttentionFn, sdpa
from ..ops.layers import Check, LayerFactory, never_cancelled
from .activations import TAPS, kaiser_filter
from .config import (
    EXTENDED,
    PLAIN,
    AudioVaeConfig,
    ExtendedConfig,
    PlainConfig,
    read_vocoder,
)
from .decoder import AudioDecoder
from .encoder import AudioEncoder
from .generator import Generator
from .keys import DECODER, ENCODER, EXTENDED_MARK, FILTERS, PLAIN_MARK, SHARED, VOCODER
from .vocoder import ExtendedVocoder, Vocoder

log = logging.getLogger(__name__)
Network = TypeVar("Network", bound=nn.Module)
META = torch.device("meta")


class _Completed(Holding):
    """What a file stores, and the filters it lacks, which are computed."""

    def __init__(self, stored: Renamed, computed: frozenset[str]) -> None:
        self._stored = stored
        self._computed = computed

    @property
    def identity(self) -> str:
        return self._stored.identity

    def __getitem__(self, name: str) -> Tensor:
        return kaiser_filter() if name in self._computed else self._stored[name]

    def __contains__(self, name: object) -> bool:  # Mapping's own would read the tensor
        return name in self._computed or name in self._stored

    def __iter__(self) -> Iterator[str]:
        yield from self._stored
        yield from self._computed

    def __len__(self) -> int:
        return len(self._stored) + len(self._computed)


def audio_encoder_part(
    weights: Weights,
    *,
    layers: LayerFactory = nn,
    attention: AttentionFn = sdpa,
    check: Check = never_cancelled,
) -> Part[AudioEncoder]:
    """Build the encoder a file holds, on the meta device.

    Raises LTX2Error `component_missing`, `missing_weights`, `shape_mismatch` or
    `config_unsupported`.
    """
    network = AudioEncoder(
        _vae_config(weights), layers=layers, attention=attention, check=check, device=META
    )
    return _part(network, weights, ENCODER, "audio_encoder", "audio VAE encoder")


def audio_decoder_part(
    weights: Weights,
    *,
    layers: LayerFactory = nn,
    attention: AttentionFn = sdpa,
    check: Check = never_cancelled,
) -> Part[AudioDecoder]:
    """Build the decoder a file holds, on the meta device. Raises as `audio_encoder_part`."""
    network = AudioDecoder(
        _vae_config(weights), layers=layers, attention=attention, check=check, device=META
    )
    return _part(network, weights, DECODER, "audio_decoder", "audio VAE decoder")


def vocoder_part(
    weights: Weights, *, layers: LayerFactory = nn, check: Check = never_cancelled
) -> Part[Vocoder]:
    """Build the vocoder a file holds, on the meta device. Raises as `audio_encoder_part`."""
    config = _vocoder_config(weights)
    network: Vocoder
    if isinstance(config, ExtendedConfig):
        network = ExtendedVocoder(config, layers=layers, check=check, device=META)
    else:
        network = Generator(
            config.generator, sample_rate=config.sampling_rate, layers=layers, check=check,
            device=META,
        )  # fmt: skip
    return _part(network, weights, VOCODER, "vocoder", "vocoder")


def _vae_config(weights: Weights) -> AudioVaeConfig:
    section = weights.section("audio_vae")
    if section is not None:
        return AudioVaeConfig.read(section)
    log.info("%s: no config for the audio VAE; the official sizes are used", weights.name)
    return AudioVaeConfig()


def _vocoder_config(weights: Weights) -> PlainConfig | ExtendedConfig:
    """Read the header, or else tell the generations apart by their tensors."""
    section = weights.section("vocoder")
    if section is not None:
        return read_vocoder(section)
    if EXTENDED_MARK in weights:
        log.info("%s: no config for the vocoder; that of 2.3 is used", weights.name)
        return EXTENDED
    if PLAIN_MARK in weights:
        log.info("%s: no config for the vocoder; that of 2.0 is used", weights.name)
        return PLAIN
    raise _missing(weights, "vocoder")


def _part(
    network: Network, weights: Weights, table: KeyTable, role: str, called: str
) -> Part[Network]:
    stored, expected = Renamed(weights, table), network.state_dict()
    own = {name for name in expected if not name.startswith(SHARED)}
    if own.isdisjoint(stored.keys_of):
        raise _missing(weights, called)
    computed = frozenset(
        name for name in expected if name.endswith(FILTERS) and name not in stored.keys_of
    )
    shapes = {name: weights.shape(key) for name, key in stored.keys_of.items()}
    shapes |= dict.fromkeys(computed, (1, 1, TAPS))
    if weights.section(table[0][0].split(".")[0]) is None:
        _check_official(weights.name, shapes, {n: tuple(t.shape) for n, t in expected.items()})
    # Before anything is sampled, not when the sound is decoded at last.
    check_fit(network, shapes, source=weights.name)
    return Part(
        network.requires_grad_(False),
        _Completed(stored, computed),
        role=role,
        source=weights.name,
        generation=generation_of(weights),
        dtype=torch.float32,
    )


def _check_official(
    source: str, shapes: Mapping[str, Sequence[int]], expected: Mapping[str, Sequence[int]]
) -> None:
    """Refuse a file that states no config and has other sizes than the official ones."""
    for name, shape in expected.items():
        if name in shapes and tuple(shapes[name]) != tuple(shape):
            raise LTX2Error(
                f"{source} has no config in its metadata, and other sizes than the official "
                f"files: {name} has shape {list(shapes[name])}, there {list(shape)}.",
                needed="the file as published, with its config", where="models/vae",
                code="config_missing",
            )  # fmt: skip


def _missing(weights: Weights, called: str) -> LTX2Error:
    return LTX2Error(
        f"{weights.name} holds no {called}; it is no audio VAE file.",
        needed="a checkpoint of 2.0 or 2.3, or ltx-2.5-audio-vae-bf16.safetensors",
        where="models/checkpoints or models/vae",
        code="component_missing",
    )


def generation_of(weights: Weights) -> str:
    """Return "2.0", "2.3" or "2.5" as the file says, else by its vocoder (2.5 looks like 2.3)."""
    said = str(weights.metadata.get("model_version", "")).replace("-", ".").split(".")[:2]
    if len(said) == 2 and all(number.isdigit() for number in said):
        version = (int(said[0]), int(said[1]))
        return "2.0" if version < (2, 3) else "2.3" if version < (2, 4) else "2.5"
    return "2.3" if EXTENDED_MARK in weights else "2.0"
