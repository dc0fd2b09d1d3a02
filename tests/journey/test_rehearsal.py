"""`talkdrop doctor --rehearse` against the embedded run: one task, from an upload to its video."""

from __future__ import annotations

import json
import os

import boto3
import pytest

from functions import settings
from local.aws import cloud
from talkdrop.__main__ import main
from tests.journey.scene import Scene

pytestmark = pytest.mark.journey


def test_a_rehearsal_goes_the_whole_way_and_is_charged_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    running = scene.environment
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_ENDPOINT_URL", running.cloud.url)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, cloud.REGION)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, cloud.KEY)
    known = set(os.environ)
    words = ["--stack", running.stack.name, "doctor", "--rehearse", "--yes", "--json"]
    try:
        main(words)
    finally:
        for name in set(os.environ) - known:  # what the command set for itself
            del os.environ[name]
        settings.forget()
    printed = capsys.readouterr()
    checks = {one["name"]: one for one in json.loads(printed.out)}
    played = {name: checks[name] for name in ("rehearsal", "video", "event", "callback")}
    assert {name: one["ok"] for name, one in played.items()} == dict.fromkeys(played, True), played
    assert "as its row and its manifest say" in played["video"]["detail"]
    for status in ("READY", "COMPLETED"):
        assert f" s  {status}" in printed.err
    task_id = str(played["rehearsal"]["detail"]).split()[0]
    (row,) = [one for one in running.tasks() if str(one["task_id"]).startswith(task_id)]
    assert str(row["audio"]["key"]).startswith("_talkdrop/uploads/rehearsal/")
    assert len(running.charges_of(row)) == 1
