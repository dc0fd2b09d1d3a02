"""Whatever the bytes are, the answer is a fact or a refusal, and costs no more than the file is
worth."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from functions import boxes
from functions.inputs import audio, pictures, refusals, source

from .conftest import Ledger, Make, picture

FEW = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MUCH = 30 << 20

BEGINNINGS = [
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"\xff\xd8\xff\xe0",
    b"RIFF\xff\0\0\0WEBPVP8X",
    b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0",
    b"ID3\x04\0\0\0\0\0\0",
    b"OggS\0\x02" + bytes(20) + b"\x01\x13OpusHead",
    b"OggS\0\x02" + bytes(20) + b"\x01\x1e\x01vorbis",
    b"\0\0\0\x0cftypM4A \0\0\0\x08mdat\0\0\0\x20moov\0\0\0\x18trak",
    b"fLaC\0\0\0\x22",
    b"\xff\xfb\x90\x00",
    b"\xff\xf1\x50\x80",
    b"",
]


def look_both_ways(content: bytes) -> list[Ledger]:
    """No other error than NotMedia; and no file is read more than a few times over."""
    files = []
    inspections: tuple[Callable[..., object], ...] = (pictures.inspect_image, audio.inspect_audio)
    for inspect in inspections:
        file = Ledger("drop.bin", content)
        with contextlib.suppress(refusals.NotMedia):
            inspect(file.source)
        assert sum(file.read_sizes) <= 3 * len(content) + (1 << 20)
        files.append(file)
    return files


@FEW
@given(st.sampled_from(BEGINNINGS), st.binary(max_size=600))
@example(b"\0\0\0\x01ftypM4A ", bytes(16))
@example(b"\0\0\0\0ftypM4A ", b"")
@example(b"RIFF\0\0\0\0WAVEfmt \x02\0\0\0", b"")
@example(b"\xff\xd8\xff\xc0\0\0", b"\0\0\0\0\0\xff\xd9")
def test_any_bytes_behind_a_good_beginning_are_looked_at_calmly(
    beginning: bytes, rest: bytes
) -> None:
    look_both_ways(beginning + rest)


@pytest.fixture(scope="module")
def honest(sound: Make) -> list[bytes]:
    fragments = ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov+default_base_moof")
    return [
        *(picture(kind, 64, 64) for kind in ("PNG", "JPEG", "WEBP")),
        sound("a.mp3", seconds=0.6),
        sound("a.wav", seconds=0.1),
        sound("a.m4a", "-c:a", "aac", seconds=0.6),
        sound("b.m4a", *fragments, seconds=0.6),
        sound("a.aac", "-c:a", "aac", seconds=0.6),
        sound("a.ogg", "-c:a", "libvorbis", seconds=0.6),
        sound("b.ogg", "-c:a", "libopus", seconds=0.6),
        sound("a.flac", seconds=0.1),
    ]


@FEW
@given(data=st.data())
def test_a_real_file_with_bytes_changed_or_missing_is_looked_at_calmly(
    honest: list[bytes], data: st.DataObject
) -> None:
    content = bytearray(data.draw(st.sampled_from(honest)))
    place = st.one_of(st.integers(0, min(len(content), 200) - 1), st.integers(0, len(content) - 1))
    for where, what in data.draw(
        st.lists(st.tuples(place, st.sampled_from([0, 1, 0x7F, 0x80, 0xFE, 0xFF])), max_size=6)
    ):
        content[where] = what
    look_both_ways(
        bytes(
            content[: data.draw(st.integers(0, len(content)))]
            if data.draw(st.booleans())
            else content
        )
    )


TINY_MP3 = b"\xff\xf3\x14\xc0" + bytes(20)
TINY_AAC = b"\xff\xf1\x50\x80\x00\xff\xfc"
FTYP = b"\0\0\0\x10ftypM4A \0\0\0\0"
OPUS = b"OggS\0\x02" + bytes(20) + b"\x01\x13OpusHead\x01\x01" + bytes(9)
# 44.1 kHz, blocks of 4,096 samples, and neither the longest frame nor the length is known.
FLAC = b"fLaC\0\0\0\x22\x10\0\x10\0" + bytes(6) + bytes.fromhex("0ac442f000000000") + bytes(16)
FLAC_HEAD = b"\xff\xf8\xc9\x18\x05\xd9"  # of a frame, with its checksum
TRAKS = b"\0\0\0\x08trak" * 19_000


@pytest.mark.parametrize(
    ("start", "unit"),
    [
        (b"", b"\xff"),
        (b"", b"\xff\xfb\x90\x00"),
        (b"", TINY_MP3),
        (b"", TINY_AAC),
        (TINY_MP3 * 3, TINY_MP3 * 2 + b"\xff"),
        (TINY_MP3 * 3, b"ID3\x04" + bytes(6)),
        (b"", b"ID3\x04" + bytes(6)),
        (OPUS, b"OggS" + bytes(23)),
        (FTYP, b"\0\0\0\x08free"),
        (
            FTYP + (8 + len(TRAKS)).to_bytes(4, "big") + b"moov" + TRAKS,
            b"\0\0\x04\0mdat" + bytes(1016),
        ),
        (b"RIFF\0\0\0\0WAVE", b"LIST" + bytes(4)),
        (FLAC, b"\xff\xf8\x12\0"),
        (FLAC, FLAC_HEAD),
        (b"\xff\xd8", b"\xff\xe0\0\x02"),
        (b"\xff\xd8", b"\xff"),
        (b"\xff\xd8\xff\xc0\0\x11\x08\x01\0\x01\0" + bytes(10), b"\xff\0"),
    ],
)
def test_a_file_of_a_million_little_parts_is_bounded_work(start: bytes, unit: bytes) -> None:
    """Bounded by counting, not by the clock: no scan makes more requests than a steady one
    would."""
    for file in look_both_ways(start + unit * (MUCH // len(unit))):
        assert len(file.read_sizes) <= 20


def test_hundreds_of_fragments_of_twenty_thousand_boxes_each_cost_no_more_than_one_bound() -> None:
    """655 of them are 105 MB: what is looked at is the boxes' headers, and no more of them than an
    honest file has."""
    fragment = b"".join([(8 + 8 * 20_000).to_bytes(4), b"moof", b"\0\0\0\x08free" * 20_000])
    start, size = FTYP + b"\0\0\0\x08moov", 0
    served: list[int] = []

    def read_range(begin: int, end: int) -> bytes:
        served.append(end - begin)
        whole = start + fragment * ((end - len(start)) // len(fragment) + 1)
        return whole[begin:end]

    size = len(start) + 655 * len(fragment)
    with pytest.raises(refusals.NotMedia, match=f"more than {boxes.MOST_BOXES:,} boxes"):
        audio.inspect_audio(source.Source("voice.m4a", size, read_range))
    assert sum(served) < 2 * 8 * boxes.MOST_BOXES + (8 << 20)


def test_a_file_too_large_for_any_model_is_refused_before_a_byte_of_it_is_read() -> None:
    def read_range(begin: int, end: int) -> bytes:
        raise AssertionError("it was read")

    huge = source.Source("voice.m4a", 10 << 30, read_range)
    with pytest.raises(refusals.NotMedia):
        audio.inspect_audio(huge)
