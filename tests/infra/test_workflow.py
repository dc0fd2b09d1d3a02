"""The workflow, its expressions evaluated by a JSONata of their own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jsonata import Jsonata

from functions import providers
from tests.infra.template import Json, Template

HISTORY_EVENTS = 25_000  # https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
EVENTS_AN_ASK = 6  # entered, scheduled, started, submitted, timed out, exited
STARTED = datetime(2026, 11, 1, tzinfo=UTC)
KIE = {"first": 60, "steady": 15, "slow": 300, "slow_after": 2400}


def test_it_is_standard_traced_and_logs_errors_without_what_the_states_carry(
    template: Template,
) -> None:
    machine = template.machine()
    assert machine.get("StateMachineType", "STANDARD") == "STANDARD"
    assert machine["TracingConfiguration"] == {"Enabled": True}
    assert machine["LoggingConfiguration"]["Level"] == "ERROR"
    assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False
    assert template.workflow()["QueryLanguage"] == "JSONata"


def test_it_watches_archives_and_settles_and_never_pays(template: Template) -> None:
    machine = template.machine()
    called = {name: template.text(arn) for name, arn in machine["DefinitionSubstitutions"].items()}
    assert called == {
        "Partition": "aws", "Watch": "WatchFunction", "Archive": "ArchiveFunction",
        "Settle": "SettleFunction",
    }  # fmt: skip
    states = template.workflow()["States"]
    assert {name for name, state in states.items() if state["Type"] == "Task"} == {
        "Watch",
        "Archive",
        "Settle",
    }


def test_only_what_is_free_to_repeat_is_repeated(template: Template) -> None:
    states = template.workflow()["States"]
    assert {name for name, state in states.items() if "Retry" in state} == {"Watch", "Settle"}
    assert states["Watch"]["Retry"][0] == {"ErrorEquals": ["States.Timeout"], "MaxAttempts": 0}


def test_every_state_can_be_reached_and_leads_to_the_end(template: Template) -> None:
    workflow = template.workflow()
    forward = {name: set(leads_to(state)) for name, state in workflow["States"].items()}
    assert reached(forward, {workflow["StartAt"]}) == set(forward)
    backward = {
        name: {other for other, goes in forward.items() if name in goes} for name in forward
    }
    assert reached(backward, {"Done"}) == set(forward)


def test_every_expression_is_jsonata(template: Template) -> None:
    found = list(expressions(template.workflow()))
    assert len(found) > 10
    for expression in found:
        Jsonata(expression)


@pytest.mark.parametrize(
    ("polls_done", "age_seconds", "waits"),
    [
        (0, 0, 60),
        (1, 60, 15),
        (100, 2399, 15),
        (101, 2400, 300),
        (200, 86_399, 300),
        (200, 86_401, 21_600),
        (2001, 3000, 21_600),
        (0, 200_000, 60),
    ],
)
def test_it_asks_first_after_the_models_minimum_then_steadily_then_slowly(
    template: Template, polls_done: int, age_seconds: int, waits: int
) -> None:
    assert wait_seconds(template.workflow(), KIE, polls_done, age_seconds) == waits


def test_a_wait_is_a_whole_number_of_seconds_and_at_least_one(template: Template) -> None:
    workflow = template.workflow()
    assert wait_seconds(workflow, KIE | {"first": 0.2}, 0, 0) == 1
    assert wait_seconds(workflow, KIE | {"steady": 2.5}, 1, 10) == 3
    assert isinstance(wait_seconds(workflow, KIE | {"steady": 2.5}, 1, 10), int)


@pytest.mark.parametrize(
    "polls",
    [KIE, {"first": 1, "steady": 1, "slow": 1, "slow_after": 1e9}],
    ids=["as documented", "as eager as can be"],
)
def test_a_job_that_never_ends_does_not_fill_the_history(template: Template, polls: Json) -> None:
    workflow = template.workflow()
    wait = compiled(workflow["States"]["Watch"]["TimeoutSeconds"])
    polls_done, age = 0, 0.0
    while age < workflow["TimeoutSeconds"]:
        age += wait(polls=polls, polls_done=polls_done, states=at(age))
        polls_done += 1
    assert (
        polls_done * EVENTS_AN_ASK < HISTORY_EVENTS * 0.6
    )  # the rest is for callbacks, failures and the archive


def test_it_runs_longer_than_any_provider_keeps_a_video(template: Template) -> None:
    longest = max(providers.get(name).retention_days for name in providers.NAMES)
    assert template.workflow()["TimeoutSeconds"] > longest * 86400


@pytest.mark.parametrize(("stumbles", "waits"), [(1, 30), (2, 60), (3, 120), (8, 3600), (40, 3600)])
def test_a_failed_copy_waits_longer_each_time_and_then_asks_for_a_fresh_link(
    template: Template, stumbles: int, waits: int
) -> None:
    states = template.workflow()["States"]
    assert states["Archive"]["Catch"][0]["Next"] == "ArchiveLater"
    assert states["ArchiveLater"]["Next"] == "Watch"
    assert compiled(states["ArchiveLater"]["Seconds"])(stumbles=stumbles) == waits


@pytest.mark.parametrize(
    ("outcome", "next_state"),
    [
        ({"next": "watch"}, "Watch"),
        ({"next": "archive"}, "Archive"),
        ({"next": "settle", "archived": {"key": "a"}}, "Settle"),
        ({"next": "done"}, "Done"),
        ({}, "Watch"),
    ],
)
def test_it_goes_where_a_step_says(template: Template, outcome: Json, next_state: str) -> None:
    route = template.workflow()["States"]["Route"]
    for choice in route["Choices"]:
        met = compiled(choice["Condition"])(outcome=outcome)
        assert isinstance(met, bool)  # anything else fails the execution
        if met:
            assert choice["Next"] == next_state
            return
    assert route["Default"] == next_state


def test_a_step_is_given_what_it_needs(template: Template) -> None:
    states = template.workflow()["States"]
    given = {
        name: set(states[name]["Arguments"]["Payload"]) for name in ("Watch", "Archive", "Settle")
    }
    assert given == {
        "Watch": {
            "task_id",
            "attempt",
            "task_token",
            "polls_done",
            "stumbles",
            "archive_error",
        },
        "Archive": {"task_id", "attempt"},
        "Settle": {"task_id", "attempt", "archived"},
    }


def compiled(text: str) -> Any:
    """A function that evaluates the expression with these variables."""
    assert text.startswith("{%")
    assert text.endswith("%}")
    expression = Jsonata(text[2:-2])

    def evaluate(**variables: Any) -> Any:
        for name, value in variables.items():
            expression.assign(name, value)
        return expression.evaluate(None)

    return evaluate


def wait_seconds(workflow: Json, polls: Json, polls_done: int, age_seconds: float) -> Any:
    return compiled(workflow["States"]["Watch"]["TimeoutSeconds"])(
        polls=polls, polls_done=polls_done, states=at(age_seconds)
    )


def at(age_seconds: float) -> Json:
    entered = STARTED + timedelta(seconds=age_seconds)
    return {
        "context": {
            "State": {"EnteredTime": stamp(entered)},
            "Execution": {"StartTime": stamp(STARTED)},
        }
    }


def stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def leads_to(state: Json) -> Iterator[str]:
    for place in (state, *state.get("Choices", []), *state.get("Catch", [])):
        yield from (place[word] for word in ("Next", "Default") if word in place)
    if state.get("End"):
        yield "Done"


def reached(graph: dict[str, set[str]], start: set[str]) -> set[str]:
    seen: set[str] = set()
    waiting = set(start)
    while waiting:
        name = waiting.pop()
        seen.add(name)
        waiting |= graph[name] - seen
    return seen


def expressions(node: Any) -> Iterator[str]:
    if isinstance(node, str) and node.startswith("{%"):
        yield node[2:-2]
    elif isinstance(node, dict):
        for value in node.values():
            yield from expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value)
