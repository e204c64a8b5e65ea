"""Runs that are cancelled or fail, anywhere: nothing half written, and the next one is the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
import torch
from ltx2_pack.headless.convert import Prompt
from ltx2_pack.ltx_core.audio_vae import generator
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.text import connector, gemma
from ltx2_pack.ltx_core.transformer import block as transformer
from ltx2_pack.ltx_core.transformer.model import Transformer
from ltx2_pack.ltx_core.upscaler import model as upscaler
from ltx2_pack.nodes.host import memory
from ltx2_pack.nodes.host.residence import let_rest
from ltx2_pack.nodes.host.standin.host import hosted
from ltx2_pack.nodes.host.standin.progress import Cancelled
from studio import I2V, T2V, V2V, CancelAt, NewStudio, Studio
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

#: Few steps, and everything that can be in a run: guides, guidance, LoRAs of both stages.
WIRED_I2V = (f"{I2V}, wired", "Stage 1, half size.steps=2")
WIRED_V2V = (f"{V2V}, wired", "Stage 1, half size.steps=2")
ONE_NODE = (T2V, "steps=2")


class OlderHostError(Exception):
    """What older hosts cancel with is an Exception."""


def first_file(studio: Studio) -> bytes:
    (name,) = studio.written()
    return (studio.folder / name).read_bytes()


def nothing_left(studio: Studio) -> bool:
    return studio.written() == [] and studio.host.at_work == []


def looks_of_nodes(studio: Studio, prompt: Prompt) -> dict[str, int]:
    """Run undisturbed; return node title -> how often the wish to stop was looked at during it."""
    began: dict[str, int] = {}

    def begins(_number: int, _total: int, name: str) -> None:
        began[name] = studio.cancelled.looks

    studio.runner.run(prompt, on_node=begins)
    ends = [*list(began.values())[1:], studio.cancelled.looks]
    return {name: end - start for (name, start), end in zip(began.items(), ends, strict=True)}


def cancelled_in(studio: Studio, prompt: Prompt, node: str, look: int) -> BaseException | None:
    """Run until the `look`th look in a node; return with what that ended.

    None if the node finished before: one that begins again has less to do, since weights that came
    are there. The run then ends as the next node begins.
    """
    begun: list[str] = []

    def begins(_number: int, _total: int, name: str) -> None:
        if name == node:
            studio.cancelled.number = studio.cancelled.looks + look
        elif node in begun:
            studio.cancelled.number = 0
        begun.append(name)

    try:
        studio.runner.run(prompt, on_node=begins)
    except BaseException as error:  # noqa: BLE001  judged by the caller
        return error if begun[-1] == node else None
    finally:
        studio.cancelled.number = None
    return None


@pytest.mark.parametrize("workflow", [WIRED_I2V, WIRED_V2V, ONE_NODE])
def test_cancelled_in_every_phase_nothing_is_left_and_the_next_run_is_the_same(
    new_studio: NewStudio, workflow: tuple[str, ...]
) -> None:
    calm = new_studio(name="calm", metadata=False)
    prompt = calm.prompt(*workflow)
    looks = looks_of_nodes(calm, prompt)
    phases = {name: count for name, count in looks.items() if count > 2}
    assert len(phases) >= (3 if workflow == ONE_NODE else 6)

    studio = new_studio(name="disturbed", metadata=False)
    total = 0
    for node, count in phases.items():
        ended = []
        for look in sorted({1, count // 4, count // 2, 3 * count // 4, count - 1}):
            error = cancelled_in(studio, prompt, node, look)
            if error is None:
                break
            ended.append(error)
            assert type(error) is Cancelled and error.__cause__ is None, (node, look)
            assert nothing_left(studio), (node, look)
        assert ended, node
        total += len(ended)
    assert total >= 2 * len(phases)
    studio.runner.run(prompt)
    assert first_file(studio) == first_file(calm)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OlderHostError("stop"), torch.OutOfMemoryError("no room")]
)
def test_other_endings_pass_too(new_studio: NewStudio, error: BaseException) -> None:
    calm = new_studio(name="calm", metadata=False)
    prompt = calm.prompt(*ONE_NODE)
    looks = looks_of_nodes(calm, prompt)
    studio = new_studio(name="disturbed", metadata=False, cancelled=CancelAt(with_error=error))
    said, passed = [], 0
    for node in ("LTX-2 Prompt", "LTX-2 Generate", "LTX-2 Save Video"):
        for share in range(1, 6):
            found = cancelled_in(studio, prompt, node, share * looks[node] // 6)
            if found is None:
                break
            # While weights come, a failed allocation becomes the sentence about their size.
            assert found is error or isinstance(found, LTX2Error)
            said += [found] if found is not error else []
            passed += found is error
            assert nothing_left(studio)
    assert {getattr(found, "code", "") for found in said} <= {"out_of_memory"}
    assert isinstance(error, torch.OutOfMemoryError) or not said
    assert passed >= 1
    studio.runner.run(prompt)
    assert first_file(studio) == first_file(calm)


@contextmanager
def looks_before(studio: Studio, kind: type[nn.Module]) -> Iterator[list[int]]:
    """Collect how often the wish to stop has been looked at before every forward of a module."""
    found: list[int] = []

    def before(module: nn.Module, _inputs: Any) -> None:
        if isinstance(module, kind):
            found.append(studio.cancelled.looks)

    handle = register_module_forward_pre_hook(before)
    try:
        yield found
    finally:
        handle.remove()


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        (transformer.Block, 2 * (2 + 3)),
        (gemma.Layer, 6),
        (connector.Block, 2 * 2),
        (upscaler.ResBlock, 2),
        (generator.WaveBlock, 2),
    ],
)
def test_every_block_of_a_network_is_a_place_to_stop(
    studio: Studio, kind: type[nn.Module], least: int
) -> None:
    prompt = studio.prompt(*ONE_NODE)
    with looks_before(studio, kind) as found:
        studio.runner.run(prompt)
    steps = [after - before for before, after in pairwise(found)]
    assert len(found) >= least
    # The blocks of one stage of a vocoder work side by side.
    together = 3 if kind is generator.WaveBlock else 1
    assert sum(step > 0 for step in steps) >= len(steps) // together


def test_every_step_passes_as_many_looks_as_the_transformer_has_blocks(studio: Studio) -> None:
    prompt = studio.prompt(*ONE_NODE)
    with looks_before(studio, Transformer) as found:
        studio.runner.run(prompt)
    assert len(found) == 2 + 3
    assert all(after - before >= 2 for before, after in pairwise(found))


def test_every_chunk_of_a_decode_and_every_frame_of_a_file_is_a_place_to_stop(
    new_studio: NewStudio,
) -> None:
    studio = new_studio(metadata=False)
    prompt = studio.prompt(T2V, "recipe=draft", "steps=1", "duration=4")
    looks = looks_of_nodes(studio, prompt)
    assert looks["LTX-2 Save Video"] > 97 + 10  # frames muxed, and pieces decoded before them
    prompt = studio.prompt(V2V)
    video = next(key for key, node in prompt.items() if node["class_type"] == "LoadVideo")
    save = {"class_type": "LTX2SaveVideo", "inputs": {"video": [video, 0]}}
    save["inputs"] |= {"filename_prefix": "copy", "format": "mp4", "quality": 95, "loudness": "off"}
    alone = {video: prompt[video], "save": save}
    looks = looks_of_nodes(studio, alone)
    assert looks["LTX2SaveVideo"] >= 9 + 2  # frames, and what the encoders still held
    again = {**save, "inputs": save["inputs"] | {"quality": 90}}
    assert type(cancelled_in(studio, alone | {"save": again}, "LTX2SaveVideo", 5)) is Cancelled
    assert [name for name in studio.written() if "copy" in name] == ["output/copy_00001_.mp4"]


def test_weights_on_their_way_can_be_stopped(studio: Studio) -> None:
    prompt = studio.prompt(*ONE_NODE)
    studio.runner.run(prompt)
    parts = [*studio.host.placed]
    (model,) = (part for part in parts if part.role == "transformer")
    with hosted(studio.host):
        let_rest(model)
        studio.cancelled.number = studio.cancelled.looks + 20
        with pytest.raises(Cancelled), memory.place(model):
            pass
        studio.cancelled.number = None
        assert model.device is None
        assert all(tensor.is_meta for tensor in model.network.state_dict().values())
        with memory.place(model) as network:
            assert all(tensor.isfinite().all() for tensor in network.state_dict().values())
