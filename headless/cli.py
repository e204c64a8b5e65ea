"""The command `ltx2`: run a workflow, show what files are, make a small clip without any model.

Exit codes: 0 everything was written, 1 something a user can put right (three lines on stderr, or
in what was asked for as JSON), 2 wrong usage, 130 cancelled.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

CANCELLED = 130


def say(text: str) -> None:
    """Write a line of results."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def tell(text: str) -> None:
    """Write a line about how things go."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _assignment(text: str) -> str:
    if "=" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} has no =")
    return text


def parser() -> argparse.ArgumentParser:
    """Return the grammar of the command line."""
    top = argparse.ArgumentParser(prog="ltx2", description="Video with sound from LTX-2.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a workflow file of ComfyUI")
    run.add_argument("workflow", type=Path, help="as saved by ComfyUI, or exported for the API")
    run.add_argument(
        "--models",
        type=Path,
        action="append",
        metavar="DIR",
        help="a folder laid out like ComfyUI/models (default: ./models); may be repeated",
    )
    run.add_argument("--input", type=Path, default=Path("input"), metavar="DIR", help="media files")
    run.add_argument(
        "--output", type=Path, default=Path("output"), metavar="DIR", help="where results go"
    )
    run.add_argument(
        "--set",
        type=_assignment,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help='a value of the workflow; "TITLE.NAME=VALUE" for that of one node',
    )
    run.add_argument("--list", action="store_true", help="show what can be set, and do nothing")
    run.add_argument("--server", metavar="URL", help="run on this ComfyUI instead of here")
    run.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 (default: a GPU if any)")
    run.add_argument(
        "--disable-metadata", action="store_true", help="save files without the workflow"
    )

    demo = commands.add_parser("demo", help="a small clip from random weights, to see it work")
    demo.add_argument("--output", type=Path, default=Path("demo"), metavar="DIR")
    demo.add_argument("--generation", default="2.3", choices=("2.0", "2.3", "2.5"))
    demo.add_argument("--set", type=_assignment, action="append", default=[], metavar="NAME=VALUE")

    inspect = commands.add_parser("inspect", help="what a model file is, and where it belongs")
    inspect.add_argument("file", type=Path, metavar="PATH", help="a file, or a models folder")
    inspect.add_argument("--json", action="store_true", help="for programs")
    inspect.add_argument("--as", dest="role", metavar="ROLE", help="what it should serve as")
    inspect.add_argument(
        "--with",
        dest="others",
        type=_assignment,
        action="append",
        default=[],
        metavar="ROLE=FILE",
        help="a file it should go together with; may be repeated",
    )

    doctor = commands.add_parser("doctor", help="what a models folder can run, and what is wrong")
    doctor.add_argument("models", type=Path, metavar="MODELS", help="laid out like ComfyUI/models")
    doctor.add_argument("--json", action="store_true", help="for programs")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        return _dispatch(options)
    except KeyboardInterrupt:
        tell("cancelled")
        return CANCELLED


def _dispatch(options: argparse.Namespace) -> int:
    from ..ltx_core.errors import LTX2Error

    try:
        if options.command == "inspect":
            return _inspect(options)
        if options.command == "doctor":
            return _doctor(options)
        from . import commands

        return commands.run(options) if options.command == "run" else commands.demo(options)
    except LTX2Error as error:
        tell(str(error))
        return 1


def _inspect(options: argparse.Namespace) -> int:
    import json

    from ..ltx_core.checkpoint.report import report_text
    from .doctor import listing
    from .inspect import inspect_file, is_models_folder

    if is_models_folder(options.file):
        found = listing(options.file)
        texts = [report_text(facts) for facts in found.values()]
        say(json.dumps(found, indent=2) if options.json else "\n".join(texts) or "no model files")
        return 0
    others = {
        role: Path(file) for role, _, file in (text.partition("=") for text in options.others)
    }
    facts = inspect_file(options.file, options.role, others, samples=options.json)
    if options.json:
        say(json.dumps(facts, indent=2))
    elif "role" in facts:
        say(report_text(facts))
    else:
        tell(facts["message"])
    return 1 if "error" in facts else 0


def _doctor(options: argparse.Namespace) -> int:
    import json

    from .doctor import diagnosis, diagnosis_text

    found = diagnosis(options.models)
    say(json.dumps(found, indent=2) if options.json else diagnosis_text(found))
    return 0 if any(item["ready"] for item in found["workflows"].values()) else 1
