"""Callbacks: what is posted, when, signed how, and again if it is not taken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local.simulator.callbacks import kie_signature, standard_webhooks_signature
from tests.simulator.conftest import CallbackReceiver, Client, until


def test_the_signature_of_kies_sheet() -> None:
    signature = kie_signature(
        "kie_test_hmac_key_0001", "9f2c6b1e0d3a4c5f8e7b6a5948372615", 1790000000
    )
    assert signature == "yxA2qj9gEsZybyIcwlOY/nNwbwMMmfAQCtNiOpSSep4="


@pytest.mark.parametrize(
    ("secret", "message", "timestamp", "body", "signature"),
    [
        (
            "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI=",
            "9876543210",
            1781080794,
            '{"id":"1234567890","status":"succeeded","message":"","create_time":1781080778802,"update_time":1781080794151}',
            "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4=",
        ),
        (
            "whsec_bG9jYWwtc2ltdWxhdG9yLXNlY3JldC0zMi1ieXRlcyE=",
            "msg_0001",
            1790000000,
            '{"task_id":"880000000000000001","task_status":"succeed"}',
            "v1,/Jr9pQvA3l9N75E48iFtSauAMjLZA9r7DdQIgrFLr2s=",
        ),
    ],
)
def test_the_signatures_of_klings_sheet(
    secret: str, message: str, timestamp: int, body: str, signature: str
) -> None:
    assert standard_webhooks_signature(secret, message, timestamp, body.encode()) == signature


def test_kie_calls_back_once_at_the_end_with_an_envelope(
    client: Client, receiver: CallbackReceiver
) -> None:
    job = client.kie(callback=receiver.address + "/callback").json()["data"]["taskId"]
    (body,) = until(receiver.bodies)
    assert (body["code"], body["msg"]) == (200, "Playground task completed successfully.")
    assert (body["data"]["taskId"], body["data"]["state"], body["data"]["creditsConsumed"]) == (
        job,
        "success",
        24,
    )
    assert json.loads(body["data"]["param"])["callBackUrl"] == receiver.address + "/callback"
    assert json.loads(body["data"]["resultJson"])["resultUrls"]


def test_kie_calls_back_about_a_failure_too(client: Client, receiver: CallbackReceiver) -> None:
    client.simulator.fault("failed")
    client.kie(callback=receiver.address + "/callback")
    (body,) = until(receiver.bodies)
    assert (body["code"], body["data"]["state"], body["data"]["resultJson"]) == (501, "fail", None)


def test_kie_signs_the_id_and_the_time_if_it_has_a_key(
    open_client: Any, receiver: CallbackReceiver
) -> None:
    client = open_client(kie_hmac_key="a key")
    job = client.kie(callback=receiver.address).json()["data"]["taskId"]
    ((_, headers, _),) = until(lambda: receiver.received)
    expected = kie_signature("a key", job, int(headers["x-webhook-timestamp"]))
    assert headers["x-webhook-signature"] == expected


@pytest.mark.parametrize("provider", ["kling", "comet", "relay", "relay-b", "relay-d"])
def test_kling_posts_the_raw_object_at_every_change(
    client: Client, receiver: CallbackReceiver, provider: str
) -> None:
    answer = client.avatar(provider, callback_url=receiver.address, external_task_id="job-1").json()
    job = (answer.get("data") or answer)["task_id"]
    until(lambda: len(receiver.received) == 3)
    bodies = receiver.bodies()
    assert [body["task_status"] for body in bodies] == ["submitted", "processing", "succeed"]
    assert all("code" not in body and "data" not in body for body in bodies)
    assert bodies[-1]["task_info"] == {"parent_video": {}, "external_task_id": "job-1"}
    assert set(bodies[-1]["task_result"]["videos"][0]) == {"id", "url", "duration"}
    # Behind a relay that makes its own ids, it is Kling that calls, and Kling does not know them.
    assert (bodies[-1]["task_id"] == job) == (provider in ("kling", "comet", "relay"))


def test_kling_signs_with_each_of_its_secrets(open_client: Any, receiver: CallbackReceiver) -> None:
    old, new = "whsec_b2xkIHNlY3JldCBvZiBrbGluZw==", "whsec_bmV3IHNlY3JldCBvZiBrbGluZw=="
    client = open_client(kling_webhook_secret=f"{old},{new}")
    client.avatar(callback_url=receiver.address)
    until(lambda: len(receiver.received) == 3)
    for _, headers, body in receiver.received:
        message, timestamp = headers["webhook-id"], int(headers["webhook-timestamp"])
        expected = [
            standard_webhooks_signature(secret, message, timestamp, body) for secret in (old, new)
        ]
        assert headers["webhook-signature"].split() == expected


def test_a_callback_that_is_not_taken_is_sent_three_times_more(
    client: Client, receiver: CallbackReceiver
) -> None:
    receiver.refuse = 3
    client.kie(callback=receiver.address)
    until(lambda: receiver.received)
    assert receiver.refuse == 0
    receiver.refuse = 100
    client.kie(callback=receiver.address)
    until(lambda: receiver.refuse == 96)
    until(lambda: client.control("GET", "state")["callbacks_waiting"] == 0)
    assert receiver.refuse == 96


def test_callbacks_can_be_switched_off(client: Client, receiver: CallbackReceiver) -> None:
    assert client.control("POST", "callbacks", enabled=False) == {"enabled": False}
    job = client.kie(callback=receiver.address).json()["data"]["taskId"]
    until(lambda: client.kie_record(job)["state"] == "success")
    assert client.control("GET", "state")["callbacks_waiting"] == 0
    assert receiver.received == []


def test_the_address_of_the_documentations_example_is_never_called(client: Client) -> None:
    client.kie(callback="https://your-domain.com/api/callback")
    until(lambda: client.simulator.ledger())
    assert client.control("GET", "state")["callbacks_waiting"] == 0
