"""What nodes say before a run: every validator, lists of empty and of broken folders."""

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ltx2_pack.headless.runner import Runner
from ltx2_pack.headless.schema import inputs_of
from ltx2_pack.headless.tiny import NAMES
from ltx2_pack.ltx_core.errors import LTX2Error
from ltx2_pack.nodes import FAMILIES, all_nodes, nodes_of
from ltx2_pack.nodes.host.standin import io
from ltx2_pack.nodes.host.standin.host import Host, hosted
from ltx2_pack.nodes.host.standin.io import node_info, overrides
from studio import NewStudio, Studio, linked_models, replaced

NODES = {node.define_schema().node_id: node for node in all_nodes()}
VALIDATED = {name: node for name, node in NODES.items() if overrides(node, "validate_inputs")}
STAMPED = {name: node for name, node in NODES.items() if overrides(node, "fingerprint_inputs")}
CHECKPOINT = Path(NAMES["2.3"]["checkpoint"]).name
LORA = Path(NAMES["2.3"]["lora"]).name
UPSCALER = Path(NAMES["2.3"]["latent_upscaler"]).name
#: input -> a value that is good, values that are not, and a word of what is said of them.
VALUES: dict[str, tuple[Any, list[Any], str]] = {
    "unet_name": (CHECKPOINT, ["none.safetensors", "auto", "none", "", 5, UPSCALER], ""),
    "clip_name": ("gemma_3_12B_it.safetensors", ["none.safetensors", "auto", "", True], ""),
    "video_vae": (CHECKPOINT, ["none.safetensors", "none", "", 1.5, []], ""),
    "audio_vae": (CHECKPOINT, ["none.safetensors", "none", "", {}], ""),
    "upscale_model": (UPSCALER, ["none.safetensors", "none", "", 0], ""),
    "text_parts": (CHECKPOINT, ["none.safetensors", "none", "", 5], ""),
    "distilled_lora": (LORA, ["none.safetensors", "", 7], ""),
    "lora_name": (LORA, ["none.safetensors", "auto", "", 7], ""),
    "stg_blocks": ("14, 19", ["28-30", "x", ",", "-1", "1.5"], "stg_blocks"),
    "recipe": ("fast", ["ultra", "best", ""], "recipe"),
    "filename_prefix": ("video/LTX-2", ["../x", "/x", "", "taken/x"], "filename_prefix"),
    "context_file": ("saved.safetensors", ["none.safetensors", "", "../x"], "input folder"),
}


@pytest.fixture
def host(tmp_path: Path, models_23: Path) -> Iterator[Host]:
    for name in ("input", "output", "temp"):
        (tmp_path / name).mkdir()
    (tmp_path / "output" / "taken").touch()
    (tmp_path / "input" / "saved.safetensors").touch()
    folders = {name: tmp_path / name for name in ("input", "output", "temp")}
    with hosted(Host(models=(models_23,), **folders)) as host:
        yield host


def named(node: type[io.ComfyNode]) -> set[str]:
    return set(inspect.signature(node.validate_inputs).parameters)


def test_every_list_of_files_and_every_prefix_is_checked_by_us() -> None:
    assert len(VALIDATED) >= 13
    for name, node in NODES.items():
        for entry in inputs_of(node_info(node)):
            if entry.is_widget and entry.name in VALUES:
                assert name in VALIDATED and entry.name in named(node), (name, entry.name)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("name", VALIDATED)
