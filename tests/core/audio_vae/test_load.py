"""Official files have exactly the names and shapes of our networks; others are refused in words."""

import gzip
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from golden import MANIFESTS, Golden, cases
from ltx2_pack.ltx_core.audio_vae.activations import kaiser_filter
from ltx2_pack.ltx_core.audio_vae.config import EXTENDED, PLAIN, AudioVaeConfig, read_vocoder
from ltx2_pack.ltx_core.audio_vae.keys import DECODER, ENCODER, FILTERS, VOCODER
from ltx2_pack.ltx_core.audio_vae.load import audio_decoder_part, audio_encoder_part, vocoder_part
from ltx2_pack.ltx_core.checkpoint.header import parse_metadata
from ltx2_pack.ltx_core.checkpoint.keys import rename
from ltx2_pack.ltx_core.checkpoint.weights import Weights, weights_of
from ltx2_pack.ltx_core.errors import LTX2Error
from torch import Tensor

VERSIONS = ("2.0", "2.3", "2.5")
PARTS = (audio_encoder_part, audio_decoder_part, vocoder_part)
#: Stored in official files and read by none of our networks.
LEFT_OVER = {
    "2.0": set(),
    "2.3": {"vocoder.mel_stft.stft_fn.inverse_basis"},
    "2.5": {"vocoder.mel_stft.stft_fn.inverse_basis"},
}


class Unread(Mapping[str, Tensor]):
    """A file whose tensors must not be touched yet."""

    def __init__(self, keys: list[str]) -> None:
        self.keys_in_file = keys

    def __getitem__(self, key: str) -> Tensor:
        raise AssertionError(f"{key} was read")

    def __contains__(self, key: object) -> bool:
        return key in self.keys_in_file

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys_in_file)

    def __len__(self) -> int:
        return len(self.keys_in_file)


def shapes_of(version: str) -> dict[str, tuple[int, ...]]:
    with gzip.open(MANIFESTS / f"audio-{version}.json.gz", "rt") as file:
        return {key: tuple(shape) for key, shape in json.load(file).items()}


def config_of(version: str) -> dict[str, Any]:
    return json.loads((MANIFESTS / "configs" / f"audio-{version}.json").read_text("utf-8"))


def official(version: str, metadata: dict[str, Any]) -> Weights:
    shapes = shapes_of(version)
    return Weights(f"ltx-{version}", Unread([*shapes]), metadata, shapes=shapes)


