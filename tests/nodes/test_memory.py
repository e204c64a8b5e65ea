"""What lies on the device during whole runs, and that nothing gathers."""

import gc
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.text.gemma import Layer
from studio import I2V, T2V, V2V, CancelAt, NewStudio, Studio, saved
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

MOVED = re.compile(r"\[LTX-2\] (\w+) -> (\w+)")
FEW = ("recipe=draft", "steps=1")


def moves(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Return (role, where to) of every line about a part, in order."""
    found = (MOVED.match(line) for line in caplog.messages)
    return [(line[1], line[2]) for line in found if line]


def lying_together(lines: list[tuple[str, str]]) -> list[set[str]]:
    """Return which parts lay on the device after each line."""
    here: list[str] = []
    states = []
    for role, where in lines:
        if where == "rest":
            here.remove(role)
        else:
            here.append(role)
        states.append(set(here))
    return states


@pytest.mark.parametrize("workflow", [I2V, f"{V2V}, wired"])
def test_text_encoder_and_transformer_are_never_on_the_device_together(
    studio: Studio, caplog: pytest.LogCaptureFixture, workflow: str
) -> None:
    caplog.set_level(logging.INFO, logger="ltx2_pack")
    studio.run(workflow, "prompt=a cat")
    studio.run(workflow, "prompt=a dog")  # the encoder comes back, and the model after it
    lines = moves(caplog)
    states = lying_together(lines)
    assert not any({"text_encoder", "transformer"} <= state for state in states)
    came = [role for role, where in lines if where != "rest"]
    assert came.count("text_encoder") == 2 and came.count("transformer") >= 2
    assert {"video_encoder", "upscaler", "video_decoder", "vocoder"} <= set(came)


def test_weights_stay_where_they_are_while_they_are_used_again(
    studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="ltx2_pack")
    studio.run(T2V, "seed=1")
    caplog.clear()
    studio.run(T2V, "seed=2")
    assert moves(caplog) == []


def test_after_a_failure_parts_rest_or_can_be_used(new_studio: NewStudio) -> None:
    studio = new_studio(cancelled=CancelAt(with_error=LTX2Error("stopped")))
    prompt = studio.prompt(T2V)
    for look in (50, 150, 250):  # while weights come, and amid forward passes
        studio.cancelled.number = studio.cancelled.looks + look
        with pytest.raises(LTX2Error, match="stopped"):
            studio.runner.run(prompt)
        for part in [*studio.host.placed]:
            state = part.network.state_dict().values()
            assert part.device is None or not any(tensor.is_meta for tensor in state), part.role
        assert not studio.host.at_work
    studio.cancelled.number = None
    studio.runner.run(prompt)
    assert len(studio.written()) == 1


def tensor_bytes() -> int:
    """Return the bytes of all storages that live."""
    gc.collect()
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in gc.get_objects()
        if issubclass(type(tensor), Tensor) and tensor.device.type == "cpu"
    }
    return sum(storages.values())


def test_runs_that_follow_one_another_gather_nothing(studio: Studio) -> None:
    sizes = []
    for number in range(5):
        studio.run(I2V, f"seed={number}", *FEW)
        if number == 2:
            studio.cancelled.number = studio.cancelled.looks + 10
            with pytest.raises(BaseException):  # noqa: B017  whatever it is, it goes
                studio.run(I2V, "seed=99", *FEW)
            studio.cancelled.number = None
            studio.run(I2V, f"seed={number}", *FEW)
        sizes.append(tensor_bytes())
    assert sizes[-1] <= sizes[1] * 1.001, sizes


def test_models_that_are_not_used_any_more_are_let_go(
    new_studio: NewStudio, models_20: Path, models_23: Path
) -> None:
    studio = new_studio(models_20, models_23)
    older = ("unet_name=ltx-2-19b-distilled.safetensors", "upscale_model=auto")
    for _ in range(2):
        studio.run(T2V, *FEW)
        studio.run(T2V, *FEW, *older)
    gc.collect()
    roles = [part.role for part in studio.host.placed]
    assert len(roles) == len(set(roles)), roles


@contextmanager
def forwards_of(kind: type[nn.Module]) -> Iterator[list[int]]:
    """Count the forward passes of a kind of module."""
    found: list[int] = []

    def before(module: nn.Module, _inputs: Any) -> None:
        if isinstance(module, kind):
            found.append(1)

    handle = register_module_forward_pre_hook(before)
    try:
        yield found
    finally:
        handle.remove()


@pytest.mark.parametrize(
    ("workflow", "few"), [(T2V, FEW), (f"{T2V}, wired", ("Stage 1, half size.steps=2",))]
)
def test_a_text_that_was_read_does_not_reach_the_language_model_again(
    studio: Studio, workflow: str, few: tuple[str, ...]
) -> None:
    with forwards_of(Layer) as passes:
        studio.run(workflow, "prompt=a cat", "negative_prompt=a dog", *few)
        once = len(passes)
        studio.run(workflow, "prompt=a dog", "negative_prompt=a cat", *few)
        assert len(passes) == once > 0
        studio.run(workflow, "prompt=a bird", "negative_prompt=a cat", *few)
        assert len(passes) == 2 * once


class Watching(CancelAt):
    """Looks now and then at how many decoded frames of one size are alive."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.shape = (side, side)
        self.most = 0

    def is_set(self) -> bool:
        if self.looks % 60 == 0:  # going through everything that lives takes its time
            frames = {
                tensor.untyped_storage().data_ptr(): tensor.shape[2]
                for tensor in gc.get_objects()
                if issubclass(type(tensor), Tensor)
                and (tensor.ndim, tensor.shape[1:2], tensor.shape[-2:]) == (5, (3,), self.shape)
            }
            self.most = max(self.most, sum(frames.values()))
        return super().is_set()


def test_a_long_clip_is_written_while_it_is_decoded(new_studio: NewStudio) -> None:
    watching = Watching(64)
    studio = new_studio(cancelled=watching)
    facts = saved(studio.run(T2V, "duration=7", *FEW))
    assert (facts["frames"], facts["width"]) == (169, 64)
    # One chunk of 32 frames being written, one being decoded, and what overlaps.
    assert 0 < watching.most < 80
    assert torch.is_grad_enabled()
