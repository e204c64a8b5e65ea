"""The same workflow sent to a running ComfyUI server, followed, and its results fetched."""

import hashlib
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from ..ltx_core.errors import LTX2Error
from .convert import Prompt
from .runner import OnNode
from .schema import Infos, inputs_of
from .validate import title

#: Seconds without an answer to a plain request before the server counts as gone.
TIMEOUT = 60
#: Seconds between two looks at the history where the server offers no socket.
POLL = 1.0
BLOCK = 1 << 20


class Server:
    """One ComfyUI server."""

    def __init__(self, url: str) -> None:
        self.url = (url if "://" in url else f"http://{url}").rstrip("/")
        self.client_id = uuid.uuid4().hex

    def infos(self) -> Infos:
        """Return the server's `object_info`. Raises LTX2Error (no_server)."""
        return self._json("/object_info")

    def upload_media(self, prompt: Prompt, infos: Infos) -> Prompt:
        """Upload the local files that inputs with an upload button name; return what they became.

        A file the server has under this very name is left there.
        """
        changed: Prompt = {}
        for key, node in prompt.items():
            inputs = dict(node["inputs"])
            for entry in inputs_of(infos[node["class_type"]]):
                value = inputs.get(entry.name)
                if not entry.upload_widgets or not isinstance(value, str):
                    continue
                if value not in (entry.choices or ()) and Path(value).is_file():
                    inputs[entry.name] = self._upload(Path(value))
            changed[key] = node | {"inputs": inputs}
        return changed

    def run(
        self, prompt: Prompt, *, workflow: Mapping[str, Any] | None, on_node: OnNode | None = None
    ) -> dict[str, dict[str, Any]]:
        """Queue a workflow, follow it, and return what its nodes showed, by node id.

        Raises LTX2Error (invalid_workflow, failed, cancelled, no_server). KeyboardInterrupt takes
        the run off the server before it goes on.
        """
        with ExitStack() as stack:
            socket = self._socket(stack)
            number = self._queue(prompt, workflow)
            try:
                if socket is not None:
                    self._follow(socket, number, prompt, on_node)
                return self._outputs(number)
            except KeyboardInterrupt:
                self._cancel(number)
                raise

    def fetch(self, outputs: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Path]:
        """Download every saved file into `folder`; return where they lie."""
        return [self._download(item, folder) for item in saved_files(outputs)]

    def _queue(self, prompt: Prompt, workflow: Mapping[str, Any] | None) -> str:
        extra = {"extra_pnginfo": {"workflow": workflow}} if workflow is not None else {}
        body = {"prompt": prompt, "client_id": self.client_id, "extra_data": extra}
        try:
            return str(self._json("/prompt", body)["prompt_id"])
        except HTTPError as error:
            raise _refused(error, prompt) from None

    def _socket(self, stack: ExitStack) -> ClientConnection | None:
        """Listen to the server until the stack ends, if it can be listened to."""
        parts = urlsplit(self.url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        query = urlencode({"clientId": self.client_id})
        url = urlunsplit((scheme, parts.netloc, f"{parts.path}/ws", query, ""))
        try:
            return stack.enter_context(connect(url, open_timeout=TIMEOUT, max_size=None))
        except (OSError, WebSocketException):
            return None

    def _follow(
        self, socket: ClientConnection, number: str, prompt: Prompt, on_node: OnNode | None
    ) -> None:
        """Report nodes as they begin, until the run has ended or the socket is lost."""
        begun: dict[str, None] = {}
        try:
            for message in socket:
                if isinstance(message, bytes):  # a preview
                    continue
                event = json.loads(message)
                data = event.get("data") or {}
                if data.get("prompt_id") != number:
                    continue
                key = data.get("node")
                if event["type"] == "executing" and key is not None and key not in begun:
                    begun[key] = None
                    if on_node is not None and key in prompt:
                        on_node(len(begun), len(prompt), title(prompt, key))
                if event["type"].startswith("execution_") and event["type"] not in (
                    "execution_start",
                    "execution_cached",
                ):
                    return
        except (OSError, WebSocketException):
            return  # the history will tell

    def _outputs(self, number: str) -> dict[str, dict[str, Any]]:
        """Wait until the history has the run; return its outputs."""
        while True:
            waiting = self._is_queued(number)
            found = self._json(f"/history/{number}").get(number)
            if found and (found.get("status") or {}).get("status_str"):
                break
            if not waiting:
                raise LTX2Error("The run was taken off the server's queue.", code="cancelled")
            time.sleep(POLL)
        status = found["status"]
        if status["status_str"] == "success":
            return found.get("outputs") or {}
        raise _failed(status.get("messages") or [])

    def _is_queued(self, number: str) -> bool:
        """Say whether a run waits or goes on. Asked before the history, so none falls between."""
        queue = self._json("/queue")
        return any(
            entry[1] == number
            for name in ("queue_running", "queue_pending")
            for entry in queue.get(name) or []
        )

    def _cancel(self, number: str) -> None:
        try:
            self._request("/queue", json.dumps({"delete": [number]}).encode())
            self._request("/interrupt", json.dumps({"prompt_id": number}).encode())
        except (HTTPError, LTX2Error):
            return  # the server is gone, and the run with it

    def _upload(self, path: Path) -> str:
        """Upload one file under a name that its content decides, so that twice is harmless."""
        content = path.read_bytes()
        name = f"{hashlib.sha256(content).hexdigest()[:8]}-{path.name}"
        mark = uuid.uuid4().hex
        head = (
            f'--{mark}\r\nContent-Disposition: form-data; name="overwrite"\r\n\r\ntrue\r\n'
            f'--{mark}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = head.encode() + content + f"\r\n--{mark}--\r\n".encode()
        kind = f"multipart/form-data; boundary={mark}"
        try:
            answer = json.loads(self._request("/upload/image", body, kind))
        except HTTPError as error:
            raise LTX2Error(
                f"The server did not take {path.name} ({error.code} {error.reason}).",
                needed="a smaller file, or the file in the server's input folder",
                where=str(path),
                code="no_upload",
            ) from None
        return "/".join(part for part in (answer.get("subfolder"), answer["name"]) if part)

    def _download(self, item: Mapping[str, str], folder: Path) -> Path:
        """Fetch one file, under a temporary name until it is complete."""
        relative = PurePosixPath(item["subfolder"].replace("\\", "/"), Path(item["filename"]).name)
        if relative.is_absolute() or ".." in relative.parts:
            raise LTX2Error(f"The server names a file outside of its folder: {relative}.")
        goal = folder / relative
        goal.parent.mkdir(parents=True, exist_ok=True)
        partial = goal.with_name(f".{goal.name}.part")
        try:
            with self._open(f"/view?{urlencode(item)}") as answer, partial.open("wb") as file:
                while block := answer.read(BLOCK):
                    file.write(block)
            partial.replace(goal)
        finally:
            partial.unlink(missing_ok=True)
        return goal

    def _json(self, path: str, body: Any = None) -> Any:
        return json.loads(self._request(path, None if body is None else json.dumps(body).encode()))

    def _request(
        self, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> bytes:
        with self._open(path, body, kind) as answer:
            return answer.read()

    def _open(self, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        headers = {} if body is None else {"Content-Type": kind}
        try:
            return urlopen(Request(self.url + path, body, headers), timeout=TIMEOUT)
        except HTTPError:
            raise
        except (URLError, OSError, ValueError) as error:
            raise LTX2Error(
                f"No ComfyUI answers at {self.url}.",
                needed="a running server, and its address as http://host:8188",
                where=str(getattr(error, "reason", error)),
                code="no_server",
            ) from None


def saved_files(outputs: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """Go through the files that nodes say they saved in the output folder, each once."""
    seen: set[tuple[str, str]] = set()
    for shown in outputs.values():
        for items in shown.values():
            for item in items if isinstance(items, list | tuple) else ():
                if not isinstance(item, Mapping) or item.get("type") != "output":
                    continue
                entry = (str(item.get("subfolder", "")), str(item["filename"]))
                if entry not in seen:
                    seen.add(entry)
                    yield {"filename": entry[1], "subfolder": entry[0], "type": "output"}


def _refused(error: HTTPError, prompt: Prompt) -> LTX2Error:
    """Turn the server's answer to a workflow it does not take into sentences."""
    try:
        answer = json.loads(error.read())
    except ValueError:
        return LTX2Error(f"The server refused the workflow ({error.code} {error.reason}).")
    lines = [
        f"{title(prompt, key) if key in prompt else key}: {found['message']}: {found['details']}"
        for key, node in (answer.get("node_errors") or {}).items()
        for found in node.get("errors") or []
    ]
    plain = answer.get("error")
    message = plain.get("message", plain) if isinstance(plain, Mapping) else plain
    return LTX2Error(
        "\n".join(dict.fromkeys(lines)) or f"The server refused the workflow: {message}",
        code="invalid_workflow",
    )


def _failed(messages: list[Any]) -> LTX2Error:
    """Turn the history of a run that did not succeed into sentences."""
    for kind, data in messages:
        if kind == "execution_error":
            kind, message = str(data.get("exception_type")), str(data.get("exception_message"))
            ours = kind.endswith("LTX2Error")  # its message names the place by itself
            where = "" if ours else f"{data.get('node_type')} ({kind})"
            return LTX2Error(message.strip(), where=where, code="failed")
    return LTX2Error("The run was cancelled on the server.", code="cancelled")
