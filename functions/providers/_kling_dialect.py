"""Kling's avatar API as Kling, CometAPI and the relays all serve it: the path, the fields, the
status words and the error codes.

Sources, named below by these words:
    Kling's avatar page   "数字人对口型" (avatar, lip sync), 2025,
                          https://app.klingai.com/global/dev/document-api
    Kling's error codes   the same document, general information (2026)

Kling's own keys, speech and lists stand in `kling.py`, what gateways add in `_gateway.py`.
"""

from __future__ import annotations

import base64
import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import ClassVar

from functions.providers import base
from functions.providers.base import MB, Job, JobStatus, JsonObject, Limits, Media, Outcome, Setting

# Kling's avatar page: any other word means that the job runs.
STATES = {
    "submitted": JobStatus.RUNNING,
    "processing": JobStatus.RUNNING,
    "succeed": JobStatus.SUCCEEDED,  # sic
    "succeeded": JobStatus.SUCCEEDED,  # in the newer APIs
    "failed": JobStatus.FAILED,
}

# Kling's error codes. HTTP says 429 of 1100 to 1102 and of 1304 too, which no waiting mends: only
# the body's code tells.
KEY = "check the key (secret of provider kling)"
ACCOUNT = "top up the account, renew its pack or switch provider (secret of provider kling)"
CODES: Mapping[int, Outcome] = {
    1000: (base.AccountRejected, KEY),
    1001: (base.AccountRejected, KEY),
    1002: (base.AccountRejected, KEY),
    1003: (
        base.RejectedLater,
        "the clock here is ahead of Kling's; it will be signed and sent again",
    ),
    1004: (
        base.RejectedLater,
        "the clock here is behind Kling's; it will be signed and sent again",
    ),
    1100: (base.AccountRejected, ACCOUNT),
    1101: (base.AccountRejected, ACCOUNT),
    1102: (base.AccountRejected, ACCOUNT),
    1103: (base.AccountRejected, "the account has no right to this API"),
    1302: (base.RejectedLater, "too fast; it will be sent again"),
    1303: (base.RejectedLater, "as many jobs run as the pack allows; it will be sent again"),
    1304: (base.AccountRejected, "this address is not on the account's list of IP addresses"),
    5001: (base.RejectedLater, "Kling is being maintained; it will be sent again"),
}
# What the hundreds mean, for a code that is not above. 5000 and 5002 (time-out) may have made a
# job.
HUNDREDS: Mapping[int, Outcome] = {
    10: (base.AccountRejected, KEY),
    11: (base.AccountRejected, ACCOUNT),
    12: (base.Rejected, "correct the task's settings, or its files"),
    13: (base.Rejected, "Kling refuses this content: change the portrait, the voice or the prompt"),
}
DOUBT: Outcome = (base.Ambiguous, "a job may have been made; it is looked for by our own id")
# 1303 in words, as a failed job's reason carries it.
NO_SLOT = re.compile(r"(?i)\b1303\b|parallel task over resource pack limit")
RETRY_SECONDS = {1303: 30, 5001: 300}
# How a second use of an external_task_id is refused is documented nowhere; a refusal in these words
# may mean that a job of ours exists already.
DUPLICATE = re.compile(
    r"(?i)duplicat|already (?:exist|used|in use)|must be unique|not unique|重复|已存在"
)

# Kling's avatar page: jpg/png up to 10 MB, at least 300 px, 1:2.5 to 2.5:1; mp3/wav/m4a/aac up to
# 5 MB, 2 to 300 s.
LIMITS = Limits(
    image_types=frozenset({"image/jpeg", "image/png"}),
    audio_types=frozenset({"audio/mpeg", "audio/wav", "audio/mp4", "audio/aac"}),
    audio_bytes=5 * MB,
    image_min_pixels=300,
    image_max_ratio=2.5,
    audio_min_seconds=2,
    audio_max_seconds=300,
    prompt_characters=2500,
)
MODE = Setting(str, choices=("std", "pro"))
AUDIO_ID = Setting(str, least=1, most=128)
# 0.4 and 0.8 units a second at 0.14 USD (third parties, 2026; Kling publishes no price of its own
# for avatars).
PRICES = {"std": Decimal("0.056"), "pro": Decimal("0.112")}


