"""What lies behind the page's loopback server: the tasks API, signed; the files that it links to;
and, in the embedded run, the simulator's control endpoint.

The page sees one origin. A link that the API answers is followed here, and the address of an upload
form is replaced by one of ours, so that the page's policy names no other host.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from functions.api.routes import ROUTES
from talkdrop.loopback import FOREIGN_POLICY, Answer, Request, problem
from talkdrop.wire import Unreachable, Wire

_ID = "[0-9a-f]{4,32}"
_FORWARDED = [
    (method, re.compile(re.escape(path).replace(re.escape("{task_id}"), _ID)))
    for method, path in (route.split() for route in ROUTES)
]
_CONTROL = re.compile(r"ledger|faults|faults/f[0-9]{1,9}|state|callbacks")
_MOST_JSON_BYTES = 256 << 10
_PIECE_BYTES = 64 << 10
# A portrait is asked for with every list; what a link leads to is one version of one object.
_KEPT = "private, max-age=600"
_SHOWN_TYPES = ("image/", "audio/", "video/", "application/json")
_OF_A_FILE = ("content-length", "content-range", "accept-ranges", "etag", "last-modified")


class ApiRelay:
    """`page` is what the page must know of where it is; `simulator` the control endpoint's address,
    empty on AWS. `http` goes to S3 and to the simulator."""

    def __init__(
        self,
        wire: Wire,
        http: httpx.Client,
        page: Mapping[str, Any],
        *,
        simulator: str = "",
    ) -> None:
        self._wire, self._http = wire, http
        self._page = {**page, "rehearsal": bool(simulator)}
        self._simulator = simulator
        self._forms: list[str] = []  # where upload forms went, by the number that the page is given

    def answer(self, request: Request) -> Answer | None:
        where, _, rest = request.path.removeprefix("/").partition("/")
        try:
            if request.method == "GET" and request.path == "/config.json":
                return _json(HTTPStatus.OK, self._page)
            if where == "api":
                return self._api(request, f"/{rest}")
            if where == "storage" and request.method == "POST":
                return self._store(request, rest)
            if where == "rehearsal" and self._simulator:
                return self._control(request, rest)
        except Unreachable as error:
            return problem(HTTPStatus.BAD_GATEWAY, str(error))
        except (ClientError, BotoCoreError) as error:
            return problem(HTTPStatus.BAD_GATEWAY, f"your AWS credentials do not work: {error}")
        except httpx.TransportError as error:
            return problem(HTTPStatus.BAD_GATEWAY, f"it cannot be reached ({error}): try again")
        return None

    def _api(self, request: Request, path: str) -> Answer | None:
        if not any(
            request.method == method and pattern.fullmatch(path) for method, pattern in _FORWARDED
        ):
            return None
        if request.length > _MOST_JSON_BYTES:
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is larger than 256 KiB")
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        headers = _some(request.headers, "content-type", "idempotency-key")
        found = self._wire.exchange(
            request.method, path, query, request.body.read(request.length), headers
        )
        if found.status_code == HTTPStatus.FOUND:
            return self._file(found.headers["location"], request.headers)
        if path == "/uploads" and found.status_code == HTTPStatus.CREATED:
            return _json(HTTPStatus.CREATED, self._form(found.json()))
        return _as_it_came(found)

    def _file(self, link: str, headers: Mapping[str, str]) -> Answer:
        """What a presigned link leads to, or the part of it that was asked for, in pieces."""
        wanted = _some(headers, "range", "if-range") | {"Accept-Encoding": "identity"}
        found = self._http.send(self._http.build_request("GET", link, headers=wanted), stream=True)
        kind = found.headers.get("content-type", "")
        shown = kind if kind.startswith(_SHOWN_TYPES) else "application/octet-stream"
        return Answer(
            found.status_code,
            {
                **_some(found.headers, *_OF_A_FILE[1:]),
                "Content-Type": shown,
                "Content-Security-Policy": FOREIGN_POLICY,
                "Cache-Control": "no-store" if found.is_error else _KEPT,
            },
            _pieces(found),
            int(found.headers["content-length"]) if "content-length" in found.headers else None,
        )

    def _form(self, form: Mapping[str, Any]) -> dict[str, Any]:
        """An upload form that the page sends to us, and we to where it belongs."""
        if form["url"] not in self._forms:
            self._forms.append(form["url"])
        return {**form, "url": f"storage/{self._forms.index(form['url'])}"}

    def _store(self, request: Request, number: str) -> Answer | None:
        if not number.isdecimal() or int(number) >= len(self._forms):
            return None
        headers = _some(request.headers, "content-type") | {"Content-Length": str(request.length)}
        sent = self._http.post(self._forms[int(number)], content=_body(request), headers=headers)
        if sent.is_error:
            return problem(HTTPStatus(sent.status_code), f"S3 refused it: {sent.text[:300]}")
        return Answer(HTTPStatus.NO_CONTENT)

    def _control(self, request: Request, what: str) -> Answer | None:
        """The simulator's own answers. POST to a single fault removes it, and `faults/none` all."""
        removes = request.method == "POST" and what.startswith("faults/")
        what = "faults" if what == "faults/none" else what
        if not _CONTROL.fullmatch(what) or request.length > _MOST_JSON_BYTES:
            return None
        return _as_it_came(
            self._http.request(
                "DELETE" if removes else request.method,
                f"{self._simulator}/control/{what}",
                content=request.body.read(request.length),
            )
        )


def _some(headers: Mapping[str, str] | httpx.Headers, *names: str) -> dict[str, str]:
    return {name: headers[name] for name in names if name in headers}


def _json(status: HTTPStatus, body: Mapping[str, Any]) -> Answer:
    content = json.dumps(body, ensure_ascii=False).encode()
    return Answer(status, {"Content-Type": "application/json"}, content)


def _as_it_came(found: httpx.Response) -> Answer:
    """The reference page brings a policy of its own; all else is never shown by itself."""
    policy = found.headers.get("content-security-policy", FOREIGN_POLICY)
    kind = found.headers.get("content-type", "application/json")
    return Answer(
        found.status_code, {"Content-Type": kind, "Content-Security-Policy": policy}, found.content
    )


def _pieces(found: httpx.Response) -> Iterator[bytes]:
    try:
        yield from found.iter_raw(_PIECE_BYTES)
    finally:
        found.close()


def _body(request: Request) -> Iterator[bytes]:
    while piece := request.body.read(_PIECE_BYTES):
        yield piece
