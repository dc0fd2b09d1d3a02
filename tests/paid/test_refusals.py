"""A request held against its media and the models: which model, what price, and every refusal with
its words."""

from __future__ import annotations

import io
import json
import wave
from decimal import Decimal
from typing import Any

import av
import pytest

from functions.tasks.task import Status, Task
from tests.faults.account import INBOX
from tests.faults.runs import png, wav
from tests.paid.desk import Desk

FACE = {"portrait": "in/face.png"}
INFINITALK: dict[str, Any] = {"model": "infinitalk/from-audio"}


@pytest.fixture
def shop(desk: Desk) -> Desk:
    desk.account.buckets.put(INBOX, "in/face.png", png())
    return desk


def post(desk: Desk, seconds: int = 3, voice: bytes | None = None, **body: Any) -> tuple[int, Any]:
    """POST /tasks with a voice of so many seconds."""
    desk.account.buckets.put(INBOX, "in/voice.wav", voice or wav(seconds))
    return desk.api("POST", "/tasks", {**FACE, "audio": "in/voice.wav", **body})


def taken(desk: Desk, seconds: int = 3, **body: Any) -> Task:
    code, shown = post(desk, seconds, **body)
    assert code == 201, shown
    return desk.task(shown["task_id"])


def refused(desk: Desk, seconds: int = 3, **body: Any) -> list[tuple[str, str]]:
    """Field and code of every reason."""
    code, problem = post(desk, seconds, **body)
    assert code == 422, problem
    return [(one["field"], one["code"]) for one in problem["errors"]]


def message(desk: Desk, seconds: int = 3, **body: Any) -> str:
    code, problem = post(desk, seconds, **body)
    assert (code, len(problem["errors"])) == (422, 1), problem
    return str(problem["errors"][0]["message"])


