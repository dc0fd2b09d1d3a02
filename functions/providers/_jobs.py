"""What passes between us and a provider: media and a request go in, a job and a hint come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from functions.providers._redact import redact


class JobStatus(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class Job:
    """What a provider says now about one unit of its work.

    `marked_url` is the same video with the provider's visible mark, where it gives both.
    `charge_usd` is what the provider says it took, None where it does not say.
    `callback_url` is the URL the provider remembers having been given: proof that a job is ours
    (kie's `param`). `unknown_word` is a status word that stands in no table of ours: it counts as
    running, and is worth a warning. `refused_late` is a job that was accepted and then refused for
    want of a free slot: it runs no more and did not fail for its input, so it is not final here.
    """

    job_id: str
    status: JobStatus
    video_url: str | None = field(default=None, repr=False)
    marked_url: str | None = field(default=None, repr=False)
    error_code: str = ""
    error: str = ""
    charge_usd: Decimal | None = None
    callback_url: str | None = field(default=None, repr=False)
    external_id: str | None = None
    unknown_word: str = ""
    created_at: datetime | None = None
    refused_late: bool = False

    def __post_init__(self) -> None:
        # Providers quote the media URL that they could not fetch.
        object.__setattr__(self, "error", redact(self.error))


@dataclass(frozen=True)
class Hint:
    """What a callback's body suggests. Nothing of it is believed; `final=False` only means that the
    execution need not be resumed."""

    job_id: str | None = None
    final: bool | None = None


# How media reach a provider: by a link it fetches itself, as base64 in the request, or by its own
# upload service, which takes them as they are, as base64, or fetches a link at once (that link need
# not outlast the provider's queue).
Delivery = Literal["url", "base64", "upload", "upload-base64", "upload-url"]
BY_LINK: frozenset[Delivery] = frozenset({"url", "upload-url"})


@dataclass(frozen=True)
class Media:
    """A portrait or a voice for the provider: a `url` where it is delivered by link, else its
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
    settings: Mapping[str, object]
    callback_url: str | None = field(repr=False)
