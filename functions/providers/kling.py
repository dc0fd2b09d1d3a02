"""Kling's official API, avatar: https://app.klingai.com/global/dev/document-api (the legacy /v1
APIs)

Our own id is sent as `external_task_id`, which is unique for ever in an account, so a job whose
answer was lost can be found again.

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
from dataclasses import replace
from decimal import Decimal
from typing import ClassVar

import httpx

from functions.providers import _kling_dialect as dialect
from functions.providers import base
from functions.providers._kling_dialect import KlingDialect
from functions.providers.base import Job, JsonObject, Media, Model, RateLimit, Setting

HOSTS = {  # https://app.klingai.com/global/dev/document-api, 2026-06
    "singapore": "https://api-singapore.klingai.com",
    "beijing": "https://api-beijing.klingai.com",
}
TOKEN_SECONDS = 1800
TOKEN_SKEW_SECONDS = 60  # the documentation's own five seconds are less than clocks differ
USD_PER_UNIT = Decimal("0.14")  # the 5,000-unit pack at $700 (third party, 2026)
LIST_PAGE = 500

AVATAR = Model(
    id="avatar",  # our word: the API has no model name, only a mode
    limits=dialect.LIMITS,
    settings={
        "mode": dialect.MODE,
        "watermark_info": Setting(dict),
        "audio_id": dialect.AUDIO_ID,
        "text": Setting(str, least=1, most=1000, needs="voice_id"),
        "voice_id": Setting(str, least=1, most=128),
        "voice_language": Setting(str, choices=("zh", "en")),
        "voice_speed": Setting(float, least=0.8, most=2.0),
    },
    usd_per_second=dialect.PRICES["std"],
    price_by="mode",
    prices=dialect.PRICES,
    usual_seconds=300,
)


class Kling(KlingDialect):
    name: ClassVar[str] = "kling"
    host: ClassVar[str] = HOSTS["singapore"]
    models: ClassVar[Mapping[str, Model]] = {AVATAR.id: AVATAR}
    # 5 is the smallest pack's; no rate is documented
    rate_limit: ClassVar[RateLimit] = RateLimit(submits=10, seconds=10, running=5)
    retention_days: ClassVar[int] = 30
    finds_by_task_id: ClassVar[bool] = True
    signs_callbacks: ClassVar[bool] = True
    speaks_text: ClassVar[bool] = True
    path: ClassVar[str] = "/v1/videos/avatar/image2video"

    def __init__(self, credentials: JsonObject, client: httpx.Client) -> None:
        super().__init__(credentials, client)
        if (region := credentials.get("region")) and not credentials.get("base_url"):
            self.base_url = HOSTS.get(str(region), "")

    def submit(self, request: base.Request) -> Job:
        settings = self.model(request.model).taken(request.settings)
        if "text" not in settings or "audio_id" in settings:
            return super().submit(request)
        self._one_text(request.voice, settings)
        bought = {"audio_id": self._speak(settings)}
        try:
            return super().submit(replace(request, settings={**request.settings, **bought}))
        except base.ProviderError as error:
            error.bought.update(bought)
            raise

    def fetch(self, job_id: str) -> Job:
        record = self.record(self.ask(f"{self.path}/{job_id}"))
        if (record.get("task_id") or job_id) != job_id:
            raise self.error_of(
                base.Unavailable, "OTHER_JOB", "the record of another job", f"asked for {job_id}"
            )
        return self.job(job_id, record)

    def find(self, external_id: str) -> Job:
        """By our own id, and where that finds nothing, in the list: an older page of Kling's lets
        avatars be asked for by Kling's id alone."""
        try:
            found = [self.record(self.ask(f"{self.path}/{external_id}"))]
        except base.JobNotFound:
            found = [
                record
                for record in self._list(LIST_PAGE)
                if dialect.external_id_of(record) == external_id
            ]
        job_id = base.opaque_id(found[0].get("task_id")) if found else None
        if job_id is None:
            raise base.JobNotFound(f"{self.name} knows no job with our id {external_id}")
        if dialect.external_id_of(found[0]) not in (None, external_id):
            raise self.error_of(
                base.Unavailable, "OTHER_JOB", "another job", f"asked for {external_id}"
            )
        return self.job(job_id, found[0])

    def probe(self) -> None:
        self._list(1)

    @classmethod
    def callback_is_genuine(
        cls, headers: Mapping[str, str], body: bytes, keys: tuple[str, ...], now: float
    ) -> bool:
        """Standard Webhooks; for 7 days after a change of the secret Kling signs with both."""
        return base.standard_is_genuine(headers, body, keys, now)

    def headers(self) -> dict[str, str]:
        access = str(self.credentials.get("access_key") or "").strip()
        secret = str(self.credentials.get("secret_key") or "").strip()
        if not access or not secret or self.credentials.get("api_key"):
            return self.bearer()
        now = int(time.time())
        signed = token(access, secret, now - TOKEN_SKEW_SECONDS, now + TOKEN_SECONDS)
        return {"Authorization": f"Bearer {signed}"}

    def charge(self, record: JsonObject) -> Decimal | None:
        units = base.amount(record.get("final_unit_deduction"))
        return None if units is None else units * USD_PER_UNIT

    def _one_text(self, voice: Media | None, settings: Mapping[str, object]) -> None:
        if voice is not None:
            raise self.one_voice()
        if "voice_id" not in settings:
            raise base.Rejected("a text needs a voice_id to speak it with", code="NO_VOICE_ID")

    def _speak(self, settings: Mapping[str, object]) -> str:
        """The text as speech, answered at once. Speech without an id is paid for and lost: it is
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
        if dialect.code_of(answer.body) != 0:
            raise self.create_error(answer)
        audios = base.objects(base.json_object(data.get("task_result")).get("audios"))
        audio_id = base.opaque_id(audios[0].get("id")) if audios else None
        if audio_id is None:
            message = str(data.get("task_status_msg") or "no audio")
            advice = "the text was not spoken; change it or its voice"
            raise self.error_of(base.Rejected, "NO_SPEECH", message, advice)
        return audio_id

    def _list(self, size: int) -> list[JsonObject]:
        answer = self.ask(self.path, {"pageNum": 1, "pageSize": size})
        data = answer.body.get("data")
        if dialect.code_of(answer.body) == 0 and (data is None or isinstance(data, list)):
            return base.objects(data)
        error = self.query_error(answer)
        if isinstance(error, base.JobNotFound):
            # a list that was not given proves nothing about any job
            raise base.Unavailable(str(error), code=error.code)
        raise error


def token(access_key: str, secret_key: str, not_before: int, expires: int) -> str:
    """A JSON Web Token, HS256, from an access key and its secret key."""
    claims = {"iss": access_key, "exp": expires, "nbf": not_before}
    signed = b".".join(
        _segment(json.dumps(part, separators=(",", ":")).encode()) for part in (_JWT_HEADER, claims)
    )
    signature = hmac.digest(secret_key.encode(), signed, hashlib.sha256)
    return (signed + b"." + _segment(signature)).decode()


_JWT_HEADER = {"alg": "HS256", "typ": "JWT"}


def _segment(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
