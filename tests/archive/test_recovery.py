"""The door is the Lambda's handler: what broke off, was killed or ran out of time is gone on from
by the next."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest

from functions import settings
from functions.download import download
from functions.download.errors import DeadlinePassed, SourceUnreachable
from functions.handlers import archive
from functions.videos.bucket import ArchiveUnavailable
from functions.videos.multipart import PART_BYTES
from tests.archive.asking import SLACK_SECONDS, URL, Answer, chunked, serve
from tests.archive.conftest import Vault
from tests.archive.films import FTYP, film, moov
from tests.archive.internet import Internet, Visit

FILM = film(3_000_000)


def open_upload(vault: Vault, content: bytes, parts: int) -> None:
    """What an earlier invocation left: the film's first parts."""
    upload = vault.s3.create_multipart_upload(
        Bucket=vault.bucket,
        Key=f"videos/2026/11/21/{vault.bucket}/hello.mp4",
        ChecksumAlgorithm="SHA256",
    )
    for number in range(1, parts + 1):
        vault.s3.upload_part(
            Bucket=vault.bucket, Key=upload["Key"], UploadId=upload["UploadId"], PartNumber=number,
            Body=content[(number - 1) * PART_BYTES : number * PART_BYTES],
            ChecksumAlgorithm="SHA256",
        )  # fmt: skip


def test_who_died_before_the_manifest_is_finished_by_the_next(
    vault: Vault, internet: Internet
) -> None:
    site = internet.site("files.example.com", serve(FILM))
    vault.open_task(URL)
    first = vault.run()
    before = vault.read(first["archived"]["manifest_key"])
    version = vault.s3.head_object(Bucket=vault.bucket, Key=first["archived"]["manifest_key"])[
        "VersionId"
    ]
    vault.s3.delete_object(
        Bucket=vault.bucket, Key=first["archived"]["manifest_key"], VersionId=version
    )
    assert vault.run() == first
    assert vault.read(first["archived"]["manifest_key"]) == before
    assert vault.versions() == 2
    assert len(site.visits) == 1


def test_a_video_that_breaks_off_goes_on_within_the_same_object(
    vault: Vault, internet: Internet
) -> None:
    def answer(visit: Visit) -> None:
        whole = serve(FILM, ETag='"v1"')
        if len(site.visits) > 1:
            whole(visit)
            return
        visit.head(Content_Length=len(FILM), ETag='"v1"')
        visit.send(FILM[:1_234_567])

    site = internet.site("files.example.com", answer)
    vault.open_task(URL)
    archived = vault.run()["archived"]
    assert vault.read(archived["key"]) == FILM
    assert "-" not in archived["etag"]
    assert [visit.headers.get("range") for visit in site.visits] == [
        None,
        f"bytes=1234567-{len(FILM) - 1}",
    ]


@pytest.mark.parametrize("moov_first", [True, False])
def test_a_video_that_does_not_end_in_our_time_is_handed_over(
    vault: Vault, internet: Internet, moov_first: bool
) -> None:
    content = film(30_000_000, moov_first=moov_first)

    def falls_silent(visit: Visit) -> None:
        visit.falls_silent_after = 12_000_000
        serve(content, ETag='"v1"')(visit)

    internet.site("files.example.com", falls_silent)
    vault.open_task(URL)
    with pytest.raises(archive.HandOver):
        vault.run(seconds=archive.RESERVE_SECONDS + 2)
    assert vault.uploads() == 1
    handed_over = 1
    answers: list[dict[str, Any]] = []
    while not answers and handed_over < 20:
        assert vault.keys() == []
        try:
            answers.append(vault.run(seconds=archive.RESERVE_SECONDS + 3))
        except archive.HandOver:
            handed_over += 1
        except DeadlinePassed:
            continue  # on a slow machine: not a part further, and the workflow comes again
    archived = answers[-1]["archived"]
    assert handed_over > 1
    assert archived["etag"].endswith('-4"')
    assert archived["sha256"] == hashlib.sha256(content).hexdigest()
    assert archived["seconds"] == 12.267
    assert vault.read(archived["key"]) == content
    assert vault.uploads() == 0


@pytest.mark.parametrize("how", [serve, chunked])
@pytest.mark.parametrize("seed", [1, 2])
def test_parts_are_gone_on_from_only_if_the_file_is_the_same(
    vault: Vault, internet: Internet, how: Callable[..., Answer], seed: int
) -> None:
    old, new = film(20_000_000, seed=1), film(20_000_000, seed=seed)
    open_upload(vault, old, parts=2)
    internet.site("files.example.com", how(new))
    vault.open_task(URL)
    archived = vault.run(seconds=archive.RESERVE_SECONDS + 100)["archived"]
    assert vault.read(archived["key"]) == new
    assert archived["sha256"] == hashlib.sha256(new).hexdigest()
    assert vault.uploads() == 0


def test_a_slow_source_that_cannot_be_gone_on_from_is_not_handed_over_for_ever(
    vault: Vault, internet: Internet
) -> None:
    def drip(visit: Visit) -> None:
        visit.head(Content_Length=len(FILM))
        for start in range(0, len(FILM), 1000):
            visit.send(FILM[start : start + 1000])
            time.sleep(0.05)

    internet.site("files.example.com", drip)
    vault.open_task(URL)
    began = time.monotonic()
    with pytest.raises(SourceUnreachable):
        vault.run(seconds=archive.RESERVE_SECONDS + 1)
    assert time.monotonic() - began <= 1 + SLACK_SECONDS
    assert (vault.keys(), vault.uploads(), vault.versions()) == ([], 0, 0)


