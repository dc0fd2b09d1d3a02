"""Relay gateways that serve Kling's avatar under `/kling/v1`: any base_url, a Bearer key, and one
of several envelopes.

Three families are told apart by shape: Kling's own answer passed through; new-api, which wraps the
whole of it in a record of its own and gives ids of its own; and a flat record. Sources: "数字人
POST /kling/v1/videos/avatar/image2video", a relay's page made with Apifox (2026);
https://github.com/QuantumNous/new-api (2026); the relays' own pages (yunwu.ai, OneLinkAI,
modelsell; 2026).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from functions.providers import _gateway as gateway
from functions.providers import _kling_dialect as dialect
from functions.providers import base
from functions.providers._gateway import Gateway
from functions.providers.base import Job, JobStatus, JsonObject, Model, Outcome, RateLimit

STATES = {
    **dialect.STATES,
    # https://github.com/QuantumNous/new-api, model/task.go and relay/common (2026)
    "SUBMITTED": JobStatus.RUNNING,
    "NOT_START": JobStatus.RUNNING,
    "QUEUED": JobStatus.RUNNING,
    "IN_PROGRESS": JobStatus.RUNNING,
    "queued": JobStatus.RUNNING,
    "in_progress": JobStatus.RUNNING,
    "SUCCESS": JobStatus.SUCCEEDED,
    "FAILURE": JobStatus.FAILED,
    # flat records (modelsell and the like) and numbers (public code, 2026)
    "pending": JobStatus.RUNNING,
    "running": JobStatus.RUNNING,
    "success": JobStatus.SUCCEEDED,
    "completed": JobStatus.SUCCEEDED,
    "fail": JobStatus.FAILED,
    "0": JobStatus.RUNNING,
    "1": JobStatus.RUNNING,
    "2": JobStatus.FAILED,
    "3": JobStatus.SUCCEEDED,
}
# `code` of an accepted create, where there is a code at all
ACCEPTED = {"0", "200", "success", "None"}

AVATAR = Model(
    id="avatar",
    limits=dialect.LIMITS,  # the relay's page repeats Kling's
    settings={"mode": dialect.MODE, "audio_id": dialect.AUDIO_ID},
    # every relay has its own price: Kling's, as an estimate for the budget
    usd_per_second=dialect.PRICES["std"],
    price_by="mode",
    prices=dialect.PRICES,
    usual_seconds=300,
)


class Relay(Gateway):
    name: ClassVar[str] = "relay"
    host: ClassVar[str] = ""  # there is no default: the secret names the gateway
    models: ClassVar[Mapping[str, Model]] = {AVATAR.id: AVATAR}
    rate_limit: ClassVar[RateLimit] = RateLimit(submits=5, seconds=10)  # none is published
    retention_days: ClassVar[int] = 30  # Kling's; no relay says its own
    # new-api keeps the charge of a failed task: https://github.com/QuantumNous/new-api/issues/2050
    charges_failed_jobs: ClassVar[bool | None] = True
    states: ClassVar[Mapping[str, JobStatus]] = STATES

    def body(self, request: base.Request, settings: Mapping[str, object]) -> JsonObject:
        """All seven fields of the relay's page, empty where unused: it lists every one of them as
        required."""
        return {
            "image": dialect.encoded(request.portrait),
            "audio_id": settings.get("audio_id", ""),
            "sound_file": dialect.encoded(request.voice) if request.voice else "",
            "prompt": request.prompt,
            "mode": settings.get("mode", "std"),
            "callback_url": request.callback_url or "",
            "external_task_id": request.external_id,
        }

    def accepted(self, answer: base.Answer) -> Job:
        """The outermost id is the gateway's own, which is the one it will be asked for."""
        ids = [base.opaque_id(one.get("task_id") or one.get("id")) for one in layers(answer.body)]
        job_id = next(filter(None, ids), None)
        refused = gateway.refusal(answer)[0] or str(answer.body.get("code")) not in ACCEPTED
        if refused or job_id is None:
            raise self.create_error(answer)
        return Job(job_id, JobStatus.RUNNING)

    def named_job(self, answer: base.Answer) -> str | None:
        ids = [base.opaque_id(one.get("task_id")) for one in layers(answer.body)]
        return next(filter(None, ids), None)

    def refusal(self, answer: base.Answer) -> base.ProviderError:
        inner = base.json_object(answer.body.get("message"))
        if dialect.code_of(inner) is not None:  # fail_to_fetch_task: Kling's own body, as a text
            return super().refusal(replace(answer, body=inner))
        code = answer.body.get("code")
        if isinstance(code, str) and code not in ACCEPTED and dialect.code_of(answer.body) is None:
            return super().refusal(replace(answer, body=_as_refusal(answer.body)))
        return super().refusal(answer)

    def classify(self, status: int, code: str, message: str) -> Outcome:
        clear = gateway.TOO_MANY.search(message) or gateway.CREDITS.search(message)
        if code == "task_failed" and not clear:
            # Kling refused, and its code was lost on the way
            status = 400 if status < 300 else status
        return super().classify(status, code, message)

    def record(self, answer: base.Answer) -> JsonObject:
        records = [
            one for one in layers(answer.body) if one.get("task_id") or one.get("task_status")
        ]
        if not records:
            raise self.query_error(answer)
        return _normal(records, self.states)

    def query_error(self, answer: base.Answer) -> base.ProviderError:
        if isinstance(answer.body.get("code"), str) and dialect.code_of(answer.body) is None:
            return super().query_error(replace(answer, body=_as_refusal(answer.body)))
        return super().query_error(answer)

    @classmethod
    def read_callback(cls, headers: Mapping[str, str], body: bytes) -> base.Hint:  # noqa: ARG003
        records = [one for one in layers(base.json_object(body)) if one.get("task_id")]
        if not records:
            return base.Hint()
        record = _normal(records, cls.states)
        state = cls.states.get(str(record["task_status"]))
        final = None if state is None else state is not JobStatus.RUNNING
        return base.Hint(job_id=base.opaque_id(records[0]["task_id"]), final=final)


