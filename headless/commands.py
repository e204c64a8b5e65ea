"""What the commands `run` and `demo` do."""

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..ltx_core.errors import LTX2Error
from ..nodes import all_nodes
from ..nodes.host.memory import out_of_memory
from ..nodes.host.standin.host import Host
from .cli import say, tell
from .client import Server, saved_files
from .convert import Prompt, is_api_format, to_api, with_values
from .core_nodes import NODES as CORE_NODES
from .runner import Result, Runner
from .schema import Infos
from .settings import settings_of, with_settings

#: What the demo's last line says of the clip, besides its path.
DEMO_FACTS = (
    "width", "height", "frames", "fps", "sample_rate", "samples", "seed", "seconds",
)  # fmt: skip
#: The workflow the demo runs.
DEMO_WORKFLOW = "LTX-2 1 Text to video.json"


def run(options: argparse.Namespace) -> int:
    """Run a workflow here or on a server; name every file that was written."""
    _show_log()
    workflow = read_workflow(options.workflow)
    if options.server:
        return _run_there(options, workflow)
    with tempfile.TemporaryDirectory(prefix="ltx2-") as temp:
        runner = Runner([*CORE_NODES, *all_nodes()], _host(options, Path(temp)))
        infos = runner.infos()
        prompt = with_settings(to_api(workflow, infos), infos, options.set)
        if options.list:
            for setting in settings_of(prompt, infos):
                say(str(setting))
            return 0
        result = _executed(runner, prompt, workflow)
    for path in written(result.ui, options.output):
        say(str(path))
    return 0


class _LogLines(logging.Handler):
    """Writes log lines above the bars that are on the terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def _show_log() -> None:
    """Show the lines of our own log, of others only warnings."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_LogLines()])
    logging.getLogger((__package__ or "").split(".")[0]).setLevel(logging.INFO)


def _run_there(options: argparse.Namespace, workflow: dict[str, Any]) -> int:
    server = Server(options.server)
    infos = server.infos()
    prompt = with_settings(to_api(workflow, infos), infos, options.set)
    if options.list:
        for setting in settings_of(prompt, infos):
            say(str(setting))
        return 0
    graph = None if is_api_format(workflow) else with_values(workflow, prompt, infos)
    prompt = server.upload_media(prompt, infos)
    outputs = server.run(prompt, workflow=graph, on_node=_announce)
    server.fetch(outputs, options.output)
    for path in written(outputs, options.output):
        say(str(path))
    return 0


def read_workflow(path: Path) -> dict[str, Any]:
    """Read a workflow file. Raises LTX2Error (not_found, not_a_workflow)."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise LTX2Error(
            f"{path} cannot be read: {error.strerror}.", needed="a workflow file", code="not_found"
        ) from None
    except ValueError:
        found = None
    if not isinstance(found, dict) or not found:
        raise LTX2Error(
            f"{path} is no workflow.",
            needed="a JSON file saved by ComfyUI (Save, or Export (API))",
            code="not_a_workflow",
        )
    return found


def _host(options: argparse.Namespace, temp: Path) -> Host:
    """Make the surroundings a run names. Raises LTX2Error inside ComfyUI's own Python path."""
    if find_spec("comfy_api"):
        raise LTX2Error(
            "Workflows cannot be run by hand where ComfyUI itself can be imported.",
            needed="--server with a running ComfyUI, or another folder to start from",
            code="inside_comfyui",
        )
    models = options.models or [Path("models")]
    for folder in models:
        if not folder.is_dir():
            raise LTX2Error(
                f"{folder} is no folder.",
                needed="a folder laid out like ComfyUI/models",
                where="--models",
                code="not_found",
            )
    return Host(
        models=tuple(models),
        input=options.input,
        output=options.output,
        temp=temp,
        metadata=not options.disable_metadata,
        device=_device(options.device),
    )


def _device(name: str | None) -> torch.device | None:
    if name is None:
        return None
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise LTX2Error(
            f"There is no device {name} here: {str(error).splitlines()[0]}",
            needed="cpu, cuda or cuda:N",
            where="--device",
            code="no_device",
        ) from None
    return device


def _announce(number: int, total: int, name: str) -> None:
    tell(f"[{number}/{total}] {name}")


def _executed(runner: Runner, prompt: Prompt, workflow: dict[str, Any]) -> Result:
    """Run a prompt; the files it saves carry the workflow with the values that were set."""
    extra = {}
    if not is_api_format(workflow):
        extra["workflow"] = with_values(workflow, prompt, runner.infos())
    try:
        return runner.run(prompt, extra_pnginfo=extra, on_node=_announce)
    except (out_of_memory, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _is_memory(error):
            raise
        raise LTX2Error(
            f"The memory did not suffice: {(str(error) or 'no room').splitlines()[0]}",
            needed="a smaller size, a shorter clip, or a smaller model file",
            code="out_of_memory",
        ) from error


def _is_memory(error: RuntimeError) -> bool:
    """Say whether an error is that of an allocation; on the processor only its text tells."""
    return isinstance(error, out_of_memory) or "can't allocate memory" in str(error)


def written(ui: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Path]:
    """Return the files nodes say they saved. Raises LTX2Error if one is not there, or empty."""
    paths = [folder / item["subfolder"] / item["filename"] for item in saved_files(ui)]
    for path in paths:
        if not path.is_file() or path.stat().st_size == 0:
            raise LTX2Error(f"{path} was not written.", code="not_written")
    return paths


def demo(options: argparse.Namespace) -> int:
    """Make a small clip from tiny random models; the last line is one JSON object about it."""
    from .tiny import write_tiny_models

    _show_log()
    models = options.output / "models" / options.generation
    write_tiny_models(models, options.generation)
    workflow = read_workflow(Path(__file__).parents[1] / "workflows" / DEMO_WORKFLOW)
    with tempfile.TemporaryDirectory(prefix="ltx2-") as temp:
        host = Host(models=(models,), output=options.output, temp=Path(temp))
        runner = Runner([*CORE_NODES, *all_nodes()], host)
        infos = runner.infos()
        prompt = _with_files_there_are(to_api(workflow, infos), infos)
        small = ["aspect_ratio=custom", "width=256", "height=256", "duration=1"]
        prompt = with_settings(prompt, infos, [*small, *options.set])
        result = _executed(runner, prompt, workflow)
    paths = written(result.ui, options.output)
    say(json.dumps(_facts(result, paths)))
    return 0


def _with_files_there_are(prompt: Prompt, infos: Infos) -> Prompt:
    """Choose the first entry of every list that lacks the workflow's file."""
    for setting in settings_of(prompt, infos):
        choices = setting.entry.choices
        if choices and setting.value not in choices:
            prompt[setting.node]["inputs"][setting.entry.name] = choices[0]
    return prompt


def _facts(result: Result, paths: list[Path]) -> dict[str, Any]:
    """Return what the node that saved says of the clip, and where it lies."""
    facts: dict[str, Any] = {}
    for shown in result.ui.values():
        if list(saved_files({"": shown})):
            facts |= next(iter(shown.get("ltx2", [])), {})
    if not paths:
        raise LTX2Error("The demo wrote no clip.", code="not_written")
    return {"path": str(paths[-1])} | {name: facts[name] for name in DEMO_FACTS}
