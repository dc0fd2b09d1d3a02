"""The contract every provider keeps: three calls, a table of words, a table of limits.

A provider never sleeps, loops or retries. How a call is sent, and the family of errors it fails
with, stand in `_wire.py`, signatures in `_webhooks.py`; all are names of this module too: a
provider imports nothing else of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, ClassVar, Literal

import httpx

from functions.providers._http import (
    AccountRejected,
    Ambiguous,
    Answer,
    JobNotFound,
    NotSent,
    ProviderError,
    Rejected,
    RejectedLater,
    Unavailable,
    ask,
    call,
    header,
    json_object,
    open_client,
    paid_post,
    redact,
    retry_after,
)
from functions.providers._webhooks import is_fresh, standard_is_genuine

__all__ = [
    "MB",
    "AccountRejected",
    "Ambiguous",
    "Answer",
    "Delivery",
    "Hint",
    "Job",
    "JobNotFound",
    "JobStatus",
    "Limits",
    "Media",
    "Model",
    "NotSent",
    "Provider",
    "ProviderError",
    "RateLimit",
    "Rejected",
    "RejectedLater",
    "Request",
    "Setting",
    "Unavailable",
    "amount",
    "ask",
    "call",
    "header",
    "is_fresh",
    "json_object",
    "link",
    "opaque_id",
    "open_client",
    "paid_post",
    "redact",
    "retry_after",
    "standard_is_genuine",
]

MB = (
    1 << 20
    # the larger reading of a vendor's "MB": what lies between the two readings is for the vendor to
    # refuse
)
_JOB_ID = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}"
)  # it becomes a segment of a path: no dots alone


class JobStatus(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class Job:
    """What a provider says now about one unit of its work.

    `charge_usd` is what the provider says it took, None where it does not say.
    `callback_url` is the URL the provider remembers having been given: proof that a job is ours
    (kie's `param`). `unknown_word` is a status word that stands in no table of ours: it counts as
    running, and is worth a warning.
    """

    job_id: str
    status: JobStatus
    video_url: str | None = field(default=None, repr=False)
    error_code: str = ""
    error: str = ""
    charge_usd: Decimal | None = None
    callback_url: str | None = field(default=None, repr=False)
    external_id: str | None = None
    unknown_word: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "error", redact(self.error)
        )  # providers quote the media URL they could not fetch


@dataclass(frozen=True)
class Hint:
    """What a callback's body suggests. Nothing of it is believed; `final=False` only means that
    nobody need wake."""

    job_id: str | None = None
    final: bool | None = None


# How media reach a provider: by a link it fetches itself, as base64 in the request, or by its own
# upload service, which takes them as they are, as base64, or fetches a link at once (that link need
# not outlast the provider's queue).
Delivery = Literal["url", "base64", "upload", "upload-base64", "upload-url"]
BY_LINK: frozenset[Delivery] = frozenset({"url", "upload-url"})


@dataclass(frozen=True)
class Media:
    """A portrait or a voice on its way to the provider: a `url` where it goes by link, else its
    `content`."""

    name: str
    content_type: str
    url: str | None = field(default=None, repr=False)
    content: bytes | None = field(default=None, repr=False)
    delivery: Delivery = "url"


@dataclass(frozen=True)
class Request:
    """One attempt. `external_id` is `<task_id>-<attempt>`: unique for ever, the key by which Kling
    finds a lost job."""

    external_id: str
    model: str
    portrait: Media
    voice: Media | None
    prompt: str
    settings: Mapping[str, Any]
    callback_url: str | None = field(repr=False)


@dataclass(frozen=True)
class Limits:
    """What the provider's documentation refuses. `None`: no limit is documented.

    Types are MIME types in one spelling: image/jpeg image/png image/webp, audio/mpeg audio/wav
    audio/aac audio/mp4 (m4a) audio/ogg.
    """

    image_types: frozenset[str]
    audio_types: frozenset[str]
    image_bytes: int = 10 * MB
    audio_bytes: int = 10 * MB
    image_min_pixels: int | None = None
    image_max_ratio: float | None = None
    audio_min_seconds: float | None = None
    audio_max_seconds: float | None = None
    prompt_characters: int = 5000


@dataclass(frozen=True)
class Setting:
    """One setting a model takes: its type, the values it allows, or its range; and the setting it
    `needs` beside it."""

    kind: type
    choices: tuple[Any, ...] = ()
    least: float | None = None
    most: float | None = None
    needs: str = ""


@dataclass(frozen=True)
class Model:
    """One model: what it is called, refuses, takes and costs, and how long it is known to need.

    `usd_per_second` is the price per second of voice, as of the date in the provider's table; for a
    model whose price hangs on a setting, `price_by` names the setting and `prices` its values.
    """

    id: str
    limits: Limits
    usd_per_second: Decimal
    settings: Mapping[str, Setting] = field(default_factory=dict)
    price_by: str = ""
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    first_seconds: int = 60
    usual_seconds: int = 360

    def price(self, seconds: float, settings: Mapping[str, Any]) -> Decimal:
        """What this provider's price list asks for `seconds` of voice, in USD: begun seconds are
        counted whole."""
        rate = self.prices.get(str(settings.get(self.price_by, "")), self.usd_per_second)
        whole = int(seconds) + (seconds > int(seconds))
        return rate * max(whole, 1)

    def taken(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Those of `settings` that this model takes, each in its own type (a table gives numbers
        back as Decimal)."""
        return {
            name: one.kind(settings[name])
            for name, one in self.settings.items()
            if settings.get(name) is not None
        }


@dataclass(frozen=True)
class RateLimit:
    """How fast and how many: `submits` in any `seconds`, `running` jobs at once (None: not
    limited)."""

    submits: int
    seconds: int
    running: int | None = None


class Provider:
    """One vendor's dialect. `credentials` is the provider's secret, a JSON object; `client` is the
    wire."""

    name: ClassVar[str]
    states: ClassVar[Mapping[str, JobStatus]]
    models: ClassVar[Mapping[str, Model]]
    default_model: ClassVar[str]
    rate_limit: ClassVar[RateLimit]
    retention_days: ClassVar[int]
    finds_by_task_id: ClassVar[bool] = False
    proves_by_callback_url: ClassVar[bool] = False
    signs_callbacks: ClassVar[bool] = False
    tells_balance: ClassVar[bool] = False
    speaks_text: ClassVar[bool] = False
    media_deliveries: ClassVar[tuple[Delivery, ...]] = ("url",)
    host: ClassVar[str]

    def __init__(self, credentials: Mapping[str, Any], client: httpx.Client) -> None:
        self.credentials = credentials
        self.client = client
        self.base_url = str(credentials.get("base_url") or self.host).rstrip("/")

    def model(self, name: str) -> Model:
        if name not in self.models:
            raise Rejected(
                f"{self.name} has no model {name!r}; it has: {', '.join(self.models)}",
                code="UNKNOWN_MODEL",
            )
        return self.models[name]

    def key(self) -> str:
        """The secret's api_key, if it can stand in a header at all."""
        key = str(self.credentials.get("api_key") or "").strip()
        if not key or not key.isascii() or not key.isprintable():
            raise AccountRejected(
                f'{self.name} has no usable key: write {{"api_key": "..."}} into the secret of provider {self.name}',
                code="NO_KEY",
            )
        return key

    def answered(
        self,
        kind: type[ProviderError],
        word: str,
        said: str,
        advice: str,
        headers: Mapping[str, str] | None = None,
    ) -> ProviderError:
        """Who, what they answered, and where to look; never with a key in it, though the provider
        may quote it."""
        for name in ("api_key", "access_key", "secret_key"):
            if len(secret := str(self.credentials.get(name) or "").strip()) >= 4:
                word, said = word.replace(secret, "…"), said.replace(secret, "…")
        word = redact(word)[:60]
        error = kind(f'{self.name} answered {word} "{said.strip()[:300]}": {advice}', code=word)
        if isinstance(error, RejectedLater):
            error.retry_seconds = retry_after(headers or {}, error.retry_seconds)
        return error

    def url(self, path: str) -> str:
        if not self.base_url:
            raise AccountRejected(
                f'{self.name} has no address: write "base_url" into the secret of provider {self.name}',
                code="NO_ADDRESS",
            )
        return f"{self.base_url}{path}"

    def by_status(self, status: int) -> tuple[type[ProviderError], str]:
        """What the bare HTTP status of a submit means, where the body is not in the provider's
        form."""
        secret = f"(secret of provider {self.name})"
        if 300 <= status < 400 or status in (404, 405):
            return (
                AccountRejected,
                f"nothing was bought; this is not {self.name}'s API: check base_url {secret}",
            )
        if status in (401, 402, 403):
            return (
                AccountRejected,
                f"nothing was bought; check the key, its rights and the account {secret}",
            )
        if status in (400, 413, 414, 415, 422):
            return Rejected, "correct the task's settings, or its files"
        if status == 429:
            return RejectedLater, "too many requests; it will be sent again"
        return Ambiguous, f"a job may have been made: look into the account at {self.name}"

    def submit(self, request: Request) -> Job:
        """Create a job: the one call that costs money. Exactly one paid POST, or an exception of
        the family above."""
        raise NotImplementedError

    def fetch(self, job_id: str) -> Job:
        """What is this job now? Raises JobNotFound, Unavailable or AccountRejected."""
        raise NotImplementedError

    def find(self, external_id: str) -> Job:
        """The job that carries our own id; only where `finds_by_task_id`. Raises JobNotFound when
        there is none."""
        raise NotImplementedError

    def probe(self) -> None:
        """A free call that passes when the account may work again; raises AccountRejected or
        Unavailable."""
        raise NotImplementedError

    def balance_usd(self) -> Decimal | None:
        """What is left on the account, where the provider tells; None where it does not."""
        return None

    def fresh_link(self, video_url: str) -> str:
        """A link to the same video that works now, where the provider's links die before its files
        do."""
        return video_url

    @classmethod
    def read_callback(cls, headers: Mapping[str, str], body: bytes) -> Hint:
        """What a callback hints at. Never raises: a bell is a bell, whatever is written on it."""
        raise NotImplementedError

    @classmethod
    def callback_is_genuine(  # a provider that does not sign inherits this
        cls,
        headers: Mapping[str, str],  # noqa: ARG003
        body: bytes,  # noqa: ARG003
        keys: tuple[str, ...],  # noqa: ARG003
        now: float,  # noqa: ARG003
    ) -> bool:
        """The provider's own signature, checked against each of `keys`; header names come in lower
        case."""
        return True


def amount(value: Any) -> Decimal | None:
    """A number of units or credits as the provider wrote it (3, 3.5, "3.5"), if it is one and not
    negative."""
    try:
        number = (
            Decimal(str(value))
            if isinstance(value, (int, float, str)) and not isinstance(value, bool)
            else None
        )
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() and number >= 0 else None


def link(value: Any) -> str | None:
    """A URL as the provider gave it, if it is one; whether it may be opened is for `fetch` to
    judge."""
    return (
        value
        if isinstance(value, str) and re.match(r"https?://[^/\s]", value) and len(value) <= 4096
        else None
    )


def opaque_id(value: Any) -> str | None:
    """A job id as the provider gave it, if it is one: up to 128 letters, digits and `_.:-`."""
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    return text if _JOB_ID.fullmatch(text) else None
