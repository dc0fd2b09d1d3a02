"""What every provider keeps, tested by being listed in providers.NAMES and by its captured answers
beside this file."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from functions import providers
from functions.providers import base
from functions.providers.base import JobStatus
from tests.providers.conftest import (
    CALLBACK,
    FACE,
    HERE,
    KEY,
    Wire,
    answer,
    captured,
    client,
    replay,
    request,
)


def cases(call: str) -> list[Any]:
    return [
        pytest.param(name, case, id=f"{name}: {case['name']}")
        for name in providers.NAMES
        for case in captured(name, call)
    ]


every_provider = pytest.mark.parametrize("name", providers.NAMES)
CAN_BREAK = [base.RejectedLater, base.Rejected, base.AccountRejected, base.Ambiguous]


@every_provider
def test_captured_answers_say_where_and_when_they_were_captured(name: str) -> None:
    files = sorted((HERE / name).glob("*.json"))
    assert files, f"tests/providers/{name}/ has no captured answers"
    for file in files:
        page = json.loads(file.read_text())
        assert page["source"]
        assert page["date"]


@every_provider
def test_captured_answers_reach_every_outcome_and_every_status_word(name: str) -> None:
    refused = {case["expect"].get("raises") for case in captured(name, "submit")}
    assert refused >= {kind.__name__ for kind in CAN_BREAK}
    assert {case["expect"].get("raises") for case in captured(name, "fetch")} >= {
        "JobNotFound",
        "Unavailable",
        "AccountRejected",
    }
    answers = json.dumps([case["answer"].get("json") for case in captured(name, "fetch")])
    for word in providers.get(name).states:
        assert f'"{word}"' in answers or (word.isdigit() and f": {word}" in answers), (
            f"no captured answer says {word!r}"
        )


@pytest.mark.parametrize(("name", "case"), cases("submit"))
def test_a_submit_is_one_post_and_ends_as_the_answer_says(name: str, case: dict[str, Any]) -> None:
    wire = Wire(replay(case))
    expect = case["expect"]
    if "raises" in expect:
        with pytest.raises(base.ProviderError) as caught:
            client(name, wire).submit(request(name))
        assert type(caught.value).__name__ == expect["raises"], str(caught.value)
        assert caught.value.code == expect.get("code", caught.value.code)
        assert caught.value.job_id == expect.get("job_id")
        assert name in str(caught.value)
    else:
        job = client(name, wire).submit(request(name))
        assert (job.job_id, job.status) == (expect["job_id"], JobStatus.RUNNING)
    assert [one.method for one in wire.requests] == ["POST"]


@pytest.mark.parametrize(("name", "case"), cases("fetch"))
def test_a_query_ends_as_the_answer_says(name: str, case: dict[str, Any]) -> None:
    wire = Wire(replay(case))
    expect = dict(case["expect"])
    if "raises" in expect:
        with pytest.raises(base.ProviderError) as caught:
            client(name, wire).fetch(case["job_id"])
        assert type(caught.value).__name__ == expect["raises"], str(caught.value)
        assert caught.value.code == expect.get("code", caught.value.code)
    else:
        job = client(name, wire).fetch(case["job_id"])
        assert job.job_id == case["job_id"]
        if expect.get("charge_usd"):
            expect["charge_usd"] = Decimal(expect["charge_usd"])
        assert {field: getattr(job, field) for field in expect} == expect
    assert {one.method for one in wire.requests} == {"GET"}


@pytest.mark.parametrize(
    ("name", "case"), [one for one in cases("fetch") if "word_at" in one.values[1]]
)
@pytest.mark.parametrize(
    "word", ["zombie", "SUCCEED ", "Success", "完成", 7, True, ["success"], {"state": "fail"}]
)
def test_an_undocumented_status_word_means_running_and_a_warning(
    name: str, case: dict[str, Any], word: Any
) -> None:
    body = json.loads(json.dumps(case["answer"]["json"]))
    *way, last = case["word_at"]
    place = body
    for step in way:
        place = place[step]
    place[last] = word
    job = client(name, Wire(answer(200, body))).fetch(case["job_id"])
    assert job.status is JobStatus.RUNNING
    assert job.unknown_word
    assert job.video_url is None


@pytest.mark.parametrize(("name", "case"), cases("callback"))
def test_a_callback_hints_and_its_signature_is_checked(name: str, case: dict[str, Any]) -> None:
    provider, body = providers.get(name), case["body"].encode()
    hint = provider.read_callback(case["headers"], body)
    assert {"job_id": hint.job_id, "final": hint.final} == {"job_id": None, "final": None} | case[
        "expect"
    ]
    if "genuine" in case:
        keys, now = tuple(case["keys"]), case["now"]
        assert provider.callback_is_genuine(case["headers"], body, keys, now) is case["genuine"]


@every_provider
@settings(max_examples=60, deadline=None)
@given(
    body=some.binary(max_size=200)
    | some.recursive(
        some.none() | some.booleans() | some.integers() | some.text(max_size=5),
        lambda inner: (
            some.lists(inner, max_size=3)
            | some.dictionaries(
                some.sampled_from(
                    ["data", "taskId", "task_id", "state", "task_status", "status", "id", "error"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
    stamp=some.sampled_from(["", "1790000000", "x", "١٧٩٠٠٠٠٠٠٠"]),
)
def test_no_callback_body_ever_breaks_the_reader(name: str, body: bytes, stamp: str) -> None:
    provider = providers.get(name)
    headers = {
        "webhook-timestamp": stamp,
        "x-webhook-timestamp": stamp,
        "webhook-signature": "é",
        "x": "y",
    }
    hint = provider.read_callback(headers, body)
    assert hint.job_id is None or base.opaque_id(hint.job_id) == hint.job_id
    if provider.signs_callbacks:
        assert provider.callback_is_genuine(headers, body, ("whsec_a2V5",), 1_790_000_000) is False


@every_provider
@pytest.mark.parametrize(
    ("how", "reply"),
    [
        ("cut before an answer", b""),
        ("reset", None),
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-Le"),
        (
            "half a body",
            b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"code": 200, "data": {"ta',
        ),
        (
            "half a body, complete for HTTP",
            b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"code": 20',
        ),
        ("an empty body", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (
            "a page",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html><title>Log in</title></html>",
        ),
        ("a list", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"),
        ("a bad gateway", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
        ("not HTTP", b"SSH-2.0-OpenSSH\r\n\r\n"),
        (
            "gzip that is none",
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        ),
        ("deep nesting", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"[" * 100_000),
    ],
)
def test_a_broken_answer_is_ambiguous_to_the_payer(
    name: str, how: str, reply: bytes | None, misbehaving: Any
) -> None:
    with base.open_client(timeout_seconds=5) as client:
        provider = providers.get(name)({"api_key": KEY, "base_url": misbehaving(reply)}, client)
        with pytest.raises(base.Ambiguous):
            provider.submit(request(name))


@every_provider
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *[(status, base.NotSent) for status in (521, 523, 525, 526, 530)],
        *[(status, base.Ambiguous) for status in (502, 504, 520, 522, 524, 527)],
    ],
)
def test_what_cloudflare_could_not_hand_on_was_never_sent_and_the_rest_is_doubt(
    name: str, status: int, kind: type[base.ProviderError]
) -> None:
    page = answer(status, text=f"<html><title>api | {status}: error</title></html>")
    with pytest.raises(kind) as caught:
        client(name, Wire(page)).submit(request(name))
    assert type(caught.value) is kind


@every_provider
@pytest.mark.parametrize("chunked", [True, False])
def test_gzip_and_chunked_answers_are_read(name: str, chunked: bool, misbehaving: Any) -> None:
    accepted = next(case for case in captured(name, "submit") if "raises" not in case["expect"])
    body = gzip.compress(json.dumps(accepted["answer"]["json"]).encode())
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
    if chunked:
        pieces = b"".join(b"%x\r\n%b\r\n" % (1, body[at : at + 1]) for at in range(len(body)))
        reply = head + b"Transfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
    else:
        reply = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with base.open_client(timeout_seconds=5) as http:
        provider = providers.get(name)({"api_key": KEY, "base_url": misbehaving(reply)}, http)
        assert provider.submit(request(name)).job_id == accepted["expect"]["job_id"]


@every_provider
def test_of_an_endless_answer_no_more_than_a_mebibyte_is_read(name: str) -> None:
    accepted = next(case for case in captured(name, "submit") if "raises" not in case["expect"])
    body = json.dumps(accepted["answer"]["json"])
    with pytest.raises(base.Ambiguous):
        client(
            name, Wire(answer(200, text=f'{{"padding": "{"x" * (1 << 20)}", {body[1:]}'))
        ).submit(request(name))


@every_provider
@pytest.mark.parametrize("reply", [b"", None, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
def test_a_broken_answer_to_a_query_is_polled_again_later(
    name: str, reply: bytes | None, misbehaving: Any
) -> None:
    with base.open_client(timeout_seconds=1) as client:
        provider = providers.get(name)({"api_key": KEY, "base_url": misbehaving(reply)}, client)
        with pytest.raises(base.Unavailable):
            provider.fetch("880000000000000001")


@every_provider
def test_an_answer_that_never_comes_is_ambiguous(name: str, misbehaving: Any) -> None:
    over = threading.Event()
    with base.open_client(timeout_seconds=0.3) as client:
        provider = providers.get(name)(
            {"api_key": KEY, "base_url": misbehaving(b"", silent_until=over)}, client
        )
        with pytest.raises(base.Ambiguous):
            provider.submit(request(name))
    over.set()


@every_provider
def test_what_never_left_the_machine_is_not_sent(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for address in (f"http://127.0.0.1:{port}", "gopher://x", "http://[", "https://a b"):
        with base.open_client() as client:
            provider = providers.get(name)({"api_key": KEY, "base_url": address}, client)
            with pytest.raises(base.NotSent):
                provider.submit(request(name))


@every_provider
def test_a_redirect_is_not_followed_and_blames_the_address(name: str) -> None:
    wire = Wire(answer(307, text="", location="https://elsewhere.example.test/"))
    with pytest.raises(base.AccountRejected, match="base_url"):
        client(name, wire).submit(request(name))
    assert len(wire.requests) == 1


@every_provider
@pytest.mark.parametrize("key", ["", "  ", "sk-\nX-Evil: 1", "ключ", None])
def test_without_a_usable_key_nothing_is_sent_and_the_secret_is_named(
    name: str, key: str | None
) -> None:
    wire = Wire(answer(200, {}))
    with pytest.raises(base.AccountRejected, match=f"secret of provider {name}"):
        client(name, wire, api_key=key).submit(request(name))
    assert not wire.requests


def talkative(value: Any) -> Any:
    """The same answer, with a provider that quotes the whole request in every text."""
    if isinstance(value, dict):
        return {
            name: talkative(one) if name not in ("code", "type") else one
            for name, one in value.items()
        }
    jwt = "eyJhbGciOi.eyJpc3MiOi.c2ln-bmF0"
    quoted = f" key {KEY} Bearer {KEY} url {FACE} callback {CALLBACK} jwt {jwt}"
    return value + quoted if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("name", "case"),
    [one for one in cases("submit") + cases("fetch") if "raises" in one.values[1]["expect"]],
)
def test_no_error_repeats_a_key_or_a_signed_url(name: str, case: dict[str, Any]) -> None:
    given = {**case["answer"], "json": talkative(case["answer"].get("json"))}
    given["text"] = None if "text" not in given else talkative(given["text"])
    wire = Wire(answer(given["status"], given.get("json"), given.get("text")))
    provider = client(name, wire)
    with pytest.raises(base.ProviderError) as caught:
        provider.submit(request(name)) if case["call"] == "submit" else provider.fetch(
            case["job_id"]
        )
    for shown in (str(caught.value), repr(caught.value)):
        for secret in (KEY, "canary-signature", "canary-mac", "c2ln-bmF0"):
            assert secret not in shown + caught.value.code
        assert len(shown) < 800


@every_provider
def test_no_job_repeats_a_signed_url_in_its_reason_or_shows_one_in_its_repr(name: str) -> None:
    failed = next(
        case for case in captured(name, "fetch") if case["expect"].get("status") == "failed"
    )
    body = json.dumps(failed["answer"]["json"]).replace(
        failed["expect"]["error"], f"could not fetch {FACE}"
    )
    job = client(name, Wire(answer(200, text=body))).fetch(failed["job_id"])
    assert "could not fetch https://inbox.example.test/face.png" in job.error
    assert "canary" not in job.error + repr(job) + repr(request(name))


@every_provider
@pytest.mark.parametrize("encode", [lambda text: text, quote, lambda text: quote(text, safe="")])
def test_no_error_repeats_what_was_sent_in_whatever_spelling(name: str, encode: Any) -> None:
    key, signature = "sk/with+odd=signs/0123456789", "c2lnbmF0dXJl/K0+bWFj="
    face = f"https://inbox.example.test/f.png?X-Amz-Signature={quote(signature, safe='')}"
    texts = [key, signature, "canary-mac", CALLBACK, face]
    quoted = " ".join(encode(text) for text in texts)
    refused = answer(400, {"code": 400, "msg": quoted, "message": quoted})
    portrait = base.Media("face.png", "image/png", url=face)
    with pytest.raises(base.ProviderError) as caught:
        client(name, Wire(refused), api_key=key).submit(request(name, portrait=portrait))
    for secret in (key, signature, "canary-mac"):
        assert secret not in str(caught.value)
        assert quote(secret, safe="") not in str(caught.value)


@every_provider
def test_no_job_repeats_the_key_in_its_reason(name: str) -> None:
    failed = next(
        case for case in captured(name, "fetch") if case["expect"].get("status") == "failed"
    )
    reason, shown = failed["expect"]["error"], f"{KEY} and {quote(KEY)}"
    body = json.dumps(failed["answer"]["json"]).replace(reason, shown)
    assert KEY not in client(name, Wire(answer(200, text=body))).fetch(failed["job_id"]).error


@every_provider
def test_the_account_s_fingerprint_changes_with_key_and_host_and_shows_neither(name: str) -> None:
    wire = Wire(answer(200, {}))
    first, again = client(name, wire), client(name, wire)
    assert first.account_id == again.account_id
    assert KEY not in first.account_id
    others = [
        client(name, wire, api_key="sk-another-key"),
        client(name, wire, base_url="https://elsewhere.example.test"),
    ]
    assert first.account_id not in {other.account_id for other in others}


@every_provider
def test_a_new_key_of_an_account_that_is_named_is_the_same_account(name: str) -> None:
    wire = Wire(answer(200, {}))
    old, new = (client(name, wire, api_key=key, account="main") for key in ("sk-one", "sk-two"))
    assert old.account_id == new.account_id


@every_provider
def test_a_throttled_submit_says_when_to_come_again(name: str) -> None:
    throttled = next(
        case for case in captured(name, "submit") if case["expect"].get("raises") == "RejectedLater"
    )
    reply = replay(throttled)
    reply.headers["Retry-After"] = "77"
    with pytest.raises(base.RejectedLater) as caught:
        client(name, Wire(reply)).submit(request(name))
    assert caught.value.retry_seconds == 77


@every_provider
def test_a_model_that_is_not_there_is_refused_before_anything_is_sent(name: str) -> None:
    wire = Wire(answer(200, {}))
    with pytest.raises(base.Rejected, match="has no model 'nobody/knows'"):
        client(name, wire).submit(request(name, model="nobody/knows"))
    assert not wire.requests


@every_provider
def test_a_prompt_that_is_no_text_is_refused_before_anything_is_sent(name: str) -> None:
    wire = Wire(answer(200, {}))
    with pytest.raises(base.Rejected):
        client(name, wire).submit(request(name, prompt="half a letter \ud83d"))
    assert not wire.requests


@every_provider
@pytest.mark.parametrize("odd", [float("nan"), Decimal(1), "half a letter \ud83d"])
def test_what_is_no_json_is_refused_before_anything_is_sent(name: str, odd: Any) -> None:
    wire = Wire(answer(200, {}))
    with pytest.raises(base.Rejected, match="the request cannot be written as JSON: ") as caught:
        client(name, wire).submit(request(name, callback_url=odd))
    assert (caught.value.code, wire.requests) == ("NOT_JSON", [])


@pytest.mark.parametrize(
    ("name", "other"),
    [
        (name, other)
        for name in providers.NAMES
        for other in providers.get(name).media_deliveries
        if other not in base.BY_LINK
    ],
)
def test_bytes_are_sent_where_urls_do_not_reach(name: str, other: base.Delivery) -> None:
    media = {
        "portrait": base.Media("face.png", "image/png", content=b"\x89PNG face", delivery=other),
        "voice": base.Media("voice.mp3", "audio/mpeg", content=b"ID3 voice", delivery=other),
    }
    accepted = next(case for case in captured(name, "submit") if "raises" not in case["expect"])
    uploaded = answer(200, {"code": 200, "data": {"downloadUrl": "https://files.example.test/1"}})
    wire = (
        Wire(uploaded, uploaded, replay(accepted)) if "upload" in other else Wire(replay(accepted))
    )
    client(name, wire).submit(request(name, **media))
    sent = b"".join(one.content for one in wire.requests)
    assert b"ID3 voice" in sent if other == "upload" else b"SUQzIHZvaWNl" in sent


@every_provider
def test_what_a_provider_declares_is_consistent(name: str) -> None:
    provider = providers.get(name)
    assert provider.name == name
    assert provider.default_model in provider.models
    assert provider.rate_limit.submits > 0
    assert provider.retention_days > 0
    for model_id, model in provider.models.items():
        assert model.id == model_id
        assert model.usd_per_second > 0
        assert 0 < model.first_seconds <= model.usual_seconds
        assert not model.price_by or set(model.settings[model.price_by].choices) == set(
            model.prices
        )
        assert model.price(1.01, {}) == 2 * model.usd_per_second


def test_an_unknown_provider_is_answered_with_those_there_are() -> None:
    assert {"comet", "kie", "kling", "relay"} <= set(providers.NAMES)
    with pytest.raises(ValueError, match=f"there are: {', '.join(providers.NAMES)}"):
        providers.get("openai")


def test_the_client_trusts_no_proxy_and_follows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with base.open_client() as client:
        assert not client.follow_redirects
        assert not client.trust_env
        assert all(
            isinstance(one, httpx.HTTPTransport) or one is None for one in client._mounts.values()
        )
