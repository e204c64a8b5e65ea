"""`ltx2 doctor`: what runs with a models folder, what is missing, what is wrong in it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import tensors_of
from golden import FOLDER
from layouts import diffusers, split
from ltx2_pack.headless.cli import main
from ltx2_pack.headless.doctor import WORKFLOWS, diagnosis, named_files
from ltx2_pack.headless.tiny import write_tiny_models
from safetensors.torch import save_file

FILES = FOLDER / "loading" / "files"
T2V = "LTX-2 1 Text to video"
V2V = "LTX-2 3 Video to video (IC-LoRA)"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_tiny_models(folder, "2.3", dev=True, gemma_folder=True)
    return folder


@pytest.fixture
def models(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "models"))


def asked(capsys: pytest.CaptureFixture[str], folder: Path) -> tuple[int, dict[str, Any]]:
    code = main(["doctor", str(folder), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_every_shipped_workflow_names_its_model():
    for path in WORKFLOWS.glob("*.json"):
        assert any(file.role == "checkpoint" for file in named_files(path)), path.name


def test_a_complete_folder_runs_everything(models, capsys):
    code, found = asked(capsys, models)
    assert code == 0
    assert {*found["workflows"]} == {path.stem for path in WORKFLOWS.glob("*.json")}
    for name, item in found["workflows"].items():
        assert item["ready"], (name, item)
        assert item["uses"]["model"].startswith("checkpoints/ltx-2.3-22b-")
    assert not any(found[key] for key in ("damaged", "pointers", "duplicates", "misplaced"))
    assert main(["doctor", str(models)]) == 0
    text = capsys.readouterr().out
    assert f"ready   {T2V}" in text
    assert "get " not in text


def test_what_is_missing_is_named_with_folder_size_and_link(models, capsys):
    (upscaler,) = (models / "latent_upscale_models").iterdir()
    upscaler.unlink()
    shutil.rmtree(models / "text_encoders")
    code, found = asked(capsys, models)
    assert code == 1
    missing = {file["name"]: file for file in found["workflows"][T2V]["missing"]}
    assert {*missing} == {"gemma_3_12B_it.safetensors", upscaler.name}
    gemma = missing["gemma_3_12B_it.safetensors"]
    assert (gemma["folder"], gemma["gigabytes"]) == ("text_encoders", 24.4)
    assert gemma["link"].startswith("https://huggingface.co/Comfy-Org/ltx-2/resolve/")
    assert main(["doctor", str(models)]) == 1
    assert "get gemma_3_12B_it.safetensors (24.4 GB) into models/text_encoders" in (
        capsys.readouterr().out
    )


def test_an_empty_folder_lacks_everything(tmp_path, capsys):
    code, found = asked(capsys, tmp_path)
    assert (code, found["files"]) == (1, 0)
    assert all(len(item["missing"]) >= 3 for item in found["workflows"].values())


def test_other_names_do_as_well(models):
    for path in [*(models / "checkpoints").iterdir()]:
        path.rename(path.with_name(f"my {path.name}"))
    found = diagnosis(models)["workflows"]
    assert found[T2V]["ready"]
    assert found[T2V]["uses"]["model"] == "checkpoints/my ltx-2.3-22b-distilled.safetensors"
    wired = found[f"{T2V}, wired"]["uses"]
    assert wired["model"] == "checkpoints/my ltx-2.3-22b-dev.safetensors"


def test_split_files_run_it_and_a_missing_one_is_named(models):
    (checkpoint,) = (models / "checkpoints").glob("*distilled*")
    names = split(checkpoint, models)
    shutil.rmtree(models / "checkpoints", ignore_errors=True)
    split_audio = models / "checkpoints" / names["audio_vae"]
    item = diagnosis(models)["workflows"][T2V]
    assert not split_audio.exists()
    assert [file["name"] for file in item["missing"]] == ["LTX23_audio_vae_bf16.safetensors"]
    assert item["uses"]["text_parts"].startswith("text_encoders/ltx-2.3_")
    assert item["uses"]["video_vae"] == f"vae/{names['video_vae']}"


def test_a_diffusers_folder_runs_it(models):
    (checkpoint,) = (models / "checkpoints").glob("*distilled*")
    (gemma,) = (path for path in (models / "text_encoders").iterdir() if path.is_dir())
    diffusers(checkpoint, gemma, models / "diffusion_models" / "theirs", "2.3")
    shutil.rmtree(models / "checkpoints")
    shutil.rmtree(models / "text_encoders")
    item = diagnosis(models)["workflows"][T2V]
    assert item["ready"]
    assert {item["uses"][key] for key in ("model", "text_encoder", "video_vae")} == {
        "diffusion_models/theirs"
    }


def test_equal_files_are_duplicates_and_files_of_equal_headers_are_not(models):
    (distilled,) = (models / "checkpoints").glob("*distilled*")
    (dev,) = (models / "checkpoints").glob("*dev*")
    assert distilled.stat().st_size == dev.stat().st_size
    assert diagnosis(models)["duplicates"] == []
    shutil.copy(dev, models / "diffusion_models.safetensors")
    assert diagnosis(models)["duplicates"] == [
        [f"checkpoints/{dev.name}", "diffusion_models.safetensors"]
    ]


def test_what_lies_where_no_list_looks_is_told(models):
    (upscaler,) = (models / "latent_upscale_models").iterdir()
    (models / "vae").mkdir()
    upscaler.rename(models / "vae" / upscaler.name)
    found = diagnosis(models)
    assert found["misplaced"] == {f"vae/{upscaler.name}": "models/latent_upscale_models"}


@pytest.mark.golden
def test_damaged_files_pointers_and_strangers_are_told_apart(capsys):
    _, found = asked(capsys, FILES)
    assert {*found["pointers"]} == {"wrong/lfs_pointer.safetensors"}
    assert "wrong/truncated.safetensors" in found["damaged"]
    assert "wrong/sd15.safetensors" in found["others"]
    assert "vae_approx/taeltx2_3.safetensors" in found["useless"]
    main(["doctor", str(FILES)])
    text = capsys.readouterr().out
    for title in ("damaged:", "Git LFS pointers:", "of other models:", "of no use here:"):
        assert title in text


def test_a_damaged_file_makes_nothing_ready(models):
    for path in (models / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:-10])
    found = diagnosis(models)
    assert len(found["damaged"]) == 2
    assert not any(item["ready"] for item in found["workflows"].values())


def test_a_folder_that_is_not_there_is_refused(tmp_path, capsys):
    assert main(["doctor", str(tmp_path / "absent")]) == 1
    assert "is no folder" in capsys.readouterr().err


def test_several_that_fit_are_left_to_the_user(models):
    (checkpoint,) = (models / "checkpoints").glob("*distilled*")
    names = split(checkpoint, models)
    shutil.copy(models / "vae" / names["video_vae"], models / "vae" / "another.safetensors")
    for path in (models / "checkpoints").glob("ltx-*"):
        path.unlink()
    item = diagnosis(models)["workflows"][T2V]
    assert not item["ready"]
    assert "another.safetensors" in item["problems"][0]
    assert tensors_of(models / "vae" / "another.safetensors")[0]


def test_a_model_of_another_generation_asks_for_its_own_files(tmp_path):
    write_tiny_models(tmp_path, "2.0")
    (tmp_path / "latent_upscale_models" / "ltx-2-spatial-upscaler-x2-1.0.safetensors").unlink()
    item = diagnosis(tmp_path)["workflows"][T2V]
    assert [file["name"] for file in item["missing"]] == [
        "ltx-2-spatial-upscaler-x2-1.0.safetensors"
    ]


def test_a_file_of_nothing_is_counted(tmp_path):
    save_file({"x": torch.ones(1)}, tmp_path / "x.safetensors")
    found = diagnosis(tmp_path)
    assert found["files"] == 1
    assert "x.safetensors" in found["others"]


def test_another_model_than_the_workflow_names_is_said(models):
    (models / "checkpoints" / "ltx-2.3-22b-dev.safetensors").unlink(missing_ok=True)
    found = diagnosis(models)["workflows"]
    guided = found["LTX-2 1 Text to video, wired"]
    assert guided["uses"]["model"] == "checkpoints/ltx-2.3-22b-distilled.safetensors"
    (note,) = guided["notes"]
    assert "ltx-2.3-22b-dev.safetensors" in note
    assert "do not fit" in note
    assert found["LTX-2 1 Text to video"]["notes"] == []
