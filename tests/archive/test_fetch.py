"""The door is `fetch.open_url` and `fetch.read`; behind it stand resolvers and redirects that mean
us harm."""

from __future__ import annotations

import itertools

import pytest

from functions.download import download
from functions.download.addresses import why_refused
from tests.archive.asking import get, give, refused, send_on
from tests.archive.internet import Internet, Visit

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "52.95.110.1", "93.184.216.34", "100.63.255.255", "100.128.0.0",
    "11.0.0.1", "126.255.255.255",
    "128.0.0.1", "169.253.255.255", "169.255.0.1", "172.15.255.255", "172.32.0.1", "192.0.1.1",
    "192.167.255.255",
    "192.169.0.1", "198.17.255.255", "198.20.0.1", "203.0.112.1", "223.255.255.254",
    "168.63.129.17",
    "2600:1f18::1", "2a00:1450:4001:81b::200e", "2001:4860:4860::8888", "2606:4700:4700::1111",
    "2400:cb00::1",
]  # fmt: skip

HOUSE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200",
    "100.127.255.255", "127.0.0.1",
    "127.0.0.53", "127.255.255.255", "168.63.129.16", "169.254.0.1", "169.254.169.254",
    "169.254.169.253",
    "169.254.170.2", "169.254.170.23", "169.254.79.129", "172.16.0.1", "172.31.255.255",
    "192.0.0.1", "192.0.0.192",
    "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.0.1", "192.168.255.255",
    "192.175.48.1",
    "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::169.254.169.254", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1", "100::1",
    "2001::1", "2001:0:a9fe:a9fe::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1", "2620:4f:8000::1", "3ffe::1", "3fff::1", "5f00::1", "fc00::1",
    "fd00:ec2::254",
    "fd00:ec2::23", "fd20:ce::254", "fe80::1", "fe80::a9fe:a9fe", "fec0::1", "ff02::1", "4000::1",
    "2600:1f18::5efe:a9fe:a9fe", "2600:1f18::200:5efe:a00:1",
]  # fmt: skip


pytestmark = pytest.mark.usefixtures("flat_memory")


def test_a_file_comes_whole_and_the_source_sees_only_our_own_headers(internet: Internet) -> None:
    site = internet.site("files.example.com", give(b"a video" * 1000))
    assert get() == b"a video" * 1000
    assert internet.tried == [("93.184.216.34", 443)]
    assert site.visits[0].path == "/out/281e.mp4?X-Amz-Signature=hush"
    assert site.visits[0].headers == {
        "host": "files.example.com",
        "user-agent": "talkdrop/1",
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "close",
    }


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_open_to_us(internet: Internet, address: str) -> None:
    internet.site("files.example.com", give(b"hello"), address=address)
    assert get() == b"hello"
    assert internet.tried == [(address, 443)]


@pytest.mark.parametrize("address", HOUSE)
def test_what_is_not_public_is_never_connected_to(internet: Internet, address: str) -> None:
    internet.site("files.example.com", give(b"secret"), address=address)
    refused()
    assert internet.tried == []


def test_an_address_that_cannot_be_read_is_refused() -> None:
    assert why_refused("fe80::1%eth0")
    assert why_refused("2600:1f18::1%eth0")
    assert why_refused("the moon")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "0",
        "169.254.169.254", "2852039166",
        "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "[::1]", "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[fd00:ec2::254]", "①②⑦.⓪.⓪.①", "127。0。0。1",
    ],
)  # fmt: skip
def test_a_number_in_disguise_is_seen_through(internet: Internet, host: str) -> None:
    refused(f"https://{host}/latest/meta-data/?hush")
    assert internet.tried == []


