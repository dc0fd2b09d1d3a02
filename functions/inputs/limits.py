"""What a provider's model takes, held against the media, the prompt and the settings."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from functions.inputs.audio import Audio
from functions.inputs.pictures import Image
from functions.inputs.refusals import NotMedia, Refusal, listed, size_words
from functions.inputs.source import Source
from functions.providers import base
from functions.settings import options

# Ours, not a provider's: they catch what is surely a mistake where a provider documents no limit of
# its own.
LEAST_PIXELS = 64
LEAST_SECONDS = 0.5
MOST_SECONDS = 3600.0
# Encoders pad a sound by a few hundredths of a second: what is that close to a limit is the
# provider's to decide.
SLACK_SECONDS = 0.1
LONGEST_SECONDS = MOST_SECONDS + SLACK_SECONDS  # in pieces too

# A type as providers name it, and as people do.
WORDS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WebP",
    "audio/mpeg": "MP3",
    "audio/wav": "WAV",
    "audio/mp4": "M4A",
    "audio/aac": "AAC",
    "audio/ogg": "Ogg",
    "audio/flac": "FLAC",
}


def who(provider: str, models: Sequence[base.Model]) -> str:
    """Whose limit it is, in a message."""
    return f"{provider}'s {models[0].id}" if len(models) == 1 else provider


def lifted(model: base.Model) -> base.Model:
    """The model without the limits that are only reported, where the option lifts them."""
    if not options().lift_limits.get(model.id):
        return model
    return replace(model, limits=model.limits.lifted())


def most_seconds(model: base.Model) -> float:
    return min(model.limits.audio_max_seconds or MOST_SECONDS, MOST_SECONDS) + SLACK_SECONDS


# A piece keeps so far from the longest voice that its model takes: six clients of kie cut at 14.5 s
# where 15 are taken, since what a provider measures includes an encoder's padding.
_PIECE_SLACK_SECONDS = 0.5


def piece_seconds(model: base.Model) -> tuple[float, float]:
    """How long and how short a piece of a long voice may be for this model."""
    most = model.limits.audio_max_seconds
    least = max(model.limits.audio_min_seconds or 0.0, LEAST_SECONDS)
    return (most - _PIECE_SLACK_SECONDS if most else MOST_SECONDS), least


# A cut stands at the best pause in the second half of the limit: so much of it is used (600 s in
# 45 pieces of at most 14.5 s, by `bench.long_voice`).
_USED_OF_A_PIECE = 0.92


def about_pieces(model: base.Model, seconds: float) -> int:
    most, _ = piece_seconds(model)
    return max(2, math.ceil(seconds / (most * _USED_OF_A_PIECE)))


def check_size(who: str, source: Source, most: int, field: str, noun: str) -> None:
    """Raises NotMedia for a file that is not worth reading."""
    if source.size > most:
        raise NotMedia(f"{noun}_TOO_LARGE", field, _too_large(source.name, source.size, who, most))


def _too_large(name: str, size: int, who: str, most: int) -> str:
    return f"{name} is {size_words(size)}; {who} takes at most {size_words(most)}: make it smaller."


def check(
    model: base.Model,
    provider: str,
    *,
    image: Image | None,
    audio: Audio | None,
    prompt: str,
    settings: Mapping[str, object],
) -> list[Refusal]:
    """Everything the provider's model would refuse, all at once; empty when it may be sent."""
    who, limits = f"{provider}'s {model.id}", model.limits
    refusals = [*_check_image(who, limits, image)] if image else []
    refusals += _check_audio(who, limits, audio) if audio else ()
    if len(prompt) > limits.prompt_characters:
        message = (
            f"The prompt has {len(prompt):,} characters; {who} takes at most "
            f"{limits.prompt_characters:,}: shorten it."
        )
        refusals.append(Refusal("PROMPT_TOO_LONG", "prompt", message))
    return [*refusals, *_check_settings(who, model.settings, settings)]


def _check_image(who: str, limits: base.Limits, image: Image) -> Iterator[Refusal]:
    yield from _check_file(who, limits.image_types, limits.image_bytes, image, "portrait", "IMAGE")
    shorter, longer = sorted((image.width, image.height))
    size = f"{image.name} is {image.width} × {image.height} pixels"
    least = max(limits.image_min_pixels or 0, LEAST_PIXELS)
    if shorter < least:
        whose = _whose(who, least == limits.image_min_pixels)
        message = f"{size}; {whose} at least {least} on each side: use a larger picture."
        yield Refusal("IMAGE_TOO_FEW_PIXELS", "portrait", message)
    ratio = limits.image_max_ratio
    if ratio is not None and longer > shorter * ratio + 1e-6:
        message = (
            f"{size}, 1:{longer / shorter:.2f}; {who} takes at most 1:{ratio:g} either way: crop "
            "it."
        )
        yield Refusal("IMAGE_TOO_NARROW", "portrait", message)


