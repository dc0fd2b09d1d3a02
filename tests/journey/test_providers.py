"""Every provider and media delivery, from the files to the archive: by link and callback, and as
from a laptop."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from local import environment
from tests.journey.scene import PORTRAIT, VOICE, Scene

pytestmark = pytest.mark.journey

CASES: Mapping[str, Mapping[str, Any]] = {
    "kie-infinitalk": {
        "provider": "kie",
        "model": "infinitalk/from-audio",
        "resolution": "720p",
        "seed": 12345,
    },
    "kie-avatar": {"provider": "kie", "model": "kling/v1-avatar-standard", "prompt": "smiles"},
    "kling-std": {"provider": "kling", "mode": "std"},
    "kling-pro": {"provider": "kling", "mode": "pro"},
    "kling-text": {
        "provider": "kling",
        "text": "Good morning, and welcome to our show.",
        "voice_id": "genshin_vindi2",
    },
    "comet": {"provider": "comet"},
    "relay-pass-through": {"provider": "relay"},
}
OTHER_RELAYS = {"relay-nested": "relay-b", "relay-flat": "relay-d"}


def dropped(scene: Scene, name: str, settings: Mapping[str, Any]) -> None:
    """The settings go first: the last file to come finds all there is."""
    if "text" not in settings:
        scene.drop(f"all/{name}.json", json.dumps(dict(settings)).encode())
        scene.drop(f"all/{name}.mp3", VOICE)
    scene.drop(f"all/{name}.png", PORTRAIT)
    if "text" in settings:
        scene.drop(f"all/{name}.json", json.dumps(dict(settings)).encode())


def archived_and_paid_once(scene: Scene, name: str) -> None:
    event = scene.wait(
        lambda one: one["detail-type"] == "Task Completed" and one["detail"]["stem"] == name
    )
    content, manifest, _ = scene.archived(event)
    assert manifest["video"]["bytes"] == len(content)
    assert scene.environment.simulator is not None
    jobs = [
        line["job_id"] for line in scene.environment.simulator.charges() if line["kind"] == "charge"
    ]
    assert jobs.count(scene.environment.task(event["detail"]["task_id"])["job_id"]) == 1


@pytest.fixture(scope="module")
def all_dropped(scene: Scene) -> Scene:
    for name, settings in CASES.items():
        dropped(scene, name, settings)
    return scene


@pytest.fixture(scope="module")
def all_dropped_on_a_laptop(laptop: Scene) -> Scene:
    for name, settings in CASES.items():
        dropped(laptop, name, settings)
    return laptop


@pytest.mark.parametrize("name", CASES)
def test_a_video_comes_by_link_and_callback(all_dropped: Scene, name: str) -> None:
    archived_and_paid_once(all_dropped, name)


@pytest.mark.parametrize("name", CASES)
def test_a_video_comes_where_no_provider_can_reach_us(
    all_dropped_on_a_laptop: Scene, name: str
) -> None:
    archived_and_paid_once(all_dropped_on_a_laptop, name)


@pytest.mark.parametrize(("name", "address"), OTHER_RELAYS.items())
@pytest.mark.parametrize("house", ["scene", "laptop"])
def test_a_relay_may_answer_in_its_own_envelope(
    request: pytest.FixtureRequest, house: str, name: str, address: str
) -> None:
    scene: Scene = request.getfixturevalue(house)
    simulator = scene.environment.simulator
    assert simulator is not None
    secret = {**simulator.secrets()["relay"], "base_url": simulator.addresses[address]}
    environment.put_secret(scene.environment.cloud, scene.environment.stack, "relay", secret)
    scene.kill_lambda_processes()  # the new ones read the secret anew
    dropped(scene, name, {"provider": "relay"})
    archived_and_paid_once(scene, name)