@pytest.mark.parametrize(
    "url",
    [
        "http://files.example.com/a", "ftp://files.example.com/a", "file:///proc/self/environ", "gopher://127.0.0.1:9001/",
        "https://files.example.com:9001/a", "https://files.example.com:80/a", "https://user@files.example.com/a",
        "https://user:word@files.example.com/a", "https://files.example.com@127.0.0.1/", "https://127.0.0.1#@files.example.com/",
        "https://files.example.com\\@127.0.0.1/", "https:\\\\files.example.com/a",
        "https://files.example.com/a b",
        "https://files.example.com/a\r\nX-Evil: 1", "https://files.example.com/\x00", "https:///a",
        "https://", "", "a",
        "//files.example.com/a", "https://files.example.com:443443/",
        "https://files.example.com:-1/", "https://[::1", "https://a..b/",
        "https://[fe80::1%25eth0]/", "https://" + "a" * 64 + ".com/",
        "https://files.example.com/" + "a" * 9000,
        "data:video/mp4,hello", "https://%31%32%37.0.0.1/", "HTTPS+unix://files.example.com/",
        "https://files.example.com/\ud800.mp4", "https://files.example.com/a?\udfff",
    ],
)  # fmt: skip
def test_a_url_that_is_not_plain_https_is_refused(internet: Internet, url: str) -> None:
    internet.site("files.example.com", give(b"hello"))
    refused(url)
    assert internet.tried == []


@pytest.mark.parametrize("url", ["https://FILES.example.com/a", "https://files.example.com:443/a", "https://files.example.com./a",
                                 "https://files.example.com",
                                 "https://files.example.com/ü/😀.mp4?x=ü#part"])  # fmt: skip
def test_plain_https_is_taken_however_it_is_written(internet: Internet, url: str) -> None:
    internet.site("files.example.com", give(b"hello"))
    assert get(url) == b"hello"


@pytest.mark.parametrize(
    ("host", "name"),
    [("stra\u00dfe.example.com", "xn--strae-oqa.example.com"),
    ("B\u00dcCHER.example.com", "xn--bcher-kva.example.com")],
)  # fmt: skip
def test_an_internationalized_name_is_resolved_as_idna_2008_says(
    internet: Internet, host: str, name: str
) -> None:
    internet.site(name, give(b"hello"))
    assert get(f"https://{host}/a") == b"hello"


def test_one_private_answer_among_public_ones_refuses_them_all(internet: Internet) -> None:
    internet.site("files.example.com", give(b"hello"))
    for mixed in itertools.permutations(["93.184.216.34", "10.0.0.7", "2606:4700::1"]):
        internet.names["files.example.com"] = list(mixed)
        refused()
    assert internet.tried == []


def test_a_resolver_that_changes_its_mind_changes_nothing(internet: Internet) -> None:
    site = internet.site("files.example.com", give(b"hello"))
    answers = itertools.cycle([["93.184.216.34"], ["169.254.169.254"]])
    internet.names["files.example.com"] = lambda: next(answers)
    assert get() == b"hello"
    refused()
    assert get() == b"hello"
    assert set(internet.tried) == {("93.184.216.34", 443)}
    assert len(site.visits) == 2


def test_the_next_address_is_tried_when_the_first_does_not_answer(internet: Internet) -> None:
    internet.site("files.example.com", give(b"hello"), address="8.8.4.4")
    internet.names["files.example.com"] = ["2606:4700::1", "1.1.1.1", "8.8.4.4"]
    assert get() == b"hello"


