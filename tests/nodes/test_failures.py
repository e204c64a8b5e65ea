"""The command line on shipped workflows when something is in the way: exit codes and last lines."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import tensors_of
from live import ROOT
from ltx2_pack.headless.cli import main
from ltx2_pack.headless.tiny import NAMES, write_tiny_models
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.ltx_core.media.reader import clip_info
from safetensors.torch import save_file
from studio import I2V, SMALL, T2V, V2V, WORKFLOWS, NewStudio, Studio, linked_models, replaced
from torch.utils._python_dispatch import TorchDispatchMode

Capture = pytest.CaptureFixture[str]
START = (
    f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); import conftest;"
    "from ltx2_pack.headless.cli import main; sys.exit(main(sys.argv[1:]))"
)


def command(
    workflow: str, models: Path, inputs: Path, output: Path, *settings: str,
    size: tuple[str, ...] = SMALL,
) -> list[str]:  # fmt: skip
    folders = ["--models", models, "--input", inputs, "--output", output, "--device", "cpu"]
    options = [word for setting in (*size, *settings) for word in ("--set", setting)]
    return ["run", str(WORKFLOWS / f"{workflow}.json"), *map(str, folders), *options]


def child(arguments: list[str], **more: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", START, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, **more,
    )  # fmt: skip


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def last_lines(text: str) -> list[str]:
    """Return the lines after the last bar."""
    return text.replace("\r", "\n").split("it/s]")[-1].strip().splitlines()


@pytest.mark.parametrize("workflow", [I2V, f"{V2V}, wired"])
def test_long_and_foreign_paths_are_paths_like_others(
    tmp_path: Path, models_23: Path, media: Path, capsys: Capture, workflow: str
) -> None:
    deep = tmp_path.joinpath(
        "Vidéos 日本語 🦊 %d", *[f"{number:02}" + "ü" * 40 for number in range(4)]
    )
    models = linked_models(deep / "mödels & co", models_23)
    inputs = deep / "ein: 100 %"
    inputs.mkdir(parents=True)
    for file in media.iterdir():
        (inputs / file.name).symlink_to(file)
    output = deep / "außen"
    assert main(command(workflow, models, inputs, output, "filename_prefix=фильм/кадр 1")) == 0
    (path,) = map(Path, capsys.readouterr().out.splitlines())
    assert path == output / "фильм" / "кадр 1_00001_.mp4"
    assert clip_info(path).frames == 9


def test_an_output_folder_that_is_a_file_is_found_before_anything_runs(
    tmp_path: Path, models_23: Path, media: Path, capsys: Capture
) -> None:
    (tmp_path / "taken").touch()
    for workflow in (T2V, f"{T2V}, wired"):
        for output in (tmp_path / "taken", tmp_path / "taken" / "below"):
            assert main(command(workflow, models_23, media, output)) == 1
            shown = capsys.readouterr()
            assert shown.out == "" and "Traceback" not in shown.err
            assert "cannot be written to: taken is a file." in shown.err
            assert "[1/" not in shown.err and last_lines(shown.err)[-1].startswith("Where: ")
    assert files_below(tmp_path) == [tmp_path / "taken"]


@pytest.mark.parametrize("prefix", ["../x", "/elsewhere/x", "", "a/../../x"])
def test_a_prefix_out_of_the_output_folder_is_found_before_anything_runs(
    studio: Studio, prefix: str
) -> None:
    with pytest.raises(LTX2Error, match="filename_prefix"):
        studio.run(T2V, f"filename_prefix={prefix}")
    assert not studio.host.placed and not studio.written()


def test_a_folder_taken_away_meanwhile_costs_only_the_saving(studio: Studio) -> None:
    prompt = studio.prompt(T2V)
    executed: list[str] = []

    def begins(_number: int, _total: int, name: str) -> None:
        executed.append(name)
        if name == "LTX-2 Save Video" and not studio.written():
            (studio.host.output / "video").touch()

    with pytest.raises(LTX2Error) as caught:
        studio.runner.run(prompt, on_node=begins)
    assert caught.value.code == "cannot_write"
    assert studio.written() == ["output/video"] and not studio.host.at_work
    (studio.host.output / "video").unlink()
    executed.clear()
    studio.runner.run(prompt, on_node=lambda _n, _t, name: executed.append(name))
    assert executed == ["LTX-2 Save Video"]
    assert studio.written() == ["output/video/LTX-2_00001_.mp4"]


def test_a_full_disk_is_said_and_leaves_no_file(
    tmp_path: Path, models_23: Path, media: Path
) -> None:
    output = tmp_path / "output"
    process = child(
        command(I2V, models_23, media, output),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)),
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, err[-2000:]
    assert out == "" and "Traceback" not in err
    what, needed, where = last_lines(err)[-3:]
    assert "LTX-2_00001_.mp4 could not be written: the file became larger" in what
    assert needed.startswith("Needed: ") and where == f"Where: {output / 'video'}"
    assert files_below(output) == []


def test_ctrl_c_while_the_model_runs_ends_with_one_line(
    tmp_path: Path, models_23: Path, media: Path
) -> None:
    output = tmp_path / "output"
    large = ("aspect_ratio=custom", "width=512", "height=512", "duration=10", "steps=200")
    process = child(command(T2V, models_23, media, output, size=large))
    assert process.stderr is not None
    seen = ""
    while "stage 1" not in seen:
        character = process.stderr.read(1)
        assert character, seen
        seen += character
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err[-2000:]
    assert out == "" and "Traceback" not in seen + err
    assert err.strip().splitlines()[-1] == "cancelled"
    assert files_below(output) == []


@pytest.mark.parametrize(
    ("workflow", "setting", "words"),
    [
        (f"{T2V}, wired", "schedule=distilled", ["2 nodes", "Stage 1, half size.schedule"]),
        (V2V, "frame_rate=25", ["2 nodes", "LTX-2 Size.frame_rate"]),
        (T2V, "colour=red", ["no value called colour", "unet_name"]),
        (T2V, "seed=many", ["'many' is no value for LTX-2 Generate.seed"]),
        (T2V, "seed=-1", ["LTX-2 Generate.seed: -1 is less than 0"]),
        (T2V, "recipe=best", ["There is no recipe called best", "draft, fast, pro, ultra"]),
        (T2V, "recipe=ultra", ["The recipe ultra is not available yet"]),
        (T2V, "aspect_ratio=5:4", ["'5:4' is none of: 16:9"]),
        (T2V, "width=nan", ["'nan' is no value"]),
        (T2V, "duration=nan", ["LTX-2 Size.duration: nan is no number"]),
        (T2V, "duration=inf", ["LTX-2 Size.duration: inf is no number"]),
        (T2V, "unet_name=nothing.safetensors", ["nothing.safetensors is not there"]),
    ],
)
def test_values_that_cannot_be_taken_end_with_one_and_no_trace(
    tmp_path: Path, models_23: Path, media: Path, capsys: Capture, workflow: str, setting: str,
    words: list[str],
) -> None:  # fmt: skip
    output = tmp_path / "output"
    assert main(command(workflow, models_23, media, output, setting)) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and "Traceback" not in shown.err
    assert all(word in shown.err for word in words), shown.err
    assert not output.exists()


#: Operations that make new tensors; those by which files are read are not among them.
MAKING = {"add", "addmm", "bmm", "cat", "clone", "convolution", "mm", "mul", "sub", "div"}


class NoRoomAt(TorchDispatchMode):
    """Lets the `number`th operation that makes a tensor find no memory."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.left = number

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.left -= func.overloadpacket.__name__ in MAKING
        if self.left == 0 and func.overloadpacket.__name__ in MAKING:
            raise torch.OutOfMemoryError("Tried to allocate 2.00 GiB.\nsecond line")
        return func(*args, **(kwargs or {}))


