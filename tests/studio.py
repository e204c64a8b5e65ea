"""A place where shipped workflows run in this process on tiny models, and its files are counted."""

import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from ltx2_pack.headless.commands import read_workflow
from ltx2_pack.headless.convert import Prompt, to_api
from ltx2_pack.headless.core_nodes import NODES as CORE_NODES
from ltx2_pack.headless.runner import Result, Runner
from ltx2_pack.headless.settings import with_settings
from ltx2_pack.nodes import all_nodes
from ltx2_pack.nodes.host.standin.host import Host

WORKFLOWS = Path(__file__).resolve().parents[1] / "workflows"
T2V = "LTX-2 1 Text to video"
I2V = "LTX-2 2 Image to video"
V2V = "LTX-2 3 Video to video (IC-LoRA)"
TASKS = (T2V, I2V, V2V)
#: The smallest clip of two stages that a reference of half the size fits: 9 frames. Not smaller
#: for another reason too: x264 encodes 64 x 64 pixels differently from one time to the next.
SMALL = ("aspect_ratio=custom", "width=128", "height=128", "duration=0.35")


class CancelAt(threading.Event):
    """A wish to stop that comes true when it is looked at for the `number`th time; counts looks.

    `with_error` is raised then instead, as another host's own exception would be.
    """

    def __init__(self, number: int | None = None, with_error: BaseException | None = None) -> None:
        super().__init__()
        self.number = number
        self.with_error = with_error
        self.looks = 0

    def is_set(self) -> bool:
        self.looks += 1
        due = self.number is not None and self.looks >= self.number
        if due and self.with_error is not None:
            raise self.with_error
        return due


@dataclass(kw_only=True, eq=False)
class Studio:
    """Folders, a host and a runner. `models` are folders like ComfyUI's own."""

    folder: Path
    models: Sequence[Path]
    cancelled: CancelAt = field(default_factory=CancelAt)
    metadata: bool = True
    host: Host = field(init=False)
    runner: Runner = field(init=False)

    def __post_init__(self) -> None:
        for name in ("input", "output", "temp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.host = Host(
            models=tuple(self.models),
            input=self.folder / "input",
            output=self.folder / "output",
            temp=self.folder / "temp",
            device=torch.device("cpu"),
            cancelled=self.cancelled,
            metadata=self.metadata,
        )
        self.runner = Runner([*CORE_NODES, *all_nodes()], self.host)

    def prompt(self, workflow: str, *settings: str) -> Prompt:
        """Return a shipped workflow with small settings, then these."""
        infos = self.runner.infos()
        made = to_api(read_workflow(WORKFLOWS / f"{workflow}.json"), infos)
        return with_settings(made, infos, [*SMALL, *settings])

    def run(self, workflow: str | Prompt, *settings: str) -> Result:
        """Run a shipped workflow, or a prompt."""
        prompt = self.prompt(workflow, *settings) if isinstance(workflow, str) else workflow
        return self.runner.run(prompt)

    def written(self) -> list[str]:
        """Return every file below the output and temp folders, hidden and partial ones too."""
        roots = (self.host.output, self.host.temp)
        return sorted(
            path.relative_to(self.folder).as_posix()
            for root in roots
            for path in root.rglob("*")
            if path.is_file()
        )


#: Makes a studio whose models lie in the folders given; none: those of 2.3.
NewStudio = Callable[..., Studio]


def text_of(shown: Iterable[dict[str, list[Any]]]) -> str:
    """Return all lines that nodes showed."""
    return "\n".join(str(line) for one in shown for line in one.get("text", []))


def saved(result: Result) -> dict[str, Any]:
    """Return the facts of the node that saved a clip."""
    (found,) = (one["ltx2"][0] for one in result.ui.values() if "images" in one)
    return found


def linked_models(folder: Path, *sources: Path) -> Path:
    """Make a models folder of its own of links to the files of others; later ones win."""
    for source in sources:
        for path in source.rglob("*"):
            if path.is_file():
                target = folder / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                target.symlink_to(path)
    return folder


def replaced(folder: Path, name: str, content: bytes | Path) -> Path:
    """Put a file of other content, or a copy of another file, where a link was."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        shutil.copyfile(content, path)
    return path
