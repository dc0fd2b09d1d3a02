"""The door is the Lambda's handler: a task in ARCHIVING, a video at a URL, an archive."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields
from urllib.parse import unquote

import httpx
import pytest

from functions.download.errors import (
    FetchError,
    ForbiddenAddress,
    LinkDead,
    SourceUnreachable,
    Unwelcome,
)
from functions.tasks.events import Video
from functions.videos.bucket import ArchiveUnavailable
from functions.videos.mp4 import NotAVideo
from tests.archive.asking import URL, Answer, chunked, serve
from tests.archive.conftest import Vault
from tests.archive.films import (
    FTYP,
    box,
    film,
    fragment,
    fragmented_moov,
    moov,
    movie_header,
    track,
)
from tests.archive.internet import Internet, Visit

FILM = film(3_000_000)


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
    assert {tag["Key"]: tag["Value"] for tag in tags} == {
        "provider": "kie",
        "model": "kling/ai-avatar-standard",
        "source": "hello.mp3",
        "ai_generated": "true",
    }
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
            "ai_generated": True,
            "job_id": vault.task["job_id"],
        },
    }
    manifest = json.loads(vault.read(f"{folder}/manifest.json"))
    assert manifest["schema"] == 1
    assert {**manifest["video"], "job_id": manifest["job_id"]} == answer["archived"]
    assert manifest["charge_usd"] == 0.18
    assert manifest["inputs"]["audio"] == {
        "bucket": "inbox", "key": "hello.mp3", "version_id": "a1", "etag": "bb", "seconds": 11.52,
    }  # fmt: skip
    assert "hush" not in json.dumps(manifest)


def test_a_video_says_that_a_machine_made_it_and_of_which_file(
    vault: Vault, internet: Internet
) -> None:
    internet.site("files.example.com", serve(FILM))
    key = "Größe/100% neu + alt.mp3"
    vault.open_task(URL, stem="100% neu + alt", audio={"bucket": "inbox", "key": key})
    video = vault.run()["archived"]
    assert video["key"].endswith("/100% neu + alt.mp4")
    link = vault.s3.generate_presigned_url(
        "get_object", Params={"Bucket": vault.bucket, "Key": video["key"]}
    )
    assert httpx.get(link).content == FILM
    head = vault.s3.head_object(Bucket=vault.bucket, Key=video["key"])
    assert unquote(head["Metadata"]["source-key"]) == key
    synthetic = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert head["Metadata"]["ai-generated"] == "true"
    assert head["Metadata"]["digital-source-type"] == synthetic
    tags = vault.s3.get_object_tagging(Bucket=vault.bucket, Key=video["key"])["TagSet"]
    assert {"Key": "source", "Value": "Gr__e/100_ neu + alt.mp3"} in tags
    manifest = json.loads(vault.read(video["manifest_key"]))
    assert (manifest["ai_generated"], manifest["digital_source_type"]) == (True, synthetic)
    assert manifest["stem"] == "100% neu + alt"
    assert manifest["inputs"]["audio"]["key"] == key


@pytest.mark.parametrize(
    ("voice_seconds", "warning"),
    [
        (11.52, None),  # 6 % longer: providers round up
        (10.0, "the video lasts 12.3 s, 23 % longer than its voice of 10.0 s"),
        (15.0, "the video lasts 12.3 s, 18 % shorter than its voice of 15.0 s"),
    ],
)
def test_a_video_much_longer_or_shorter_than_its_voice_is_archived_with_a_warning(
    vault: Vault, internet: Internet, voice_seconds: float, warning: str | None
) -> None:
    internet.site("files.example.com", serve(FILM))
    vault.open_task(URL, audio={"bucket": "inbox", "key": "a.mp3", "seconds": voice_seconds})
    video = vault.run()["archived"]
    assert video.get("warning") == warning
    written = json.loads(vault.read(video["manifest_key"]))["video"]
    assert written == {name: value for name, value in video.items() if name != "job_id"}
    assert (
        Video(**{name: video.get(name) for name in {field.name for field in fields(Video)}}).warning
        == warning
    )


def test_the_same_task_archived_again_gives_the_same_answer_and_fetches_nothing(
    vault: Vault, internet: Internet
) -> None:
    site = internet.site("files.example.com", serve(FILM))
    vault.open_task(URL)
    first = vault.run()
    assert vault.run() == first
    assert len(site.visits) == 1
    assert vault.versions() == 2


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
        ("hello world", "hello world"), ("naïve-ü-日本-😀", "naïve-ü-日本-😀"),
        ("a\u0301", "a\u0301"),
        ("a+b&c=d", "a+b&c=d"),
        ("folder/ hello ", "hello"), ('we"ird\\<x>|\x07%', "we_ird__x___%"), ("..", ".."),
        ("", "video"), (" ", "video"),
        ("ü" * 300, "ü" * 100),
    ],
)  # fmt: skip
def test_the_stem_stays_readable_in_the_key(
    vault: Vault, internet: Internet, stem: str, name: str
) -> None:
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
    "a box past its parent": FTYP
    + box(b"moov", movie_header(12.0) + b"\x00\x00\xff\xfftrak" + bytes(40))
    + PICTURES,
    "a box without end": FTYP + b"\x00\x00\x00\x00moov" + bytes(100),
    "a promise past the end": FTYP
    + moov()
    + b"\x00\x00\x00\x01mdat"
    + (1 << 60).to_bytes(8)
    + bytes(100),
    "crumbs": FTYP + box(b"free") * 250_000,
    "a fragment short of its promise": FTYP
    + fragmented_moov(box(b"mehd", bytes(4) + (12_000).to_bytes(4)))
    + fragment(1.0) * 11,
    "a fragment without its pictures": FTYP
    + fragmented_moov()
    + fragment(1.0) * 12
    + fragment(1.0)[:-508],
    "fragments without an index, the last ones missing": FTYP
    + fragmented_moov()
    + fragment(0.5) * 20,
    "fragments of a blink": FTYP + fragmented_moov() + fragment(0.5) * 2,
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("how", [serve, chunked])
def test_what_is_not_a_whole_video_of_this_voice_is_never_seen(
    vault: Vault, internet: Internet, wrong: str, how: Callable[..., Answer]
) -> None:
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
    + fragmented_moov(box(b"mehd", bytes(4) + (12_000).to_bytes(4)))
    + fragment(1.0) * 12,
    "in fragments without a length": FTYP + fragmented_moov() + fragment(0.5) * 24,
}


@pytest.mark.parametrize("right", RIGHT)
@pytest.mark.parametrize("how", [serve, chunked])
def test_every_way_to_write_a_film_is_taken(
    vault: Vault, internet: Internet, right: str, how: Callable[..., Answer]
) -> None:
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
        (
            lambda visit: visit.head("302 Found", Location="http://169.254.169.254/"),
            ForbiddenAddress,
        ),
        (lambda visit: visit.head(Content_Length=20 << 30), Unwelcome),
        (lambda visit: visit.head(Content_Encoding="gzip", Content_Length=5), Unwelcome),
        (
            lambda visit: (visit.head(Content_Length=len(FILM)), visit.send(FILM[:-1])),
            SourceUnreachable,
        ),
        (
            lambda visit: (visit.head(Transfer_Encoding="chunked"), visit.send(b"ff\r\n")),
            SourceUnreachable,
        ),
    ],
)
def test_a_source_that_fails_leaves_nothing_behind(
    vault: Vault, internet: Internet, answer: Answer, error: type[FetchError]
) -> None:
    internet.site("files.example.com", answer)
    vault.open_task(URL)
    with pytest.raises(error) as raised:
        vault.run()
    assert "hush" not in str(raised.value)
    assert vault.keys() == []
    assert vault.versions() == 0


def test_an_archive_that_refuses_is_unavailable(
    vault: Vault, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    internet.site("files.example.com", serve(FILM))
    vault.open_task(URL)
    vault.s3.delete_bucket(Bucket=vault.bucket)
    with pytest.raises(ArchiveUnavailable, match="NoSuchBucket"):
        vault.run()


def test_a_task_that_is_not_to_be_archived_is_left_to_settle(
    vault: Vault, internet: Internet
) -> None:
    vault.open_task(URL, status="COMPLETED")
    assert vault.run() == {"next": "settle", "archived": {}}
    vault.open_task(URL)
    assert vault.run(attempt=2) == {"next": "settle", "archived": {}}
    assert internet.tried == []


def test_no_log_line_holds_a_query(
    vault: Vault,
    internet: Internet,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    internet.site("files.example.com", serve(FILM))
    vault.open_task(URL)
    vault.run()
    assert "archived" in caplog.text
    assert "hush" not in capfd.readouterr().out + caplog.text
