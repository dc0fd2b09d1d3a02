"""What only CometAPI and the relays do: their prompts, paths and seven fields."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from functions import providers
from functions.providers import base
from tests.providers.conftest import CALLBACK, FACE, VOICE, Wire, answer, client, request

ACCEPTED = answer(200, {"code": 0, "message": "SUCCEED", "data": {"task_id": "880000000000000101"}})
RUNNING = answer(
    200, {"code": 0, "data": {"task_id": "880000000000000101", "task_status": "processing"}}
)
PAGE = answer(404, text="<!doctype html><title>CometAPI</title>")


def test_comet_is_always_given_a_prompt() -> None:
    wire = Wire(ACCEPTED)
    client("comet", wire).submit(request("comet", prompt="  "))
    assert wire.posts[0]["prompt"] == "A person speaks to the camera."
    assert wire.requests[0].url.path == "/kling/v1/videos/avatar/image2video"


def test_comet_is_given_the_user_s_prompt_where_there_is_one() -> None:
    wire = Wire(ACCEPTED)
    client("comet", wire).submit(request("comet"))
    assert wire.posts[0]["prompt"] == "Warm smile"


@pytest.mark.parametrize(
    "astray", [PAGE, answer(301, text="<a>Moved</a>"), answer(404, {"message": "no route"})]
)
def test_comet_falls_back_to_the_documented_query_path(astray: httpx.Response) -> None:
    wire = Wire(astray, RUNNING)
    assert client("comet", wire).fetch("880000000000000101").status is base.JobStatus.RUNNING
    assert [one.url.path for one in wire.requests] == [
        "/kling/v1/videos/avatar/image2video/880000000000000101",
        "/kling/v1/videos/image2video/880000000000000101",
    ]


def test_comet_s_query_path_can_be_set_in_the_secret() -> None:
    wire = Wire(RUNNING)
    client("comet", wire, query_path="/v1/other/{id}").fetch("880000000000000101")
    assert [one.url.path for one in wire.requests] == ["/v1/other/880000000000000101"]


def test_comet_s_wrong_paths_name_the_secret() -> None:
    with pytest.raises(base.Unavailable, match="query_path"):
        client("comet", Wire(PAGE)).fetch("880000000000000101")


@pytest.mark.parametrize("name", ["comet", "relay"])
def test_a_good_key_passes_the_probe_of_a_gateway(name: str) -> None:
    missing: dict[str, Any] = {"code": "task_not_exist", "message": "task_not_exist", "data": None}
    if name == "comet":
        missing = {"error": {"message": "task not found", "type": "comet_api_error", "code": ""}}
    client(name, Wire(answer(400, missing))).probe()
    with pytest.raises(base.AccountRejected):
        client(name, Wire(answer(401, {"error": {"message": "invalid token", "code": ""}}))).probe()


def test_a_relay_is_sent_all_seven_fields() -> None:
    wire = Wire(ACCEPTED)
    client("relay", wire).submit(request("relay", prompt="", callback_url=None))
    assert wire.posts == [
        {
            "image": FACE,
            "audio_id": "",
            "sound_file": VOICE,
            "prompt": "",
            "mode": "std",
            "callback_url": "",
            "external_task_id": "job-7f3c-try1",
        }
    ]


def test_a_relay_takes_an_audio_id_for_a_voice() -> None:
    wire = Wire(ACCEPTED)
    client("relay", wire).submit(
        request("relay", voice=None, settings={"audio_id": "825455158141661278"})
    )
    assert wire.posts[0]["audio_id"] == "825455158141661278"
    assert wire.posts[0]["sound_file"] == ""
    assert wire.posts[0]["callback_url"] == CALLBACK


def test_a_relay_without_an_address_names_the_secret() -> None:
    wire = Wire(ACCEPTED)
    with pytest.raises(base.AccountRejected, match='"base_url" into the secret of provider relay'):
        providers.get("relay")({"api_key": "k"}, wire.client()).submit(request("relay"))
    assert not wire.requests


@pytest.mark.parametrize("name", ["comet", "relay"])
def test_a_gateway_speaks_no_text(name: str) -> None:
    wire = Wire(ACCEPTED)
    with pytest.raises(base.Rejected):
        client(name, wire).submit(
            request(name, voice=None, settings={"text": "hello", "voice_id": "v"})
        )
    assert not wire.requests
