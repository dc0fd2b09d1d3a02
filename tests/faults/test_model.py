"""Does the simulated environment behave like the real one where the two could differ?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonata
import pytest

from tests.faults import expressions, workflow
from tests.faults.clockwork import Clock
from tests.faults.dynamo import Refused, Table
from tests.faults.expressions import Invalid, Scope
from tests.faults.plans import Plan

ROOT = Path(__file__).parents[2]
STARTED = "2026-03-01T10:00:00+00:00"
POLLS = {"first": 20, "steady": 7.5, "slow": 600, "slow_after": 1200}
OUTCOMES = (
    {"next": "watch", "archived": {"key": "v"}},
    {"next": "archive", "archived": {}},
    {"next": "join", "archived": {}},
    {"next": "cut", "archived": {}},
)
SCOPES: list[dict[str, Any]] = [
    {
        "polls_done": polls_done,
        "stumbles": max(1, polls_done),
        "polls": POLLS,
        "outcome": outcome,
        "task_id": "t",
        "attempt": 1,
        "soon": soon,
        "archive_error": "LinkDead",
        "join_error": "Unavailable",
        "states": {
            "errorOutput": {"Error": "NotAVideo", "Cause": "7.5"},
            "context": {"State": entered, "Execution": STARTED, "Token": "k"},
            "input": {"task_id": "t", "attempt": 1, "polls": POLLS},
            "result": {"Payload": {"next": "settle"}} | ({"soon": soon} if soon else {}),
        },
    }
    for soon in (0, 7.5)
    for polls_done in (0, 1, 9, 2001)
    for entered in (
        "2026-03-01T10:00:30+00:00",
        "2026-03-01T11:00:00+00:00",
        "2026-03-03T10:00:00+00:00",
    )
    for outcome in OUTCOMES
]


WORKFLOWS = ("workflow", "pieces_workflow", workflow.BEFORE)


def _expressions(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {found for inner in value.values() for found in _expressions(inner)}
    if isinstance(value, list):
        return {found for inner in value for found in _expressions(inner)}
    return {value} if isinstance(value, str) and value.startswith("{%") else set()


EXPRESSIONS = _expressions([workflow.definition(name) for name in WORKFLOWS])


@pytest.mark.parametrize("text", sorted(EXPRESSIONS))
def test_every_expression_of_the_workflow_means_what_jsonata_says(text: str) -> None:
    for scope in SCOPES:
        real = jsonata.Jsonata(text[2:-2])
        for name, value in scope.items():
            if name != "states":
                real.assign(name, value)
        context = scope["states"]["context"]
        places = {
            "State": {"EnteredTime": context["State"]},
            "Execution": {"StartTime": STARTED},
            "Task": {"Token": "k"},
        }
        real.assign("states", {**scope["states"], "context": places})
        assert workflow.evaluate(text, scope) == json.loads(json.dumps(real.evaluate({})))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_model_knows_every_kind_of_state_and_nothing_of_them_is_left_out(name: str) -> None:
    states = workflow.definition(name)["States"]
    assert {one["Type"] for one in states.values()} <= {"Pass", "Task", "Choice", "Wait", "Succeed"}
    known = {
        "Type",
        "Next",
        "End",
        "Resource",
        "Arguments",
        "TimeoutSeconds",
        "Retry",
        "Catch",
        "Assign",
        "Choices",
        "Default",
        "Seconds",
    }
    assert {word for one in states.values() for word in one} <= known


ITEM = {"pk": {"S": "a"}, "n": {"N": "3"}, "m": {"M": {"x": {"S": "1"}}}, "l": {"L": [{"S": "q"}]}}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("attribute_exists(n) AND NOT attribute_exists(z)", True),
        ("n = :three AND m.x = :one", True),
        ("n < :three OR n IN (:one, :three)", True),
        ("size(m) < :three AND size(l) = :first", True),
        ("size(z) < :three", False),  # what is not there has no size, and compares with nothing
        ("z < :three OR attribute_not_exists(z)", True),
        ("(n >= :three) AND (#name <> :one)", True),
        ("n = :one", False),  # a number is no text
    ],
)
def test_conditions_hold_as_dynamodb_has_them(text: str, holds: bool) -> None:
    values = {":three": {"N": "3.0"}, ":one": {"S": "1"}, ":first": {"N": "1"}}
    assert expressions.condition(text)(Scope(ITEM, {"#name": "pk"}, values)) is holds


def test_an_update_changes_what_it_names_and_leaves_the_old_item_alone() -> None:
    values = {
        ":one": {"N": "1"},
        ":s": {"S": "s"},
        ":more": {"L": [{"S": "r"}]},
        ":none": {"L": []},
        ":zero": {"N": "0"},
    }
    text = (
        "SET m.y = :s, c = if_not_exists(c, :zero) + :one, l = list_append(if_not_exists(l, "
        ":none), :more) "
        "ADD n :one REMOVE m.x"
    )
    made = expressions.apply(ITEM, text, {}, values)
    assert made["m"] == {"M": {"y": {"S": "s"}}}
    assert (made["c"], made["n"], made["l"]["L"][1]) == ({"N": "1"}, {"N": "4"}, {"S": "r"})
    assert ITEM["m"] == {"M": {"x": {"S": "1"}}}


@pytest.mark.parametrize("text", ["SET z.y = :s", "SET n = :s, n.y = :s", "SET m.x = :s REMOVE m"])
def test_an_update_that_dynamodb_refuses_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        expressions.apply(ITEM, text, {}, {":s": {"S": "s"}})


def test_a_transaction_is_all_or_nothing_and_its_token_makes_it_once() -> None:
    table = Table(Clock(1, Plan(1)), lambda *_: None)
    one = {":n": {"N": "1"}}
    add = {
        "Update": {
            "Key": {"pk": {"S": "a"}},
            "UpdateExpression": "ADD n :n",
            "ExpressionAttributeValues": one,
        }
    }
    never = {
        "ConditionCheck": {"Key": {"pk": {"S": "b"}}, "ConditionExpression": "attribute_exists(pk)"}
    }
    with pytest.raises(Refused) as refused:
        table.transact_write_items([add, never], "x")
    assert [one["Code"] for one in refused.value.more["CancellationReasons"]] == [
        "None",
        "ConditionalCheckFailed",
    ]
    assert table.items == {}
    for _ in range(2):
        table.transact_write_items([add], "y")
    assert table.items["a"]["n"] == {"N": "1"}


@pytest.mark.parametrize("idle", [{"#idle": "x"}, {":idle": {"N": "1"}}])
@pytest.mark.parametrize("verb", ["update_item", "transact_write_items"])
def test_a_name_or_value_that_no_expression_uses_is_refused(
    verb: str, idle: dict[str, Any]
) -> None:
    table = Table(Clock(1, Plan(1)), lambda *_: None)
    (place,) = idle
    kind = "ExpressionAttributeNames" if place[0] == "#" else "ExpressionAttributeValues"
    update: dict[str, Any] = {"Key": {"pk": {"S": "a"}}, "UpdateExpression": "SET #n = :v"}
    update["ExpressionAttributeNames"] = {"#n": "n"}
    update["ExpressionAttributeValues"] = {":v": {"N": "1"}}
    update[kind] |= idle
    request = {"TransactItems": [{"Update": update}]} if verb.startswith("transact") else update
    with pytest.raises(Refused, match="unused"):
        getattr(table, verb)(**request)
    assert table.items == {}


def test_the_model_does_without_the_cdk_which_starts_node_in_each_of_its_processes() -> None:
    code = "import sys, tests.faults.series, tests.faults.unkind; sys.exit('jsii' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
