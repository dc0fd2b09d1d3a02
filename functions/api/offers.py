"""What can be made, what it costs, and where to put the files for it."""

from __future__ import annotations

from http import HTTPStatus

from aws_lambda_powertools.event_handler import Response
from typing_extensions import TypedDict

from functions import links, providers
from functions.api import compose
from functions.api.app import answer, app, body_as
from functions.api.shapes import NewUpload, QuoteRequest
from functions.inputs import drops, request
from functions.inputs.refusals import Refusal
from functions.providers.base import Limits, Model
from functions.settings import get, options
from functions.tasks import books

_UPLOAD_SECONDS = 3600
_LONGEST_KEY_BYTES = (
    1000  # S3 takes 1,024: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
)


class SettingView(TypedDict):
    """A setting that a model takes: its type, the values it allows, or its range."""

    type: str
    choices: list[str | int | float | bool]
    least: float | None
    most: float | None
    needs: str | None


class LimitsView(TypedDict):
    """What the provider refuses; null where no limit is documented."""

    image_types: list[str]
    image_bytes: int
    image_min_pixels: int | None
    image_max_ratio: float | None
    audio_types: list[str]
    audio_bytes: int
    audio_min_seconds: float | None
    audio_max_seconds: float | None
    prompt_characters: int


class ModelView(TypedDict):
    """Prices are USD per second of voice; `prices` where they depend on the setting `price_by`."""

    model: str
    usd_per_second: float
    price_by: str | None
    prices: dict[str, float]
    first_seconds: int
    usual_seconds: int
    limits: LimitsView
    settings: dict[str, SettingView]


class ProviderView(TypedDict):
    """`state`: open, stopped (its account is refused; `why`), or paused (option submit_enabled)."""

    provider: str
    state: str
    why: str | None
    default_model: str
    models: list[ModelView]


class Models(TypedDict):
    default_provider: str
    providers: list[ProviderView]


class QuoteView(TypedDict):
    """What it would cost, by the provider's price list; nothing is opened and nothing is spent.
    `pieces`: the voice is cut into about so many, and `quote_usd` is an estimate until it is."""

    provider: str
    model: str
    reason: str | None
    pieces: int | None
    quote_usd: float | None
    audio_seconds: float | None
    usual_seconds: int


class UploadView(TypedDict):
    """POST `fields` and then the file, as `file`, to `url` as a multipart form; then name `key` in
    POST /tasks."""

    key: str
    url: str
    fields: dict[str, str]
    expires_in_seconds: int


@app.get("/models")
def models() -> Response[str]:
    body: Models = {
        "default_provider": options().default_provider,
        "providers": [_provider(name) for name in providers.NAMES],
    }
    return answer(HTTPStatus.OK, body)


def _provider(name: str) -> ProviderView:
    provider = providers.get(name)
    why = books.stopped_since(name)
    state = "paused" if not options().submit_enabled else "open" if why is None else "stopped"
    return {
        "provider": name,
        "state": state,
        "why": why,
        "default_model": options().default_models.get(name) or request.AUTO,
        "models": [_model(model) for model in provider.models.values()],
    }


def _model(model: Model) -> ModelView:
    return {
        "model": model.id,
        "usd_per_second": float(model.usd_per_second),
        "price_by": model.price_by or None,
        "prices": {name: float(price) for name, price in model.prices.items()},
        "first_seconds": model.first_seconds,
        "usual_seconds": model.usual_seconds,
        "limits": _limits(model.limits),
        "settings": {
            name: {
                "type": setting.kind.__name__,
                "choices": list(setting.choices),
                "least": setting.least,
                "most": setting.most,
                "needs": setting.needs or None,
            }
            for name, setting in model.settings.items()
        },
    }


def _limits(limits: Limits) -> LimitsView:
    return {
        "image_types": sorted(limits.image_types),
        "image_bytes": limits.image_bytes,
        "image_min_pixels": limits.image_min_pixels,
        "image_max_ratio": limits.image_max_ratio,
        "audio_types": sorted(limits.audio_types),
        "audio_bytes": limits.audio_bytes,
        "audio_min_seconds": limits.audio_min_seconds,
        "audio_max_seconds": limits.audio_max_seconds,
        "prompt_characters": limits.prompt_characters,
    }


@app.post("/quote")
def quote() -> Response[str]:
    found = compose.quote(body_as(QuoteRequest))
    body: QuoteView = {
        "provider": found.provider,
        "model": found.model,
        "reason": found.reason or None,
        "pieces": found.pieces or None,
        "quote_usd": None if found.quote_usd is None else float(found.quote_usd),
        "audio_seconds": found.seconds,
        "usual_seconds": providers.get(found.provider).models[found.model].usual_seconds,
    }
    return answer(HTTPStatus.OK, body)


@app.post("/uploads")
def upload() -> Response[str]:
    """A form by which this one file, of this type and length, may be put into the inbox. It makes
    no task by itself."""
    body = body_as(NewUpload)
    key = _key(body.folder, body.name)
    form = links.presign_post(
        get().inbox, key, body.content_type, length=body.bytes, seconds=_UPLOAD_SECONDS
    )
    made: UploadView = {
        "key": key,
        "url": form["url"],
        "fields": form["fields"],
        "expires_in_seconds": _UPLOAD_SECONDS,
    }
    return answer(HTTPStatus.CREATED, made)


def _key(folder: str, name: str) -> str:
    """Below our own prefix, which makes no task. Raises Refused for names that S3 or a disk would
    not keep as they are."""
    parts = [part for part in folder.split("/") if part]
    for field, part in [*(("folder", part) for part in parts), ("name", name)]:
        if part in (".", "..") or "/" in part or "\\" in part or not drops.is_plain(part):
            message = f"{field} holds {part[:40]!r}: use plain names, with / only between folders"
            raise request.Refused(Refusal("BAD_NAME", field, message))
    key = drops.UPLOADS + "/".join([*parts, name])
    if len(key.encode()) > _LONGEST_KEY_BYTES:
        message = f"folder and name are longer than {_LONGEST_KEY_BYTES} bytes: shorten them"
        raise request.Refused(Refusal("BAD_NAME", "name", message))
    return key
