"""The fault simulation dealt into small tests that run in this process, where a mutant is. Not
part of `make test`."""

from __future__ import annotations

import pytest

from tests.faults import series

SEEDS = range(40)
UNKIND_SEEDS = range(20)
PARTS = range(0, 64, 8)  # of the sixty-four into which all single faults are dealt


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("profile", series.PROFILES)
def test_a_random_schedule(profile: str, seed: int) -> None:
    _holds(series.one_random(profile, seed))


@pytest.mark.parametrize("seed", UNKIND_SEEDS)
@pytest.mark.parametrize("profile", series.PROFILES)
def test_an_unkind_schedule(profile: str, seed: int) -> None:
    _holds(series.one_unkind(profile, seed))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("profile", series.PROFILES)
def test_single_faults(profile: str, part: int) -> None:
    for outcome in series.all_singles(profile, (part, 64)):
        _holds(outcome)


def _holds(outcome: series.Outcome) -> None:
    assert not outcome.broke, f"{outcome.broke} ← {outcome.again}"
