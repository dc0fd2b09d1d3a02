"""The limits, ranges and prices that the documentation of each provider names (docs/providers.md
has the sources)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from functions import providers
from functions.providers import base

KLING_AUDIO = {"audio/mpeg", "audio/wav", "audio/mp4", "audio/aac"}
KIE_AUDIO = {"audio/mpeg", "audio/wav", "audio/aac", "audio/mp4", "audio/ogg"}
OLD_IMAGES, IMAGES = {"image/jpeg", "image/png", "image/webp"}, {"image/jpeg", "image/png"}
MB = base.MB


@pytest.mark.parametrize(
    ("name", "model", "images", "audio", "image_bytes", "audio_bytes", "seconds", "prompt"),
    [
        (
            "kie",
            "infinitalk/from-audio",
            OLD_IMAGES,
            KIE_AUDIO,
            10 * MB,
            10 * MB,
            (None, 15),
            5000,
        ),
        (
            "kie",
            "kling/v1-avatar-standard",
            OLD_IMAGES,
            KIE_AUDIO,
            10 * MB,
            10 * MB,
            (None, None),
            5000,
        ),
        (
            "kie",
            "kling/ai-avatar-standard",
            IMAGES,
            KIE_AUDIO,
            10 * MB,
            100 * MB,
            (None, 300),
            5000,
        ),
        ("kie", "kling/ai-avatar-pro", IMAGES, KIE_AUDIO, 10 * MB, 100 * MB, (None, 300), 5000),
        ("kling", "avatar", IMAGES, KLING_AUDIO, 10 * MB, 5 * MB, (2, 300), 2500),
        ("comet", "avatar", IMAGES, KLING_AUDIO, 10 * MB, 5 * MB, (2, 60), 2500),
        ("relay", "avatar", IMAGES, KLING_AUDIO, 10 * MB, 5 * MB, (2, 300), 2500),
    ],
)
def test_limits_are_those_of_the_documentation(
    name: str,
    model: str,
    images: set[str],
    audio: set[str],
    image_bytes: int,
    audio_bytes: int,
    seconds: tuple[float | None, float | None],
    prompt: int,
) -> None:
    limits = providers.get(name).models[model].limits
    assert limits.image_types == images
    assert limits.audio_types == audio
    assert (limits.image_bytes, limits.audio_bytes) == (image_bytes, audio_bytes)
    assert (limits.audio_min_seconds, limits.audio_max_seconds) == seconds
    assert limits.prompt_characters == prompt
    pixels = (None, None) if name == "kie" else (300, 2.5)
    assert (limits.image_min_pixels, limits.image_max_ratio) == pixels


@pytest.mark.parametrize(
    ("name", "model", "chosen", "seconds", "usd"),
    [
        ("kie", "infinitalk/from-audio", {}, 10, "0.15"),
        ("kie", "infinitalk/from-audio", {"resolution": "480p"}, 10, "0.15"),
        ("kie", "infinitalk/from-audio", {"resolution": "720p"}, 10, "0.60"),
        ("kie", "kling/v1-avatar-standard", {}, 11.52, "0.48"),
        ("kie", "kling/ai-avatar-pro", {}, 10, "0.80"),
        ("kling", "avatar", {}, 12, "0.672"),
        ("kling", "avatar", {"mode": "std"}, 12, "0.672"),
        ("kling", "avatar", {"mode": "pro"}, 12, "1.344"),
        ("kling", "avatar", {"mode": "std"}, 0.2, "0.056"),
    ],
)
def test_prices_are_the_price_lists(
    name: str, model: str, chosen: dict[str, str], seconds: float, usd: str
) -> None:
    assert providers.get(name).models[model].price(seconds, chosen) == Decimal(usd)


def test_settings_are_those_of_the_documentation() -> None:
    infinitalk = providers.get("kie").models["infinitalk/from-audio"].settings
    assert infinitalk["resolution"].choices == ("480p", "720p")
    assert (infinitalk["seed"].least, infinitalk["seed"].most) == (10_000, 1_000_000)
    for name in ("kling", "comet", "relay"):
        assert providers.get(name).models["avatar"].settings["mode"].choices == ("std", "pro")
    speech = providers.get("kling").models["avatar"].settings
    assert speech["text"].most == 1000
    assert (speech["voice_speed"].least, speech["voice_speed"].most) == (0.8, 2.0)


def test_rate_limits_and_retentions_are_those_of_the_documentation() -> None:
    kie, kling = providers.get("kie"), providers.get("kling")
    assert (kie.rate_limit.submits, kie.rate_limit.seconds, kie.rate_limit.running) == (18, 10, 100)
    assert kling.rate_limit.running == 5
    assert (kie.retention_days, kling.retention_days) == (14, 30)


def test_infinitalk_s_fifteen_seconds_are_reported_and_can_be_lifted() -> None:
    limits = providers.get("kie").models["infinitalk/from-audio"].limits
    reported = limits.reported["audio_max_seconds"]
    assert "six public clients" in reported.source
    assert "kling/ai-avatar-standard" in " ".join(reported.cures)
    assert limits.lifted().audio_max_seconds is None
    assert limits.lifted().audio_bytes == limits.audio_bytes
    assert not limits.lifted().reported


def test_what_failed_jobs_cost_stands_where_it_is_documented() -> None:
    charges = {name: providers.get(name).charges_failed_jobs for name in providers.NAMES}
    assert charges == {"kie": False, "kling": None, "comet": None, "relay": True}
