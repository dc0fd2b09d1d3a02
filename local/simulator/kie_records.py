"""kie's record of a job: as recordInfo answers it, and as a callback carries it."""

from __future__ import annotations

import json
from typing import Any

from local.simulator.engine import Engine
from local.simulator.jobs import FAILED, PROCESSING, SUBMITTED, SUCCEEDED, Job


class Records:
    """In the shape of the recorded traffic, or of the documentation (`--kie-shape`)."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._options = engine, engine.options

    @property
    def are_recorded(self) -> bool:
        return self._options.kie_shape == "recorded"

    def notice(self, job: Job) -> dict[str, Any] | None:
        if job.status not in (SUCCEEDED, FAILED):
            return None
        record = self.of(job, by_query=False)
        record["param"] = _compact(
            {"callBackUrl": job.callback_url, "model": job.model, "input": job.request["input"]}
        )
        record["updateTime"] = _ms((job.ended or 0) + 0.1)
        if job.status == FAILED:
            record |= {"resultJson": None, "costTime": 0, "consumeCredits": 0}
            return {"code": 501, "msg": "Playground task failed.", "data": record}
        record["creditsConsumed"] = int(job.price)
        return {"code": 200, "msg": "Playground task completed successfully.", "data": record}

    def of(self, job: Job, *, by_query: bool) -> dict[str, Any]:
        done, failed = job.status == SUCCEEDED, job.status == FAILED
        code, why = job.error if failed and job.error else (None, None)
        took = (job.ended or 0) - job.created
        record: dict[str, Any] = {
            "taskId": job.id,
            "model": job.model,
            "state": (self._engine.word(job) if by_query else None) or self._state(job),
            "param": self._param(job),
            "resultJson": self._result(job, by_query) if done else "",
            "failCode": code,
            "failMsg": why,
            "costTime": (0 if failed else int(took)) if job.ended else None,
            "completeTime": _ms(job.ended) if job.ended else None,
            "createTime": _ms(job.created),
        }
        if not self.are_recorded:
            record |= {"failCode": code or "", "failMsg": why or "", "updateTime": _ms(job.updated)}
            record |= {
                "costTime": int(took * 1000) if done else 0,
                "completeTime": record["completeTime"] or 0,
            }
            record["creditsConsumed"] = int(job.price) if done else 0
        return record

    def _state(self, job: Job) -> str:
        if job.status in (SUCCEEDED, FAILED):
            return "success" if job.status == SUCCEEDED else "fail"
        if self._options.kie_states == "all":
            early = self._engine.clock.now() < (job.processing_at + job.created) / 2
            return {SUBMITTED: "waiting" if early else "queuing", PROCESSING: "generating"}[
                job.status
            ]
        return self._options.kie_states

    def _param(self, job: Job) -> str:
        if not self.are_recorded:
            return _compact(job.request)
        param = {"input": _compact(job.request["input"])}
        if job.callback_url:
            param["callBackUrl"] = job.callback_url
        return _compact(param | {"model": job.model})

    def _result(self, job: Job, by_query: bool) -> str:
        flaw = self._engine.flaw(job, by_query=by_query)
        if flaw == "malformed_result":
            return '{"resultUrls":["http'
        return _compact(
            {"resultUrls": [] if flaw == "empty_result" else [self._engine.url(job.link)]}
        )


def _compact(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def _ms(moment: float) -> int:
    return int(moment * 1000)
