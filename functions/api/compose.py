"""A task or a quote from what a caller sends: the same checks as for dropped files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus

from functions.api.app import Problem
from functions.api.shapes import NewTask, QuoteRequest
from functions.inputs import consent, drops, limits, request, url_inputs, validation
from functions.inputs.drops import File
from functions.inputs.refusals import Refusal
from functions.inputs.request import TaskRequest
from functions.providers.base import Model
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
    pieces: int = 0


def hash_of(body: NewTask) -> str:
    """What an Idempotency-Key was first sent with. A field that is not given is left out where
    older versions did not know it: their rows hold hashes without it."""
    later = {name for name in ("consent", "long_voice", "reuse") if getattr(body, name) is None}
    return hashlib.sha256(body.model_dump_json(exclude=later).encode()).hexdigest()


def new_task(body: NewTask, task_id: str) -> Task:
    """The task, checked at once when its media lie in the inbox; with URLs it waits until they are
    fetched. Raises Refused with every reason and the field of each."""
    composed = composed_of(body)
    if lacking := consent.missing(composed.consent):
        raise request.Refused(*lacking)
    media = {"portrait": body.portrait} | ({"audio": body.audio} if body.audio else {})
    urls = {field: ref for field, ref in media.items() if "://" in ref}
    if bad := [found for field, url in urls.items() if (found := url_inputs.check(field, url))]:
        raise request.Refused(*bad)
    files = {field: _file(field, key) for field, key in media.items() if field not in urls}
    stem = drops.split((body.audio or body.portrait).split("?")[0])[1]
    task = Task(
        task_id=task_id, status=Status.WAITING, created_at=stamp(now()), origin="api",
        stem=stem or "video", provider=composed.provider, model=composed.model,
        prompt=composed.prompt, settings=dict(composed.settings), reuse=composed.reuse,
        max_usd=composed.max_usd, consent=composed.consent, long_voice=composed.long_voice,
        request_hash=hash_of(body), imports=urls,
        portrait=files["portrait"].named() if "portrait" in files else {},
        audio=files["audio"].named() if "audio" in files else {},
    )  # fmt: skip
    if urls:
        # What needs no look at the media is refused at once.
        if refusals := validation.without_media(composed, has_audio="audio" in media):
            raise request.Refused(*refusals)
        return task
    task, validated = url_inputs.validate(task, files)
    if validated.refusals:
        raise request.Refused(*validated.refusals)
    return task


def quote(body: QuoteRequest) -> Quote:
    """Raises Refused for what would be refused, and Problem for URLs, which are fetched only for a
    task."""
    composed = composed_of(body)
    media = {
        field: ref for field in ("portrait", "audio") if (ref := getattr(body, field)) is not None
    }
    if [ref for ref in media.values() if "://" in ref]:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "a URL is fetched only when a task is opened: give audio_seconds instead",
        )
    files = {field: _file(field, key) for field, key in media.items()}
    if body.audio_seconds is not None and "audio" not in files:
        return _by_length(composed, body.audio_seconds)
    portrait, voice = (
        files[field].source() if field in files else None for field in ("portrait", "audio")
    )
    found = validation.validate(composed, portrait, voice)
    if found.refusals:
        raise request.Refused(*found.refusals)
    seconds = float(found.audio.seconds) if found.audio else None
    reason, pieces = found.model_reason, found.pieces
    return Quote(composed.provider, found.model, found.quote_usd, seconds, reason, pieces)


def _by_length(composed: TaskRequest, seconds: float) -> Quote:
    """The cheapest of the models that may be chosen and take so long a voice."""
    if refusals := validation.without_media(composed, has_audio=True):
        raise request.Refused(*refusals)
    chosen = validation.takers(composed)
    fitting = [model for model in chosen if seconds <= limits.most_seconds(model)]
    if validation.is_cut(composed, fitting, [one for one in chosen if one not in fitting]):
        return _in_pieces(composed, chosen, seconds)
    if not fitting:
        most = max(limits.most_seconds(model) for model in chosen)
        message = f"{seconds:g} seconds of voice; {composed.provider} takes at most {most:g}"
        raise request.Refused(Refusal("AUDIO_TOO_LONG", "audio_seconds", message))
    prices = {model.id: model.price(seconds, composed.settings) for model in fitting}
    cheapest = min(prices, key=lambda name: prices[name])
    return Quote(composed.provider, cheapest, prices[cheapest], seconds)


def _in_pieces(composed: TaskRequest, models: list[Model], seconds: float) -> Quote:
    """About what the pieces of so long a voice cost together. Raises Refused."""
    if seconds > limits.LONGEST_SECONDS:
        message = (
            f"{seconds:g} seconds of voice; at most {limits.MOST_SECONDS:g} are cut and joined"
        )
        raise request.Refused(Refusal("AUDIO_TOO_LONG", "audio_seconds", message))
    prices = {one.id: validation.quote_in_pieces(one, composed, seconds) for one in models}
    cheapest = min(models, key=lambda one: prices[one.id])
    count, price = limits.about_pieces(cheapest, seconds), prices[cheapest.id]
    reason = validation.in_words(f"{seconds:g} s of voice", cheapest, count, price)
    return Quote(composed.provider, cheapest.id, price, seconds, reason, count)


def composed_of(body: NewTask | QuoteRequest) -> TaskRequest:
    for name in sorted(request.RESERVED & body.settings.keys()):
        message = f"{name} stands beside settings, not in it"
        raise request.Refused(Refusal("INVALID", f"settings.{name}", message))
    max_usd = None if body.max_usd is None else str(body.max_usd)
    reserved: dict[str, object] = {
        "provider": body.provider, "model": body.model, "max_usd": max_usd,
        "long_voice": body.long_voice, "reuse": body.reuse,
    }  # fmt: skip
    if isinstance(body, NewTask) and body.consent:
        reserved["consent"] = body.consent.model_dump(exclude_none=True)
    return request.compose({**body.settings, **reserved}, body.prompt)


def _file(field: str, key: str) -> File:
    file = drops.head(get().inbox, key) if drops.may_be_key(key) else None
    if file is None:
        message = f"there is no {key!r} in the inbox {get().inbox}: upload it first"
        raise request.Refused(Refusal("NOT_FOUND", field, message))
    return file
