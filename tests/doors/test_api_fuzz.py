"""Whatever a request holds, the API answers it: never a server error."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from functions.api.routes import ROUTES
from functions.handlers import api
from talkdrop import openapi
from tests.doors.conftest import CONTEXT, Workshop

ODD: list[Any] = [
    "", " ", "a", "é", "\u0000", "\ud800", "\u202e", "..", "/", "%", "%2F", "%ff", "in/x.mp3",
    "0" * 32, "abcd", "9" * 400, "-1", "1e999", "2026-02-30", "9999-12-31T23:59:59-23:59",
    "0001-01-01", "READY", "kie", "{", "[]",
    None, True, 0, -1, 1e308, [], {}, [[]], {"a": {"b": []}}, 10**40,
]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_odd_values_anywhere_are_answered_and_never_a_server_error(
    shop: Workshop, seed: int
) -> None:
    chance = random.Random(seed)
    for _ in range(150):
        route = chance.choice(ROUTES)
        answer = send(route, chance)
        status = answer["statusCode"]
        assert status < 500, (route, answer)
        if status >= 400:
            assert answer["headers"]["Content-Type"] == "application/problem+json"
            assert json.loads(answer["body"])["detail"]


def send(route: str, chance: random.Random) -> Any:
    method, path = route.split()
    one = openapi.OPERATIONS[route]
    texts = [value for value in ODD if isinstance(value, str)]
    path = path.replace("{task_id}", chance.choice(texts) or "x")
    query = {name: chance.choice(texts) for name in [*one.query, "odd"] if chance.random() < 0.3}
    body: Any = dict(one.example or {})
    for name in [*(one.body.model_fields if one.body else ()), "odd"]:
        if chance.random() < 0.3:
            body[name] = chance.choice(ODD)
    if chance.random() < 0.1:
        body = chance.choice(ODD)
    headers = {"idempotency-key": chance.choice(texts)} if chance.random() < 0.3 else {}
    event = {
        "version": "2.0", "rawPath": path, "rawQueryString": "", "headers": headers,
        "queryStringParameters": query or None, "isBase64Encoded": chance.random() < 0.05,
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"},
        "body": json.dumps(body, ensure_ascii=False) if method == "POST" else None,
    }  # fmt: skip
    return api.handler(event, CONTEXT)
