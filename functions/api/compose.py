"""A task or a quote from what a caller sends: the same checks as for dropped files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus

from functions import providers
from functions.api.app import Problem
from functions.api.shapes import NewTask, QuoteRequest
from functions.inputs import drops, media, request
from functions.inputs.drops import File
from functions.inputs.media import Refusal
from functions.inputs.request import TaskRequest, Validation
from functions.settings import get
from functions.tasks.table import now, stamp
from functions.tasks.task import Status, Task


@dataclass(frozen=True)
class Quote:
    """What a video would cost at this model; `seconds` of voice, None where only the provider
    knows them."""

    provider: str
    model: str
    quote_usd: Decimal | None
    seconds: float | None
    reason: str = ""


def hash_of(body: NewTask) -> str:
    return hashlib.sha256(body.model_dump_json().encode()).hexdigest()


def new_task(body: NewTask, task_id: str) -> Task:
    """The task, checked at once when its media lie in the inbox; with URLs it waits until they are
    fetched. Raises Refused with every reason and the field of each."""
    composed = request_of(body)
    given = {"portrait": body.portrait} | ({"audio": body.audio} if body.audio else {})
    urls = {field: ref for field, ref in given.items() if "://" in ref}
    _refuse([one for field, url in urls.items() if (one := _only_https(field, url))])
    files = {field: _file(field, key) for field, key in given.items() if field not in urls}
    stem = drops.split((body.audio or body.portrait).split("?")[0])[1]
    task = Task(
        task_id=task_id, status=Status.WAITING, created_at=stamp(now()), origin="api", stem=stem or "video",
        provider=composed.provider, model=composed.model, prompt=composed.prompt, settings=dict(composed.settings),
        request_hash=hash_of(body), imports=urls,
        portrait=files["portrait"].named() if "portrait" in files else {},
        audio=files["audio"].named() if "audio" in files else {},
    )  # fmt: skip
    if urls:
        # What needs no look at the media is refused at once.
        _refuse(request.without_media(composed, has_audio="audio" in given))
        return task
    return request.apply(task, _validated(composed, files))


def quote(body: QuoteRequest) -> Quote:
    """Raises Refused for what would be refused, and Problem for URLs, which are fetched only for a
    task."""
    composed = request_of(body)
    given = {
        field: ref for field in ("portrait", "audio") if (ref := getattr(body, field)) is not None
    }
    if [ref for ref in given.values() if "://" in ref]:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "a URL is fetched only when a task is opened: give audio_seconds instead",
        )
    files = {field: _file(field, key) for field, key in given.items()}
    if body.audio_seconds is not None and "audio" not in files:
        return _by_length(composed, body.audio_seconds)
    found = _validated(composed, files)
    seconds = float(found.audio.seconds) if found.audio else None
    return Quote(composed.provider, composed.model, found.quote_usd, seconds)


def _validated(composed: TaskRequest, files: Mapping[str, File]) -> Validation:
    portrait, voice = (
        files[field].source() if field in files else None for field in ("portrait", "audio")
    )
    found = request.judge(composed, portrait, voice)
    _refuse(list(found.refusals))
    return found


def _refuse(refusals: list[Refusal]) -> None:
    if refusals:
        raise request.Refused(refusals)


def _only_https(field: str, url: str) -> Refusal | None:
    if url.startswith("https://"):
        return None
    return Refusal("BAD_URL", field, f"{field} must be an https URL or a key of the inbox")


def _by_length(composed: TaskRequest, seconds: float) -> Quote:
    _refuse(request.without_media(composed, has_audio=True))
    model = providers.get(composed.provider).models[composed.model]
    most = model.limits.audio_max_seconds or media.MOST_SECONDS
    if seconds > most:
        message = f"{seconds:g} seconds of voice; {composed.provider}'s {model.id} takes {most:g}"
        _refuse([Refusal("AUDIO_TOO_LONG", "audio_seconds", message)])
    price = model.price(seconds, composed.settings)
    return Quote(composed.provider, model.id, price, seconds)


def request_of(body: NewTask | QuoteRequest) -> TaskRequest:
    for name in sorted({"provider", "model", "prompt"} & body.settings.keys()):
        message = f"{name} stands beside settings, not in it"
        _refuse([Refusal("INVALID", f"settings.{name}", message)])
    reserved = {"provider": body.provider, "model": body.model}
    return request.compose({**body.settings, **reserved}, body.prompt)


def _file(field: str, key: str) -> File:
    file = drops.head(get().inbox, key)
    if file is None:
        message = f"there is no {key!r} in the inbox {get().inbox}: upload it first"
        raise request.Refused([Refusal("NOT_FOUND", field, message)])
    return file
