"""What a function is told by its environment: options, AWS clients and secrets."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from typing import Any

import pytest

from functions import secrets, settings
from functions.settings import Options
from functions.tasks.task import Status
from tests.paid.desk import Desk

DEFAULTS: dict[str, Any] = {
    "default_provider": "kie", "providers": (), "default_models": {}, "waiting_hours": 24,
    "drop_delay_seconds": 2, "callbacks": True, "submit_enabled": True, "link_hours": 6,
    "lease_seconds": 180, "max_usd_per_task": 20, "require_consent": False,
    "keep_watermark": False, "lift_limits": {}, "budget_usd_per_day": None,
    "budget_usd_per_month": None, "rate_limits": {}, "polls": {}, "media_delivery": {},
    "resend_same_id": False, "ambiguous_hold_hours": 6, "silent_hold_hours": 24,
    "long_voice": "split", "sweep_minutes": 5, "row_retention_days": 400,
}  # fmt: skip


def test_what_no_option_says_is_as_the_documentation_has_it(desk: Desk) -> None:
    desk.options()
    found = asdict(settings.options())
    assert {name: found[name] for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("callbacks", False, False), ("lease_seconds", 7, 7), ("link_hours", 1, 1.0),
        ("link_hours", 0.5, 0.5), ("default_provider", "kling", "kling"),
        ("providers", ["kie"], ("kie",)), ("max_usd_per_task", "1.50", Decimal("1.50")),
        ("max_usd_per_task", 3, Decimal(3)), ("max_usd_per_task", 0.1, Decimal("0.1")),
        ("max_usd_per_task", None, None), ("polls", {"first": 3}, {"first": 3.0}),
        ("default_models", {"kie": "x"}, {"kie": "x"}),
    ],
)  # fmt: skip
def test_an_option_is_kept_in_its_own_type(desk: Desk, name: str, given: Any, kept: Any) -> None:
    desk.options(**{name: given})
    found = getattr(settings.options(), name)
    assert (found, type(found)) == (kept, type(kept))


@pytest.mark.parametrize(
    ("name", "given", "wants"),
    [
        ("callbacks", "false", "true or false"), ("callbacks", 0, "true or false"),
        ("lease_seconds", True, "a whole number"), ("lease_seconds", 1.5, "a whole number"),
        ("lease_seconds", "7", "a whole number"), ("link_hours", "6", "a number"),
        ("link_hours", True, "a number"), ("link_hours", None, "a number"),
        ("default_provider", 7, "text"), ("default_provider", None, "text"),
        ("providers", "kie", "a list of texts"), ("providers", [1], "a list of texts"),
        ("max_usd_per_task", "a lot", "a number, or null"),
        ("max_usd_per_task", "-1", "a number, or null"),
        ("max_usd_per_task", "1.", "a number, or null"),
        ("max_usd_per_task", True, "a number, or null"), ("polls", [], "an object"),
        ("default_models", "x", "an object"),
    ],
)  # fmt: skip
def test_an_option_of_another_type_is_refused_by_its_name(
    desk: Desk, name: str, given: Any, wants: str
) -> None:
    desk.options(**{name: given})
    with pytest.raises(ValueError, match=rf"^option {name} is .*: it must be {wants}$"):
        desk.api("GET", "/models")


def test_what_is_no_option_is_refused_with_those_that_are(desk: Desk) -> None:
    desk.options(submit_enable=False, akin=1)
    with pytest.raises(ValueError, match="unknown option akin, submit_enable: the options are def"):
        desk.api("GET", "/models")
    desk.options(polls={"first": "soon"})
    with pytest.raises(ValueError, match=r"option polls.first is \"soon\": it must be a number"):
        desk.api("GET", "/models")
    with pytest.raises(ValueError, match="they must be a JSON object"):
        Options.parse("[]")
    assert Options.parse("") == Options()


def test_a_client_gives_up_in_time_and_presigns_for_the_region_s_own_host(desk: Desk) -> None:
    del desk
    settings.forget()
    for service in ("s3", "sqs"):
        config: Any = settings.aws(service).meta.config
        assert (config.connect_timeout, config.read_timeout) == (3, 20)
        assert config.retries == {"mode": "standard", "total_max_attempts": 5}
        assert (config.signature_version == "s3v4") is (service == "s3")
    s3_config: Any = settings.aws("s3").meta.config
    s3 = s3_config.s3
    assert s3["addressing_style"] == "virtual"
    assert s3["us_east_1_regional_endpoint"] == "regional"
    assert settings.aws("s3") is settings.aws("s3")


def test_a_secret_is_kept_for_five_minutes(desk: Desk) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent())
    for seconds, reads in ((0, 1), (299.9, 1), (0.1, 2), (1, 2)):
        desk.wait(seconds)
        desk.call_back(task)
        keys = [call for call in desk.calls("GetSecretValue") if call["SecretId"] == "callback-key"]
        assert len(keys) == reads, seconds


def test_a_secret_that_is_no_object_is_an_error_that_does_not_quote_it(desk: Desk) -> None:
    desk.account.secrets["callback-key"] = "canary"  # type: ignore[assignment]
    task = desk.row(Status.READY)
    with pytest.raises(TypeError, match="the secret callback-key must be a JSON object"):
        desk.api("GET", "/models") and desk.call_back(task)


def test_what_is_forgotten_is_made_anew(desk: Desk) -> None:
    del desk
    before = secrets.wire()
    secrets.forget()
    assert before.is_closed
    assert secrets.wire() is not before
