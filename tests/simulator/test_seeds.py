"""The request examples of the five seed documents, with host and key changed, get answers of the
documented shapes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.simulator import drawn
from tests.simulator.conftest import AVATAR, Client, plain, until

INFINITALK = {
    "model": "infinitalk/from-audio",
    "callBackUrl": "https://your-domain.com/api/callback",
    "input": {
        "image_url": "https://file.aiquickdraw.com/custom-page/akr/section-images/1757329269873ggqj2hz3.png",
        "audio_url": "https://file.aiquickdraw.com/custom-page/akr/section-images/1757329255705mmqwrnri.mp3",
        "prompt": "一位留着深色长发的年轻女性正在录制播客。",
        "resolution": "480p",
    },
}
KLING_BY_KIE = {
    "model": "kling/v1-avatar-standard",
    "callBackUrl": "https://your-domain.com/api/callback",
    "input": {
        "image_url": "https://file.aiquickdraw.com/custom-page/akr/section-images/17579268936223zs9l3dt.png",
        "audio_url": "https://file.aiquickdraw.com/custom-page/akr/section-images/17579258340109gghun47.mp3",
        "prompt": "",
    },
}
RELAY = {
    "image": "https://h2.inkwai.com/bs2/upload-ylab-stunt/se/ai_portal_queue_mmu_image_upscale_aiweb/"
    "3214b798-e1b4-4b00-b7af-72b5b0417420_raw_image_0.jpg",
    "audio_id": "825455158141661278",
    "sound_file": "",
    "prompt": "",
    "mode": "std",
    "callback_url": "",
    "external_task_id": "",
}


@pytest.mark.parametrize(
    "example", [INFINITALK, KLING_BY_KIE], ids=lambda example: example["model"]
)
def test_kies_examples_make_a_job(strict: Client, example: dict[str, Any]) -> None:
    answer = strict.call("kie", "POST", "/api/v1/jobs/createTask", json=example)
    assert answer.status_code == 200
    assert answer.json()["code"] == 200
    assert answer.json()["msg"] == "success"
    assert len(answer.json()["data"]["taskId"]) == 32


@pytest.mark.parametrize(
    ("example", "start"), [(INFINITALK, "task_infinitalk_"), (KLING_BY_KIE, "task_kling_")]
)
def test_kie_can_answer_as_its_documentation_does(
    open_client: Any, example: dict[str, Any], start: str
) -> None:
    client = open_client(kie_shape="documented")
    answer = client.call("kie", "POST", "/api/v1/jobs/createTask", json=example).json()
    job_id = answer["data"].pop("taskId")
    assert job_id.startswith(start)
    assert answer == {"code": 200, "msg": "success", "data": {}}


def test_klings_documented_create_query_and_list(client: Client) -> None:
    fields = {
        "image": client.shelf.put("face.jpg", drawn.portrait(kind="JPEG")),
        "sound_file": client.shelf.put("line.mp3", drawn.encoded("mp3")),
        "prompt": "Warm smile",
        "mode": "pro",
        "watermark_info": {"enabled": False},
        "external_task_id": "job-7f3c-try1",
    }
    created = client.call("kling", "POST", AVATAR, json=fields).json()
    assert created["code"] == 0
    assert created["request_id"]
    assert set(created["data"]) == {
        "task_id",
        "task_info",
        "task_status",
        "created_at",
        "updated_at",
    }
    assert created["data"]["task_info"] == {"external_task_id": "job-7f3c-try1"}
    assert created["data"]["task_status"] == "submitted"
    done = until(lambda: _kling_done(client, created["data"]["task_id"]))
    (video,) = done["task_result"]["videos"]
    assert set(video) == {"id", "url", "watermark_url", "duration"}
    assert float(video["duration"]) == pytest.approx(3, abs=0.1)
    assert done["watermark_info"] == {"enabled": False}
    assert float(done["final_unit_deduction"]) == pytest.approx(2.4, abs=0.1)
    listed = client.call("kling", "GET", AVATAR, params={"pageNum": 1, "pageSize": 30}).json()[
        "data"
    ]
    assert [job["task_id"] for job in listed] == [created["data"]["task_id"]]


def test_the_relays_example_with_its_empty_fields_makes_a_job(client: Client) -> None:
    for relay in ("relay", "relay-b", "relay-d"):
        answer = client.call(relay, "POST", "/kling" + AVATAR, json=RELAY)
        assert answer.status_code == 200
        assert answer.json().get("task_id") or answer.json()["data"]["task_id"]


def test_comets_example_makes_a_job(client: Client) -> None:
    answer = client.call("comet", "POST", "/kling" + AVATAR, json={"image": "example"}).json()
    assert set(answer) == {"code", "message", "data"}
    assert set(answer["data"]) == {
        "task_id",
        "task_status",
        "created_at",
        "updated_at",
        "task_info",
    }
    assert answer["code"] == 0


def test_the_video_is_as_long_as_the_voice_and_as_wide_as_the_portrait_is(client: Client) -> None:
    client.shelf.put("tall.png", drawn.portrait(301, 500))
    job = client.kie(image_url=client.shelf.address + "/tall.png").json()["data"]["taskId"]
    record = until(lambda: _kie_done(client, job))
    video = plain.get(json.loads(record["resultJson"])["resultUrls"][0])
    assert video.headers["content-type"] == "video/mp4"
    assert video.content[4:8] == b"ftyp"
    assert drawn.length(video.content) == pytest.approx(3.0, abs=0.5)
    width, height = drawn.frame(video.content)
    assert width / height == pytest.approx(301 / 500, abs=0.02)


def _kie_done(client: Client, job: str) -> dict[str, Any] | None:
    record = client.kie_record(job)
    return record if record.get("state") == "success" else None


def _kling_done(client: Client, job: str) -> dict[str, Any] | None:
    record: dict[str, Any] = client.avatar_record("kling", job).json()["data"]
    return record if record["task_status"] == "succeed" else None
