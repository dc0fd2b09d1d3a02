"""Kling's official API, avatar: https://app.klingai.com/global/dev/document-api (the legacy /v1
APIs)

Our own id is sent as `external_task_id`, which is unique for ever in an account, so a job whose
answer was lost can be found again.

A text can be the voice. Speech is bought first (`/v1/audio/tts`), in one call that has no id of
ours and cannot be looked up. It is ready at once, or a job of its own: then the error is
RejectedLater and carries its id in `bought`, and the next sending asks for it instead of buying it
again. Where the video is then not accepted, `bought` carries the `audio_id` alike. Where the
*speech's* answer is lost, the error is Ambiguous and its `stage` is "speech": no video was
requested.
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
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from functions.providers import _kling_dialect as dialect
from functions.providers import base
from functions.providers._kling_dialect import KlingDialect
from functions.providers.base import Job, JobStatus, JsonObject, Model, RateLimit, Setting

if TYPE_CHECKING:
    import httpx

HOSTS = {  # https://app.klingai.com/global/dev/document-api, 2026-06
    "singapore": "https://api-singapore.klingai.com",
    "beijing": "https://api-beijing.klingai.com",
}
TOKEN_SECONDS = 1800
TOKEN_SKEW_SECONDS = 60  # the documentation's own five seconds are less than clocks differ
USD_PER_UNIT = Decimal("0.14")  # the 5,000-unit pack at $700 (third party, 2026)
LIST_PAGE = 500
MOST_PAGES = 20  # 10,000 jobs: what can be read before a Lambda ends
SPEECH_PATH = "/v1/audio/tts"
SPEECH_SECONDS = 5
# https://app.klingai.com/global/dev/document-api, "Account usage" (2026): a free query, at most
# once a second; what is left of a pack is shown up to twelve hours late.
COSTS_PATH = "/account/costs"
COSTS_DAYS = 30

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


class Kling(KlingDialect, base.FindsJobs, base.ListsJobs):
    name: ClassVar[str] = "kling"
    host: ClassVar[str] = HOSTS["singapore"]
    models: ClassVar[Mapping[str, Model]] = {AVATAR.id: AVATAR}
    # 5 is the smallest pack's; no rate is documented
    rate_limit: ClassVar[RateLimit] = RateLimit(submits=10, seconds=10, running=5)
    retention_days: ClassVar[int] = 30
    signs_callbacks: ClassVar[bool] = True
    speaks_text: ClassVar[bool] = True
    watermark_settings: ClassVar[JsonObject] = {"watermark_info": {"enabled": True}}
    path: ClassVar[str] = "/v1/videos/avatar/image2video"

    def __init__(self, credentials: JsonObject, client: httpx.Client) -> None:
        super().__init__(credentials, client)
        if (region := credentials.get("region")) and not credentials.get("base_url"):
            self.base_url = HOSTS.get(str(region), "")

    def submit(self, request: base.Request) -> Job:
        bought = self.speak(request)
        try:
            return super().submit(replace(request, settings={**request.settings, **bought}))
        except base.ProviderError as error:
            error.bought.update(bought)
            raise

    def speak(self, request: base.Request) -> dict[str, str]:
        settings = self.model(request.model).taken(request.settings)
        if "text" not in settings or "audio_id" in settings:
            return {}
        if request.voice is not None:
            raise self.one_voice()
        if "voice_id" not in settings:
            raise base.Rejected("a text needs a voice_id to speak it with", code="NO_VOICE_ID")
        speech_id = base.opaque_id(request.settings.get("speech_id"))
        try:
            return self._look_for(speech_id) if speech_id else self._buy(settings)
        except base.ProviderError as error:
            error.stage = "speech"
            raise

    def fetch(self, job_id: str) -> Job:
        answer = self.ask(f"{self.path}/{job_id}")
        record = self.record(answer)
        if (record.get("task_id") or job_id) != job_id:
            raise self.error_of(
                base.Unavailable, "OTHER_JOB", "the record of another job", f"wanted {job_id}"
            )
        return self.job(job_id, record, answer)

    def find(self, external_id: str) -> Job:
        """By our own id, and where that finds nothing, in the list's first page: an older page of
        Kling's documentation lets avatars be queried by Kling's id alone."""
        try:
            answer = self.ask(f"{self.path}/{external_id}")
            return self._ours(external_id, self.record(answer), answer)
        except base.JobNotFound:
            records, answer = self._page(1, LIST_PAGE)
        for record in records:
            if dialect.external_id_of(record) == external_id:
                return self._ours(external_id, record, answer)
        raise base.JobNotFound(f"{self.name} knows no job with our id {external_id}")

    def list_jobs(self, since: datetime) -> list[Job]:
        """The list's order is not documented, and a page may hold fewer jobs than were wanted: it
        is read to its end, or, where it is newest first, to a page that is older throughout."""
        found: list[Job] = []
        for number in range(1, MOST_PAGES + 1):
            records, answer = self._page(number, LIST_PAGE)
            ids = [base.opaque_id(record.get("task_id")) for record in records]
            page = [self.job(i, r, answer) for i, r in zip(ids, records, strict=True) if i]
            found += page
            if not records or _ends_before(since, found, page):
                return [job for job in found if job.created_at is None or job.created_at >= since]
        raise base.Unavailable(
            f"{self.name} lists more than {MOST_PAGES} pages since {since:%Y-%m-%d %H:%M}",
            code="LONG_LIST",
        )

    def probe(self) -> None:
        """Does the key work, and is any resource pack left? An account without packs pays from its
        balance, of which this query says nothing."""
        now = int(time.time() * 1000)
        since = now - COSTS_DAYS * 86_400_000
        answer = self.ask(COSTS_PATH, {"start_time": since, "end_time": now})
        if answer.status == 404:  # a host that does not have this query
            self._page(1, 1)
            return
        data = base.json_object(answer.body.get("data"))
        inner = dialect.code_of(data) if "code" in data else 0
        if dialect.code_of(answer.body) != 0 or inner != 0:
            raise self._listing_error(replace(answer, body=data) if inner else answer)
        packs = base.objects(data.get("resource_pack_subscribe_infos"))
        if packs and not any(_usable(pack) for pack in packs):
            raise self.error_of(
                base.AccountRejected, "1102", "no resource pack is left", dialect.ACCOUNT
            )

    @classmethod
    def is_webhook_key(cls, key: str) -> bool:
        return bool(base.standard_key(key))

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

    def _buy(self, settings: Mapping[str, object]) -> dict[str, str]:
        text = str(settings["text"])
        chinese = re.search("[\u3400-\u9fff]", text)
        body = {
            "text": text,
            "voice_id": settings["voice_id"],
            "voice_language": settings.get("voice_language") or ("zh" if chinese else "en"),
            "voice_speed": settings.get("voice_speed", 1.0),
        }
        answer = base.paid_post(
            self.client, self.url(SPEECH_PATH), headers=self.headers(), json_body=body
        )
        if dialect.code_of(answer.body) != 0:
            raise self.create_error(answer)
        return self._speech(answer)

    def _look_for(self, speech_id: str) -> dict[str, str]:
        """Speech that was bought and not ready: a query that fails says nothing about it."""
        try:
            answer = self.ask(f"{SPEECH_PATH}/{speech_id}")
            if dialect.code_of(answer.body) != 0:
                raise self.query_error(answer)
        except (base.JobNotFound, base.Unavailable) as error:
            raise self._not_ready(speech_id, str(error)) from error
        return self._speech(answer, speech_id)

    def _speech(self, answer: base.Answer, speech_id: str | None = None) -> dict[str, str]:
        """The speech's id, or why there is none yet. Speech that ended without an id is paid for
        and lost: it is not bought again."""
        data = base.json_object(answer.body.get("data"))
        audios = base.objects(base.json_object(data.get("task_result")).get("audios"))
        if audio_id := base.opaque_id(audios[0].get("id")) if audios else None:
            return {"audio_id": audio_id}
        speech_id = speech_id or base.opaque_id(data.get("task_id"))
        ended = self.states.get(str(data.get("task_status"))) not in (None, JobStatus.RUNNING)
        if speech_id and not ended:
            raise self._not_ready(speech_id, f"it is {data.get('task_status') or 'not ready'}")
        message = str(data.get("task_status_msg") or "no audio")
        advice = "the text was not spoken; change it or its voice"
        raise self.error_of(base.Rejected, "NO_SPEECH", message, advice, answer)

    def _not_ready(self, speech_id: str, why: str) -> base.RejectedLater:
        error = base.RejectedLater(
            f"the speech of {self.name}, job {speech_id}, is waited for: {why}",
            code="SPEECH_RUNNING",
            retry_seconds=SPEECH_SECONDS,
        )
        error.bought["speech_id"] = speech_id
        return error

    def _ours(self, external_id: str, record: JsonObject, answer: base.Answer) -> Job:
        job_id = base.opaque_id(record.get("task_id"))
        if job_id is None:
            raise base.JobNotFound(f"{self.name} knows no job with our id {external_id}")
        if dialect.external_id_of(record) not in (None, external_id):
            raise self.error_of(
                base.Unavailable, "OTHER_JOB", "another job", f"wanted {external_id}"
            )
        return self.job(job_id, record, answer)

    def _page(self, number: int, size: int) -> tuple[list[JsonObject], base.Answer]:
        answer = self.ask(self.path, {"pageNum": number, "pageSize": size})
        data = answer.body.get("data")
        if dialect.code_of(answer.body) == 0 and (data is None or isinstance(data, list)):
            return base.objects(data), answer
        raise self._listing_error(answer)

    def _listing_error(self, answer: base.Answer) -> base.ProviderError:
        """A list that was not given proves nothing about any job."""
        error = self.query_error(answer)
        if isinstance(error, base.JobNotFound):
            return base.Unavailable(str(error), code=error.code)
        return error


def _ends_before(since: datetime, found: list[Job], page: list[Job]) -> bool:
    """Is the list newest first, as far as it was read, and this page older than `since`?"""
    times = [job.created_at for job in found if job.created_at]
    newest_first = all(one >= other for one, other in pairwise(times))
    dated = all(job.created_at and job.created_at < since for job in page)
    return bool(page) and dated and newest_first and len(times) == len(found)


def _usable(pack: JsonObject) -> bool:
    """A pack in use; one whose rest is not said, or is said late, counts as usable."""
    return pack.get("status") == "online" and base.amount(pack.get("remaining_quantity")) != 0


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