def operations(studio: Studio, prompt: dict[str, Any]) -> int:
    counting = NoRoomAt(0)
    with counting:
        studio.runner.run(prompt)
    return -counting.left


def test_memory_that_does_not_suffice_is_said_and_the_next_run_is_the_same(
    new_studio: NewStudio,
) -> None:
    calm = new_studio(name="calm", metadata=False)
    prompt = calm.prompt(I2V, "steps=1")
    count = operations(calm, prompt)
    (name,) = calm.written()
    studio = new_studio(name="disturbed", metadata=False)
    failures = 0
    for share in range(1, 8):
        try:
            with NoRoomAt(count * share // 8):
                studio.runner.run(prompt)
        except torch.OutOfMemoryError:
            failures += 1
        except LTX2Error as error:
            assert error.code == "out_of_memory"
            failures += 1
        else:
            break  # what was finished is kept, so later runs are shorter
        assert studio.written() == [] and studio.host.at_work == []
    assert failures >= 4
    studio.runner.run(prompt)
    assert (studio.folder / name).read_bytes() == (calm.folder / name).read_bytes()


def test_the_command_line_says_that_memory_did_not_suffice(
    tmp_path: Path, models_23: Path, media: Path, capsys: Capture
) -> None:
    with NoRoomAt(1000):
        assert main(command(T2V, models_23, media, tmp_path / "output")) == 1
    shown = capsys.readouterr()
    assert "The memory did not suffice: Tried to allocate 2.00 GiB." in shown.err
    assert "Needed: a smaller size" in shown.err and "Traceback" not in shown.err
    assert files_below(tmp_path / "output") == []


def test_weights_that_are_no_numbers_are_named_and_a_file_put_right_is_read(
    new_studio: NewStudio, tmp_path: Path, models_23: Path
) -> None:
    name = NAMES["2.3"]["checkpoint"]
    models = linked_models(tmp_path / "models", models_23)
    tensors, metadata = tensors_of(models_23 / name)
    key = "model.diffusion_model.transformer_blocks.1.attn1.to_v.weight"
    torn = {**tensors, key: torch.full_like(tensors[key], float("nan"))}
    save_file(torn, replaced(models, name, b""), metadata)
    studio = new_studio(models)
    with pytest.raises(LTX2Error) as caught:
        studio.run(T2V)
    assert caught.value.code == "not_finite"
    assert Path(name).name in caught.value.what and "attn1.to_v" in caught.value.what
    assert studio.written() == [] and not studio.host.at_work
    replaced(models, name, models_23 / name)
    studio.run(T2V)
    assert len(studio.written()) == 1


def test_a_model_exchanged_between_two_runs_is_read_again(
    new_studio: NewStudio, tmp_path: Path, models_23: Path
) -> None:
    models = linked_models(tmp_path / "models", models_23)
    studio = new_studio(models, metadata=False)
    prompt = studio.prompt(T2V, "steps=1")
    studio.runner.run(prompt)
    other = write_tiny_models(tmp_path / "other", "2.3", seed=5)["checkpoint"]
    replaced(models, NAMES["2.3"]["checkpoint"], other)
    studio.runner.run(prompt)
    first, second = ((studio.folder / name).read_bytes() for name in studio.written())
    assert first != second
