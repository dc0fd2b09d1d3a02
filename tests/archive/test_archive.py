"""The door is the Lambda's handler: a task in ARCHIVING, a video at a URL, an archive."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress

import pytest

from functions import archive
from functions.bucket import ArchiveUnavailable
from functions.mp4 import NotAVideo
from functions.wire import DeadlinePassed, FetchError, ForbiddenAddress, LinkDead, SourceUnreachable, Unwelcome
from tests.archive.conftest import Vault
from tests.archive.films import FTYP, box, film, moov, movie_header, track
from tests.archive.internet import Internet, Visit

URL = "https://files.example.com/out/281e.mp4?X-Amz-Signature=hush"
FILM = film(3_000_000)


def serve(content: bytes, **headers: object):
    """Serves ranges as a well-kept source does."""

    def answer(visit: Visit) -> None:
        told = visit.headers.get("range", "").removeprefix("bytes=")
        if not told:
            visit.head(Content_Length=len(content), **headers)
            visit.send(content)
            return
        first, _, last = told.partition("-")
        start, end = int(first), min(int(last or len(content)) + 1, len(content))
        span = f"bytes {start}-{end - 1}/{len(content)}"
        visit.head("206 Partial", Content_Range=span, Content_Length=end - start, **headers)
        visit.send(content[start:end])

    return answer


def chunked(content: bytes):
    def answer(visit: Visit) -> None:
        visit.head(Transfer_Encoding="chunked")
        for start in range(0, len(content), 100_000):
            piece = content[start : start + 100_000]
            visit.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        visit.send(b"0\r\n\r\n")

    return answer


def nothing_is_there(vault: Vault) -> bool:
    return vault.keys() == [] and vault.uploads() == 0 and vault.versions() == 0


def test_a_video_lands_in_the_archive_beside_its_manifest(vault: Vault, internet: Internet) -> None:
    internet.site("files.example.com", serve(FILM, Content_Type="video/mp4", ETag='"v1"'))
    vault.open_task(URL, charge_usd=0.18)
    answer = vault.run()
    folder = f"videos/2026/11/21/{vault.bucket}"
    sha256 = hashlib.sha256(FILM).hexdigest()
    assert vault.read(f"{folder}/hello.mp4") == FILM
    head = vault.s3.head_object(Bucket=vault.bucket, Key=f"{folder}/hello.mp4")
    assert head["ContentType"] == "video/mp4"
    assert head["Metadata"]["job-id"] == "281e5b0f39b9"
    assert "ContentEncoding" not in head
    tags = vault.s3.get_object_tagging(Bucket=vault.bucket, Key=f"{folder}/hello.mp4")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"provider": "kie", "model": "kling/ai-avatar-standard"}
    assert answer == {
        "next": "settle",
        "archived": {
            "bucket": vault.bucket,
            "key": f"{folder}/hello.mp4",
            "version_id": head["VersionId"],
            "etag": head["ETag"],
            "sha256": sha256,
            "bytes": len(FILM),
            "seconds": 12.267,
            "manifest_key": f"{folder}/manifest.json",
        },
    }
    manifest = json.loads(vault.read(f"{folder}/manifest.json"))
    assert manifest["schema"] == 1
    assert manifest["video"] == answer["archived"]
    assert manifest["charge_usd"] == 0.18
    assert manifest["inputs"]["audio"] == {
        "bucket": "inbox", "key": "hello.mp3", "version_id": "a1", "etag": "bb", "seconds": 11.52,
    }  # fmt: skip
    assert "hush" not in json.dumps(manifest)


def test_the_same_task_archived_again_gives_the_same_answer_and_fetches_nothing(vault: Vault, internet: Internet) -> None:
    site = internet.site("files.example.com", serve(FILM))
    vault.open_task(URL)
    first = vault.run()
    assert vault.run() == first
    assert len(site.visits) == 1
    assert vault.versions() == 2


def test_who_died_before_the_manifest_is_finished_by_the_next(vault: Vault, internet: Internet) -> None:
    site = internet.site("files.example.com", serve(FILM))
    vault.open_task(URL)
    first = vault.run()
    before = vault.read(first["archived"]["manifest_key"])
    version = vault.s3.head_object(Bucket=vault.bucket, Key=first["archived"]["manifest_key"])["VersionId"]
    vault.s3.delete_object(Bucket=vault.bucket, Key=first["archived"]["manifest_key"], VersionId=version)
    assert vault.run() == first
    assert vault.read(first["archived"]["manifest_key"]) == before
    assert vault.versions() == 2
    assert len(site.visits) == 1


def test_who_comes_second_leaves_what_the_first_put_there(vault: Vault, internet: Internet) -> None:
    key = f"videos/2026/11/21/{vault.bucket}/hello.mp4"
    first: list[str] = []

    def answer(visit: Visit) -> None:
        visit.head(Content_Length=len(FILM))
        visit.send(FILM[:2_000_000])
        first.append(vault.s3.put_object(Bucket=vault.bucket, Key=key, Body=FILM)["VersionId"])
        visit.send(FILM[2_000_000:])

    internet.site("files.example.com", answer)
    vault.open_task(URL)
    archived = vault.run()["archived"]
    assert archived["version_id"] == first[0]
    assert archived["sha256"] == hashlib.sha256(FILM).hexdigest()
    assert vault.versions() == 2


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("hello world", "hello world"), ("naïve-ü-日本-😀", "naïve-ü-日本-😀"), ("a\u0301", "a\u0301"),
        ("a+b&c=d", "a+b&c=d"),
        ("folder/ hello ", "hello"), ('we"ird\\<x>|\x07%', "we_ird__x____"), ("..", ".."), ("", "video"), (" ", "video"),
        ("ü" * 300, "ü" * 100),
    ],
)  # fmt: skip
def test_the_stem_stays_readable_in_the_key(vault: Vault, internet: Internet, stem: str, name: str) -> None:
    internet.site("files.example.com", serve(FILM))
    vault.open_task(URL, stem=stem)
    key = vault.run()["archived"]["key"]
    assert key == f"videos/2026/11/21/{vault.bucket}/{name}.mp4"
    assert vault.read(key) == FILM


PICTURES = box(b"mdat", bytes(5000))
WRONG = {
    "empty": b"",
    "a page": b"<!DOCTYPE html><html><body>Access denied</body></html>",
    "an error": b'{"code":404,"msg":"file expired"}',
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(5000),
    "a webm": b"\x1aE\xdf\xa3" + bytes(5000),
    "a short word": b"no",
    "only a type": FTYP,
    "no pictures": FTYP + moov(),
    "an empty mdat": FTYP + moov() + box(b"mdat"),
    "no header": FTYP + PICTURES,
    "no type": moov() + PICTURES,
    "cut in the pictures": FILM[:-1],
    "cut in the header": FILM[:60],
    "cut after the header": FILM[: len(FTYP + moov())],
    "header last, cut": film(5000, moov_first=False)[:-1],
    "something after it": FILM + b"<script>",
    "a tail": FILM + b"x",
    "two films": FILM + FILM,
    "a sound": FTYP + moov(12.0, track(b"soun")) + PICTURES,
    "a still": box(b"ftyp", b"heic\x00\x00\x00\x00mif1heic") + box(b"meta", bytes(300)) + PICTURES,
    "no time": film(5000, seconds=0),
    "no clock": FTYP + box(b"moov", movie_header(12, timescale=0) + track()) + PICTURES,
    "an hour": film(5000, seconds=3600),
    "a blink": film(5000, seconds=1),
    "a box too small": FTYP + b"\x00\x00\x00\x07moov" + PICTURES,
    "a long box too small": FTYP + b"\x00\x00\x00\x01moov" + (8).to_bytes(8) + PICTURES,
    "a box past its parent": FTYP + box(b"moov", movie_header(12.0) + b"\x00\x00\xff\xfftrak" + bytes(40)) + PICTURES,
    "a box without end": FTYP + b"\x00\x00\x00\x00moov" + bytes(100),
    "a promise past the end": FTYP + moov() + b"\x00\x00\x00\x01mdat" + (1 << 60).to_bytes(8) + bytes(100),
    "crumbs": FTYP + box(b"free") * 250_000,
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("how", [serve, chunked])
def test_what_is_not_a_whole_video_of_this_voice_is_never_seen(vault: Vault, internet: Internet, wrong: str, how) -> None:
    internet.site("files.example.com", how(WRONG[wrong]))
    vault.open_task(URL)
    with pytest.raises(NotAVideo):
        vault.run()
    assert nothing_is_there(vault)


RIGHT = {
    "header last": film(50_000, moov_first=False),
    "a little longer than the voice": film(50_000, seconds=13.5),
    "pictures to the end": FTYP + moov() + b"\x00\x00\x00\x00mdat" + bytes(9000),
    "a long box": FTYP + moov() + b"\x00\x00\x00\x01mdat" + (16 + 9000).to_bytes(8) + bytes(9000),
    "in fragments": FTYP
    + box(b"moov", movie_header(0) + track() + box(b"mvex", box(b"mehd", bytes(4) + (12_000).to_bytes(4))))
    + (box(b"moof", bytes(50)) + box(b"mdat", bytes(500))) * 12,
    "in fragments without a length": FTYP + box(b"moov", movie_header(0) + track()) + box(b"moof", bytes(50)) + PICTURES,
}


@pytest.mark.parametrize("right", RIGHT)
@pytest.mark.parametrize("how", [serve, chunked])
def test_every_way_to_write_a_film_is_taken(vault: Vault, internet: Internet, right: str, how) -> None:
    internet.site("files.example.com", how(RIGHT[right]))
    vault.open_task(URL)
    archived = vault.run()["archived"]
    assert vault.read(archived["key"]) == RIGHT[right]
    assert archived["sha256"] == hashlib.sha256(RIGHT[right]).hexdigest()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda visit: visit.head("403 Forbidden", Content_Length=0), LinkDead),
        (lambda visit: visit.head("410 Gone", Content_Length=0), LinkDead),
        (lambda visit: visit.head("503 Busy", Content_Length=0), SourceUnreachable),
        (lambda visit: visit.head("302 Found", Location="http://169.254.169.254/"), ForbiddenAddress),
        (lambda visit: visit.head(Content_Length=20 << 30), Unwelcome),
        (lambda visit: visit.head(Content_Encoding="gzip", Content_Length=5), Unwelcome),
        (lambda visit: (visit.head(Content_Length=len(FILM)), visit.send(FILM[:-1])), SourceUnreachable),
        (lambda visit: (visit.head(Transfer_Encoding="chunked"), visit.send(b"ff\r\n")), SourceUnreachable),
    ],
)
def test_a_source_that_fails_leaves_nothing_behind(
    vault: Vault, internet: Internet, answer, error: type[FetchError]
) -> None:
    internet.site("files.example.com", answer)
    vault.open_task(URL)
    with pytest.raises(error) as raised:
        vault.run()
    assert "hush" not in str(raised.value)
    assert vault.keys() == []
    assert vault.versions() == 0


def test_an_archive_that_refuses_is_said_to_be_unavailable(
    vault: Vault, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    internet.site("files.example.com", serve(FILM))
    vault.open_task(URL)
    vault.s3.delete_bucket(Bucket=vault.bucket)
    with pytest.raises(ArchiveUnavailable, match="NoSuchBucket"):
        vault.run()


def test_a_video_that_breaks_off_goes_on_within_the_same_object(vault: Vault, internet: Internet) -> None:
    def answer(visit: Visit) -> None:
        whole = serve(FILM, ETag='"v1"')
        if len(site.visits) > 1:
            return whole(visit)
        visit.head(Content_Length=len(FILM), ETag='"v1"')
        return visit.send(FILM[:1_234_567])

    site = internet.site("files.example.com", answer)
    vault.open_task(URL)
    archived = vault.run()["archived"]
    assert vault.read(archived["key"]) == FILM
    assert "-" not in archived["etag"]
    assert [visit.headers.get("range") for visit in site.visits] == [None, f"bytes=1234567-{len(FILM) - 1}"]


@pytest.mark.parametrize("moov_first", [True, False])
def test_a_video_that_does_not_end_in_our_time_is_handed_over(vault: Vault, internet: Internet, moov_first: bool) -> None:
    content = film(30_000_000, moov_first=moov_first)

    def falls_silent(visit: Visit) -> None:
        visit.falls_silent_after = 12_000_000
        serve(content, ETag='"v1"')(visit)

    internet.site("files.example.com", falls_silent)
    vault.open_task(URL)
    answers = [vault.run(seconds=archive.RESERVE_SECONDS + 2)]
    assert answers[0] == {"next": "archive"}
    assert vault.uploads() == 1
    while answers[-1]["next"] == "archive" and len(answers) < 20:
        assert vault.keys() == []
        with suppress(DeadlinePassed):  # on a slow machine: not a part further, and the workflow comes again
            answers.append(vault.run(seconds=archive.RESERVE_SECONDS + 3))
    archived = answers[-1]["archived"]
    assert len(answers) > 2
    assert archived["etag"].endswith('-4"')
    assert archived["sha256"] == hashlib.sha256(content).hexdigest()
    assert archived["seconds"] == 12.267
    assert vault.read(archived["key"]) == content
    assert vault.uploads() == 0


@pytest.mark.parametrize("how", [serve, chunked])
@pytest.mark.parametrize("seed", [1, 2])
def test_parts_are_gone_on_from_only_if_the_file_is_the_same(vault: Vault, internet: Internet, how, seed: int) -> None:
    old, new = film(20_000_000, seed=1), film(20_000_000, seed=seed)
    upload = vault.s3.create_multipart_upload(
        Bucket=vault.bucket, Key=f"videos/2026/11/21/{vault.bucket}/hello.mp4", ChecksumAlgorithm="SHA256"
    )
    for number in (1, 2):
        vault.s3.upload_part(
            Bucket=vault.bucket, Key=upload["Key"], UploadId=upload["UploadId"], PartNumber=number,
            Body=old[(number - 1) << 23 : number << 23], ChecksumAlgorithm="SHA256",
        )  # fmt: skip
    internet.site("files.example.com", how(new))
    vault.open_task(URL)
    archived = vault.run(seconds=archive.RESERVE_SECONDS + 100)["archived"]
    assert vault.read(archived["key"]) == new
    assert archived["sha256"] == hashlib.sha256(new).hexdigest()
    assert vault.uploads() == 0


def test_a_slow_source_that_cannot_be_gone_on_from_is_not_handed_over_for_ever(vault: Vault, internet: Internet) -> None:
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
    assert time.monotonic() - began <= 1 + 2
    assert nothing_is_there(vault)


def test_a_task_that_is_not_to_be_archived_is_left_to_settle(vault: Vault, internet: Internet) -> None:
    vault.open_task(URL, status="COMPLETED")
    assert vault.run() == {"next": "settle", "archived": {}}
    vault.open_task(URL)
    assert vault.run(attempt=2) == {"next": "settle", "archived": {}}
    assert internet.tried == []


def test_no_log_line_holds_a_query(
    vault: Vault, internet: Internet, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    internet.site("files.example.com", serve(FILM))
    vault.open_task(URL)
    vault.run()
    assert "archived" in caplog.text
    assert "hush" not in capfd.readouterr().out + caplog.text
