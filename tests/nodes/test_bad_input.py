"""Wrong files, missing files and odd values in shipped workflows: a sentence or an adjustment."""

import json
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import tensors_of
from ltx2_pack.headless.tiny import NAMES
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.media.reader import clip_info, read_metadata
from ltx2_pack.nodes.size import LTX2Size
from safetensors.torch import save_file
from studio import I2V, T2V, V2V, NewStudio, Studio, linked_models, replaced, saved, text_of
from torch import Tensor

OLD, NEW = NAMES["2.0"], NAMES["2.3"]
DEV, DISTILLED = Path(NEW["dev_checkpoint"]).name, Path(NEW["checkpoint"]).name
GEMMA = Path(NEW["text_encoder"]).name
QUICK = "Stage 1, half size.schedule=distilled"
BOTH = (T2V, f"{T2V}, wired")

#: Changes a models folder of links; the second folder holds the originals.
Change = Callable[[Path, Path], object]


def file(name: str) -> str:
    return Path(name).name


def refused(studio: Studio, workflow: str | dict[str, Any], *settings: str) -> LTX2Error:
    """Run, and return the error; nothing may be written, nothing may stay at work."""
    with pytest.raises(LTX2Error) as caught:
        studio.run(workflow, *settings)
    assert studio.written() == []
    assert studio.host.at_work == []
    error = caught.value
    assert "Traceback" not in str(error)
    assert error.code == "invalid_workflow" or (error.what and error.needed and error.where)
    return error


