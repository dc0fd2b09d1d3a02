"""Kling's official avatar API.

https://app.klingai.com/global/dev/document-api (the legacy /v1 APIs) · its avatar page,
"数字人对口型".
"""

from __future__ import annotations

import base64
import hmac
import json
import time
import uuid

from local.simulator.avatars import AvatarRequest, Trouble
from local.simulator.faults import Subject
from local.simulator.jobs import Job
from local.simulator.kling_dialect import AVATAR, CODES, TTS, VOICES, KlingDialect
from local.simulator.server import Request, Response, json_response

COSTS = "/account/costs"


class Kling(KlingDialect):
    """The official host: API key or JWT, slots, lists, external ids that find a job."""

    name = "kling"
    too_fast, closed = 1302, 5001

    @property
    def blanks_refused(self) -> bool:
        return bool(self.options.kling_blanks == "refuse")

    @property
    def key(self) -> str:
        return self.options.kling_key

    def answer(self, request: Request) -> Response:
        code = self._who(request.headers.get("authorization", ""))
        if code:
            return self.refuse(code)
        method, path = request.method, request.path
        if path == AVATAR and method == "POST":
            return self.create(request)
        if path == AVATAR and method == "GET":
            return self._list(request)
        if path.startswith(AVATAR + "/") and method == "GET":
            return self._one(path.removeprefix(AVATAR + "/"))
        if (method, path) in (("POST", TTS), ("GET", VOICES)):
            return self.speech.answer(request)
        if method == "GET" and path.startswith(TTS + "/"):
            return self.speech.query(path.removeprefix(TTS + "/"))
        if (method, path) == ("GET", COSTS):
            return self._costs(request)
        known = path.startswith(AVATAR) or path in (TTS, VOICES, COSTS)
        return self.refuse(1202 if known else 1203)

    def refuse(self, code: int, why: str = "") -> Response:
        status, text = CODES.get(code, (400, "Error"))
        body = {"code": code, "message": why or text, "request_id": str(uuid.uuid4())}
        headers = self.limit_headers(self.options.kling_slots, 5) if code in (1302, 1303) else {}
        return json_response(body, status, **headers)

    def late(self) -> Response:
        return self.refuse(5002)

    def admit(self, wanted: AvatarRequest) -> None:
        way = self.options.kling_duplicates
        blocked = way != "accept" and wanted.external_id
        if blocked and self.engine.book.by_external_id(self.name, wanted.external_id):
            known = f"external_task_id already exists: {wanted.external_id}"
            raise Trouble(known if way == "refuse" else CODES[1201][1])
        if self.engine.book.spent(self.name) >= self.options.kling_units:
            raise Trouble("", 1102)
        slots = self.options.kling_slots
        if slots and self.engine.book.running(self.name) >= slots:
            raise Trouble("", 1303)

    def webhook_secrets(self) -> list[str]:
        return [secret for secret in self.options.kling_webhook_secret.split(",") if secret]

    def _one(self, job_id: str) -> Response:
        job, disturbed = self.query(job_id, self.options.kling_lookup == "both")
        if disturbed:
            return disturbed
        if job is None:
            return self.refuse(int(self.options.kling_unknown_task), f"Task not found: {job_id}")
        return json_response(self.envelope(self.record(job, by_query=True)))

    def _list(self, request: Request) -> Response:
        if disturbed := self.engine.disturb(self, Subject(self.name), "query"):
            return disturbed
        try:
            page, size = (
                int(request.query.get("pageNum", 1)),
                int(request.query.get("pageSize", 30)),
            )
        except ValueError:
            return self.refuse(1201, "pageNum and pageSize must be integers")
        if not 1 <= page <= 1000 or not 1 <= size <= 500:
            return self.refuse(1201, "pageNum must be in [1, 1000] and pageSize in [1, 500]")
        size = min(size, self.options.kling_list_page or size)
        jobs = self._listed()[(page - 1) * size : page * size]
        return json_response(self.envelope([self.record(job, by_query=True) for job in jobs]))

    def _listed(self) -> list[Job]:
        oldest = self.engine.clock.now() - self.options.record_days * 86_400
        newest = self.engine.clock.now() - self.options.kling_list_lag_seconds
        jobs = [job for job in self.engine.book.jobs(self.name) if oldest <= job.created <= newest]
        return jobs if self.options.kling_list_order == "newest" else jobs[::-1]

    def _costs(self, request: Request) -> Response:
        """Resource packs and what is left of them: a free query. Both times are required."""
        if disturbed := self.engine.disturb(self, Subject(self.name), "query"):
            return disturbed
        if not all(request.query.get(name, "").isdigit() for name in ("start_time", "end_time")):
            return self.refuse(1201, "start_time and end_time must be Unix times in milliseconds")
        left = max(0.0, self.options.kling_units - self.engine.book.spent(self.name))
        now = int(self.engine.clock.now() * 1000)
        pack = {
            "resource_pack_name": "Video Generation",
            "resource_pack_id": "880000000000000900",
            "resource_pack_type": "decreasing_total",
            "total_quantity": self.options.kling_units,
            "remaining_quantity": round(left, 1),
            "purchase_time": now - 86_400_000,
            "effective_time": now - 86_400_000,
            "invalid_time": now + 90 * 86_400_000,
            "status": "online" if left else "runOut",
        }
        data = {"code": 0, "msg": "success", "resource_pack_subscribe_infos": [pack]}
        return json_response(self.envelope(data))

    def _who(self, authorization: str) -> int:
        """0, or the code of what is wrong with the key or the token."""
        if not authorization.strip():
            return 1001
        scheme, _, token = authorization.partition(" ")
        if scheme != "Bearer" or not token.strip():
            return 1002
        if token.count(".") == 2:
            return self._token(token)
        return 0 if hmac.compare_digest(token.encode(errors="replace"), self.key.encode()) else 1000

    def _token(self, token: str) -> int:
        """A JWT by HS256. Its times are the client's, so they are compared with the real time."""
        head, body, signature = token.split(".")
        try:
            header, claims, given = (
                json.loads(_decoded(head)),
                json.loads(_decoded(body)),
                _decoded(signature),
            )
            issuer, ends, begins = claims["iss"], float(claims["exp"]), float(claims.get("nbf", 0))
        except (ValueError, TypeError, KeyError, RecursionError):
            return 1002
        if issuer != self.options.kling_access_key:
            return 1000
        genuine = hmac.digest(
            self.options.kling_secret_key.encode(), f"{head}.{body}".encode(), "sha256"
        )
        if header.get("alg") != "HS256" or not hmac.compare_digest(genuine, given):
            return 1002
        now = time.time()
        return 1003 if now < begins else 1004 if now >= ends else 0


def _decoded(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
