"""Real ComfyUIs: finding them, starting one with this pack in it, asking it, stopping it."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[1]
#: The folder a registry installs the pack into.
PACK = "ltx2-audio-video"
#: Nodes that only the live tests need, as a second pack.
EXTRA_PACK = Path(__file__).parent / "live_pack"
#: Seconds for a server to come up, on a machine that does other things as well.
PATIENCE = 300


class IncompleteError(RuntimeError):
    """A ComfyUI lacks a package of its own, so that it starts neither with nor without us."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComfyUI:
    """A server that runs. `folder` is its base directory, `models` its models folder."""

    source: Path
    url: str
    folder: Path
    models: Path
    log: Path

    def get(self, path: str) -> Any:
        """Ask for JSON."""
        with urlopen(self.url + path, timeout=60) as answer:
            return json.loads(answer.read())

    def lines(self) -> list[str]:
        """Return what it has logged so far."""
        return self.log.read_text("utf-8", "replace").splitlines()


def found() -> list[Path]:
    """Return the checkouts named by COMFYUI_PATH, or those in ~/comfy, that have their Python."""
    named = os.environ.get("COMFYUI_PATH")
    paths = (
        [Path(path) for path in named.split(os.pathsep) if path]
        if named
        else sorted((Path.home() / "comfy").glob("ComfyUI*"))
    )
    return [path for path in paths if (path / "main.py").is_file() and python_of(path).is_file()]


def python_of(comfyui: Path) -> Path:
    """Return the interpreter a checkout runs with."""
    return comfyui / ".venv" / "bin" / "python"


def copy_pack(goal: Path) -> None:
    """Copy what git tracks or would track, as an installation has it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (goal / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, goal / name)


@contextmanager
def started(comfyui: Path, folder: Path, models: Path, *options: str) -> Iterator[ComfyUI]:
    """Start a ComfyUI on the processor with this pack, wait until it answers, stop it at the end.

    Raises IncompleteError where the checkout itself cannot start.
    """
    copy_pack(folder / "custom_nodes" / PACK)
    shutil.copytree(EXTRA_PACK, folder / "custom_nodes" / EXTRA_PACK.name)
    (folder / "models").symlink_to(models, target_is_directory=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "comfyui.log"
    command = [
        str(python_of(comfyui)), "main.py", "--cpu", "--port", str(port),
        "--base-directory", str(folder), "--disable-auto-launch", *options,
    ]  # fmt: skip
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTHONPATH", None)
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=comfyui, stdout=out, stderr=subprocess.STDOUT, env=environment
        )
    server = ComfyUI(
        source=comfyui, url=f"http://127.0.0.1:{port}", folder=folder, models=models, log=log
    )
    try:
        _wait(server, process)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(server: ComfyUI, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            server.get("/system_stats")
            return
        except (URLError, OSError):
            time.sleep(0.5)
    last = server.lines()[-30:]
    if last and last[-1].startswith("ModuleNotFoundError") and not any(PACK in x for x in last):
        raise IncompleteError(f"{server.source.name} cannot start by itself: {last[-1]}")
    raise RuntimeError(f"{server.source} did not start:\n" + "\n".join(last))


#: What a stand-in may say that an older server does not know of, and the other way round.
MAY_DIFFER = frozenset({"advanced", "search_aliases"})


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Compare two `object_info` entries of one node on the keys both have."""
    one, two = json.loads(json.dumps(ours)), json.loads(json.dumps(theirs))
    for entry in (one, two):
        for group in entry["input"].values():
            for spec in group.values():
                for option in MAY_DIFFER & set(spec[1] if len(spec) > 1 else ()):
                    del spec[1][option]
    return [
        f"{key}: {one[key]} here, {two[key]} there"
        for key in sorted((one.keys() & two.keys()) - MAY_DIFFER)
        if one[key] != two[key]
    ]
