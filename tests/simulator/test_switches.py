"""What vendors do differently, and what is only reported of them: a switch each."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.simulator import drawn
from tests.simulator.conftest import PREFIX, Client, until

INFINITALK = "infinitalk/from-audio"
SPEECH = {
    "text": "Good morning, this is your news of today.",
    "voice_id": "genshin_vindi2",
    "voice_language": "en",
}


def ended(client: Client, job_id: str) -> dict[str, Any]:
    def end() -> dict[str, Any] | None:
        jobs = {job["id"]: job for job in client.control("GET", "state")["jobs"]}
        return jobs[job_id] if jobs[job_id]["status"] in ("succeeded", "failed") else None

    found: dict[str, Any] = until(end)
    return found


def test_infinitalk_refuses_an_empty_prompt_and_the_avatars_do_not(strict: Client) -> None:
    refused = strict.kie(INFINITALK, prompt=" ").json()
    assert (refused["code"], refused["msg"]) == (422, "prompt is required")
    assert strict.kie("kling/ai-avatar-standard", prompt="").json()["code"] == 200


def test_infinitalk_takes_fifteen_seconds_at_most(strict: Client) -> None:
    long = strict.shelf.put("16.wav", drawn.voice(16.0))
    refused = strict.kie(INFINITALK, audio_url=long).json()
    assert refused["code"] == 422
    assert "15 seconds" in refused["msg"]
    assert strict.kie("kling/ai-avatar-standard", audio_url=long).json()["code"] == 200


def test_a_voice_too_long_for_infinitalk_may_fail_later_instead(open_client: Any) -> None:
    client = open_client(kie_long_voice="fail")
    long = client.shelf.put("16.wav", drawn.voice(16.0))
    job = client.kie(INFINITALK, audio_url=long).json()["data"]["taskId"]
    ended(client, job)
    record = client.kie_record(job)
    assert (record["state"], "15 seconds" in record["failMsg"]) == ("fail", True)
    assert client.simulator.ledger() == []


def test_the_limit_of_infinitalk_can_be_lifted(open_client: Any) -> None:
    client = open_client(kie_infinitalk_seconds=0.0)
    long = client.shelf.put("16.wav", drawn.voice(16.0))
    assert client.kie(INFINITALK, audio_url=long).json()["code"] == 200


def test_durations_vary_by_the_spread_and_repeat_with_the_seed(open_client: Any) -> None:
    def durations(seed: int) -> list[float]:
        client = open_client(job_spread=0.6, seed=seed, speed=1.0, job_seconds=500.0)
        for _ in range(8):
            client.kie()
        jobs = client.control("GET", "state")["jobs"]
        return [round(job["ends_at"] - job["created"], 3) for job in jobs]

    first = durations(7)
    assert max(first) / min(first) > 1.5
    assert durations(7) == first


def test_each_job_that_runs_makes_the_next_one_slower(open_client: Any) -> None:
    client = open_client(queue_seconds=100.0, speed=1.0, job_seconds=500.0)
    for _ in range(3):
        client.kie()
    jobs = client.control("GET", "state")["jobs"]
    assert sorted(round(job["ends_at"] - job["created"]) for job in jobs) == [500, 600, 700]


def test_a_refusal_may_have_any_words_and_be_over_with_the_next_try(client: Client) -> None:
    client.simulator.fault("throttle", code=500, message="This field is required", count=1)
    first = client.kie().json()
    assert (first["code"], first["msg"], first["data"]) == (500, "This field is required", None)
    assert client.kie().json()["code"] == 200


@pytest.mark.parametrize("provider", ["kie", "kling"])
def test_a_refusal_may_have_made_the_job_all_the_same(client: Client, provider: str) -> None:
    client.simulator.fault("throttle", code=500 if provider == "kie" else 1302, made=True, count=1)
    refused = client.kie() if provider == "kie" else client.avatar()
    assert refused.json()["code"] in (500, 1302)
    assert len(client.control("GET", "state")["jobs"]) == 1


def test_a_duplicate_id_may_be_refused_with_the_generic_text(open_client: Any) -> None:
    client = open_client(kling_duplicates="generic")
    client.avatar(external_task_id="once")
    again = client.avatar(external_task_id="once").json()
    assert again["code"] == 1201
    assert again["message"] == "Invalid parameters, such as incorrect key or illegal value"


def test_a_failure_may_stand_in_the_envelope_with_no_record(open_client: Any) -> None:
    client = open_client(kie_failures="envelope")
    client.simulator.fault("failed", reason="generation")
    job = client.kie().json()["data"]["taskId"]
    ended(client, job)
    answer = client.call("kie", "GET", f"/api/v1/jobs/recordInfo?taskId={job}").json()
    assert (answer["code"], answer["data"]) == (501, None)


def test_moderation_refuses_by_chance(open_client: Any) -> None:
    client = open_client(moderation=1.0)
    job = client.avatar().json()["data"]["task_id"]
    ended(client, job)
    record = client.avatar_record("kling", job).json()["data"]
    assert record["task_status_msg"] == "Failure to pass the risk control system"


def test_speech_may_be_a_job_to_be_queried(open_client: Any) -> None:
    client = open_client(kling_tts="job", speed=1.0)
    made = client.call("kling", "POST", "/v1/audio/tts", json=SPEECH).json()["data"]
    assert (made["task_status"], made["task_result"]) == ("processing", {})
    path = f"/v1/audio/tts/{made['task_id']}"
    assert client.call("kling", "GET", path).json()["data"]["task_status"] == "processing"
    client.control("POST", "clock", speed=1000.0)
    data = until(
        lambda: client.call("kling", "GET", path).json()["data"].get("task_result") or None
    )
    audio_id = data["audios"][0]["id"]
    assert client.avatar(sound_file=None, audio_id=audio_id).json()["code"] == 0
    assert client.call("kling", "GET", "/v1/audio/tts/1").json()["code"] == 1203


def test_records_expire(open_client: Any) -> None:
    client = open_client(record_days=0.01)
    kie = client.kie().json()["data"]["taskId"]
    kling = client.avatar().json()["data"]["task_id"]
    until(lambda: client.avatar_record("kling", kling).json()["code"] == 1203)
    assert client.kie_record(kie) == {}
    listed = client.call("kling", "GET", "/v1/videos/avatar/image2video").json()["data"]
    assert listed == []


@pytest.mark.parametrize(
    ("encoding", "accepted", "headers"),
    [
        ("gzip", "gzip", {"content-encoding": "gzip", "transfer-encoding": "chunked"}),
        ("gzip", "identity", {"content-length": "79"}),
        ("chunked", "identity", {"transfer-encoding": "chunked"}),
        ("plain", "gzip", {"content-length": "79"}),
    ],
)
def test_kie_s_answers_are_encoded_as_the_switch_says(
    open_client: Any, encoding: str, accepted: str, headers: dict[str, str]
) -> None:
    client = open_client(kie_encoding=encoding)
    answer = client.call(
        "kie", "GET", "/api/v1/jobs/recordInfo?taskId=1", headers={"Accept-Encoding": accepted}
    )
    assert answer.json()["code"] == 422
    wanted = {name: value for name, value in headers.items() if name != "content-length"}
    assert {name: answer.headers.get(name) for name in wanted} == wanted
    assert ("content-length" in answer.headers) == ("content-length" in headers)


def test_a_truncated_answer_in_chunks_has_no_end(client: Client) -> None:
    client.simulator.fault("truncated_answer", count=1)
    with pytest.raises(httpx.HTTPError):
        client.kie()


@pytest.mark.parametrize(("provider", "code"), [("kie", 429), ("kling", 1303)])
def test_refusals_for_too_many_may_carry_headers(
    open_client: Any, provider: str, code: int
) -> None:
    client = open_client(rate_limit_headers=True)
    client.simulator.fault("throttle", code=code)
    answer = client.kie() if provider == "kie" else client.avatar()
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["x-ratelimit-remaining"] == "0"


def test_cometapi_s_prompt_may_be_optional(open_client: Any) -> None:
    assert open_client().avatar("comet", prompt=None).status_code == 400
    assert open_client(comet_prompt="optional").avatar("comet", prompt=None).status_code == 200


@pytest.mark.parametrize(
    ("moment", "at_create", "while_running"), [("create", 1, 1), ("start", 0, 1), ("end", 0, 0)]
)
def test_money_is_taken_at_the_moment_that_is_chosen(
    open_client: Any, moment: str, at_create: int, while_running: int
) -> None:
    client = open_client(charge_at=moment, speed=1.0, job_seconds=500.0)
    job = client.kie().json()["data"]["taskId"]
    assert len(client.simulator.ledger()) == at_create
    client.control("POST", "clock", speed=100.0)
    until(lambda: client.control("GET", "state")["jobs"][0]["status"] == "processing")
    assert len(client.simulator.ledger()) == while_running
    client.control("POST", "clock", speed=10_000.0)
    ended(client, job)
    assert len(client.simulator.ledger()) == 1


@pytest.mark.parametrize(("refunds", "left"), [("usual", 0), ("none", 24), ("partial", 12)])
def test_a_failed_job_gives_back_what_the_switch_says(
    open_client: Any, refunds: str, left: float
) -> None:
    client = open_client(charge_at="create", refunds=refunds)
    client.simulator.fault("failed")
    ended(client, client.kie().json()["data"]["taskId"])
    assert sum(line["amount"] for line in client.simulator.ledger()) == left


def test_a_refund_may_come_late(open_client: Any) -> None:
    client = open_client(charge_at="create", refunds="late")
    client.simulator.fault("failed")
    ended(client, client.kie().json()["data"]["taskId"])
    assert sum(line["amount"] for line in client.simulator.ledger()) == 24
    client.control("POST", "clock", speed=1_000_000.0)
    until(lambda: sum(line["amount"] for line in client.simulator.ledger()) == 0)


def test_kling_may_list_late_in_pages_of_its_own_and_in_another_order(open_client: Any) -> None:
    client = open_client(kling_list_page=2, kling_list_order="oldest", speed=1.0)
    made = [client.avatar().json()["data"]["task_id"] for _ in range(3)]

    def page(number: int) -> list[str]:
        query = {"pageNum": number, "pageSize": 500}
        answer = client.call("kling", "GET", "/v1/videos/avatar/image2video", params=query)
        return [job["task_id"] for job in answer.json()["data"]]

    assert [page(1), page(2), page(3)] == [made[:2], made[2:], []]
    lagging = open_client(kling_list_lag_seconds=10_000.0)
    lagging.avatar()
    listed = lagging.call("kling", "GET", "/v1/videos/avatar/image2video").json()["data"]
    assert listed == []


def test_kling_may_find_jobs_by_its_own_id_only(open_client: Any) -> None:
    client = open_client(kling_lookup="own")
    job = client.avatar(external_task_id="ours").json()["data"]["task_id"]
    assert client.avatar_record("kling", "ours").json()["code"] == 1203
    assert client.avatar_record("kling", job).json()["code"] == 0


def test_kling_s_costs_are_a_free_query(open_client: Any) -> None:
    client = open_client(kling_units=10.0)
    query = {"start_time": 1, "end_time": 2}
    data = client.call("kling", "GET", "/account/costs", params=query).json()["data"]
    pack = data["resource_pack_subscribe_infos"][0]
    assert (data["code"], pack["status"], pack["remaining_quantity"]) == (0, "online", 10.0)
    assert client.call("kling", "GET", "/account/costs").json()["code"] == 1201


CALLBACKS = [
    "http://[",
    "http://x:99999/",
    "http://x:port/",
    "not a url",
    "http://\ud83d/",
    "\ud83d",
]


@pytest.mark.parametrize("callback", CALLBACKS)
def test_no_callback_url_breaks_the_control_endpoint(client: Client, callback: str) -> None:
    body = json.dumps({"callBackUrl": callback, "model": "kling/ai-avatar-standard", "input": {
        "image_url": client.shelf.address + "/portrait.png",
        "audio_url": client.shelf.address + "/voice.wav", "prompt": callback}})  # fmt: skip
    made = client.call("kie", "POST", "/api/v1/jobs/createTask", content=body.encode())
    assert made.json()["code"] == 200
    kling = client.avatar()
    assert kling.json()["code"] == 0
    ended(client, made.json()["data"]["taskId"])
    assert client.kie_record(made.json()["data"]["taskId"])["state"] == "success"
    assert (
        client.http.get(client.simulator.addresses["control"] + "/control/ledger").status_code
        == 200
    )


WRONG = [None, True, 7, -1.5, 1e400, "", "\ud83d", [], [1], {}, {"a": 1}]
FIELDS = {
    "kie": ["image_url", "audio_url", "prompt", "resolution", "seed"],
    "kling": ["image", "audio_id", "sound_file", "prompt", "mode", "watermark_info",
              "callback_url", "external_task_id"],
}  # fmt: skip


@pytest.mark.parametrize("provider", ["kie", "kling", "comet", "relay", "relay-b", "relay-d"])
def test_no_wrong_type_is_answered_with_a_5xx(strict: Client, provider: str) -> None:
    for value in WRONG:
        body: dict[str, Any]
        for field in FIELDS["kie" if provider == "kie" else "kling"]:
            if provider == "kie":
                given: dict[str, Any] = {
                    "image_url": "http://127.0.0.1:1/",
                    "audio_url": "",
                    "prompt": "p",
                }
                body = {"model": INFINITALK, "input": given | {field: value}}
                path = "/api/v1/jobs/createTask"
            else:
                given = {"image": "aGk=", "sound_file": "aGk=", "prompt": "p"}
                body, path = given | {field: value}, "/v1/videos/avatar/image2video"
                path = PREFIX[provider] + path
            content = json.dumps(body).encode()
            answer = strict.call(provider, "POST", path, content=content)
            assert answer.status_code < 500, (field, value, answer.text)


@pytest.mark.parametrize(
    ("provider", "path"),
    [
        ("kie", "/api/v1/jobs/createTask"),
        ("kie", "/api/v1/common/download-url"),
        ("kie", "/api/file-base64-upload"),
        ("kie", "/api/file-url-upload"),
        ("kling", "/v1/audio/tts"),
        ("kling", "/v1/videos/avatar/image2video"),
    ],
)
def test_no_body_is_answered_with_a_5xx(strict: Client, provider: str, path: str) -> None:
    bodies = [json.dumps(value).encode() for value in WRONG] + [b"[" * 100_000, b"\xff", b""]
    bodies += [
        json.dumps({"model": [], "input": {}, "text": value, "voice_id": value, "base64Data": "é",
                    "voice_language": value, "voice_speed": value, "uploadPath": value,
                    "fileUrl": value, "url": value}).encode()
        for value in WRONG
    ]  # fmt: skip
    for body in bodies:
        answer = strict.call(provider, "POST", path, content=body)
        # kie's own 500 (a URL that cannot be fetched) is under HTTP 200
        assert answer.status_code < 500, (body[:80], answer.text)


@pytest.mark.parametrize("name", ["faults", "clock", "callbacks"])
def test_no_body_breaks_the_control_endpoint(strict: Client, name: str) -> None:
    address = f"{strict.simulator.addresses['control']}/control/{name}"
    bodies: list[Any] = [*WRONG, {"speed": "x"}, {"enabled": 1}, {"fault": []}, {"fault": "drip"}]
    fields = ("seconds", "count", "probability", "seed", "match", "provider", "at", "code", "as")
    bodies = bodies[:-1] + [{"fault": "throttle", one: v} for one in fields for v in WRONG[2:]]
    for body in bodies:
        answer = httpx.post(address, content=json.dumps(body).encode(), trust_env=False)
        assert answer.status_code in (200, 400, 404), (body, answer.text)
    for fault in httpx.get(address, trust_env=False).json().get("faults", []):
        if fault["kind"] == "throttle":
            strict.http.delete(
                f"{strict.simulator.addresses['control']}/control/faults/{fault['id']}"
            )
