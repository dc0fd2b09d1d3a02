"""A long voice on the embedded run: made in pieces, and joined although the joiner is killed."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from bench.kills import DIED, function_of
from tests.journey.scene import PATIENCE_SECONDS, PORTRAIT, Scene
from tests.segments.conftest import saved, sentences

pytestmark = pytest.mark.journey

KEY = "long/lecture.wav"
SPLIT = {"model": "infinitalk/from-audio", "long_voice": "split"}


@pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="sees in /proc when the joiner is at work"
)
def test_a_joiner_that_is_killed_at_its_work_leaves_one_video(scene: Scene, tmp_path: Path) -> None:
    samples, _ = sentences(16.0, 16_000, seed=3)
    scene.drop("long/lecture.json", json.dumps(SPLIT).encode())
    scene.drop("long/lecture.png", PORTRAIT)
    scene.drop(KEY, saved(samples, tmp_path, "lecture.wav", 16_000, 1).read_bytes())
    kill_the_joiner(scene)

    event = scene.event("Task Completed", KEY)
    content, manifest, _ = scene.archived(event)
    assert manifest["video"]["bytes"] == len(content)
    assert (len(scene.tasks_of(KEY)), len(scene.completion_ids(KEY))) == (1, 1)
    assert deaths_of_the_joiner(scene) == 1
    assert len(versions_of(scene, event["detail"]["video"]["key"])) == 1
    pieces = [scene.environment.task(one["task_id"]) for one in manifest["pieces"]]
    assert len(pieces) == 2
    assert [len(scene.environment.charges_of(one)) for one in pieces] == [1, 1]


def kill_the_joiner(scene: Scene) -> None:
    """By SIGKILL, while it has the pieces or the joined video open."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for process in scene.environment.cloud.lambda_processes():
            if function_of(process) == "join" and is_joining(process):
                os.kill(process, signal.SIGKILL)
                return
        time.sleep(0.01)
    pytest.fail("no joiner was seen at its work")


def is_joining(process: int) -> bool:
    with suppress(OSError):  # a file that it closed, or it ended, while we looked
        for handle in Path(f"/proc/{process}/fd").iterdir():
            if handle.readlink().suffix == ".mp4":
                return True
    return False


def deaths_of_the_joiner(scene: Scene) -> int:
    """In the middle of an invocation, as the emulator saw them."""
    running = scene.environment
    died = DIED.findall(running.cloud.log.read_text(errors="replace"))
    return died.count(running.stack.function("join"))


def versions_of(scene: Scene, key: str) -> list[object]:
    found = scene.environment.cloud.client("s3").list_object_versions(
        Bucket=scene.environment.stack.outputs["ArchiveBucket"], Prefix=key
    )
    return list(found["Versions"])
