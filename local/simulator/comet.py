"""CometAPI: Kling's bodies on success, an envelope of its own on refusal, HTML on a wrong path.

https://apidoc.cometapi.com · its page "Create a Kling avatar task".
"""

from __future__ import annotations

import hmac
import secrets
from datetime import UTC, datetime

from local.simulator.avatars import EXAMPLE_AUDIO_ID
from local.simulator.kling_dialect import AVATAR, CODES, TTS, VOICES, KlingDialect
from local.simulator.server import Request, Response, html_response, json_response

FALLBACK = "/v1/videos/image2video"  # where the documentation's list of query paths would have it
TEXTS = {
    400: "invalid request",
    401: "invalid token",
    403: "access denied",
    429: "rate limit exceeded, please retry later",
    500: "internal server error",
    503: "service temporarily unavailable",
}


class Comet(KlingDialect):
    """2 to 60 seconds, a prompt is required, and Kling itself posts the callbacks."""

    name = "comet"
    prefix = "/kling"
    too_fast, closed = 429, 503
    longest_voice = 60.0
    request_id_on_create = False

    @property
    def prompt_required(self) -> bool:
        return self.options.comet_prompt == "required"

    @property
    def key(self) -> str:
        return self.options.comet_key

    def answer(self, request: Request) -> Response:
        path = request.path.removeprefix(self.prefix)
        if not request.path.startswith(self.prefix + "/"):
            return Response(301, b"", {"Location": "https://api.cometapi.com/kling" + request.path})
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(errors="replace"), f"Bearer {self.key}".encode()):
            return self.refuse(401)
        if (request.method, path) == ("POST", AVATAR):
            return self.create(_as_documented(request))
        if (request.method, path) in (("POST", TTS), ("GET", VOICES)):
            return self.speech.answer(request)
        paths = (
            (AVATAR + "/", FALLBACK + "/") if self.options.comet_avatar_query else (FALLBACK + "/",)
        )
        if request.method == "GET" and path.startswith(paths):
            return self._one(path.rpartition("/")[2])
        return html_response(200, "CometAPI")

    def refuse(self, code: int, why: str = "") -> Response:
        """Kling's own refusals come through in Kling's envelope."""
        if code >= 1000:
            status, text = CODES.get(code, (400, "Error"))
            return json_response({"code": code, "message": why or text}, status)
        stamp = f"{datetime.now(UTC):%Y%m%d%H%M%S}{secrets.token_hex(8)}"
        message = f"{why or TEXTS.get(code, 'error')} (request id: {stamp})"
        error = {
            "message": message,
            "type": "comet_api_error",
            "param": "",
            "code": "invalid_request",
        }
        if code in (401, 429):
            error["code"] = ""
        return json_response({"error": error}, code)

    def _one(self, job_id: str) -> Response:
        job, disturbed = self.query(job_id, by_external_id=True)
        if disturbed:
            return disturbed
        if job is None:
            return self.refuse(400, "task_not_exist")
        return json_response(self.envelope(self.record(job, by_query=True)))


def _as_documented(request: Request) -> Request:
    """The example on the documentation's page is only `{"image": "example"}`: it is completed, so
    that it can be tried.

    Every other request is taken as it is.
    """
    try:
        body = request.json()
    except ValueError:
        return request
    if body != {"image": "example"}:
        return request
    completed = f'{{"image":"example","audio_id":"{EXAMPLE_AUDIO_ID}","prompt":"example"}}'
    return Request(request.method, request.path, request.query, request.headers, completed.encode())
