"""Against the tensor lists of the published files: every name and shape, and nothing left over."""

import gzip
import json

import pytest
import torch
from golden import MANIFESTS
from ltx2_pack.ltx_core.checkpoint.keys import KeyTable
from ltx2_pack.ltx_core.checkpoint.section import Section
from ltx2_pack.ltx_core.checkpoint.weights import Weights
from ltx2_pack.ltx_core.text.config import Normalisation, normalisation_of
from ltx2_pack.ltx_core.text.keys import CONNECTORS, EXTRACTOR, GEMMA
from ltx2_pack.ltx_core.text.load import (
    connectors_part,
    extractor_part,
    gemma_part,
    generation_of,
)
from torch import nn

OFFICIAL_GEMMA = {"hf": "gemma3-12b-hf", "comfy": "gemma3-12b-comfy"}
#: Modules of the Gemma files that encode pictures, and what is no network.
NOT_OURS = ("vision_tower.", "vision_model.", "multi_modal_projector.", "spiece_model")


def published(name: str, config: str = "") -> Weights:
    """A manifest as a file whose tensors have shapes and no content."""
    table = json.loads(gzip.decompress((MANIFESTS / f"{name}.json.gz").read_bytes()))
    shapes = {key: tuple(size or 0 for size in shape) for key, shape in table.items()}
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    path = MANIFESTS / "configs" / f"{config or name}.json"
    metadata = {"config": json.loads(path.read_text())} if path.is_file() else {}
    return Weights(name, tensors, metadata, shapes=shapes)


def shapes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def taken(weights: Weights, table: KeyTable) -> dict[str, tuple[int, ...]]:
    """The shapes a room takes from a file, by what remains of the key after the known prefix."""
    prefixes = [prefix for prefix, target in table if target is not None]
    found = {}
    for key in weights:
        prefix = next((p for p in prefixes if key.startswith(p)), None)
        if prefix is not None:
            target = dict(table)[prefix]
            found[f"{target}{key.removeprefix(prefix)}"] = weights.shape(key)
    return found


@pytest.mark.parametrize("layout", OFFICIAL_GEMMA)
def test_gemma_3_decoder(layout):
    weights = published(OFFICIAL_GEMMA[layout])
    part = gemma_part(weights)
    ours = {**shapes_of(part.network), "embed_tokens.weight": (262208, 3840)}
    assert ours == {name: tuple(part.weights[name].shape) for name in part.weights}
    assert len(ours) == 48 * 13 + 2

    rest = [key for key in weights if key not in part.weights.keys_of.values()]
    assert all(key.startswith(NOT_OURS) for key in rest)


def test_gemma_3_config_is_the_official_one_without_a_config():
    told, guessed = (gemma_part(published(name)).network.config for name in OFFICIAL_GEMMA.values())
    assert told == guessed
    assert [n for n, sees_all in enumerate(told.sees_all) if sees_all] == [
        5,
        11,
        17,
        23,
        29,
        35,
        41,
        47,
    ]
    assert (told.num_heads, told.num_kv_heads, told.head_dim, told.window) == (16, 8, 256, 1024)
    assert (told.local_rope.theta, told.global_rope.theta) == (1e4, 1e6)
    assert (told.local_rope.factor, told.global_rope.factor) == (1.0, 8.0)


MODELS = {"2.0": "text-2.0", "2.3": "text-2.3", "2.5": "text-2.5-transformer-file"}
CONFIGS = {"2.5": "text-2.5"}


@pytest.mark.parametrize("generation", MODELS)
def test_connectors(generation):
    weights = published(MODELS[generation], CONFIGS.get(generation, ""))
    section = Section("transformer", weights.section("transformer") or {})
    part = connectors_part(weights, section)
    assert shapes_of(part.network) == taken(weights, CONNECTORS)

    wide = {"2.0": (30, 30), "2.3": (32, 32), "2.5": (32, 32)}[generation]
    both = (part.network.video_embeddings_connector, part.network.audio_embeddings_connector)
    assert tuple(connector.config.num_heads for connector in both) == wide
    assert all(connector.config.max_position == 4096 for connector in both)
    assert all(connector.config.double_frequencies for connector in both)

    rest = [key for key in weights if key not in part.weights.keys_of.values()]
    assert all(key.startswith("text_embedding_projection.") for key in rest)


@pytest.mark.parametrize("generation", MODELS)
def test_connectors_without_a_config_are_the_same(generation):
    weights = published(MODELS[generation], CONFIGS.get(generation, ""))
    section = Section("transformer", weights.section("transformer") or {})
    told, guessed = (connectors_part(weights, s).network for s in (section, None))
    for stream in ("video_embeddings_connector", "audio_embeddings_connector"):
        assert getattr(told, stream).config == getattr(guessed, stream).config


@pytest.mark.parametrize("generation", ["2.0", "2.3"])
def test_projection(generation):
    weights = published(MODELS[generation])
    gemma = gemma_part(published("gemma3-12b-hf")).network.config
    kind = normalisation_of(Section("transformer", weights.section("transformer") or {}))
    assert kind is (Normalisation.RANGE if generation == "2.0" else Normalisation.RMS)

    network = extractor_part(weights, gemma, kind).network
    whole: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes_of(network).items():
        module, _, parameter = name.split(".")
        key = f"{module}.{parameter}"
        inputs = whole.get(key, (0, 0))[1] + shape[1] if len(shape) == 2 else 0
        whole[key] = (shape[0], inputs) if len(shape) == 2 else shape
    assert whole == taken(weights, EXTRACTOR)


@pytest.mark.parametrize("generation", MODELS)
def test_generation_shows_in_the_structure(generation):
    if generation == "2.5":
        weights = published("diffusion_model_prefix_2.5_22b")
    else:
        weights = published(MODELS[generation])
    assert generation_of(weights) == generation


def test_every_key_of_the_gemma_files_is_known():
    for name in OFFICIAL_GEMMA.values():
        assert all(any(key.startswith(p) for p, _ in GEMMA) for key in published(name))
