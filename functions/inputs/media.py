"""What is this file really, and will the provider take it? Known from its bytes, before any money
is spent.

Names and declared types are not believed. Pictures are not decoded: a header and an end mark are
read. EXIF's rotation is not looked at: the shorter side and the ratio are the same either way up.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from functions.inputs import audio, filetypes
from functions.inputs.source import Damaged, Source
from functions.providers import base

# Ours, not a provider's: they catch what is surely a mistake where a provider documents no limit of
# its own.
LEAST_PIXELS = 64
LEAST_SECONDS = 0.5
MOST_SECONDS = audio.LONGEST_SECONDS
# a phone's largest that fits into 10 MB is half of it, a 50,000 × 50,000 bomb 25 times
MOST_PIXELS = 100_000_000
MOST_BYTES = 128 * base.MB  # more than any provider takes; bounds how long a look may last
MOST_SEGMENTS = 2000  # of a JPEG before its frame header
TAIL_BYTES = 1 << 16
# Encoders pad a sound by a few hundredths of a second: what is that close to a limit is the
# provider's to judge.
SLACK_SECONDS = 0.1

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


@dataclass(frozen=True)
class Refusal:
    """One reason why a task cannot be made. `field` is the part of the task, `message` says limit,
    value and cure."""

    code: str
    field: str
    message: str


class NotMedia(Exception):
    """The file is not a picture or sound that any provider takes: fail the task with `refusal`."""

    def __init__(self, code: str, field: str, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(code, field, message)


@dataclass(frozen=True)
class Image:
    name: str
    content_type: str
    bytes: int
    width: int
    height: int


@dataclass(frozen=True)
class Audio:
    name: str
    content_type: str
    bytes: int
    seconds: float


def inspect_image(source: Source) -> Image:
    """Raises NotMedia. Costs one or two reads; more only if much stands before or behind the
    picture."""
    _check_size(source, "portrait", "IMAGE")
    kind = filetypes.kind(source.read(0, 64))
    reader = {"image/png": _png, "image/jpeg": _jpeg, "image/webp": _webp}.get(kind.content_type)
    if reader is None:
        raise NotMedia("NOT_AN_IMAGE", "portrait", _not_a_picture(source, kind))
    try:
        width, height = reader(source)
        if not width or not height:
            raise Damaged("it says that it has no pixels")
    except Damaged as damage:
        raise NotMedia("IMAGE_DAMAGED", "portrait", _damaged(source, damage)) from damage
    if width * height > MOST_PIXELS:
        message = (
            f"{source.name} is {width} × {height} pixels, {width * height // 1_000_000} million "
            "in all; Talkdrop's own "
            f"limit is {MOST_PIXELS // 1_000_000} million: make the picture smaller."
        )
        raise NotMedia("IMAGE_TOO_MANY_PIXELS", "portrait", message)
    return Image(source.name, kind.content_type, source.size, width, height)


def inspect_audio(source: Source) -> Audio:
    """Raises NotMedia. Reads little of WAV, FLAC and MP4; all of MP3, AAC and Ogg, in flat
    memory."""
    _check_size(source, "audio", "AUDIO")
    kind = filetypes.kind(source.read(0, 64))
    try:
        content_type, seconds = _measure(source, kind)
    except Damaged as damage:
        raise NotMedia("AUDIO_DAMAGED", "audio", _damaged(source, damage)) from damage
    return Audio(source.name, content_type, source.size, round(seconds, 3))


def _check_size(source: Source, field: str, noun: str) -> None:
    if not source.size:
        raise NotMedia(
            f"{noun}_EMPTY", field, f"{source.name} is empty, 0 bytes: drop the whole file again."
        )
    if source.size > MOST_BYTES:
        message = (
            f"{source.name} is {_size(source.size)}; no provider takes so much: make it smaller."
        )
        raise NotMedia(f"{noun}_TOO_LARGE", field, message)


def _measure(source: Source, kind: filetypes.Kind) -> tuple[str, float]:
    match kind.content_type:
        case "audio/wav":
            return kind.content_type, audio.wav(source)
        case "audio/flac":
            return kind.content_type, audio.flac(source)
        case "audio/mp4":
            return kind.content_type, _mp4_seconds(source)
        case "audio/ogg":
            if not audio.ogg_codec(source):
                kind = filetypes.Kind(
                    "sound", "an Ogg file that holds neither Vorbis nor Opus first"
                )
                raise NotMedia("NOT_AUDIO", "audio", _not_a_sound(source, kind))
            return kind.content_type, audio.ogg(source)
    if kind is filetypes.UNKNOWN or kind.content_type == "audio/mpeg":
        # AAC and MP3 have no beginning of their own; ID3 tags stand before both of them, and
        # sometimes before FLAC.
        for content_type, reader in (
            ("audio/mpeg", audio.mp3_frame),
            ("audio/aac", audio.adts_frame),
        ):
            start = audio.first_frame(source, reader)
            if start is not None:
                return content_type, audio.framed(source, reader, start)
        head = source.read(audio.after_tags(source), 64)
        if kind is not filetypes.UNKNOWN:
            kind = filetypes.Kind("sound", "a tag with no MP3 behind it")
        if audio.is_free_format(head):
            kind = filetypes.Kind("sound", "a free-format MP3, or none")
    raise NotMedia("NOT_AUDIO", "audio", _not_a_sound(source, kind))


def _mp4_seconds(source: Source) -> float:
    index = audio.mp4_index(source)
    tracks = audio.mp4_tracks(source, index)
    words = ""
    if any(track == "vide" for track, _ in tracks):
        words = "a video"
    elif any(code in ("drms", "enca") for _, code in tracks):
        words = "a copy-protected sound"
    elif not any(track == "soun" for track, _ in tracks):
        words = "an MP4 file without sound"
    if words:
        raise NotMedia("NOT_AUDIO", "audio", _not_a_sound(source, filetypes.Kind("video", words)))
    return audio.mp4(source, index)


def _png(source: Source) -> tuple[int, int]:
    header = source.exactly(8, 25)
    length, name, width, height = struct.unpack(">I4sII", header[:16])
    if (
        length != 13
        or name != b"IHDR"
        or zlib.crc32(header[4:21]) != int.from_bytes(header[21:], "big")
    ):
        raise Damaged("its header is broken")
    _check_end(source, b"IEND\xaeB`\x82", 33)
    return width, height


def _jpeg(source: Source) -> tuple[int, int]:
    """Along the segments to the frame header, which may stand behind much of EXIF and colour
    profile."""
    position = 2
    for _ in range(MOST_SEGMENTS):
        fill, marker, length = struct.unpack(">BBH", source.exactly(position, 4))
        if fill != 0xFF or marker in (0xD9, 0xDA):
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", source.exactly(position + 5, 4))
            _check_end(source, b"\xff\xd9", position + 2 + length)
            return width, height
        bare = marker == 0x01 or 0xD0 <= marker <= 0xD8
        position += 1 if marker == 0xFF else 2 if bare else 2 + length
    raise Damaged("its header is broken")


def _webp(source: Source) -> tuple[int, int]:
    length, name = struct.unpack("<I4x4s", source.exactly(4, 12))
    if length + 8 > source.size:
        raise Damaged(f"it is cut off: {source.size:,} of {length + 8:,} bytes are there")
    facts = source.exactly(20, 10)
    if name == b"VP8X":
        return int.from_bytes(facts[4:7], "little") + 1, int.from_bytes(facts[7:10], "little") + 1
    if name == b"VP8L" and facts[0] == 0x2F:
        sides = int.from_bytes(facts[1:5], "little")
        return (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1
    if name == b"VP8 " and facts[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", facts[6:])
        return width & 0x3FFF, height & 0x3FFF
    raise Damaged("its header is broken")


def _check_end(source: Source, mark: bytes, start: int) -> None:
    """Behind its end a picture may carry more: phones append a film. So: near the end of the file,
    else anywhere."""
    tail = source.read(max(start, source.size - TAIL_BYTES), TAIL_BYTES)
    if mark not in tail and source.find(mark, start) < 0:
        raise Damaged("it is cut off: the mark of its end is missing")


def _damaged(source: Source, damage: Damaged) -> str:
    return f"{source.name} is damaged: {damage}. Make it anew from the original and drop it again."


def _not_a_picture(source: Source, kind: filetypes.Kind) -> str:
    if kind.family == "picture":
        return (
            f"{source.name} is {kind.words}, which providers do not take: save it as JPEG or PNG "
            "and drop it again."
        )
    return (
        f"{source.name} is not a picture: {_seems(source, kind)}. Drop the portrait itself, as "
        "JPEG or PNG."
    )


def _not_a_sound(source: Source, kind: filetypes.Kind) -> str:
    if kind.family in ("sound", "video"):
        return (
            f"{source.name} is {kind.words}, which providers do not take: save it as MP3 or WAV "
            "and drop it again."
        )
    return (
        f"{source.name} is not audio: {_seems(source, kind)}. Download the audio itself and drop "
        "it again."
    )


def _seems(source: Source, kind: filetypes.Kind) -> str:
    if kind.family not in ("other", "unknown"):
        return f"it is {kind.words}"
    quoted = filetypes.quote(source.read(0, 64))
    return (
        f"it begins with {quoted}, "
        + ("which is " if kind is filetypes.UNKNOWN else "it looks like ")
        + kind.words
    )


def check(
    model: base.Model,
    provider: str,
    *,
    image: Image | None,
    audio: Audio | None,
    prompt: str,
    settings: Mapping[str, Any],
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
        # Counting stops at our own limit, so the number may be less than the whole.
        lasts += " or more" if audio.seconds > MOST_SECONDS else ""
        whose = _whose(who, most == limits.audio_max_seconds)
        yield Refusal(
            "AUDIO_TOO_LONG",
            "audio",
            f"{lasts}; {whose} at most {most:g}: shorten it or cut it in parts.",
        )


def _whose(who: str, documented: bool) -> str:
    return f"{who} takes" if documented else "Talkdrop itself, where no limit is documented, takes"


def _check_file(
    who: str, types: frozenset[str], most: int, file: Image | Audio, field: str, noun: str
) -> Iterator[Refusal]:
    if file.content_type not in types:
        names = [word for content_type, word in WORDS.items() if content_type in types]
        message = (
            f"{file.name} is {WORDS[file.content_type]}; {who} takes {_list(names, 'or')}: "
            f"save it as {names[0] if names else 'another type'}."
        )
        yield Refusal(f"{noun}_TYPE", field, message)
    if file.bytes > most:
        message = (
            f"{file.name} is {_size(file.bytes)}; {who} takes at most {_size(most)}: make it "
            "smaller."
        )
        yield Refusal(f"{noun}_TOO_LARGE", field, message)


def _check_settings(
    who: str, known: Mapping[str, base.Setting], settings: Mapping[str, Any]
) -> Iterator[Refusal]:
    for name, value in settings.items():
        field = f"settings.{name}"
        if name not in known:
            takes = f"it takes {_list(list(known), 'and')}" if known else "it takes none"
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


def _wants(setting: base.Setting, value: Any) -> str:
    """What should stand there instead; empty when the value will do. A text's range counts its
    characters."""
    number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    finite = number and -1e300 < value < 1e300
    fits = {int: finite and value == int(value), float: finite}.get(
        setting.kind, isinstance(value, setting.kind)
    )
    if setting.choices:
        return (
            ""
            if fits and value in setting.choices
            else _list([_show(one) for one in setting.choices], "or")
        )
    noun = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        dict: "an object",
    }
    wants, least, most = noun.get(setting.kind, "a list"), setting.least, setting.most
    if least is not None or most is not None:
        size = value if number else len(value) if isinstance(value, str | list | dict) else 0
        fits = fits and (least is None or size >= least) and (most is None or size <= most)
        unit = (
            ""
            if setting.kind in (int, float)
            else " characters"
            if setting.kind is str
            else " entries"
        )
        bounds = [
            f"from {least:,}" if least is not None else "",
            f"up to {most:,}" if most is not None else "",
        ]
        wants += " " + " ".join(filter(None, bounds)) + unit
    return "" if fits else wants


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:59] + "…"


def _size(count: int) -> str:
    return f"{count / base.MB:.1f} MB ({count:,} bytes)"


def _list(words: list[str], last: str) -> str:
    return (
        f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
        or "nothing of the kind"
    )
