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
        "First",
        "Watch",
        "Archive",
        "Settle",
    }
    assert states["First"]["Arguments"]["FunctionName"] == "${Watch}"


def test_no_state_of_a_task_that_goes_well_is_plumbing(template: Template) -> None:
    """By callback: the first wait, the query, the archive, the settling; each is paid for."""
    states = template.workflow()["States"]
    way = ["First", _caught(states["First"], "LookAgain")["Next"]]
    while not states[way[-1]].get("End"):
        way.append(states[way[-1]]["Next"])
    assert way == ["First", "Watch", "Archive", "Settle"]


def test_only_what_is_free_to_repeat_is_repeated(template: Template) -> None:
    states = template.workflow()["States"]
    assert {name for name, state in states.items() if "Retry" in state} == {
        "First",
        "Watch",
        "Settle",
    }
    ends = ["States.Timeout", "LookAgain", "Over"]
    for name in ("First", "Watch"):
        assert states[name]["Retry"][0] == {"ErrorEquals": ends, "MaxAttempts": 0}


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
        (1, 60, 15),
        (100, 2399, 15),
        (101, 2400, 300),
        (200, 86_399, 300),
        (200, 86_401, 21_600),
        (2001, 3000, 21_600),
    ],
)
def test_it_asks_steadily_then_slowly(
    template: Template, polls_done: int, age_seconds: int, waits: int
) -> None:
    assert wait_seconds(template.workflow(), KIE, polls_done, age_seconds) == waits


def test_it_first_waits_the_models_minimum_and_any_wait_is_whole_seconds_and_at_least_one(
    template: Template,
) -> None:
    workflow = template.workflow()
    first = compiled(workflow["States"]["First"]["TimeoutSeconds"])
    for given, waits in ((0.2, 1), (60, 60), (60.5, 61)):
        assert first(states={"input": {"polls": KIE | {"first": given}}}) == waits
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
        age += wait(polls=polls, polls_done=polls_done, soon=0, states=at(age))
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
    assert _caught(states["Archive"], "LinkDead")["Next"] == "ArchiveLater"
    assert states["ArchiveLater"]["Next"] == "Watch"
    assert compiled(states["ArchiveLater"]["Seconds"])(stumbles=stumbles) == waits


@pytest.mark.parametrize("state", ["First", "Watch"])
@pytest.mark.parametrize(
    ("error", "next_state"),
    [
        ("LookAgain", "Watch"),
        ("Over", "Done"),
        ("States.Timeout", "Watch"),
        ("Lambda.TooManyRequestsException", "Watch"),
    ],
)
def test_a_wait_that_ends_without_a_video_goes_where_its_error_says(
    template: Template, state: str, error: str, next_state: str
) -> None:
    waiting = template.workflow()["States"][state]
    assert waiting["Next"] == "Archive"
    assert _caught(waiting, error)["Next"] == next_state


def test_a_look_that_is_due_soon_waits_that_long_and_the_next_one_does_not(
    template: Template,
) -> None:
    watch = template.workflow()["States"]["Watch"]
    soon = compiled(_caught(watch, "LookAgain")["Assign"]["soon"])
    for cause, waits in (("7.5", 7.5), ("0", 0), ("0.0", 0)):
        assert soon(states={"errorOutput": {"Error": "LookAgain", "Cause": cause}}) == waits
    assert _caught(watch, "States.Timeout")["Assign"]["soon"] == 0
    assert compiled(watch["TimeoutSeconds"])(
        polls=KIE, polls_done=3, soon=7.5, states=at(100)
    ) == 8  # fmt: skip


def test_a_copy_that_is_handed_over_goes_on_at_once(template: Template) -> None:
    archive = template.workflow()["States"]["Archive"]
    assert _caught(archive, "HandOver") == {"ErrorEquals": ["HandOver"], "Next": "Archive"}


def _caught(state: Json, error: str) -> Json:
    """What a state does about an error: the first of its catchers that names it."""
    found: Json = next(
        one for one in state["Catch"] if {error, "States.ALL"} & set(one["ErrorEquals"])
    )
    return found


def test_a_step_is_given_what_it_needs(template: Template) -> None:
    states = template.workflow()["States"]
    given = {
        name: set(states[name]["Arguments"]["Payload"])
        for name in ("First", "Watch", "Archive", "Settle")
    }
    assert given == {
        "First": {"task_id", "attempt", "task_token", "definition", "polls_done"},
        "Watch": {
            "definition",
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
        polls=polls, polls_done=polls_done, soon=0, states=at(age_seconds)
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
