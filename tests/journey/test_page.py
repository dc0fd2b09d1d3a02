"""The page in a real browser on the embedded run: the video is made, watched and charged once."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.credentials import Credentials

from local.aws.cloud import KEY, REGION
from talkdrop import loopback
from talkdrop.commands.page import WEB
from talkdrop.relay import ApiRelay
from talkdrop.wire import Wire
from tests.browser import Window, browser, needs_browser, window
from tests.journey.scene import SAMPLES, Scene

pytest.importorskip("playwright")

from playwright.sync_api import expect

pytestmark = [pytest.mark.journey, needs_browser]


@pytest.fixture(scope="module")
def tab(scene: Scene) -> Iterator[Window]:
    outputs, simulator = scene.environment.stack.outputs, scene.environment.simulator
    assert simulator
    with httpx.Client(timeout=60) as http:
        credentials = Credentials(KEY, KEY)
        wire = Wire(outputs["ApiUrl"], http, region=REGION, credentials=credentials, token="")
        shown = {"stack": "Talkdrop", "region": REGION, "embedded": True, "samples": False}
        relay = ApiRelay(wire, http, shown, simulator=simulator.addresses["control"])
        server = loopback.Loopback(loopback.static_files(WEB), relay)
        threading.Thread(target=server.serve, daemon=True).start()
        with browser() as made, window(made, server.url) as opened:
            yield opened
            assert opened.troubles == []
        server.stop()
        server.close()


CONSENT = {"who": "Ada Lovelace", "scope": "training videos", "until": "2099-12-31"}


def give(tab: Window, tmp_path: Path, stem: str) -> Any:
    """Choose a face, a voice and a consent of this name in New; answers the button that has the
    price."""
    (tmp_path / f"{stem}.json").write_text(json.dumps({"consent": CONSENT}))
    for name, kind in (("portrait.png", "png"), ("voice.mp3", "mp3")):
        (tmp_path / f"{stem}.{kind}").write_bytes((SAMPLES / name).read_bytes())
    tab.go("new")
    tab.page.get_by_label("Folder", exact=True).fill("by-page")
    chosen = [tmp_path / f"{stem}.{kind}" for kind in ("png", "mp3", "json")]
    tab.page.locator("#files").set_input_files([str(path) for path in chosen])
    return tab.page.get_by_role("button", name="Make the video for $0.12")


def task_id(tab: Window) -> str:
    tab.page.wait_for_url(re.compile("#/tasks/"))
    return str(tab.page.url.rpartition("/")[2])


def test_a_video_is_made_and_watched_and_making_it_again_is_the_same_task(
    tab: Window, scene: Scene, tmp_path: Path
) -> None:
    give(tab, tmp_path, "مرحبا <b>").click()
    made = task_id(tab)
    video = tab.page.locator("video")
    video.wait_for()
    video.evaluate("one => one.play()")
    expect(video).not_to_have_js_property("currentTime", 0)
    assert video.evaluate("one => one.videoWidth") > 0
    expect(tab.page.locator("article")).to_contain_text("charged once")  # asked for by itself
    assert tab.violations() == []
    give(tab, tmp_path, "مرحبا <b>").click()
    assert task_id(tab) == made
    task = scene.environment.task(made)
    assert (len(scene.charges_of(task["audio"]["key"])), task["consent"]) == (1, CONSENT)
    tab.go()
    assert tab.page.locator(f"a[href='#/tasks/{made}']").inner_text().startswith("by-page")


def test_a_lost_answer_is_rehearsed_and_charged_once(
    tab: Window, scene: Scene, tmp_path: Path
) -> None:
    tab.go("rehearsal")
    tab.page.get_by_role("button", name="The next one: Lose an answer").click()
    tab.page.get_by_text("To strike once").wait_for()
    give(tab, tmp_path, "lost").click()
    made = task_id(tab)
    tab.page.locator("video").wait_for()
    expect(tab.page.locator("article")).to_contain_text("charged once")  # asked for by itself
    tab.go("rehearsal")
    tab.page.get_by_text("It struck once").wait_for()
    assert "each charged once" in tab.page.locator(".verdict").inner_text()
    tab.page.get_by_role("button", name="Clear lost_answer").click()
    tab.page.get_by_text("It struck once").wait_for(state="detached")
    assert len(scene.charges_of(scene.environment.task(made)["audio"]["key"])) == 1


def test_a_task_is_cancelled_before_anything_is_paid(
    tab: Window, scene: Scene, tmp_path: Path
) -> None:
    scene.environment.let_submit(False)
    try:
        give(tab, tmp_path, "second thoughts").click()
        made = task_id(tab)
        tab.page.get_by_role("button", name="Cancel").click()
        tab.page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        tab.page.get_by_text("Cancelled, nothing was paid", exact=True).wait_for()
    finally:
        scene.environment.let_submit(True)
    assert scene.charges_of(scene.environment.task(made)["audio"]["key"]) == []


def test_a_face_and_a_voice_that_are_swapped_are_refused_before_the_button(
    tab: Window, tmp_path: Path
) -> None:
    (tmp_path / "swapped.mp3").write_bytes((SAMPLES / "portrait.png").read_bytes())
    (tmp_path / "swapped.png").write_bytes((SAMPLES / "voice.mp3").read_bytes())
    tab.go("new")
    chosen = [str(tmp_path / "swapped.png"), str(tmp_path / "swapped.mp3")]
    tab.page.locator("#files").set_input_files(chosen)
    tab.page.get_by_text("cannot be made").wait_for()
    assert tab.page.get_by_role("button", name="Make the video").is_disabled()
