"""Relay gateways that serve Kling's avatar under `/kling/v1`: any base_url, a Bearer key, and whose
envelope you get.

Three families are told apart by shape: Kling's own answer passed through; new-api, which wraps the
whole of it in a record of its own and gives ids of its own; and a flat record. Sources: seed of the
relay, https://github.com/QuantumNous/new-api (2026), and the relays' own pages (yunwu.ai,
OneLinkAI, modelsell; 2026).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar

from functions.providers import base, comet, kling
from functions.providers.base import Job, JobStatus, Model, RateLimit
from functions.providers.comet import Comet
from functions.providers.kling import STATES, Verdict

WORDS = {
    **STATES,
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
ACCEPTED = {
    "0",
    "200",
    "success",
    "None",
}  # `code` of an accepted create, where there is a code at all

AVATAR = Model(
    id="avatar",
    limits=kling.LIMITS,  # seed of the relay
    settings=comet.AVATAR.settings,
    # every relay has its own price: Kling's, as an estimate for the budget
    usd_per_second=Decimal("0.056"),
    price_by="mode",
    prices=kling.AVATAR.prices,
    usual_seconds=300,
)


class Relay(Comet):
    name: ClassVar[str] = "relay"
    host: ClassVar[str] = ""  # there is no default: the secret names the gateway
    models: ClassVar[Mapping[str, Model]] = {AVATAR.id: AVATAR}
    rate_limit: ClassVar[RateLimit] = RateLimit(submits=5, seconds=10)  # none is published
    states: ClassVar[Mapping[str, JobStatus]] = WORDS

    def body(self, request: base.Request, settings: Mapping[str, Any]) -> dict[str, Any]:
        """All seven fields of the seed, empty where unused: it lists every one of them as
        required."""
        return {
            "image": kling.carried(request.portrait),
            "audio_id": settings.get("audio_id", ""),
            "sound_file": kling.carried(request.voice) if request.voice else "",
            "prompt": request.prompt,
            "mode": settings.get("mode", "std"),
            "callback_url": request.callback_url or "",
            "external_task_id": request.external_id,
        }

    def fetch(self, job_id: str) -> Job:
        answer = base.ask(self.client, self.url(f"{self.path}/{job_id}"), headers=self.headers())
        return self.job(job_id, self.record(answer))

    def accepted(self, answer: base.Answer) -> Job:
        """The outermost id is the gateway's own, which is the one it will be asked for."""
        ids = [base.opaque_id(one.get("task_id") or one.get("id")) for one in layers(answer.body)]
        job_id = next(filter(None, ids), None)
        refused = comet.refusal(answer)[0] or str(answer.body.get("code")) not in ACCEPTED
        if refused or job_id is None:
            raise self.create_error(answer)
        return Job(job_id, JobStatus.RUNNING)

    def create_error(self, answer: base.Answer) -> base.ProviderError:
        inner = kling.code_of(base.json_object(answer.body.get("message")))
        if inner is not None:  # fail_to_fetch_task: Kling's own body, as a text
            body = base.json_object(answer.body.get("message"))
            return super().create_error(replace(answer, body=body))
        word = answer.body.get("code")
        if isinstance(word, str) and word not in ACCEPTED and kling.code_of(answer.body) is None:
            return super().create_error(replace(answer, body=_as_refusal(answer.body)))
        return super().create_error(answer)

    def judge(self, status: int, word: str, said: str) -> Verdict:
        if (
            word == "task_failed"
            and not comet.TOO_MANY.search(said)
            and not comet.CREDITS.search(said)
        ):
            status = (
                400 if status < 300 else status
            )  # Kling refused, and its code was lost on the way
        return super().judge(status, word, said)

    def record(self, answer: base.Answer) -> dict[str, Any]:
        records = [
            one for one in layers(answer.body) if one.get("task_id") or one.get("task_status")
        ]
        if not records:
            raise self.query_error(answer)
        return _normal(records, self.states)

    def query_error(self, answer: base.Answer) -> base.ProviderError:
        if isinstance(answer.body.get("code"), str) and kling.code_of(answer.body) is None:
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


def layers(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The body and the `data` in it, from the outermost inwards, four deep at most."""
    for _ in range(4):
        if body:
            yield body
        body = base.json_object(body.get("data"))


def _normal(records: list[Mapping[str, Any]], states: Mapping[str, JobStatus]) -> dict[str, Any]:
    """One record in Kling's words out of the layers: the gateway's word on the state first, Kling's
    link to the video first, since the gateway's own may want a key."""
    words = [str(one.get("task_status") or one.get("status")) for one in records]
    word = next((one for one in words if one in states), words[0])
    reasons = [
        one.get(name) for one in records for name in ("fail_reason", "task_status_msg", "error")
    ]
    told = [base.json_object(reason).get("message") or reason for reason in reasons if reason]
    links = [kling.video_of(one) for one in reversed(records)]
    links += [
        base.link(one.get(name))
        for one in records
        for name in ("result_url", "url", "video_url", "fail_reason")
    ]
    return {
        "task_status": word,
        "task_status_msg": next((one for one in told if isinstance(one, str)), ""),
        "task_result": {"videos": [{"url": next(filter(None, links), None)}]},
        "task_info": next(
            (one["task_info"] for one in reversed(records) if one.get("task_info")), {}
        ),
    }


def _as_refusal(body: Mapping[str, Any]) -> dict[str, Any]:
    """new-api's `{"code": "task_not_exist", "message": ...}` in the shape of its other envelope."""
    return {"error": {"code": body["code"], "message": body.get("message")}}
