"""Files by role, media that come in, results that go out."""

import json
import shutil
import struct
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from golden import FOLDER
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.nodes.host import files
from ltx2_pack.nodes.host.standin.host import Host, hosted

SAMPLES = FOLDER / "loading" / "files"
CHECKPOINT = "ltx-2.3-22b-dev.safetensors"
NOON = datetime(2026, 3, 4, 15, 6, 7, tzinfo=timezone.utc)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Four empty folders."""
    folders = {name: tmp_path / name for name in ("models", "input", "output", "temp")}
    for folder in folders.values():
        folder.mkdir()
    models = (folders.pop("models"),)
    with hosted(Host(models=models, **folders)) as host:
        yield host


def put(host: Host, sample: str, *places: str) -> None:
    """Copy a small sample file into folders below the models folder."""
    for place in places:
        goal = host.models[0] / place
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SAMPLES / sample, goal)


def test_files_are_listed_by_what_they_are_not_by_where_they_lie(host: Host) -> None:
    put(host, f"checkpoints/{CHECKPOINT}", "checkpoints/sub/a.safetensors", "unet/B.safetensors")
    put(host, "vae/ltx-2.5-audio-vae-bf16.safetensors", "checkpoints/sound.safetensors")
    (host.models[0] / "checkpoints" / "notes.txt").write_text("no model")
    (host.models[0] / "checkpoints" / "damaged.safetensors").write_bytes(b"no model either")
    assert files.choices("checkpoint") == ["B.safetensors", "sub/a.safetensors"]
    everything = ["B.safetensors", "sound.safetensors", "sub/a.safetensors"]
    assert files.choices("audio_vae") == everything
    assert files.choices("text_encoder") == [files.nothing_there("text_encoder")]
    assert files.find("checkpoint", "sub\\a.safetensors").is_file()


@pytest.mark.parametrize("folder", ["unet", "diffusion_models", "checkpoints/sub"])
def test_a_gguf_file_is_listed_wherever_people_put_it(host: Host, folder: str) -> None:
    put(host, "unet/LTX-2.5-Distilled-Q8_0.gguf", f"{folder}/Model.GGUF")
    (value,) = files.choices("checkpoint")
    assert value.endswith("Model.GGUF")
    assert files.facts(files.find("checkpoint", value)).gguf_types == {
        "BF16": 36, "F32": 120, "Q8_0": 21,
    }  # fmt: skip


def test_the_same_path_in_a_second_folder_carries_its_folder(host: Host) -> None:
    name = "x.safetensors"
    put(
        host,
        f"checkpoints/{CHECKPOINT}",
        f"checkpoints/{name}",
        f"diffusion_models/{name}",
        f"unet/{name}",
    )
    listed = files.choices("checkpoint")
    assert listed == [name, f"{name} [diffusion_models]", f"{name} [unet]"]
    places = [files.find("checkpoint", value).parent.name for value in listed]
    assert places == ["checkpoints", "diffusion_models", "unet"]


def test_two_folders_of_one_name_are_told_apart_by_more_of_their_path(tmp_path: Path) -> None:
    roots = (tmp_path / "one", tmp_path / "two")
    for root in roots:
        (root / "loras").mkdir(parents=True)
        shutil.copy(SAMPLES / "loras" / "style_kohya.safetensors", root / "loras" / "s.safetensors")
    with hosted(Host(models=roots)):
        assert files.choices("lora") == ["s.safetensors", "s.safetensors [two/loras]"]
        assert files.find("lora", "s.safetensors [two/loras]").parts[-3] == "two"


def test_a_folder_of_shards_is_one_choice(host: Host) -> None:
    name = "gemma-3-12b-it-qat-q4_0-unquantized"
    shutil.copytree(SAMPLES / "text_encoders" / name, host.models[0] / "clip" / name)
    assert files.choices("text_encoder") == [name]
    assert files.find("text_encoder", name).is_dir()


def test_links_that_lead_back_end(host: Host) -> None:
    put(host, f"checkpoints/{CHECKPOINT}", "checkpoints/a.safetensors")
    (host.models[0] / "checkpoints" / "loop").symlink_to(host.models[0] / "checkpoints")
    assert files.choices("checkpoint") == ["a.safetensors"]


@pytest.mark.parametrize("role", sorted(files.ROLES))
def test_an_empty_list_says_what_is_missing_in_its_first_eighteen_characters(
    host: Host, role: str
) -> None:
    (sentence,) = files.choices(role)
    assert sentence == files.nothing_there(role)
    assert len(sentence.split(":")[0]) <= 18 and sentence.startswith("no ")
    assert not files.is_file(role, sentence)
    with pytest.raises(LTX2Error) as caught:
        files.find(role, sentence)
    assert caught.value.needed and caught.value.where.startswith("models/")


@pytest.mark.parametrize(
    "value", ["gone.safetensors", "../models/checkpoints/a.safetensors", "a.safetensors [unet]"]
)
def test_a_file_that_is_not_there_is_an_error_with_its_place(host: Host, value: str) -> None:
    put(host, f"checkpoints/{CHECKPOINT}", "checkpoints/a.safetensors")
    with pytest.raises(LTX2Error, match="models/checkpoints"):
        files.find("checkpoint", value)


@pytest.mark.parametrize("value", ["", ".", "/", "x" * 5000, "a\0b", "sub"])
def test_what_is_no_file_at_all_is_not_there(host: Host, value: str) -> None:
    put(host, f"checkpoints/{CHECKPOINT}", "checkpoints/sub/a.safetensors")
    for look in (lambda: files.find("checkpoint", value), lambda: files.input_file(value)):
        with pytest.raises(LTX2Error, match="not there"):
            look()


def test_a_folder_that_cannot_be_made_is_a_sentence(host: Host) -> None:
    (host.output / "taken").touch()
    with pytest.raises(LTX2Error, match="cannot be written to"):
        files.output_path("taken/x", ".mp4")


def test_a_script_may_name_a_model_by_its_whole_path(host: Host) -> None:
    path = SAMPLES / "checkpoints" / CHECKPOINT
    assert files.find("checkpoint", str(path)) == path


def test_a_problem_with_a_value_is_found_from_the_header(host: Host) -> None:
    put(host, f"checkpoints/{CHECKPOINT}", "checkpoints/good.safetensors", "vae/good.safetensors")
    put(host, "vae/ltx-2.5-audio-vae-bf16.safetensors", "vae/sound.safetensors")
    assert files.problem("checkpoint", "good.safetensors") == ""
    assert "audio VAE" in files.problem("video_vae", "sound.safetensors")
    assert "not there" in files.problem("video_vae", "gone.safetensors")


def test_a_file_exchanged_under_its_name_is_looked_at_again(host: Host) -> None:
    put(host, f"checkpoints/{CHECKPOINT}", "checkpoints/a.safetensors")
    assert files.choices("checkpoint") == ["a.safetensors"]
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path = host.models[0] / "checkpoints" / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    assert files.choices("checkpoint") == [files.nothing_there("checkpoint")]


def test_auto_takes_the_upscaler_and_the_lora_of_the_generation(host: Host) -> None:
    upscaler = "latent_upscale_models/ltx-2.5-latent-spatial-upscaler-x2-bf16-1.0.safetensors"
    lora = "loras/ltx-2.5-22b-distilled-lora-450-bf16.safetensors"
    put(
        host,
        upscaler,
        upscaler,
        "latent_upscale_models/ltx-2.3-spatial-upscaler-x2-1.1.safetensors",
    )
    put(host, upscaler, "latent_upscale_models/ltx-2.3-spatial-upscaler-x2-1.0.safetensors")
    put(host, lora, lora, "loras/other.safetensors")
    found = files.only_upscaler("2.3"), files.only_upscaler("2.5"), files.only_distilled_lora("2.5")
    assert [path and path.name for path in found] == [
        "ltx-2.3-spatial-upscaler-x2-1.1.safetensors", Path(upscaler).name, Path(lora).name,
    ]  # fmt: skip
    assert files.only_upscaler("2.0") is None
    assert files.only_distilled_lora("2.0") is None


def test_media_come_from_the_input_folder_or_by_whole_path(host: Host, tmp_path: Path) -> None:
    for name in ("a.png", "b.mp4", "c.wav"):
        (host.input / name).write_bytes(b"x")
    (host.output / "d.png").write_bytes(b"x")
    assert files.input_choices("image") == ["a.png"]
    assert files.input_choices("audio", "video") == ["b.mp4", "c.wav"]
    assert files.input_file("a.png") == host.input / "a.png"
    assert files.input_file("d.png [output]") == host.output / "d.png"
    assert files.input_file(str(tmp_path / "input" / "c.wav")) == host.input / "c.wav"
    for name in ("gone.png", "", "../output/d.png"):
        with pytest.raises(LTX2Error, match="input folder"):
            files.input_file(name)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("clip", "clip_00001_.mp4"),
        ("video/LTX-2", "video/LTX-2_00001_.mp4"),
        ("video\\LTX-2", "video/LTX-2_00001_.mp4"),
        ("%date:yyyy-MM-dd%/%width%x%height%", "2026-03-04/640x352_00001_.mp4"),
        ("%date:yy-M-d h:mm:ss%", "26-3-4 15_06_07_00001_.mp4"),
        ("%year%%month%%day%-%hour%%minute%%second%", "20260304-150607_00001_.mp4"),
        ("50% done?", "50% done__00001_.mp4"),
    ],
)
def test_prefixes_are_filled_here_and_not_by_the_browser(
    host: Host, prefix: str, expected: str
) -> None:
    path, name, subfolder = files.output_path(prefix, ".mp4", width=640, height=352, now=NOON)
    assert path.relative_to(host.output).as_posix() == expected
    assert path.parent.is_dir()
    assert (Path(subfolder) / name).as_posix() == expected


def test_results_are_numbered_on(host: Host) -> None:
    for name in ("a_00007_.mp4", "a_00002_.png", "ab_00099_.mp4", "a_b_00050_.mp4"):
        (host.output / name).touch()
    assert files.output_path("a", ".mp4")[1] == "a_00008_.mp4"


@pytest.mark.parametrize(
    "prefix", ["../x", "/elsewhere/x", "a/../../x", "", "folder/", "..", "\\..\\..\\x"]
)
def test_a_prefix_that_leads_out_of_the_output_folder_is_refused(host: Host, prefix: str) -> None:
    before = sorted(host.output.parent.rglob("*"))
    if prefix == "folder/":
        assert files.output_path(prefix, ".mp4")[1] == "folder_00001_.mp4"
        return
    with pytest.raises(LTX2Error, match=r"out of the output folder|is empty"):
        files.output_path(prefix, ".mp4")
    assert sorted(host.output.parent.rglob("*")) == before


def test_temporary_files_have_names_of_their_own(host: Host) -> None:
    one, two = files.temp_path("preview", ".png"), files.temp_path("preview", ".png")
    assert one[0] != two[0]
    assert one[0].parent == host.temp


def test_without_metadata_nothing_is_to_be_written() -> None:
    with hosted(Host(metadata=False)):
        assert not files.metadata_enabled()
    assert files.metadata_enabled()
