"""Kling's create, query and callbacks, as the official host, CometAPI and the relays speak them.

https://app.klingai.com/global/dev/document-api (the legacy /v1 APIs) · its avatar page,
"数字人对口型".
"""

from __future__ import annotations

import base64
import time
from typing import Any

from local.simulator.avatars import AvatarProvider, AvatarRequest, Trouble, avatar_request
from local.simulator.callbacks import Letter, standard_webhooks_signature
from local.simulator.contract import RefusalError
from local.simulator.engine import FORGED_LINK
from local.simulator.faults import Subject
from local.simulator.jobs import FAILED, PROCESSING, SUBMITTED, SUCCEEDED, Job
from local.simulator.provider import digits
from local.simulator.server import Request, Response, json_response
from local.simulator.speech import Speech, SpeechProvider

AVATAR, TTS, VOICES = "/v1/videos/avatar/image2video", "/v1/audio/tts", "/v1/general/presets-voices"

# business code -> HTTP status and text
CODES = {
    1000: (401, "Authentication failed"),
    1001: (401, "Authorization is empty"),
    1002: (401, "Authorization is invalid"),
    1003: (401, "Authorization is not yet valid"),
    1004: (401, "Authorization has expired"),
    1100: (429, "Account exception"),
    1101: (429, "Account in arrears"),
    1102: (429, "Account balance not enough"),
    1103: (403, "Unauthorized access to the requested resource"),
    1200: (400, "Invalid request parameters"),
    1201: (400, "Invalid parameters, such as incorrect key or illegal value"),
    1202: (404, "The requested method is invalid"),
    1203: (404, "The requested resource does not exist"),
    1300: (400, "Trigger the platform's policy"),
    1301: (400, "Trigger the platform's content security policy"),
    1302: (429, "The API request is too fast"),
    1303: (429, "parallel task over resource pack limit"),
    1304: (429, "Trigger the platform's IP whitelist policy"),
    5000: (500, "Server internal error"),
    5001: (503, "Server temporarily unavailable, under maintenance"),
    5002: (504, "Server internal timeout, a large backlog of requests"),
}
WORDS = {SUBMITTED: "submitted", PROCESSING: "processing", SUCCEEDED: "succeed", FAILED: "failed"}
UNITS_PER_SECOND = {"std": 0.4, "pro": 0.8}
USUAL_SECONDS = {"std": (150.0, 5.0), "pro": (200.0, 8.0)}


