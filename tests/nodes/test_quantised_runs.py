"""Two stages from quantised files: the same latents as from their numbers, in little memory."""

from pathlib import Path
from typing import Any

import pytest
import torch
from ltx2_pack.headless.tiny import NAMES
from ltx2_pack.ltx_core.checkpoint.part import Part
from ltx2_pack.ltx_core.ops.quantized import Linear
from ltx2_pack.ltx_core.sampling.clip import Clip
from quantised_files import FORMATS, dequantised, quantised
from recorded import Graph
from studio import SMALL, T2V, linked_models

ROLES = ("checkpoint", "text_encoder")


def clip_of(models: Path, folder: Path, **values: Any) -> tuple[Clip, Graph]:
    """Run the shipped text-to-video workflow and return the clip before it is decoded."""
    graph = Graph(T2V, models, folder)
    graph.set(dict(pair.split("=") for pair in SMALL) | values)
    graph.catch("LTX-2 Generate", 0, "clip")
    return graph.run()["clip"], graph


def rewritten(models: Path, target: Path, kind: str) -> Path:
    """Make a models folder in which checkpoint and language model are quantised."""
    linked_models(target, models)
    for role in ROLES:
        name = NAMES["2.3"][role]
        (target / name).unlink()
        quantised(models / name, target / name, kind)
    return target


def packed_layers(part: Part[Any]) -> list[Linear]:
    layers = (module for module in part.network.modules() if isinstance(module, Linear))
    return [layer for layer in layers if layer.packed is not None]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_quantised_file_gives_what_its_numbers_give(kind: str, models_23: Path, tmp_path: Path):
    packed = rewritten(models_23, tmp_path / "packed", kind)
    plain = linked_models(tmp_path / "plain", packed)
    for role in ROLES:
        name = NAMES["2.3"][role]
        (plain / name).unlink()
        dequantised(packed / name, plain / name)
    found, graph = clip_of(packed, tmp_path / "one")
    expected, _ = clip_of(plain, tmp_path / "two")
    for stream in ("video", "audio"):
        ours, theirs = getattr(found.latent, stream), getattr(expected.latent, stream)
        assert torch.isfinite(ours).all()
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    transformers = [part for part in graph.host.placed if part.role == "transformer"]
    assert [len(packed_layers(part)) for part in transformers] == [2 * 28]


def test_the_distilled_lora_runs_beside_quantised_weights(models_23: Path, tmp_path: Path):
    packed = rewritten(models_23, tmp_path / "packed", "fp8_scaled")
    dev = NAMES["2.3"]["dev_checkpoint"]
    (packed / dev).unlink()
    quantised(models_23 / dev, packed / dev, "fp8_scaled")
    plain = linked_models(tmp_path / "plain", packed)
    (plain / dev).unlink()
    dequantised(packed / dev, plain / dev)
    (found, graph), (expected, _) = (
        clip_of(models, tmp_path / models.name / "run", unet_name=Path(dev).name)
        for models in (packed, plain)
    )
    for stream in ("video", "audio"):
        ours, theirs = getattr(found.latent, stream), getattr(expected.latent, stream)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-4)  # a weight is not written to
    layers = [layer for part in graph.host.placed for layer in packed_layers(part)]
    assert layers
    assert any(layer.branch is not None for layer in layers)


@pytest.mark.parametrize("hold", ["fp8", "int8"])
def test_a_plain_file_can_be_held_quantised(hold: str, models_23: Path, tmp_path: Path):
    """Tiny models have no blocks between the first and the last two: nothing is quantised."""
    found, graph = clip_of(models_23, tmp_path / "one", hold_weights=hold)
    expected, _ = clip_of(models_23, tmp_path / "two")
    torch.testing.assert_close(found.latent.video, expected.latent.video, rtol=0, atol=1e-5)
    (part,) = (part for part in graph.host.placed if part.role == "transformer")
    assert not packed_layers(part)
    assert any(isinstance(module, Linear) for module in part.network.modules())
