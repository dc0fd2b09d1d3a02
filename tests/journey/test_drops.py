"""From files in the inbox to the archived video and the event: every order, every name, every
repeat, every refusal."""

from __future__ import annotations

import base64
import hashlib
import io
import random
from collections.abc import Mapping

import pytest
from PIL import Image

from functions.videos import mp4
from tests.journey.scene import PORTRAIT, VOICE, VOICE_SECONDS, Scene

pytestmark = pytest.mark.journey

ODD = "a b+c/héllo 你好 100%"


@pytest.fixture(scope="module", autouse=True)
def everything_dropped(scene: Scene) -> None:
    """All at once, so that the tests wait together: each looks at its own files."""
    doubled = [scene.drop("plain/hello.png", PORTRAIT), scene.drop("plain/hello.mp3", VOICE)]
    doubled += [scene.drop(f"{ODD}.mp3", VOICE), scene.drop(f"{ODD}.png", PORTRAIT)]
    for event in doubled * 2:
        scene.repeat(event)
    scene.drop("voice-first/hello.mp3", VOICE)
    scene.drop("portrait-first/portrait.png", PORTRAIT)
    for name, (portrait, voice) in refused().items():
        scene.drop(f"refused/{name}.png", portrait)
        scene.drop(f"refused/{name}.mp3", voice)


def refused() -> Mapping[str, tuple[bytes, bytes]]:
    return {
        "page": (PORTRAIT, b"<!DOCTYPE html><html><body>Sign in to download</body></html>" * 40),
        "tiny": (png(9, 9), VOICE),
        "heavy": (heavy_png(), VOICE),
    }


def png(width: int, height: int) -> bytes:
    drawn = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(drawn, "PNG")
    return drawn.getvalue()


def heavy_png() -> bytes:
    """A picture of noise, 12 MB that no compression makes less."""
    drawn = io.BytesIO()
    Image.frombytes("RGB", (2000, 2000), random.Random(1).randbytes(12_000_000)).save(
        drawn, "PNG", compress_level=0
    )
    return drawn.getvalue()


def test_a_dropped_face_and_voice_become_a_video_that_lasts_as_long_as_the_voice(
    scene: Scene,
) -> None:
    event = scene.event("Task Completed", "plain/hello.mp3")
    content, manifest, _ = scene.archived(event)
    walk = mp4.Walk()
    walk.feed(content)
    assert walk.finish() == pytest.approx(VOICE_SECONDS, abs=0.5)
    assert manifest["inputs"]["audio"]["key"] == "plain/hello.mp3"


def test_archive_checksum_and_manifest_agree(scene: Scene) -> None:
    event = scene.event("Task Completed", "plain/hello.mp3")
    content, manifest, of_s3 = scene.archived(event)
    sha256 = hashlib.sha256(content)
    assert of_s3["ChecksumSHA256"] == base64.b64encode(sha256.digest()).decode()
    assert manifest["video"]["sha256"] == event["detail"]["video"]["sha256"] == sha256.hexdigest()
    assert manifest["video"]["bytes"] == len(content)


@pytest.mark.parametrize("key", ["plain/hello.mp3", f"{ODD}.mp3"])
def test_events_that_come_three_times_make_one_task_one_charge_one_event_id(
    scene: Scene, key: str
) -> None:
    scene.event("Task Completed", key)
    assert len(scene.tasks_of(key)) == 1
    assert len(scene.charges_of(key)) == 1
    assert len(scene.completion_ids(key)) == 1


def test_a_voice_waits_for_its_portrait(scene: Scene) -> None:
    key = "voice-first/hello.mp3"
    scene.event("Task Waiting", key)
    scene.drop("voice-first/hello.png", PORTRAIT)
    scene.event("Task Completed", key)
    assert (
        len(scene.tasks_of(key)),
        len(scene.charges_of(key)),
        len(scene.completion_ids(key)),
    ) == (1, 1, 1)


def test_a_portrait_serves_every_voice_of_its_folder(scene: Scene) -> None:
    keys = ["portrait-first/01.mp3", "portrait-first/02.mp3"]
    for key in keys:
        scene.drop(key, VOICE)
    for key in keys:
        scene.event("Task Completed", key)
        assert (
            len(scene.tasks_of(key)),
            len(scene.charges_of(key)),
            len(scene.completion_ids(key)),
        ) == (1, 1, 1)


@pytest.mark.parametrize(
    ("name", "says"),
    [("page", "web page"), ("tiny", "9 × 9 pixels"), ("heavy", "takes at most 10.0 MB")],
)
def test_what_is_refused_fails_with_a_reason_and_costs_nothing(
    scene: Scene, name: str, says: str
) -> None:
    key = f"refused/{name}.mp3"
    event = scene.event("Task Failed", key)
    assert says in event["detail"]["error"]["message"]
    assert scene.charges_of(key) == []
    note = scene.environment.cloud.client("s3").get_object(
        Bucket=scene.environment.inbox, Key=f"refused/{name}.error.json"
    )
    assert says in note["Body"].read().decode()
