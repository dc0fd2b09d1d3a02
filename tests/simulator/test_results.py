"""Where the videos lie: plain downloads, and downloads that go wrong."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.simulator.conftest import Client, plain, until


@pytest.fixture
def url(client: Client) -> str:
    job = client.kie().json()["data"]["taskId"]
    record = until(lambda: (found := client.kie_record(job))["state"] == "success" and found)
    return str(json.loads(record["resultJson"])["resultUrls"][0])


def test_a_video_has_a_length_a_type_and_an_etag(url: str) -> None:
    whole = plain.get(url)
    about = plain.head(url)
    assert about.content == b""
    assert int(about.headers["content-length"]) == len(whole.content)
    assert about.headers["content-type"] == "video/mp4"
    assert plain.get(url, headers={"If-None-Match": about.headers["etag"]}).status_code == 304


@pytest.mark.parametrize(
    ("wanted", "part"),
    [("bytes=0-9", slice(0, 10)), ("bytes=10-", slice(10, None)), ("bytes=-5", slice(-5, None))],
)
def test_a_part_of_a_video_can_be_requested(url: str, wanted: str, part: slice) -> None:
    whole, answer = plain.get(url).content, plain.get(url, headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (206, whole[part])
    assert answer.headers["content-range"].endswith(f"/{len(whole)}")
    assert plain.get(url, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416


@pytest.mark.parametrize("status", [403, 404])
def test_a_link_is_refused(client: Client, url: str, status: int) -> None:
    client.simulator.fault("link_expired", status=status, count=1)
    assert [plain.get(url).status_code, plain.get(url).status_code] == [status, 200]


@pytest.mark.parametrize(
    ("manner", "start"),
    [("html", b"<!DOCTYPE"), ("json", b'{"code"'), ("empty", b""), ("not_a_video", b"\x89PNG")],
)
def test_a_link_gives_something_else(client: Client, url: str, manner: str, start: bytes) -> None:
    client.simulator.fault("wrong_content", **{"as": manner})
    answer = plain.get(url)
    assert answer.status_code == 200
    assert answer.content.startswith(start)
    assert bool(answer.content) == bool(start)


def test_a_download_breaks_off(client: Client, url: str) -> None:
    client.simulator.fault("wrong_content", **{"as": "truncated"})
    with pytest.raises(httpx.RemoteProtocolError):
        plain.get(url)


def test_a_link_redirects_to_a_private_address(client: Client, url: str) -> None:
    client.simulator.fault("redirect")
    answer = plain.get(url)
    assert (answer.status_code, answer.headers["location"]) == (
        302,
        "http://169.254.169.254/latest/meta-data/",
    )


def test_a_link_is_huge(client: Client, url: str) -> None:
    client.simulator.fault("huge", bytes=10_000_000_000)
    with plain.stream("GET", url) as answer:
        assert answer.headers["content-length"] == "10000000000"
        assert next(answer.iter_raw())[4:8] == b"ftyp"


def test_a_link_drips(client: Client, url: str) -> None:
    client.simulator.fault("drip", bytes_per_second=100)
    with plain.stream("GET", url) as answer:
        assert len(next(answer.iter_raw())) < 1000


def test_there_is_nothing_where_nothing_was_put(strict: Client) -> None:
    answer = plain.get(strict.simulator.addresses["results"] + "/k/nothing.mp4")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/xml")


def test_a_fault_for_one_job_leaves_the_others_links_alone(client: Client) -> None:
    client.simulator.fault("link_expired", match={"prompt": "cursed"})
    urls: dict[str, Any] = {}
    for prompt in ("cursed", "blessed"):
        job = client.kie(prompt=prompt).json()["data"]["taskId"]
        record = until(
            lambda job=job: (found := client.kie_record(job))["state"] == "success" and found
        )
        urls[prompt] = json.loads(record["resultJson"])["resultUrls"][0]
    assert {prompt: plain.get(link).status_code for prompt, link in urls.items()} == {
        "cursed": 403,
        "blessed": 200,
    }