def test_a_linked_input_is_not_judged(name: str) -> None:
    node = VALIDATED[name]
    inputs = named(node)
    assert inputs and inputs <= VALUES.keys()
    assert node.validate_inputs() is True
    assert node.validate_inputs(**dict.fromkeys(inputs)) is True
    for one in inputs:  # the others are linked
        assert node.validate_inputs(**{one: VALUES[one][0]}) is True, one


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("name", VALIDATED)
def test_a_named_input_is_still_checked(name: str) -> None:
    node = VALIDATED[name]
    for one in named(node):
        good, bad, word = VALUES[one]
        for value in bad:
            said = node.validate_inputs(**{one: value})
            assert isinstance(said, str) and said and word in said, (one, value, said)
        others = {other: VALUES[other][0] for other in named(node)}
        assert node.validate_inputs(**others | {one: good}) is True


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("LTX2Load", {"video_vae": "auto", "audio_vae": "auto", "upscale_model": "auto"}),
        ("LTX2Load", {"distilled_lora": "auto"}),
        ("LTX2Load", {"distilled_lora": "none"}),
        ("LTX2LoadLora", {"lora_name": "none"}),
        ("LTX2Bundle", {"distilled_lora": "none"}),
    ],
)
def test_words_that_are_no_files_can_be_chosen_where_they_are_offered(
    name: str, chosen: dict[str, str]
) -> None:
    assert NODES[name].validate_inputs(**chosen) is True
    offered = {entry.name: entry.choices for entry in inputs_of(node_info(NODES[name]))}
    assert all(value in (offered[one] or ()) for one, value in chosen.items())


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("name", VALIDATED)
def test_ranges_of_other_inputs_stay_checked_by_the_host(name: str) -> None:
    """A validator that took every input would switch all checks of the server off."""
    parameters = inspect.signature(VALIDATED[name].validate_inputs).parameters.values()
    assert all(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in parameters)
    for entry in inputs_of(node_info(VALIDATED[name])):
        if entry.name in named(VALIDATED[name]):
            assert "min" not in entry.options and "max" not in entry.options


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("name", STAMPED)
def test_a_fingerprint_says_which_state_of_a_file_it_is(name: str, models_23: Path) -> None:
    node = STAMPED[name]
    info = {
        entry.name: VALUES[entry.name][0]
        for entry in inputs_of(node_info(node))
        if entry.is_widget and entry.name in VALUES and entry.name != "filename_prefix"
    }
    first = node.fingerprint_inputs(**info)
    assert repr(first) == repr(node.fingerprint_inputs(**info))
    everything = dict.fromkeys(entry.name for entry in inputs_of(node_info(node)))
    node.fingerprint_inputs(**everything)  # all linked
    for one, value in info.items():
        if one == "context_file":
            continue
        path = next(models_23.rglob(value))
        before = path.stat()
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        try:
            assert repr(node.fingerprint_inputs(**info)) != repr(first), one
        finally:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


COMBOS = [
    (name, entry.name)
    for name, node in NODES.items()
    for entry in inputs_of(node_info(node))
    if entry.choices is not None and entry.name in VALUES and entry.name != "recipe"
]


@pytest.mark.parametrize(("name", "input"), COMBOS)
def test_an_empty_folder_is_a_list_of_one_sentence(tmp_path: Path, name: str, input: str) -> None:
    with hosted(Host(models=(tmp_path / "models",), input=tmp_path)):
        choices = next(
            entry.choices for entry in inputs_of(node_info(NODES[name])) if entry.name == input
        )
        assert choices
        free = [choice for choice in choices if choice in ("auto", "none")]
        if free:
            assert [*choices] == free
            return
        (sentence,) = choices
        start, rest = sentence.split(": ")  # a list shows 18 characters and no more
        assert start.startswith("no ") and len(start) <= 18
        assert rest.startswith("put ") and "into models/" in rest
        said = NODES[name].validate_inputs(**{input: sentence})
        assert isinstance(said, str)
        what, needed, where = said.splitlines()
        assert what == f"There is {start}."
        assert needed.startswith("Needed: ") and where.startswith("Where: models/")


