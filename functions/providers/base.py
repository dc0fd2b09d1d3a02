"""The contract every provider keeps: three calls, a table of words, a table of limits.

A provider never sleeps and never repeats a call. What passes in and out stands in `_jobs.py`, how
a call is sent in `_http.py`, how it fails in `_errors.py`, signatures in `_webhooks.py`, limits and
prices in `_models.py`; all are names of this module too: a provider imports nothing else of ours,
except the dialect it shares with others.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

from functions.providers._errors import (
    AccountRejected,
    Ambiguous,
    JobNotFound,
    NotSent,
    ProviderError,
    Rejected,
    RejectedLater,
    Unavailable,
)
from functions.providers._http import (
    Answer,
    ask,
    call,
    header,
    open_client,
    paid_post,
    retry_after,
)
from functions.providers._jobs import BY_LINK, Delivery, Hint, Job, JobStatus, Media, Request
from functions.providers._models import MB, Limits, Model, RateLimit, Reported, Setting
from functions.providers._redact import redact, secrets_of
from functions.providers._values import (
    JsonObject,
    amount,
    balance,
    json_object,
    link,
    moment,
    objects,
    opaque_id,
)
from functions.providers._webhooks import is_fresh, standard_is_genuine, standard_key

if TYPE_CHECKING:
    import httpx

__all__ = [
    "BY_LINK",
    "MB",
    "AccountRejected",
    "Ambiguous",
    "Answer",
    "Delivery",
    "FindsJobs",
    "Hint",
    "Job",
    "JobNotFound",
    "JobStatus",
    "JsonObject",
    "Limits",
    "ListsJobs",
    "Media",
    "Model",
    "NotSent",
    "Outcome",
    "Provider",
    "ProviderError",
    "RateLimit",
    "Rejected",
    "RejectedLater",
    "Reported",
    "Request",
    "Setting",
    "Unavailable",
    "amount",
    "ask",
    "balance",
    "call",
    "header",
    "is_fresh",
    "json_object",
    "link",
    "moment",
    "objects",
    "opaque_id",
    "open_client",
    "paid_post",
    "redact",
    "retry_after",
    "standard_is_genuine",
    "standard_key",
]

# What a refusal means: the error to raise, and the advice that ends its message.
Outcome = tuple[type[ProviderError], str]


# Cloudflare answered itself and says that it could not hand the request to its origin: the
# connection was refused (521), there is no route (523), TLS failed (525, 526), its own DNS or
# tunnel failed (530, with a 1xxx error). In doubt stay 520 (the origin answered something
# unreadable), 524 (the request was taken and not answered), and 522: it also stands for a request
# that was sent and whose TCP acknowledgement did not come within 90 seconds.
# https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/
# (November 2026)
NEVER_REACHED = frozenset({521, 523, 525, 526, 530})


class Provider(ABC):
    """One vendor's API. `credentials` is the provider's secret, a JSON object; `client` sends the
    requests."""

    name: ClassVar[str]
    states: ClassVar[Mapping[str, JobStatus]]
    models: ClassVar[Mapping[str, Model]]
    default_model: ClassVar[str]
    rate_limit: ClassVar[RateLimit]
    retention_days: ClassVar[int]
    proves_by_callback_url: ClassVar[bool] = False
    signs_callbacks: ClassVar[bool] = False
    tells_balance: ClassVar[bool] = False
    speaks_text: ClassVar[bool] = False
    media_deliveries: ClassVar[tuple[Delivery, ...]] = ("url",)
    host: ClassVar[str]
    # For so long after its submit a job may not be found: until then JobNotFound proves nothing.
    hidden_seconds: ClassVar[int] = 120
    # Whether a job that failed is charged, by the provider's documentation; None: it does not say.
    charges_failed_jobs: ClassVar[bool | None] = None
    # Whether a callback names the job by the id that a query takes. Behind a gateway the vendor may
    # call back itself, by an id of its own: a query that does not know it then proves nothing.
    callbacks_name_jobs: ClassVar[bool] = True
    # What asks for the video with the provider's visible mark beside the one without.
    watermark_settings: ClassVar[JsonObject] = {}

    def __init__(self, credentials: JsonObject, client: httpx.Client) -> None:
        self.credentials = credentials
        self.client = client
        self.base_url = str(credentials.get("base_url") or self.host).rstrip("/")

    # The three calls.

    @abstractmethod
    def submit(self, request: Request) -> Job:
        """Create a job: the one call that costs money. Exactly one paid POST, or an exception of
        the family in `_errors.py`."""

    @abstractmethod
    def fetch(self, job_id: str) -> Job:
        """What is this job now? Raises JobNotFound, Unavailable or AccountRejected."""

    @classmethod
    @abstractmethod
    def read_callback(cls, headers: Mapping[str, str], body: bytes) -> Hint:
        """What a callback hints at. Never raises, whatever the body is."""

    @abstractmethod
    def probe(self) -> None:
        """A free call that passes when the account may work again; raises AccountRejected or
        Unavailable."""

    # What some do besides. FindsJobs and ListsJobs below are powers that a provider has or has not.

    def prepare(self, request: Request) -> Request:
        """All that is free and comes before the paid POST, such as uploads: afterwards `submit` is
        that POST and nothing else."""
        return request

    def speak(self, request: Request) -> dict[str, str]:  # noqa: ARG002
        """Buy the speech of a text before the video: the settings that `submit` then needs, {}
        where there is nothing to buy. One paid POST; `submit` calls it where it was not called."""
        return {}

    def balance_usd(self) -> Decimal | None:
        """What is left on the account, where the provider says; None where it does not."""
        return None

    def fresh_link(self, video_url: str) -> str:
        """A link to the same video that works now, where the provider's links die before its files
        do."""
        return video_url

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

    @classmethod
    def is_webhook_key(cls, key: str) -> bool:
        """Whether a callback could be signed with it at all."""
        return bool(key)

    # What all share.

    @property
    def account_id(self) -> str:
        """A fingerprint of the account: it changes with the host and with the key, and says
        nothing of them. Where a new key belongs to the same account, the same `"account"` in both
        secrets keeps it."""
        names = ("account", "access_key", "api_key")
        owner = next((str(self.credentials[one]) for one in names if self.credentials.get(one)), "")
        material = f"talkdrop|{self.name}|{self.base_url}|{owner.strip()}"
        return hashlib.sha256(material.encode()).hexdigest()[:16]

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
                f'{self.name} has no usable key: write {{"api_key": "..."}} into the secret of '
                f"provider {self.name}",
                code="NO_KEY",
            )
        return key

    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key()}"}

    def url(self, path: str) -> str:
        if not self.base_url:
            raise AccountRejected(
                f'{self.name} has no address: write "base_url" into the secret of provider '
                f"{self.name}",
                code="NO_ADDRESS",
            )
        return f"{self.base_url}{path}"

    def error_of(
        self,
        kind: type[ProviderError],
        code: str,
        message: str,
        advice: str,
        answer: Answer | None = None,
    ) -> ProviderError:
        """Which provider answered what, and where to look; never with a secret in it, though the
        provider may quote what it was sent."""
        code, message = self.clean(code, answer)[:60], self.clean(message.strip()[:300], answer)
        error = kind(f'{self.name} answered {code} "{message}": {advice}', code=code)
        if isinstance(error, RejectedLater) and answer is not None:
            error.retry_seconds = retry_after(answer.headers, error.retry_seconds)
        return error

    def clean(self, text: str, answer: Answer | None = None) -> str:
        """A text of the provider's without our secrets."""
        text = redact(text, secrets_of(self.credentials))
        return answer.redact(text) if answer is not None else text

    def with_job(self, error: ProviderError, job_id: str | None) -> ProviderError:
        """A refusal that names a job is doubt, whatever it says; the job is kept as a hint."""
        if job_id is None:
            return error
        advice = f"it named job {job_id}, which may exist: look into the account at {self.name}"
        doubt = Ambiguous(f"{error} ({advice})", code=error.code)
        doubt.job_id = job_id
        return doubt

    def by_status(self, status: int) -> Outcome:
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
        if status in NEVER_REACHED:
            return NotSent, f"Cloudflare could not reach {self.name}; it will be sent again"
        return Ambiguous, f"a job may have been made: look into the account at {self.name}"


class FindsJobs(ABC):
    """A provider that keeps our own id with a job, and finds the job by it."""

    @abstractmethod
    def find(self, external_id: str) -> Job:
        """The job that carries our own id. Raises JobNotFound when there is none."""


class ListsJobs(ABC):
    """A provider that lists the account's jobs."""

    name: ClassVar[str]

    @abstractmethod
    def list_jobs(self, since: datetime) -> list[Job]:
        """Every job of the account that may have been created since. Raises Unavailable where the
        list cannot be read back to that time."""

    def find_in_list(self, external_id: str, since: datetime) -> Job:
        """The job in that list that carries our own id; raises JobNotFound when there is none."""
        for job in self.list_jobs(since):
            if job.external_id == external_id:
                return job
        raise JobNotFound(f"{self.name} lists no job with our id {external_id}")
