"""Latents and prompts on their way between nodes, core's own sockets and files."""

from pathlib import Path
from typing import Any

import pytest
import torch
from ltx2_pack.headless.tiny import NAMES
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.grid import VideoShape, exact_rate
from ltx2_pack.ltx_core.latents import AVLatent, blank
from ltx2_pack.ltx_core.media.reader import read_clip
from ltx2_pack.nodes.latent import LTX2FromLatent, LTX2ToLatent
from ltx2_pack.nodes.sockets import frames_from_image, sound_from_audio, spans_from_image
from studio import T2V, NewStudio, Studio, saved, text_of
from torch import Tensor

OLD = Path(NAMES["2.0"]["checkpoint"]).name


def noise() -> AVLatent:
    empty = blank(VideoShape(9, 64, 96), exact_rate(23.976))
    assert empty.video is not None and empty.audio is not None
    return empty.with_video(torch.randn(empty.video.shape)).with_audio(
        torch.randn(empty.audio.shape)
    )


class Nested:
    """The part of core's nested tensor that nodes see."""

    is_nested = True

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    def unbind(self) -> tuple[Tensor, ...]:
        return self.tensors


def test_to_core_latents_and_back_changes_nothing() -> None:
    latent = noise()
    video, audio, rate = LTX2ToLatent.execute(latent).args
    (back,) = LTX2FromLatent.execute(rate, video, audio).args
    assert torch.equal(back.video, latent.video) and torch.equal(back.audio, latent.audio)
    assert back.frame_rate == latent.frame_rate


@pytest.mark.parametrize("stream", ["video", "audio"])
def test_one_stream_alone_goes_both_ways(stream: str) -> None:
    latent = noise()
    latent = latent.with_audio(None) if stream == "video" else latent.with_video(None)
    video, audio, rate = LTX2ToLatent.execute(latent).args
    assert (video is None) == (stream == "audio") and (audio is None) == (stream == "video")
    (back,) = LTX2FromLatent.execute(rate, video, audio).args
    assert torch.equal(getattr(back, stream), getattr(latent, stream))


def test_cores_audio_video_latent_is_taken_apart() -> None:
    latent = noise()
    nested = {"samples": Nested(latent.video, latent.audio)}
    (back,) = LTX2FromLatent.execute(24.0, nested).args
    assert torch.equal(back.video, latent.video) and torch.equal(back.audio, latent.audio)
    other = {"samples": torch.zeros_like(latent.audio)}
    (back,) = LTX2FromLatent.execute(24.0, {"samples": Nested(latent.video)}, other).args
    assert torch.equal(back.audio, other["samples"])


def test_what_is_given_is_neither_changed_nor_kept_in_half_precision() -> None:
    latent = noise()
    given = {"samples": latent.video.half()}
    before = given["samples"].clone()
    (back,) = LTX2FromLatent.execute(24.0, given).args
    assert back.video.dtype == torch.float32 and torch.equal(given["samples"], before)
    assert set(given) == {"samples"}


def test_a_latent_of_another_model_is_one_sentence() -> None:
    with pytest.raises(LTX2Error, match="picture latent") as caught:
        LTX2FromLatent.execute(24.0, {"samples": torch.zeros(1, 16, 3, 8, 8)})
    assert caught.value.needed and caught.value.where == "LTX-2 From Core Latent"
    with pytest.raises(LTX2Error, match="No latent is connected"):
        LTX2FromLatent.execute(24.0)


def test_a_wired_latent_goes_through_core_sockets_and_comes_out_the_same(studio: Studio) -> None:
    """The second stage, fed through core latents, makes the same clip."""
    few = "Stage 1, half size.steps=2"
    plain = studio.prompt(f"{T2V}, wired", few, "seed=3")
    result = studio.run(plain)
    prompt = studio.prompt(f"{T2V}, wired", few, "seed=3")
    (scaled,) = (key for key, node in prompt.items() if node["class_type"] == "LTX2SpatialUpscale")
    made = prompt[scaled]["inputs"]["latent"]
    prompt["to"] = {"class_type": "LTX2ToLatent", "inputs": {"latent": made}}
    prompt["from"] = {
        "class_type": "LTX2FromLatent",
        "inputs": {"video": ["to", 0], "audio": ["to", 1], "frame_rate": ["to", 2]},
    }
    prompt[scaled]["inputs"]["latent"] = ["from", 0]
    again = studio.run(prompt)
    one, two = (frames_of(Path(saved(r)["path"])) for r in (result, again))
    assert torch.equal(one, two)


def frames_of(path: Path) -> Tensor:
    return torch.stack([*read_clip(path)])


def with_context(studio: Studio, workflow: str, file: str) -> dict[str, Any]:
    """Return a workflow whose prompt comes from a saved file."""
    prompt = studio.prompt(workflow)
    kinds = ("LTX2Prompt", "LTX2EncodePrompt")
    (text,) = (key for key, node in prompt.items() if node["class_type"] in kinds)
    prompt["context"] = {"class_type": "LTX2LoadContext", "inputs": {"context_file": file}}
    for node in prompt.values():
        for name, value in node["inputs"].items():
            if value == [text, 0]:
                node["inputs"][name] = ["context", 0]
    return prompt


def saving(studio: Studio, *settings: str) -> dict[str, Any]:
    """Return a workflow that only reads and saves a prompt."""
    prompt = studio.prompt(T2V, *settings)
    (text,) = (key for key, node in prompt.items() if node["class_type"] == "LTX2Prompt")
    (load,) = (key for key, node in prompt.items() if node["class_type"] == "LTX2Load")
    inputs = {"context": [text, 0], "filename_prefix": "context/LTX-2"}
    return {key: prompt[key] for key in (text, load)} | {
        "save": {"class_type": "LTX2SaveContext", "inputs": inputs}
    }


