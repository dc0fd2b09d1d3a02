"""The contract every provider keeps: three calls, a table of words, a table of limits.

A provider never sleeps, loops or retries. The *call* failing is an exception, named after what the caller must do;
the *job* failing is a `Job` with an error.

    ProviderError
    ├── NotSent            nothing left the machine: the same attempt may be sent again
    ├── RejectedLater      refused for now and not queued: the same attempt may be sent again after `retry_seconds`
    ├── Rejected           this input will never pass: fail the task and show the reason
    ├── AccountRejected    key, credits or rights: stop this provider and ring the alarm; the task is not to blame
    ├── Ambiguous          sent, and we do not know: never send again without proof
    ├── JobNotFound        a query found no such job (yet)
    └── Unavailable        a query could not be answered now: ask again later
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Literal

import httpx

MAX_ANSWER_BYTES = 1 << 20
_JOB_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_SECRETS = re.compile(
    r"(?i)(bearer\s+|X-Amz-(?:Signature|Security-Token|Credential)=|[?&](?:sig|signature|token|key)=)[^\s\"'&]+"
)
_LONG_QUERY = re.compile(r"(https?://[^\s\"'?]+)\?[^\s\"']+")
_CALLBACK = re.compile(r"(/callbacks/[^/\s\"']+/[^/\s\"']+/[^/\s\"']+/)[^\s\"']+")


class ProviderError(Exception):
    """A call to a provider failed. `code` is the provider's own word for it, or ours in capitals."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(redact(message))
        self.code = code


class NotSent(ProviderError):
    """Nothing left the machine: DNS, connect, TLS."""


class RejectedLater(ProviderError):
    """Refused for now, and not queued: rate, concurrency, maintenance."""

    def __init__(self, message: str, *, code: str = "", retry_seconds: int = 10) -> None:
        super().__init__(message, code=code)
        self.retry_seconds = retry_seconds


class Rejected(ProviderError):
    """This input will never pass: bad parameters, moderation."""


class AccountRejected(ProviderError):
    """Wrong key, no credits, no rights: nothing of this account will pass until a person acts."""


class Ambiguous(ProviderError):
    """Sent, and we do not know whether a job exists."""


class JobNotFound(ProviderError):
    """The provider does not know this job, or not yet."""


class Unavailable(ProviderError):
    """A query could not be answered now."""


