"""Kling and the gateways in front of it, as docs/providers 3 to 5 have them."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import httpx

from tests.faults.jobs import Job
from tests.faults.sockets import RESULTS_HOST
from tests.faults.vendor import Vendor, as_json

_SPEECH = "/v1/audio/tts"


class Kling(Vendor):
    """docs/providers 3: business codes under HTTP statuses, raw callbacks at every change."""

    name = "kling"
    host = "api-singapore.klingai.com"
    path = "/v1/videos/avatar/image2video"
    refusals: ClassVar = {
        "key": (401, 1002),
        "credits": (429, 1102),
        "rate": (429, 1302),
        "maintenance": (503, 5001),
    }
    is_unique = True
    most_running = 5

    def refusal(self, why: str) -> httpx.Response:
        status, code = self.refusals[why]
        return as_json({"code": code, "message": f"refused: {why}", "request_id": "r"}, status)

    def create(self, request: httpx.Request) -> httpx.Response:
        request_body = json.loads(request.content)
        if request.url.path == _SPEECH:
            return self._speaks(request_body)
        external_id = request_body.get("external_task_id", "")
        if why := self.shut():
            return self.refusal(why)
        if self.is_unique:
            is_known = any(job.external_id == external_id for job in self.jobs.values())
            if is_known and not self.plan.traits.takes_ids_twice:
                status, code, message = _DUPLICATES[self.plan.traits.duplicate_words]
                return as_json({"code": code, "message": message, "request_id": "r"}, status)
            running = [
                job
                for job in self.jobs.values()
                if job.status(self.clock.now) in ("queued", "running")
            ]
            if len(running) >= self.most_running:
                return as_json(
                    {"code": 1303, "message": "parallel task over resource pack limit"}, 429
                )
        job = self.accept(
            request_body,
            request_body.get("callback_url", ""),
            external_id,
            [request_body["image"], request_body.get("sound_file", "")],
        )
        if job is None:
            return as_json(
                {"code": 1201, "message": "cannot read the image or the sound", "request_id": "r"},
                400,
            )
        return as_json(
            {"code": 0, "message": "SUCCEED", "request_id": "r", "data": self.record(job, "queued")}
        )

    def _speaks(self, request_body: dict[str, Any]) -> httpx.Response:
        if why := self.shut():
            return self.refusal(why)
        self.speeches.append((request_body["text"], self.clock.now))
        return self._speech(len(self.speeches))

    def _speech(self, number: int) -> httpx.Response:
        """A speech by its number: at work for a while, then an audio's id."""
        is_ready = self.clock.now - self.speeches[number - 1][1] >= self.plan.traits.speech_seconds
        audios = {"task_result": {"audios": [{"id": f"audio-{number}"}]}} if is_ready else {}
        status = "succeed" if is_ready else "processing"
        data = {"task_id": f"speech-{number}", "task_status": status, **audios}
        return as_json({"code": 0, "message": "SUCCEED", "data": data})

    def denial(self) -> httpx.Response:
        return as_json({"code": 5000, "message": "Server internal error", "request_id": "r"}, 500)

    def query(self, request: httpx.Request) -> httpx.Response:
        if self.plan.outage(self.clock.now) == "credits":
            return self.refusal("credits")
        if request.url.path == self.path:
            return as_json(
                {
                    "code": 0,
                    "message": "SUCCEED",
                    "data": self._page(request.url.params),
                }
            )
        wanted = request.url.path.rsplit("/", 1)[-1]
        if request.url.path.startswith(_SPEECH):
            return self._speech(int(wanted.removeprefix("speech-")))
        job = self.jobs.get(wanted)
        if job is None and self.is_unique and not self.plan.traits.finds_theirs_only:
            job = next((one for one in self.jobs.values() if one.external_id == wanted), None)
        if job is None or not job.is_known(self.clock.now):
            return self.unknown()
        return as_json(
            {"code": 0, "message": "SUCCEED", "request_id": "r", "data": self.record(job)}
        )

    def _page(self, params: httpx.QueryParams) -> list[dict[str, Any]]:
        """Newest first; a job comes into the list some time after it was made."""
        traits, number = self.plan.traits, int(params.get("pageNum", 1))
        size = min(int(params.get("pageSize", 30)), traits.page_size)
        listed = [
            job
            for job in self.jobs.values()
            if self.clock.now - job.accepted_at >= traits.list_lag
            and (job.is_known(self.clock.now) or not job.script.forgotten_after)
        ]
        return [self.record(job) for job in listed[::-1][(number - 1) * size : number * size]]

    def unknown(self) -> httpx.Response:
        return as_json({"code": 1203, "message": "task not found", "request_id": "r"}, 404)

    def record(self, job: Job, status: str = "") -> dict[str, Any]:
        status = status or job.status(self.clock.now)
        words = {
            "queued": "submitted",
            "running": "processing",
            "success": "succeed",
            "fail": "failed",
        }
        videos = [
            {"id": "v", "url": f"http://{RESULTS_HOST}/out/{job.job_id}.mp4", "duration": "3.04"}
        ]
        made = (
            {"task_result": {"videos": videos}, "final_unit_deduction": "1.2"}
            if status == "success"
            else {}
        )
        omitted = self.plan.traits.records_omit
        dates = {
            "created_at": int(job.accepted_at * 1000),
            "updated_at": int(self.clock.now * 1000),
        }
        ours = {"task_info": {"external_task_id": job.external_id}}
        return {
            "task_id": job.job_id,
            "task_status": words[status],
            **({} if omitted == "dates" else dates),
            "task_status_msg": "Failure to pass the risk control system"
            if status == "fail"
            else "",
            **({} if omitted == "proof" else ours),
            **made,
        }

    def callback_body(self, job: Job, status: str) -> dict[str, Any]:
        return self.record(job, status)

    def intermediate(self, job: Job) -> list[str]:
        return ["queued", "running"]