def layers(body: JsonObject) -> Iterator[JsonObject]:
    """The body and the `data` in it, from the outermost inwards, four deep at most."""
    for _ in range(4):
        if body:
            yield body
        body = base.json_object(body.get("data"))


def _normal(records: list[JsonObject], states: Mapping[str, JobStatus]) -> JsonObject:
    """One record in Kling's words out of the layers: the gateway's word on the state first, Kling's
    link to the video first, since the gateway's own may want a key."""
    words = [str(one.get("task_status") or one.get("status")) for one in records]
    infos = [one["task_info"] for one in reversed(records) if one.get("task_info")]
    made = [one["created_at"] for one in reversed(records) if one.get("created_at")]
    return {
        "task_status": next((one for one in words if one in states), words[0]),
        "task_status_msg": _reason(records),
        "task_result": {"videos": [{"url": _video(records)}]},
        "task_info": next(iter(infos), {}),
        # The vendor's own where it is there: it is the same by whichever id the job was found.
        "created_at": next(iter(made), None),
    }


def _reason(records: list[JsonObject]) -> str:
    names = ("fail_reason", "task_status_msg", "error")
    reasons = [one.get(name) for one in records for name in names]
    messages = [base.json_object(one).get("message") or one for one in reasons if one]
    return next((one for one in messages if isinstance(one, str)), "")


def _video(records: list[JsonObject]) -> str | None:
    names = ("result_url", "url", "video_url", "fail_reason")
    links = [dialect.video_of(one) for one in reversed(records)]
    links += [base.link(one.get(name)) for one in records for name in names]
    return next(filter(None, links), None)


def _as_refusal(body: JsonObject) -> JsonObject:
    """new-api's `{"code": "task_not_exist", "message": ...}` in the shape of its other envelope."""
    return {"error": {"code": body["code"], "message": body.get("message")}}
