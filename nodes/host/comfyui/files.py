"""Folders as ComfyUI knows them."""

from pathlib import Path

import folder_paths  # pyright: ignore[reportMissingImports]
from comfy.cli_args import args  # pyright: ignore[reportMissingImports]

#: A path from anywhere could be named by anybody who may send a workflow to the server.
ABSOLUTE_ALLOWED = False


def model_folders(key: str) -> list[Path]:
    """Return the folders of one kind of model, those of `extra_model_paths.yaml` too."""
    if key not in folder_paths.folder_names_and_paths:  # older than the key
        default = Path(folder_paths.models_dir) / key
        folder_paths.add_model_folder_path(key, str(default), is_default=True)
    return [Path(folder) for folder in folder_paths.get_folder_paths(key)]


def folder(kind: str) -> Path:
    """Return the folder for "input", "output" or "temp" files."""
    return Path(folder_paths.get_directory_by_type(kind))


def metadata_enabled() -> bool:
    """Say whether saved files may carry the workflow."""
    return not args.disable_metadata
