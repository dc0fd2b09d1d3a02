"""How a call to a provider fails, named after what the caller must do. The *call* failing is an
exception; the *job* failing is a `Job` with an error.

    ProviderError
    ├── NotSent            nothing reached the provider: the same attempt may be sent again
    ├── RejectedLater      refused for now and not queued: again after `retry_seconds`
    ├── Rejected           this input will never pass: fail the task and show the reason
    ├── AccountRejected    key, credits or rights: stop this provider, raise the alarm; the task is
    │                      not to blame
    ├── Ambiguous          sent, and the outcome is unknown: never send again without proof
    ├── JobNotFound        a query found no such job (yet)
    └── Unavailable        a query could not be answered now: ask again later
"""

from __future__ import annotations

from typing import Literal

from functions import TalkdropError
from functions.providers._redact import redact


class ProviderError(TalkdropError):
    """A call to a provider failed. `code` is the provider's own code, or ours in capitals.

    `bought` is what this attempt has paid for already, as settings: they are added to the request
    when the attempt is sent again, so that it is not paid for twice (Kling's speech, which comes
    before its video). `job_id` is a job that the answer named beside its refusal: a hint to ask
    about. `stage` is "speech" where no video was requested yet.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(redact(message))
        self.code = code
        self.bought: dict[str, str] = {}
        self.job_id: str | None = None
        self.stage: Literal["speech", "video"] = "video"


class NotSent(ProviderError):
    """Nothing reached the provider: DNS, connect, TLS."""


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
    """Sent, and it is unknown whether a job exists."""


class JobNotFound(ProviderError):
    """The provider does not know this job, or not yet."""


class Unavailable(ProviderError):
    """A query could not be answered now."""
