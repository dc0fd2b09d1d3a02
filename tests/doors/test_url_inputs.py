"""URLs that can never be fetched are refused at the API, before anything is connected."""

from __future__ import annotations

import itertools

import pytest

from tests.doors.conftest import PORTRAIT, Workshop
from tests.doors.test_api import call

IMPOSSIBLE = [
    "https://", "https:///a.mp3", "https://?a", "https://#a", "https://a..b/x.mp3", "https://.com/",
    "https://-/",
    "https://user@files.example.com/a.mp3", "https://files.example.com:8443/a.mp3",
    "https://files.example.com:/x y",
    "http://files.example.com/a.mp3", "ftp://files.example.com/a.mp3", "s3://bucket/a.mp3", "file:///etc/passwd",
    "https://[::1", "https://[fe80::1%25eth0]/a", "https://files.example.com\\@evil.example/", "HTTPS+unix://x/a",
    "https://" + "a" * 64 + ".com/a.mp3", "data://a", "://",
    "https://files.example.com:99999/a.mp3", "https://\u202efiles.example.com/", "https://%31%32%37.0.0.1/",
]  # fmt: skip
ODD = [
    f"https://{host}{rest}"
    for host, rest in itertools.product(
        [" ", "\t", "*", "!", "'", "(", "{}", "^", "|", "<a>", "\x7f", "a b", "a,b", "a;b",
        "\u2028"],
        ["", "/", "/a.mp3", "?x=1", ".com/a.mp3", "#part"],
    )
]  # fmt: skip


@pytest.mark.parametrize("field", ["portrait", "audio"])
def test_an_impossible_url_is_refused_in_words_and_makes_no_task(
    shop: Workshop, field: str
) -> None:
    shop.drop("in/face.png", PORTRAIT)
    for url in IMPOSSIBLE + ODD:
        body = {"portrait": "in/face.png", "audio": "https://files.example.com/a.mp3", field: url}
        status, problem, kind = call("POST", "/tasks", body)
        assert (status, kind) == (422, "application/problem+json"), url
        assert [error["field"] for error in problem["errors"]] == [field], url
        assert problem["detail"].endswith("."), url
    assert shop.all_tasks() == []
