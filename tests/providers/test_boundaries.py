"""Each condition of the providers' modules, on either side of it: what one changed word, number or
field of an answer means."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from functions import providers
from functions.providers import base, kling
from functions.providers.base import JobStatus
from tests.providers.conftest import FACE, Wire, answer, client, request

JOB = "9f2c6b1e0d3a4c5f8e7b6a5948372615"
LINK = "https://results.example.test/video.mp4"


def kie(code: Any, data: Any = None, **more: Any) -> httpx.Response:
    return answer(200, {"code": code, "msg": "in their words", "data": data, **more})


def raised(name: str, wire: Wire, call: str, *arguments: Any, **credentials: Any) -> Any:
    with pytest.raises(base.ProviderError) as caught:
        getattr(client(name, wire, **credentials), call)(*arguments)
    return caught.value


# kie: the create.


@pytest.mark.parametrize(
    ("reply", "kind", "job_id"),
    [
        (kie(201, {"taskId": JOB}), base.Ambiguous, JOB),
        (kie(199, {"taskId": JOB}), base.Ambiguous, JOB),
        (kie(200, {"taskId": ""}), base.Ambiguous, None),
        (kie(200), base.Ambiguous, None),
        (kie(422, {"recordId": 1}), base.Ambiguous, None),
        (kie(422), base.Rejected, None),
        (kie(456), base.Ambiguous, None),
        (answer(455, text="maintenance"), base.RejectedLater, None),
        (answer(456, text="what is that"), base.Ambiguous, None),
        (answer(429, text="slow down"), base.RejectedLater, None),
        (answer(401, text="no"), base.AccountRejected, None),
        (answer(502, text="bad gateway"), base.Ambiguous, None),
    ],
)
def test_a_create_of_kie_ends_by_its_code_its_status_and_its_data(
    reply: httpx.Response, kind: type[base.ProviderError], job_id: str | None
) -> None:
    error = raised("kie", Wire(reply), "submit", request("kie"))
    assert type(error) is kind
    assert error.job_id == job_id


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        (kie(455), 300),
        (answer(455, text="maintenance"), 300),
        (answer(455, {"code": 455, "msg": "m"}), 300),
        (answer(200, {"code": 455, "msg": "m"}, Retry_After="900"), 900),
        (answer(200, {"code": 455, "msg": "m"}, Retry_After="20"), 300),
        (answer(200, {"code": 429, "msg": "m"}, Retry_After="20"), 20),
        (answer(429, {"code": 429, "msg": "m"}, Retry_After="9999"), 3600),
        (answer(429, {"code": 429, "msg": "m"}, Retry_After="Tue"), 30),
        (kie(429), 30),
    ],
)
def test_when_kie_is_tried_again(reply: httpx.Response, seconds: int) -> None:
    error = raised("kie", Wire(reply), "submit", request("kie"))
    assert error.retry_seconds == (
        seconds if seconds != 30 else base.RejectedLater("x").retry_seconds
    )


# kie: the query.


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (kie(200), base.JobNotFound),
        (kie(404), base.JobNotFound),
        (kie(422), base.JobNotFound),
        (kie(402), base.Unavailable),
        (kie(400), base.Unavailable),
        (kie(455), base.Unavailable),
        (kie(401), base.AccountRejected),
        (answer(401, text="no"), base.AccountRejected),
        (answer(402, text="no"), base.Unavailable),
        (answer(404, text="no"), base.Unavailable),
        (kie(200, {"taskId": "another", "state": "success"}), base.Unavailable),
    ],
)
def test_a_query_of_kie_fails_as_what_it_means(
    reply: httpx.Response, kind: type[base.ProviderError]
) -> None:
    assert type(raised("kie", Wire(reply), "fetch", JOB)) is kind


@pytest.mark.parametrize(
    ("reply", "status", "word"),
    [
        (kie(408), JobStatus.FAILED, ""),
        (kie(501), JobStatus.FAILED, ""),
        (kie(501, {"taskId": JOB, "state": "generating"}), JobStatus.RUNNING, ""),
        (kie(408, {"state": "success"}), JobStatus.SUCCEEDED, ""),
        (kie(200, {"state": "waiting"}), JobStatus.RUNNING, ""),
        (kie(200, {"taskId": JOB}), JobStatus.RUNNING, "None"),
        (kie(200, {"state": "x" * 60}), JobStatus.RUNNING, "x" * 40),
    ],
)
def test_a_record_of_kie_is_read_by_its_state(
    reply: httpx.Response, status: JobStatus, word: str
) -> None:
    job = client("kie", Wire(reply)).fetch(JOB)
    assert (job.job_id, job.status, job.unknown_word) == (JOB, status, word)
    if reply.json()["code"] in {408, 501} and status is JobStatus.FAILED:
        assert job.error_code == str(reply.json()["code"])
        assert job.error == "in their words"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            {"state": "success", "resultJson": {"resultUrls": [LINK]}, "failCode": "7"},
            (LINK, "", "", None),
        ),
        ({"state": "success", "resultJson": {"resultUrls": LINK}}, (LINK, "", "", None)),
        ({"state": "success", "resultJson": {"resultUrls": [None, LINK]}}, (LINK, "", "", None)),
        ({"state": "success", "resultJson": {}}, (None, "", "", None)),
        ({"state": "generating", "resultJson": {"resultUrls": [LINK]}}, (None, "", "", None)),
        (
            {"state": "fail", "failCode": "7", "failMsg": "no face", "creditsConsumed": 0},
            (None, "7", "no face", Decimal(0)),
        ),
        ({"state": "fail"}, (None, "fail", "kie gave no reason", None)),
        ({"state": "generating", "failMsg": "m", "failCode": "7"}, (None, "", "", None)),
        ({"state": "success", "creditsConsumed": 3}, (None, "", "", Decimal("0.015"))),
        ({"state": "success", "consumeCredits": 3}, (None, "", "", Decimal("0.015"))),
    ],
)
def test_what_stands_in_a_record_of_kie(record: dict[str, Any], expected: tuple[Any, ...]) -> None:
    job = client("kie", Wire(kie(200, {"taskId": JOB, **record}))).fetch(JOB)
    assert (job.video_url, job.error_code, job.error, job.charge_usd) == expected


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"code": 422, "msg": "a reason"}, '"a reason"'),
        ({"code": 422, "message": "another name"}, '"another name"'),
        ({"code": 422, "msg": ["odd"]}, "odd"),
        ({"code": 422}, "422"),
    ],
)
def test_kie_s_own_words_stand_in_the_error(body: dict[str, Any], shown: str) -> None:
    assert shown in str(raised("kie", Wire(answer(200, body)), "submit", request("kie")))


# kie: the account.


@pytest.mark.parametrize(
    ("credits", "is_good"),
    [(100, True), (0.1, True), (0, False), (None, True), ("no number", True)],
)
def test_an_account_of_kie_is_good_while_it_has_any_credit(credits: Any, is_good: bool) -> None:
    wire = Wire(kie(200, credits))
    if is_good:
        client("kie", wire).probe()
    else:
        error = raised("kie", wire, "probe")
        assert type(error) is base.AccountRejected
        assert "top up" in str(error)


@pytest.mark.parametrize("reply", [kie(201, 5), kie(455, 5), answer(200, {"data": 5})])
def test_a_balance_of_kie_that_is_not_given_is_not_known(reply: httpx.Response) -> None:
    assert type(raised("kie", Wire(reply), "balance_usd")) is base.Unavailable


@pytest.mark.parametrize(
    ("reply", "is_fresh"),
    [
        (kie(200, LINK), True),
        (kie(201, LINK), False),
        (kie(200, None), False),
        (kie(200, "no link"), False),
    ],
)
def test_a_fresh_link_is_taken_where_there_is_one(reply: httpx.Response, is_fresh: bool) -> None:
    old = "https://results.example.test/old.mp4"
    wire = Wire(reply)
    assert client("kie", wire).fresh_link(old) == (LINK if is_fresh else old)
    assert wire.posts == [{"url": old}]


def test_a_fresh_link_that_cannot_be_had_is_no_refusal() -> None:
    def down(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow")

    http = httpx.Client(transport=httpx.MockTransport(down))
    with pytest.raises(base.Unavailable):
        providers.get("kie")({"api_key": "k", "base_url": "https://x.test"}, http).fresh_link(LINK)


# kie: the callback.


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ({"data": {"taskId": "a", "state": "success"}}, ("a", True)),
        ({"data": {"task_id": "a", "state": "fail"}}, ("a", True)),
        ({"taskId": "a", "state": "generating"}, ("a", False)),
        ({"taskId": "a", "data": {"taskId": "a", "state": "waiting"}}, ("a", False)),
        ({"taskId": "b", "data": {"taskId": "a", "state": "success"}}, (None, True)),
        ({"taskId": "b", "data": {"state": "success"}}, ("b", True)),
        ({"data": {"taskId": "", "state": "levitating"}}, (None, None)),
        ({"data": {"taskId": 7}}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_what_a_callback_of_kie_hints_at(
    body: dict[str, Any], hint: tuple[str | None, bool | None]
) -> None:
    read = providers.get("kie").read_callback({}, json.dumps(body).encode())
    assert (read.job_id, read.final) == hint


@pytest.mark.parametrize(
    ("body", "signed", "age", "is_genuine"),
    [
        ({"taskId": "a"}, "a", 0, True),
        ({"taskId": "a"}, "b", 0, False),
        ({"taskId": "a"}, "a", 300, True),
        ({"taskId": "a"}, "a", 301, False),
        ({"taskId": "a"}, "a", -300, True),
        ({"taskId": "a"}, "a", -301, False),
        ({"taskId": "a", "data": {"task_id": "b"}}, "a", 0, False),
        ({}, "", 0, False),
        ({"taskId": "a.1"}, "a.1", 0, False),
    ],
)
def test_a_signature_of_kie_is_over_one_job_and_the_time(
    body: dict[str, Any], signed: str, age: int, is_genuine: bool
) -> None:
    stamp = "1790000000"
    mac = hmac.digest(b"key", f"{signed}.{stamp}".encode(), hashlib.sha256)
    headers = {
        "x-webhook-timestamp": stamp,
        "x-webhook-signature": base64.b64encode(mac).decode(),
    }
    genuine = providers.get("kie").callback_is_genuine
    raw, now = json.dumps(body).encode(), float(stamp) + age
    assert genuine(headers, raw, ("key",), now) == is_genuine
    assert genuine(headers, raw, ("old", "key"), now) == is_genuine
    assert not genuine(headers, raw, ("old",), now)
    assert not genuine({**headers, "x-webhook-timestamp": "17900000001"}, raw, ("key",), now)


# kie: the uploads.

UPLOADED = kie(200, {"downloadUrl": LINK})
ACCEPTED = kie(200, {"taskId": JOB})


def media(delivery: Any, **more: Any) -> dict[str, Any]:
    return {
        name: base.Media(f"{name}.bin", "image/png", delivery=delivery, **more)
        for name in ("portrait", "voice")
    }


@pytest.mark.parametrize("secret", [{}, {"upload_base_url": "https://up.example.test/"}])
def test_files_go_to_kie_s_upload_host_or_to_that_of_the_secret(secret: dict[str, str]) -> None:
    wire = Wire(UPLOADED)
    request_ = request("kie", **media("upload-base64", content=b"bytes"))
    prepared = client("kie", wire, **secret).prepare(request_)
    host = "up.example.test" if secret else "kieai.redpandaai.co"
    assert {str(one.url) for one in wire.requests} == {f"https://{host}/api/file-base64-upload"}
    assert wire.posts[0] == {
        "base64Data": base64.b64encode(b"bytes").decode(),
        "uploadPath": "talkdrop/job-7f3c-try1",
        "fileName": "portrait.bin",
    }
    assert prepared.voice is not None
    for one in (prepared.portrait, prepared.voice):
        assert (one.url, one.delivery, one.content) == (LINK, "url", None)


def test_an_empty_file_is_uploaded_as_it_is() -> None:
    for delivery in ("upload-base64", "upload"):
        wire = Wire(UPLOADED)
        client("kie", wire).prepare(request("kie", **media(delivery, content=None)))
        assert len(wire.requests) == 2


def test_media_by_link_are_not_uploaded_and_no_voice_stays_none() -> None:
    wire = Wire(ACCEPTED)
    with pytest.raises(base.Rejected):
        client("kie", wire).submit(request("kie", voice=None))
    prepared = client("kie", wire).prepare(request("kie", voice=None))
    assert prepared.voice is None
    assert prepared.portrait.url == FACE
    assert wire.requests == []


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (kie(201, {"downloadUrl": LINK}), base.NotSent),
        (kie(200, {}), base.NotSent),
        (kie(402), base.AccountRejected),
        (kie(433), base.AccountRejected),
        (kie(422), base.NotSent),
        (kie(429), base.NotSent),
        (kie(500), base.NotSent),
        (kie(999), base.NotSent),
        (answer(403, text="no"), base.AccountRejected),
        (answer(503, text="no"), base.NotSent),
    ],
)
def test_an_upload_that_fails_buys_nothing_whatever_its_code(
    reply: httpx.Response, kind: type[base.ProviderError]
) -> None:
    error = raised("kie", Wire(reply), "prepare", request("kie", **media("upload", content=b"b")))
    assert type(error) is kind
    if kind is base.NotSent:
        assert "nothing was bought" in str(error)


# Kling: the key.


@pytest.mark.parametrize(
    ("secret", "kind"),
    [
        ({"access_key": "a", "secret_key": "s", "api_key": ""}, "token"),
        ({"access_key": "a", "secret_key": "s", "api_key": "k"}, "key"),
        ({"access_key": "a", "secret_key": " ", "api_key": "k"}, "key"),
        ({"access_key": " ", "secret_key": "s", "api_key": "k"}, "key"),
        ({"access_key": "a", "secret_key": "", "api_key": ""}, "none"),
        ({"access_key": "", "secret_key": "s", "api_key": ""}, "none"),
    ],
)
def test_kling_s_key_is_an_api_key_or_a_token_of_both_others(
    secret: dict[str, str], kind: str
) -> None:
    one = client("kling", Wire(answer()), **secret)
    if kind == "none":
        with pytest.raises(base.AccountRejected):
            one.headers()  # type: ignore[attr-defined]
        return
    sent = one.headers()["Authorization"].removeprefix("Bearer ")  # type: ignore[attr-defined]
    assert (sent.count(".") == 2) == (kind == "token")
    if kind == "token":
        claims = json.loads(base64.urlsafe_b64decode(sent.split(".")[1] + "=="))
        assert claims["iss"] == "a"
        assert abs(claims["exp"] - time.time() - 1800) < 30
        assert abs(claims["nbf"] - time.time() + 60) < 30


@pytest.mark.parametrize(
    ("secret", "host"),
    [
        ({"base_url": "", "region": "beijing"}, "api-beijing.klingai.com"),
        ({"base_url": "", "region": "singapore"}, "api-singapore.klingai.com"),
        ({"base_url": ""}, "api-singapore.klingai.com"),
        ({"base_url": "https://own.example.test", "region": "beijing"}, "own.example.test"),
    ],
)
def test_kling_s_host_is_that_of_the_region_unless_the_secret_names_it(
    secret: dict[str, str], host: str
) -> None:
    wire = Wire(answer(200, {"code": 0, "data": {"task_id": JOB, "task_status": "submitted"}}))
    client("kling", wire, **secret).fetch(JOB)
    assert wire.requests[0].url.host == host


# Kling: records, lists, speech, costs.


def ok(data: Any) -> httpx.Response:
    return answer(200, {"code": 0, "message": "SUCCEED", "data": data})


@pytest.mark.parametrize(
    ("units", "charge"), [("4", Decimal("0.56")), (0, Decimal(0)), (None, None), ("x", None)]
)
def test_what_kling_deducted_is_the_charge(units: Any, charge: Decimal | None) -> None:
    record = {"task_id": JOB, "task_status": "succeed", "final_unit_deduction": units}
    assert client("kling", Wire(ok(record))).fetch(JOB).charge_usd == charge


def test_another_job_s_record_is_no_answer() -> None:
    record = {"task_id": "77", "task_status": "succeed"}
    assert type(raised("kling", Wire(ok(record)), "fetch", JOB)) is base.Unavailable
    assert client("kling", Wire(ok({"task_status": "succeed"}))).fetch(JOB).job_id == JOB


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(200, {"code": 1000}), base.AccountRejected),
        (answer(200, {"code": 1001}), base.AccountRejected),
        (answer(200, {"code": 1002}), base.AccountRejected),
        (answer(200, {"code": 1003}), base.Unavailable),
        (answer(401, text="no"), base.AccountRejected),
        (answer(401, {"code": 1200}), base.JobNotFound),
        (answer(200, {"code": 1200}), base.JobNotFound),
        (answer(200, {"code": 1201}), base.JobNotFound),
        (answer(200, {"code": 1202}), base.Unavailable),
        (answer(200, {"code": 1203}), base.JobNotFound),
        (answer(200, {"code": 0, "data": {}}), base.JobNotFound),
        (answer(403, text="no"), base.Unavailable),
        (answer(404, text="no"), base.Unavailable),
    ],
)
def test_a_query_of_kling_fails_as_what_it_means(
    reply: httpx.Response, kind: type[base.ProviderError]
) -> None:
    assert type(raised("kling", Wire(reply), "fetch", JOB)) is kind


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"task_status": "failed", "task_status_msg": "1303"}, (JobStatus.RUNNING, True, "")),
        ({"task_status": "failed", "task_status_msg": "bad"}, (JobStatus.FAILED, False, "failed")),
        ({"task_status": "succeed", "task_status_msg": "1303"}, (JobStatus.SUCCEEDED, False, "")),
        ({"task_status": "levitating"}, (JobStatus.RUNNING, False, "")),
    ],
)
def test_a_record_of_kling_is_read_by_its_state(
    record: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    job = client("kling", Wire(ok({"task_id": JOB, **record}))).fetch(JOB)
    assert (job.status, job.refused_late, job.error_code) == expected
    assert bool(job.error) == (record["task_status"] == "failed")
    wanted = {"failed": "failed: 1303" if job.refused_late else "", "levitating": "levitating"}
    assert job.unknown_word == wanted.get(record["task_status"], "")


@pytest.mark.parametrize(
    ("packs", "is_good"),
    [
        ([], True),
        ([{"status": "online", "remaining_quantity": 3}], True),
        ([{"status": "online"}], True),
        ([{"status": "online", "remaining_quantity": 0}], False),
        ([{"status": "expired", "remaining_quantity": 3}], False),
        ([{"status": "expired"}, {"status": "online", "remaining_quantity": 1}], True),
    ],
)
def test_an_account_of_kling_is_good_while_any_pack_is_left(
    packs: list[dict[str, Any]], is_good: bool
) -> None:
    wire = Wire(ok({"code": 0, "resource_pack_subscribe_infos": packs}))
    if is_good:
        client("kling", wire).probe()
    else:
        assert type(raised("kling", wire, "probe")) is base.AccountRejected
    params = wire.requests[0].url.params
    span = int(params["end_time"]) - int(params["start_time"])
    assert span == 30 * 86_400_000
    assert abs(int(params["end_time"]) - time.time() * 1000) < 30_000


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(200, {"code": 1000}), base.AccountRejected),
        (ok({"code": 1002}), base.AccountRejected),
        (ok({"code": 1201}), base.Unavailable),
        (answer(500, text="no"), base.Unavailable),
    ],
)
def test_a_probe_of_kling_that_was_not_answered_says_so(
    reply: httpx.Response, kind: type[base.ProviderError]
) -> None:
    assert type(raised("kling", Wire(reply), "probe")) is kind


def listed(number: int, minute: int | None, external_id: str = "") -> dict[str, Any]:
    at = {} if minute is None else {"created_at": 1_790_000_000_000 + minute * 60_000}
    info = {"task_info": {"external_task_id": external_id}} if external_id else {}
    return {"task_id": str(number), "task_status": "processing", **at, **info}


def _kling(wire: Wire) -> kling.Kling:
    one = client("kling", wire)
    assert isinstance(one, kling.Kling)
    return one


def since(minute: int) -> datetime:
    return datetime.fromtimestamp(1_790_000_000 + minute * 60, UTC)


@pytest.mark.parametrize(
    ("pages", "found", "read"),
    [
        ([[listed(1, 9), listed(2, 8)], [listed(3, 1)], []], ["1", "2"], 2),
        ([[listed(1, 9), listed(2, 5)], []], ["1", "2"], 2),
        ([[listed(1, 1), listed(2, 9)], [listed(3, 2)], []], ["2"], 3),
        ([[listed(1, None), listed(2, 1)], []], ["1"], 2),
        ([[]], [], 1),
    ],
)
def test_a_list_of_kling_is_read_to_its_end_or_to_what_is_older_throughout(
    pages: list[list[dict[str, Any]]], found: list[str], read: int
) -> None:
    wire = Wire(*[ok(page) for page in pages])
    jobs = _kling(wire).list_jobs(since(5))
    assert [job.job_id for job in jobs] == found
    assert [one.url.params["pageNum"] for one in wire.requests] == [
        str(number) for number in range(1, read + 1)
    ]
    assert {one.url.params["pageSize"] for one in wire.requests} == {"500"}


def test_a_list_of_more_than_twenty_pages_proves_nothing() -> None:
    wire = Wire(ok([listed(1, 9)]))
    error = raised("kling", wire, "list_jobs", since(5))
    assert (type(error), error.code, len(wire.requests)) == (base.Unavailable, "LONG_LIST", 20)


def test_a_job_without_an_id_is_in_no_list() -> None:
    wire = Wire(ok([{"task_status": "processing"}, listed(2, 9)]), ok([]))
    assert [job.job_id for job in _kling(wire).list_jobs(since(5))] == ["2"]


@pytest.mark.parametrize("data", [{}, "text", 7])
def test_a_list_that_is_none_proves_nothing(data: Any) -> None:
    error = raised("kling", Wire(ok(data)), "list_jobs", since(5))
    assert type(error) is base.Unavailable


@pytest.mark.parametrize(
    ("text", "more", "language", "speed"),
    [
        ("Good morning", {}, "en", 1.0),
        ("早上好", {}, "zh", 1.0),
        ("早上好", {"voice_language": "en"}, "en", 1.0),
        ("Good morning", {"voice_speed": 1.5}, "en", 1.5),
    ],
)
def test_a_text_is_spoken_in_its_language_and_at_its_speed(
    text: str, more: dict[str, Any], language: str, speed: float
) -> None:
    wire = Wire(ok({"task_id": "77", "task_result": {"audios": [{"id": "a-1"}]}}))
    settings = {"text": text, "voice_id": "v", **more}
    bought = client("kling", wire).speak(request("kling", voice=None, settings=settings))
    assert bought == {"audio_id": "a-1"}
    assert wire.posts == [
        {"text": text, "voice_id": "v", "voice_language": language, "voice_speed": speed}
    ]


@pytest.mark.parametrize(
    ("data", "kind", "bought"),
    [
        ({"task_id": "77", "task_status": "processing"}, base.RejectedLater, {"speech_id": "77"}),
        ({"task_id": "77"}, base.RejectedLater, {"speech_id": "77"}),
        ({"task_id": "77", "task_status": "failed"}, base.Rejected, {}),
        ({"task_id": "77", "task_status": "succeed"}, base.Rejected, {}),
        ({}, base.Rejected, {}),
    ],
)
def test_a_speech_without_an_id_is_waited_for_or_lost(
    data: dict[str, Any], kind: type[base.ProviderError], bought: dict[str, str]
) -> None:
    settings = {"text": "Good morning", "voice_id": "v"}
    wanted = request("kling", voice=None, settings=settings)
    error = raised("kling", Wire(ok(data)), "speak", wanted)
    assert (type(error), error.bought, error.stage) == (kind, bought, "speech")
    if kind is base.RejectedLater:
        assert error.retry_seconds == 5


@pytest.mark.parametrize(
    "settings", [{}, {"audio_id": "a"}, {"text": "x", "voice_id": "v", "audio_id": "a"}]
)
def test_where_no_speech_is_wanted_none_is_bought(settings: dict[str, str]) -> None:
    wire = Wire(answer())
    assert client("kling", wire).speak(request("kling", settings=settings)) == {}
    assert wire.requests == []


def test_a_token_is_signed_as_rfc_7519_says() -> None:
    head, claims, mac = kling.token("a", "s", 1, 2).split(".")
    signed = hmac.digest(b"s", f"{head}.{claims}".encode(), hashlib.sha256)
    assert base64.urlsafe_b64decode(mac + "=") == signed


# What a bare HTTP status of a create means.


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *[(one, base.AccountRejected) for one in (300, 301, 399, 401, 402, 403, 404, 405)],
        *[(one, base.Rejected) for one in (400, 413, 414, 415, 422)],
        *[(one, base.Ambiguous) for one in (299, 406, 409, 416, 500, 501, 502, 503)],
        (429, base.RejectedLater),
        (521, base.NotSent),
    ],
)
@pytest.mark.parametrize("name", ["kie", "kling"])
def test_a_bare_status_of_a_create_is_read_by_itself(
    name: str, status: int, kind: type[base.ProviderError]
) -> None:
    error = raised(name, Wire(answer(status, text="no words of theirs")), "submit", request(name))
    assert type(error) is kind
    assert error.code == f"HTTP {status}"


def test_a_maintenance_that_names_a_job_is_doubt() -> None:
    error = raised("kie", Wire(kie(455, {"taskId": JOB})), "submit", request("kie"))
    assert (type(error), error.job_id) == (base.Ambiguous, JOB)


@pytest.mark.parametrize(("reply", "code"), [(kie(422), "422"), (answer(503, text="x"), "503")])
def test_an_upload_s_error_has_its_code(reply: httpx.Response, code: str) -> None:
    error = raised("kie", Wire(reply), "prepare", request("kie", **media("upload", content=b"b")))
    assert error.code == code


def test_kie_s_words_may_stand_under_another_name() -> None:
    error = raised(
        "kie", Wire(answer(200, {"code": 422, "message": "m"})), "submit", request("kie")
    )
    assert 'answered 422 "m": ' in str(error)


def test_an_empty_id_of_a_callback_is_none() -> None:
    body = json.dumps({"taskId": "", "data": {"taskId": "a", "state": "success"}}).encode()
    assert providers.get("kie").read_callback({}, body).job_id == "a"


# Values as they are written by strangers.


@pytest.mark.parametrize("credits", ["inf", "nan", "-1", -0.5, True, [1], {}, "x", None])
def test_an_odd_amount_is_not_known(credits: Any) -> None:
    record = {"taskId": JOB, "state": "success", "creditsConsumed": credits}
    assert client("kie", Wire(kie(200, record))).fetch(JOB).charge_usd is None


@pytest.mark.parametrize(
    ("credits", "usd"),
    [(-40, "-0.20"), ("-40", "-0.20"), (0, "0.00"), ("nan", None), (None, None), (True, None)],
)
def test_an_overdrawn_account_is_shown_as_such(credits: Any, usd: str | None) -> None:
    answer = client("kie", Wire(kie(200, credits))).balance_usd()
    assert answer == (None if usd is None else Decimal(usd))


@pytest.mark.parametrize(("times", "is_read"), [(0, True), (1, True), (2, True), (3, False)])
def test_an_object_is_read_through_two_encodings(times: int, is_read: bool) -> None:
    value: Any = {"resultUrls": [LINK]}
    for _ in range(times):
        value = json.dumps(value)
    record = {"taskId": JOB, "state": "success", "resultJson": value}
    job = client("kie", Wire(kie(200, record))).fetch(JOB)
    assert (job.video_url == LINK) == is_read


def test_an_object_that_is_nested_without_end_is_none() -> None:
    record = {"taskId": JOB, "state": "success", "resultJson": "[" * 100_000}
    assert client("kie", Wire(kie(200, record))).fetch(JOB).video_url is None


@pytest.mark.parametrize(("length", "is_link"), [(4096, True), (4097, False)])
def test_a_link_has_four_kilobytes_at_most(length: int, is_link: bool) -> None:
    url = "https://x.example.test/".ljust(length, "a")
    record = {"taskId": JOB, "state": "success", "resultJson": {"resultUrls": [url]}}
    job = client("kie", Wire(kie(200, record))).fetch(JOB)
    assert (job.video_url == url) == is_link


@pytest.mark.parametrize("link", ["https://x.test/\ud800", "https://", 7, "ftp://x.test/a"])
def test_what_is_no_link_is_none(link: Any) -> None:
    record = {"taskId": JOB, "state": "success", "resultJson": {"resultUrls": [link]}}
    assert client("kie", Wire(kie(200, record))).fetch(JOB).video_url is None


@pytest.mark.parametrize("time_", ["x", 10**14, 10**17, 10**20, 10**30, 10**400, -5, True, 0])
def test_an_odd_time_is_not_known(time_: Any) -> None:
    record = {"taskId": JOB, "state": "success", "createTime": time_}
    job = client("kie", Wire(kie(200, record))).fetch(JOB)
    assert job.created_at is None or time_ == 10**14


@pytest.mark.parametrize(("job_id", "read"), [(True, None), (77, "77"), ("a/b", None)])
def test_an_odd_id_is_none(job_id: Any, read: str | None) -> None:
    for body in ({"task_id": job_id, "task_status": "succeed"}, {"data": {"task_id": job_id}}):
        hint = providers.get("kling").read_callback({}, json.dumps(body).encode())
        assert hint.job_id == read


def test_a_wrapped_callback_of_kling_is_read_like_a_bare_one() -> None:
    record = {"task_id": "7", "task_status": "succeed"}
    for body in (record, {"data": record}, {"code": 0, "data": json.dumps(record)}):
        hint = providers.get("kling").read_callback({}, json.dumps(body).encode())
        assert (hint.job_id, hint.final) == ("7", True)


def test_a_secret_with_odd_letters_signs_nothing() -> None:
    stamp = "1790000000"
    mac = hmac.digest(b"abc", f"m.{stamp}.{{}}".encode(), hashlib.sha256)
    headers = {
        "webhook-id": "m", "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }  # fmt: skip
    genuine = providers.get("kling").callback_is_genuine
    assert genuine(headers, b"{}", ("whsec_YWJj",), float(stamp))
    assert not genuine(headers, b"{}", ("whsec_YW!Jj",), float(stamp))
    assert not genuine(headers, b"{}", ("whsec_\xe9",), float(stamp))


def test_two_providers_with_one_key_are_two_accounts() -> None:
    one, other = (client(name, Wire(answer())).account_id for name in ("comet", "relay"))
    assert one != other


@pytest.mark.parametrize("name", ["comet", "relay"])
def test_where_a_provider_signs_nothing_our_mac_alone_must_do(name: str) -> None:
    assert providers.get(name).callback_is_genuine({}, b"", ("key",), 0.0)


# The gateways' own envelope.


def refused(status: int, code: str, message: str) -> httpx.Response:
    return answer(status, {"error": {"code": code, "message": message}})


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (400, "invalid_request", "m", base.Rejected),
        (500, "invalid_request", "m", base.Rejected),
        (501, "invalid_request", "m", base.Ambiguous),
        (400, "x", "rate limit", base.RejectedLater),
        (499, "x", "rate limit", base.RejectedLater),
        (500, "x", "rate limit", base.Ambiguous),
        (399, "x", "rate limit", base.AccountRejected),
        (400, "x", "insufficient balance", base.AccountRejected),
        (499, "x", "insufficient balance", base.AccountRejected),
        (500, "x", "insufficient balance", base.Ambiguous),
        (200, "model_not_found", "m", base.RejectedLater),
        (400, "x", "duplicated external_task_id", base.Ambiguous),
    ],
)
@pytest.mark.parametrize("name", ["comet", "relay"])
def test_a_gateway_s_refusal_is_read_by_status_code_and_words(
    name: str, status: int, code: str, message: str, kind: type[base.ProviderError]
) -> None:
    reply = refused(status, code, message)
    assert type(raised(name, Wire(reply), "submit", request(name))) is kind


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (200, "task_failed", "no reason", base.Rejected),
        (299, "task_failed", "no reason", base.Rejected),
        (300, "task_failed", "no reason", base.AccountRejected),
        (500, "task_failed", "no reason", base.Ambiguous),
        (429, "task_failed", "rate limit", base.RejectedLater),
        (200, "task_failed", "rate limit", base.Ambiguous),
        (200, "task_failed", "insufficient balance", base.Ambiguous),
        (200, "another", "no reason", base.Ambiguous),
    ],
)
def test_a_failed_task_of_a_relay_is_kling_s_refusal(
    status: int, code: str, message: str, kind: type[base.ProviderError]
) -> None:
    reply = refused(status, code, message)
    assert type(raised("relay", Wire(reply), "submit", request("relay"))) is kind


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (400, "fail_to_fetch_task", "task not exist", base.JobNotFound),
        (400, "fail_to_fetch_task", "bad gateway", base.Unavailable),
        (404, "x", "bad gateway", base.JobNotFound),
        (400, "x", "bad gateway", base.JobNotFound),
        (401, "x", "task not exist", base.AccountRejected),
        (500, "x", "task not exist", base.Unavailable),
    ],
)
@pytest.mark.parametrize("name", ["relay"])
def test_a_gateway_s_query_fails_as_what_it_means(
    name: str, status: int, code: str, message: str, kind: type[base.ProviderError]
) -> None:
    assert type(raised(name, Wire(refused(status, code, message)), "fetch", JOB)) is kind


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("kling", "/v1/videos/avatar/image2video"),
        ("relay", "/kling/v1/videos/avatar/image2video"),
    ],
)
def test_a_job_is_queried_at_its_own_address(name: str, path: str) -> None:
    wire = Wire(ok({"task_id": JOB, "task_status": "processing"}))
    client(name, wire).fetch(JOB)
    assert wire.requests[0].url.path == f"{path}/{JOB}"


@pytest.mark.parametrize("status", ["succeed", "processing", "failed"])
def test_a_video_and_its_marked_one_are_there_when_it_is_done(status: str) -> None:
    videos = [{"url": LINK, "watermark_url": f"{LINK}?marked"}]
    record = {"task_id": JOB, "task_status": status, "task_result": {"videos": videos}}
    job = client("kling", Wire(ok(record))).fetch(JOB)
    links = (LINK, f"{LINK}?marked") if status == "succeed" else (None, None)
    assert (job.video_url, job.marked_url) == links


@pytest.mark.parametrize(
    ("body", "job_id"),
    [
        ({"code": 1201, "message": "m", "task_id": "55"}, "55"),
        ({"code": 1201, "message": "m", "data": {"task_id": "56"}}, "56"),
        ({"code": 1201, "message": "m"}, None),
        ({"code": 1, "data": {"task_id": "57"}}, "57"),
    ],
)
def test_a_job_beside_a_refusal_of_kling_is_kept(body: dict[str, Any], job_id: str | None) -> None:
    error = raised("kling", Wire(answer(200, body)), "submit", request("kling"))
    assert error.job_id == job_id
    assert (type(error) is base.Ambiguous) == (job_id is not None)


@pytest.mark.parametrize("call", ["fetch", "submit"])
def test_kling_s_words_or_its_body_stand_in_the_error(call: str) -> None:
    argument = JOB if call == "fetch" else request("kling")
    for body, words in (
        ({"code": 1201, "message": "in words"}, 'answered 1201 "in words": '),
        ({"code": 1201, "reason": "odd"}, "odd"),
    ):
        assert words in str(raised("kling", Wire(answer(200, body)), call, argument))


def test_a_record_beside_a_code_is_no_record() -> None:
    reply = answer(200, {"code": 1203, "data": {"task_id": JOB, "task_status": "succeed"}})
    assert type(raised("kling", Wire(reply), "fetch", JOB)) is base.JobNotFound
    job = client("kling", Wire(ok({"task_id": JOB}))).fetch(JOB)
    assert job.status is JobStatus.RUNNING


# Kling: what is left of speech, lists and keys.


def waits_for_speech(reply: httpx.Response) -> Any:
    settings = {"text": "Hello", "voice_id": "v", "speech_id": "77"}
    wanted = request("kling", voice=None, settings=settings)
    wire = Wire(reply)
    error = raised("kling", wire, "speak", wanted)
    assert wire.requests[0].url.path == "/v1/audio/tts/77"
    return error


@pytest.mark.parametrize(
    "reply",
    [
        answer(503, text="down"),
        answer(200, {"code": 1203, "message": "not found"}),
        answer(200, {"code": 5000, "message": "busy"}),
        ok({"task_id": "88", "task_status": "processing"}),
    ],
)
def test_a_speech_that_cannot_be_queried_is_waited_for_by_its_id(reply: httpx.Response) -> None:
    error = waits_for_speech(reply)
    assert (type(error), error.bought) == (base.RejectedLater, {"speech_id": "77"})


def test_a_speech_under_a_refused_key_stops_the_account() -> None:
    assert type(waits_for_speech(answer(200, {"code": 1000}))) is base.AccountRejected


@pytest.mark.parametrize(("words", "shown"), [("bad voice", "bad voice"), (None, "no audio")])
def test_a_speech_that_failed_says_why(words: str | None, shown: str) -> None:
    data = {"task_id": "77", "task_status": "failed", "task_status_msg": words}
    assert f'"{shown}"' in str(waits_for_speech(ok(data)))


def test_a_record_without_an_id_is_no_job() -> None:
    wire = Wire(ok({"task_status": "processing"}), ok([]))
    assert type(raised("kling", wire, "find", "ours-1")) is base.JobNotFound
    assert wire.requests[0].url.path.endswith("/ours-1")


def test_a_list_that_is_null_is_empty() -> None:
    assert _kling(Wire(ok(None))).list_jobs(since(5)) == []


@pytest.mark.parametrize("missing", ["access_key", "secret_key"])
def test_half_a_key_is_none(missing: str) -> None:
    secret = {"access_key": "a", "secret_key": "s", "api_key": ""}
    del secret[missing]
    with pytest.raises(base.AccountRejected):
        client("kling", Wire(answer()), **secret).headers()  # type: ignore[attr-defined]


def test_a_host_without_the_query_for_costs_lists_one_job() -> None:
    wire = Wire(answer(404, text="no"), ok([]))
    client("kling", wire).probe()
    assert dict(wire.requests[1].url.params) == {"pageNum": "1", "pageSize": "1"}


def test_costs_without_a_code_of_their_own_are_an_answer() -> None:
    client("kling", Wire(ok({"resource_pack_subscribe_infos": []}))).probe()


@pytest.mark.parametrize(
    ("pages", "found"),
    [
        ([[listed(1, 9), listed(2, 9)], [listed(3, 1)], [listed(4, 8)], []], ["1", "2"]),
        ([[listed(1, 9)], [listed(2, 5)], [listed(3, 6)], []], ["1", "2", "3"]),
        ([[{"task_status": "processing"}], [listed(2, 9)], []], ["2"]),
        ([[listed(1, None)], [listed(2, 1)], [listed(3, 9)], []], ["1", "3"]),
    ],
)
def test_where_the_order_is_not_known_a_list_is_read_on(
    pages: list[list[dict[str, Any]]], found: list[str]
) -> None:
    wire = Wire(*[ok(page) for page in pages])
    assert [job.job_id for job in _kling(wire).list_jobs(since(5))] == found


# Relays: which layer counts.


@pytest.mark.parametrize(
    ("body", "job_id", "is_accepted"),
    [
        ({"code": "success", "id": "55"}, "55", True),
        ({"code": 0, "data": {"task_id": "56"}}, "56", True),
        ({"code": "success", "task_id": "57", "error": {"message": "m"}}, "57", False),
        ({"code": "weird", "task_id": "58"}, "58", False),
        ({"code": 0, "data": {}}, None, False),
    ],
)
def test_a_relay_has_accepted_what_it_says_and_nothing_else(
    body: dict[str, Any], job_id: str | None, is_accepted: bool
) -> None:
    wire = Wire(answer(200, body))
    if is_accepted:
        assert client("relay", wire).submit(request("relay")).job_id == job_id
    else:
        assert raised("relay", wire, "submit", request("relay")).job_id == job_id


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"code": "success", "data": {"task_id": "7", "status": "SUCCESS"}}, "succeeded"),
        ({"task_status": "succeed"}, "succeeded"),
        ({"task_id": "7", "status": "weird", "data": {"task_id": "8", "task_status": "failed"}},
         "failed"),
        ({"task_id": "7", "status": "weird"}, "running"),
    ],
)  # fmt: skip
def test_a_relay_s_record_is_read_by_the_first_word_that_is_known(
    body: dict[str, Any], status: str
) -> None:
    assert client("relay", Wire(answer(200, body))).fetch("7").status.value == status


@pytest.mark.parametrize(("depth", "is_read"), [(3, True), (4, False)])
def test_a_relay_s_layers_are_read_four_deep(depth: int, is_read: bool) -> None:
    body: dict[str, Any] = {"task_id": "7", "task_status": "succeed"}
    for _ in range(depth):
        body = {"data": body}
    hint = providers.get("relay").read_callback({}, json.dumps(body).encode())
    assert (hint.job_id == "7") == is_read


@pytest.mark.parametrize(
    ("word", "final"), [("succeed", True), ("processing", False), ("levitating", None)]
)
def test_a_relay_s_callback_is_final_where_its_word_is(word: str, final: bool | None) -> None:
    body = json.dumps({"task_id": "7", "task_status": word}).encode()
    assert providers.get("relay").read_callback({}, body).final is final


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"code": "task_not_exist", "message": "no such task"}, base.JobNotFound),
        ({"code": "1203", "message": "m"}, base.JobNotFound),
        ({"code": 1203, "message": "m"}, base.JobNotFound),
        ({"code": "busy", "message": "m"}, base.JobNotFound),
    ],
)
def test_a_relay_s_codes_in_words_are_read_like_its_other_envelope(
    body: dict[str, Any], kind: type[base.ProviderError]
) -> None:
    assert type(raised("relay", Wire(answer(400, body)), "fetch", JOB)) is kind


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"code": "model_not_found", "message": "m"}, base.RejectedLater),
        ({"code": "1303", "message": "parallel task over resource pack limit"}, base.RejectedLater),
        ({"code": "1201", "message": "m"}, base.Rejected),
        ({"code": "success", "message": "m"}, base.Rejected),
    ],
)
def test_a_relay_s_refusal_in_words_is_read_like_its_other_envelope(
    body: dict[str, Any], kind: type[base.ProviderError]
) -> None:
    assert type(raised("relay", Wire(answer(400, body)), "submit", request("relay"))) is kind


# What the pages say of Kling's avatar, wherever it is served.


@pytest.mark.parametrize(("name", "longest"), [("kling", 300), ("relay", 300), ("comet", 60)])
def test_kling_s_avatar_has_the_limits_of_its_page(name: str, longest: int) -> None:
    model = providers.get(name).models["avatar"]
    assert model.limits == base.Limits(
        image_types=frozenset({"image/png", "image/jpeg"}),
        audio_types=frozenset({"audio/wav", "audio/aac", "audio/mp4", "audio/mpeg"}),
        image_bytes=10 * 1024 * 1024,
        audio_bytes=5 * 1024 * 1024,
        image_min_pixels=300,
        image_max_ratio=2.5,
        audio_min_seconds=2,
        audio_max_seconds=longest,
        prompt_characters=2500,
    )
    assert (model.usual_seconds, model.first_seconds) == (300, 60)


def test_kling_s_settings_are_bounded_as_its_page_says() -> None:
    settings = providers.get("kling").models["avatar"].settings
    bounds = {name: (one.least, one.most, one.choices, one.needs) for name, one in settings.items()}
    assert bounds == {
        "mode": (None, None, ("std", "pro"), ""),
        "watermark_info": (None, None, (), ""),
        "audio_id": (1, 128, (), ""),
        "text": (1, 1000, (), "voice_id"),
        "voice_id": (1, 128, (), ""),
        "voice_language": (None, None, ("zh", "en"), ""),
        "voice_speed": (0.8, 2.0, (), ""),
    }
    for name in ("relay", "comet"):
        served = providers.get(name).models["avatar"].settings
        assert {one: settings[one] for one in ("mode", "audio_id")} == dict(served)


def test_no_error_repeats_any_secret_of_the_account() -> None:
    secret = {"api_key": "", "access_key": "canary-access-1", "secret_key": "canary-secret-2"}
    quoted = {"code": 1201, "message": "key canary-access-1 of canary-secret-2 is odd"}
    for call, argument in (("submit", request("kling")), ("fetch", JOB)):
        error = raised("kling", Wire(answer(200, quoted)), call, argument, **secret)
        assert "canary" not in str(error)
