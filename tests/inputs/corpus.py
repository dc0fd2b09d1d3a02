"""Sounds and films as real tools write them: every container flag, fragmenting, coding and tail, a
few seconds each, made by ffmpeg and measured by what ffmpeg decodes."""

from __future__ import annotations

import contextlib
import itertools
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import imageio_ffmpeg

from functions.inputs.frames import adts_frame, after_tags, mp3_frame
from functions.inputs.source import of_bytes

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
SECONDS, FRAME_RATE = 5.0, 5

Change = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Case:
    """One file: ffmpeg's options, and what is done to its bytes afterwards."""

    name: str
    options: tuple[str, ...]
    rate: int = 44100
    change: str = "as it is"
    is_taken: bool = True

    @property
    def label(self) -> str:
        return " ".join([self.name, str(self.rate), *self.options, self.change])


def _box(name: bytes, content: bytes) -> bytes:
    return (len(content) + 8).to_bytes(4) + name + content


def _endless_data(content: bytes) -> bytes:
    """The last box, if it is the media, says that it goes to the end of the file."""
    place = content.rindex(b"mdat") - 4
    return content[:place] + bytes(4) + content[place + 4 :]


def _from_the_middle(content: bytes) -> bytes:
    """An Ogg as a stream gives it to a late listener: its headers, then pages from the middle."""
    pages = [b"OggS" + page for page in content.split(b"OggS")[1:]]
    sound = [page for page in pages if int.from_bytes(page[6:14], "little", signed=True) > 0]
    headers = [page for page in pages if int.from_bytes(page[6:14], "little", signed=True) == 0]
    return b"".join(headers + sound[len(sound) // 2 :])


def _with_vbri(content: bytes) -> bytes:
    """An MP3 behind the index that Fraunhofer's encoder writes into a frame of its own."""
    length, *_ = mp3_frame(content[:4]) or (0,)
    frames = place = 0
    while place < len(content):
        place += (mp3_frame(content[place : place + 4]) or (len(content),))[0]
        frames += 1
    facts = struct.pack(">HHHII", 1, 0, 75, length + len(content), frames + 1)
    return (content[:4] + bytes(32) + b"VBRI" + facts).ljust(length, b"\0") + content


CHANGES: dict[str, Change] = {
    "as it is": lambda content: content,
    "zeros behind": lambda content: content + bytes(1000),
    "a line end behind": lambda content: content + b"\r\n",
    "an ID3v1 tag behind": lambda content: content + b"TAG" + b"x" * 125,
    "a free box behind": lambda content: content + _box(b"free", bytes(50)),
    "a free box without end behind": lambda content: content + bytes(4) + b"free" + bytes(50),
    "its media to the end": _endless_data,
    "twice": lambda content: content + content,
    "from the middle": _from_the_middle,
    "behind a VBRI header": _with_vbri,
}

FLAGS = (
    "", "+faststart", "frag_keyframe", "frag_keyframe+empty_moov", "frag_every_frame+empty_moov",
    "empty_moov+default_base_moof+frag_keyframe", "dash+delay_moov", "frag_keyframe+delay_moov",
    "dash+global_sidx+delay_moov", "frag_keyframe+skip_trailer", "frag_keyframe+omit_tfhd_offset",
    "frag_keyframe+separate_moof", "cmaf+delay_moov", "isml+frag_keyframe", "negative_cts_offsets",
    "disable_chpl", "use_metadata_tags",
)  # fmt: skip


def _movflags(flags: str) -> tuple[str, ...]:
    cut = ("-frag_duration", "1000000") if "frag" in flags or "dash" in flags else ()
    return (*(("-movflags", flags) if flags else ()), *cut)


def sounds() -> list[Case]:
    return [*_mp3(), *_wav(), *_m4a(), *_aac(), *_ogg(), *_flac(), *_changed()]


def _mp3() -> Iterator[Case]:
    ways = (("-b:a", "32k"), ("-q:a", "5"), ("-b:a", "64k", "-write_xing", "0"),
            ("-b:a", "48k", "-id3v2_version", "0", "-write_id3v1", "1"))  # fmt: skip
    rates = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
    for rate, way, channels in itertools.product(rates, ways, "12"):
        yield Case("a.mp3", ("-c:a", "libmp3lame", *way, "-ac", channels), rate)


def _wav() -> Iterator[Case]:
    codecs = ("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_alaw", "pcm_mulaw")
    for codec, rate, channels in itertools.product(codecs, (8000, 22050, 44100, 48000), "126"):
        yield Case("a.wav", ("-c:a", codec, "-ac", channels), rate)
    for codec in ("pcm_s16le", "pcm_s24le"):
        yield Case("a.wav", ("-c:a", codec, "-rf64", "always"))
        yield Case("a.wav", ("-c:a", codec, "-bitexact"))
    for codec in ("adpcm_ms", "adpcm_ima_wav", "pcm_f64le", "libmp3lame", "pcm_s64le"):
        yield Case("a.wav", ("-c:a", codec), is_taken=codec == "pcm_s64le")


def _m4a() -> Iterator[Case]:
    for flags, rate in itertools.product(FLAGS, (8000, 16000, 22050, 48000)):
        yield Case("a.m4a", ("-c:a", "aac", *_movflags(flags)), rate)
    for flags in FLAGS:
        yield Case("a.mp4", ("-c:a", "aac", "-ac", "2", *_movflags(flags)))
    for flags in ("", "frag_keyframe+empty_moov"):
        for codec in ("alac", "ac3", "eac3", "libopus", "flac", "libvorbis"):
            options = ("-c:a", codec, "-strict", "-2", *_movflags(flags))
            yield Case("a.mp4", options, 48000, is_taken=False)
        yield Case("a.mp4", ("-c:a", "libmp3lame", *_movflags(flags)))


def _aac() -> Iterator[Case]:
    for rate, channels in itertools.product((8000, 16000, 22050, 32000, 44100, 48000, 96000), "12"):
        yield Case("a.aac", ("-c:a", "aac", "-ac", channels), rate)


def _ogg() -> Iterator[Case]:
    pages = ("20000", "200000", "1000000")
    for rate, page, channels in itertools.product((8000, 22050, 44100, 48000), pages, "12"):
        options = ("-c:a", "libvorbis", "-page_duration", page, "-ac", channels)
        yield Case("a.ogg", options, rate)
    for frame, page, rate in itertools.product(
        ("2.5", "10", "20", "40", "60"), pages, (16000, 48000)
    ):
        options = ("-c:a", "libopus", "-frame_duration", frame, "-page_duration", page)
        yield Case("a.opus", options, rate)


def _flac() -> Iterator[Case]:
    for rate, channels, block in itertools.product((8000, 44100, 96000), "126", ("1152", "4608")):
        yield Case("a.flac", ("-ac", channels, "-frame_size", block), rate)


def _changed() -> Iterator[Case]:
    tails = ("zeros behind", "a line end behind", "an ID3v1 tag behind")
    plain = {
        "a.flac": "flac",
        "a.m4a": "aac",
        "a.mp4": "aac",
        "a.mp3": "libmp3lame",
        "a.wav": "pcm_s16le",
    }
    for (name, codec), tail, rate in itertools.product(plain.items(), tails, (16000, 44100)):
        yield Case(name, ("-c:a", codec), rate, tail)
    for flags, tail in itertools.product(FLAGS[:7], (*tails, "a free box behind")):
        yield Case("a.m4a", ("-c:a", "aac", *_movflags(flags)), change=tail)
    for rate, way in itertools.product((16000, 48000), ("its media to the end",)):
        yield Case("a.m4a", ("-c:a", "aac", "-movflags", "+faststart"), rate, way)
    for name, codec in (
        ("a.mp3", "libmp3lame"),
        ("a.ogg", "libvorbis"),
        ("a.opus", "libopus"),
        ("a.aac", "aac"),
    ):
        for rate in (16000, 48000):
            yield Case(name, ("-c:a", codec), rate, "twice")
    for rate, kbps in itertools.product((8000, 22050, 44100), (("-b:a", "64k"), ("-q:a", "4"))):
        options = ("-c:a", "libmp3lame", *kbps, "-write_xing", "0", "-id3v2_version", "0")
        yield Case("a.mp3", options, rate, "behind a VBRI header")
    for (name, codec), page in itertools.product(
        (("a.ogg", "libvorbis"), ("a.opus", "libopus")), ("20000", "200000")
    ):
        for rate in (16000, 48000):
            yield Case(name, ("-c:a", codec, "-page_duration", page), rate, "from the middle")


def films() -> list[Case]:
    kinds = (
        ("-c:v", "libx264", "-preset", "ultrafast"),
        ("-c:v", "libx264", "-bf", "2"),
        ("-c:v", "mpeg4"),
    )
    sound = (("-c:a", "aac"), ("-an",))
    found = [
        Case("a.mp4", (*kind, "-g", "5", *voice, *_movflags(flags)))
        for kind, voice, flags in itertools.product(kinds, sound, FLAGS)
    ]
    tails = ("zeros behind", "a line end behind", "an ID3v1 tag behind", "a free box behind",
             "a free box without end behind")  # fmt: skip
    found += [
        Case("a.mp4", (*kinds[0], "-g", "5", "-c:a", "aac", *_movflags(flags)), change=tail)
        for flags, tail in itertools.product((*FLAGS[:4], *FLAGS[5:11]), tails)
    ]
    ends = (*kinds[0], "-movflags", "+faststart")
    return [
        *found,
        *(Case("a.mp4", (*ends, *voice), change="its media to the end") for voice in sound),
    ]


def make(case: Case, folder: Path, *, film: bool) -> bytes:
    tone = f"sine=frequency=440:sample_rate={case.rate}:duration={SECONDS}"
    picture = f"testsrc=size=64x64:rate={FRAME_RATE}:duration={SECONDS}"
    inputs = ["-f", "lavfi", "-i", tone]
    inputs = [*inputs, "-f", "lavfi", "-i", picture] if film else inputs
    path = folder / case.name
    command = [FFMPEG, "-v", "error", "-y", "-threads", "1", *inputs, *case.options, str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return CHANGES[case.change](path.read_bytes())


def decoded(content: bytes, name: str, folder: Path, *, film: bool) -> float:
    """How many seconds libav plays: decoded to the end."""
    path = folder / f"truth-{name}"
    path.write_bytes(content)
    if film:
        return _shown_seconds(path)
    command = [FFMPEG, "-v", "quiet", "-threads", "1", "-i", str(path), "-map", "0:a"]
    command += ["-f", "u8", "-ac", "1", "-ar", "8000", "-"]
    return len(subprocess.run(command, check=False, capture_output=True).stdout) / 8000


def _shown_seconds(path: Path) -> float:
    """From the first picture that is decoded to the end of the last, by their own times. They are
    not counted: ffmpeg's writer gives two of them one time where each has a fragment, and its
    player then shows one of the two for as long as both."""
    times: list[float] = []
    with contextlib.suppress(av.FFmpegError), av.open(str(path)) as film:
        times.extend(picture.time for picture in film.decode(video=0) if picture.time is not None)
    return max(times) - min(times) + 1 / FRAME_RATE if times else 0.0


def cuts(content: bytes) -> list[int]:
    """Where a file is broken off: in its beginning, middle and end, and before its last byte."""
    size = len(content)
    return sorted({size * part // 100 for part in (3, 25, 50, 75, 97)} | {size - 1})


def loses_nothing(case: Case, content: bytes, size: int) -> bool:
    """A cut of blanks behind the sound, or back to the whole file that was doubled."""
    is_half = case.change == "twice" and 2 * size == len(content)
    return is_half or not content[size:].strip(b"\0")


def ends_with_a_frame(content: bytes, size: int) -> bool:
    """An MP3 without an index and an AAC stream are frames and nothing else: broken off between two
    of them they are the same as one that ended there, and no byte tells the difference."""
    reader = mp3_frame if content[1] & 6 else adts_frame
    place = after_tags(of_bytes("a", content))
    while place < size:
        place += (reader(content[place : place + 7]) or (size + 1,))[0]
    return place == size
