"""Bytes read in pieces are the bytes of the file, and of one version of it."""

from __future__ import annotations

import io

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.inputs import source

from .conftest import Ledger

CONTENT = bytes(range(256)) * 4000


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(CONTENT) + 10), st.integers(0, 300_000)), max_size=8))
def test_pieces_read_in_any_order_are_the_bytes_of_the_file(pieces: list[tuple[int, int]]) -> None:
    file = Ledger("a", CONTENT)
    for start, length in pieces:
        assert file.source.read(start, length) == CONTENT[start : start + length]


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=4), st.integers(0, 3000))
def test_a_mark_is_found_where_it_stands(mark: bytes, start: int) -> None:
    content = bytes(range(200)) * 3000 + b"\xf0\xf1\xf2\xf3"
    assert source.of_bytes("a", content).find(mark, start) == content.find(mark, start)


def test_a_mark_across_two_pieces_is_found() -> None:
    for place in range(source.FIRST_READ_BYTES - 4, source.FIRST_READ_BYTES + 2):
        content = bytes(place) + b"IEND" + bytes(99)
        assert source.of_bytes("a", content).find(b"IEND") == place


def test_a_scan_reads_ahead_further_and_further() -> None:
    file = Ledger("a", bytes(20 << 20))
    for place in range(0, 20 << 20, 1000):
        file.source.read(place, 4)
    assert len(file.read_sizes) <= 10
    assert sum(file.read_sizes) < 21 << 20


def test_a_range_that_came_back_short_is_an_error_and_not_a_damaged_file() -> None:
    short = source.Source("voice.mp3", 100, lambda start, end: b"")
    with pytest.raises(OSError, match=r"voice\.mp3: asked for 100 bytes from 0, got 0"):
        short.read(0, 10)


def test_an_object_is_read_by_range_and_by_version() -> None:
    s3 = boto3.client(
        "s3", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    with Stubber(s3) as wire:
        wire.add_response(
            "get_object",
            {"Body": StreamingBody(io.BytesIO(b"ID3 and so on"), 13)},
            {"Bucket": "inbox", "Key": "a b/héllo.mp3", "VersionId": "v7", "Range": "bytes=0-12"},
        )
        file = source.in_bucket(s3, "inbox", "a b/héllo.mp3", "v7", 13)
        assert (file.name, file.read(0, 3)) == ("héllo.mp3", b"ID3")
        assert file.read(4, 3) == b"and"