def test_an_empty_folder_runs_into_the_sentence_not_into_a_trace(
    new_studio: NewStudio, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    studio = new_studio(tmp_path / "empty")
    prompt = studio.prompt("LTX-2 1 Text to video, wired")
    for node in prompt.values():
        for entry in inputs_of(studio.runner.infos()[node["class_type"]]):
            if entry.choices and entry.name in VALUES and entry.name != "recipe":
                node["inputs"][entry.name] = entry.choices[0]
    with pytest.raises(LTX2Error) as caught:
        studio.run(prompt)
    lines = str(caught.value)
    for words in ("no LTX-2 model", "no text encoder", "no LTX video VAE", "no latent upscaler"):
        assert f"There is {words}." in lines
    assert "gemma_3_12B_it.safetensors" in lines and "models/text_encoders" in lines


def broken(folder: Path) -> None:
    """Fill models folders with what should not be there."""
    for kind in ("checkpoints", "diffusion_models", "text_encoders", "vae", "loras", "unet"):
        here = folder / kind
        here.mkdir(parents=True)
        (here / "empty.safetensors").touch()
        (here / "page.safetensors").write_bytes(b"<html>sign in</html>")
        (here / "pointer.sft").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
        (here / "header.safetensors").write_bytes(b"\xff" * 8 + b"{" * 50)
        (here / "nested.safetensors").write_bytes((9).to_bytes(8, "little") + b'{"a":1234')
        (here / "list.safetensors").write_bytes((8).to_bytes(8, "little") + b'{"a":[]}')
        (here / "gone.safetensors").symlink_to(here / "nowhere")
        (here / "loop").symlink_to(here)
        (here / "folder.safetensors").mkdir()
        (here / "shards").mkdir()
        (here / "shards" / "config.json").write_text("{")
        (here / "namé 日本 🦊.safetensors").write_bytes(b"PK\x03\x04")
        (here / "notes.txt").write_text("no model")
    (folder / "latent_upscale_models").write_text("a file, not a folder")


def test_schemas_are_made_whatever_lies_in_the_folders(
    tmp_path: Path, models_23: Path, new_studio: NewStudio
) -> None:
    broken(tmp_path / "broken")
    with hosted(Host(models=(tmp_path / "broken", tmp_path / "none"), input=tmp_path / "none")):
        for node in NODES.values():
            for entry in inputs_of(node_info(node)):
                if entry.choices is not None and entry.name in VALUES and entry.name != "recipe":
                    assert not any(".s" in str(c) and ":" not in str(c) for c in entry.choices)
    both = linked_models(tmp_path / "both", models_23)
    for kind in ("checkpoints", "loras"):
        replaced(both, f"{kind}/page.safetensors", b"<html>sign in</html>")
    with hosted(Host(models=(both,))):
        (first, *_) = inputs_of(node_info(NODES["LTX2Load"]))
        assert CHECKPOINT in (first.choices or ())
        assert "page.safetensors" not in (first.choices or ())
        said = NODES["LTX2Load"].validate_inputs(unet_name="page.safetensors")
        assert isinstance(said, str) and "HTML page" in said


def test_a_family_that_fails_leaves_the_others(caplog: pytest.LogCaptureFixture) -> None:
    assert nodes_of("no_such_family") == []
    assert "no no_such_family nodes" in caplog.text
    assert all(nodes_of(family) for family in FAMILIES)


def test_values_out_of_range_are_refused_beside_a_validator(studio: Studio) -> None:
    runner = Runner([*NODES.values()], studio.host)
    for settings, words in (
        (["steps=201"], "LTX-2 Generate.steps: 201 is more than 200"),
        (["quality=100"], "LTX-2 Save Video.quality: 100 is more than 99"),
        (["memory_budget=-1"], "LTX-2 Load.memory_budget: -1 is less than 0"),
        (["hold_weights=fp3"], "LTX-2 Load.hold_weights: 'fp3' is none of"),
        (["format=avi"], "LTX-2 Save Video.format: 'avi' is none of: mp4, webm, mov"),
    ):
        with pytest.raises(LTX2Error) as caught:
            runner.run(studio.prompt("LTX-2 1 Text to video", *settings))
        assert words in str(caught.value)
