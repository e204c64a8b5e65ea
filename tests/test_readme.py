"""What the README promises of files and commands is what the code has."""

import re
from pathlib import Path

import pytest
from ltx2_pack.headless.cli import parser
from ltx2_pack.ltx_core.checkpoint.catalogue import by_name

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")
ROWS = re.findall(r"^\| \[(\S+)\]\((\S+)\) \| models/(\S+) \| ([\d.]+) \|", TEXT, re.MULTILINE)


def test_the_table_of_files_covers_both_generations():
    names = " ".join(row[0] for row in ROWS)
    for part in ("ltx-2.3-22b", "ltx-2-19b", "gemma", "spatial-upscaler", "distilled-lora"):
        assert part in names


@pytest.mark.parametrize(("name", "link", "folder", "gigabytes"), ROWS, ids=[r[0] for r in ROWS])
def test_each_row_is_as_in_the_catalogue(name: str, link: str, folder: str, gigabytes: str):
    file = by_name(name)
    assert file is not None
    assert (link, folder) == (file.link, file.folder)
    assert gigabytes == f"{file.gigabytes:.1f}"


def test_the_commands_it_shows_are_understood():
    commands = re.findall(r"^uv run ltx2 (.+)$", TEXT, re.MULTILINE)
    assert len(commands) > 4
    for command in commands:
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', command)]
        parser().parse_args([re.sub('"', "", word) for word in words])


def test_the_pictures_it_shows_exist():
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", TEXT):
        assert (ROOT / path).is_file()
