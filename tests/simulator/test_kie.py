"""kie's record, codes, rate limits, money and files, as recorded and as documented."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.simulator import drawn
from tests.simulator.conftest import Client, plain, until


def test_a_running_record_is_full_of_nulls_and_its_input_is_encoded_twice(open_client: Any) -> None:
    client = open_client(speed=1.0, callbacks=False)
    created = client.kie(
        prompt="一位", callback="https://app.example.test/hooks/kie?job=7f3b"
    ).json()["data"]
    assert created["recordId"] == created["taskId"]
    record = client.kie_record(created["taskId"])
    param = json.loads(record.pop("param"))
    assert json.loads(param["input"])["prompt"] == "一位"
    assert (param["callBackUrl"], param["model"]) == (
        "https://app.example.test/hooks/kie?job=7f3b",
        record["model"],
    )
    assert record.pop("createTime") > 1_700_000_000_000
    assert record == {
        "taskId": created["taskId"],
        "model": "kling/ai-avatar-standard",
        "state": "waiting",
        "resultJson": "",
        "failCode": None,
        "failMsg": None,
        "costTime": None,
        "completeTime": None,
    }


def test_a_finished_record_counts_seconds_and_has_a_link(client: Client) -> None:
    record = _success(client, client.kie().json()["data"]["taskId"])
    assert 50 <= record["costTime"] < 1000
    assert record["completeTime"] - record["createTime"] >= 50_000
    (url,) = json.loads(record["resultJson"])["resultUrls"]
    assert f"/k/{record['taskId']}_1_" in url
    assert url.endswith(".mp4")
    assert "updateTime" not in record


def test_the_documented_shape_counts_milliseconds_and_has_no_nulls(open_client: Any) -> None:
    client = open_client(kie_shape="documented")
    record = _success(client, client.kie().json()["data"]["taskId"])
    assert (record["failCode"], record["failMsg"]) == ("", "")
    assert record["costTime"] >= 50_000
    assert record["creditsConsumed"] == 24
    assert json.loads(record["param"])["input"]["prompt"] == ""
    assert "updateTime" in record


@pytest.mark.parametrize(
    ("states", "seen"),
    [("generating", {"generating"}), ("all", {"waiting", "queuing", "generating"})],
)
def test_the_words_of_a_running_job_can_be_chosen(
    open_client: Any, states: str, seen: set[str]
) -> None:
    client = open_client(
        kie_states=states, speed=1000.0, job_seconds=1000.0, kie_queries_per_second=0
    )
    job = client.kie().json()["data"]["taskId"]
    shown: set[str] = set()
    until(lambda: shown.add(client.kie_record(job)["state"]) or "success" in shown)
    assert shown - {"success"} <= seen
    assert "generating" in shown


def test_a_key_is_needed_and_must_be_right(strict: Client) -> None:
    url = strict.simulator.addresses["kie"] + "/api/v1/jobs/recordInfo?taskId=1"
    assert plain.get(url).json()["msg"].startswith("Unauthorized – Authentication failed.")
    wrong = plain.get(url, headers={"Authorization": "Bearer wrong"})
    assert (wrong.status_code, wrong.json()["code"]) == (200, 401)
    assert wrong.json()["msg"] == "You do not have access permissions"


def test_refusals_can_come_under_their_own_status(open_client: Any) -> None:
    client = open_client(kie_status="real")
    assert client.kie("kling/nothing").status_code == 422
    client.simulator.fault("maintenance")
    assert client.kie().status_code == 455


def test_a_query_needs_an_id_and_the_id_must_be_known(strict: Client) -> None:
    ask = "/api/v1/jobs/recordInfo"
    assert strict.call("kie", "GET", ask).json()["code"] == 400
    unknown = strict.call("kie", "GET", ask, params={"taskId": "0" * 32}).json()
    assert unknown == {"code": 422, "msg": "recordInfo is null", "data": None}
    assert strict.call("kie", "GET", "/api/v1/jobs/list").json()["code"] == 404


def test_the_twenty_first_create_in_ten_seconds_is_refused_and_not_queued(open_client: Any) -> None:
    client = open_client(speed=1.0)
    codes = [client.kie().json()["code"] for _ in range(21)]
    assert codes == [200] * 20 + [429]
    assert len(client.control("GET", "state")["jobs"]) == 20
    client.control("POST", "clock", speed=10_000.0)
    until(lambda: client.kie().json()["code"] == 200)


def test_queries_have_a_rate_limit_too(open_client: Any) -> None:
    client = open_client(speed=0.01)
    codes = [
        client.call("kie", "GET", "/api/v1/jobs/recordInfo?taskId=1").json()["code"]
        for _ in range(11)
    ]
    assert codes == [422] * 10 + [429]


@pytest.mark.parametrize(
    ("model", "fields", "credits"),
    [
        ("infinitalk/from-audio", {}, 9),
        ("infinitalk/from-audio", {"resolution": "720p"}, 36),
        ("kling/v1-avatar-standard", {}, 24),
        ("kling/ai-avatar-pro", {}, 48),
    ],
)
def test_whole_seconds_are_charged_when_the_job_succeeds(
    client: Client, model: str, fields: Any, credits: int
) -> None:
    client.shelf.put("3.9.wav", drawn.voice(3.9))
    job = client.kie(model, audio_url=client.shelf.address + "/3.9.wav", **fields).json()["data"][
        "taskId"
    ]
    assert client.simulator.ledger() == []
    _success(client, job)
    (charge,) = client.simulator.ledger()
    assert (charge["provider"], charge["job_id"], charge["amount"]) == ("kie", job, credits)
    balance = client.call("kie", "GET", "/api/v1/chat/credit").json()
    assert balance == {"code": 200, "msg": "success", "data": 100_000.0 - credits}


def test_a_create_that_the_credits_do_not_cover_is_refused(open_client: Any) -> None:
    answer = open_client(kie_credits=23.0).kie().json()
    assert (answer["code"], answer["msg"]) == (402, "Credits insufficient")


def test_a_failed_job_costs_nothing(client: Client) -> None:
    client.simulator.fault("failed")
    job = client.kie().json()["data"]["taskId"]
    record = until(lambda: (found := client.kie_record(job))["state"] == "fail" and found)
    assert (record["failCode"], record["failMsg"], record["resultJson"]) == (
        "500",
        "Internal Error",
        "",
    )
    assert client.simulator.ledger() == []


def test_a_result_link_dies_after_its_hours_and_the_job_is_still_known(open_client: Any) -> None:
    client = open_client(kie_link_hours=1.0)
    job = client.kie().json()["data"]["taskId"]
    (url,) = json.loads(_success(client, job)["resultJson"])["resultUrls"]
    assert plain.get(url).status_code == 200
    client.control("POST", "clock", speed=100_000.0)
    until(lambda: plain.get(url).status_code == 404)
    assert client.kie_record(job)["state"] == "success"


def test_three_ways_to_upload_give_a_link_that_a_create_takes(client: Client) -> None:
    face = base64.b64encode(drawn.portrait()).decode()
    stream = client.call(
        "kie",
        "POST",
        "/api/file-stream-upload",
        files={"file": ("line-01.wav", drawn.voice(), "audio/wav")},
        data={"uploadPath": "audio", "fileName": "line-01.wav"},
    ).json()
    assert (stream["success"], stream["code"], stream["data"]["filePath"]) == (
        True,
        200,
        "kieai/100001/audio/line-01.wav",
    )
    assert plain.get(stream["data"]["downloadUrl"]).content == drawn.voice()
    bare = _uploaded(client, "base64", base64Data=face, uploadPath="images")
    prefixed = _uploaded(
        client, "base64", base64Data="data:image/png;base64," + face, uploadPath="images"
    )
    by_url = _uploaded(
        client, "url", fileUrl=client.shelf.address + "/portrait.png", uploadPath="images"
    )
    for image in (bare, prefixed, by_url):
        assert (
            client.kie(image_url=image, audio_url=stream["data"]["downloadUrl"]).json()["code"]
            == 200
        )


@pytest.mark.parametrize(
    ("body", "missing"),
    [({"base64Data": "aGFsbG8="}, "uploadPath"), ({"uploadPath": "x"}, "base64Data")],
)
def test_an_upload_says_what_is_missing(strict: Client, body: dict[str, str], missing: str) -> None:
    answer = strict.call("kie", "POST", "/api/file-base64-upload", json=body).json()
    assert answer == {
        "success": False,
        "code": 400,
        "msg": f"Missing required parameter: {missing}",
    }


def test_a_download_url_lives_twenty_minutes_and_is_for_kies_own_files_only(
    open_client: Any,
) -> None:
    client = open_client(kie_link_hours=0.5)
    (url,) = json.loads(_success(client, client.kie().json()["data"]["taskId"])["resultJson"])[
        "resultUrls"
    ]
    link = client.call("kie", "POST", "/api/v1/common/download-url", json={"url": url}).json()[
        "data"
    ]
    assert plain.get(link).content == plain.get(url).content
    foreign = client.call(
        "kie", "POST", "/api/v1/common/download-url", json={"url": "https://example.test/x.mp4"}
    ).json()
    assert foreign == {"code": 422, "msg": "url is wrong", "data": None}


def _uploaded(client: Client, way: str, **body: str) -> str:
    return str(
        client.call("kie", "POST", f"/api/file-{way}-upload", json=body).json()["data"][
            "downloadUrl"
        ]
    )


def _success(client: Client, job: str) -> dict[str, Any]:
    record: dict[str, Any] = until(
        lambda: (found := client.kie_record(job)).get("state") == "success" and found
    )
    return record
