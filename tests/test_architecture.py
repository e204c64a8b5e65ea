"""Who may import whom."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE_MAY_USE = {
    "torch",
    "numpy",
    "safetensors",
    "transformers",
    "tokenizers",
    "sentencepiece",
    "einops",
    "av",
}
#: Optional kernels, imported under `try`, and only there.
KERNEL_ROOMS = {"ops", "video_vae"}
KERNELS = {"triton", "flash_attn", "sageattention", "xformers", "natten"}
COMFY = {"comfy", "comfy_api", "comfy_extras", "folder_paths", "server", "execution", "nodes"}

#: A room may import its own files and the rooms of earlier lines, never its neighbours.
LEVELS = (
    {"errors", "grid"},
    {"latents", "memory"},
    {"ops"},
    {"checkpoint"},
    {"text", "transformer", "video_vae", "audio_vae", "upscaler", "media"},
    {"conditioning"},
    {"sampling"},
)
LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}


def imports(path: Path) -> set[str]:
    """Return every module a file imports: absolute ones as written, ours from the root on."""
    found: set[str] = set()
    here = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            found.add("." * bool(node.level) + ".".join((*base, node.module or "")).rstrip("."))
    return found


def files(folder: str) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("file", files("ltx_core"))
def test_core_imports_only_torch_and_lower_rooms(file: str) -> None:
    room = Path(file).with_suffix("").parts[1]
    for name in imports(ROOT / file):
        top, *rest = name.lstrip(".").split(".")
        if not name.startswith("."):
            allowed = CORE_MAY_USE | (KERNELS if room in KERNEL_ROOMS else set())
            assert top in allowed | sys.stdlib_module_names, name
        else:
            assert top == "ltx_core", f"{name} leaves the core"
            assert rest[0] == room or LEVEL[rest[0]] < LEVEL[room], f"{room} imports {rest[0]}"


@pytest.mark.parametrize("file", files("nodes"))
def test_only_the_host_folder_knows_comfyui(file: str) -> None:
    used = {name.split(".")[0] for name in imports(ROOT / file) if not name.startswith(".")}
    assert file.startswith("nodes/host/") or not used & COMFY