class KlingDialect(base.Provider):
    """One avatar API, spoken by Kling itself and by gateways."""

    default_model: ClassVar[str] = "avatar"
    states: ClassVar[Mapping[str, JobStatus]] = STATES
    media_deliveries: ClassVar[tuple[base.Delivery, ...]] = ("url", "base64")
    path: ClassVar[str]

    def submit(self, request: base.Request) -> Job:
        model = self.model(request.model)
        settings = model.taken(request.settings)
        if bool(request.voice) == ("audio_id" in settings):
            raise self.one_voice()
        answer = base.paid_post(
            self.client,
            self.url(self.path),
            headers=self.headers(),
            json_body=self.body(replace(request, prompt=model.prompt(request.prompt)), settings),
        )
        return self.accepted(answer)

    def fetch(self, job_id: str) -> Job:
        answer = self.ask(f"{self.path}/{job_id}")
        return self.job(job_id, self.record(answer), answer)

    @classmethod
    def read_callback(cls, headers: Mapping[str, str], body: bytes) -> base.Hint:  # noqa: ARG003
        """A bare object without an envelope, at every change of status; gateways may wrap it."""
        payload = base.json_object(body)
        record = base.json_object(payload.get("data")) or payload
        state = cls.states.get(str(record.get("task_status")))
        final = None if state is None else state is not JobStatus.RUNNING
        return base.Hint(job_id=base.opaque_id(record.get("task_id")), final=final)

    # What differs between those that speak it.

    @abstractmethod
    def headers(self) -> dict[str, str]:
        """The key, as this host wants it."""

    def body(self, request: base.Request, settings: Mapping[str, object]) -> JsonObject:
        """The fields of a create. Empty ones are left out: "" passes at relays; Kling does not
        say."""
        fields = {
            "image": encoded(request.portrait),
            "audio_id": settings.get("audio_id"),
            "sound_file": encoded(request.voice) if request.voice else None,
            "prompt": request.prompt,
            "mode": settings.get("mode", "std"),
            "watermark_info": settings.get("watermark_info"),
            "callback_url": request.callback_url,
            "external_task_id": request.external_id,
        }
        return {name: value for name, value in fields.items() if value}

    def accepted(self, answer: base.Answer) -> Job:
        data = base.json_object(answer.body.get("data"))
        job_id = base.opaque_id(data.get("task_id"))
        if code_of(answer.body) == 0 and job_id:
            return Job(job_id, JobStatus.RUNNING, external_id=external_id_of(data))
        raise self.create_error(answer)

    def create_error(self, answer: base.Answer) -> base.ProviderError:
        return self.with_job(self.refusal(answer), self.named_job(answer))

    def named_job(self, answer: base.Answer) -> str | None:
        """The job that the answer to a create names, whatever else it says."""
        record = base.json_object(answer.body.get("data"))
        return base.opaque_id(record.get("task_id") or answer.body.get("task_id"))

    def refusal(self, answer: base.Answer) -> base.ProviderError:
        code = code_of(answer.body)
        if code is None:
            kind, advice = self.by_status(answer.status)
            return self.error_of(kind, f"HTTP {answer.status}", answer.excerpt(), advice, answer)
        message = str(answer.body.get("message") or answer.excerpt())
        kind, advice = classify(code, message)
        error = self.error_of(kind, str(code), message, advice, answer)
        if isinstance(error, base.RejectedLater):
            error.retry_seconds = max(error.retry_seconds, RETRY_SECONDS.get(code, 0))
        return error

    def ask(self, path: str, params: Mapping[str, str | int] | None = None) -> base.Answer:
        return base.ask(self.client, self.url(path), headers=self.headers(), params=params)

    def record(self, answer: base.Answer) -> JsonObject:
        """The job's record in the answer to a query, or the error that stands in its place."""
        data = base.json_object(answer.body.get("data"))
        if code_of(answer.body) == 0 and (data.get("task_status") or data.get("task_id")):
            return data
        raise self.query_error(answer)

    def query_error(self, answer: base.Answer) -> base.ProviderError:
        """How an unknown id is answered is documented nowhere: 1200, 1201 and 1203 can mean nothing
        else here."""
        code = code_of(answer.body)
        message = str(answer.body.get("message") or answer.excerpt())
        kind: type[base.ProviderError] = base.Unavailable
        advice = "asked again later"
        if code in (1000, 1001, 1002) or (code is None and answer.status == 401):
            kind, advice = base.AccountRejected, KEY.replace("kling", self.name)
        elif code in (0, 1200, 1201, 1203):
            kind, advice = base.JobNotFound, "no such job, or not yet"
        shown = str(code) if code is not None else f"HTTP {answer.status}"
        return self.error_of(kind, shown, message, advice, answer)

    def job(self, job_id: str, record: JsonObject, answer: base.Answer) -> Job:
        """A record as a job. One that failed for want of a slot (1303, on some hosts only found
        out after the create) is not final: its input is not to blame."""
        word = str(record.get("task_status"))
        status = self.states.get(word, JobStatus.RUNNING)
        reason = str(record.get("task_status_msg") or f"{self.name} gave no reason")
        refused_late = status is JobStatus.FAILED and bool(NO_SLOT.search(reason))
        status = JobStatus.RUNNING if refused_late else status
        failed = status is JobStatus.FAILED
        unknown = f"{word}: 1303" if refused_late else "" if word in self.states else word[:40]
        return Job(
            job_id,
            status,
            video_url=video_of(record) if status is JobStatus.SUCCEEDED else None,
            marked_url=marked_video_of(record) if status is JobStatus.SUCCEEDED else None,
            error_code=word if failed else "",
            error=self.clean(reason, answer) if failed or refused_late else "",
            charge_usd=self.charge(record),
            external_id=external_id_of(record),
            unknown_word=unknown,
            created_at=base.moment(record.get("created_at")),
            refused_late=refused_late,
        )

    def charge(self, record: JsonObject) -> Decimal | None:  # noqa: ARG002
        """What the record says was taken, in USD; None where it says so in units whose price is
        not known."""
        return None

    def one_voice(self) -> base.Rejected:
        return base.Rejected(
            f"{self.name} wants one voice: an audio file, an audio_id, or a text where it speaks",
            code="ONE_VOICE",
        )


