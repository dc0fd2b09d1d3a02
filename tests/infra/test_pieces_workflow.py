"""The workflow of a long voice, its expressions evaluated by a JSONata of their own."""

from __future__ import annotations

import pytest
from jsonata import Jsonata

from tests.infra.template import Json, Template
from tests.infra.test_workflow import (
    HISTORY_EVENTS,
    at,
    compiled,
    expressions,
    leads_to,
    reached,
)

EVENTS_A_LOOK = 9  # a look, its route, and the pause behind it


@pytest.fixture
def pieces(template: Template) -> Json:
    return template.workflow("PiecesWorkflow")


def test_it_is_standard_traced_and_logs_errors_without_what_the_states_carry(
    template: Template,
) -> None:
    machine = template.machine("PiecesWorkflow")
    assert machine.get("StateMachineType", "STANDARD") == "STANDARD"
    assert machine["TracingConfiguration"] == {"Enabled": True}
    assert machine["LoggingConfiguration"]["Level"] == "ERROR"
    assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False


def test_it_cuts_gathers_joins_and_settles_and_never_pays(template: Template) -> None:
    machine = template.machine("PiecesWorkflow")
    called = {name: template.text(arn) for name, arn in machine["DefinitionSubstitutions"].items()}
    assert called == {
        "Partition": "aws", "Cut": "CutFunction", "Gather": "GatherFunction",
        "Join": "JoinFunction", "Settle": "SettleFunction",
    }  # fmt: skip


def test_every_state_can_be_reached_and_leads_to_the_end(pieces: Json) -> None:
    forward = {name: set(leads_to(state)) for name, state in pieces["States"].items()}
    assert reached(forward, {pieces["StartAt"]}) == set(forward)
    backward = {
        name: {other for other, goes in forward.items() if name in goes} for name in forward
    }
    assert reached(backward, {"Done"}) == set(forward)


def test_every_expression_is_jsonata(pieces: Json) -> None:
    found = list(expressions(pieces))
    assert len(found) > 10
    for expression in found:
        Jsonata(expression)


@pytest.mark.parametrize(("age", "waits"), [(0, 300), (86_399, 300), (86_401, 3600)])
def test_a_wake_that_got_lost_costs_minutes_and_after_a_day_an_hour(
    pieces: Json, age: int, waits: int
) -> None:
    assert compiled(pieces["States"]["Gather"]["TimeoutSeconds"])(states=at(age)) == waits


def test_a_piece_that_waits_for_a_person_does_not_fill_the_history(pieces: Json) -> None:
    wait = compiled(pieces["States"]["Gather"]["TimeoutSeconds"])
    looks, age = 0, 0.0
    while age < pieces["TimeoutSeconds"]:
        age += wait(states=at(age))
        looks += 1
    assert looks * EVENTS_A_LOOK < HISTORY_EVENTS / 2


@pytest.mark.parametrize("step", ["Cut", "Join"])
@pytest.mark.parametrize(("stumbles", "waits"), [(1, 30), (2, 60), (8, 3600), (40, 3600)])
def test_a_cut_or_a_join_that_failed_is_repeated_ever_later(
    pieces: Json, step: str, stumbles: int, waits: int
) -> None:
    states = pieces["States"]
    assert states[step]["Catch"][0]["Next"] == f"{step}Later"
    assert compiled(states[f"{step}Later"]["Seconds"])(stumbles=stumbles) == waits


@pytest.mark.parametrize(
    ("outcome", "next_state"),
    [
        ({"next": "cut"}, "Cut"),
        ({"next": "gather"}, "Pause"),
        ({"next": "join"}, "Join"),
        ({"next": "settle", "archived": {"key": "a"}}, "Settle"),
        ({"next": "done"}, "Done"),
        ({}, "Pause"),
    ],
)
def test_it_goes_where_a_step_says(pieces: Json, outcome: Json, next_state: str) -> None:
    route = pieces["States"]["Route"]
    for choice in route["Choices"]:
        met = compiled(choice["Condition"])(outcome=outcome)
        assert isinstance(met, bool)
        if met:
            assert choice["Next"] == next_state
            return
    assert route["Default"] == next_state


def test_a_step_is_given_what_it_needs(pieces: Json) -> None:
    states = pieces["States"]
    given = {name: set(state["Arguments"]["Payload"]) for name, state in states.items()
             if state["Type"] == "Task"}  # fmt: skip
    assert given == {
        "Cut": {"task_id", "attempt"},
        "Gather": {"task_id", "attempt", "task_token", "stumbles", "join_error"},
        "Join": {"task_id", "attempt"},
        "Settle": {"task_id", "attempt", "archived"},
    }
