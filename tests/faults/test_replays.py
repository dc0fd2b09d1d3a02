"""A broken run is printed as a command that plays exactly it, with the fewest departures from the
ordinary that still break it."""

from __future__ import annotations

import shlex

import pytest

from tests.faults import __main__ as command
from tests.faults import exhaustive, invariants, replays
from tests.faults.clockwork import Fault
from tests.faults.replays import Replay

RULE = "rank is monotone"


@pytest.fixture
def hole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that every failing job breaks."""
    monkeypatch.setattr(invariants, "_EDGES", invariants._EDGES - {("SUBMITTED", "FAILED")})


def _first_broken() -> tuple[Replay, list[str]]:
    for seed in range(100):
        run = Replay("kie", seed)
        result = run.play()
        if result.broke is not None and result.broke.rule == RULE:
            return run, result.made
    raise AssertionError("no job failed in a hundred runs")


@pytest.mark.usefixtures("hole")
def test_a_broken_random_run_is_shrunk_to_the_task_and_the_job_that_fails() -> None:
    run, made = _first_broken()
    fewest = replays.shrunk(run, RULE, made, seconds=120)
    assert fewest.parts is not None
    assert any(part.endswith(" fails") for part in fewest.parts)
    assert all(part.startswith(("task ", "job ")) for part in fewest.parts)
    assert len(fewest.parts) <= 4 < len(made)


@pytest.mark.usefixtures("hole")
def test_the_printed_command_plays_exactly_the_broken_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, made = _first_broken()
    for again in (run, Replay(run.profile, run.seed, run.model, tuple(made))):
        words = shlex.split(again.command())
        assert words[1:4] == ["-m", "tests.faults", "replay"]
        assert command.main(words[3:]) == 1
        assert RULE in capsys.readouterr().out


@pytest.mark.usefixtures("hole")
def test_a_pair_is_printed_as_its_two_strikes_and_shrunk_to_none_that_it_does_not_need() -> None:
    strikes = (
        replays.strike("call", 5, Fault("slow", 8.0)),
        replays.strike("delivery", 2, [0.0, 3.0]),
    )
    run = Replay("kie", 1, "job fails", strikes)
    words = shlex.split(run.command())
    assert words[-3:] == ["--parts", "call 5 slow 8.0", "delivery 2 after 0.0 3.0"]
    assert replays.shrunk(run, RULE, []).parts == ()


def test_a_strike_in_words_is_the_strike() -> None:
    base = exhaustive.bases("kie")["files"]
    played = base.run({9: Fault("error-after")}, {3: []}, 1, trace=True).trace
    parts = (replays.strike("call", 9, Fault("error-after")), replays.strike("delivery", 3, []))
    again = Replay("kie", 1, "files", parts).play(trace=True).trace
    assert [line for line in again if "prints" not in line] == [
        line for line in played if "prints" not in line
    ]


def test_delta_debugging_leaves_what_is_needed_together() -> None:
    parts = [str(number) for number in range(20)]
    kept = replays.minimal(parts, lambda some: {"3", "17"} <= set(some), lambda: False)
    assert kept == ["3", "17"]