@pytest.mark.parametrize("version", VERSIONS)
def test_official_files_have_exactly_our_names_and_shapes(version: str) -> None:
    shapes = shapes_of(version)
    weights = official(version, {"config": config_of(version)})
    used: set[str] = set()
    for make, table in zip(PARTS, (ENCODER, DECODER, VOCODER), strict=True):
        renamed = rename(shapes, table)
        ours = {name: tuple(t.shape) for name, t in make(weights).network.state_dict().items()}
        assert ours == {name: shapes[key] for key, name in renamed.items()}
        used |= renamed.keys()
    assert shapes.keys() - used == LEFT_OVER[version]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_without_config_is_taken_as_official(version: str) -> None:
    with_config = official(version, {"config": config_of(version)})
    for make in PARTS:
        found, stated = make(official(version, {})).network, make(with_config).network
        assert found.config == stated.config
        assert type(found) is type(stated)
    assert vocoder_part(official(version, {})).network.sample_rate == (
        24000 if version == "2.0" else 48000
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_configs_read_as_the_official_values(
    version: str, caplog: pytest.LogCaptureFixture
) -> None:
    stated = config_of(version)
    assert AudioVaeConfig.read(stated["audio_vae"]) == AudioVaeConfig()
    assert read_vocoder(stated["vocoder"]) == (PLAIN if version == "2.0" else EXTENDED)
    assert not caplog.records  # no key is unknown


@pytest.mark.parametrize(
    ("metadata", "generation"),
    [({}, "2.3"), ({"model_version": "2.3.0"}, "2.3"), ({"model_version": "2.5.0-rc1"}, "2.5")],
)
def test_parts_know_their_generation_and_compute_in_float32(
    metadata: dict[str, Any], generation: str
) -> None:
    for make in PARTS:
        part = make(official("2.3", metadata))
        assert part.generation == generation
        assert part.dtype == torch.float32
    assert vocoder_part(official("2.0", {})).generation == "2.0"


def test_missing_sections_are_filled_as_the_official_code_does() -> None:
    config = AudioVaeConfig.read({})
    assert config.attention_resolutions == (8, 16, 32)
    assert config.mid_attention
    assert not config.streams_in_time


def test_mel_bins_are_looked_for_in_three_places() -> None:
    sizes = {"model": {"params": {"ddconfig": {"mel_bins": 16}}}}
    mel = {"preprocessing": {"mel": {"n_mel_channels": 32}}}
    variables = {"variables": {"mel_bins": 48}}
    assert AudioVaeConfig.read(variables | mel | sizes).front_end.mel_bins == 16
    assert AudioVaeConfig.read(variables | mel).front_end.mel_bins == 32
    assert AudioVaeConfig.read(variables).front_end.mel_bins == 48


def test_a_config_we_cannot_follow_is_refused_by_name() -> None:
    values = config_of("2.3")["vocoder"]
    values["bwe"]["activation"] = "snake"
    with pytest.raises(LTX2Error, match=r"vocoder\.bwe\.activation = 'snake'"):
        read_vocoder(values)
    values = config_of("2.0")["vocoder"] | {"resblock_dilation_sizes": [1, 3]}
    with pytest.raises(LTX2Error, match="resblock_dilation_sizes"):
        read_vocoder(values)


def test_other_files_are_refused_in_words() -> None:
    transformer = weights_of({"patchify_proj.weight": torch.ones(1)}, {}, "transformer.safetensors")
    for make in PARTS:
        with pytest.raises(LTX2Error, match="audio VAE") as caught:
            make(transformer)
        assert caught.value.code == "component_missing"


def test_a_file_of_a_decoder_alone_holds_no_encoder() -> None:
    shapes = {key: shape for key, shape in shapes_of("2.5").items() if ".encoder." not in key}
    weights = Weights("decoder", Unread([*shapes]), {}, shapes=shapes)
    assert audio_decoder_part(weights).role == "audio_decoder"
    with pytest.raises(LTX2Error, match="no audio VAE encoder") as caught:
        audio_encoder_part(weights)
    assert caught.value.code == "component_missing"


def test_incomplete_and_ill_fitting_files_are_refused_before_they_run() -> None:
    shapes = shapes_of("2.3")
    lost = {key: shape for key, shape in shapes.items() if "conv_post" not in key}
    with pytest.raises(LTX2Error, match=r"2 weights are missing.*conv_post") as caught:
        vocoder_part(Weights("lost", Unread([*lost]), {}, shapes=lost))
    assert caught.value.code == "missing_weights"
    wide = shapes | {"audio_vae.decoder.conv_in.conv.weight": (256, 8, 3, 3)}
    stated: dict[str, Any] = {"config": config_of("2.3")}
    for metadata, code in ((stated, "shape_mismatch"), ({}, "config_missing")):
        with pytest.raises(LTX2Error, match=r"conv_in.*\[256, 8, 3, 3\]") as caught:
            audio_decoder_part(Weights("wide", Unread([*wide]), metadata, shapes=wide))
        assert caught.value.code == code
    assert "no config" in str(caught.value)


@pytest.mark.parametrize("golden", cases("vocoder_bwe"))
def test_filters_a_file_lacks_are_computed(golden: Golden) -> None:
    metadata, tensors = parse_metadata(golden.metadata), golden.tensors("weights.")
    lacking = {key: t for key, t in tensors.items() if not key.endswith(FILTERS)}
    filled = {k: kaiser_filter() if k.endswith(FILTERS) else t for k, t in tensors.items()}
    assert len(lacking) < len(tensors)
    mel, cpu = golden.tensors("in.")["mel"], torch.device("cpu")
    ours = vocoder_part(weights_of(lacking, metadata, "lacking")).lay_out(cpu)(mel)
    assert torch.equal(ours, vocoder_part(weights_of(filled, metadata, "")).lay_out(cpu)(mel))


@pytest.mark.parametrize("golden", cases("audio_decode"))
def test_a_latent_of_another_kind_is_refused_in_words(golden: Golden) -> None:
    weights = weights_of(golden.tensors("weights."), parse_metadata(golden.metadata), "")
    decoder = audio_decoder_part(weights).lay_out(torch.device("cpu"))
    with pytest.raises(LTX2Error, match="not an audio latent"):
        decoder(torch.zeros(1, 128, 2, 3, 4))
