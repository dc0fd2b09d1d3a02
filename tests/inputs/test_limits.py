"""Every limit of a model, at the bound and one past it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from functions import providers
from functions.inputs import audio, limits, pictures, refusals
from functions.inputs.audio import Audio
from functions.inputs.pictures import Image
from functions.inputs.source import of_bytes
from functions.providers.base import MB, Limits, Model, Setting

from .conftest import Make, picture

KLING = Model(
    id="avatar",
    usd_per_second=Decimal(1),
    limits=Limits(
        image_types=frozenset({"image/jpeg", "image/png"}),
        audio_types=frozenset({"audio/mpeg", "audio/wav", "audio/mp4", "audio/aac"}),
        audio_bytes=5 * MB,
        image_min_pixels=300,
        image_max_ratio=2.5,
        audio_min_seconds=2,
        audio_max_seconds=300,
        prompt_characters=2500,
    ),
    settings={
        "mode": Setting(str, choices=("std", "pro")),
        "seed": Setting(int, least=10_000, most=1_000_000),
        "strength": Setting(float, least=0, most=1),
        "watermark": Setting(bool),
        "text": Setting(str, least=1, most=1000),
        "watermark_info": Setting(dict),
        "masks": Setting(list, most=5),
    },
)
# What documents no limit of pixels, ratio or seconds, as kie's infinitalk.
LAX = replace(
    KLING, id="lax", limits=Limits(KLING.limits.image_types, KLING.limits.audio_types), settings={}
)

FACE = Image("face.png", "image/png", 90_000, 512, 512)
VOICE = Audio("voice.mp3", "audio/mpeg", 90_000, 12.0)


def check(model: Model = KLING, **changes: Any) -> list[refusals.Refusal]:
    arguments = {"image": FACE, "audio": VOICE, "prompt": "", "settings": {}, **changes}
    return limits.check(model, "kling", **arguments)


def codes(**changes: Any) -> list[str]:
    return [refusal.code for refusal in check(**changes)]


def test_what_keeps_every_limit_is_not_refused() -> None:
    assert check(prompt="Warm smile", settings={"mode": "pro", "seed": 10_000}) == []
    assert check(image=None, audio=None) == []


@pytest.mark.parametrize(
    ("kept", "broken", "code"),
    [
        (
            {"image": replace(FACE, bytes=10 * MB)},
            {"image": replace(FACE, bytes=10 * MB + 1)},
            "IMAGE_TOO_LARGE",
        ),
        (
            {"audio": replace(VOICE, bytes=5 * MB)},
            {"audio": replace(VOICE, bytes=5 * MB + 1)},
            "AUDIO_TOO_LARGE",
        ),
        (
            {"image": replace(FACE, width=300)},
            {"image": replace(FACE, width=299)},
            "IMAGE_TOO_FEW_PIXELS",
        ),
        (
            {"image": replace(FACE, height=300)},
            {"image": replace(FACE, height=299)},
            "IMAGE_TOO_FEW_PIXELS",
        ),
        (
            {"image": replace(FACE, width=1280)},
            {"image": replace(FACE, width=1281)},
            "IMAGE_TOO_NARROW",
        ),
        (
            {"image": replace(FACE, height=1280)},
            {"image": replace(FACE, height=1281)},
            "IMAGE_TOO_NARROW",
        ),
        (
            {"audio": replace(VOICE, seconds=1.9)},
            {"audio": replace(VOICE, seconds=1.89)},
            "AUDIO_TOO_SHORT",
        ),
        (
            {"audio": replace(VOICE, seconds=300.1)},
            {"audio": replace(VOICE, seconds=300.11)},
            "AUDIO_TOO_LONG",
        ),
        ({"prompt": "é" * 2500}, {"prompt": "é" * 2501}, "PROMPT_TOO_LONG"),
        ({"prompt": "😀" * 2500}, {"prompt": "😀" * 2501}, "PROMPT_TOO_LONG"),
        ({"image": FACE}, {"image": replace(FACE, content_type="image/webp")}, "IMAGE_TYPE"),
        ({"audio": VOICE}, {"audio": replace(VOICE, content_type="audio/flac")}, "AUDIO_TYPE"),
    ],
)
def test_a_limit_holds_at_its_bound_and_not_past_it(
    kept: dict[str, Any], broken: dict[str, Any], code: str
) -> None:
    assert codes(**kept) == []
    assert codes(**broken) == [code]


@pytest.mark.parametrize(
    ("kept", "broken", "code"),
    [
        (
            {"image": replace(FACE, width=64)},
            {"image": replace(FACE, width=63)},
            "IMAGE_TOO_FEW_PIXELS",
        ),
        (
            {"audio": replace(VOICE, seconds=0.4)},
            {"audio": replace(VOICE, seconds=0.39)},
            "AUDIO_TOO_SHORT",
        ),
        (
            {"audio": replace(VOICE, seconds=3600)},
            {"audio": replace(VOICE, seconds=3600.2)},
            "AUDIO_TOO_LONG",
        ),
    ],
)
def test_where_no_limit_is_documented_ours_holds_and_says_so(
    kept: dict[str, Any], broken: dict[str, Any], code: str
) -> None:
    assert check(LAX, **kept) == []
    [refusal] = check(LAX, **broken)
    assert refusal.code == code
    assert "Talkdrop itself, where no limit is documented, takes" in refusal.message


@pytest.mark.parametrize(
    ("name", "kept", "broken"),
    [
        ("mode", ["std", "pro", None], ["", "PRO", 1, True, ["std"], {}]),
        (
            "seed",
            [10_000, 1_000_000, 10_000.0, Decimal(10_000), None],
            [9_999, 1_000_001, 10_000.5, "10000", True],
        ),
        ("seed", [50_000], [float("nan"), float("inf"), 10**400, -(10**400), [], {}]),
        ("strength", [0, 1, 0.5, Decimal("0.5")], [-0.001, 1.001, "0.5", False, float("nan")]),
        ("watermark", [True, False], [0, 1, "true", "no"]),
        ("text", ["a", "a" * 1000], ["", "a" * 1001, 5]),
        ("watermark_info", [{}, {"enabled": True}], [[], True, "{}"]),
        ("masks", [[], [1] * 5], [[1] * 6, "12345", 3]),
    ],
)
def test_a_setting_is_held_to_its_type_choices_and_range(
    name: str, kept: list[Any], broken: list[Any]
) -> None:
    for value in kept:
        assert check(settings={name: value}) == []
    for value in broken:
        [refusal] = check(settings={name: value})
        assert (refusal.code, refusal.field) == ("BAD_SETTING", f"settings.{name}")


def test_a_setting_that_needs_another_is_refused_without_it() -> None:
    speaks = replace(
        KLING, settings={"text": Setting(str, needs="voice_id"), "voice_id": Setting(str)}
    )
    assert check(speaks, settings={"text": "Good morning", "voice_id": "v"}) == []
    assert check(speaks, settings={"voice_id": "v", "text": None}) == []
    for settings in ({"text": "Good morning"}, {"text": "Good morning", "voice_id": None}):
        [refusal] = check(speaks, settings=settings)
        assert (refusal.code, refusal.field) == ("MISSING_SETTING", "settings.voice_id")
        assert refusal.message == "settings.text needs settings.voice_id beside it: add it."


def test_an_unknown_setting_is_refused_and_the_known_ones_are_listed() -> None:
    [refusal] = check(settings={"modus": "pro"})
    assert refusal.code == "UNKNOWN_SETTING"
    assert refusal.message == (
        "kling's avatar has no setting 'modus'; it takes mode, seed, strength, watermark, text, "
        "watermark_info and "
        "masks: mend or remove it."
    )
    assert "it takes none" in check(LAX, settings={"mode": "pro"})[0].message


def test_the_messages_name_the_limit_the_value_and_the_cure() -> None:
    refusals = check(
        image=Image("face.webp", "image/webp", 12 * MB, 9, 90),
        audio=Audio("voice.ogg", "audio/ogg", 6 * MB, 301.5),
        prompt="x" * 2501,
        settings={"mode": "best", "seed": 7},
    )
    assert [refusal.message for refusal in refusals] == [
        "face.webp is WebP; kling's avatar takes JPEG or PNG: save it as JPEG.",
        "face.webp is 12.0 MB (12,582,912 bytes); kling's avatar takes at most 10.0 MB "
        "(10,485,760 bytes): make it smaller.",
        "face.webp is 9 × 90 pixels; kling's avatar takes at least 300 on each side: use a larger "
        "picture.",
        "face.webp is 9 × 90 pixels, 1:10.00; kling's avatar takes at most 1:2.5 either way: crop "
        "it.",
        "voice.ogg is Ogg; kling's avatar takes MP3, WAV, M4A or AAC: save it as MP3.",
        "voice.ogg is 6.0 MB (6,291,456 bytes); kling's avatar takes at most 5.0 MB (5,242,880 "
        "bytes): make it smaller.",
        "voice.ogg lasts 301.50 seconds; kling's avatar takes at most 300: shorten it or cut it "
        "in parts.",
        "The prompt has 2,501 characters; kling's avatar takes at most 2,500: shorten it.",
        'settings.mode is "best"; kling\'s avatar takes "std" or "pro".',
        "settings.seed is 7; kling's avatar takes a whole number from 10,000 up to 1,000,000.",
    ]


@pytest.mark.parametrize("name", providers.NAMES)
def test_every_model_of_every_provider_refuses_what_is_surely_a_mistake(
    name: str, sound: Make
) -> None:
    speck = pictures.inspect_image(of_bytes("face.png", picture("PNG", 9, 9)))
    heavy = pictures.inspect_image(of_bytes("face.jpg", picture("JPEG", 512, 512) + bytes(12 * MB)))
    click = audio.inspect_audio(of_bytes("voice.wav", sound("click.wav", seconds=0.2)))
    for model in providers.get(name).models.values():
        assert [one.code for one in check(model, image=speck)] == ["IMAGE_TOO_FEW_PIXELS"]
        assert [one.code for one in check(model, image=heavy)] == ["IMAGE_TOO_LARGE"]
        assert [one.code for one in check(model, audio=click)] == ["AUDIO_TOO_SHORT"]


@pytest.mark.parametrize("name", providers.NAMES)
def test_every_type_that_a_provider_takes_is_one_that_we_can_tell(name: str) -> None:
    for model in providers.get(name).models.values():
        assert model.limits.image_types | model.limits.audio_types <= set(limits.WORDS)
