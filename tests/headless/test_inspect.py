"""`ltx2 inspect`: the facts of every file of the collection; what is wrong with the wrong ones."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from checkpoint_files import derived
from golden import FOLDER
from ltx2_pack.headless.cli import main
from ltx2_pack.headless.inspect import inspect_file
from ltx2_pack.headless.tiny import write_tiny_models
from ltx2_pack.ltx_core.checkpoint.report import report_text

FILES = FOLDER / "loading" / "files"
EXPECTED: dict[str, Any] = json.loads((FILES / "expected.json").read_text("utf-8"))
ENTRIES = {name: value for name, value in EXPECTED.items() if not name.startswith("_")}
GOOD = {name: value for name, value in ENTRIES.items() if "error" not in value}
WRONG = {name: value for name, value in ENTRIES.items() if "error" in value}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_tiny_models(tmp_path_factory.mktemp("models"), "2.3", gemma_folder=True)


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run `ltx2 inspect --json`; return its exit code and the one object it prints."""
    code = main(["inspect", "--json", *arguments])
    return code, json.loads(capsys.readouterr().out)


def check_refusal(code: int, found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert code == 1
    assert found["error"] == expected["error"]
    for words in expected["must_mention"]:
        assert words.lower() in found["message"].lower()


@pytest.mark.golden
@pytest.mark.parametrize("name", GOOD)
def test_the_command_agrees_on_every_good_file(name, capsys):
    code, found = asked(capsys, str(FILES / name))
    assert code == 0
    for key, wanted in GOOD[name].items():
        actual = found.get(key)
        if key == "note":
            continue
        if key == "samples":
            check_samples(actual, wanted)
            continue
        if key == "quant" and wanted is not None:
            actual = {part: actual[part] for part in wanted}
        assert actual == wanted, key


def check_samples(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for key, wanted in expected.items():
        assert found[key]["shape"] == wanted["shape"]
        assert found[key]["first"] == pytest.approx(wanted["first"], abs=1e-4)
        # A thousandth of the sum of absolute values, which is about a quarter of the elements.
        rows, *columns = wanted["shape"]
        limit = 1e-3 * rows * (columns[0] if columns else 1) / 8
        assert found[key]["sum"] == pytest.approx(wanted["sum"], abs=limit)


@pytest.mark.golden
@pytest.mark.parametrize("name", WRONG)
def test_the_command_agrees_on_every_wrong_file(name, capsys):
    check_refusal(*asked(capsys, str(FILES / name)), WRONG[name])


@pytest.mark.golden
@pytest.mark.parametrize("number", range(len(EXPECTED["_derived"])))
def test_the_command_agrees_on_every_changed_file(number, tmp_path, capsys):
    change = EXPECTED["_derived"][number]
    path = derived(FILES / change["from"], tmp_path / Path(change["from"]).name, change)
    code, found = asked(capsys, str(path))
    if change["error"] is not None:
        check_refusal(code, found, change)
        return
    assert (code, found["role"]) == (0, change["loaded_as"])
    for words in change.get("must_mention", ()):
        assert words in found["problem"]


@pytest.mark.golden
@pytest.mark.parametrize("number", range(len(EXPECTED["_cross_checks"])))
def test_the_command_agrees_on_files_that_do_not_belong_together(number, capsys):
    check = EXPECTED["_cross_checks"][number]
    files = {role: str(FILES / name) for role, name in check["files"].items()}
    role = "transformer" if "transformer" in files else next(iter(files))
    arguments = [files.pop(role), "--as", role]
    for other, name in files.items():
        arguments += ["--with", f"{other}={name}"]
    check_refusal(*asked(capsys, *arguments), check)


@pytest.mark.golden
def test_files_that_belong_together_are_accepted(capsys):
    transformer = FILES / "checkpoints" / "ltx-2.3-22b-dev.safetensors"
    encoder = FILES / "text_encoders" / "gemma_3_12B_it.safetensors"
    code, _ = asked(capsys, str(transformer), "--with", f"text_encoder={encoder}")
    assert code == 0


@pytest.mark.golden
def test_a_role_nobody_knows_is_said_so(capsys):
    path = str(FILES / "checkpoints" / "ltx-2.3-22b-dev.safetensors")
    code, found = asked(capsys, path, "--with", f"banana={path}")
    assert (code, found["error"]) == (1, "bad_question")
    code, found = asked(capsys, path, "--as", "banana")
    assert (code, found["error"]) == (1, "wrong_role")
    lora = str(FILES / "loras" / "ltx-2.3-22b-ic-lora-union-control-ref0.5.safetensors")
    extras = str(FILES / "text_encoders" / "ltx-2-19b-embeddings_connector_dev_bf16.safetensors")
    assert asked(capsys, path, "--with", f"lora={lora}")[0] == 0
    code, found = asked(capsys, path, "--with", f"text_encoder_extras={extras}")
    assert (code, found["error"]) == (1, "generation_mismatch")


@pytest.mark.parametrize("role", ["checkpoint", "text_encoder", "text_encoder_folder",
                                  "latent_upscaler", "lora", "ic_lora"])  # fmt: skip
def test_every_role_has_facts_that_are_json_and_lines_that_name_it(models, role):
    facts = inspect_file(models[role])
    assert json.loads(json.dumps(facts)) == facts
    assert facts["problem"] is None
    assert facts["folder"] == models[role].parent.name
    text = report_text(facts)
    assert models[role].name in text
    assert f"models/{models[role].parent.name}" in text


def test_a_checkpoint_tells_its_parts_and_what_it_needs(models):
    facts = inspect_file(models["checkpoint"])
    assert (facts["role"], facts["version"], facts["blocks"]) == ("checkpoint", "2.3", 2)
    text = report_text(facts)
    assert "generation: 2.3 (from model version)" in text
    assert "video VAE" in text
    assert "6.86 MB" in text
    assert [need for need in facts["needs"] if "gemma_3_12B_it.safetensors" in need]
    assert all(need in text for need in facts["needs"])


def test_an_ic_lora_tells_its_factor(models):
    assert "reference is smaller by: 2" in report_text(inspect_file(models["ic_lora"]))


@pytest.mark.golden
def test_a_quantised_file_tells_how_it_is_stored():
    facts = inspect_file(FILES / "checkpoints" / "ltx-2.3-22b-distilled-fp8.safetensors")
    assert facts["quant"]["layers"] == 34
    assert "34 layers as float8_e4m3fn" in report_text(facts)
    assert "samples" not in facts


def test_a_file_that_is_not_there_is_said_on_one_channel_or_the_other(tmp_path, capsys):
    path = tmp_path / "absent.safetensors"
    assert inspect_file(path)["error"] == "not_found"
    assert main(["inspect", str(path)]) == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err.splitlines()[0]) == ("", "absent.safetensors is not there.")
    assert report_text(inspect_file(path)).startswith("absent.safetensors: refused")


def test_a_lora_is_compared_with_the_models_beside_it(models, tmp_path):
    assert "error" not in inspect_file(models["lora"])
    alone = tmp_path / "lora.safetensors"
    alone.write_bytes(models["lora"].read_bytes())
    assert "error" not in inspect_file(alone)  # nothing to compare it with


@pytest.mark.golden
def test_a_whole_models_folder_is_listed(capsys):
    code, found = asked(capsys, str(FILES))
    assert code == 0
    files = {name for name in ENTRIES if name.endswith((".safetensors", ".gguf"))}
    files = {name for name in files if not re.search(r"/gemma-3.*/", name)}
    assert files | {"text_encoders/gemma-3-12b-it-qat-q4_0-unquantized"} == {*found}
    assert found["wrong/html_page.safetensors"]["error"] == "html_page"
    assert found["vae/ltx-2.5-audio-vae-bf16.safetensors"]["role"] == "audio_vae"
    assert main(["inspect", str(FILES)]) == 0
    text = capsys.readouterr().out
    assert "html_page.safetensors: refused" in text
    assert "ltx-2.5-audio-vae-bf16.safetensors: an audio VAE" in text
