"""A task by the API, signed as AWS wants it."""

from __future__ import annotations

import pytest

from tests.journey.scene import PORTRAIT, VOICE, Scene

pytestmark = pytest.mark.journey

# No voice of the inbox's own convention lies in the folder, so that no drop makes a task of these
# files.
FILES = {"portrait": "by-api/face.png", "audio": "by-api/spoken"}


@pytest.fixture(scope="module", autouse=True)
def files(scene: Scene) -> None:
    scene.drop(FILES["portrait"], PORTRAIT)
    scene.drop(FILES["audio"], VOICE)


def test_the_same_key_and_body_answer_the_same_task_which_is_paid_once(scene: Scene) -> None:
    answers = [scene.post_task(FILES, key="order-7") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    ids = {answer.json()["task_id"] for answer in answers}
    assert len(ids) == 1
    scene.event_of("Task Completed", ids.pop())
    assert scene.post_task(FILES, key="order-7").json()["status"] == "COMPLETED"
    assert len(scene.charges_of(FILES["audio"])) == 1


def test_the_same_key_with_another_body_is_refused(scene: Scene) -> None:
    scene.post_task(FILES, key="order-8")
    answer = scene.post_task({**FILES, "prompt": "smile"}, key="order-8")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_unsigned_request_is_refused(scene: Scene) -> None:
    assert scene.post_task(FILES, signed=False).status_code == 403
