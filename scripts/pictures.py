"""Pictures of the shipped workflows: square thumbnails for the template browser, one for README.

`uv run python -m ltx2_pack.scripts.pictures --server URL --library FOLDER`: a running ComfyUI with
this pack, the files the workflows name in place, and a folder in which
`npm install playwright-core` was run.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PAGE = Path(__file__).with_name("page.mjs")
#: The folder name the pack is installed under.
PACK = "ltx2-audio-video"
#: Pixels of a side of a thumbnail, and units of the graph that it shows.
THUMBNAIL, SHOWN = 512, 720
#: Where a thumbnail begins: the prompt and what follows it; in wired graphs what is given to the
#: stages and the stages.
FIVE_NODES, WIRED = (345, -50), (524, -50)
GRAPH = "LTX-2 1 Text to video"
#: Units around the graph in the picture of README.
MARGIN = 30


def browser() -> str | None:
    """Return a Chromium, if there is one."""
    return next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )


def run_page(job: dict[str, Any], folder: Path, seconds: float) -> dict[str, Any]:
    """Run `page.mjs` on a job; return what it found. Raises RuntimeError with what went wrong."""
    path = folder / "job.json"
    path.write_text(json.dumps(job), "utf-8")
    done = subprocess.run(
        ["node", str(PAGE), str(path)], capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode:
        raise RuntimeError(f"The page could not be looked at:\n{done.stderr}")
    return json.loads(done.stdout)


def shipped() -> dict[str, dict[str, Any]]:
    """Return the workflows as they are in their files, by name."""
    files = sorted((ROOT / "workflows").glob("*.json"))
    return {path.stem: json.loads(path.read_text("utf-8")) for path in files}


def _box(graph: dict[str, Any]) -> list[int]:
    """Return left, top, width, height of a graph with its titles, in its own units."""
    nodes = graph["nodes"]
    left = min(node["pos"][0] for node in nodes) - MARGIN
    top = min(node["pos"][1] for node in nodes) - 30 - MARGIN
    right = max(node["pos"][0] + node["size"][0] for node in nodes) + MARGIN
    bottom = max(node["pos"][1] + node["size"][1] for node in nodes) + MARGIN
    return [left, top, right - left, bottom - top]


def main() -> None:
    """Take the pictures and put them where they belong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--library", required=True)
    options = parser.parse_args()
    workflows = shipped()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)

        def picture(name: str, region: list[int]) -> dict[str, Any]:
            return {"name": name, "file": str(folder / f"{len(pictures)}.png"), "region": region}

        pictures: list[dict[str, Any]] = []
        for name in workflows:
            left, top = WIRED if name.endswith("wired") else FIVE_NODES
            pictures.append(picture(name, [left, top, SHOWN, SHOWN]))
        pictures.append(picture(GRAPH, _box(workflows[GRAPH])))
        job = {
            "library": options.library, "browser": browser(), "url": options.server, "pack": PACK,
            "workflows": workflows, "pictures": pictures,
        }  # fmt: skip
        run_page(job, folder, seconds=300)
        for entry in pictures[:-1]:
            goal = ROOT / "workflows" / f"{entry['name']}.jpg"
            with Image.open(entry["file"]) as taken:
                small = taken.convert("RGB").resize(
                    (THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS
                )
                small.save(goal, quality=85, optimize=True)
        with Image.open(pictures[-1]["file"]) as taken:
            (ROOT / "docs").mkdir(exist_ok=True)
            half = taken.convert("RGB").reduce(2)
            half.save(ROOT / "docs" / "graph.jpg", quality=88, optimize=True)


if __name__ == "__main__":
    main()