def rewritten(name: str, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Change:
    """Return a change that writes one file anew, with other tensors and the same metadata."""

    def apply(models: Path, originals: Path) -> None:
        tensors, metadata = tensors_of(originals / name)
        save_file(change(tensors), replaced(models, name, b""), metadata)

    return apply


def filled(name: str, content: bytes) -> Change:
    return lambda models, _: replaced(models, name, content)


def cut(name: str) -> Change:
    def apply(models: Path, originals: Path) -> None:
        content = (originals / name).read_bytes()
        replaced(models, name, content[: len(content) * 2 // 3])

    return apply


def without(*parts: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {
        key: tensor for key, tensor in tensors.items() if not any(part in key for part in parts)
    }


def as_gemma_4(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors | {f"model.layers.{layer}.layer_scalar": torch.ones(1) for layer in range(6)}


def quantised(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make queries two-bit numbers, in a format of somebody's own."""
    queries = [key for key in tensors if "transformer_blocks" in key and "to_q.weight" in key]
    blob = torch.tensor([*b'{"format": "int2_mine"}'], dtype=torch.uint8)
    marks = {key.replace(".weight", ".comfy_quant"): blob.clone() for key in queries}
    return tensors | {key: tensors[key].to(torch.int8) for key in queries} | marks


def foreign_lora(*modules: str) -> Change:
    halves = {f"{module}.lora_A.weight": torch.ones(2, 32) for module in modules}
    halves |= {f"{module}.lora_B.weight": torch.ones(32, 2) for module in modules}
    return lambda models, _: save_file(halves, replaced(models, "loras/other.safetensors", b""))


TRANSFORMER_ONLY = without("vae.", "vocoder.", "connector", "text_embedding")
CHECKPOINTS = (NEW["checkpoint"], NEW["dev_checkpoint"])
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 46100000000\n"


@pytest.mark.parametrize("workflow", BOTH)
@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        pytest.param(
            [rewritten(NEW["text_encoder"], without(".layers.5."))],
            "gemma_wrong_size", [GEMMA, "5 layers of width 32", "22b-"], id="encoder-too-small",
        ),
        pytest.param(
            [rewritten(NEW["text_encoder"], as_gemma_4)],
            "", [GEMMA, "Gemma 4", "LTX-2 was not trained with"], id="encoder-gemma-4",
        ),
        pytest.param(
            [rewritten(NEW["text_encoder"], without("spiece_model"))],
            "", [GEMMA, "no tokenizer"], id="encoder-without-tokenizer",
        ),
        pytest.param(
            [rewritten(name, TRANSFORMER_ONLY) for name in CHECKPOINTS],
            None, ["22b-", " GB) in models/"], id="transformer-only",
        ),
        pytest.param(
            [rewritten(name, without("text_embedding_projection")) for name in CHECKPOINTS],
            "component_missing", [GEMMA, "22b-", "text projection"], id="no-projection",
        ),
        pytest.param([cut(name) for name in CHECKPOINTS], "", ["incomplete", "22b-"], id="cut"),
        pytest.param([cut(NEW["text_encoder"])], "", ["incomplete", GEMMA], id="cut-encoder"),
        pytest.param(
            [filled(name, POINTER) for name in CHECKPOINTS],
            "", ["Git LFS pointer", "46,100,000,000"], id="pointer",
        ),
        pytest.param(
            [filled(NEW["text_encoder"], b"<!DOCTYPE html><html>sign in</html>")],
            "", ["HTML page", GEMMA, "licence"], id="web-page",
        ),
        pytest.param(
            [filled(NEW["latent_upscaler"], b"hello, this is no model at all")],
            "", ["is not a safetensors file", "upscaler"], id="no-model",
        ),
        pytest.param([filled(NEW["latent_upscaler"], b"")], "", ["0 bytes"], id="empty"),
        pytest.param(
            [filled(name, b"\x80\x02abc") for name in CHECKPOINTS], "", ["pickle"], id="pickle"
        ),
        pytest.param(
            [rewritten(name, quantised) for name in CHECKPOINTS],
            "", ["'int2_mine', a format nobody here knows", "float8_e4m3fn"], id="quantised",
        ),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_sentence_before_anything_runs(
    new_studio: NewStudio, tmp_path: Path, models_23: Path, workflow: str,
    changes: list[Change], code: str | None, words: list[str],
) -> None:  # fmt: skip
    models = linked_models(tmp_path / "models", models_23)
    for change in changes:
        change(models, models_23)
    studio = new_studio(models)
    error = refused(studio, workflow)
    # What LTX-2 Load can tell from headers it tells before anything runs.
    assert code is None or error.code in (code or "invalid_workflow", "invalid_workflow")
    assert all(word in str(error) for word in words), str(error)
    assert not studio.host.placed


@pytest.mark.parametrize(
    ("lacking", "component"),
    [("vae.decoder", "video VAE"), ("audio_vae.", "audio VAE"), ("vocoder.", "vocoder")],
)
def test_a_checkpoint_without_a_part_names_the_part(
    new_studio: NewStudio, tmp_path: Path, models_23: Path, lacking: str, component: str
) -> None:
    models = linked_models(tmp_path / "models", models_23)
    for name in CHECKPOINTS:
        rewritten(name, without(lacking))(models, models_23)
    error = refused(new_studio(models), T2V)
    assert DISTILLED in str(error) and component.split()[-1] in str(error)


@pytest.mark.parametrize(
    ("workflow", "settings"),
    [
        (T2V, [f"video_vae={file(OLD['checkpoint'])}"]),
        (T2V, [f"audio_vae={file(OLD['checkpoint'])}"]),
        (f"{I2V}, wired", [f"video_vae={file(OLD['checkpoint'])}"]),
        (f"{V2V}, wired", [f"video_vae={file(OLD['checkpoint'])}"]),
    ],
)
def test_a_vae_of_another_generation_is_refused_naming_both(
    new_studio: NewStudio, models_20: Path, models_23: Path, workflow: str, settings: list[str]
) -> None:
    error = refused(new_studio(models_20, models_23), workflow, *settings)
    assert error.code == ("invalid_workflow" if workflow == T2V else "generation_mismatch")
    assert "their latents differ" in error.what or workflow != T2V
    assert file(OLD["checkpoint"]) in error.what
    assert DISTILLED in error.what or DEV in error.what


@pytest.mark.parametrize("part", ["video_vae", "audio_vae"])
def test_a_wired_decoder_of_another_generation_is_refused_naming_both(
    new_studio: NewStudio, models_20: Path, models_23: Path, part: str
) -> None:
    studio = new_studio(models_20, models_23)
    prompt = studio.prompt(f"{V2V}, wired")
    other = "LTX2LoadVideoVAE" if part == "video_vae" else "LTX2LoadAudioVAE"
    prompt["other"] = {"class_type": other, "inputs": {part: file(OLD["checkpoint"])}}
    for node in prompt.values():  # the upscale and the samplers keep the right one
        if node["class_type"] in ("LTX2DecodeVideo", "LTX2DecodeAudio") and part in node["inputs"]:
            node["inputs"][part] = ["other", 0]
    error = refused(studio, prompt)
    assert error.code == "generation_mismatch"
    assert file(OLD["checkpoint"]) in error.what and f"the latent of {DISTILLED}" in error.what


@pytest.mark.parametrize("workflow", [T2V, V2V])
def test_an_upscaler_of_another_generation_that_states_none_is_warned_of(
    new_studio: NewStudio, models_20: Path, models_23: Path, workflow: str
) -> None:
    name = file(OLD["latent_upscaler"])
    for variant in (workflow, f"{workflow}, wired"):
        studio = new_studio(models_20, models_23, name=variant)
        settings = [] if workflow == V2V or variant == workflow else [QUICK]
        shown = studio.run(variant, f"upscale_model={name}", *settings).ui
        assert f"{name} is, by its name, the upscaler of LTX-2.0" in text_of(shown.values())


def test_a_temporal_upscaler_between_the_stages_is_refused(
    new_studio: NewStudio, tmp_path: Path, models_23: Path
) -> None:
    models = linked_models(tmp_path / "models", models_23)
    tensors, metadata = tensors_of(models_23 / NEW["latent_upscaler"])
    config = json.loads(metadata["config"])
    config |= {"spatial_upsample": False, "temporal_upsample": True, "rational_resampler": False}
    mid = tensors["initial_conv.weight"].shape[0]
    tensors = without("upsampler.")(tensors) | {
        "upsampler.0.weight": torch.zeros(2 * mid, mid, 3, 3, 3),
        "upsampler.0.bias": torch.zeros(2 * mid),
    }
    path = replaced(models, "latent_upscale_models/slow.safetensors", b"")
    save_file(tensors, path, {"config": json.dumps(config)})
    studio = new_studio(models)
    error = refused(studio, T2V, "upscale_model=slow.safetensors")
    assert error.code == "wrong_role"
    assert "slow.safetensors" in error.what and "ltx-2.3-spatial-upscaler-x2" in error.needed
    assert "transformer" not in [part.role for part in studio.host.placed]


@pytest.mark.parametrize(
    ("workflow", "settings", "name"),
    [
        (T2V, [f"distilled_lora={file(OLD['lora'])}"], file(OLD["lora"])),
        (V2V, [f"lora_name={file(OLD['ic_lora'])}"], file(OLD["ic_lora"])),
        (
            f"{V2V}, wired",
            [f"LTX-2 Apply IC-LoRA.lora_name={file(OLD['ic_lora'])}"],
            file(OLD["ic_lora"]),
        ),
    ],
)
def test_a_lora_of_another_generation_that_fits_is_warned_of(
    new_studio: NewStudio, models_20: Path, models_23: Path, workflow: str, settings: list[str],
    name: str,
) -> None:  # fmt: skip
    result = new_studio(models_20, models_23).run(workflow, *settings)
    warning = f"{name} was made for LTX-2.0, {DISTILLED} is LTX-2.3"
    assert warning in text_of(result.ui.values())
    if workflow == V2V:
        assert any(warning in line for line in saved(result)["notices"])


def lora_of_stage_2(name: str) -> str:
    return f"LoRA of stage 2.lora_name={name}"


def test_a_lora_of_another_generation_that_does_not_fit_is_refused_naming_both(
    new_studio: NewStudio, models_20: Path, models_23: Path
) -> None:
    name = file(OLD["lora"])
    error = refused(new_studio(models_20, models_23), f"{T2V}, wired", lora_of_stage_2(name))
    assert error.code == "lora_shape_mismatch"
    assert name in error.what and DEV in error.what


@pytest.mark.parametrize(
    ("modules", "code", "words"),
    [
        (["lora_unet_down_blocks_0"], "invalid_workflow", "0 of 1 modules match"),
        (
            ["diffusion_model.transformer_blocks.99.attn1.to_q"], "lora_no_match",
            f"0 of 1 modules match {DEV}",
        ),
    ],
)  # fmt: skip
def test_a_lora_that_changes_nothing_is_refused(
    new_studio: NewStudio, tmp_path: Path, models_23: Path, modules: list[str], code: str,
    words: str,
) -> None:  # fmt: skip
    models = linked_models(tmp_path / "models", models_23)
    foreign_lora(*modules)(models, models_23)
    error = refused(new_studio(models), f"{T2V}, wired", lora_of_stage_2("other.safetensors"))
    assert error.code == code
    assert words in str(error) and "other.safetensors" in str(error)


def test_a_reference_whose_lora_changes_nothing_is_refused_before_stage_1(
    new_studio: NewStudio, tmp_path: Path, models_23: Path
) -> None:
    models = linked_models(tmp_path / "models", models_23)
    foreign_lora("diffusion_model.transformer_blocks.99.attn1.to_q")(models, models_23)
    studio = new_studio(models)
    error = refused(studio, V2V, "lora_name=other.safetensors")
    assert error.code == "lora_no_match" and DISTILLED in error.what
    assert "transformer" not in [part.role for part in studio.host.placed]


def test_two_stages_without_an_upscaler_name_the_file(
    new_studio: NewStudio, tmp_path: Path, models_23: Path
) -> None:
    models = linked_models(tmp_path / "models", models_23)
    (models / NEW["latent_upscaler"]).unlink()
    studio = new_studio(models)
    for workflow in BOTH:
        error = refused(studio, workflow)
        assert f"{file(NEW['latent_upscaler'])} is not there" in str(error)
    error = refused(studio, T2V, "upscale_model=auto")
    assert error.code == "component_missing" and error.needed == file(NEW["latent_upscaler"])
    assert "transformer" not in [part.role for part in studio.host.placed]


def test_pro_without_its_lora_names_the_file(
    new_studio: NewStudio, tmp_path: Path, models_23: Path
) -> None:
    models = linked_models(tmp_path / "models", models_23)
    (models / NEW["lora"]).unlink()
    studio = new_studio(models)
    for lora in ("auto", "none"):
        settings = [f"unet_name={DEV}", "recipe=pro", f"distilled_lora={lora}"]
        error = refused(studio, T2V, *settings)
        assert (error.code, error.needed) == ("component_missing", file(NEW["lora"]))
        assert error.where == "models/loras"


def test_ultra_is_refused_before_anything_is_loaded(studio: Studio) -> None:
    error = refused(studio, T2V, "recipe=ultra")
    assert "The recipe ultra is not available yet" in str(error)
    assert not studio.host.placed


@pytest.mark.parametrize(
    "name", ["missing.safetensors", "auto", "", ".", "sub/", "../x", "a\0b", "x" * 3000, "C:\\a"]
)
def test_a_name_that_is_no_file_is_one_sentence(studio: Studio, name: str) -> None:
    (studio.host.models[0] / "checkpoints" / "sub").mkdir(exist_ok=True)
    error = refused(studio, T2V, f"unet_name={name}")
    assert error.code == "invalid_workflow"
    assert str(error).startswith("LTX-2 Load: ") and "not there" in str(error)
    assert "models/checkpoints" in str(error)


def test_a_value_that_is_no_name_is_one_sentence(studio: Studio) -> None:
    prompt = studio.prompt(T2V)
    load = next(node for node in prompt.values() if node["class_type"] == "LTX2Load")
    load["inputs"]["unet_name"] = 5
    assert "5 is no file name" in str(refused(studio, prompt))


@pytest.mark.parametrize("generation", ["2.0", "2.3"])
def test_files_given_as_another_role_say_where_they_belong(
    new_studio: NewStudio, tmp_path: Path, models_20: Path, models_23: Path, generation: str
) -> None:
    names, source = NAMES[generation], models_20 if generation == "2.0" else models_23
    models = linked_models(tmp_path / "models", models_23)
    for role in ("lora", "latent_upscaler", "text_encoder"):
        replaced(models, f"checkpoints/wrong-{role}.safetensors", source / names[role])
        error = refused(new_studio(models), T2V, f"unet_name=wrong-{role}.safetensors")
        folder = Path(names[role]).parent
        assert f"wrong-{role}.safetensors is a" in str(error)
        assert f"it belongs in models/{folder}" in str(error)


BROKEN = {
    "text": b"no picture at all",
    "nothing": b"",
    "page": b"<!DOCTYPE html><html>sign in</html>",
}


@pytest.mark.parametrize("content", [*BROKEN, "half"])
@pytest.mark.parametrize(
    ("workflow", "name"), [(I2V, "example.png"), (f"{V2V}, wired", "reference.mp4")]
)
def test_a_picture_or_clip_that_cannot_be_read_is_named(
    studio: Studio, media: Path, workflow: str, name: str, content: str
) -> None:
    whole = (media / name).read_bytes()
    replaced(studio.host.input, name, BROKEN.get(content, whole[: len(whole) // 2]))
    error = refused(studio, workflow)
    assert error.what.startswith(f"{name} ") and str(studio.host.input) in error.where


@pytest.mark.parametrize(("workflow", "name"), [(I2V, "example.png"), (V2V, "reference.mp4")])
def test_a_picture_or_clip_that_is_not_there_is_said_before_anything_runs(
    studio: Studio, workflow: str, name: str
) -> None:
    (studio.host.input / name).unlink()
    error = refused(studio, workflow)
    assert f"{name} is not there" in str(error) and not studio.host.placed


def test_a_reference_without_a_clip_is_one_sentence(studio: Studio) -> None:
    prompt = studio.prompt(V2V)
    for node in prompt.values():
        node["inputs"].pop("video", None)
    error = refused(studio, prompt)
    assert "The reference has no clip" in error.what and "video" in error.needed


def test_a_save_without_a_clip_is_one_sentence(studio: Studio) -> None:
    prompt = studio.prompt(T2V)
    for node in prompt.values():
        node["inputs"].pop("clip", None)
    assert "nothing to save" in refused(studio, prompt).what


def test_an_empty_prompt_runs_and_is_reported(studio: Studio) -> None:
    for workflow in BOTH:
        quick = [] if workflow == T2V else [QUICK]
        result = studio.run(workflow, "prompt=  ", "negative_prompt=", "steps=1", *quick)
        assert "The prompt is empty" in text_of(result.ui.values())
        assert saved(result)["prompt"] == "  "
    assert len(studio.written()) == 2


def test_a_prompt_that_is_too_long_is_cut_and_reported(studio: Studio) -> None:
    result = studio.run(T2V, "prompt=" + "a cat walks " * 2000, "recipe=draft", "steps=1")
    assert "is cut after 1024" in text_of(result.ui.values())
    assert any("is cut after 1024" in line for line in saved(result)["notices"])


ADJUSTED = [
    (["width=131", "height=97", "duration=0"], (128, 128, 1), ["width 131 -> 128",
        "height 97 -> 128", "length 0 s -> 0.04 s (1 frame"]),
    (["width=64", "height=64", "duration=5.25"], (64, 64, 129), ["length 5.25 s -> 5.38 s"]),
    (["width=1", "height=33", "frame_rate=23.976"], (64, 64, 9), ["width 1 -> 64"]),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "shape", "lines"), ADJUSTED)
@pytest.mark.parametrize("workflow", BOTH)
def test_odd_sizes_and_lengths_are_adjusted_reported_and_kept_in_the_file(
    studio: Studio, workflow: str, settings: list[str], shape: tuple[int, int, int],
    lines: list[str],
) -> None:  # fmt: skip
    few = [] if workflow == T2V else ["steps=1", QUICK]
    result = studio.run(workflow, *settings, *few)
    facts = saved(result)
    assert (facts["width"], facts["height"], facts["frames"]) == shape
    (size,) = (one for one in result.ui.values() if "frame_rate" in one["ltx2"][0])
    kept = json.loads(read_metadata(Path(facts["path"]))["ltx2"])
    for line in lines:
        assert line in text_of([size])
        for said in (size["ltx2"][0], facts, kept):
            assert any(line in one for one in said["adjustments"]), said
    info = clip_info(Path(facts["path"]))
    assert (info.width, info.height) == shape[:2]
    assert kept["seed"] == 7 and kept["generation"] == "2.3" and kept["prompt"]


@pytest.mark.parametrize(("seconds", "rate"), [(nan, 24.0), (inf, 24.0), (5.0, nan)])
def test_a_length_that_is_no_number_is_one_sentence(seconds: float, rate: float) -> None:
    """A widget cannot hold it, but another node may hand it over."""
    with pytest.raises(LTX2Error, match="cannot be made"):
        LTX2Size.execute("1:1", "480p", seconds, rate, 64, 64)


def test_sizes_out_of_another_node_beyond_the_widgets_range_are_adjusted() -> None:
    output = LTX2Size.execute("custom", "720p", 1e12, 24.0, 10**9, -5)
    assert (output.args[0].shape.width, output.args[0].shape.height) == (16384, 64)
    assert len(output.ui["ltx2"][0]["adjustments"]) == 3
