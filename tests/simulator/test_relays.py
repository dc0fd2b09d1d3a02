"""CometAPI and the three kinds of relay: the same job in four envelopes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.conftest import AVATAR, Client, plain, until

RELAYS = ("relay", "relay-b", "relay-d")


def test_comet_answers_a_wrong_path_with_a_redirect_or_a_page(strict: Client) -> None:
    assert strict.call("comet", "GET", AVATAR + "/1").status_code == 301
    page = strict.call("comet", "GET", "/kling/v1/videos/avatar/nothing")
    assert page.headers["content-type"].startswith("text/html")


def test_comets_avatar_query_can_be_missing_while_the_documented_one_works(
    open_client: Any,
) -> None:
    client = open_client(comet_avatar_query=False)
    job = client.avatar("comet").json()["data"]["task_id"]
    assert client.avatar_record("comet", job).headers["content-type"].startswith("text/html")
    found = client.call("comet", "GET", f"/kling/v1/videos/image2video/{job}").json()
    assert found["data"]["task_id"] == job


def test_comet_refuses_a_wrong_key_in_its_own_envelope(strict: Client) -> None:
    answer = strict.call(
        "comet", "GET", f"/kling{AVATAR}/1", headers={"Authorization": "Bearer wrong"}
    )
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "comet_api_error"


@pytest.mark.parametrize("relay", RELAYS)
def test_a_relay_refuses_a_wrong_key_and_does_not_know_a_foreign_job(
    strict: Client, relay: str
) -> None:
    wrong = strict.call(
        relay, "GET", f"/kling{AVATAR}/1", headers={"Authorization": "Bearer wrong"}
    )
    assert (wrong.status_code, wrong.json()["error"]["type"]) == (401, "new_api_error")
    missing = strict.avatar_record(relay, "nothing")
    assert missing.status_code == 400
    assert missing.json() == {"code": "task_not_exist", "message": "task_not_exist", "data": None}


def test_a_passes_klings_answers_through(client: Client) -> None:
    job = client.avatar("relay").json()["data"]["task_id"]
    assert job.isdigit()
    record = until(
        lambda: (
            (found := client.avatar_record("relay", job).json())["data"]["task_status"] == "succeed"
            and found
        )
    )
    assert record["code"] == 0
    assert record["data"]["task_result"]["videos"][0]["url"].startswith("http")


def test_b_wraps_klings_answer_into_a_record_of_its_own(client: Client) -> None:
    created = client.avatar("relay-b").json()
    assert (created["object"], created["status"], created["id"]) == (
        "video",
        "queued",
        created["task_id"],
    )
    assert created["task_id"].startswith("task_")
    record = until(
        lambda: (
            (found := client.avatar_record("relay-b", created["task_id"]).json())["data"]["status"]
            == "SUCCESS"
            and found
        )
    )
    assert (record["code"], record["data"]["progress"]) == ("success", "100%")
    upstream = record["data"]["data"]["data"]
    assert upstream["task_id"] != created["task_id"]
    nested, own = upstream["task_result"]["videos"][0]["url"], record["data"]["result_url"]
    assert own.endswith(f"/v1/videos/{created['task_id']}/content")
    assert plain.get(nested).content == plain.get(own).content


def test_b_says_task_failed_when_kling_refuses(strict: Client) -> None:
    answer = strict.avatar("relay-b", image="data:image/png;base64,xx")
    assert answer.status_code == 400
    assert answer.json() == {
        "code": "task_failed",
        "message": "File is not in a valid base64 format",
        "data": None,
    }


def test_d_is_flat(client: Client) -> None:
    created = client.avatar("relay-d").json()
    assert set(created) == {"task_id", "status"}
    record = until(
        lambda: (
            (found := client.avatar_record("relay-d", created["task_id"]).json())["status"]
            == "completed"
            and found
        )
    )
    assert record["format"] == "mp4"
    assert plain.get(record["url"]).content[4:8] == b"ftyp"


@pytest.mark.parametrize(("switch", "own"), [("yes", True), ("no", False)])
def test_ids_are_rewritten_or_not(open_client: Any, switch: str, own: bool) -> None:
    client = open_client(relay_rewrites=switch)
    ids = [
        client.avatar("relay").json()["data"]["task_id"],
        client.avatar("relay-b").json()["task_id"],
    ]
    assert [job.startswith("task_") for job in ids] == [own, own]


@pytest.mark.parametrize(("keeps", "charges"), [(False, ["charge", "refund"]), (True, ["charge"])])
def test_a_relay_takes_the_money_first_and_usually_gives_it_back(
    open_client: Any, keeps: bool, charges: list[str]
) -> None:
    client = open_client(relay_charges_failures=keeps)
    client.simulator.fault("failed", reason="moderation")
    job = client.avatar("relay-b", external_task_id="e-1").json()["task_id"]
    record = until(
        lambda: (
            (found := client.avatar_record("relay-b", job).json()["data"])["status"] == "FAILURE"
            and found
        )
    )
    assert record["fail_reason"] == "Failure to pass the risk control system"
    ledger = client.simulator.ledger()
    assert [line["kind"] for line in ledger] == charges
    assert {line["external_id"] for line in ledger} == {"e-1"}
    assert (sum(line["amount"] for line in ledger) == 0) == (not keeps)


def test_a_relay_can_drop_the_clients_id(open_client: Any) -> None:
    client = open_client(relay_external_ids="drop")
    created = client.avatar("relay", external_task_id="e-1").json()["data"]
    assert created["task_info"] == {}
    assert client.avatar_record("relay", "e-1").status_code == 400