class KlingDialect(AvatarProvider, SpeechProvider):
    """Create, query and callbacks in Kling's words; who speaks it differs in paths, refusals and
    prices."""

    prefix = ""
    unit, rates = "units", UNITS_PER_SECOND
    request_id_on_create = True

    @property
    def speech(self) -> Speech:
        return Speech(self)

    def failure(self, reason: str) -> tuple[str, str]:
        known = {
            "internal": "Server internal error",
            "moderation": "Failure to pass the risk control system",
        }
        return "", known.get(reason, reason)

    def new_id(self) -> str:
        return digits(18, "88")

    def new_link(self, job: Job) -> str:
        job.video_id = digits(18, "88")
        return f"/out/{job.video_id}.mp4"

    def create(self, request: Request) -> Response:
        try:
            body = request.json()
        except ValueError:
            return self.refuse(1200, "The request body is not valid JSON")
        if not isinstance(body, dict):
            return self.refuse(1200)
        job_id = self.new_id()
        known = [
            str(body.get(name) or "") for name in ("external_task_id", "callback_url", "prompt")
        ]
        subject = Subject(self.name, job_id, *known)
        try:
            return self.engine.receive(self, subject, lambda: self._make(job_id, body))
        except RefusalError as refusal:
            return refusal.answer

    def created(self, job: Job) -> Response:
        names = ("task_id", "task_info", "task_status", "created_at", "updated_at")
        record = self.record(job)
        data = {name: record[name] for name in names} | {"task_id": job.id}
        return json_response(self.envelope(data, request_id=self.request_id_on_create))

    def admit(self, wanted: AvatarRequest) -> None:
        """Refuse what has nothing to do with the request itself: balance, slots, an id used
        before."""

    def _make(self, job_id: str, body: dict[str, Any]) -> Response:
        try:
            wanted = avatar_request(body, self)
            self.admit(wanted)
            portrait, voice, error = wanted.media(self)
        except Trouble as trouble:
            raise RefusalError(self.refuse(trouble.code, str(trouble))) from None
        upstream_id = job_id if job_id.isdigit() else digits(18, "88")
        job = Job(
            job_id,
            self.name,
            f"avatar-{wanted.mode}",
            self.engine.clock.now(),
            prompt=wanted.prompt,
            external_id=wanted.external_id,
            callback_url=wanted.callback_url,
            upstream_id=upstream_id,
            request={"watermark": wanted.watermark},
            portrait=portrait.name,
            voice=voice.name,
            seconds=voice.seconds,
            mode=wanted.mode,
            price=round(self.rates[wanted.mode] * voice.seconds, 3 if self.unit == "USD" else 1),
            unit=self.unit,
            error=error,
        )
        self._accept(wanted, job)
        return self.created(job)

    def _accept(self, wanted: AvatarRequest, job: Job) -> None:
        """While the files were fetched another request may have taken the slot, or the same
        external id."""
        with self.engine.book.lock:
            try:
                self.admit(wanted)
            except Trouble as trouble:
                raise RefusalError(self.refuse(trouble.code, str(trouble))) from None
            self.engine.accept(job, USUAL_SECONDS[wanted.mode])

    def query(self, job_id: str, by_external_id: bool) -> tuple[Job | None, Response | None]:
        """The job asked for, or what came in between."""
        job = self.engine.find(self.name, job_id, by_external_id)
        return job, self.engine.disturb(self, job.subject if job else Subject(self.name), "query")

    def notice(self, job: Job) -> dict[str, Any] | None:
        """The raw object, at every change, with the upstream's id also behind a relay."""
        record = self.record(job)
        result = {
            name: record[name]
            for name in ("task_id", "task_status", "task_status_msg", "created_at", "updated_at")
        }
        result["task_info"] = {"parent_video": {}} | record["task_info"]
        if job.status == SUCCEEDED:
            result |= {
                name: record[name] for name in ("final_unit_deduction", "final_balance_deduction")
            }
            videos = (record["task_result"] or {"videos": []})["videos"]
            kept = ("id", "url", "duration")
            result["task_result"] = {
                "images": [],
                "videos": [{name: video[name] for name in kept} for video in videos],
            }
        return result

    def signature(self, letter: Letter) -> dict[str, str]:
        """Standard Webhooks, if there is a secret; while one replaces another, both sign."""
        keys = self.webhook_secrets()
        if not keys:
            return {}
        if not letter.genuine:
            keys = ["whsec_" + base64.b64encode(b"a forger's guess").decode()]
        message, now = f"msg_{letter.id}", int(time.time())
        signed = [standard_webhooks_signature(key, message, now, letter.content) for key in keys]
        return {
            "webhook-id": message,
            "webhook-timestamp": str(now),
            "webhook-signature": " ".join(signed),
        }

    def webhook_secrets(self) -> list[str]:
        """Behind a relay it is the relay's account that could have one; its customer does not."""
        return []

    def record(self, job: Job, *, by_query: bool = False) -> dict[str, Any]:
        """Kling's own record of the job."""
        record: dict[str, Any] = {
            "task_id": job.upstream_id,
            "task_status": (self.engine.word(job) if by_query else None) or WORDS[job.status],
            "task_status_msg": job.error[1] if job.status == FAILED and job.error else "",
            "task_info": self._task_info(job),
            "task_result": {},
            "watermark_info": {"enabled": bool(job.request.get("watermark"))},
            "created_at": int(job.created * 1000),
            "updated_at": int(job.updated * 1000),
        }
        if job.status == SUCCEEDED:
            record["task_result"] = self._result(job, by_query)
            record["final_unit_deduction"] = f"{UNITS_PER_SECOND[job.mode] * job.seconds:.1f}"
            record["final_balance_deduction"] = {"quota": "0", "list_price": "0"}
        return record

    def _task_info(self, job: Job) -> dict[str, str]:
        return {"external_task_id": job.external_id} if job.external_id else {}

    def _result(self, job: Job, by_query: bool) -> dict[str, Any] | None:
        flaw = "" if job.link == FORGED_LINK else self.engine.flaw(job, by_query=by_query)
        if flaw:
            return {"videos": []} if flaw == "empty_result" else None
        url = self.engine.url(job.link)
        marked = url if job.request.get("watermark") else ""
        video = {
            "id": job.video_id,
            "url": url,
            "watermark_url": marked,
            "duration": f"{job.seconds:.2f}",
        }
        return {"videos": [video]}
