"""What is asked for: provider, model, prompt and settings, from files or from the API, checked the
same way."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Any

from functions import providers
from functions.inputs import media
from functions.inputs.media import Refusal
from functions.inputs.source import Source
from functions.providers import base
from functions.settings import options
from functions.tasks.task import Status, Task

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_HALF_A_LETTER = re.compile("[\ud800-\udfff]")
_LARGEST, _DEEPEST = 10**38, 16
_MOST_REASONS = 4000  # characters: what is told of a refusal goes into a row, an event and a note
_LETTERS_PER_SECOND = (
    14  # letters a voice speaks in a second, roughly: only to quote a price before it is known
)
_VOICES = (
    "text",
    "audio_id",
)  # the settings that stand for an audio file, where a model takes them


@dataclass(frozen=True)
class TaskRequest:
    """A provider and model that exist, a prompt made harmless, and the settings the model is to be
    given."""

    provider: str
    model: str
    prompt: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What the provider is to speak, where no audio file is the voice."""
        return str(self.settings.get("text") or "")


@dataclass(frozen=True)
class Validation:
    """What was found in the media, and every reason against sending them; `quote_usd` where there
    is none."""

    image: media.Image | None
    audio: media.Audio | None
    refusals: tuple[Refusal, ...]
    quote_usd: Decimal | None


class Refused(Exception):
    """What was asked for cannot be: `refusals` say which field, why, and the cure."""

    def __init__(self, refusals: list[Refusal]) -> None:
        super().__init__(" ".join(refusal.message for refusal in refusals))
        self.refusals = refusals


def parse(text: str, name: str) -> dict[str, Any]:
    """A settings file. Raises Refused when it is not a JSON object."""
    try:
        told = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise Refused(
            [
                Refusal(
                    "BAD_SETTINGS", "settings", f"{name} is not JSON ({error}): mend or remove it"
                )
            ]
        ) from None
    if not isinstance(told, dict):
        raise Refused(
            [
                Refusal(
                    "BAD_SETTINGS",
                    "settings",
                    f'{name} must be a JSON object such as {{"model": "…"}}',
                )
            ]
        )
    return told


def compose(told: Mapping[str, Any], prompt: str | None = None) -> TaskRequest:
    """A brief from flat settings; what is not provider, model or prompt belongs to the model.
    Raises Refused."""
    asked = dict(told)
    if not _can_be_kept(asked):
        cure = "numbers of at most 38 digits, no NaN, whole letters, and not deeply nested"
        raise Refused(
            [
                Refusal(
                    "BAD_SETTINGS",
                    "settings",
                    f"the settings hold what cannot be kept: {cure}, please",
                )
            ]
        )
    provider = str(asked.pop("provider", None) or options().default_provider)
    if provider not in providers.NAMES:
        known = ", ".join(providers.NAMES)
        raise Refused(
            [
                Refusal(
                    "UNKNOWN_PROVIDER",
                    "provider",
                    f"there is no provider {provider!r}: use one of {known}",
                )
            ]
        )
    spoken_by = providers.get(provider)
    model = str(
        asked.pop("model", None)
        or options().default_models.get(provider)
        or spoken_by.default_model
    )
    if model not in spoken_by.models:
        known = ", ".join(spoken_by.models)
        raise Refused(
            [
                Refusal(
                    "UNKNOWN_MODEL",
                    "model",
                    f"{provider} has no model {model!r}: use one of {known}",
                )
            ]
        )
    wished = asked.pop("prompt", "") if prompt is None else prompt
    if prompt is not None:
        asked.pop("prompt", None)
    if not isinstance(wished, str):
        raise Refused([Refusal("BAD_PROMPT", "prompt", "the prompt must be text")])
    return TaskRequest(provider, model, clean(wished), asked)


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


def judge(brief: TaskRequest, portrait: Source | None, voice: Source | None) -> Validation:
    """Look at the media themselves, and say all that the provider would refuse, before any money is
    spent."""
    refusals: list[Refusal] = []
    image: media.Image | None = None
    audio: media.Audio | None = None
    try:
        image = media.inspect_image(portrait) if portrait else None
    except media.NotMedia as error:
        refusals.append(error.refusal)
    try:
        audio = media.inspect_audio(voice) if voice else None
    except media.NotMedia as error:
        refusals.append(error.refusal)
    model = providers.get(brief.provider).models[brief.model]
    refusals += _one_voice(model, brief, voice is not None)
    refusals += media.check(
        model,
        brief.provider,
        image=image,
        audio=audio,
        prompt=brief.prompt,
        settings=brief.settings,
    )
    if refusals:
        return Validation(image, audio, tuple(refusals), None)
    return Validation(image, audio, (), quote(model, brief, audio))


def without_media(brief: TaskRequest, *, has_audio: bool) -> list[Refusal]:
    """What can be said against a brief before its media are seen."""
    model = providers.get(brief.provider).models[brief.model]
    checked = media.check(
        model, brief.provider, image=None, audio=None, prompt=brief.prompt, settings=brief.settings
    )
    return [*_one_voice(model, brief, has_audio), *checked]


def _one_voice(model: base.Model, brief: TaskRequest, has_audio: bool) -> list[Refusal]:
    named = [f"settings.{name}" for name in _VOICES if name in model.settings]
    given = [
        f"settings.{name}"
        for name in _VOICES
        if name in model.settings and brief.settings.get(name) is not None
    ]
    given += ["an audio file"] if has_audio else []
    if len(given) > 1:
        message = (
            f"there are {len(given)} voices, {' and '.join(given)}: leave one, {brief.provider} "
            "takes no more"
        )
        return [Refusal("ONE_VOICE", "audio", message)]
    if given:
        return []
    message = f"there is no voice: give {brief.provider} {' or '.join(['an audio file', *named])}"
    if "text" not in model.settings:
        speak = [name for name in providers.NAMES if providers.get(name).speaks_text]
        message += f"; only {' and '.join(speak)} can speak a text"
    return [Refusal("NO_VOICE", "audio", message)]


def quote(model: base.Model, brief: TaskRequest, audio: media.Audio | None) -> Decimal:
    """By the length of the voice; of one that only the provider knows (`audio_id`), by the longest
    it may be."""
    if audio:
        seconds = audio.seconds
    elif brief.text:
        seconds = len(brief.text) / _LETTERS_PER_SECOND
    else:
        seconds = model.limits.audio_max_seconds or media.MOST_SECONDS
    return model.price(seconds, brief.settings)


def apply(task: Task, judged: Validation) -> Task:
    """The task with what was found in its media: READY with a quote, or FAILED with every
    reason."""
    if judged.refusals:
        return refuse(task, list(judged.refusals))
    portrait, audio = (
        {**task.portrait, **_facts(judged.image)},
        {**task.audio, **_facts(judged.audio)},
    )
    return replace(
        task,
        status=Status.READY,
        error={},
        quote_usd=judged.quote_usd,
        portrait=portrait,
        audio=audio,
    )


def _facts(seen: media.Image | media.Audio | None) -> dict[str, Any]:
    if seen is None:
        return {}
    return {
        name: Decimal(str(value)) if isinstance(value, float) else value
        for name, value in asdict(seen).items()
        if name != "name"
    }


def refuse(task: Task, refusals: list[Refusal]) -> Task:
    message = " ".join(refusal.message for refusal in refusals)
    if len(message) > _MOST_REASONS:
        message = f"{message[:_MOST_REASONS]} … ({len(refusals)} reasons in all)"
    return replace(task, status=Status.FAILED, error={"code": refusals[0].code, "message": message})