def test_the_only_part_is_compared_once(vault: Vault, internet: Internet) -> None:
    content = film(20_000_000)
    open_upload(vault, content, parts=1)
    site = internet.site("files.example.com", serve(content, ETag='"v1"'))
    vault.open_task(URL)
    assert (
        vault.read(vault.run(seconds=archive.RESERVE_SECONDS + 100)["archived"]["key"]) == content
    )
    compared = [
        visit for visit in site.visits if visit.headers.get("range") == f"bytes=0-{PART_BYTES - 1}"
    ]
    assert len(compared) == 1


def test_a_source_that_breaks_off_and_stays_away_does_not_cost_what_is_there(
    vault: Vault, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PAUSES_SECONDS", (0.0, 0.01))
    content = film(30_000_000)

    def answer(visit: Visit) -> None:
        number = len(site.visits)
        if number in (2, 3, 5, 6):
            visit.head("503 Busy", Content_Length=0)
        elif number in (1, 4):  # of one PutObject, and then of the parts
            visit.head(Content_Length=len(content), ETag='"v1"')
            visit.send(content[:20_000_000])
        else:
            serve(content, ETag='"v1"')(visit)

    site = internet.site("files.example.com", answer)
    vault.open_task(URL)
    with pytest.raises(SourceUnreachable):
        vault.run(seconds=archive.RESERVE_SECONDS + 300)
    assert (vault.keys(), vault.uploads()) == ([], 1)
    archived = vault.run(seconds=archive.RESERVE_SECONDS + 300)["archived"]
    assert f"bytes={2 * PART_BYTES}-" in [visit.headers.get("range") for visit in site.visits]
    assert archived["sha256"] == hashlib.sha256(content).hexdigest()
    assert vault.read(archived["key"]) == content
    assert vault.uploads() == 0


def test_who_comes_no_further_is_handed_over_once_and_then_waits(
    vault: Vault, internet: Internet
) -> None:
    content = film(60_000)

    def falls_silent(visit: Visit) -> None:
        visit.falls_silent_after = 30_000
        serve(content, ETag='"v1"')(visit)

    internet.site("files.example.com", falls_silent)
    vault.open_task(URL)
    with pytest.raises(archive.HandOver):
        vault.run(seconds=archive.RESERVE_SECONDS + 2)
    with pytest.raises(DeadlinePassed):  # what the workflow waits after
        vault.run(seconds=archive.RESERVE_SECONDS + 2)
    assert vault.uploads() == 1


@pytest.mark.parametrize(
    "manifest",
    [b"", b'{"video": {"key"', b"[]", b"null", b'{"video": {}}', b'{"video": 5}', b"\xff"],
)
def test_a_damaged_manifest_does_not_hold_up_a_video_that_is_there(
    vault: Vault, internet: Internet, manifest: bytes
) -> None:
    internet.site("files.example.com", serve(FILM))
    vault.open_task(URL)
    first = vault.run()
    vault.s3.put_object(Bucket=vault.bucket, Key=first["archived"]["manifest_key"], Body=manifest)
    assert vault.run() == first
    assert vault.read(first["archived"]["manifest_key"]) == manifest


@pytest.fixture
def forgetful(vault: Vault, internet: Internet, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    """An S3 in which the film has turned into another of the same length since its checksum was
    taken."""
    wrong = film(3_000_000, seed=8)
    part = base64.b64encode(hashlib.sha256(hashlib.sha256(FILM).digest()).digest()).decode()

    def answer(visit: Visit) -> None:
        if visit.path.partition("?")[0].endswith("manifest.json"):
            body = b"<Error><Code>NoSuchKey</Code></Error>"
            visit.head("404 Not Found", Content_Length=len(body))
            return visit.send(body)
        visit.head(Content_Length=len(wrong), ETag='"e-1"', Last_Modified=formatdate(usegmt=True),
                   x_amz_version_id="v1", x_amz_checksum_sha256=f"{part}-1")  # fmt: skip
        return visit.send(wrong) if "range" not in visit.headers else None

    server = internet.plain(answer)
    internet.names["127.0.0.1"] = ["127.0.0.1"]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.port}")
    settings.forget()
    yield vault
    settings.forget()


def test_bytes_that_are_not_those_of_the_checksum_are_never_archived(
    forgetful: Vault,
) -> None:
    forgetful.open_task(URL)
    for _ in range(2):
        with pytest.raises(ArchiveUnavailable, match="other bytes"):
            forgetful.run()


@pytest.mark.usefixtures("flat_memory")
@pytest.mark.parametrize("is_chunked", [False, True])
def test_memory_does_not_grow_with_the_film(
    vault: Vault, internet: Internet, is_chunked: bool
) -> None:
    block, blocks = bytes(1 << 20), 150
    begin = FTYP + moov() + (8 + blocks * len(block)).to_bytes(4) + b"mdat"

    def answer(visit: Visit) -> None:
        length = (
            {"Transfer_Encoding": "chunked"}
            if is_chunked
            else {"Content_Length": len(begin) + blocks * len(block)}
        )
        visit.head(**length)
        for piece in (begin, *[block] * blocks):
            visit.send(f"{len(piece):x}\r\n".encode() if is_chunked else b"")
            visit.send(piece)
            visit.send(b"\r\n" if is_chunked else b"")
        visit.send(b"0\r\n\r\n" if is_chunked else b"")

    internet.site("files.example.com", answer)
    vault.open_task(URL)
    assert vault.run()["archived"]["bytes"] == len(begin) + blocks * len(block)
