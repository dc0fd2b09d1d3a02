"""Executions go on by the definition that they were started with, under the functions of today.

`workflow_1.json` is the workflow of a job as it was until 2026-11-21.
"""

from __future__ import annotations

import pytest

from tests.faults import workflow
from tests.faults.plans import Harsh, Plan, Script
from tests.faults.runs import Run, Scene, harsh_scene


def begun_before(run: Run) -> Run:
    run.account.workflow.current = workflow.BEFORE
    return run


@pytest.mark.parametrize("callbacks", [True, False])
@pytest.mark.parametrize("profile", ["kie", "kling", "relay"])
def test_an_execution_of_before_comes_to_its_video(profile: str, callbacks: bool) -> None:
    scene = Scene(profile, ("files", "api"), callbacks=callbacks)
    run = begun_before(Run(scene, Plan(1, Script(seconds=240.0)), 1))
    result = run.play()
    assert result.broke is None, result.broke
    assert result.statuses == {"COMPLETED": 2}
    assert {one.status for one in run.account.workflow.executions.values()} == {"SUCCEEDED"}


@pytest.mark.parametrize("profile", ["kie", "kling", "relay"])
def test_whatever_fails_meanwhile_nothing_is_paid_twice_lost_or_stuck(profile: str) -> None:
    for seed in range(60, 85):
        scene = harsh_scene(profile, seed)
        plan = Harsh(seed, calm_seconds=scene.first_alone_seconds)
        result = begun_before(Run(scene, plan, seed)).play()
        assert result.broke is None, (seed, result.broke)
