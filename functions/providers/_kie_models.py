"""kie's models: what each takes, what it costs and how long it takes."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from functions.providers.base import (
    MB,
    Limits,
    Model,
    Reported,
    Setting,
)

JPEG_PNG = frozenset({"image/jpeg", "image/png"})
AUDIO = frozenset({"audio/mpeg", "audio/wav", "audio/aac", "audio/mp4", "audio/ogg"})
# Six independent public clients (November 2026): "15s audio cap", "Audio is 22 seconds (exceeds
# infinitalk 15s limit)"; the model's page states no length, the price list says "up to 15 seconds".
FIFTEEN_SECONDS = Reported(
    source="six public clients of kie (November 2026) and kie's price list (2026-06-30)",
    cures=(
        "choose a model that takes longer voices, such as kling/ai-avatar-standard (300 s)",
        "cut the voice into pieces of 15 s at most",
    ),
)
# "Infinitalk 音频生成" and "Kling V1 Avatar Standard" of December 2025, and the same pages under
# https://docs.kie.ai/market of 2026-06-11: webp, and 10 MB each
OLD = Limits(image_types=JPEG_PNG | {"image/webp"}, audio_types=AUDIO)
# https://docs.kie.ai/market/kling/ai-avatar-standard of 2026-06-30 and 2026-08-19
AVATAR = Limits(
    image_types=JPEG_PNG, audio_types=AUDIO, audio_bytes=100 * MB, audio_max_seconds=300
)


# Prices: kie's price list of 2026-06-30. Times: avatars took 300 to 355 s for clips up to 15 s;
# infinitalk's: unknown.
def _avatar(name: str, limits: Limits, usd: str) -> Model:
    return Model(
        id=name, limits=limits, usd_per_second=Decimal(usd), first_seconds=180, usual_seconds=360
    )


MODELS = (
    Model(
        id="infinitalk/from-audio",
        limits=replace(OLD, audio_max_seconds=15, reported={"audio_max_seconds": FIFTEEN_SECONDS}),
        usd_per_second=Decimal("0.015"),
        settings={
            "resolution": Setting(str, choices=("480p", "720p")),
            "seed": Setting(int, least=10_000, most=1_000_000),
        },
        price_by="resolution",
        prices={"480p": Decimal("0.015"), "720p": Decimal("0.06")},
        # "prompt: required" (its page); four public clients refuse an empty one
        neutral_prompt="A person speaks to the camera.",
        usual_seconds=600,  # 7 to 10 minutes a clip (public clients, November 2026)
    ),
    # the id of the page of December 2025: still accepted on 2026-09-29
    _avatar("kling/v1-avatar-standard", OLD, "0.04"),
    _avatar("kling/ai-avatar-standard", AVATAR, "0.04"),
    _avatar("kling/ai-avatar-pro", AVATAR, "0.08"),
    _avatar("kling/v1-avatar-pro", AVATAR, "0.08"),  # older ids of pro, found in clients only
    _avatar("kling/ai-avatar-v1-pro", AVATAR, "0.08"),
)
