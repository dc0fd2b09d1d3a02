"""Kling's official host: who may enter, how jobs are found, slots, text to speech."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from local.simulator.kling import Kling
from tests.simulator import drawn
from tests.simulator.conftest import AVATAR, Client, plain, until


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("", 1001),
        ("kling-simulated-key", 1002),
        ("Bearer wrong", 1000),
        ("Bearer kling-simulated-key", 0),
        ({}, 0),
        ({"access": "AK_other"}, 1000),
        ({"secret": "SK_other"}, 1002),
        ({"alg": "none"}, 1002),
        ("Bearer not.a.token", 1002),
        ({"nbf": 600}, 1003),
        ({"exp": -1}, 1004),
    ],
)
def test_the_door_says_what_is_wrong_with_a_key(
    strict: Client, authorization: str | dict[str, Any], code: int
) -> None:
    if isinstance(authorization, dict):
        authorization = "Bearer " + jwt(**authorization)
    answer = plain.get(
        strict.simulator.addresses["kling"] + AVATAR, headers={"Authorization": authorization}
    )
    assert (answer.status_code, answer.json()["code"]) == (401 if code else 200, code)


def test_a_token_signed_as_the_documentation_shows_is_genuine(open_client: Any) -> None:
    client = open_client(kling_access_key="AK_example", kling_secret_key="SK_example")
    published = (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
        "eyJpc3MiOiJBS19leGFtcGxlIiwiZXhwIjoxNzkwMDAxODAwLCJuYmYiOjE3ODk5OTk5OTV9."
        "pduD-jwWDESHh38cXRDjb4JunLVIrl6SvmhYgv49x9Q"
    )
    answer = plain.get(
        client.simulator.addresses["kling"] + AVATAR,
        headers={"Authorization": f"Bearer {published}"},
    )
    assert answer.json()["code"] in (0, 1003, 1004)  # its time may be wrong, its signature is not
    assert published == _signed(
        {"alg": "HS256", "typ": "JWT"},
        {"iss": "AK_example", "exp": 1790001800, "nbf": 1789999995},
        "SK_example",
    )


def test_a_job_is_found_by_its_own_and_by_the_clients_id(client: Client) -> None:
    created = client.avatar(external_task_id="job-1").json()["data"]
    by_id = client.avatar_record("kling", created["task_id"]).json()["data"]
    by_external_id = client.avatar_record("kling", "job-1").json()["data"]
    assert by_id["task_id"] == by_external_id["task_id"] == created["task_id"]


def test_an_external_id_is_used_once(client: Client) -> None:
    assert client.avatar(external_task_id="job-1").json()["code"] == 0
    again = client.avatar(external_task_id="job-1")
    assert (again.status_code, again.json()["code"]) == (400, 1201)
    assert "data" not in again.json()


def test_an_external_id_can_be_used_twice_where_that_is_switched_on(open_client: Any) -> None:
    client = open_client(kling_duplicates="accept")
    assert [client.avatar(external_task_id="job-1").json()["code"] for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(("switch", "status"), [("1203", 404), ("1201", 400)])
def test_an_unknown_job_gets_the_chosen_code(open_client: Any, switch: str, status: int) -> None:
    answer = open_client(kling_unknown_task=switch).avatar_record("kling", "880000000000000001")
    assert (answer.status_code, answer.json()["code"]) == (status, int(switch))


def test_a_job_holds_its_slot_until_it_ends(open_client: Any) -> None:
    client = open_client(kling_slots=2, speed=1.0)
    assert [client.avatar().json()["code"] for _ in range(3)] == [0, 0, 1303]
    assert client.avatar().status_code == 429
    client.control("POST", "clock", speed=1000.0)
    until(lambda: client.avatar().json()["code"] == 0)


def test_an_empty_pack_makes_no_video(open_client: Any) -> None:
    answer = open_client(kling_units=0.0).avatar()
    assert (answer.status_code, answer.json()["code"], answer.json()["message"]) == (
        429,
        1102,
        "Account balance not enough",
    )


def test_pages_of_the_list_come_newest_first(open_client: Any) -> None:
    client = open_client(kling_slots=0)
    ids = [client.avatar().json()["data"]["task_id"] for _ in range(3)]
    pages = [
        client.call("kling", "GET", AVATAR, params={"pageNum": page, "pageSize": 2}).json()["data"]
        for page in (1, 2)
    ]
    assert [[job["task_id"] for job in page] for page in pages] == [[ids[2], ids[1]], [ids[0]]]


@pytest.mark.parametrize(
    "query", ["pageNum=0", "pageNum=1001", "pageSize=0", "pageSize=501", "pageNum=x"]
)
def test_a_page_outside_the_documented_range_is_refused(strict: Client, query: str) -> None:
    assert strict.call("kling", "GET", f"{AVATAR}?{query}").json()["code"] == 1201


def test_a_wrong_method_and_a_wrong_path_have_their_codes(strict: Client) -> None:
    assert strict.call("kling", "DELETE", AVATAR + "/1").json()["code"] == 1202
    assert strict.call("kling", "GET", "/v1/videos/nothing").json()["code"] == 1203


def test_empty_fields_can_be_refused(open_client: Any) -> None:
    assert open_client(kling_blanks="refuse").avatar(audio_id="").json()["code"] == 1201


def test_a_text_becomes_a_voice_and_the_voice_a_video(client: Client) -> None:
    spoken = client.call(
        "kling", "POST", "/v1/audio/tts", json=_speech("Good morning. " * 4)
    ).json()["data"]
    assert spoken["task_status"] == "succeed"
    (audio,) = spoken["task_result"]["audios"]
    assert plain.get(audio["url"]).headers["content-type"] == "audio/mpeg"
    created = client.avatar(sound_file=None, audio_id=audio["id"]).json()["data"]
    done = until(lambda: _done(client, created["task_id"]))
    (video,) = done["task_result"]["videos"]
    assert drawn.length(plain.get(video["url"]).content) == pytest.approx(
        float(audio["duration"]), abs=0.5
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": ""},
        {"text": "x" * 1001},
        {"voice_id": ""},
        {"voice_language": "fr"},
        {"voice_speed": 0.7},
        {"voice_speed": 2.1},
    ],
)
def test_a_speech_outside_its_limits_is_refused(strict: Client, wrong: dict[str, Any]) -> None:
    assert (
        strict.call("kling", "POST", "/v1/audio/tts", json=_speech("Hello.") | wrong).json()["code"]
        == 1201
    )


def test_a_voice_too_short_for_an_avatar_is_made_and_then_refused(strict: Client) -> None:
    spoken = strict.call("kling", "POST", "/v1/audio/tts", json=_speech("Hi.")).json()["data"]
    assert (
        strict.avatar(sound_file=None, audio_id=spoken["task_result"]["audios"][0]["id"]).json()[
            "code"
        ]
        == 1201
    )


def test_a_voice_can_be_used_for_thirty_days(open_client: Any) -> None:
    client = open_client(speed=1.0)
    spoken = client.call(
        "kling", "POST", "/v1/audio/tts", json=_speech("Good morning. " * 4)
    ).json()["data"]
    audio_id = spoken["task_result"]["audios"][0]["id"]
    client.simulator.fault("stuck")
    client.control("POST", "clock", speed=2_000_000.0)
    made = spoken["created_at"] / 1000
    until(lambda: client.control("GET", "state")["clock"]["now"] > made + 30.1 * 86_400, 60)
    assert client.avatar(sound_file=None, audio_id=audio_id).json()["code"] == 1201


def test_voices_are_listed(strict: Client) -> None:
    voices = strict.call(
        "kling", "GET", "/v1/general/presets-voices", params={"pageSize": 2}
    ).json()["data"]
    assert len(voices) == 2
    assert voices[0]["task_result"]["voices"][0]["voice_id"]


def test_every_documented_code_has_its_status(client: Client) -> None:
    kling = client.simulator.engine.providers["kling"]
    assert isinstance(kling, Kling)
    documented = {
        401: range(1000, 1005),
        429: (1100, 1101, 1102, 1302, 1303, 1304),
        403: (1103,),
        404: (1202, 1203),
    }
    documented |= {400: (1200, 1201, 1300, 1301), 500: (5000,), 503: (5001,), 504: (5002,)}
    for status, codes in documented.items():
        for code in codes:
            fault = client.control(
                "POST", "faults", fault="throttle", provider="kling", code=code, count=1
            )
            assert "id" in fault
            answer = client.avatar()
            assert (answer.status_code, answer.json()["code"]) == (status, code)


def _speech(text: str) -> dict[str, Any]:
    return {"text": text, "voice_id": "genshin_vindi2", "voice_language": "en", "voice_speed": 1.0}


def _done(client: Client, job: str) -> dict[str, Any] | None:
    record: dict[str, Any] = client.avatar_record("kling", job).json()["data"]
    return record if record["task_status"] == "succeed" else None


def jwt(
    access: str = "AK_simulated",
    secret: str = "SK_simulated",
    nbf: float = -5,
    exp: float = 1800,
    alg: str = "HS256",
) -> str:
    now = int(time.time())
    return _signed(
        {"alg": alg, "typ": "JWT"},
        {"iss": access, "exp": now + int(exp), "nbf": now + int(nbf)},
        secret,
    )


def _signed(header: dict[str, Any], claims: dict[str, Any], secret: str) -> str:
    parts = [_b64(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims)]
    return ".".join(
        [*parts, _b64(hmac.digest(secret.encode(), ".".join(parts).encode(), hashlib.sha256))]
    )


def _b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