def loud(seconds: int) -> bytes:
    """A voice of eight channels, and more than ten mebibytes in fifteen seconds."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((8, 2, 48_000, 0, "NONE", ""))
        out.writeframes(bytes(16 * 48_000 * seconds))
    return file.getvalue()


def flac(seconds: int) -> bytes:
    """A voice that says nothing, as FLAC."""
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as out:
        stream = out.add_stream("flac", rate=8000, layout="mono")
        for _ in range(seconds):
            frame = av.AudioFrame("s16", "mono", 8000)
            frame.sample_rate = 8000
            frame.planes[0].update(bytes(frame.planes[0].buffer_size))
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def noted(shop: Desk, settings: dict[str, Any]) -> dict[str, Any]:
    """The error note beside a voice that was dropped with these settings."""
    shop.account.buckets.put(INBOX, "in/a.json", json.dumps(settings).encode())
    shop.account.buckets.put(INBOX, "in/a.wav", wav())
    event = {"detail": {"bucket": {"name": INBOX}, "object": {"key": "in/a.wav"}}}
    assert shop.message("intake", event) == []
    stored = shop.account.buckets.latest(INBOX, "in/a.error.json")
    assert stored is not None
    note: dict[str, Any] = json.loads(stored.body)
    return note


# What can be kept.


@pytest.mark.parametrize(
    ("value", "is_kept"),
    [
        (10**38 - 1, True), (10**38, False), (-(10**38) + 1, True), (-(10**38), False),
        (0.0, True), (1e-37, True), (1e-38, False), (-1e-37, True), (-1e-39, False),
        (9e37, True), (1.1e38, False), ("\ud800", False), ("a\udfff", False), ("\U0001f600", True),
        (None, True), (True, True), ([1, [2]], True), ({"a": {"b": 10**38}}, False),
        ({"a\ud800": 1}, False), ([10**38], False),
    ],
)  # fmt: skip
def test_only_what_the_table_can_hold_is_a_setting(shop: Desk, value: Any, is_kept: bool) -> None:
    raw = json.dumps({**FACE, "settings": {"seed": [value]}})
    if "ud" in raw.lower() and "d83d" not in raw.lower():  # the API's own parser refuses halves
        settings: Any = {"seed": [value]}
        assert noted(shop, settings)["code"] == "BAD_SETTINGS"
        return
    expected = "BAD_SETTING" if is_kept else "BAD_SETTINGS"
    assert refused(shop, settings={"seed": [value]}, **INFINITALK)[0][1] == expected


@pytest.mark.parametrize(("depth", "code"), [(15, "BAD_SETTING"), (16, "BAD_SETTINGS")])
def test_a_setting_is_nested_no_deeper_than_sixteen(shop: Desk, depth: int, code: str) -> None:
    value: Any = 1
    for number in range(depth):
        value = [value] if number % 2 else {"a": value}
    assert refused(shop, settings={"seed": value}, **INFINITALK)[0][1] == code


@pytest.mark.parametrize(
    ("value", "usd"),
    [
        ("25", Decimal(25)), (25, Decimal(25)), (0.5, Decimal("0.5")), ("100000", Decimal(100_000)),
        ("100000.01", None), (0, None), (-1, None), ("", None), ("NaN", None), ("Infinity", None),
        (True, None), ([], None), ("a lot", None), (None, "none"),
    ],
)  # fmt: skip
def test_an_amount_is_more_than_nothing_and_no_fortune(shop: Desk, value: Any, usd: Any) -> None:
    shop.account.buckets.put(INBOX, "in/a.json", json.dumps({"max_usd": value}).encode())
    shop.account.buckets.put(INBOX, "in/a.wav", wav())
    shop.account.buckets.put(INBOX, "in/a.png", png())
    event = {"detail": {"bucket": {"name": INBOX}, "object": {"key": "in/a.wav"}}}
    assert shop.message("intake", event) == []
    (pk,) = (pk for pk in shop.account.table.items if pk.startswith("task#"))
    task = shop.task(pk[5:])
    if usd is None:
        words = f"max_usd is {json.dumps(value)}: give an amount such as 25."
        assert task.error == {"code": "BAD_MAX_USD", "message": words}
    else:
        assert (task.status, task.max_usd) == (Status.READY, None if usd == "none" else usd)


# Provider and model.


def test_a_provider_that_is_not_known_or_not_in_use_is_refused(shop: Desk) -> None:
    assert message(shop, provider="klink") == (
        "there is no provider 'klink': use one of comet, kie, kling, relay"
    )
    shop.options(providers=["kie", "comet"])
    assert message(shop, provider="kling") == (
        "kling is not in use here: name kie or comet, or add it to `providers` in cdk.json and "
        "deploy"
    )
    assert taken(shop, provider="comet").provider == "comet"


def test_what_names_no_provider_or_model_has_the_stack_s(shop: Desk) -> None:
    shop.options(default_provider="kling")
    assert (taken(shop).provider, taken(shop).model) == ("kling", "avatar")
    shop.options(default_models={"kie": "kling/ai-avatar-pro"})
    assert (taken(shop).model, taken(shop).model_reason) == ("kling/ai-avatar-pro", "")
    assert taken(shop, model="auto").model == "infinitalk/from-audio"
    assert message(shop, model="v9").startswith(
        "kie has no model 'v9': use one of auto, infinitalk/from-audio, "
    )


def test_the_watermark_is_kept_where_the_option_says_so_and_the_task_does_not(shop: Desk) -> None:
    assert "watermark_info" not in taken(shop, provider="kling").settings
    shop.options(keep_watermark=True)
    assert taken(shop, provider="kling").settings["watermark_info"] == {"enabled": True}
    own = {"watermark_info": {"enabled": False}}
    assert dict(taken(shop, provider="kling", settings=own).settings) == own


def test_a_prompt_is_composed_and_without_control_characters(shop: Desk) -> None:
    given = " e\u0301\x00\t\u202e\u2066a\nb\x7f\x9f "
    assert taken(shop, prompt=given).prompt == "\u00e9a\nb"


# Which model.


def test_auto_takes_the_cheapest_that_takes_all(shop: Desk) -> None:
    assert taken(shop, 15).model == "infinitalk/from-audio"
    assert taken(shop, 16).model == "kling/ai-avatar-standard"
    assert taken(shop, 301, long_voice="refuse").model == "kling/v1-avatar-standard"
    assert taken(shop, 3, settings={"resolution": "720p"}).model == "infinitalk/from-audio"


def test_where_none_takes_all_the_reasons_are_those_of_the_one_that_refuses_least(
    shop: Desk,
) -> None:
    shop.options(long_voice="refuse")
    alike = refused(shop, 16, settings={"resolution": "720p"})
    assert alike == [("settings.resolution", "UNKNOWN_SETTING")]  # the one that takes most
    assert refused(shop, 3601, model="kling/ai-avatar-pro", prompt="a" * 5001) == [
        ("audio", "AUDIO_TOO_LONG"), ("prompt", "PROMPT_TOO_LONG"),
    ]  # fmt: skip


def test_a_text_is_quoted_by_its_letters_and_an_audio_id_by_the_longest(shop: Desk) -> None:
    def quoted(**settings: Any) -> tuple[Any, str]:
        body = {**FACE, "provider": "kling", "settings": settings, "max_usd": 0.001}
        code, problem = shop.api("POST", "/tasks", body)
        assert code == 422
        return problem["errors"][0]["message"].split(": shorten")[0], problem["errors"][0]["code"]

    whose = "a task may cost at most 0.00 USD (its own max_usd)"
    for text, usd in (("a" * 14, "0.06"), ("a" * 15, "0.11"), ("a" * 28, "0.11")):
        words = f"kling's avatar would cost {usd} USD for {len(text)} letters; {whose}"
        assert quoted(text=text, voice_id="v") == (words, "TOO_DEAR")
    words = f"kling's avatar would cost 16.80 USD for a voice of unknown length; {whose}"
    assert quoted(audio_id="8") == (words, "TOO_DEAR")


# Too dear.


def test_what_is_too_dear_names_the_limit_the_price_and_the_cure(shop: Desk) -> None:
    shop.options(max_usd_per_task=0.5)
    assert message(shop, 13, model="kling/ai-avatar-standard") == (
        "kie's kling/ai-avatar-standard would cost 0.52 USD for 13 s of voice; a task may cost at "
        "most 0.50 USD (option max_usd_per_task): shorten the voice, choose a cheaper model, or "
        'set "max_usd" to at least 0.52'
    )
    assert taken(shop, 12, model="kling/ai-avatar-standard").quote_usd == Decimal("0.48")
    own = taken(shop, 13, model="kling/ai-avatar-standard", max_usd=0.52)
    assert own.quote_usd == Decimal("0.52")
    shop.options(max_usd_per_task=None)
    assert taken(shop, 300, model="kling/ai-avatar-pro").quote_usd == Decimal(24)


# One voice.


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"audio": None}, "there is no voice: give kie an audio file; only kling can speak a text"),
        (
            {"audio": None, "provider": "kling"},
            "there is no voice: give kling an audio file or settings.text or settings.audio_id",
        ),
        (
            {"audio": None, "provider": "comet"},
            "there is no voice: give comet an audio file or settings.audio_id; only kling can "
            "speak a text",
        ),
        (
            {"provider": "kling", "settings": {"audio_id": "8"}},
            "there are 2 voices, settings.audio_id and an audio file: leave one, kling takes no "
            "more",
        ),
        (
            {"provider": "kling", "audio": None,
             "settings": {"audio_id": "8", "text": "a", "voice_id": "v"}},
            "there are 2 voices, settings.text and settings.audio_id: leave one, kling takes no "
            "more",
        ),
        (
            {"provider": "kling", "audio": None, "settings": {"audio_id": None}},
            "there is no voice: give kling an audio file or settings.text or settings.audio_id",
        ),
    ],
)  # fmt: skip
def test_a_video_has_exactly_one_voice(shop: Desk, body: dict[str, Any], words: str) -> None:
    assert message(shop, **body) == words


# Size before content.


@pytest.mark.parametrize(
    ("name", "most", "body"),
    [
        ("face.png", 10 << 20, {}),
        ("voice.wav", 10 << 20, INFINITALK),
        ("voice.wav", 5 << 20, {"provider": "relay"}),
    ],
)
def test_a_file_that_is_too_large_is_refused_unread(
    shop: Desk, name: str, most: int, body: dict[str, Any]
) -> None:
    shop.options(long_voice="refuse")
    for size in (most, most + 1):
        shop.account.calls.clear()
        files = {"face.png": png(), "voice.wav": wav(3), name: bytes(size)}
        for file, content in files.items():
            shop.account.buckets.put(INBOX, f"in/{file}", content)
        code, problem = shop.api("POST", "/tasks", {**FACE, "audio": "in/voice.wav", **body})
        read = {call["Key"] for call in shop.calls("GetObject")}
        assert (f"in/{name}" in read) is (size == most)
        noun = "IMAGE" if name == "face.png" else "AUDIO"
        expected = {"IMAGE": "NOT_AN_IMAGE", "AUDIO": "NOT_AUDIO"}[noun]
        assert code == 422
        assert problem["errors"][0]["code"] == (expected if size == most else f"{noun}_TOO_LARGE")


def test_who_refuses_a_large_file_is_the_model_or_where_there_are_many_the_provider(
    shop: Desk,
) -> None:
    shop.account.buckets.put(INBOX, "in/face.png", bytes((10 << 20) + 1))
    begins = "face.png is 10.0 MB (10,485,761 bytes); "
    assert message(shop, **INFINITALK).startswith(f"{begins}kie's infinitalk/from-audio takes at ")
    assert message(shop).startswith(f"{begins}kie takes at most 10.0 MB (10,485,760 bytes)")


def test_a_face_and_a_voice_that_are_swapped_are_one_reason(shop: Desk) -> None:
    shop.account.buckets.put(INBOX, "in/face.png", wav())
    assert message(shop, voice=png()) == (
        "face.png is a sound and voice.wav is a picture: they are swapped. Exchange them and drop "
        "both again."
    )
    assert refused(shop, voice=b"%PDF") == [("portrait", "NOT_AN_IMAGE"), ("audio", "NOT_AUDIO")]
    shop.account.buckets.put(INBOX, "in/face.png", b"%PDF")
    assert refused(shop, voice=png()) == [("portrait", "NOT_AN_IMAGE"), ("audio", "NOT_AUDIO")]


# Voices that no model takes whole.


def test_a_voice_that_is_too_long_comes_with_every_cure(shop: Desk) -> None:
    shop.options(long_voice="refuse")
    longer = (
        'Or set "model" to "auto", or to kling/v1-avatar-standard, kling/ai-avatar-standard, '
        "kling/ai-avatar-pro, kling/v1-avatar-pro or kling/ai-avatar-v1-pro, which takes so much."
    )
    split = 'Or set "long_voice" to "split": it is cut, and the videos are joined.'
    words = message(shop, 16, **INFINITALK)
    assert words.endswith(f" {split} {longer}")
    words = message(shop, 301, model="kling/ai-avatar-pro", max_usd=100)
    assert words.endswith(
        f'{split} Or set "model" to "auto", or to kling/v1-avatar-standard, which takes so much.'
    )
    words = message(shop, 301, provider="kling", max_usd=100)
    assert words.endswith(f" {split}")
    words = message(shop, 301, provider="kling", model="avatar", max_usd=100)
    assert words.endswith(f" {split}")
    words = message(shop, 3601, model="kling/ai-avatar-pro", max_usd=1000)
    assert words.endswith(" Talkdrop cuts voices of at most 3,600 s: no longer ones.")
    assert "long_voice" not in words


def test_a_voice_is_split_where_that_is_wanted_and_none_takes_it_whole(shop: Desk) -> None:
    split = {"long_voice": "split"}
    whole = taken(shop, 15, **INFINITALK, **split)
    assert (whole.candidates, whole.is_long, whole.long_voice) == ((), False, "split")
    cut = taken(shop, 16, **INFINITALK, **split)
    assert cut.candidates == ("infinitalk/from-audio",)
    assert cut.quote_usd == Decimal("0.255")  # two hundredths more, and begun seconds whole
    assert cut.model_reason == (
        "16 s of voice, in about 2 pieces: infinitalk/from-audio, about 0.26 USD"
    )
    auto = taken(shop, 16, **split)
    assert (auto.candidates, auto.model) == ((), "kling/ai-avatar-standard")
    kling = taken(shop, 301, provider="kling", max_usd=100, **split)
    assert (kling.candidates, kling.model) == (("avatar",), "avatar")
    assert taken(shop, 16, **INFINITALK).candidates == ("infinitalk/from-audio",)
    refuse = [("audio", "AUDIO_TOO_LONG")]
    assert refused(shop, 16, **INFINITALK, long_voice="refuse") == refuse
    shop.options(long_voice="refuse")
    assert refused(shop, 16, **INFINITALK) == refuse


@pytest.mark.parametrize("seconds", [15, 16])
def test_a_voice_that_is_only_too_large_is_split_too(shop: Desk, seconds: int) -> None:
    large = loud(seconds)
    assert taken(shop, voice=large, **INFINITALK).candidates == ("infinitalk/from-audio",)
    whole = {**INFINITALK, "long_voice": "refuse"}
    assert refused(shop, voice=large, **whole) == [("audio", "AUDIO_TOO_LARGE")]


def test_a_long_voice_of_a_type_that_is_not_taken_is_split_and_a_short_one_is_refused(
    shop: Desk,
) -> None:
    """Pieces are WAV, whatever the voice is."""
    cut = taken(shop, voice=flac(301), provider="kling", max_usd=100)
    assert cut.candidates == ("avatar",)
    assert refused(shop, voice=flac(12), provider="kling") == [("audio", "AUDIO_TYPE")]


def test_beyond_what_the_models_document_auto_weighs_pieces_against_the_one_without_a_limit(
    shop: Desk,
) -> None:
    task = taken(shop, 301, long_voice="split", max_usd=100)
    assert task.model == "infinitalk/from-audio"
    assert task.candidates == (
        "infinitalk/from-audio", "kling/ai-avatar-standard", "kling/ai-avatar-pro",
        "kling/v1-avatar-pro", "kling/ai-avatar-v1-pro", "kling/v1-avatar-standard",
    )  # fmt: skip
    named = taken(shop, 301, long_voice="split", max_usd=100, model="kling/v1-avatar-standard")
    assert named.candidates == ()


@pytest.mark.parametrize(
    ("body", "reasons"),
    [
        ({**INFINITALK, "max_usd": 0.2}, [("max_usd", "TOO_DEAR")]),
        ({**INFINITALK, "prompt": "a" * 5001},
         [("audio", "AUDIO_TOO_LONG"), ("prompt", "PROMPT_TOO_LONG")]),
        ({**INFINITALK, "settings": {"seeed": 1}},
         [("audio", "AUDIO_TOO_LONG"), ("settings.seeed", "UNKNOWN_SETTING")]),
    ],
)  # fmt: skip
def test_a_voice_is_not_split_against_what_else_is_wrong(
    shop: Desk, body: dict[str, Any], reasons: list[Any]
) -> None:
    assert refused(shop, 16, long_voice="split", **body) == reasons


def test_a_voice_beyond_an_hour_is_refused_for_its_length_alone(shop: Desk) -> None:
    body = {**INFINITALK, "long_voice": "split", "max_usd": 1000}
    assert taken(shop, 3600, **body).is_long
    assert refused(shop, 3601, **body) == [("audio", "AUDIO_TOO_LONG")]
    assert refused(shop, 11_000, **body) == [("audio", "AUDIO_TOO_LONG")]


def test_a_limit_that_is_only_reported_can_be_lifted(shop: Desk) -> None:
    shop.options(lift_limits={"infinitalk/from-audio": True})
    assert taken(shop, 16, **INFINITALK).candidates == ()
    shop.options(lift_limits={"infinitalk/from-audio": False}, long_voice="refuse")
    assert refused(shop, 16, **INFINITALK) == [("audio", "AUDIO_TOO_LONG")]


def test_thousands_of_reasons_are_cut_and_counted(shop: Desk) -> None:
    settings = {f"unknown {number}": "" for number in range(300)}
    words = noted(shop, settings)["message"]
    assert words.endswith(" … (300 reasons in all)")
    assert len(words) == 4000 + len(" … (300 reasons in all)")