class JobStatus(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class Job:
    """What a provider says now about one unit of its work.

    `charge_usd` is what the provider says it took, None where it does not say.
    `callback_url` is the URL the provider remembers having been given: proof that a job is ours (kie's `param`).
    `unknown_word` is a status word that stands in no table of ours: it counts as running, and is worth a warning.
    """

    job_id: str
    status: JobStatus
    video_url: str | None = None
    error_code: str = ""
    error: str = ""
    charge_usd: Decimal | None = None
    callback_url: str | None = None
    external_id: str | None = None
    unknown_word: str = ""


@dataclass(frozen=True)
class Hint:
    """What a callback's body suggests. Nothing of it is believed; `final=False` only means that nobody need wake."""

    job_id: str | None = None
    final: bool | None = None


@dataclass(frozen=True)
class Media:
    """A portrait or a voice on its way to the provider, as the provider's `travel` wants it: by URL or as bytes."""

    name: str
    content_type: str
    url: str | None = None
    content: bytes | None = None


@dataclass(frozen=True)
class Request:
    """One attempt. `external_id` is `<task_id>-<attempt>`: unique for ever, the key by which Kling finds a lost job."""

    external_id: str
    model: str
    portrait: Media
    voice: Media | None
    prompt: str
    settings: Mapping[str, Any]
    callback_url: str | None


@dataclass(frozen=True)
class Limits:
    """What the provider's documentation refuses. `None`: no limit is documented."""

    image_types: frozenset[str]
    audio_types: frozenset[str]
    image_bytes: int = 10_000_000
    audio_bytes: int = 10_000_000
    image_min_pixels: int | None = None
    image_max_ratio: float | None = None
    audio_min_seconds: float | None = None
    audio_max_seconds: float | None = None
    prompt_characters: int = 5000


@dataclass(frozen=True)
class Setting:
    """One setting a model takes: its type, the values it allows, or its range."""

    kind: type
    choices: tuple[Any, ...] = ()
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Model:
    """One model: what it is called, refuses, takes and costs, and how long it is known to need.

    `usd_per_second` is the price per second of voice, as of the date in the provider's table; for a model whose price
    hangs on a setting, `price_by` names the setting and `prices` its values.
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
        """What this provider's price list asks for `seconds` of voice, in USD: begun seconds are counted whole."""
        rate = self.prices.get(str(settings.get(self.price_by, "")), self.usd_per_second)
        whole = int(seconds) + (seconds > int(seconds))
        return rate * max(whole, 1)


@dataclass(frozen=True)
class Pace:
    """How fast and how many: `creates` in any `seconds`, `running` jobs at once (None: not limited)."""

    creates: int
    seconds: int
    running: int | None = None


Travel = Literal["url", "base64", "upload"]


class Provider:
    """One vendor's dialect. `credentials` is the provider's secret, a JSON object; `client` is the wire."""

    name: ClassVar[str]
    models: ClassVar[Mapping[str, Model]]
    default_model: ClassVar[str]
    pace: ClassVar[Pace]
    retention_days: ClassVar[int]
    not_found_grace_seconds: ClassVar[int] = 90
    finds_by_task_id: ClassVar[bool] = False
    proves_by_callback_url: ClassVar[bool] = False
    signs_callbacks: ClassVar[bool] = False
    speaks_text: ClassVar[bool] = False
    travels: ClassVar[tuple[Travel, ...]] = ("url",)
    host: ClassVar[str]

    def __init__(self, credentials: Mapping[str, Any], client: httpx.Client) -> None:
        self.credentials = credentials
        self.client = client
        self.base_url = str(credentials.get("base_url") or self.host).rstrip("/")

    def submit(self, request: Request) -> Job:
        """Create a job: the one call that costs money. Exactly one paid POST, or an exception of the family above."""
        raise NotImplementedError

    def fetch(self, job_id: str) -> Job:
        """What is this job now? Raises JobNotFound, Unavailable or AccountRejected."""
        raise NotImplementedError

    def find(self, external_id: str) -> Job:
        """The job that carries our own id; only where `finds_by_task_id`. Raises JobNotFound when there is none."""
        raise NotImplementedError

    def probe(self) -> None:
        """A free call that passes when the account may work again; raises AccountRejected or Unavailable."""
        raise NotImplementedError

    def credit_usd(self) -> Decimal | None:
        """What is left on the account, where the provider tells; None where it does not."""
        return None

    @classmethod
    def read_callback(cls, headers: Mapping[str, str], body: bytes) -> Hint:
        """What a callback hints at. Never raises: a bell is a bell, whatever is written on it."""
        raise NotImplementedError

    @classmethod
    def callback_is_genuine(cls, headers: Mapping[str, str], body: bytes, keys: tuple[str, ...], now: float) -> bool:
        """The provider's own signature, checked against each of `keys`; header names come in lower case."""
        return True


def open_client(timeout_seconds: float = 60.0) -> httpx.Client:
    """The wire to a provider: no retry in any layer, no redirect followed, no proxy from the environment."""
    return httpx.Client(
        transport=httpx.HTTPTransport(retries=0),
        timeout=httpx.Timeout(timeout_seconds, connect=10.0),
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": "talkdrop/1"},
    )


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read up to a cap. `body` is the decoded JSON, None if it was not a JSON object."""

    status: int
    body: Any
    text: str
    headers: Mapping[str, str]


def paid_post(client: httpx.Client, url: str, *, headers: Mapping[str, str], json_body: Any) -> Answer:
    """The paid POST. What certainly never left is NotSent; whatever else breaks is Ambiguous."""
    return _send(client, "POST", url, headers, json_body, unsent=NotSent, broken=Ambiguous)


def ask(
    client: httpx.Client, url: str, *, headers: Mapping[str, str], params: Mapping[str, str | int] | None = None
) -> Answer:
    """A free GET; whatever breaks is Unavailable."""
    return _send(client, "GET", url, headers, None, params=params, unsent=Unavailable, broken=Unavailable)


def call(client: httpx.Client, url: str, *, headers: Mapping[str, str], json_body: Any) -> Answer:
    """A free POST (an upload): whatever breaks, nothing was bought."""
    return _send(client, "POST", url, headers, json_body, unsent=NotSent, broken=NotSent)


def _send(
    client: httpx.Client,
    method: str,
    url: str,
    headers: Mapping[str, str],
    json_body: Any,
    *,
    params: Mapping[str, str | int] | None = None,
    unsent: type[ProviderError],
    broken: type[ProviderError],
) -> Answer:
    try:
        request = client.build_request(method, url, headers=dict(headers), json=json_body, params=params)
        response = client.send(request, stream=True)
        try:
            raw = _read_capped(response)
        finally:
            response.close()
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
        raise unsent(f"could not reach {_host(url)}: {error}", code=type(error).__name__) from error
    except httpx.InvalidURL as error:
        raise unsent(f"the address of the provider is not a URL: {error}", code="InvalidURL") from error
    except httpx.HTTPError as error:
        raise broken(f"{_host(url)} broke off: {error or type(error).__name__}", code=type(error).__name__) from error
    text = raw.decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    return Answer(response.status_code, body, text, response.headers)


def _read_capped(response: httpx.Response) -> bytes:
    raw = b""
    for chunk in response.iter_bytes():
        raw += chunk
        if len(raw) > MAX_ANSWER_BYTES:
            return raw[:MAX_ANSWER_BYTES]
    return raw


def _host(url: str) -> str:
    try:
        return httpx.URL(url).host
    except httpx.InvalidURL:
        return "the provider"


def opaque_id(value: Any) -> str | None:
    """A job id as the provider gave it, if it is one: 1 to 128 of letters, digits and `_.:-`."""
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    return text if _JOB_ID.fullmatch(text) else None


def header(headers: Mapping[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name), "")


def redact(text: str) -> str:
    """The text without keys, signed query strings and callback MACs, short enough for a table and a person."""
    text = _CALLBACK.sub(r"\1…", _LONG_QUERY.sub(r"\1?…", _SECRETS.sub(r"\1…", text)))
    return text if len(text) <= 600 else text[:597] + "…"
