"""The place where finished videos lie, and the ways a download can go wrong."""

from __future__ import annotations

import re
from email.utils import formatdate
from pathlib import Path
from urllib.parse import unquote

from local.simulator.engine import Engine
from local.simulator.faults import Subject
from local.simulator.server import Request, Response, html_response, json_response

WRONG = {
    "html": html_response(200, "Just a moment..."),
    "json": json_response({"code": 404, "msg": "file not found"}),
    "empty": Response(200, b"", {"Content-Type": "video/mp4"}),
    "not_a_video": Response(200, b"\x89PNG\r\n\x1a\n" + bytes(4096), {"Content-Type": "video/mp4"}),
}


class Results:
    """GET and HEAD, with ranges and ETags, until the link dies."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def answer(self, request: Request) -> Response:
        link = self._engine.book.get("link", unquote(request.path))
        if link is None:
            return _xml(404, "NoSuchKey", "The specified key does not exist.")
        if request.method not in ("GET", "HEAD"):
            return _xml(
                405,
                "MethodNotAllowed",
                "The specified method is not allowed against this resource.",
            )
        if self._engine.clock.now() > link["dies"]:
            return _xml(404, "NoSuchKey", "The specified key does not exist.")
        job = self._engine.book.by_id(link["job_id"])
        spoiled = self._spoiled(job.subject) if job else None
        if spoiled and not spoiled.file and spoiled.wire not in ("drip", "truncated"):
            return spoiled
        answer = _file(request, self._engine.folder / link["file"], link["type"])
        if spoiled:
            answer.wire, answer.amount = spoiled.wire, spoiled.amount
        return answer

    def _spoiled(self, subject: Subject) -> Response | None:
        faults = self._engine.faults
        if expired := faults.strike("link_expired", subject):
            return _xml(expired["status"], "AccessDenied", "Request has expired")
        if redirect := faults.strike("redirect", subject):
            return Response(302, b"", {"Location": str(redirect["to"])})
        if wrong := faults.strike("wrong_content", subject):
            return Response(wire="truncated") if wrong["as"] == "truncated" else WRONG[wrong["as"]]
        if huge := faults.strike("huge", subject):
            start = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41" + bytes(1 << 16)
            return Response(
                200, start, {"Content-Type": "video/mp4"}, wire="huge", amount=huge["bytes"]
            )
        if drip := faults.strike("drip", subject):
            return Response(wire="drip", amount=drip["bytes_per_second"])
        return None


def _file(request: Request, path: Path, kind: str) -> Response:
    about = path.stat()
    etag = f'"{about.st_mtime_ns:x}-{about.st_size:x}"'
    headers = {
        "Content-Type": kind,
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Last-Modified": formatdate(about.st_mtime, usegmt=True),
    }
    if request.headers.get("if-none-match") in (etag, "*"):
        return Response(304, b"", headers)
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if not wanted or wanted.groups() == ("", "") or request.headers.get("if-range", etag) != etag:
        return Response(200, b"", headers, path, 0, about.st_size)
    first, last = wanted.groups()
    begin = int(first) if first else max(0, about.st_size - int(last))
    end = min(int(last) if first and last else about.st_size - 1, about.st_size - 1)
    if begin > end:
        return Response(416, b"", {"Content-Range": f"bytes */{about.st_size}"})
    headers["Content-Range"] = f"bytes {begin}-{end}/{about.st_size}"
    return Response(206, b"", headers, path, begin, end - begin + 1)


def _xml(status: int, code: str, message: str) -> Response:
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    page = f'<?xml version="1.0" encoding="UTF-8"?>\n{error}'
    return Response(status, page.encode(), {"Content-Type": "application/xml"})
