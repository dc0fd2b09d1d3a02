"""A provider's webhook key as a person pastes it: with a line end, without its padding, or not at
all a key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import pytest

from functions import links, secrets
from functions.handlers import callback
from tests.doors.conftest import CONTEXT, Workshop

KEY = b"thirty-two bytes, as Kling does!"
WHOLE = "whsec_" + base64.b64encode(KEY).decode()
BODY = b'{"task_id": "880000000000000001", "task_status": "succeed"}'


def call_back(shop: Workshop, configured: object) -> int:
    """A callback that Kling signed with KEY, to a stack that was given this for it."""
    client = shop.cloud.client("secretsmanager")
    keys = {"current": "k1", "k1": "a callback key of forty-eight characters, or more"}
    stored = json.dumps({**keys, "kling": configured})
    client.put_secret_value(SecretId=shop.callback_secret, SecretString=stored)
    secrets.forget()
    url = links.callback_url("kling", "5f3ac9e1b7d84c2e9a6f0b1d2c3e4f5a", 1, keys)
    names = ("provider", "task_id", "attempt", "signature")
    stamp = str(int(time.time()))
    mac = hmac.digest(KEY, f"msg_1.{stamp}.".encode() + BODY, hashlib.sha256)
    headers = {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": stamp,
        "Webhook-Signature": f"v1,{base64.b64encode(mac).decode()}",
    }
    event = {
        "pathParameters": dict(zip(names, url.split("/")[-4:], strict=True)),
        "headers": headers,
        "body": BODY.decode(),
    }
    return int(callback.handler(event, CONTEXT)["statusCode"])


@pytest.mark.parametrize(
    "pasted", [WHOLE, f"{WHOLE}\n", f" {WHOLE}", WHOLE.rstrip("="), ["whsec_b2xk", WHOLE]]
)
def test_a_key_is_taken_as_it_was_pasted(shop: Workshop, pasted: object) -> None:
    assert call_back(shop, pasted) == 200


@pytest.mark.parametrize("pasted", ["whsec_not base64", "whsec_", "   ", ["?", WHOLE]])
def test_a_key_that_cannot_sign_is_named_in_the_log(
    shop: Workshop, caplog: pytest.LogCaptureFixture, pasted: object
) -> None:
    status = call_back(shop, pasted)
    log = caplog.text
    assert "a webhook key of kling in the callback secret cannot sign" in log
    assert "thirty" not in log
    assert status == (200 if WHOLE in pasted else 404)  # type: ignore[operator]


def test_a_key_of_another_account_refuses_and_is_no_wrong_key(
    shop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    assert call_back(shop, "whsec_" + base64.b64encode(b"another account").decode()) == 404
    assert "cannot sign" not in caplog.text
