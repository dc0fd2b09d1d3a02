"""What can go wrong, made to go wrong."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.simulator.conftest import CallbackReceiver, Client, until


@pytest.mark.parametrize("fault", ["lost_answer", "hang", "truncated_answer"])
def test_an_answer_is_lost_after_the_job_was_accepted(client: Client, fault: str) -> None:
    settings = {"seconds": 0.1} if fault == "hang" else {}
    client.simulator.fault(fault, count=1, provider="kie", **settings)
    with pytest.raises(httpx.RemoteProtocolError):
        client.kie()
    assert client.kie().json()["code"] == 200
    assert len(client.control("GET", "state")["jobs"]) == 2


def test_a_create_that_was_refused_does_not_use_up_the_fault(client: Client) -> None:
    client.simulator.fault("lost_answer", count=1)
    assert client.kie("kling/unknown").json()["code"] == 422
    with pytest.raises(httpx.RemoteProtocolError):
        client.kie()


@pytest.mark.parametrize(("provider", "code", "status"), [("kie", 429, 200), ("kling", 1302, 429)])
def test_throttling_has_the_providers_own_code(
    client: Client, provider: str, code: int, status: int
) -> None:
    client.simulator.fault("throttle", provider=provider, count=1)
    refused = client.kie() if provider == "kie" else client.avatar()
    assert (refused.json()["code"], refused.status_code) == (code, status)
    accepted = client.kie() if provider == "kie" else client.avatar()
    assert accepted.json()["code"] in (0, 200)


@pytest.mark.parametrize("code", [402, 404, 408, 429, 433, 455, 500, 501, 505])
def test_kie_can_be_made_to_say_any_of_its_codes(client: Client, code: int) -> None:
    client.simulator.fault("throttle", code=code, count=1)
    assert client.kie().json()["code"] == code


@pytest.mark.parametrize(
    ("provider", "status"), [("comet", 429), ("relay", 429), ("relay-b", 429), ("relay-d", 429)]
)
def test_a_gateway_throttles_in_its_own_envelope(
    client: Client, provider: str, status: int
) -> None:
    client.simulator.fault("throttle")
    answer = client.avatar(provider)
    assert answer.status_code == status
    assert "request id: " in answer.json()["error"]["message"]


def test_maintenance_closes_creates_and_queries_until_it_is_over(open_client: Any) -> None:
    client = open_client(speed=1.0)
    job = client.kie().json()["data"]["taskId"]
    client.simulator.fault("maintenance", seconds=100.0)
    assert client.kie().json()["code"] == 455
    assert client.call("kie", "GET", f"/api/v1/jobs/recordInfo?taskId={job}").json()["code"] == 455
    assert client.avatar().status_code == 503
    client.control("POST", "clock", speed=1000.0)
    until(lambda: client.kie().json()["code"] == 200)


@pytest.mark.parametrize(("accepted", "jobs"), [(False, 0), (True, 1)])
def test_a_page_comes_in_place_of_an_answer(client: Client, accepted: bool, jobs: int) -> None:
    client.simulator.fault("html", status=524, accepted=accepted)
    answer = client.kie()
    assert (answer.status_code, answer.headers["content-type"]) == (524, "text/html; charset=UTF-8")
    assert len(client.control("GET", "state")["jobs"]) == jobs


def test_a_query_can_get_a_page_too(client: Client) -> None:
    client.simulator.fault("html", at="query")
    job = client.avatar().json()["data"]["task_id"]
    assert client.avatar_record("kling", job).status_code == 502


def test_a_create_happens_after_its_answer_failed(client: Client) -> None:
    client.simulator.fault("late_create", seconds=100.0, count=1)
    answer = client.avatar(external_task_id="job-1")
    assert (answer.status_code, answer.json()["code"]) == (504, 5002)
    assert client.avatar_record("kling", "job-1").status_code == 404
    until(lambda: client.avatar_record("kling", "job-1").status_code == 200)


def test_a_slow_create_is_answered_all_the_same(client: Client) -> None:
    client.simulator.fault("slow_create", seconds=0.2)
    assert client.kie().json()["code"] == 200


def test_a_fresh_job_cannot_be_found_for_a_while(open_client: Any) -> None:
    client = open_client(speed=1.0)
    client.simulator.fault("not_found", milliseconds=200_000)
    job = client.kie().json()["data"]["taskId"]
    assert client.kie_record(job) == {}
    client.control("POST", "clock", speed=1000.0)
    until(lambda: client.kie_record(job))


@pytest.mark.parametrize("provider", ["kling", "relay", "relay-d"])
def test_a_running_job_shows_an_unknown_word(open_client: Any, provider: str) -> None:
    client = open_client(speed=1.0)
    client.simulator.fault("unknown_status", word="pending_review")
    answer = client.avatar(provider).json()
    found = client.avatar_record(provider, (answer.get("data") or answer)["task_id"]).text
    assert "pending_review" in found


def test_a_stuck_job_runs_for_ever(client: Client) -> None:
    client.simulator.fault("stuck", match={"prompt": "slow"})
    stuck = client.kie(prompt="a slow one").json()["data"]["taskId"]
    quick = client.kie(prompt="a quick one").json()["data"]["taskId"]
    until(lambda: client.kie_record(quick)["state"] == "success")
    assert client.kie_record(stuck)["state"] == "waiting"


@pytest.mark.parametrize("reason", ["moderation", "internal", "a reason of my own"])
def test_a_job_fails_for_the_reason_given(client: Client, reason: str) -> None:
    client.simulator.fault("failed", reason=reason)
    job = client.avatar().json()["data"]["task_id"]
    record = until(
        lambda: (
            (found := client.avatar_record("kling", job).json()["data"])["task_status"] == "failed"
            and found
        )
    )
    known = {
        "moderation": "Failure to pass the risk control system",
        "internal": "Server internal error",
    }
    assert record["task_status_msg"] == known.get(reason, reason)


def test_a_success_without_a_link_heals_after_some_queries(client: Client) -> None:
    client.simulator.fault("empty_result", queries=2)
    job = client.kie().json()["data"]["taskId"]
    until(lambda: client.simulator.ledger())
    results = [json.loads(client.kie_record(job)["resultJson"])["resultUrls"] for _ in range(3)]
    assert [len(urls) for urls in results] == [0, 0, 1]


def test_a_broken_result_cannot_be_parsed(client: Client) -> None:
    client.simulator.fault("malformed_result")
    job = client.kie().json()["data"]["taskId"]
    until(lambda: client.simulator.ledger())
    with pytest.raises(json.JSONDecodeError):
        json.loads(client.kie_record(job)["resultJson"])


def test_callbacks_are_missing_doubled_or_late(client: Client, receiver: CallbackReceiver) -> None:
    client.simulator.fault("callback_missing", match={"callback": "/missing"})
    client.simulator.fault("callback_duplicate", match={"callback": "/doubled"}, times=3)
    client.simulator.fault("callback_late", match={"callback": "/late"}, seconds=3000.0)
    for path in ("/missing", "/late", "/doubled"):
        client.kie(callback=receiver.address + path)
    until(lambda: receiver.bodies("/late") and len(receiver.bodies("/doubled")) >= 3)
    assert len(receiver.bodies("/doubled")) == 3
    assert receiver.bodies("/missing") == []
    assert receiver.received[-1][0] == "/late"


def test_callbacks_come_in_the_wrong_order(client: Client, receiver: CallbackReceiver) -> None:
    client.simulator.fault("callback_reordered")
    client.avatar(callback_url=receiver.address)
    until(lambda: len(receiver.received) == 3)
    assert receiver.bodies()[0]["task_status"] == "succeed"


@pytest.mark.parametrize("manner", ["early_success", "other_job", "wrong_address"])
def test_a_callback_can_be_forged(
    open_client: Any, receiver: CallbackReceiver, manner: str
) -> None:
    client = open_client(kie_hmac_key="a key", job_seconds=500.0)
    client.simulator.fault("callback_forged", **{"as": manner})
    job = client.kie(callback=receiver.address + "/callback").json()["data"]["taskId"]
    path, headers, body = until(lambda: receiver.received)[0]
    data = json.loads(body)["data"]
    assert (data["state"], "169.254.169.254" in data["resultJson"]) == ("success", True)
    assert (data["taskId"] == job) == (manner != "other_job")
    assert (path == "/callback") == (manner != "wrong_address")
    genuine = until(lambda: len(receiver.received) == 2 and receiver.received[1])
    assert genuine[1]["x-webhook-signature"] != headers["x-webhook-signature"]


def test_only_the_nth_create_is_struck(client: Client) -> None:
    client.simulator.fault("failed", match={"nth": 2})
    jobs = [client.kie().json()["data"]["taskId"] for _ in range(3)]
    until(lambda: all(client.kie_record(job)["state"] in ("success", "fail") for job in jobs))
    assert [client.kie_record(job)["state"] for job in jobs] == ["success", "fail", "success"]


def test_the_same_seed_strikes_the_same_creates(client: Client) -> None:
    rounds = []
    for _ in range(2):
        client.simulator.clear_faults()
        client.simulator.fault("throttle", provider="comet", probability=0.5, seed=7)
        rounds.append([client.avatar("comet").status_code for _ in range(12)])
    assert rounds[0] == rounds[1]
    assert set(rounds[0]) == {200, 429}


@pytest.mark.parametrize(
    "wrong",
    [
        {"fault": "earthquake"},
        {"fault": "stuck", "seconds": 3},
        {"fault": "stuck", "match": {"colour": "red"}},
        {"fault": "html", "at": "lunch"},
        {"fault": "wrong_content", "as": "poem"},
        {"fault": "stuck", "probability": 2},
        {"fault": "stuck", "count": 0},
        {"fault": "stuck", "provider": "nobody"},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_a_sentence(
    strict: Client, wrong: dict[str, Any]
) -> None:
    answer = strict.http.post(strict.simulator.addresses["control"] + "/control/faults", json=wrong)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_faults_are_listed_and_removed(client: Client) -> None:
    first = client.control("POST", "faults", fault="stuck")["id"]
    client.control("POST", "faults", fault="failed", count=2)
    assert [fault["kind"] for fault in client.control("GET", "faults")["faults"]] == [
        "stuck",
        "failed",
    ]
    assert client.control("DELETE", f"faults/{first}") == {"removed": 1}
    assert client.control("DELETE", "faults") == {"removed": 1}
