"""A rehearsal before it is paid: the price is agreed to, and what cannot work is not begun. The
whole way of one is played in tests/journey/test_rehearsal.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from functions.tasks import queries, steps
from functions.tasks.task import Status
from local.simulator import Simulator
from local.simulator.options import Options
from talkdrop import stack
from tests.talkdrop.conftest import Account, Person
from tests.talkdrop.test_commands import kie_that_answers

QUICK = ("doctor", "--rehearse", "--minutes", "0")


@contextmanager
def secret_of_kie(account: Account, key: dict[str, str]) -> Iterator[None]:
    secrets = account.cloud.client("secretsmanager")
    secret_id = account.outputs["ProviderSecretKie"]
    before = secrets.get_secret_value(SecretId=secret_id)["SecretString"]
    secrets.put_secret_value(SecretId=secret_id, SecretString=json.dumps(key))
    try:
        yield
    finally:
        secrets.put_secret_value(SecretId=secret_id, SecretString=before)


@pytest.fixture
def _kie_works(account: Account) -> Iterator[None]:
    with kie_that_answers({"code": 200, "msg": "success", "data": 100}) as url:
        with secret_of_kie(account, {"api_key": "sk-rehearsal", "base_url": url}):
            yield


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


def test_only_the_secret_says_that_a_rehearsal_costs_nothing(
    account: Account, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A simulator that is up, and known, is no proof: this stack's key may be a real one."""
    before = rehearsals(person)
    simulator = Simulator(Options())
    simulator.start()
    try:
        monkeypatch.setenv(stack.SIMULATOR, simulator.addresses["control"])
        with kie_that_answers({"code": 200, "msg": "success", "data": 100}) as elsewhere:
            with secret_of_kie(account, {"api_key": "sk-real", "base_url": elsewhere}):
                done = person.types(*QUICK)
        assert (done.code, "no terminal to ask at: add --yes" in done.err) == (1, True)
        assert "costs nothing" not in done.err
        assert rehearsals(person) == before
        key = {"api_key": simulator.keys["kie"], "base_url": simulator.addresses["kie"]}
        with secret_of_kie(account, key):
            done = person.types(*QUICK)
        assert "costs nothing" in done.err
        (task,) = [one for one in rehearsals(person) if one["status"] == "READY"]
        at_rest(task)
    finally:
        simulator.stop()


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
