"""kie.ai's file upload host: a file becomes a link that createTask takes, for three days.

https://docs.kie.ai/file-upload-api
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

from local.simulator.engine import Engine
from local.simulator.media import Medium, UnreachableError
from local.simulator.server import Request, Response, json_response

LIVES_HOURS = 72.0
ACCOUNT = "kieai/100001"
PATHS = ("/api/file-stream-upload", "/api/file-base64-upload", "/api/file-url-upload")


class UploadError(Exception):
    """What is wrong with an upload, in kie's words."""


class Files:
    """The three ways to upload."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def answer(self, request: Request) -> Response | None:
        """None for a path that is not of this host."""
        if request.path not in PATHS:
            return None
        if request.method != "POST":
            return _refuse(405, "Method Not Allowed")
        try:
            if request.path == PATHS[0]:
                fields, named, medium = self._stream(request)
            else:
                fields, named, medium = self._json(request)
            return self._stored(fields, named, medium)
        except UploadError as error:
            return _refuse(400, str(error))
        except UnreachableError:
            return _refuse(500, "Failed to download file from the URL")

    def _stream(self, request: Request) -> tuple[dict[str, Any], str, Medium]:
        parts = multipart(request.headers.get("content-type", ""), request.body)
        fields = {
            name: content.decode(errors="replace")
            for name, (_, content) in parts.items()
            if name != "file"
        }
        if "file" not in parts:
            raise UploadError("Missing required parameter: file")
        filename, content = parts["file"]
        return fields, filename, self._engine.library.keep(content)

    def _json(self, request: Request) -> tuple[dict[str, Any], str, Medium]:
        try:
            fields = request.json()
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise UploadError("The request body is not valid JSON")
        if request.path == PATHS[2]:
            url = str(_needed(fields, "fileUrl"))
            _needed(fields, "uploadPath")
            return fields, PurePosixPath(urlsplit(url).path).name, self._engine.library.fetch(url)
        encoded = str(_needed(fields, "base64Data"))
        try:
            content = base64.b64decode(re.sub(r"^data:[^,]*,", "", encoded), validate=True)
        except (binascii.Error, ValueError):
            raise UploadError("Invalid Base64 data") from None
        return fields, "", self._engine.library.keep(content)

    def _stored(self, fields: dict[str, Any], named: str, medium: Medium) -> Response:
        folder = str(_needed(fields, "uploadPath")).strip("/")
        guessed = mimetypes.guess_extension(medium.kind or "application/octet-stream") or ""
        name = PurePosixPath(
            str(fields.get("fileName") or named or f"{medium.name[:16]}{guessed}")
        ).name
        kind = medium.kind or mimetypes.guess_type(name)[0] or "application/octet-stream"
        path = f"{ACCOUNT}/{folder}/{name}"
        self._engine.publish(f"/{path}", f"media/{medium.name}", kind, LIVES_HOURS)
        now = datetime.fromtimestamp(self._engine.clock.now(), UTC)
        data = {
            "success": True,
            "fileName": name,
            "filePath": path,
            "downloadUrl": self._engine.url("/" + quote(path)),
            "fileSize": medium.size,
            "mimeType": kind,
            "uploadedAt": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        return json_response(
            {"success": True, "code": 200, "msg": "File uploaded successfully", "data": data}
        )


def multipart(content_type: str, body: bytes) -> dict[str, tuple[str, bytes]]:
    """Field name -> (file name, content). RFC 7578, as far as clients use it."""
    found = re.search(r'boundary="?([^";]+)', content_type)
    if "multipart/form-data" not in content_type or not found:
        raise UploadError("Content-Type must be multipart/form-data")
    fields = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + found[1].encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        header = head.decode(errors="replace")
        name, filename = (
            re.search(r'[; ]name="([^"]*)"', header),
            re.search(r'filename="([^"]*)"', header),
        )
        if name:
            fields[name[1]] = (filename[1] if filename else "", content)
    return fields


def _needed(fields: dict[str, Any], name: str) -> Any:
    if not fields.get(name):
        raise UploadError(f"Missing required parameter: {name}")
    return fields[name]


def _refuse(code: int, why: str) -> Response:
    return json_response({"success": False, "code": code, "msg": why})
