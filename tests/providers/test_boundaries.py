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
