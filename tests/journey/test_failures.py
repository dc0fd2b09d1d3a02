"""Things break on the way, and the task still completes, paid once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.journey.scene import PORTRAIT, VOICE, Scene

pytestmark = pytest.mark.journey


def test_a_task_whose_callback_is_lost_completes_by_polling(scene: Scene) -> None:
    assert scene.environment.simulator is not None
    scene.environment.simulator.control("POST", "callbacks", {"enabled": False})
    try:
        completes(scene, "lost-callback")
    finally:
        scene.environment.simulator.control("POST", "callbacks", {"enabled": True})


def test_a_task_outlives_an_outage_of_its_provider(scene: Scene) -> None:
    providers = scene.environment.simulator
    assert providers is not None
    key = dropped(scene, "outage")
    scene.event("Task Submitted", key)
    providers.kill()
    time.sleep(8)  # long enough for polls to fail
    providers.start()
    paid_once(scene, key)


@pytest.mark.skipif(
    not Path("/proc/self/cwd").exists(), reason="finds the processes in /proc, as Linux has it"
)
def test_a_task_outlives_the_death_of_every_lambda_process(scene: Scene) -> None:
    key = dropped(scene, "killed")
    scene.event("Task Submitted", key)
    assert scene.kill_lambda_processes()
    paid_once(scene, key)


def completes(scene: Scene, folder: str) -> None:
    paid_once(scene, dropped(scene, folder))


def dropped(scene: Scene, folder: str) -> str:
    scene.drop(f"{folder}/hello.png", PORTRAIT)
    scene.drop(f"{folder}/hello.mp3", VOICE)
    return f"{folder}/hello.mp3"


def paid_once(scene: Scene, key: str) -> None:
    event = scene.event("Task Completed", key)
    content, manifest, _ = scene.archived(event)
    assert manifest["video"]["bytes"] == len(content)
    assert (
        len(scene.tasks_of(key)),
        len(scene.charges_of(key)),
        len(scene.completion_ids(key)),
    ) == (1, 1, 1)
