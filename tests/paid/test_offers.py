"""What can be made, at which limits and prices, and whether it is well."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from functions import providers
from functions.providers.base import RateLimit
from functions.tasks.task import Status
from tests.paid.desk import Desk

MODELS = Path(__file__).parent / "models.json"
_FACTS = (
    "default_model", "rate_limit", "retention_days", "hidden_seconds", "charges_failed_jobs",
    "proves_by_callback_url", "signs_callbacks", "tells_balance", "speaks_text",
    "callbacks_name_jobs", "media_deliveries", "host", "watermark_settings",
)  # fmt: skip


def test_a_limit_a_price_or_a_setting_of_a_model_changes_on_purpose_only(desk: Desk) -> None:
    """models.json is what GET /models answered when each was last held against its vendor's
    documentation (docs/providers.md)."""
    code, shown = desk.api("GET", "/models")
    assert code == 200
    assert shown == json.loads(MODELS.read_text())


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("comet", ("avatar", RateLimit(10, 10), 30, 120, None, False, False, False, False, False,
                   ("url", "base64"), "https://api.cometapi.com", {})),
        ("kie", ("infinitalk/from-audio", RateLimit(18, 10, 100), 14, 120, False, True, True, True,
                 False, True, ("url", "upload", "upload-base64", "upload-url"),
                 "https://api.kie.ai", {})),
        ("kling", ("avatar", RateLimit(10, 10, 5), 30, 120, None, False, True, False, True, True,
                   ("url", "base64"), "https://api-singapore.klingai.com",
                   {"watermark_info": {"enabled": True}})),
        ("relay", ("avatar", RateLimit(5, 10), 30, 120, True, False, False, False, False, False,
                   ("url", "base64"), "", {})),
    ],
)  # fmt: skip
def test_what_a_provider_can_and_allows_changes_on_purpose_only(
    name: str, facts: tuple[Any, ...]
) -> None:
    client = providers.get(name)
    assert dict(zip(_FACTS, facts, strict=True)) == {one: getattr(client, one) for one in _FACTS}


@pytest.mark.parametrize("name", providers.NAMES)
def test_a_prompt_that_is_empty_is_replaced_where_the_vendor_refuses_it(name: str) -> None:
    for model in providers.get(name).models.values():
        assert model.prompt("Smile.") == "Smile."
        assert model.prompt("  ") == (model.neutral_prompt or "  ")


def test_a_provider_is_shown_open_stopped_or_paused(desk: Desk) -> None:
    desk.put("breaker#kie", open=True, why="kie answered 402")
    desk.options(default_provider="kling", default_models={"kling": "avatar"})
    shown = desk.api("GET", "/models")[1]
    assert shown["default_provider"] == "kling"
    states = {one["provider"]: (one["state"], one["why"]) for one in shown["providers"]}
    assert states["kie"] == ("stopped", "kie answered 402")
    assert states["kling"] == ("open", None)
    defaults = {one["provider"]: one["default_model"] for one in shown["providers"]}
    assert (defaults["kling"], defaults["kie"]) == ("avatar", "auto")
    desk.options(submit_enabled=False)
    shown = desk.api("GET", "/models")[1]
    assert {one["state"] for one in shown["providers"]} == {"paused"}


# Is it well?


def health(desk: Desk, **queues: tuple[int, int, int]) -> dict[str, Any]:
    """GET /health where these queues hold so many messages: ready, taken, delayed."""
    urls = {name: f"https://sqs.example/{name}" for name in queues if name.endswith("dead")}
    os.environ["TALKDROP_DEAD_LETTER_URLS"] = json.dumps(urls)
    desk.options(budget_usd_per_day=5)

    def attributes(call: dict[str, Any]) -> dict[str, Any]:
        found = queues.get(call["QueueUrl"].rpartition("/")[2], (0, 0, 0))
        known = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible",
                 "ApproximateNumberOfMessagesDelayed")  # fmt: skip
        assert set(call["AttributeNames"]) == set(known)
        return {"Attributes": dict(zip(known, map(str, found), strict=True))}

    desk.instead("GetQueueAttributes", attributes)
    try:
        code, answer = desk.api("GET", "/health")
    finally:
        del os.environ["TALKDROP_DEAD_LETTER_URLS"]
    assert code == 200
    return dict(answer)


def test_all_is_well(desk: Desk) -> None:
    assert health(desk, uploads=(1, 2, 3), submissions=(4, 5, 6), x_dead=(0, 0, 0)) == {
        "status": "ok", "submitting": True, "held": {"tasks": 0, "exact": True}, "stopped": [],
        "queues": {
            "uploads": {"ready": 1, "taken": 2, "delayed": 3},
            "submissions": {"ready": 4, "taken": 5, "delayed": 6},
        },
        "dead_letters": {"x_dead": 0},
        "budgets": [{"period": "2026-03-01", "spent_usd": 0.0, "cap_usd": 5.0}],
    }  # fmt: skip


@pytest.mark.parametrize("letters", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_a_dead_letter_wants_attention(desk: Desk, letters: tuple[int, int, int]) -> None:
    shown = health(desk, x_dead=letters, y_dead=(0, 0, 0))
    assert (shown["status"], shown["dead_letters"]) == ("attention", {"x_dead": 1, "y_dead": 0})


def test_a_held_task_or_a_stopped_provider_wants_attention(desk: Desk) -> None:
    for _ in range(3):
        desk.row(Status.HELD)
    shown = health(desk)
    assert (shown["status"], shown["held"]) == ("attention", {"tasks": 3, "exact": True})
    found = desk.account.really

    def partly(call: dict[str, Any]) -> Any:
        return {**found("dynamodb", "Query", call), "LastEvaluatedKey": {"pk": {"S": "x"}}}

    desk.instead("Query", partly)
    assert health(desk)["held"] == {"tasks": 3, "exact": False}


def test_a_stopped_provider_is_named_with_its_reason(desk: Desk) -> None:
    desk.put("breaker#kling", open=True, why="kling answered 1102")
    desk.put("budget#2026-03-01", spent_usd=2)
    shown = health(desk)
    assert shown["status"] == "attention"
    assert shown["stopped"] == [{"provider": "kling", "why": "kling answered 1102"}]
    assert shown["budgets"] == [{"period": "2026-03-01", "spent_usd": 2.0, "cap_usd": 5.0}]


# Addresses.


@pytest.mark.parametrize("path", ["/", "/nowhere", "/tasks/x/y/z"])
def test_an_address_that_is_none_says_where_they_all_are(desk: Desk, path: str) -> None:
    code, problem = desk.api("GET", path)
    assert (code, problem["detail"]) == (
        404,
        "there is no such address: GET /openapi.json lists them all",
    )
    assert (problem["type"], problem["title"], problem["status"]) == (
        "about:blank", "Not Found", 404,
    )  # fmt: skip
    assert "errors" not in problem
