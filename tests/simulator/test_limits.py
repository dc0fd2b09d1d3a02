"""Each limit of the documentation: the last value inside it is taken, the first outside is refused
as documented."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.simulator import drawn
from tests.simulator.conftest import Client, until
from tests.simulator.drawn import MB

INFINITALK, OLD, NEW = (
    "infinitalk/from-audio",
    "kling/v1-avatar-standard",
    "kling/ai-avatar-standard",
)


KIE = [
    (INFINITALK, "a prompt of 5000", {"prompt": "x" * 5000}, 200),
    (INFINITALK, "a prompt of 5001", {"prompt": "x" * 5001}, 422),
    (INFINITALK, "no prompt", {"prompt": None}, 422),
    (INFINITALK, "an empty prompt", {"prompt": ""}, 422),
    (NEW, "an empty prompt", {"prompt": ""}, 200),
    (INFINITALK, "720p", {"resolution": "720p"}, 200),
    (INFINITALK, "1080p", {"resolution": "1080p"}, 422),
    (INFINITALK, "seed 10000", {"seed": 10_000}, 200),
    (INFINITALK, "seed 9999", {"seed": 9_999}, 422),
    (INFINITALK, "seed 1000000", {"seed": 1_000_000}, 200),
    (INFINITALK, "seed 1000001", {"seed": 1_000_001}, 422),
    (OLD, "no portrait", {"image_url": ""}, 422),
    (OLD, "no voice", {"audio_url": None}, 422),
    ("kling/no-such-model", "an unknown model", {}, 422),
]


@pytest.mark.parametrize(
    ("model", "what", "fields", "code"), KIE, ids=[f"{case[0]}: {case[1]}" for case in KIE]
)
def test_kie_checks_the_fields(
    strict: Client, model: str, what: str, fields: dict[str, Any], code: int
) -> None:
    answer = strict.kie(model, **fields)
    assert (answer.status_code, answer.json()["code"]) == (200, code)
    assert (answer.json()["data"] is None) == (code != 200)


@pytest.mark.parametrize(
    ("model", "kind", "code"),
    [(OLD, "WEBP", 200), (INFINITALK, "WEBP", 200), (NEW, "WEBP", 422), (NEW, "GIF", 422)],
)
def test_kie_takes_webp_only_where_documented(
    strict: Client, model: str, kind: str, code: int
) -> None:
    image = strict.shelf.put(f"face.{kind}", drawn.portrait(kind=kind))
    assert strict.kie(model, image_url=image).json()["code"] == code


@pytest.mark.parametrize(
    "voice",
    ["mp3", "wav", "aac", "m4a", "ogg"],
    ids=["audio/mpeg", "audio/wav", "audio/aac", "audio/mp4", "audio/ogg"],
)
def test_kie_takes_each_documented_sound(strict: Client, voice: str) -> None:
    how = ("-c:a", "libvorbis") if voice == "ogg" else ()
    sound = strict.shelf.put(f"line.{voice}", drawn.encoded(voice, *how))
    assert strict.kie(INFINITALK, audio_url=sound).json()["code"] == 200


@pytest.mark.parametrize("field", ["image_url", "audio_url"])
def test_kie_refuses_a_page_in_place_of_a_file(strict: Client, field: str) -> None:
    page = strict.shelf.put("page.png", b"<!DOCTYPE html><html></html>")
    assert strict.kie(OLD, **{field: page}).json()["code"] == 422


def test_kie_takes_a_portrait_of_10_mb_and_no_byte_more(strict: Client) -> None:
    full = strict.shelf.put("full.png", drawn.padded(drawn.portrait(), 10 * MB))
    more = strict.shelf.put("more.png", drawn.padded(drawn.portrait(), 10 * MB + 1))
    assert strict.kie(image_url=full).json()["code"] == 200
    assert strict.kie(image_url=more).json()["code"] == 422


def test_kies_old_models_take_a_voice_of_10_mb_and_the_present_one_more(strict: Client) -> None:
    full = strict.shelf.put("full.wav", drawn.padded(drawn.voice(), 10 * MB))
    more = strict.shelf.put("more.wav", drawn.padded(drawn.voice(), 10 * MB + 1))
    codes = [
        strict.kie(model, audio_url=url).json()["code"]
        for model in (OLD, INFINITALK, NEW)
        for url in (full, more)
    ]
    assert codes == [200, 422, 200, 422, 200, 200]


def test_kies_present_avatar_takes_five_minutes_and_no_more(strict: Client) -> None:
    full = strict.shelf.put("five.wav", drawn.voice(300.0))
    more = strict.shelf.put("longer.wav", drawn.voice(301.0))
    assert strict.kie(NEW, audio_url=full).json()["code"] == 200
    assert strict.kie(NEW, audio_url=more).json()["code"] == 422
    assert strict.kie(OLD, audio_url=more).json()["code"] == 200


@pytest.mark.parametrize("name", ["nowhere.png", "away"])
def test_a_portrait_that_cannot_be_fetched_is_a_server_exception_to_kie(
    strict: Client, name: str
) -> None:
    answer = strict.kie(image_url=f"{strict.shelf.address}/{name}").json()
    assert answer == {"code": 500, "msg": "Server exception, please try again later", "data": None}


AVATAR = [
    ("no portrait", {"image": ""}, 1201),
    ("neither voice", {"sound_file": ""}, 1201),
    ("both voices", {"audio_id": "825455158141661278"}, 1201),
    ("an empty audio_id beside a sound file", {"audio_id": ""}, 0),
    (
        "an audio_id that was never made",
        {"sound_file": None, "audio_id": "825455158141661279"},
        1201,
    ),
    ("a prompt of 2500", {"prompt": "x" * 2500}, 0),
    ("a prompt of 2501", {"prompt": "x" * 2501}, 1201),
    ("mode pro", {"mode": "pro"}, 0),
    ("mode fast", {"mode": "fast"}, 1201),
    ("a watermark as an array", {"watermark_info": [{"enabled": True}]}, 0),
    ("a watermark as a word", {"watermark_info": "yes"}, 1201),
    ("a number for an image", {"image": 7}, 1201),
]


@pytest.mark.parametrize(("what", "fields", "code"), AVATAR, ids=[case[0] for case in AVATAR])
@pytest.mark.parametrize("provider", ["kling", "relay"])
def test_kling_and_a_relay_check_the_fields(
    strict: Client, provider: str, what: str, fields: dict[str, Any], code: int
) -> None:
    answer = strict.avatar(provider, **fields)
    assert (answer.json()["code"], answer.status_code) == (code, 400 if code else 200)
    assert ("data" in answer.json()) == (code == 0)


SECONDS = [
    ("kling", {1.9: 1201, 2.0: 0, 300.0: 0, 301.0: 1201}),
    ("comet", {1.9: 1201, 2.0: 0, 60.0: 0, 61.0: 1201}),
    ("relay", {1.9: 1201, 2.0: 0, 300.0: 0, 301.0: 1201}),
]


@pytest.mark.parametrize(
    ("provider", "seconds", "code"),
    [(name, at, code) for name, codes in SECONDS for at, code in codes.items()],
)
def test_a_voice_has_its_least_and_its_most_seconds(
    strict: Client, provider: str, seconds: float, code: int
) -> None:
    voice = strict.shelf.put(f"{seconds}.wav", drawn.voice(seconds))
    assert strict.avatar(provider, sound_file=voice).json()["code"] == code


def test_kling_takes_a_voice_of_5_mb_and_no_byte_more(strict: Client) -> None:
    full = strict.shelf.put("5.wav", drawn.padded(drawn.voice(), 5 * MB))
    more = strict.shelf.put("5+.wav", drawn.padded(drawn.voice(), 5 * MB + 1))
    assert strict.avatar(sound_file=full).json()["code"] == 0
    assert strict.avatar(sound_file=more).json()["code"] == 1201


def test_kling_takes_a_portrait_of_10_mb_and_no_byte_more(strict: Client) -> None:
    full = strict.shelf.put("10.png", drawn.padded(drawn.portrait(), 10 * MB))
    more = strict.shelf.put("10+.png", drawn.padded(drawn.portrait(), 10 * MB + 1))
    assert strict.avatar(image=full).json()["code"] == 0
    assert strict.avatar(image=more).json()["code"] == 1201


@pytest.mark.parametrize(("kind", "code"), [("PNG", 0), ("JPEG", 0), ("WEBP", 1201), ("GIF", 1201)])
def test_kling_takes_jpeg_and_png(strict: Client, kind: str, code: int) -> None:
    assert (
        strict.avatar(image=strict.shelf.put(f"face.{kind}", drawn.portrait(kind=kind))).json()[
            "code"
        ]
        == code
    )


@pytest.mark.parametrize(("suffix", "code"), [("mp3", 0), ("m4a", 0), ("aac", 0), ("ogg", 1201)])
def test_kling_takes_mp3_wav_m4a_and_aac(strict: Client, suffix: str, code: int) -> None:
    how = ("-c:a", "libvorbis") if suffix == "ogg" else ()
    assert (
        strict.avatar(
            sound_file=strict.shelf.put(f"v.{suffix}", drawn.encoded(suffix, *how))
        ).json()["code"]
        == code
    )


def test_raw_base64_is_taken_and_a_data_url_is_not(strict: Client) -> None:
    face, line = (
        base64.b64encode(drawn.portrait()).decode(),
        base64.b64encode(drawn.voice()).decode(),
    )
    assert strict.avatar(image=face, sound_file=line).json()["code"] == 0
    refused = strict.avatar(image=f"data:image/png;base64,{face}", sound_file=line)
    assert refused.status_code == 400
    assert (refused.json()["code"], refused.json()["message"]) == (
        1201,
        "File is not in a valid base64 format",
    )


def test_a_url_that_kling_cannot_read_gets_the_same_words(strict: Client) -> None:
    assert (
        strict.avatar(image=f"{strict.shelf.address}/away").json()["message"]
        == "File is not in a valid base64 format"
    )


@pytest.mark.parametrize(
    ("size", "error"),
    [
        ((300, 300), ""),
        ((299, 300), "Image pixel is invalid"),
        ((750, 300), ""),
        ((760, 300), "The resolution or aspect ratio of the input image is invalid."),
        ((300, 760), "The resolution or aspect ratio of the input image is invalid."),
    ],
)
def test_a_portrait_of_a_wrong_size_is_accepted_and_fails_later(
    open_client: Any, size: tuple[int, int], error: str
) -> None:
    client = open_client()
    image = client.shelf.put(f"{size}.png".replace(" ", ""), drawn.portrait(*size))
    job = client.avatar(image=image).json()["data"]["task_id"]
    record = until(lambda: _ended(client, job))
    assert record["task_status"] == ("failed" if error else "succeed")
    assert record["task_status_msg"].startswith(error)
    assert len(client.simulator.ledger()) == (0 if error else 1)


def test_comet_refuses_a_request_without_a_prompt_in_its_own_envelope(strict: Client) -> None:
    answer = strict.avatar("comet", prompt=None)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "comet_api_error"
    assert "prompt is required (request id: " in answer.json()["error"]["message"]


def _ended(client: Client, job: str) -> dict[str, Any] | None:
    record: dict[str, Any] = client.avatar_record("kling", job).json()["data"]
    return record if record["task_status"] in ("succeed", "failed") else None
