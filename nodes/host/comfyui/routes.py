"""The web server that ComfyUI runs."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Any

Answer = Callable[[Mapping[str, str]], tuple[int, dict[str, Any]]]


def add_route(path: str, answer: Answer) -> None:
    """Answer `GET path` with JSON, in a thread. Does nothing in a process without a server."""
    # Not imported: where no server runs (a script that uses our nodes), importing it would fail.
    server = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    if server is None:
        return
    from aiohttp import web  # pyright: ignore[reportMissingImports]

    async def respond(request: Any) -> Any:
        status, body = await asyncio.get_running_loop().run_in_executor(
            None, answer, dict(request.query)
        )
        return web.json_response(body, status=status)

    server.routes.get(path)(respond)
