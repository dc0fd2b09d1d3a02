"""What the API takes: one model a body, strict, so that a misspelt field is refused by its name."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

MediaRef = Annotated[str, StringConstraints(min_length=1, max_length=8192)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
JobId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$")]

# As we write it, for those who read the description; what is no cursor of ours is refused by more.
CURSOR = "^([A-Za-z0-9_-]{72,80}={0,2})?$"
# A day, or an instant with or without seconds and zone.
INSTANT = (
    "^([0-9]{4}-[0-9]{2}-[0-9]{2}"
    "(T[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?)?$"
)


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class NewConsent(Body):
    """Who agreed to be shown and heard, to what, until which day (UTC, that day included), and the
    SHA-256 of what was signed."""

    who: str = Field(min_length=1, max_length=200, examples=["Ada Lovelace"])
    scope: str = Field(min_length=1, max_length=500, examples=["training videos"])
    until: str | None = Field(None, examples=["2027-12-31"])
    document_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")


class NewTask(Body):
    """One video. `portrait` and `audio` are keys of the inbox or https URLs; `audio` is left out
    where the provider speaks `settings.text` itself. `consent` is needed where the stack's option
    require_consent says so."""

    portrait: MediaRef
    audio: MediaRef | None = None
    prompt: str = ""
    provider: str | None = None
    model: str | None = None
    max_usd: Decimal | None = Field(None, gt=0)
    long_voice: Literal["split", "refuse"] | None = None
    reuse: bool | None = None
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    consent: NewConsent | None = None


class QuoteRequest(Body):
    """What a video would cost. With keys of the inbox the media themselves are checked; without,
    `audio_seconds` says how long the voice is."""

    portrait: MediaRef | None = None
    audio: MediaRef | None = None
    audio_seconds: float | None = Field(None, gt=0, le=36_000)
    prompt: str = ""
    provider: str | None = None
    model: str | None = None
    max_usd: Decimal | None = Field(None, gt=0)
    long_voice: Literal["split", "refuse"] | None = None
    reuse: bool | None = None
    settings: dict[str, JsonValue] = Field(default_factory=dict)


class NewUpload(Body):
    """A file for the inbox, `bytes` long, to be sent as the form that is answered."""

    name: str = Field(min_length=1, max_length=255, examples=["01.mp3"])
    folder: str = Field("", max_length=512, examples=["episode-12"])
    content_type: str = Field(pattern=r"^(image|audio)/[a-z0-9.+-]{1,60}$", examples=["audio/mpeg"])
    bytes: int = Field(ge=1, le=128 << 20)


class Cancellation(Body):
    why: Reason = "cancelled by the API"


class FolderCancellation(Body):
    """Every task below `prefix` that was not sent yet; `cursor` goes on where the last
    answer ended."""

    prefix: str = Field(min_length=1, max_length=1024, examples=["episode-12/"])
    why: Reason = "cancelled by the API"
    cursor: str = Field("", max_length=200, json_schema_extra={"pattern": CURSOR})


class Adoption(Body):
    """`job_id` was found at the provider and belongs to this task."""

    job_id: JobId
    why: Reason


class Resubmission(Body):
    """One more attempt, paid anew."""

    why: Reason
    i_accept_a_second_charge: bool = False


class Failure(Body):
    why: Reason
