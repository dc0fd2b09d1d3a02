"""The door is `fetch.open_url` and `fetch.read`; behind it stand servers that bomb, drip, lie,
stall and break off."""

from __future__ import annotations

import gzip
import itertools
import ssl
import threading
import time
from contextlib import suppress

import pytest

from functions.download import download
from functions.download.connection import Patience
from tests.archive.asking import SLACK_SECONDS, Answer, get, give, refused
from tests.archive.internet import Internet, Visit

pytestmark = pytest.mark.usefixtures("flat_memory")


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd", "gzip, identity", "x-strange"])
def test_an_encoded_answer_is_refused_unread(internet: Internet, coding: str) -> None:
    internet.site("files.example.com", give(gzip.compress(bytes(1 << 20)), Content_Encoding=coding))
    refused(kind=download.Unwelcome)


def test_a_length_past_the_cap_is_refused_before_a_byte_is_read(internet: Internet) -> None:
    internet.site("files.example.com", lambda visit: visit.head(Content_Length=(1 << 20) + 1))
    refused(kind=download.Unwelcome)


@pytest.mark.parametrize("headers", [{}, {"Transfer_Encoding": "chunked"}])
def test_an_endless_body_is_cut_at_the_cap(internet: Internet, headers: dict[str, str]) -> None:
    def pour(visit: Visit) -> None:
        visit.head(**headers)
        piece = b"10000\r\n" + bytes(65536) + b"\r\n" if headers else bytes(65536)
        while True:
            visit.send(piece)

    internet.site("files.example.com", pour)
    refused(kind=download.Unwelcome, max_bytes=32 << 20)


@pytest.mark.parametrize(
    "length", ["-5", "ten", "1e3", "99999999999999999999999999", "0x10", "5, 5"]
)
def test_a_senseless_length_does_no_harm(internet: Internet, length: str) -> None:
    def answer(visit: Visit) -> None:
        visit.head(Content_Length=length)
        visit.send(b"hello")

    internet.site("files.example.com", answer)
    with suppress(download.FetchError):
        assert get() == b"hello"


def test_two_lengths_are_one_too_many(internet: Internet) -> None:
    internet.site(
        "files.example.com",
        lambda v: v.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\nhello"),
    )
    refused(kind=download.Unwelcome)


def test_a_promise_of_more_than_comes_is_broken_off(internet: Internet) -> None:
    internet.site(
        "files.example.com",
        lambda visit: (visit.head(Content_Length=1000), visit.send(b"hello"))[0],
    )
    refused(kind=download.SourceUnreachable)


@pytest.mark.parametrize(
    "body",
    [
        b"5\r\nhel",
        b"zz\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"-5\r\nhello",
        b"5;" + b"x" * 70000,
    ],
)
def test_a_broken_chunk_is_never_a_whole_file(internet: Internet, body: bytes) -> None:
    internet.site(
        "files.example.com", lambda v: (v.head(Transfer_Encoding="chunked"), v.send(body))[0]
    )
    refused(kind=download.SourceUnreachable)


@pytest.mark.parametrize(
    "end",
    [
        b"",
        b"zz\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"5_0\r\n",
        b"0",
        b"0\r\n",
        b"0\r\nX-Checksum: 1\r\n",
        b"0\r\nX-Checksum: 1",
        b"hello",
    ],
)
def test_a_chunked_body_that_breaks_off_between_chunks_is_never_a_whole_file(
    internet: Internet, end: bytes
) -> None:
    def answer(visit: Visit) -> None:
        visit.head(Transfer_Encoding="chunked")
        visit.send(b"5000\r\n" + bytes(0x5000) + b"\r\n" + end)

    internet.site("files.example.com", answer)
    refused(kind=download.SourceUnreachable)


@pytest.mark.parametrize(
    "body",
    [
        b"5\r\nhello\r\n0\r\n\r\n",
        b"5;name=value\r\nhello\r\n0;last\r\n\r\n",
        b"0005  \r\nhello\r\n000\r\nX-Checksum: 1\r\nX-More: 2\r\n\r\n",
        b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\nleft over",
    ],
)
def test_extensions_and_trailers_of_a_chunked_body_are_read_past(
    internet: Internet, body: bytes
) -> None:
    internet.site(
        "files.example.com", lambda v: (v.head(Transfer_Encoding="chunked"), v.send(body))[0]
    )
    assert get() == b"hello"


