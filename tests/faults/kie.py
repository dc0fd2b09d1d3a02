"""kie, as docs/providers 2 has it: no search, its record repeats the callback URL."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from typing import Any, ClassVar

import httpx

from tests.faults.jobs import Job
from tests.faults.sockets import RESULTS_HOST
from tests.faults.vendor import UPLOADS_HOST, Vendor, as_json


class Kie(Vendor):
    """docs/providers 2: HTTP 200 nearly always, the body's code is the real one."""

    name = "kie"
    host = "api.kie.ai"
    refusals: ClassVar = {"key": 401, "credits": 402, "rate": 429, "maintenance": 455}

    def serve(self, request: httpx.Request) -> httpx.Response:
        if request.url.host != UPLOADS_HOST:
            return super().serve(request)
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return self.refusal("key")
        found = re.search(rb"talkdrop/([0-9a-f]+-[0-9]+)", request.read())
        assert found
        self.uploads += 1
        url = f"https://{UPLOADS_HOST}/f/{found[1].decode()}/{self.uploads}"
        return as_json({"success": True, "code": 200, "data": {"downloadUrl": url}})

    uploads = 0

    def refusal(self, why: str) -> httpx.Response:
        return as_json({"code": self.refusals[why], "msg": f"refused: {why}", "data": None})

    def create(self, request: httpx.Request) -> httpx.Response:
        request_body = json.loads(request.content)
        if request.url.path.endswith("/download-url"):
            return as_json({"code": 200, "msg": "success", "data": request_body["url"]})
        if why := self.shut():
            return self.refusal(why)
        media = [request_body["input"]["image_url"], request_body["input"]["audio_url"]]
        job = self.accept(request_body, request_body.get("callBackUrl", ""), "", media)
        if job is None:
            return self.denial()
        return as_json(
            {"code": 200, "msg": "success", "data": {"taskId": job.job_id, "recordId": job.job_id}}
        )

    def denial(self) -> httpx.Response:
        return as_json(
            {"code": 500, "msg": "Server exception, please try again later", "data": None}
        )

    def query(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v1/chat/credit":
            if self.plan.outage(self.clock.now) == "credits":
                return as_json({"code": 200, "msg": "success", "data": 0})
            return as_json({"code": 200, "msg": "success", "data": self.shown_balance()})
        job = self.jobs.get(request.url.params.get("taskId", ""))
        if job is None or not job.is_known(self.clock.now):
            return as_json({"code": 422, "msg": "recordInfo is null", "data": None})
        return as_json({"code": 200, "msg": "success", "data": self.record(job)})

    def record(self, job: Job) -> dict[str, Any]:
        status = job.status(self.clock.now)
        param = {**job.request, "input": json.dumps(job.request["input"])}
        if self.plan.traits.records_omit == "proof":
            param.pop("callBackUrl", None)
        urls = json.dumps({"resultUrls": [f"http://{RESULTS_HOST}/k/{job.job_id}_1.mp4"]})
        over = status in ("success", "fail")
        return {
            "taskId": job.job_id,
            "model": job.request["model"],
            "param": json.dumps(param),
            "state": {"queued": "waiting", "running": "generating"}.get(status, status),
            "resultJson": urls if status == "success" else "",
            "failCode": "500" if status == "fail" else None,
            "failMsg": "Internal Error" if status == "fail" else None,
            "costTime": 188 if over else None,
            "creditsConsumed": (job.charge if status == "success" else 0) if over else None,
        }

    def callback_body(self, job: Job, status: str) -> dict[str, Any]:
        return {
            "code": 200 if status == "success" else 501,
            "msg": "done",
            "data": self.record(job),
        }

    def signed(self, job: Job, body: str) -> dict[str, str]:
        if not self.webhook_key:
            return super().signed(job, body)
        stamp = str(int(self.clock.now))
        mac = hmac.digest(
            self.webhook_key.encode(), f"{job.job_id}.{stamp}".encode(), hashlib.sha256
        )
        signature = {
            "X-Webhook-Timestamp": stamp,
            "X-Webhook-Signature": base64.b64encode(mac).decode(),
        }
        return {"Content-Type": "application/json", **signature}
