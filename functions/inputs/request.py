"""What a task request asks for: provider, model, prompt and settings, from files or from the API,
validated the same way before any money is spent."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from functions import providers
from functions.inputs import limits
from functions.inputs.audio import Audio, inspect_audio
from functions.inputs.pictures import Image, inspect_image
from functions.inputs.refusals import NotMedia, Refusal, listed, sentences
from functions.inputs.source import Source
from functions.providers import base
from functions.settings import options
from functions.tasks.task import Status, StoredFile, Task

AUTO = "auto"  # the model of a request that leaves the choice to us
# What stands beside a model's settings, in a settings file as in the API.
RESERVED = frozenset({"provider", "model", "prompt", "max_usd"})

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_HALF_A_LETTER = re.compile("[\ud800-\udfff]")
_LARGEST, _DEEPEST = 10**38, 16
_MOST_REASONS = 4000  # characters: they go into a row, an event and a note
# Letters a voice speaks in a second, roughly: only to quote a price before it is known.
_LETTERS_PER_SECOND = 14
# The settings that stand for an audio file, where a model takes them.
_VOICES = ("text", "audio_id")


@dataclass(frozen=True)
class TaskRequest:
    """A provider that exists, one of its models or AUTO, a prompt made harmless, and the settings
    the model is to be given. `max_usd` is what the task may cost where it is not our own limit."""

    provider: str
    model: str
    prompt: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    max_usd: Decimal | None = None

    @property
    def text(self) -> str:
        """What the provider is to speak, where no audio file is the voice."""
        return str(self.settings.get("text") or "")


@dataclass(frozen=True)
class Validation:
    """What was found in the media, the model that takes them, and every reason against sending
    them; `quote_usd` where there is none. `model_reason` says why AUTO chose this model."""

    image: Image | None
    audio: Audio | None
    refusals: tuple[Refusal, ...]
    model: str
    quote_usd: Decimal | None = None
    model_reason: str = ""


class Refused(Exception):
    """What was asked for cannot be: `refusals` say which field, why, and the cure."""

    def __init__(self, *refusals: Refusal) -> None:
        super().__init__(sentences(refusals))
        self.refusals = list(refusals)


def parse(text: str, name: str) -> dict[str, Any]:
    """A settings file. Raises Refused when it is not a JSON object."""
    try:
        settings = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        message = f"{name} is not JSON ({error}): mend or remove it"
        raise Refused(Refusal("BAD_SETTINGS", "settings", message)) from None
    if not isinstance(settings, dict):
        message = f'{name} must be a JSON object such as {{"model": "…"}}'
        raise Refused(Refusal("BAD_SETTINGS", "settings", message))
    return settings


def compose(flat: Mapping[str, Any], prompt: str | None = None) -> TaskRequest:
    """A request from flat settings; what is not RESERVED belongs to the model. A `prompt` counts
    before the one among the settings. Raises Refused."""
    if not _can_be_kept(flat):
        cure = "numbers of at most 38 digits, no NaN, whole letters, and not deeply nested"
        message = f"the settings hold what cannot be kept: {cure}, please"
        raise Refused(Refusal("BAD_SETTINGS", "settings", message))
    provider = str(flat.get("provider") or options().default_provider)
    if provider not in providers.NAMES:
        known = ", ".join(providers.NAMES)
        message = f"there is no provider {provider!r}: use one of {known}"
        raise Refused(Refusal("UNKNOWN_PROVIDER", "provider", message))
    if provider not in (in_use := options().providers or providers.NAMES):
        message = f"{provider} is not in use here: name {' or '.join(in_use)}, or add it to "
        message += "`providers` in cdk.json and deploy"
        raise Refused(Refusal("PROVIDER_NOT_IN_USE", "provider", message))
    model = str(flat.get("model") or options().default_models.get(provider) or AUTO)
    if model != AUTO and model not in providers.get(provider).models:
        known = ", ".join([AUTO, *providers.get(provider).models])
        message = f"{provider} has no model {model!r}: use one of {known}"
        raise Refused(Refusal("UNKNOWN_MODEL", "model", message))
    text = flat.get("prompt", "") if prompt is None else prompt
    if not isinstance(text, str):
        raise Refused(Refusal("BAD_PROMPT", "prompt", "the prompt must be text"))
    settings = {name: value for name, value in flat.items() if name not in RESERVED}
    return TaskRequest(provider, model, clean(text), settings, _max_usd(flat.get("max_usd")))


def _max_usd(value: Any) -> Decimal | None:
    if value is None:
        return None
    try:
        amount = Decimal("NaN" if isinstance(value, bool) else str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 < amount <= 100_000:
        message = f"max_usd is {json.dumps(value, default=str)[:60]}: give an amount such as 25"
        raise Refused(Refusal("BAD_MAX_USD", "max_usd", message))
    return amount


def _can_be_kept(value: Any, depth: int = 0) -> bool:
    """By the table: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Limits.html"""
    if isinstance(value, str):
        return not _HALF_A_LETTER.search(value)
    if isinstance(value, int):
        return abs(value) < _LARGEST
    if isinstance(value, float):
        return abs(value) < _LARGEST and (value == 0 or abs(value) > 1 / _LARGEST)  # NaN is neither
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    return depth < _DEEPEST and all(_can_be_kept(inner, depth + 1) for inner in value or ())


def clean(prompt: str) -> str:
    """Composed letters, no control or direction-changing characters but the line break."""
    return _CONTROL.sub("", unicodedata.normalize("NFC", prompt)).strip()


def validate(request: TaskRequest, portrait: Source | None, voice: Source | None) -> Validation:
    """Look at the media themselves, and say all that the provider would refuse, before any money is
    spent."""
    models = _models(request)
    image, audio, refusals = _inspect(request, models, portrait, voice)
    fits = [_fit(model, request, image, audio, voice is not None) for model in models]
    best = min(fits, key=lambda fit: fit.rank)
    refusals += [_with_cure(refusal, request, audio) for refusal in best.refusals]
    if not refusals:
        refusals += _too_dear(request, best.model, best.quote_usd, audio)
    if refusals:
        return Validation(image, audio, tuple(refusals), request.model)
    reason = ""
    if request.model == AUTO:
        reason = f"{_amount(request, audio)}: {best.model.id}, {best.quote_usd:.2f} USD"
    return Validation(image, audio, (), best.model.id, best.quote_usd, reason)


def _with_cure(refusal: Refusal, request: TaskRequest, audio: Audio | None) -> Refusal:
    """A voice that is too long for the model that was named: which of the provider takes it."""
    if refusal.code != "AUDIO_TOO_LONG" or request.model == AUTO or audio is None:
        return refusal
    everyone = _models(replace(request, model=AUTO))
    longer = [model.id for model in everyone if audio.seconds <= limits.most_seconds(model)]
    if not longer:
        return refusal
    cure = f' Or set "model" to "{AUTO}", or to {listed(longer, "or")}, which takes so much.'
    return replace(refusal, message=refusal.message + cure)


def without_media(request: TaskRequest, *, has_audio: bool) -> list[Refusal]:
    """What can be said against a request before its media are seen."""
    fits = [_fit(model, request, None, None, has_audio) for model in _models(request)]
    return list(min(fits, key=lambda fit: fit.rank).refusals)


def _models(request: TaskRequest) -> list[base.Model]:
    models = providers.get(request.provider).models
    chosen = models.values() if request.model == AUTO else [models[request.model]]
    return [limits.lifted(model) for model in chosen]


def largest(provider: str, model: str) -> tuple[int, int]:
    """The most bytes of a portrait and of a voice that this model, or any that AUTO may choose,
    takes."""
    models = _models(TaskRequest(provider, model, ""))
    return (
        max(model.limits.image_bytes for model in models),
        max(model.limits.audio_bytes for model in models),
    )


def _inspect(
    request: TaskRequest, models: list[base.Model], portrait: Source | None, voice: Source | None
) -> tuple[Image | None, Audio | None, list[Refusal]]:
    """What the files are; their size is looked at before their bytes."""
    image: Image | None = None
    audio: Audio | None = None
    refusals: list[Refusal] = []
    most_image, most_audio = largest(request.provider, request.model)
    who = limits.who(request.provider, models)
    try:
        if portrait:
            limits.check_size(who, portrait, most_image, "portrait", "IMAGE")
            image = inspect_image(portrait)
    except NotMedia as error:
        refusals.append(error.refusal)
    try:
        if voice:
            limits.check_size(who, voice, most_audio, "audio", "AUDIO")
            audio = inspect_audio(voice)
    except NotMedia as error:
        refusals.append(error.refusal)
    if portrait and voice and len(refusals) == 2 and _are_swapped(portrait, voice):
        message = (
            f"{portrait.name} is a sound and {voice.name} is a picture: they are swapped. Exchange "
            "them and drop both again."
        )
        refusals = [Refusal("SWAPPED", "audio", message)]
    return image, audio, refusals


def _are_swapped(portrait: Source, voice: Source) -> bool:
    try:
        return bool(inspect_audio(portrait) and inspect_image(voice))
    except NotMedia:
        return False


@dataclass(frozen=True)
class _Fit:
    """One model, and what it would refuse of this request."""

    model: base.Model
    refusals: tuple[Refusal, ...]
    quote_usd: Decimal

    @property
    def rank(self) -> tuple[int, float, Decimal, bool]:
        """The best is least: the cheapest that takes all; else the one that refuses least. Of two
        alike, the one whose limit is documented."""
        longest = self.model.limits.audio_max_seconds
        reach = -(longest or limits.MOST_SECONDS) if self.refusals else 0.0
        return len(self.refusals), reach, self.quote_usd, longest is None


def _fit(
    model: base.Model,
    request: TaskRequest,
    image: Image | None,
    audio: Audio | None,
    has_audio: bool,
) -> _Fit:
    refusals = _one_voice(model, request, has_audio)
    refusals += limits.check(
        model,
        request.provider,
        image=image,
        audio=audio,
        prompt=request.prompt,
        settings=request.settings,
    )
    return _Fit(model, tuple(refusals), quote(model, request, audio))


def _one_voice(model: base.Model, request: TaskRequest, has_audio: bool) -> list[Refusal]:
    takes = [name for name in _VOICES if name in model.settings]
    given = [f"settings.{name}" for name in takes if request.settings.get(name) is not None]
    given += ["an audio file"] if has_audio else []
    provider = request.provider
    if len(given) > 1:
        message = (
            f"there are {len(given)} voices, {' and '.join(given)}: leave one, {provider} takes "
            "no more"
        )
        return [Refusal("ONE_VOICE", "audio", message)]
    if given:
        return []
    named = ["an audio file", *(f"settings.{name}" for name in takes)]
    message = f"there is no voice: give {provider} {' or '.join(named)}"
    if "text" not in model.settings:
        speak = [name for name in providers.NAMES if providers.get(name).speaks_text]
        message += f"; only {' and '.join(speak)} can speak a text"
    return [Refusal("NO_VOICE", "audio", message)]


def quote(model: base.Model, request: TaskRequest, audio: Audio | None) -> Decimal:
    """By the length of the voice; of one that only the provider knows (`audio_id`), by the longest
    it may be."""
    if audio:
        seconds = audio.seconds
    elif request.text:
        seconds = len(request.text) / _LETTERS_PER_SECOND
    else:
        seconds = model.limits.audio_max_seconds or limits.MOST_SECONDS
    return model.price(seconds, request.settings)


def _too_dear(
    request: TaskRequest, model: base.Model, price: Decimal, audio: Audio | None
) -> list[Refusal]:
    limit, where = options().max_usd_per_task, "option max_usd_per_task"
    if request.max_usd is not None:
        limit, where = request.max_usd, "its own max_usd"
    if limit is None or price <= limit:
        return []
    message = (
        f"{request.provider}'s {model.id} would cost {price:.2f} USD for "
        f"{_amount(request, audio)}; "
        f"a task may cost at most {limit:.2f} USD ({where}): shorten the voice, choose a cheaper "
        f'model, or set "max_usd" to at least {price:.2f}'
    )
    return [Refusal("TOO_DEAR", "max_usd", message)]


def _amount(request: TaskRequest, audio: Audio | None) -> str:
    """How much there is to speak, as a price depends on it."""
    if audio:
        return f"{audio.seconds:.{0 if audio.seconds >= 10 else 1}f} s of voice"
    return f"{len(request.text)} letters" if request.text else "a voice of unknown length"


def apply(task: Task, validation: Validation) -> Task:
    """The task with what was found in its media: READY with a model and a quote, or FAILED with
    every reason."""
    if validation.refusals:
        return refuse(task, validation.refusals)
    portrait = cast(StoredFile, {**task.portrait, **_facts(validation.image)})
    audio = cast(StoredFile, {**task.audio, **_facts(validation.audio)})
    return replace(
        task,
        status=Status.READY,
        error={},
        model=validation.model,
        model_reason=validation.model_reason,
        quote_usd=validation.quote_usd,
        portrait=portrait,
        audio=audio,
    )


def _facts(found: Image | Audio | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        name: Decimal(str(value)) if isinstance(value, float) else value
        for name, value in asdict(found).items()
        if name != "name"
    }


def refuse(task: Task, refusals: Sequence[Refusal]) -> Task:
    message = sentences(refusals)
    if len(message) > _MOST_REASONS:
        message = f"{message[:_MOST_REASONS]} … ({len(refusals)} reasons in all)"
    return replace(task, status=Status.FAILED, error={"code": refusals[0].code, "message": message})