@pytest.mark.parametrize("second", ["Transfer-Encoding: gzip", "Content-Encoding: gzip"])
def test_a_second_coding_is_not_overlooked(internet: Internet, second: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: identity\r\n"
    body = b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    internet.site("files.example.com", lambda visit: visit.send(head + second.encode() + body))
    refused(kind=download.Unwelcome)


@pytest.mark.parametrize("before", ["100 Continue", "102 Processing", "103 Early Hints"])
def test_informational_answers_are_read_past(internet: Internet, before: str) -> None:
    hints = f"HTTP/1.1 {before}\r\nLink: </a.css>\r\n\r\n".encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    internet.site("files.example.com", lambda visit: visit.send(hints * 3 + answer))
    assert get() == b"hello"


def test_a_folded_etag_never_becomes_a_header_line_of_ours(internet: Internet) -> None:
    def answer(visit: Visit) -> None:
        visit.send(b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: "a\r\n X-Evil: 1"\r\n\r\nhello')

    site = internet.site("files.example.com", answer)
    refused(kind=download.SourceUnreachable)
    assert all("x-evil" not in visit.headers for visit in site.visits)
    assert len(site.visits) == 1


@pytest.mark.parametrize("says_goodbye", [True, False])
def test_a_body_without_a_length_is_whole_only_if_tls_says_goodbye(
    internet: Internet, says_goodbye: bool
) -> None:
    def answer(visit: Visit) -> None:
        visit.head()
        visit.send(b"hello")
        if says_goodbye:
            assert isinstance(visit.connection, ssl.SSLSocket)
            visit.connection.unwrap()

    internet.site("files.example.com", answer)
    if says_goodbye:
        assert get() == b"hello"
    else:
        refused(kind=download.SourceUnreachable)


@pytest.mark.parametrize(
    "span", ["bytes 0-" + "9" * 5000 + "/5", "bytes 0-4/" + "9" * 5000, "bytes 0-4/*", "all"]
)
def test_a_part_that_says_no_sensible_extent_is_not_taken(internet: Internet, span: str) -> None:
    internet.site(
        "files.example.com",
        lambda visit: visit.head("206 Partial", Content_Range=span, Content_Length=5),
    )
    refused(kind=download.SourceUnreachable)


@pytest.mark.parametrize(
    "flood",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * (1 << 20),
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 100_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000,
        b"a" * (1 << 20),
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X%d: %s\r\n" % (i, b"a" * 1000) for i in range(95)),
    ],
)
def test_a_flood_of_headers_is_dammed(internet: Internet, flood: bytes) -> None:
    internet.site("files.example.com", lambda visit: visit.send(flood))
    with pytest.raises((download.Unwelcome, download.SourceUnreachable)):
        get()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\r\n",
        b"hello\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"SSH-2.0-x\r\n",
    ],
)
def test_what_does_not_speak_http_is_unreachable(internet: Internet, answer: bytes) -> None:
    internet.site("files.example.com", lambda visit: visit.send(answer))
    refused(kind=download.SourceUnreachable)


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1",
    ],
)
def test_a_drip_ends_with_our_deadline(internet: Internet, before: bytes) -> None:
    def drip(visit: Visit) -> None:
        visit.send(before)
        while True:
            visit.send(b"1")
            time.sleep(0.2)

    internet.site("files.example.com", drip)
    began = time.monotonic()
    refused(kind=download.DeadlinePassed, seconds=1.5)
    assert time.monotonic() - began <= 1.5 + SLACK_SECONDS


def test_silence_ends_with_our_deadline(internet: Internet) -> None:
    internet.site("files.example.com", lambda visit: time.sleep(10))
    began = time.monotonic()
    refused(kind=download.DeadlinePassed, seconds=1)
    assert time.monotonic() - began <= 1 + SLACK_SECONDS


def test_a_resolver_that_does_not_answer_ends_with_our_deadline(internet: Internet) -> None:
    internet.site("files.example.com", give(b"hello"))
    released = threading.Event()

    def slow() -> list[str]:
        released.wait(20)
        return ["93.184.216.34"]

    internet.names["files.example.com"] = slow
    began = time.monotonic()
    refused(kind=download.DeadlinePassed, seconds=1)
    assert time.monotonic() - began <= 1 + SLACK_SECONDS
    released.set()
    assert internet.tried == []


def test_whose_time_is_up_asks_no_resolver(internet: Internet) -> None:
    lookups: list[str] = []

    def answer() -> list[str]:
        lookups.append("files.example.com")
        return ["93.184.216.34"]

    internet.names["files.example.com"] = answer
    refused(kind=download.DeadlinePassed, seconds=0)
    assert lookups == []


