"""kie.ai, the jobs API: https://docs.kie.ai/market/common/get-task-detail

The HTTP status is nearly always 200 and the body's `code` is the real one, so the code is read
first. There is no idempotency key and no way to search: what proves that a job is ours is the
callback URL, which the record repeats.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar

from functions.providers import base
from functions.providers._kie_models import MODELS
from functions.providers.base import (
    Job,
    JobStatus,
    JsonObject,
    Media,
    Model,
    Outcome,
    RateLimit,
)

# https://docs.kie.ai/market/common/get-task-detail (June 2026): any other word means that it runs.
STATES = {
    "waiting": JobStatus.RUNNING,
    "queuing": JobStatus.RUNNING,
    "generating": JobStatus.RUNNING,
    "success": JobStatus.SUCCEEDED,
    "fail": JobStatus.FAILED,
    "failed": JobStatus.FAILED,  # this and the next: seen by public clients, November 2026
    "error": JobStatus.FAILED,
}
# recordInfo answers these codes with no data about a job that has ended: its generation failed, or
# its upstream gave nothing for ten minutes (https://docs.kie.ai/market/common/get-task-detail).
ENDED_CODES = (408, 501)

DOUBT: Outcome = (base.Ambiguous, "a job may have been made: look at https://kie.ai/logs")
# https://docs.kie.ai/market/infinitalk/from-audio and https://docs.kie.ai (error codes), June to
# August 2026. 500 is what createTask says of a media URL that it cannot fetch (recorded in April
# 2026), and, by production logs of others, now and then of a request that passes minutes later, or
# whose job was made: so 500 and 501 are doubt.
CREATE_CODES: Mapping[int, Outcome] = {
    400: (base.Rejected, "correct the task's settings"),
    401: (base.AccountRejected, "check the api_key (secret of provider kie)"),
    402: (base.AccountRejected, "top up the account or switch provider (secret of provider kie)"),
    403: (base.AccountRejected, "check the key's rights and its IP list at https://kie.ai/api-key"),
    404: (base.Rejected, "the model or the endpoint is not there; check the model's name"),
    408: DOUBT,
    422: (
        base.Rejected,
        "correct the task's settings, or the model's name if it is no longer published",
    ),
    429: (base.RejectedLater, "too many requests; it will be sent again"),
    433: (
        base.AccountRejected,
        "the key has used up its own cap; raise it at https://kie.ai/api-key",
    ),
    451: (base.Rejected, "kie could not fetch the portrait"),
    455: (base.RejectedLater, "kie is being maintained; it will be sent again"),
    500: (
        base.Ambiguous,
        "a job may have been made, or kie could not fetch the portrait or the voice: look at "
        "https://kie.ai/logs",
    ),
    501: DOUBT,
    505: (base.Rejected, "kie has switched this model off; choose another"),
}
MAINTENANCE_SECONDS = 300
USD_PER_CREDIT = Decimal("0.005")  # https://kie.ai/pricing, June 2026
UPLOAD_HOST = (
    "https://kieai.redpandaai.co"  # https://docs.kie.ai/file-upload-api, June 2026; kept for 3 days
)


class Kie(base.Provider):
    name: ClassVar[str] = "kie"
    host: ClassVar[str] = "https://api.kie.ai"
    states: ClassVar[Mapping[str, JobStatus]] = STATES
    models: ClassVar[Mapping[str, Model]] = {model.id: model for model in MODELS}
    default_model: ClassVar[str] = "infinitalk/from-audio"
    # 20 creates in 10 s an account, the excess refused and not queued; "typically 100+" running
    # (docs.kie.ai, 2026-06)
    rate_limit: ClassVar[RateLimit] = RateLimit(submits=18, seconds=10, running=100)
    retention_days: ClassVar[int] = 14  # the same docs say 24 hours of the links: see fresh_link
    # "recordInfo is null" for a fresh job; public clients wait up to 90 s
    hidden_seconds: ClassVar[int] = 120
    # "Failed tasks are not charged" (a mirror of docs.kie.ai); two failures recorded at 0 credits
    charges_failed_jobs: ClassVar[bool | None] = False
    proves_by_callback_url: ClassVar[bool] = True
    signs_callbacks: ClassVar[bool] = True
    tells_balance: ClassVar[bool] = True
    media_deliveries: ClassVar[tuple[base.Delivery, ...]] = (
        "url",
        "upload",
        "upload-base64",
        "upload-url",
    )

    def prepare(self, request: base.Request) -> base.Request:
        """The uploads, where media are not fetched by kie itself."""
        portrait, voice = (
            replace(media, url=self._url(media, request.external_id), delivery="url", content=None)
            if media
            else None
            for media in (request.portrait, request.voice)
        )
        return replace(request, portrait=portrait or request.portrait, voice=voice)

    def submit(self, request: base.Request) -> Job:
        model = self.model(request.model)
        create = {
            "model": model.id,
            "callBackUrl": request.callback_url,
            "input": {
                "image_url": self._url(request.portrait, request.external_id),
                "audio_url": self._url(request.voice, request.external_id),
                "prompt": model.prompt(request.prompt),
                **model.taken(request.settings),
            },
        }
        answer = base.paid_post(
            self.client,
            f"{self.base_url}/api/v1/jobs/createTask",
            headers=self.bearer(),
            json_body={name: value for name, value in create.items() if value is not None},
        )
        job_id = base.opaque_id(_data(answer).get("taskId"))
        if _code(answer) == 200 and job_id:
            return Job(job_id, JobStatus.RUNNING)
        raise self._create_error(answer, job_id)

    def fetch(self, job_id: str) -> Job:
        answer = base.ask(
            self.client,
            f"{self.base_url}/api/v1/jobs/recordInfo",
            headers=self.bearer(),
            params={"taskId": job_id},
        )
        record = _data(answer)
        if not record and _code(answer) in ENDED_CODES:
            reason = self.clean(_message(answer), answer)
            return Job(job_id, JobStatus.FAILED, error_code=str(_code(answer)), error=reason)
        if not record.get("state") and not record.get("taskId"):
            raise self._query_error(answer)
        if (record.get("taskId") or job_id) != job_id:
            raise self.error_of(
                base.Unavailable, "OTHER_JOB", "the record of another job", f"wanted {job_id}"
            )
        return self._job(job_id, record, answer)

    def probe(self) -> None:
        credit = self.balance_usd()
        if credit is not None and credit <= 0:
            raise self.error_of(base.AccountRejected, "402", "no credits", CREATE_CODES[402][1])

    def balance_usd(self) -> Decimal | None:
        answer = base.ask(self.client, f"{self.base_url}/api/v1/chat/credit", headers=self.bearer())
        credits = base.balance(answer.body.get("data"))
        if _code(answer) != 200:
            raise self._query_error(answer)
        return None if credits is None else credits * USD_PER_CREDIT

    def fresh_link(self, video_url: str) -> str:
        """kie's links may die after a day, its files after 14: this asks for a link of 20 minutes
        to the same file."""
        url = f"{self.base_url}/api/v1/common/download-url"
        answer = base.call(
            self.client,
            url,
            headers=self.bearer(),
            broken=base.Unavailable,
            json={"url": video_url},
        )
        return (base.link(answer.body.get("data")) if _code(answer) == 200 else None) or video_url

    @classmethod
    def read_callback(cls, headers: Mapping[str, str], body: bytes) -> base.Hint:  # noqa: ARG003
        payload = base.json_object(body)
        record = base.json_object(payload.get("data")) or payload
        state = STATES.get(str(record.get("state")))
        ids = _ids(payload)
        return base.Hint(
            job_id=base.opaque_id(ids.pop()) if len(ids) == 1 else None,
            final=None if state is None else state is not JobStatus.RUNNING,
        )

    @classmethod
    def callback_is_genuine(
        cls, headers: Mapping[str, str], body: bytes, keys: tuple[str, ...], now: float
    ) -> bool:
        """base64(HMAC-SHA256(key, taskId + "." + timestamp)); the body is not signed.

        https://docs.kie.ai/common-api/webhook-verification, June 2026. The page finds the id in
        three places: they must agree, or a signature for one job could carry the name of another.
        """
        stamp = base.header(headers, "x-webhook-timestamp")
        ids = _ids(base.json_object(body))
        if not base.is_fresh(stamp, now) or len(ids) != 1:
            return False
        job_id = ids.pop()
        if "." in job_id:  # "a.1" + "." + "2" and "a" + "." + "1.2" would sign alike
            return False
        given = base.header(headers, "x-webhook-signature").encode()
        matches = [hmac.compare_digest(given, sign(key, job_id, stamp)) for key in keys]
        return any(matches)

    def _url(self, media: Media | None, external_id: str) -> str:
        if media is None:
            raise base.Rejected("kie needs a voice: it cannot speak a text", code="NO_VOICE")
        return (
            media.url if media.url and media.delivery == "url" else self._upload(media, external_id)
        )

    def _upload(self, media: Media, external_id: str) -> str:
        """https://docs.kie.ai/file-upload-api, June 2026. The same name overwrites, and late; kept
        for three days."""
        host = str(self.credentials.get("upload_base_url") or UPLOAD_HOST).rstrip("/")
        target = {"uploadPath": f"talkdrop/{external_id}", "fileName": media.name}
        content: dict[str, Any]  # httpx's own arguments
        match media.delivery:
            case "upload-url":
                path, content = "file-url-upload", {"json": {"fileUrl": media.url, **target}}
            case "upload-base64":
                encoded = base64.b64encode(media.content or b"").decode()
                path, content = "file-base64-upload", {"json": {"base64Data": encoded, **target}}
            case _:
                file = (media.name, media.content or b"", media.content_type)
                path, content = "file-stream-upload", {"files": {"file": file}, "data": target}
        answer = base.call(self.client, f"{host}/api/{path}", headers=self.bearer(), **content)
        code = _code(answer)
        url = base.link(_data(answer).get("downloadUrl"))
        if code == 200 and url:
            return url
        kind, advice = CREATE_CODES.get(code or answer.status, (base.NotSent, ""))
        if kind is not base.AccountRejected:
            kind, advice = (
                base.NotSent,
                "the upload failed and nothing was bought; it will be sent again",
            )
        raise self.error_of(kind, str(code or answer.status), _message(answer), advice, answer)

    def _create_error(self, answer: base.Answer, job_id: str | None) -> base.ProviderError:
        """Which refusal it was; a job's id, or any data, beside a refusal proves that we do not
        understand it."""
        code = _code(answer)
        outcome = CREATE_CODES.get(code or answer.status, DOUBT) if code else self._bare(answer)
        if _data(answer):
            outcome = DOUBT
        kind, advice = outcome
        shown = str(code or f"HTTP {answer.status}")
        error = self.error_of(kind, shown, _message(answer), advice, answer)
        if isinstance(error, base.RejectedLater) and 455 in (code, answer.status):
            error.retry_seconds = max(error.retry_seconds, MAINTENANCE_SECONDS)
        return self.with_job(error, job_id)

    def _bare(self, answer: base.Answer) -> Outcome:
        return CREATE_CODES[455] if answer.status == 455 else self.by_status(answer.status)

    def _query_error(self, answer: base.Answer) -> base.ProviderError:
        code = _code(answer)
        kind: type[base.ProviderError] = base.Unavailable
        advice = "asked again later"
        if (code or answer.status) == 401:
            kind, advice = base.AccountRejected, CREATE_CODES[401][1]
        elif code in (200, 404, 422):
            kind, advice = base.JobNotFound, "no such job, or not yet"
        shown = str(code or f"HTTP {answer.status}")
        return self.error_of(kind, shown, _message(answer), advice, answer)

    def _job(self, job_id: str, record: JsonObject, answer: base.Answer) -> Job:
        """Of `failCode` and `failMsg` we know strings, numbers and null; of `param` and
        `resultJson`, an object, and one encoded once or twice."""
        word = str(record.get("state"))
        status = STATES.get(word, JobStatus.RUNNING)
        failed = status is JobStatus.FAILED
        reason = self.clean(str(record.get("failMsg") or "kie gave no reason"), answer)
        credits = base.amount(record.get("creditsConsumed", record.get("consumeCredits")))
        return Job(
            job_id,
            status,
            video_url=_video(record) if status is JobStatus.SUCCEEDED else None,
            error_code=str(record.get("failCode") or "fail") if failed else "",
            error=reason if failed else "",
            charge_usd=None if credits is None else credits * USD_PER_CREDIT,
            callback_url=base.link(base.json_object(record.get("param")).get("callBackUrl")),
            unknown_word="" if word in STATES else word[:40],
            created_at=base.moment(record.get("createTime")),
        )


def sign(key: str, job_id: str, stamp: str) -> bytes:
    return base64.b64encode(hmac.digest(key.encode(), f"{job_id}.{stamp}".encode(), hashlib.sha256))


def _video(record: JsonObject) -> str | None:
    urls = base.json_object(record.get("resultJson")).get("resultUrls")
    links = map(base.link, urls if isinstance(urls, list) else [urls])
    return next(filter(None, links), None)


def _code(answer: base.Answer) -> int | None:
    """The body's code where there is kie's envelope, else None. Seen as a number; a string is read
    as well."""
    text = str(answer.body.get("code"))
    return int(text) if re.fullmatch("[0-9]{3}", text) else None


def _data(answer: base.Answer) -> JsonObject:
    return base.json_object(answer.body.get("data"))


def _message(answer: base.Answer) -> str:
    message = answer.body.get("msg") or answer.body.get("message")
    return message if isinstance(message, str) else answer.excerpt()


def _ids(payload: JsonObject) -> set[str]:
    """Every id that a callback names, wherever it stands."""
    record = base.json_object(payload.get("data"))
    values = [one.get(name) for one in (record, payload) for name in ("taskId", "task_id")]
    return {value for value in values if isinstance(value, str) and value}
