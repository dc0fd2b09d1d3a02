"""Kling official, avatar: https://app.klingai.com/global/dev/document-api (the legacy /v1 APIs)

Our own id is sent as `external_task_id`, which is unique for ever in an account, so a job whose
answer was lost can be found again, and the same id sent again cannot buy twice.

A text can be the voice. Speech is bought first (`/v1/audio/tts`), in one call that has no id of
ours and cannot be looked up. Where the video is then not accepted, the error carries the `audio_id`
in `bought`, so that the next sending does not buy the speech again. Where the *speech's* answer is
lost, the call is Ambiguous like any other: no video was asked for, the lookup will find none, and
the same attempt is sent again, which costs the speech twice and the video once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

import httpx

from functions.providers import base
from functions.providers.base import MB, Job, JobStatus, Limits, Media, Model, RateLimit, Setting

Verdict = tuple[type[base.ProviderError], str]

# Seed of Kling, and https://app.klingai.com/global/dev/document-api (2026): any other word means
# that it runs.
STATES = {
    "submitted": JobStatus.RUNNING,
    "processing": JobStatus.RUNNING,
    "succeed": JobStatus.SUCCEEDED,  # sic
    "succeeded": JobStatus.SUCCEEDED,  # in the newer APIs
    "failed": JobStatus.FAILED,
}

# https://app.klingai.com/global/dev/document-api, general information, error codes (2026). HTTP
# says 429 of 1100 to 1102 and of 1304 too, which no waiting mends: only the body's code tells.
KEY = "check the key (secret of provider kling)"
ACCOUNT = "top up the account, renew its pack or switch provider (secret of provider kling)"
CODES: Mapping[int, Verdict] = {
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
HUNDREDS: Mapping[int, Verdict] = {
    10: (base.AccountRejected, KEY),
    11: (base.AccountRejected, ACCOUNT),
    12: (base.Rejected, "correct the task's settings, or its files"),
    13: (base.Rejected, "Kling refuses this content: change the portrait, the voice or the prompt"),
}
DOUBT: Verdict = (base.Ambiguous, "a job may have been made; it is looked for by our own id")
RETRY_SECONDS = {1303: 30, 5001: 300}
# How a second use of an external_task_id is refused is documented nowhere; whoever says this may
# hold our job already.
DUPLICATE = re.compile(
    r"(?i)duplicat|already (?:exist|used|in use)|must be unique|not unique|重复|已存在"
)

HOSTS = {  # https://app.klingai.com/global/dev/document-api, 2026-06
    "singapore": "https://api-singapore.klingai.com",
    "beijing": "https://api-beijing.klingai.com",
}
TOKEN_SECONDS = 1800
TOKEN_SKEW_SECONDS = 60  # the documentation's own five seconds are less than clocks differ
USD_PER_UNIT = Decimal("0.14")  # the 5,000-unit pack at $700 (third party, 2026)
LIST_PAGE = 500

# Seed of Kling: jpg/png up to 10 MB, at least 300 px, 1:2.5 to 2.5:1; mp3/wav/m4a/aac up to 5 MB, 2
# to 300 s.
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
AVATAR = Model(
    id="avatar",  # our word: the API has no model name, only a mode
    limits=LIMITS,
    settings={
        "mode": MODE,
        "watermark_info": Setting(dict),
        "audio_id": Setting(str, least=1, most=128),
        "text": Setting(str, least=1, most=1000, needs="voice_id"),
        "voice_id": Setting(str, least=1, most=128),
        "voice_language": Setting(str, choices=("zh", "en")),
        "voice_speed": Setting(float, least=0.8, most=2.0),
    },
    # 0.4 and 0.8 units a second (third party, 2026; Kling publishes no price of its own for
    # avatars)
    usd_per_second=Decimal("0.056"),
    price_by="mode",
    prices={"std": Decimal("0.056"), "pro": Decimal("0.112")},
    usual_seconds=300,
)


class Kling(base.Provider):
    name: ClassVar[str] = "kling"
    host: ClassVar[str] = HOSTS["singapore"]
    models: ClassVar[Mapping[str, Model]] = {AVATAR.id: AVATAR}
    default_model: ClassVar[str] = AVATAR.id
    rate_limit: ClassVar[RateLimit] = RateLimit(
        submits=10, seconds=10, running=5
    )  # 5 is the smallest pack's; no rate is documented
    retention_days: ClassVar[int] = 30
    finds_by_task_id: ClassVar[bool] = True
    signs_callbacks: ClassVar[bool] = True
    speaks_text: ClassVar[bool] = True
    media_deliveries: ClassVar[tuple[base.Delivery, ...]] = ("url", "base64")
    path: ClassVar[str] = "/v1/videos/avatar/image2video"
    states: ClassVar[Mapping[str, JobStatus]] = STATES
    usd_per_unit: ClassVar[Decimal | None] = USD_PER_UNIT

    def __init__(self, credentials: Mapping[str, Any], client: httpx.Client) -> None:
        super().__init__(credentials, client)
        if (region := credentials.get("region")) and not credentials.get("base_url"):
            self.base_url = HOSTS.get(str(region), "")

    def submit(self, request: base.Request) -> Job:
        model = self.model(request.model)
        settings = model.taken(request.settings)
        self._one_voice(request.voice, settings)
        url, headers = self.url(self.path), self.headers()
        bought = (
            {} if request.voice or "audio_id" in settings else {"audio_id": self._speak(settings)}
        )
        body = self.body(request, {**settings, **bought})
        try:
            return self.accepted(base.paid_post(self.client, url, headers=headers, json_body=body))
        except base.ProviderError as error:
            error.bought.update(bought)
            raise

    def fetch(self, job_id: str) -> Job:
        answer = base.ask(self.client, self.url(f"{self.path}/{job_id}"), headers=self.headers())
        record = self.record(answer)
        if (record.get("task_id") or job_id) != job_id:
            raise self.answered(
                base.Unavailable, "OTHER_JOB", "the record of another job", f"asked for {job_id}"
            )
        return self.job(job_id, record)

    def find(self, external_id: str) -> Job:
        """By our own id, and where that finds nothing, in the list: an older page of Kling's lets
        avatars be asked for by Kling's id alone."""
        try:
            answer = base.ask(
                self.client, self.url(f"{self.path}/{external_id}"), headers=self.headers()
            )
            found = [self.record(answer)]
        except base.JobNotFound:
            found = [
                record for record in self._list(LIST_PAGE) if _external_id(record) == external_id
            ]
        job_id = base.opaque_id(found[0].get("task_id")) if found else None
        if job_id is None:
            raise base.JobNotFound(f"{self.name} knows no job with our id {external_id}")
        if _external_id(found[0]) not in (None, external_id):
            raise self.answered(
                base.Unavailable, "OTHER_JOB", "another job", f"asked for {external_id}"
            )
        return self.job(job_id, found[0])

    def probe(self) -> None:
        self._list(1)

    @classmethod
    def read_callback(cls, headers: Mapping[str, str], body: bytes) -> base.Hint:  # noqa: ARG003
        """A bare object without an envelope, at every change of status; gateways may wrap it."""
        told = base.json_object(body)
        record = base.json_object(told.get("data")) or told
        state = cls.states.get(str(record.get("task_status")))
        final = None if state is None else state is not JobStatus.RUNNING
        return base.Hint(job_id=base.opaque_id(record.get("task_id")), final=final)

    @classmethod
    def callback_is_genuine(
        cls, headers: Mapping[str, str], body: bytes, keys: tuple[str, ...], now: float
    ) -> bool:
        """Standard Webhooks; for 7 days after a change of the secret Kling signs with both."""
        return base.standard_is_genuine(headers, body, keys, now)

    # What those that speak Kling's dialect do otherwise.

    def headers(self) -> dict[str, str]:
        access = str(self.credentials.get("access_key") or "").strip()
        secret = str(self.credentials.get("secret_key") or "").strip()
        if access and secret and not self.credentials.get("api_key"):
            now = int(time.time())
            return {
                "Authorization": (
                    f"Bearer {token(access, secret, now - TOKEN_SKEW_SECONDS, now + TOKEN_SECONDS)}"
                )
            }
        return {"Authorization": f"Bearer {self.key()}"}

    def body(self, request: base.Request, settings: Mapping[str, Any]) -> dict[str, Any]:
        wanted = {
            "image": carried(request.portrait),
            "audio_id": settings.get("audio_id"),
            "sound_file": carried(request.voice) if request.voice else None,
            "prompt": request.prompt,
            "mode": settings.get("mode", "std"),
            "watermark_info": settings.get("watermark_info"),
            "callback_url": request.callback_url,
            "external_task_id": request.external_id,
        }
        return {
            name: value for name, value in wanted.items() if value
        }  # "" passes at relays; Kling does not say

    def accepted(self, answer: base.Answer) -> Job:
        data = base.json_object(answer.body.get("data"))
        job_id = base.opaque_id(data.get("task_id"))
        if code_of(answer.body) == 0 and job_id:
            return Job(job_id, JobStatus.RUNNING, external_id=_external_id(data))
        raise self.create_error(answer)

    def create_error(self, answer: base.Answer) -> base.ProviderError:
        code = code_of(answer.body)
        if code is None:
            kind, advice = self.by_status(answer.status)
            return self.answered(
                kind, f"HTTP {answer.status}", answer.excerpt(), advice, answer.headers
            )
        said = str(answer.body.get("message") or answer.excerpt())
        kind, advice = verdict(code, said)
        error = self.answered(kind, str(code), said, advice, answer.headers)
        if isinstance(error, base.RejectedLater):
            error.retry_seconds = max(error.retry_seconds, RETRY_SECONDS.get(code, 0))
        return error

    def record(self, answer: base.Answer) -> dict[str, Any]:
        """The job's record in the answer to a query, or the error that stands in its place."""
        data = base.json_object(answer.body.get("data"))
        if code_of(answer.body) == 0 and (data.get("task_status") or data.get("task_id")):
            return data
        raise self.query_error(answer)

    def query_error(self, answer: base.Answer) -> base.ProviderError:
        """What an unknown id is answered is documented nowhere: 1200, 1201 and 1203 can mean
        nothing else here."""
        code = code_of(answer.body)
        said = str(answer.body.get("message") or answer.excerpt())
        kind: type[base.ProviderError] = base.Unavailable
        advice = "asked again later"
        if code in (1000, 1001, 1002) or (code is None and answer.status == 401):
            kind, advice = base.AccountRejected, KEY.replace("kling", self.name)
        elif code in (0, 1200, 1201, 1203):
            kind, advice = base.JobNotFound, "no such job, or not yet"
        return self.answered(
            kind, str(code if code is not None else f"HTTP {answer.status}"), said, advice
        )

    def job(self, job_id: str, record: Mapping[str, Any]) -> Job:
        word = str(record.get("task_status"))
        status = self.states.get(word, JobStatus.RUNNING)
        failed = status is JobStatus.FAILED
        units = base.amount(record.get("final_unit_deduction"))
        return Job(
            job_id,
            status,
            video_url=video_of(record) if status is JobStatus.SUCCEEDED else None,
            error_code=word if failed else "",
            error=str(record.get("task_status_msg") or f"{self.name} gave no reason")
            if failed
            else "",
            charge_usd=units * self.usd_per_unit
            if units is not None and self.usd_per_unit
            else None,
            external_id=_external_id(record),
            unknown_word="" if word in self.states else word[:40],
        )

    def _one_voice(self, voice: Media | None, settings: Mapping[str, Any]) -> None:
        given = [
            bool(voice),
            "audio_id" in settings,
            "text" in settings and "audio_id" not in settings,
        ]
        if sum(given) != 1 or ("text" in settings and not self.speaks_text):
            raise base.Rejected(
                f"{self.name} wants one voice: an audio file, an audio_id, or a text",
                code="ONE_VOICE",
            )
        if given[2] and "voice_id" not in settings:
            raise base.Rejected("a text needs a voice_id to speak it with", code="NO_VOICE_ID")

    def _speak(self, settings: Mapping[str, Any]) -> str:
        """The text as speech, answered in one go. Speech without an id is paid for and lost: it is
        not bought again."""
        text = str(settings["text"])
        chinese = re.search("[\u3400-\u9fff]", text)
        body = {
            "text": text,
            "voice_id": settings["voice_id"],
            "voice_language": settings.get("voice_language") or ("zh" if chinese else "en"),
            "voice_speed": settings.get("voice_speed", 1.0),
        }
        answer = base.paid_post(
            self.client, self.url("/v1/audio/tts"), headers=self.headers(), json_body=body
        )
        data = base.json_object(answer.body.get("data"))
        if code_of(answer.body) != 0:
            raise self.create_error(answer)
        audios = base.json_object(data.get("task_result")).get("audios")
        first = (
            audios[0] if isinstance(audios, list) and audios and isinstance(audios[0], dict) else {}
        )
        audio_id = base.opaque_id(first.get("id"))
        if audio_id is None:
            said = str(data.get("task_status_msg") or "no audio")
            raise self.answered(
                base.Rejected, "NO_SPEECH", said, "the text was not spoken; change it or its voice"
            )
        return audio_id

    def _list(self, size: int) -> list[dict[str, Any]]:
        params: dict[str, str | int] = {"pageNum": 1, "pageSize": size}
        answer = base.ask(self.client, self.url(self.path), headers=self.headers(), params=params)
        data = answer.body.get("data")
        if code_of(answer.body) == 0 and (data is None or isinstance(data, list)):
            return [one for one in data or [] if isinstance(one, dict)]
        error = self.query_error(answer)
        if isinstance(
            error, base.JobNotFound
        ):  # a list that was not given proves nothing about any job
            raise base.Unavailable(str(error), code=error.code)
        raise error


