"""The door is `bucket.put_stream`: what we carry by hand is what was signed, and S3 has the last
word."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterator
from typing import Any

import pytest

from functions import settings
from functions.videos import bucket
from functions.videos.bucket import AlreadyThere, ArchiveUnavailable, Send
from functions.videos.multipart import Part, Upload
from functions.videos.paths import ArchivePaths
from local.aws import cloud
from tests.archive.asking import Answer
from tests.archive.conftest import Vault
from tests.archive.internet import Internet, Visit

CONTENT = os.urandom(700_000)


def path(vault_bucket: str) -> ArchivePaths:
    return ArchivePaths(vault_bucket, "videos/naïve ü+&=(1)/日本.mp4", "videos/manifest.json")


def pour(send: Send) -> bytes:
    view = memoryview(CONTENT)
    for start in range(0, len(CONTENT), 100_000):
        send(view[start : start + 100_000])
    return hashlib.sha256(CONTENT).digest()


@pytest.fixture
def endpoint(internet: Internet, monkeypatch: pytest.MonkeyPatch) -> Iterator[Internet]:
    """An S3 of the test's own, plain enough to look at every byte."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": cloud.KEY,
        "AWS_SECRET_ACCESS_KEY": cloud.KEY,
        "AWS_REGION": cloud.REGION,
        "AWS_DEFAULT_REGION": cloud.REGION,
    }.items():
        monkeypatch.setenv(name, value)
    yield internet
    settings.forget()


def speak_to(endpoint: Internet, answer: Answer, monkeypatch: pytest.MonkeyPatch) -> Any:
    server = endpoint.plain(answer)
    endpoint.names["127.0.0.1"] = ["127.0.0.1"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
    settings.forget()
    return server


def signature_of(method: str, visit: Visit) -> str:
    """SigV4 worked out anew from what arrived
    (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html)."""
    authorization = dict(
        part.strip().split("=", 1)
        for part in visit.headers["authorization"].split(" ", 1)[1].split(",")
    )
    names = authorization["SignedHeaders"].split(";")
    path, _, query = visit.path.partition("?")
    lines = "".join(f"{name}:{' '.join(visit.headers[name].split())}\n" for name in names)
    canonical = "\n".join(
        [
            method,
            path,
            query,
            lines,
            authorization["SignedHeaders"],
            visit.headers["x-amz-content-sha256"],
        ]
    )
    scope = authorization["Credential"].partition("/")[2]
    text = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            visit.headers["x-amz-date"],
            scope,
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = f"AWS4{cloud.KEY}".encode()
    for word in scope.split("/"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    assert hmac.new(key, text.encode(), hashlib.sha256).hexdigest() == authorization["Signature"]
    return authorization["SignedHeaders"]


def test_what_is_carried_is_what_was_signed(
    endpoint: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies: list[bytes] = []

    def answer(visit: Visit) -> None:
        body = visit.rest
        while len(body) < int(visit.headers["content-length"]):
            body += visit.connection.recv(65536)
        bodies.append(body)
        visit.head(Content_Length=0, ETag='"e"')

    server = speak_to(endpoint, answer, monkeypatch)
    bucket.put_stream(
        path("vault"),
        len(CONTENT),
        pour,
        ContentType="video/mp4",
        Metadata={"job-id": "1"},
        Tagging="provider=kie",
    )
    signed = signature_of("PUT", server.visits[0])
    for name in (
        "if-none-match",
        "x-amz-trailer",
        "x-amz-decoded-content-length",
        "x-amz-tagging",
        "content-encoding",
        "host",
    ):
        assert name in signed
    assert "transfer-encoding" not in server.visits[0].headers
    assert server.visits[0].headers["x-amz-content-sha256"] == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    frame, _, rest = bodies[0].partition(b"\r\n")
    assert int(frame, 16) == len(CONTENT)
    assert rest[: len(CONTENT)] == CONTENT
    assert rest[len(CONTENT) :].startswith(b"\r\n0\r\nx-amz-checksum-sha256:")
    assert rest.endswith(b"=\r\n\r\n")


def test_an_s3_that_is_busy_is_not_sent_the_same_bytes_twice(
    endpoint: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(visit: Visit) -> None:
        left = int(visit.headers["content-length"]) - len(visit.rest)
        while left > 0:
            left -= len(visit.connection.recv(65536))
        visit.head("503 Slow Down", Content_Length=0)

    server = speak_to(endpoint, busy, monkeypatch)
    with pytest.raises(ArchiveUnavailable):
        bucket.put_stream(path("vault"), len(CONTENT), pour)
    assert len(server.visits) == 1


@pytest.mark.parametrize("refusal", ["403 Forbidden", "400 Bad Request"])
def test_an_s3_that_refuses_at_once_is_heard(
    endpoint: Internet, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    def refuse(visit: Visit) -> None:
        body = b"<Error><Code>AccessDenied</Code></Error>"
        visit.head(refusal, Content_Length=len(body), Connection="close")
        visit.send(body)
        visit.connection.recv(10)

    speak_to(endpoint, refuse, monkeypatch)
    with pytest.raises(ArchiveUnavailable):
        bucket.put_stream(path("vault"), len(CONTENT), pour)


def test_an_s3_that_hangs_up_is_unavailable(
    endpoint: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak_to(endpoint, lambda visit: None, monkeypatch)
    with pytest.raises(ArchiveUnavailable):
        bucket.put_stream(path("vault"), len(CONTENT), pour)


def test_an_s3_that_cannot_be_reached_is_unavailable(
    endpoint: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak_to(endpoint, lambda visit: None, monkeypatch)
    endpoint.routes.clear()
    with pytest.raises(ArchiveUnavailable):
        bucket.put_stream(path("vault"), len(CONTENT), pour)


def test_an_upload_that_was_completed_unheard_is_already_there(
    endpoint: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(visit: Visit) -> None:
        is_completion = (
            visit.headers.get("content-type", "").endswith("xml")
            or "if-none-match" in visit.headers
        )
        code, status = (
            ("PreconditionFailed", "412 No") if is_completion else ("NoSuchUpload", "404 Not Found")
        )
        body = f"<Error><Code>{code}</Code></Error>".encode()
        visit.head(status, Content_Length=len(body))
        visit.send(body)

    speak_to(endpoint, answer, monkeypatch)
    with pytest.raises(AlreadyThere):
        Upload(path("vault"), "u1", [Part(1, 5, '"e"', "c" * 44)]).complete()


def test_bytes_that_changed_on_the_way_are_refused_by_s3(vault: Vault) -> None:
    def flip(send: Send) -> bytes:
        pour(send)
        return hashlib.sha256(CONTENT[:-1] + b"x").digest()

    with pytest.raises(ArchiveUnavailable, match="BadDigest"):
        bucket.put_stream(path(vault.bucket), len(CONTENT), flip)
    assert vault.versions() == 0


def test_a_body_that_stops_short_leaves_nothing(vault: Vault) -> None:
    def stop(send: Send) -> bytes:
        pour(send)
        raise KeyError("the proof failed")

    with pytest.raises(KeyError):
        bucket.put_stream(path(vault.bucket), len(CONTENT), stop)
    assert vault.versions() == 0
