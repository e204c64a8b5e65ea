"""Folders as the host of the run names them."""

from pathlib import Path

from .host import current

#: Whoever starts a run here may read every file they can name.
ABSOLUTE_ALLOWED = True
#: Kinds of models that people keep in two places.
ALSO_IN = {"diffusion_models": ("unet",), "text_encoders": ("clip",)}


def model_folders(key: str) -> list[Path]:
    """Return the folders of one kind of model."""
    names = (key, *ALSO_IN.get(key, ()))
    return [root / name for root in current().models for name in names]


def folder(kind: str) -> Path:
    """Return the folder for "input", "output" or "temp" files."""
    return {"input": current().input, "output": current().output, "temp": current().temp}[kind]


def metadata_enabled() -> bool:
    """Say whether saved files may carry the workflow."""
    return current().metadata
