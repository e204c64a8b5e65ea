"""`GET /ltx2/inspect`: what model files are, from their headers. Read-only.

`?name=VALUE&role=ROLE` asks for the file a combo's value means, `?folder=KIND` for all files of a
kind of folder ("checkpoints", "loras", ...). Nothing outside the model folders can be asked for.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...ltx_core.checkpoint.compatible import check_role
from ...ltx_core.checkpoint.library import model_files
from ...ltx_core.checkpoint.report import report_text, reported
from ...ltx_core.errors import LTX2Error
from . import files

if find_spec("comfy_api"):
    from .comfyui.routes import add_route
else:
    from .standin.routes import add_route

PATH = "/ltx2/inspect"
#: Kinds of folders that may be asked for.
FOLDERS = frozenset(key for role in files.ROLES.values() for key in role.keys)


def serve() -> None:
    """Answer on the host's server, if it has one."""
    add_route(PATH, answer)


def answer(query: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """Return an HTTP status and a JSON body: 200, 400 for a wrong question, 404 for no file."""
    name, role, folder = (query.get(key) for key in ("name", "role", "folder"))
    if folder is not None:
        return _folder(folder)
    if name is None or (role is not None and role not in files.ROLES):
        roles = ", ".join(files.ROLES)
        return 400, _error("bad_question", f"Ask with name and role (one of {roles}), or folder.")
    if files.escapes(name.replace("\\", "/")):
        return 404, _error("not_found", f"{name} is not in the model folders.")
    return _file(name, [role] if role is not None else [*files.ROLES])


def _file(name: str, roles: list[str]) -> tuple[int, dict[str, Any]]:
    for role in roles:
        try:
            path = files.find(role, name)
        except LTX2Error:
            continue
        body = _told(path)
        if len(roles) == 1 and "error" not in body:
            body |= _as_role(path, role)
        return 200, {"path": name, **body}
    return 404, _error("not_found", f"{name} is not in the model folders.")


def _as_role(path: Path, role: str) -> dict[str, Any]:
    """Say whether a good file can serve as what it is asked for."""
    try:
        check_role(files.facts(path), files.ROLES[role].wanted)
    except LTX2Error as error:
        return {"error": error.code, "message": str(error)}
    return {}


def _folder(kind: str) -> tuple[int, dict[str, Any]]:
    if kind not in FOLDERS:
        return 400, _error("bad_question", f"folder is one of {', '.join(sorted(FOLDERS))}.")
    found: dict[str, Any] = {}
    for place in files.model_folders(kind):
        for path in model_files(place):
            found.setdefault(path.relative_to(place).as_posix(), _told(path))
    return 200, {"folder": kind, "files": found}


def _told(path: Path) -> dict[str, Any]:
    values = reported(files.FACTS.look(path), path)
    return {**values, "text": report_text(values)}


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": code, "message": message}
