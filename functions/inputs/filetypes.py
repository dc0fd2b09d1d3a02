"""How files begin, and what a person calls them: names and declared types are not believed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Family = Literal["picture", "sound", "video", "other", "unknown"]


@dataclass(frozen=True)
class Kind:
    """`content_type` is set where some provider may take it, and we know how to measure it."""

    family: Family
    words: str
    content_type: str = ""


UNKNOWN = Kind("unknown", "no kind of file that we know")


# Texts may begin with a byte order mark and blanks, and in any case.
_TEXT = rb"(?i)(\xef\xbb\xbf)?\s*"

KINDS = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"\x89PNG\r\n\x1a\n", Kind("picture", "a PNG picture", "image/png")),
        (rb"\xff\xd8\xff", Kind("picture", "a JPEG picture", "image/jpeg")),
        (rb"RIFF....WEBP", Kind("picture", "a WebP picture", "image/webp")),
        (rb"(RIFF|RF64|BW64)....WAVE", Kind("sound", "a WAV sound", "audio/wav")),
        (rb"ID3[\x02-\x04]", Kind("sound", "an MP3 sound", "audio/mpeg")),
        (rb"fLaC", Kind("sound", "a FLAC sound", "audio/flac")),
        (rb"OggS", Kind("sound", "an Ogg file", "audio/ogg")),
        (rb"....ftyp(hei|hev|mif1|msf1)", Kind("picture", "a HEIC picture")),
        (rb"....ftypavi", Kind("picture", "an AVIF picture")),
        (rb"....ftypqt", Kind("video", "a QuickTime movie")),
        (rb"....ftyp3g", Kind("sound", "a 3GP recording")),
        (rb"....ftypM4A", Kind("sound", "an M4A sound", "audio/mp4")),
        (rb"....ftyp", Kind("video", "an MP4 file", "audio/mp4")),
        (rb"GIF8[79]a", Kind("picture", "a GIF picture")),
        (rb"BM....\0\0\0\0", Kind("picture", "a BMP picture")),
        (rb"II\*\0|MM\0\*", Kind("picture", "a TIFF picture")),
        (rb"8BPS", Kind("picture", "a Photoshop picture")),
        (rb"\0\0\x01\0", Kind("picture", "an icon")),
        (rb"\0\0\0\x0cJXL |\xff\x0a", Kind("picture", "a JPEG XL picture")),
        (rb"\0\0\0\x0cjP  ", Kind("picture", "a JPEG 2000 picture")),
        (rb"RIFF....AVI ", Kind("video", "an AVI video")),
        (rb"\x1aE\xdf\xa3", Kind("video", "a WebM or Matroska file")),
        (rb"0&\xb2u\x8ef\xcf\x11", Kind("video", "a Windows Media file")),
        (rb"FLV\x01", Kind("video", "a Flash video")),
        (rb"\0\0\x01[\xba\xb3]", Kind("video", "an MPEG video")),
        (rb"FORM....AIF[FC]", Kind("sound", "an AIFF sound")),
        (rb"caff", Kind("sound", "a Core Audio sound")),
        (rb"#!AMR", Kind("sound", "an AMR recording")),
        (rb"ADIF", Kind("sound", "an AAC sound without frames")),
        (rb"MThd", Kind("other", "a MIDI file, which holds notes and no sound")),
        (rb"%PDF", Kind("other", "a PDF document")),
        (rb"PK\x03\x04", Kind("other", "a ZIP archive or an office document")),
        (rb"\x1f\x8b", Kind("other", "a gzip archive")),
        (rb"Rar!|7z\xbc\xaf", Kind("other", "an archive")),
        (
            rb"version https://git-lfs",
            Kind("other", "a Git LFS pointer, not the file that it points to"),
        ),
        (_TEXT + rb"<svg", Kind("picture", "an SVG drawing")),
        (_TEXT + rb"<(!doctype html|html|head|body)", Kind("other", "a web page")),
        (
            _TEXT + rb"<(\?xml|error)",
            Kind("other", "XML, perhaps an error message in place of the file"),
        ),
        (
            _TEXT + rb'[{\[]\s*["{\[\]}]',
            Kind("other", "JSON, perhaps an error message in place of the file"),
        ),
        (_TEXT + rb"data:[a-z]+/", Kind("other", "a data URL, which is text that spells the file")),
        (_TEXT + rb"[\t\n\r -~]{32}", Kind("other", "text")),
    )
)


def kind(head: bytes) -> Kind:
    """What begins with these bytes: 64 of them are enough."""
    return next((kind for pattern, kind in KINDS if pattern.match(head)), UNKNOWN)


def excerpt(head: bytes) -> str:
    """The first bytes as a person may see them: a few words of text, or hexadecimal."""
    text = re.match(rb"[ -~]*", head.removeprefix(b"\xef\xbb\xbf").lstrip())
    if text and len(text[0]) >= 4:
        return text[0][:14].decode().strip()
    return "the bytes " + head[:8].hex(" ")
