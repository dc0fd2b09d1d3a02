"""The promise, over the real handlers: at most one charge, never a silent loss, and every task
ends.

The whole of it takes longer: `make faults N=10000` (docs/reliability.md).
"""

from __future__ import annotations

import os

import pytest

from tests.faults import scenes, series

# A worker of pytest-xdist plays by itself: the tests are what is shared out.
PROCESSES = 1 if "PYTEST_XDIST_WORKER" in os.environ else os.cpu_count() or 2
PARTS = 3  # of the sixteen into which all single faults are dealt, so that each is of every call


def _nothing_broke(tally: series.Tally) -> None:
    assert not tally.broken, "\n".join([str(dict(tally.broken)), *tally.shown[:5]])


@pytest.mark.parametrize("profile", series.PROFILES)
def test_a_fault_at_any_call_costs_no_second_charge_and_loses_nothing(profile: str) -> None:
    tally = series.play(profile, series.singles(profile, 0, 0)[:PARTS], PROCESSES)
    assert tally.runs > 600
    _nothing_broke(tally)


@pytest.mark.parametrize("profile", series.PROFILES)
def test_two_faults_in_one_task_do_not_either(profile: str) -> None:
    _nothing_broke(series.play(profile, series.pairs(profile, 128, 1)[:8], PROCESSES))


@pytest.mark.parametrize("profile", series.PROFILES)
def test_everything_at_once_does_not_either(profile: str) -> None:
    tally = series.play(profile, series.randoms(profile, 200, 0), PROCESSES)
    assert tally.runs == 200
    _nothing_broke(tally)


def test_a_long_voice_is_paid_a_piece_once_and_joined_once_whatever_fails() -> None:
    """More of it: `python -m tests.faults long --runs 200` and `long-singles --runs 12`."""
    tally = series.play("kie", series.longs("kie", 20, 0), PROCESSES)
    assert tally.runs == 20
    _nothing_broke(tally)


def test_a_fault_at_any_call_of_a_long_voice_does_not_either() -> None:
    tally = series.play("kie", series.singles_of_long("kie", 150, 7), PROCESSES)
    assert tally.runs > 20
    _nothing_broke(tally)


def test_every_job_of_kling_whose_answer_was_lost_is_found_by_our_id() -> None:
    tally = series.play("kling", series.randoms("kling", 100, 5000), PROCESSES)
    assert tally.held_charged == 0  # what is held was never made: nothing is paid on that inference


def test_a_thousand_at_once_do_not_pass_a_cap_for_a_hundred() -> None:
    result = scenes.a_thousand_at_once("kie")
    assert result.broke is None
    assert 0 < result.charges <= 100


@pytest.mark.parametrize("profile", series.PROFILES)
def test_everything_that_ever_came_may_come_three_times_more(profile: str) -> None:
    for seed in range(1, 6):
        result, charges, event_ids = scenes.everything_thrice(profile, seed)
        assert result.broke is None
        assert (charges, event_ids) == (0, 0)


@pytest.mark.parametrize("profile", series.PROFILES)
def test_a_job_that_two_tasks_are_given_goes_to_the_first_and_a_person(profile: str) -> None:
    assert scenes.same_job_for_two(profile) is None


@pytest.mark.parametrize("profile", series.PROFILES)
def test_forged_callbacks_do_not_displace_the_genuine_one(profile: str) -> None:
    assert scenes.forged_callbacks(profile) is None


def test_two_archivers_of_one_video_leave_one_object() -> None:
    assert scenes.two_archivers("kie") is None


def test_files_that_no_event_tells_of_are_found() -> None:
    assert scenes.an_inbox_without_events("kie") is None


def test_a_job_that_was_denied_and_made_is_archived_and_counted() -> None:
    assert scenes.a_denied_job("kie") is None


@pytest.mark.parametrize("profile", series.PROFILES)
def test_what_the_bus_did_not_take_for_an_hour_is_announced_all_the_same(profile: str) -> None:
    assert scenes.a_refusing_bus(profile) is None


@pytest.mark.parametrize("profile", series.PROFILES)
def test_what_is_sent_is_what_the_row_says_whenever_a_file_is_replaced(profile: str) -> None:
    assert scenes.a_replaced_face(profile) is None


def test_a_run_is_its_seed() -> None:
    from tests.faults.runs import harsh

    def happened(seed: int) -> list[str]:
        lines = harsh("kie", seed, trace=True).trace
        return [
            line for line in lines if " prints " not in line
        ]  # a log line carries the time of day

    assert happened(7) == happened(7)
    assert happened(7) != happened(8)
