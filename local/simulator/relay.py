"""Relay gateways that resell Kling's avatar: envelopes A (passed through), B (new-api) and D
(flat).

A relay's page, "数字人"; new-api's source for B; a reseller's pages for D.
"""

from __future__ import annotations

import hmac
import json
import secrets
import string
import uuid
from datetime import UTC, datetime
from typing import Any

from local.simulator.jobs import ENDED, FAILED, PROCESSING, SUBMITTED, SUCCEEDED, Job
from local.simulator.kling_dialect import AVATAR, CODES, TTS, VOICES, KlingDialect
from local.simulator.rendering import FRAMES_PER_SECOND
from local.simulator.server import Request, Response, json_response

DOLLARS_PER_SECOND = {"std": 0.056, "pro": 0.112}
QUOTA_PER_DOLLAR = 500_000
TEXTS = {
    400: "Invalid request",
    401: "Invalid token",
    403: "insufficient quota",
    429: "Too many requests, please try again later",
    500: "Internal server error",
    503: "No available channel for this model",
}


class Relay(KlingDialect):
    """A: the upstream's answers, untouched."""

    name = "relay"
    prefix = "/kling"
    too_fast, closed = 429, 503
    prepaid = True
    unit, rates = "USD", DOLLARS_PER_SECOND
    rewrites = False
    finds_external_ids = True

    @property
    def key(self) -> str:
        return self.options.relay_key

    def answer(self, request: Request) -> Response:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(errors="replace"), f"Bearer {self.key}".encode()):
            return self.refuse(401)
        path = request.path.removeprefix(self.prefix)
        if request.path.startswith(self.prefix + "/"):
            if (request.method, path) == ("POST", AVATAR):
                return self.create(request)
            if request.method == "GET" and path.startswith(AVATAR + "/"):
                return self._one(path.removeprefix(AVATAR + "/"))
            if (request.method, path) in (("POST", TTS), ("GET", VOICES)):
                return self.speech.answer(request)
        return self.refuse(404, f"Invalid URL ({request.method} {request.path})")

    def new_id(self) -> str:
        wish = self.options.relay_rewrites
        if wish == "yes" or (wish == "usual" and self.rewrites):
            return "task_" + "".join(
                secrets.choice(string.ascii_letters + string.digits) for _ in range(32)
            )
        return super().new_id()

    def refuse(self, code: int, why: str = "") -> Response:
        """The gateway's own refusals in new-api's envelope, the upstream's as they are."""
        if code >= 1000:
            status, text = CODES.get(code, (400, "Error"))
            return json_response(
                {"code": code, "message": why or text, "request_id": str(uuid.uuid4())}, status
            )
        stamp = f"{datetime.now(UTC):%Y%m%d%H%M%S}{secrets.token_hex(8)}"
        message = f"{why or TEXTS.get(code, 'error')} (request id: {stamp})"
        return json_response(
            {"error": {"message": message, "type": "new_api_error", "code": ""}}, code
        )

    def found(self, job: Job) -> dict[str, Any]:
        """The body of a query's answer."""
        return self.envelope(self.record(job, by_query=True) | {"task_id": job.id})

    def _one(self, job_id: str) -> Response:
        by_external_id = self.finds_external_ids and self.options.relay_external_ids == "keep"
        job, disturbed = self.query(job_id, by_external_id)
        if disturbed:
            return disturbed
        if job is None:
            return json_response(
                {"code": "task_not_exist", "message": "task_not_exist", "data": None}, 400
            )
        return json_response(self.found(job))

    def _task_info(self, job: Job) -> dict[str, str]:
        return super()._task_info(job) if self.options.relay_external_ids == "keep" else {}


class NewApiRelay(Relay):
    """B: stock new-api around Kling: a task record in seconds and percent, the upstream's envelope
    nested in it."""

    name = "relay-b"
    rewrites = True
    finds_external_ids = False

    def created(self, job: Job) -> Response:
        fields = {
            "id": job.id,
            "task_id": job.id,
            "object": "video",
            "model": "kling-v1",
            "status": "queued",
        }
        return json_response(fields | {"progress": 0, "created_at": int(job.created)})

    def new_link(self, job: Job) -> str:
        self.engine.publish(
            _content(job), f"videos/{job.video}", "video/mp4", self.link_hours, job.id
        )
        return super().new_link(job)

    def refuse(self, code: int, why: str = "") -> Response:
        if code < 1000:
            return super().refuse(code, why)
        return json_response(
            {
                "code": "task_failed",
                "message": why or CODES.get(code, (400, "Error"))[1],
                "data": None,
            },
            400,
        )

    def found(self, job: Job) -> dict[str, Any]:
        words = {
            SUBMITTED: "SUBMITTED",
            PROCESSING: "IN_PROGRESS",
            SUCCEEDED: "SUCCESS",
            FAILED: "FAILURE",
        }
        upstream = self.record(job)
        done = job.status == SUCCEEDED and self.engine.flaw(job) == ""
        data = {
            "id": 8000 + int(job.created) % 1000,
            "created_at": int(job.created),
            "updated_at": int(job.updated),
            "task_id": job.id,
            "platform": "50",
            "user_id": 12,
            "group": "default",
            "channel_id": 7,
            "quota": int(job.price * QUOTA_PER_DOLLAR),
            "action": "generate",
            "status": self.engine.word(job) or words[job.status],
            "fail_reason": upstream["task_status_msg"],
            "result_url": self.engine.url(_content(job)) if done else "",
            "submit_time": int(job.created),
            "start_time": int(job.processing_at) if job.status != SUBMITTED else 0,
            "finish_time": int(job.ended or 0),
            "progress": "100%"
            if job.status in ENDED
            else "30%"
            if job.status == PROCESSING
            else "10%",
            "properties": {},
            "data": self.envelope(upstream),
        }
        return {"code": "success", "message": "", "data": data}


def _content(job: Job) -> str:
    return f"/v1/videos/{job.id}/content"


class FlatRelay(Relay):
    """D: one flat object."""

    name = "relay-d"
    rewrites = True
    finds_external_ids = False

    def created(self, job: Job) -> Response:
        return json_response({"task_id": job.id, "status": "queued"})

    def refuse(self, code: int, why: str = "") -> Response:
        if code < 1000:
            return super().refuse(code, why)
        status, text = CODES.get(code, (400, "Error"))
        return json_response(
            {"error": {"message": why or text, "type": "upstream_error", "code": str(code)}}, status
        )

    def found(self, job: Job) -> dict[str, Any]:
        words = {
            SUBMITTED: "queued",
            PROCESSING: "in_progress",
            SUCCEEDED: "completed",
            FAILED: "failed",
        }
        fields: dict[str, Any] = {
            "task_id": job.id,
            "status": self.engine.word(job) or words[job.status],
        }
        if job.status == SUCCEEDED:
            flaw = self.engine.flaw(job)
            url: Any = {"empty_result": "", "malformed_result": json.dumps({})}.get(
                flaw, self.engine.url(job.link)
            )
            fields |= {
                "url": url,
                "format": "mp4",
                "metadata": {"duration": round(job.seconds, 2), "fps": FRAMES_PER_SECOND},
            }
        if job.status == FAILED and job.error:
            fields["error"] = {"code": 400, "message": job.error[1]}
        return fields
