"""What a sound file really is and how many seconds it lasts, known from its bytes.

Names and declared types are not believed, and the length is never guessed from the size: frames,
pages and tables are counted where a format has them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from functions import movie
from functions.inputs import filetypes, flac, frames, ogg
from functions.inputs.refusals import NotMedia, check_any_size, damaged, not_a_sound
from functions.inputs.source import Damaged, Source

MOST_CHUNKS = 20_000  # of a WAV
# A WAV written into a pipe claims this much or more: its writer could not know.
STREAMED_BYTES = 0x7FFF0000

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
# Other codings of a WAV that decoders of telephone sounds know, and every vendor's ffmpeg.
_A_LAW, _MU_LAW = 6, 7
_WAV_CODECS = {2: "ADPCM", 17: "ADPCM", 49: "GSM", 80: "MPEG", 85: "MP3", 353: "Windows Media"}
_MP4_CODECS = {
    "alac": "Apple Lossless", "ac-3": "AC-3", "ec-3": "E-AC-3", "Opus": "Opus", "fLaC": "FLAC",
    ".mp3": "MP3", "samr": "AMR", "sawb": "AMR", "mha1": "MPEG-H", "dtsc": "DTS",
}  # fmt: skip
# AAC, as MPEG-4 and MPEG-2 name it, and MPEG layer III: https://mp4ra.org/registered-types/object-types
_MP4_OBJECT_TYPES = frozenset({0, 0x40, 0x66, 0x67, 0x68, 0x69, 0x6B})


@dataclass(frozen=True)
class Audio:
    name: str
    content_type: str
    bytes: int
    seconds: float


def inspect_audio(source: Source) -> Audio:
    """Raises NotMedia. Reads little of WAV and MP4, the end of a FLAC; all of MP3, AAC and Ogg, in
    flat memory."""
    check_any_size(source, "audio", "AUDIO")
    kind = filetypes.kind(source.read(0, 64))
    try:
        content_type, seconds = _measure(source, kind)
    except Damaged as damage:
        raise NotMedia("AUDIO_DAMAGED", "audio", damaged(source, damage)) from damage
    return Audio(source.name, content_type, source.size, round(seconds, 3))


def _measure(source: Source, kind: filetypes.Kind) -> tuple[str, float]:
    match kind.content_type:
        case "audio/wav":
            return kind.content_type, _wav(source)
        case "audio/flac":
            return kind.content_type, flac.seconds(source)
        case "audio/mp4":
            return kind.content_type, _mp4(source)
        case "audio/ogg":
            if not ogg.codec(source):
                raise _not_taken(source, "an Ogg file that holds neither Vorbis nor Opus first")
            return kind.content_type, ogg.seconds(source)
    if kind is filetypes.UNKNOWN or kind.content_type == "audio/mpeg":
        return _framed(source, kind)
    raise NotMedia("NOT_AUDIO", "audio", not_a_sound(source, kind))


def _framed(source: Source, kind: filetypes.Kind) -> tuple[str, float]:
    """AAC and MP3 have no beginning of their own; ID3 tags stand before both of them, and sometimes
    before FLAC."""
    for content_type, reader in (
        ("audio/mpeg", frames.mp3_frame),
        ("audio/aac", frames.adts_frame),
    ):
        start = frames.first_frame(source, reader)
        if start is not None:
            return content_type, frames.seconds(source, reader, start)
    if frames.is_free_format(source.read(frames.after_tags(source), 64)):
        raise _not_taken(source, "a free-format MP3, or none")
    if kind is not filetypes.UNKNOWN:
        raise _not_taken(source, "a tag with no MP3 behind it")
    raise NotMedia("NOT_AUDIO", "audio", not_a_sound(source, kind))


def _not_taken(source: Source, words: str) -> NotMedia:
    """A sound in a coding that no provider's documentation names."""
    return NotMedia("NOT_AUDIO", "audio", not_a_sound(source, filetypes.Kind("sound", words)))


def _wav(source: Source) -> float:
    position, bytes_per_second, wide_length = 12, 0, 0
    for _ in range(MOST_CHUNKS):
        if position + 8 > source.size:
            break
        name, length = struct.unpack("<4sI", source.exactly(position, 8))
        position += 8
        if name == b"ds64":  # EBU Tech 3306: the lengths of a file past 4 GB
            wide_length = int.from_bytes(source.exactly(position + 8, 8), "little")
        elif name == b"fmt ":
            bytes_per_second = _wav_rate(source, position, length)
        elif name == b"data":
            if not bytes_per_second:
                raise Damaged("its sound comes before its format")
            if length == 0xFFFFFFFF and wide_length:
                length = wide_length
            return _wav_data(source.size - position, length) / bytes_per_second
        position += length + (length & 1)
    raise Damaged("it holds no sound")


def _wav_rate(source: Source, position: int, length: int) -> int:
    """Bytes per second: of plain samples counted, since the stated rate is often wrong."""
    form, channels, hertz, stated, block, bits = struct.unpack(
        "<HHIIHH", source.exactly(position, 16)
    )
    if form == _EXTENSIBLE and length >= 26:
        form = int.from_bytes(source.exactly(position + 24, 2), "little")
    if form not in (_PCM, _FLOAT, _A_LAW, _MU_LAW):
        name = _WAV_CODECS.get(form, f"coding {form}")
        raise _not_taken(source, f"a WAV that holds {name} and not plain samples")
    if form == _FLOAT and bits > 32:
        raise _not_taken(source, f"a WAV of {bits}-bit floats")
    rate: int = hertz * block or stated
    if not channels or not rate:
        raise Damaged("its format chunk has no sample rate")
    return rate


def _wav_data(there: int, length: int) -> int:
    """Bytes of sound: what is there, where the writer could not know."""
    if there < length and (length < STREAMED_BYTES or length > 0xFFFFFFFF):
        raise Damaged(f"it is cut off: {there:,} of {length:,} bytes of sound are there")
    found = there if length >= STREAMED_BYTES or not length else length
    if not found:
        raise Damaged("it holds no sound")
    return found


def _mp4(source: Source) -> float:
    walk = movie.Reader(Damaged)
    while walk.wants < source.size:
        walk.skip_to(walk.wants)
        walk.feed(source.read(walk.wants, walk.needs))
    walk.skip_to(source.size)
    found = walk.result()
    sounds = [track for track in found.tracks if track.kind == "soun"]
    if any(track.kind == "vide" for track in found.tracks):
        raise _not_taken(source, "a video")
    if not sounds:
        raise _not_taken(source, "an MP4 file without sound")
    for track in sounds:
        _check_codec(source, track)
    seconds = max(found.seconds(track) for track in sounds)
    if not seconds:
        raise Damaged("it does not say how long it is")
    return seconds


def _check_codec(source: Source, track: movie.Track) -> None:
    if track.codec in ("drms", "enca"):
        raise _not_taken(source, "a copy-protected sound")
    if track.codec != "mp4a" or track.object_type not in _MP4_OBJECT_TYPES:
        name = _MP4_CODECS.get(track.codec, f"the coding {track.codec!r}")
        name = name if track.codec != "mp4a" else f"coding {track.object_type:#04x}"
        raise _not_taken(source, f"an M4A that holds {name} and not AAC")