def test_who_is_slower_than_the_least_speed_is_let_go() -> None:
    patience = Patience(time.monotonic() + 60)
    patience.note(29, 1_000)
    with pytest.raises(download.SourceUnreachable, match="drips"):
        patience.note(2, 1_000)
    Patience(time.monotonic() + 60).note(31, 50_000 * 31)


def broken_at(content: bytes, *breaks: int, etag: str = '"v1"', honest: bool = True) -> Answer:
    """Breaks off at each of `breaks`, and serves ranges."""
    left = list(breaks)

    def answer(visit: Visit) -> None:
        start = int(visit.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start and honest:
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            visit.head(
                "206 Partial", Content_Range=span, Content_Length=len(content) - start, ETag=etag
            )
        else:
            start = 0
            visit.head(Content_Length=len(content), ETag=etag)
        visit.send(content[start : left.pop(0) if left else None])

    return answer


def test_what_breaks_off_goes_on_by_range(internet: Internet) -> None:
    content = bytes(range(256)) * 2000
    site = internet.site("files.example.com", broken_at(content, 1, 70_000, 300_000))
    assert get() == content
    assert [visit.headers.get("if-range") for visit in site.visits] == [
        None,
        '"v1"',
        '"v1"',
        '"v1"',
    ]


@pytest.mark.parametrize("is_chunked", [False, True])
def test_what_came_before_a_break_is_not_requested_again(
    internet: Internet, is_chunked: bool
) -> None:
    content = bytes(range(256)) * 2000
    whole, visits = broken_at(content), itertools.count(1)

    def answer(visit: Visit) -> None:
        if next(visits) > 1:
            whole(visit)
            return
        visit.head(
            ETag='"v1"',
            **(
                {"Transfer_Encoding": "chunked"} if is_chunked else {"Content_Length": len(content)}
            ),
        )
        for start in range(0, 70_000, 10_000):
            piece = content[start : start + 10_000]
            visit.send(b"2710\r\n" + piece + b"\r\n" if is_chunked else piece)
        return

    site = internet.site("files.example.com", answer)
    assert get() == content
    assert site.visits[1].headers["range"].startswith("bytes=70000-")


def test_a_source_that_ends_every_connection_is_gone_on_from_as_long_as_it_gives_something(
    internet: Internet,
) -> None:
    content = bytes(range(256)) * 40_000
    site = internet.site(
        "files.example.com", broken_at(content, *range(1_200_000, len(content), 1_200_000))
    )
    assert get(max_bytes=len(content)) == content
    assert len(site.visits) == 9


def test_a_source_that_cannot_be_reached_again_at_once_is_tried_again(internet: Internet) -> None:
    content = bytes(range(256)) * 2000
    whole, visits = broken_at(content, 70_000), itertools.count(1)
    internet.site(
        "files.example.com",
        lambda visit: (
            visit.head("503 Busy", Content_Length=0) if next(visits) in (2, 3) else whole(visit)
        ),
    )
    assert get() == content


def test_whose_time_is_up_does_not_wait_to_go_on(internet: Internet) -> None:
    whole, visits = broken_at(bytes(200_000), 70_000), itertools.count(1)
    internet.site(
        "files.example.com",
        lambda visit: (
            visit.head("503 Busy", Content_Length=0) if next(visits) > 1 else whole(visit)
        ),
    )
    began = time.monotonic()
    refused(kind=download.DeadlinePassed, seconds=1)
    assert time.monotonic() - began <= 1 + SLACK_SECONDS


def test_what_breaks_off_for_ever_is_given_up(internet: Internet) -> None:
    content = bytes(200_000)
    site = internet.site("files.example.com", broken_at(content, *range(1000, 100_000, 1000)))
    refused(kind=download.SourceUnreachable)
    assert len(site.visits) == 6


@pytest.mark.parametrize("etag", ["", 'W/"v1"'])
def test_without_a_strong_validator_nothing_is_patched_together(
    internet: Internet, etag: str
) -> None:
    site = internet.site("files.example.com", broken_at(bytes(200_000), 70_000, etag=etag))
    refused(kind=download.SourceUnreachable)
    assert len(site.visits) == 1


def test_a_source_that_starts_again_is_not_believed(internet: Internet) -> None:
    internet.site("files.example.com", broken_at(bytes(200_000), 70_000, honest=False))
    refused(kind=download.Changed)


def test_a_file_that_changed_meanwhile_is_not_patched_together(internet: Internet) -> None:
    first, second = broken_at(bytes(200_000), 70_000), broken_at(bytes(200_000), etag='"v2"')
    answers = iter([first, second])
    internet.site("files.example.com", lambda visit: next(answers)(visit))
    refused(kind=download.Changed)
