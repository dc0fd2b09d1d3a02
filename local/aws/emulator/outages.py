"""A patch of every emulated service: it can be made to fail for a while."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

from ministack import app

Answer = tuple[int, dict[str, str], bytes]
Handler = Callable[..., Awaitable[Answer]]

# Named after the root key: whoever tries something out must be able to see what came of it.
OPERATOR = "Credential=test/"
REFUSED: Answer = (
    500,
    {"Content-Type": "application/x-amz-json-1.0"},
    json.dumps({"__type": "InternalServerError", "message": "an outage was ordered"}).encode(),
)


def fail_during_an_outage() -> None:
    """Gap: no service ever fails.

    While the file `outage` lies in the emulator's STATE_DIR, each call by a function to a service
    that it names (`dynamodb`, one a line) is answered 500: one half of them before anything is
    done, the other half after it was done.
    """
    marker = Path(os.environ["STATE_DIR"]) / "outage"
    for service, handler in app.SERVICE_HANDLERS.items():
        app.SERVICE_HANDLERS[service] = _failing(service, handler, marker)


def _failing(service: str, handler: Handler, marker: Path) -> Handler:
    async def handle(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> Answer:
        if not _is_out(service, headers, marker):
            return await handler(method, path, headers, body, query)
        if random.random() < 0.5:
            await handler(method, path, headers, body, query)
        return REFUSED

    return handle


def _is_out(service: str, headers: dict[str, str], marker: Path) -> bool:
    if OPERATOR in headers.get("authorization", ""):
        return False
    try:
        return service in marker.read_text().split()
    except FileNotFoundError:
        return False
