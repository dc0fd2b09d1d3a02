"""A request held against its media and the models that may take it: every refusal, the model that
is chosen, and its price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any, cast

from functions import providers
from functions.inputs import limits
from functions.inputs.audio import Audio, inspect_audio
from functions.inputs.pictures import Image, inspect_image
from functions.inputs.refusals import MOST_BYTES, NotMedia, Refusal, listed, sentences
from functions.inputs.request import AUTO, SPLIT, TaskRequest
from functions.inputs.source import Source
from functions.providers import base
from functions.settings import options
from functions.tasks.task import Status, StoredFile, Task

_MOST_REASONS = 4000  # characters: they go into a row, an event and a note
# Letters a voice speaks in a second, roughly: only to quote a price before it is known.
_LETTERS_PER_SECOND = 14
# The settings that stand for an audio file, where a model takes them.
_VOICES = ("text", "audio_id")


@dataclass(frozen=True)
class Validation:
    """What was found in the media, the model that takes them, and every reason against sending
    them; `quote_usd` where there is none. `model_reason` says why AUTO chose this model.
    `candidates`: the voice is made in about so many `pieces`, by one of these; what is quoted is
    an estimate."""

    image: Image | None
    audio: Audio | None
    refusals: tuple[Refusal, ...]
    model: str
    quote_usd: Decimal | None = None
    model_reason: str = ""
    candidates: tuple[str, ...] = ()
    pieces: int = 0


def validate(request: TaskRequest, portrait: Source | None, voice: Source | None) -> Validation:
    """Look at the media themselves, and say all that the provider would refuse, before any money is
    spent."""
    models = _models(request)
    image, audio, refusals = _inspect(request, models, portrait, voice)
    fits = [_fit(model, request, image, audio, voice is not None) for model in models]
    best = min(fits, key=lambda fit: fit.rank)
    if audio and not refusals and (split := _in_pieces(request, fits, audio)):
        return _split(request, split, image, audio)
    refusals += [
        _with_cure(refusal, request, audio)
        for refusal in best.refusals
        if not (_is_beyond_a_cut(request, audio) and refusal.code == "AUDIO_TOO_LARGE")
    ]
    if not refusals:
        refusals += _too_dear(request, best.model, best.quote_usd, audio)
    if refusals:
        return Validation(image, audio, tuple(refusals), request.model)
    reason = ""
    if request.model == AUTO:
        reason = f"{_amount(request, audio)}: {best.model.id}, {best.quote_usd:.2f} USD"
    return Validation(image, audio, (), best.model.id, best.quote_usd, reason)


# What a piece of the voice is refused for no more.
_MENDED_BY_A_CUT = frozenset({"AUDIO_TOO_LONG", "AUDIO_TOO_LARGE", "AUDIO_TYPE"})


def _in_pieces(request: TaskRequest, fits: Sequence[_Fit], audio: Audio) -> list[_Fit]:
    """The models that could make this voice in pieces, and those that may take it whole though no
    limit of theirs is documented; none where it is not cut."""
    whole = [fit for fit in fits if not fit.refusals]
    cut = [fit for fit in fits if _is_mended_by_a_cut(fit)]
    if not is_cut(request, [fit.model for fit in whole], [fit.model for fit in cut]):
        return []
    return [] if audio.seconds > limits.LONGEST_SECONDS else [*cut, *whole]


def is_cut(
    request: TaskRequest, whole: Sequence[base.Model], in_pieces: Sequence[base.Model]
) -> bool:
    """Is a voice cut that some models take whole, and others only in pieces? Not where one takes it
    whole by its documentation."""
    is_documented = any(model.limits.audio_max_seconds for model in whole)
    return request.long_voice == SPLIT and bool(in_pieces) and not is_documented


def _is_mended_by_a_cut(fit: _Fit) -> bool:
    codes = {refusal.code for refusal in fit.refusals}
    return bool(codes & {"AUDIO_TOO_LONG", "AUDIO_TOO_LARGE"}) and codes <= _MENDED_BY_A_CUT


def _split(
    request: TaskRequest, fits: Sequence[_Fit], image: Image | None, audio: Audio
) -> Validation:
    """Where it is cut, and what that costs exactly, is known once the voice is decoded."""
    best = min(fits, key=lambda fit: fit.quote_usd)
    quote_usd = quote_in_pieces(best.model, request, audio.seconds)
    if refusals := _too_dear(request, best.model, quote_usd, audio):
        return Validation(image, audio, tuple(refusals), request.model)
    count = limits.about_pieces(best.model, audio.seconds)
    reason = in_words(_amount(request, audio), best.model, count, quote_usd)
    names = tuple(fit.model.id for fit in fits)
    return Validation(image, audio, (), best.model.id, quote_usd, reason, names, count)


def in_words(amount: str, model: base.Model, pieces: int, quote_usd: Decimal) -> str:
    return f"{amount}, in about {pieces} pieces: {model.id}, about {quote_usd:.2f} USD"


# Begun seconds are paid whole: on 20 random voices of 10 minutes up to 1.33 % (docs/long-voice.md).
_PAID_UNUSED = 1.02


def quote_in_pieces(model: base.Model, request: TaskRequest, seconds: float) -> Decimal:
    """What the pieces of a voice cost together, about."""
    return model.price(seconds * _PAID_UNUSED, request.settings)


def _is_beyond_a_cut(request: TaskRequest, audio: Audio | None) -> bool:
    """Its length is what stands against it: a cut would mend its size."""
    return (
        request.long_voice == SPLIT and audio is not None and audio.seconds > limits.LONGEST_SECONDS
    )


def _with_cure(refusal: Refusal, request: TaskRequest, audio: Audio | None) -> Refusal:
    """A voice that is too long for the model that was named: which of the provider takes it."""
    if refusal.code != "AUDIO_TOO_LONG" or audio is None:
        return refusal
    if audio.seconds > limits.LONGEST_SECONDS:
        most = f" Talkdrop cuts voices of at most {limits.MOST_SECONDS:,.0f} s: no longer ones."
        return replace(refusal, message=refusal.message + most)
    split = f' Or set "long_voice" to "{SPLIT}": it is cut, and the videos are joined.'
    refusal = replace(refusal, message=refusal.message + split)
    if request.model == AUTO:
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


def takers(request: TaskRequest) -> list[base.Model]:
    """The models that have nothing against this request and a voice, before the media are seen."""
    return [one for one in _models(request) if not _fit(one, request, None, None, True).refusals]


def _models(request: TaskRequest) -> list[base.Model]:
    models = providers.get(request.provider).models
    chosen = models.values() if request.model == AUTO else [models[request.model]]
    return [limits.lifted(model) for model in chosen]


def largest(request: TaskRequest) -> tuple[int, int]:
    """The most bytes of a portrait and of a voice that this model, or any that AUTO may choose,
    takes; a voice that may be split is only as large as can be inspected."""
    models = _models(request)
    audio_bytes = max(model.limits.audio_bytes for model in models)
    return (
        max(model.limits.image_bytes for model in models),
        MOST_BYTES if request.long_voice == SPLIT else audio_bytes,
    )


def _inspect(
    request: TaskRequest, models: list[base.Model], portrait: Source | None, voice: Source | None
) -> tuple[Image | None, Audio | None, list[Refusal]]:
    """What the files are; their size is looked at before their bytes."""
    image: Image | None = None
    audio: Audio | None = None
    refusals: list[Refusal] = []
    most_image, most_audio = largest(request)
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
        candidates=validation.candidates,
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