class Relay(Kling):
    """docs/providers 5, family A: Kling's words passed through, our id a tag that nothing looks
    at."""

    name = "relay"
    host = "relay.gateway.test"
    path = "/kling/v1/videos/avatar/image2video"
    is_unique = False

    @property
    def hides_its_callbacks_jobs(self) -> bool:
        return False

    @property
    def proves_by_address(self) -> bool:
        return bool(self.plan.traits.records_omit == "proof")

    def unknown(self) -> httpx.Response:
        return as_json({"code": "task_not_exist", "message": "task_not_exist", "data": None}, 400)


class Comet(Relay):
    """docs/providers 4: an id of the gateway's own, while the callback comes from Kling itself and
    names Kling's."""

    name = "comet"
    host = "api.cometapi.com"

    def unknown(self) -> httpx.Response:
        error = {"code": "task_not_exist", "message": "task not found", "type": "comet_api_error"}
        return as_json({"error": error}, 404)

    @property
    def hides_its_callbacks_jobs(self) -> bool:
        return not self.plan.traits.finds_upstream_ids

    def known_as(self, job_id: str) -> Job | None:
        found = (job for job in self.jobs.values() if job_id in (job.job_id, upstream(job)))
        return next(found, None)

    def query(self, request: httpx.Request) -> httpx.Response:
        wanted = request.url.path.rsplit("/", 1)[-1]
        job = self.known_as(wanted)
        if job is None or (wanted != job.job_id and not self.plan.traits.finds_upstream_ids):
            return self.unknown()
        own = httpx.Request("GET", str(request.url).replace(wanted, job.job_id))
        return super().query(own)

    def callback_body(self, job: Job, status: str) -> dict[str, Any]:
        return {**self.record(job, status), "task_id": upstream(job)}


def upstream(job: Job) -> str:
    """What Kling calls a job that a gateway bought."""
    return str(int(job.job_id) + 7_000_000_000)


_DUPLICATES = {
    "named": (400, 1201, "external_task_id already exists"),
    "generic": (400, 1201, "Invalid request parameters"),
    "parallel": (429, 1303, "parallel task over resource pack limit"),
    "server": (500, 5000, "Server internal error"),
}