def test_proxies_of_the_environment_are_not_used(
    internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9001")
    internet.site("files.example.com", give(b"hello"))
    assert get() == b"hello"
    assert internet.tried == [("93.184.216.34", 443)]


TARGETS = [
    "http://169.254.169.254/latest/meta-data/", "https://169.254.169.254/", "https://127.0.0.1:9001/2018-06-01/runtime/",
    "http://files.example.com/out", "https://user:word@files.example.com/",
    "file:///proc/self/environ", "//127.0.0.1/",
    "https://house.example.com/", "https://[::ffff:169.254.169.254]/", "gopher://127.0.0.1/", "http://127.0.0.1:9001/",
    "https:\\\\127.0.0.1/", "https://2852039166/", "https://[::1", "//[x]/", "https://[fe80::1%eth0]/",
]  # fmt: skip


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
@pytest.mark.parametrize("target", TARGETS)
def test_a_redirect_opens_no_door_that_was_shut(
    internet: Internet, status: str, target: str
) -> None:
    internet.site("files.example.com", send_on(status, target))
    internet.names["house.example.com"] = ["10.0.0.7"]
    with pytest.raises(download.FetchError):
        get()
    assert set(internet.tried) == {("93.184.216.34", 443)}


@pytest.mark.parametrize("status",
    ["300 Choices", "304 Not Modified", "305 Use Proxy", "306 Unused", "204 Nothing",
                                    "401 No", "403 No", "404 No", "410 Gone", "416 No",
                                    "451 No"])  # fmt: skip
def test_other_answers_mean_that_the_link_is_dead(internet: Internet, status: str) -> None:
    internet.site("files.example.com", send_on(status, "https://169.254.169.254/"))
    refused(kind=download.LinkDead)
    assert set(internet.tried) == {("93.184.216.34", 443)}


@pytest.mark.parametrize(
    "status", ["408 Late", "425 Early", "429 Busy", "500 Broken", "502 Bad", "503 Busy", "504 Late"]
)
def test_a_source_in_trouble_is_tried_again_later(internet: Internet, status: str) -> None:
    internet.site("files.example.com", send_on(status, ""))
    refused(kind=download.SourceUnreachable)


def test_three_redirects_are_followed_and_a_fourth_is_not(internet: Internet) -> None:
    def hop(visit: Visit) -> None:
        number = int(visit.path[1:] or 0)
        give(b"there")(visit) if number == 9 else send_on("302 Found", f"/{number + 1}")(visit)

    internet.site("files.example.com", hop)
    assert get("https://files.example.com/6") == b"there"
    refused("https://files.example.com/5")
    refused("https://files.example.com/1")


def test_a_redirect_may_lead_to_another_public_site(internet: Internet) -> None:
    internet.site("files.example.com", send_on("302 Found", "//cdn.example.net/fil m.mp4?sig=hush"))
    site = internet.site("cdn.example.net", give(b"hello"), address="1.2.3.4")
    assert get() == b"hello"
    assert site.visits[0].path == "/fil%20m.mp4?sig=hush"


def test_a_certificate_must_be_the_names_own(internet: Internet) -> None:
    internet.site("other.example.com", give(b"hello"))
    internet.names["files.example.com"] = ["93.184.216.34"]
    refused(kind=download.SourceUnreachable)


def test_a_server_that_does_not_speak_tls_is_not_spoken_to(internet: Internet) -> None:
    internet.site("files.example.com", give(b"hello"), tls=False)
    refused(kind=download.SourceUnreachable, seconds=2)


def test_only_the_trusted_host_may_be_private_and_plain(internet: Internet) -> None:
    ours, other = internet.plain(give(b"rendered")), internet.plain(give(b"secret"))
    trusted = f"127.0.0.1:{ours.port}"
    assert get(f"http://{trusted}/v.mp4", trusted_host=trusted) == b"rendered"
    refused(f"http://127.0.0.1:{other.port}/", trusted_host=trusted)
    refused(f"https://{trusted}/", trusted_host=trusted)
    refused(f"http://user@{trusted}/", trusted_host=trusted)
    refused(f"http://localhost:{ours.port}/", trusted_host=trusted)
    refused(f"http://{trusted}/v.mp4")
    assert other.visits == []


def test_the_trusted_host_may_send_us_on_but_no_stranger_may_send_us_to_it(
    internet: Internet,
) -> None:
    ours = internet.plain(lambda visit: send_on("302 Found", "https://files.example.com/")(visit))
    trusted = f"127.0.0.1:{ours.port}"
    internet.site("files.example.com", give(b"hello"))
    assert get(f"http://{trusted}/", trusted_host=trusted) == b"hello"
    internet.site("evil.example.com", send_on("302 Found", f"http://{trusted}/"), address="1.2.3.4")
    refused("https://evil.example.com/", trusted_host=trusted)
    assert len(ours.visits) == 1