def classify(code: int, message: str) -> Outcome:
    """What a Kling code means at create; the same words come through gateways."""
    if code // 100 == 12 and DUPLICATE.search(message):
        return DOUBT
    return CODES.get(code) or HUNDREDS.get(code // 100, DOUBT)


def encoded(media: Media) -> str:
    """A URL, or raw base64: a `data:` prefix is refused with 1201."""
    return media.url or base64.b64encode(media.content or b"").decode()


def code_of(body: JsonObject) -> int | None:
    text = str(body.get("code"))
    return int(text) if re.fullmatch("[0-9]{1,5}", text) else None


def video_of(record: JsonObject) -> str | None:
    """The video without watermark, which is the one that `url` names."""
    videos = base.objects(base.json_object(record.get("task_result")).get("videos"))
    links = (base.link(one.get("url") or one.get("watermark_url")) for one in videos)
    return next(filter(None, links), None)


def marked_video_of(record: JsonObject) -> str | None:
    """The same video with the provider's visible mark, where both are given."""
    videos = base.objects(base.json_object(record.get("task_result")).get("videos"))
    both = [one for one in videos if one.get("url") and one.get("watermark_url")]
    return base.link(both[0]["watermark_url"]) if both else None


def external_id_of(record: JsonObject) -> str | None:
    return base.opaque_id(base.json_object(record.get("task_info")).get("external_task_id"))
