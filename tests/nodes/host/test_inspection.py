"""`GET /ltx2/inspect`: what it answers, and what it never does."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from golden import FOLDER
from ltx2_pack.headless.tiny import write_tiny_models
from ltx2_pack.nodes.host import files
from ltx2_pack.nodes.host.inspection import answer
from ltx2_pack.nodes.host.standin.host import Host, hosted

NAME = "ltx-2.3-22b-distilled.safetensors"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    models = tmp_path / "models"
    write_tiny_models(models, "2.3")
    with hosted(Host(models=(models,))) as found:
        yield found


def good(status: int, body: dict[str, Any]) -> dict[str, Any]:
    assert status == 200
    return body


def test_a_file_is_told_as_the_command_tells_it(host: Host) -> None:
    body = good(*answer({"name": NAME, "role": "checkpoint"}))
    assert (body["path"], body["role"], body["version"]) == (NAME, "checkpoint", "2.3")
    assert body["text"].startswith(f"{NAME}: a checkpoint of several parts")
    assert "error" not in body
    assert good(*answer({"name": NAME}))["role"] == "checkpoint"


def test_the_wrong_role_says_what_the_validator_says(host: Host) -> None:
    root = host.models[0]
    (lora,) = (root / "loras").glob("*distilled*")
    shutil.copy(lora, root / "checkpoints" / "lora.safetensors")
    body = good(*answer({"name": "lora.safetensors", "role": "checkpoint"}))
    assert body["error"] == "wrong_role"
    assert body["message"] == files.problem("checkpoint", "lora.safetensors")


def test_a_damaged_file_says_what_the_validator_says(host: Host) -> None:
    path = host.models[0] / "checkpoints" / "cut.safetensors"
    path.write_bytes((path.parent / NAME).read_bytes()[:5000])
    body = good(*answer({"name": path.name, "role": "checkpoint"}))
    assert body["error"] == "truncated"
    assert body["message"] == files.problem("checkpoint", path.name)


def test_a_kind_of_folder_is_listed_with_the_wrong_files_in_it(host: Host) -> None:
    (host.models[0] / "checkpoints" / "empty.safetensors").write_bytes(b"")
    (host.models[0] / "checkpoints" / "notes.txt").write_text("x")
    body = good(*answer({"folder": "checkpoints"}))
    assert {*body["files"]} == {NAME, "empty.safetensors"}
    assert body["files"]["empty.safetensors"]["error"] == "empty"


@pytest.mark.parametrize("name", ["../secret.safetensors", "..\\secret.safetensors", "absolute",
                                  "sub/../../secret.safetensors"])  # fmt: skip
@pytest.mark.parametrize("role", ["checkpoint", None])
def test_nothing_outside_the_model_folders_is_told(host: Host, name: str, role: str | None) -> None:
    secret = host.models[0] / "secret.safetensors"
    shutil.copy(host.models[0] / "checkpoints" / NAME, secret)
    name = str(secret) if name == "absolute" else name
    status, body = answer({"name": name} | ({"role": role} if role else {}))
    assert (status, body["error"]) == (404, "not_found")


@pytest.mark.parametrize(
    "query", [{}, {"role": "checkpoint"}, {"name": NAME, "role": "x"}, {"folder": "../input"},
              {"folder": "custom_nodes"}],
)  # fmt: skip
def test_a_question_that_is_none_is_said_so(host: Host, query: dict[str, str]) -> None:
    status, body = answer(query)
    assert (status, body["error"]) == (400, "bad_question")


def test_a_file_that_is_not_there(host: Host) -> None:
    assert answer({"name": "absent.safetensors", "role": "lora"})[0] == 404


@pytest.mark.golden
def test_headers_are_read_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    source = FOLDER / "loading" / "files" / "checkpoints" / "ltx-2.3-22b-dev.safetensors"
    shutil.copy(source, host.models[0] / "checkpoints" / source.name)
    first = answer({"folder": "checkpoints"})
    opened: list[Path] = []
    really = Path.open

    def noted(self: Path, *arguments: Any, **more: Any) -> Any:
        opened.append(self)
        return really(self, *arguments, **more)

    monkeypatch.setattr(Path, "open", noted)
    assert answer({"folder": "checkpoints"}) == first
    assert not opened