def verdict(code: int, said: str) -> Verdict:
    """What a Kling code means at create; the same words come through gateways."""
    if code // 100 == 12 and DUPLICATE.search(said):
        return DOUBT
    return CODES.get(code) or HUNDREDS.get(code // 100, DOUBT)


def token(access_key: str, secret_key: str, not_before: int, expires: int) -> str:
    """A JSON Web Token, HS256, from an access key and its secret key."""
    claims = {"iss": access_key, "exp": expires, "nbf": not_before}
    signed = b".".join(
        _segment(json.dumps(part, separators=(",", ":")).encode()) for part in (_JWT_HEADER, claims)
    )
    return (
        signed + b"." + _segment(hmac.digest(secret_key.encode(), signed, hashlib.sha256))
    ).decode()


def carried(media: Media) -> str:
    """A URL, or raw base64: a `data:` prefix is refused with 1201."""
    return media.url or base64.b64encode(media.content or b"").decode()


def code_of(body: Mapping[str, Any]) -> int | None:
    text = str(body.get("code"))
    return int(text) if re.fullmatch("[0-9]{1,5}", text) else None


def video_of(record: Mapping[str, Any]) -> str | None:
    """The video without watermark, which is the one that `url` names."""
    videos = base.json_object(record.get("task_result")).get("videos")
    named = [
        one.get("url") or one.get("watermark_url") for one in videos or [] if isinstance(one, dict)
    ]
    return next(filter(None, map(base.link, named)), None)


_JWT_HEADER = {"alg": "HS256", "typ": "JWT"}


def _segment(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _external_id(record: Mapping[str, Any]) -> str | None:
    return base.opaque_id(base.json_object(record.get("task_info")).get("external_task_id"))
