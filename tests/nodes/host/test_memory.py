"""Parts that come to the device and go."""

import logging
from collections.abc import Iterator

import pytest
import torch
from ltx2_pack.ltx_core.checkpoint.lora import Lora, LoraUse
from ltx2_pack.ltx_core.checkpoint.lora_changes import LoraPair
from ltx2_pack.ltx_core.checkpoint.part import Part
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.nodes.host import memory
from ltx2_pack.nodes.host.standin.host import Host, hosted
from torch import nn


@pytest.fixture
def host() -> Iterator[Host]:
    with hosted(Host(device=torch.device("cpu"))) as host:
        yield host


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="ltx2_pack")
    return caplog


def part(role: str) -> Part[nn.Linear]:
    weights = {"weight": torch.full((4, 4), 2.0, dtype=torch.bfloat16), "bias": torch.ones(4)}
    return Part(nn.Linear(4, 4, device="meta"), weights, role=role, source=f"{role}.safetensors")


def test_a_part_computes_in_float32_on_the_processor_and_stays(
    host: Host, lines: pytest.LogCaptureFixture
) -> None:
    upscaler = part("upscaler")
    for _ in range(2):
        with memory.place(upscaler, activation_bytes=1000) as network:
            assert network(torch.ones(1, 4)).tolist() == [[9.0] * 4]
            assert network.weight.dtype == torch.float32
    assert lines.messages == ["[LTX-2] upscaler -> cpu, 0.0 GB"]
    assert [*host.placed] == [upscaler] and not host.at_work


def test_text_encoder_and_transformer_never_lie_on_the_device_together(
    host: Host, lines: pytest.LogCaptureFixture
) -> None:
    text, transformer, decoder = part("text_encoder"), part("transformer"), part("video_decoder")
    for one in (text, transformer, decoder, transformer, text):
        with memory.place(one):
            assert (text.device is None) or (transformer.device is None)
    assert [line.removeprefix("[LTX-2] ").split(",")[0] for line in lines.messages] == [
        "text_encoder -> cpu",
        "text_encoder -> rest",
        "transformer -> cpu",
        "video_decoder -> cpu",
        "transformer -> rest",
        "text_encoder -> cpu",
    ]


def test_a_second_model_makes_the_first_go(host: Host) -> None:
    first, second = part("transformer"), part("transformer")
    with memory.place(first):
        pass
    with memory.place(second):
        assert first.device is None


def test_other_loras_lay_the_weights_out_again(host: Host, lines: pytest.LogCaptureFixture) -> None:
    pair = LoraPair(down=torch.ones(1, 4), up=torch.full((4, 1), 0.5))
    use = LoraUse(Lora(name="toy", pairs={"0": pair}), 2.0)
    weights = {"0.weight": torch.full((4, 4), 2.0), "0.bias": torch.ones(4)}
    network = nn.Sequential(nn.Linear(4, 4, device="meta"))
    transformer = Part(network, weights, role="transformer", source="t.safetensors")
    sums = []
    for loras in ((), (use,), (use,), ()):
        with memory.place(transformer, loras=loras) as network:
            sums.append(network(torch.ones(1, 4))[0, 0].item())
    assert sums == [9.0, 13.0, 13.0, 9.0]
    assert [line.endswith("rest") for line in lines.messages] == [False, True, False, True, False]


def test_idle_parts_go_when_there_is_no_room(host: Host) -> None:
    old, new, busy = part("upscaler"), part("video_decoder"), part("vocoder")
    with memory.place(old), memory.place(new):
        pass
    with memory.place(busy), memory.place(part("audio_decoder"), activation_bytes=1 << 62):
        assert busy.device is not None
    assert old.device is None and new.device is None


def test_a_failure_while_computing_leaves_the_part_usable(host: Host) -> None:
    upscaler = part("upscaler")
    with pytest.raises(RuntimeError), memory.place(upscaler) as network:
        network(torch.ones(1, 5))
    assert not host.at_work
    with memory.place(upscaler) as network:
        assert network(torch.ones(1, 4)).tolist() == [[9.0] * 4]


def test_no_room_for_the_weights_is_a_sentence_with_numbers(host: Host) -> None:
    class Full(dict[str, torch.Tensor]):
        def __getitem__(self, name: str) -> torch.Tensor:
            raise memory.out_of_memory("no room")

    full = Part(
        nn.Linear(4, 4, device="meta"),
        Full(weight=torch.ones(1), bias=torch.ones(1)),
        role="transformer",
        source="t.safetensors",
    )
    sentence = r"no room for the transformer: it needs 0\.0 GB"
    with pytest.raises(LTX2Error, match=sentence) as caught, memory.place(full):
        pass
    assert caught.value.code == "out_of_memory"
    assert full.device is None and not host.placed and not host.at_work


def test_what_a_part_needs_is_counted_in_the_dtype_it_is_held_in() -> None:
    upscaler = part("upscaler")
    assert upscaler.laid_out_bytes(torch.bfloat16) == 20 * 2
    upscaler.dtype = torch.float32
    assert upscaler.laid_out_bytes(torch.bfloat16) == 20 * 4


def test_the_processor_says_how_much_is_free(host: Host) -> None:
    assert memory.free_bytes() > 1 << 20
    assert memory.run_dtype() == torch.float32
    assert memory.resting_device() == torch.device("cpu")


def test_a_part_that_nobody_needs_any_more_leaves_the_device(host: Host) -> None:
    upscaler = part("upscaler")
    with memory.place(upscaler):
        pass
    del upscaler
    assert not host.placed