def _check_audio(who: str, limits: base.Limits, audio: Audio) -> Iterator[Refusal]:
    yield from _check_file(who, limits.audio_types, limits.audio_bytes, audio, "audio", "AUDIO")
    lasts = f"{audio.name} lasts {audio.seconds:.2f} seconds"
    least = max(limits.audio_min_seconds or 0, LEAST_SECONDS)
    if audio.seconds < least - SLACK_SECONDS:
        whose = _whose(who, least == limits.audio_min_seconds)
        yield Refusal(
            "AUDIO_TOO_SHORT", "audio", f"{lasts}; {whose} at least {least:g}: use a longer one."
        )
    most = min(limits.audio_max_seconds or MOST_SECONDS, MOST_SECONDS)
    if audio.seconds > most + SLACK_SECONDS:
        whose = _whose(who, most == limits.audio_max_seconds)
        cure = "shorten it or cut it in parts."
        if reported := limits.reported.get("audio_max_seconds"):
            whose = f"{who} is reported, not documented, to take"
            cure = f"{'; or '.join(reported.cures)}. Reported by {reported.source}; the option "
            cure += "lift_limits lifts a limit that is only reported."
        yield Refusal("AUDIO_TOO_LONG", "audio", f"{lasts}; {whose} at most {most:g}: {cure}")


def _whose(who: str, documented: bool) -> str:
    return f"{who} takes" if documented else "Talkdrop itself, where no limit is documented, takes"


def _check_file(
    who: str, types: frozenset[str], most: int, file: Image | Audio, field: str, noun: str
) -> Iterator[Refusal]:
    if file.content_type not in types:
        names = [word for content_type, word in WORDS.items() if content_type in types]
        message = (
            f"{file.name} is {WORDS[file.content_type]}; {who} takes {listed(names, 'or')}: "
            f"save it as {names[0] if names else 'another type'}."
        )
        yield Refusal(f"{noun}_TYPE", field, message)
    if file.bytes > most:
        yield Refusal(f"{noun}_TOO_LARGE", field, _too_large(file.name, file.bytes, who, most))


def _check_settings(
    who: str, known: Mapping[str, base.Setting], settings: Mapping[str, object]
) -> Iterator[Refusal]:
    for name, value in settings.items():
        field = f"settings.{name}"
        if name not in known:
            takes = f"it takes {listed(list(known), 'and')}" if known else "it takes none"
            yield Refusal(
                "UNKNOWN_SETTING",
                field,
                f"{who} has no setting {name!r}; {takes}: mend or remove it.",
            )
        elif value is not None and (
            wants := _wants(known[name], value)
        ):  # a null is a setting that is not made
            yield Refusal("BAD_SETTING", field, f"{field} is {_show(value)}; {who} takes {wants}.")
        elif value is not None and (needs := known[name].needs) and settings.get(needs) is None:
            yield Refusal(
                "MISSING_SETTING",
                f"settings.{needs}",
                f"{field} needs settings.{needs} beside it: add it.",
            )


_NOUNS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    dict: "an object",
}


def _wants(setting: base.Setting, value: object) -> str:
    """What should stand there instead; empty when the value will do."""
    fits = _is_of(setting.kind, value)
    if setting.choices:
        is_one = fits and value in setting.choices
        return "" if is_one else listed([_show(one) for one in setting.choices], "or")
    if fits and _is_within(setting, value):
        return ""
    return _NOUNS.get(setting.kind, "a list") + _bounds(setting)


def _number(value: object) -> int | float | Decimal | None:
    """A finite number; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return value if -1e300 < value < 1e300 else None


def _is_of(kind: type, value: object) -> bool:
    if kind not in (int, float):
        return isinstance(value, kind)
    number = _number(value)
    return number is not None and (kind is float or number == int(number))


def _is_within(setting: base.Setting, value: object) -> bool:
    """A text's range counts its characters, a list's its entries."""
    number, least, most = _number(value), setting.least, setting.most
    size = len(value) if isinstance(value, str | list | dict) else number or 0
    return (least is None or size >= least) and (most is None or size <= most)


def _bounds(setting: base.Setting) -> str:
    least, most = setting.least, setting.most
    if least is None and most is None:
        return ""
    words = [f"from {least:,}"] if least is not None else []
    words += [f"up to {most:,}"] if most is not None else []
    units = {int: "", float: "", str: " characters"}
    return f" {' '.join(words)}{units.get(setting.kind, ' entries')}"


def _show(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:59] + "…"
