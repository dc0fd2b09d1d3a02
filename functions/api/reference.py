"""The API's own description, made at build time by `python -m talkdrop.openapi`."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

from aws_lambda_powertools.event_handler import Response

from functions.api.app import app

_HERE = Path(__file__).parent


@app.get("/openapi.json")
def openapi() -> Response[str]:
    return _file("openapi.json", "application/json")


@app.get("/docs")
def reference() -> Response[str]:
    return _file("reference.html", "text/html; charset=utf-8")


def _file(name: str, content_type: str) -> Response[str]:
    policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    return Response(
        status_code=HTTPStatus.OK,
        content_type=content_type,
        body=(_HERE / name).read_text(encoding="utf-8"),
        headers={"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"},
    )