def test_a_saved_prompt_makes_the_same_clip_without_the_text_encoder(
    new_studio: NewStudio,
) -> None:
    studio = new_studio(metadata=False)
    few = ("steps=1", "prompt=a cat")
    first = Path(saved(studio.run(T2V, *few))["path"]).read_bytes()
    shown = studio.run(saving(studio, *few)).ui["save"]
    assert text_of([shown]) == "saved LTX-2_00001_.safetensors"
    file = studio.host.output / "context" / "LTX-2_00001_.safetensors"
    (studio.host.input / "context.safetensors").symlink_to(file)

    prompt = with_context(studio, T2V, "context.safetensors")
    for node in prompt.values():
        if node["class_type"] == "LTX2Generate":
            node["inputs"]["steps"] = 1
    other = new_studio(name="other", metadata=False)
    (other.host.input / "context.safetensors").symlink_to(file)
    facts = saved(other.run(prompt))
    assert Path(facts["path"]).read_bytes() == first
    assert facts["prompt"] == "a cat"
    assert "text_encoder" not in [part.role for part in other.host.placed]


@pytest.mark.parametrize("workflow", [T2V, f"{T2V}, wired"])
def test_a_prompt_of_another_generation_is_refused_naming_both(
    new_studio: NewStudio, models_20: Path, models_23: Path, workflow: str
) -> None:
    old = new_studio(models_20, name="old")
    older = [f"unet_name={OLD}", "upscale_model=auto"]
    old.run(saving(old, *older))
    studio = new_studio(models_23)
    file = old.host.output / "context" / "LTX-2_00001_.safetensors"
    (studio.host.input / "older.safetensors").symlink_to(file)
    with pytest.raises(LTX2Error) as caught:
        studio.run(with_context(studio, workflow, "older.safetensors"))
    error = caught.value
    assert error.code == "generation_mismatch"
    assert "older.safetensors is of LTX-2.0" in error.what and "ltx-2.3-22b-" in error.what
    assert studio.written() == [] and not studio.host.at_work


@pytest.mark.parametrize("content", [b"", b"<html></html>", None])
def test_a_file_that_is_no_prompt_is_one_sentence(
    studio: Studio, models_23: Path, content: bytes | None
) -> None:
    path = studio.host.input / "x.safetensors"
    if content is None:
        path.symlink_to(models_23 / NAMES["2.3"]["lora"])
    else:
        path.write_bytes(content)
    with pytest.raises(LTX2Error) as caught:
        studio.run(with_context(studio, T2V, "x.safetensors"))
    assert "x.safetensors" in caught.value.what
    with pytest.raises(LTX2Error, match=r"none\.safetensors is not there"):
        studio.run(with_context(studio, T2V, "none.safetensors"))


def test_sound_goes_into_a_latent_and_out_again(studio: Studio) -> None:
    wired = studio.prompt(f"{T2V}, wired", "Stage 1, half size.steps=2")
    (vae,) = (key for key, node in wired.items() if node["class_type"] == "LTX2LoadAudioVAE")
    (empty,) = (key for key, node in wired.items() if node["class_type"] == "LTX2EmptyLatent")
    (size,) = (key for key, node in wired.items() if node["class_type"] == "LTX2Size")
    audio = {"class_type": "LoadAudio", "inputs": {"audio": "reference.mp4"}}
    inputs = {"latent": [empty, 0], "audio_vae": [vae, 0], "audio": ["audio", 0]}
    prompt = {key: wired[key] for key in (vae, empty, size)} | {
        "audio": audio,
        "encode": {"class_type": "LTX2EncodeAudio", "inputs": inputs},
        "decode": {
            "class_type": "LTX2DecodeAudio",
            "inputs": {"latent": ["encode", 0], "audio_vae": [vae, 0], "volume": 0.5},
        },
        "show": {"class_type": "PreviewAny", "inputs": {"source": ["decode", 0]}},
    }
    result = studio.run(prompt)
    assert "0.33 s at 48000 Hz" in text_of(result.ui.values())


@pytest.mark.parametrize("audio", [
    {"waveform": torch.zeros(1, 2, 0), "sample_rate": 48_000},
    {"waveform": torch.zeros(0, 2, 100), "sample_rate": 48_000},
    {"waveform": torch.zeros(2, 100), "sample_rate": 48_000},
    {"waveform": torch.zeros(1, 2, 100), "sample_rate": 0},
])  # fmt: skip
def test_a_sound_that_is_empty_is_one_sentence(audio: dict[str, Any]) -> None:
    with pytest.raises(LTX2Error, match="The sound is empty"):
        sound_from_audio(audio)


def test_pictures_of_one_three_and_four_channels_are_pictures() -> None:
    grey = torch.rand(2, 4, 6, 1)
    for channels in (1, 3, 4):
        image = grey.expand(-1, -1, -1, 3)[..., :channels] if channels < 4 else torch.cat(
            (grey.expand(-1, -1, -1, 3), torch.zeros_like(grey)), dim=-1
        )  # fmt: skip
        assert torch.equal(frames_from_image(image), frames_from_image(grey))
        (span,) = spans_from_image(image)
        assert span.shape == (1, 3, 2, 4, 6)
    for shape in ((2, 4, 6, 2), (4, 6, 3)):
        with pytest.raises(LTX2Error, match="The pictures are"):
            frames_from_image(torch.zeros(shape))
