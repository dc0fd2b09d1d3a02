"""Every provider and media delivery, from the files to the archive: by link and callback, and as
from a laptop."""

from __future__ import annotations

import pytest

from local import environment
from tests.journey.scene import CASES, Scene

pytestmark = pytest.mark.journey

OTHER_RELAYS = {"relay-nested": "relay-b", "relay-flat": "relay-d"}


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


@pytest.mark.parametrize("name", CASES)
def test_a_video_comes_by_link_and_callback(scene: Scene, name: str) -> None:
    archived_and_paid_once(scene, name)


@pytest.mark.xdist_group("laptop")
@pytest.mark.parametrize("name", CASES)
def test_a_video_comes_where_no_provider_can_reach_us(laptop: Scene, name: str) -> None:
    archived_and_paid_once(laptop, name)


@pytest.mark.parametrize(("name", "address"), OTHER_RELAYS.items())
@pytest.mark.parametrize(
    "house", ["scene", pytest.param("laptop", marks=pytest.mark.xdist_group("laptop"))]
)
def test_a_relay_may_answer_in_its_own_envelope(
    request: pytest.FixtureRequest, house: str, name: str, address: str
) -> None:
    scene: Scene = request.getfixturevalue(house)
    simulator = scene.environment.simulator
    assert simulator is not None
    secret = {**simulator.secrets()["relay"], "base_url": simulator.addresses[address]}
    environment.put_secret(scene.environment.cloud, scene.environment.stack, "relay", secret)
    scene.kill_lambda_processes()  # the new ones read the secret anew
    scene.drop_task(name, {"provider": "relay"})
    archived_and_paid_once(scene, name)
