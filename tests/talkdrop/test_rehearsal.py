"""A rehearsal before it is paid: the price is agreed to, and what cannot work is not begun. The
whole way of one is played in tests/journey/test_rehearsal.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from functions.tasks import queries, steps
from functions.tasks.task import Status
from tests.talkdrop.conftest import Account, Person
from tests.talkdrop.test_commands import kie_that_answers

QUICK = ("doctor", "--rehearse", "--minutes", "0")


@pytest.fixture
def _kie_works(account: Account) -> Iterator[None]:
    secrets = account.cloud.client("secretsmanager")
    secret_id = account.outputs["ProviderSecretKie"]
    before = secrets.get_secret_value(SecretId=secret_id)["SecretString"]
    with kie_that_answers({"code": 200, "msg": "success", "data": 100}) as url:
        key = {"api_key": "sk-rehearsal", "base_url": url}
        secrets.put_secret_value(SecretId=secret_id, SecretString=json.dumps(key))
        yield
    secrets.put_secret_value(SecretId=secret_id, SecretString=before)


def rehearsals(person: Person) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(person.types("list", "rehearsal/", "--json").out)
    return found


def at_rest(task: dict[str, Any]) -> None:
    known = queries.load(task["task_id"])
    assert known
    steps.cancel(known, code="CANCELLED", message="over")


@pytest.mark.usefixtures("_kie_works")
def test_nothing_is_sent_before_the_price_of_a_rehearsal_is_agreed_to(person: Person) -> None:
    before = rehearsals(person)
    done = person.types(*QUICK)
    assert (done.code, "no terminal to ask at: add --yes" in done.err) == (1, True)
    assert "0.045 USD" in done.err
    assert rehearsals(person) == before


@pytest.mark.usefixtures("_kie_works")
def test_a_rehearsal_may_cost_what_was_agreed_to_and_is_followed_rather_than_paid_again(
    person: Person,
) -> None:
    """Nothing runs here, so it stays READY: the time to wait is over at once."""
    done = person.types(*QUICK, "--yes")
    (task,) = [one for one in rehearsals(person) if one["status"] == "READY"]
    assert (done.code, task["quote_usd"]) == (1, 0.045)
    assert "BAD  rehearsal: READY, in the queue: talkdrop explain" in done.out
    assert task["consent"]["scope"] == "a rehearsal"
    known = queries.load(task["task_id"])
    assert known
    assert float(known.max_usd or 0) == 0.045
    again = person.types(*QUICK)
    assert "goes on with the rehearsal" in again.err
    assert len([one for one in rehearsals(person) if one["status"] == "READY"]) == 1
    at_rest(task)


def test_a_rehearsal_is_not_begun_where_the_key_does_not_work(person: Person) -> None:
    before = rehearsals(person)
    done = person.types(*QUICK, "--yes")
    assert (done.code, "BAD  rehearsal: not begun" in done.out) == (1, True)
    assert rehearsals(person) == before


def test_without_the_word_nothing_is_rehearsed(account: Account, person: Person) -> None:
    assert "rehearsal" not in person.types("doctor").out
    assert [one for one in rehearsals(person) if one["status"] != Status.CANCELLED] == []
