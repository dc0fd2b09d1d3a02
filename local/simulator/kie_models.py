"""kie.ai's avatar models: what each takes, how long it works and what it costs.

https://docs.kie.ai · its pages "Infinitalk" and "Kling V1 Avatar Standard" · recorded traffic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MB = 1024 * 1024
WITH_WEBP = ("image/jpeg", "image/png", "image/webp")
JPEG_PNG = ("image/jpeg", "image/png")
SOUNDS = ("audio/mpeg", "audio/wav", "audio/aac", "audio/mp4", "audio/ogg")


@dataclass(frozen=True)
class Model:
    """A model's limits and its credits per second; `prices` by resolution where there is a
    choice."""

    images: tuple[str, ...]
    audio_bytes: int
    prices: dict[str, int]
    audio_seconds: float = math.inf
    prompt_required: bool = False
    """Whether "" is refused."""
    seconds: tuple[float, float] = (
        290.0,
        2.5,
    )  # 300 to 355 s were recorded for clips of up to 15 s


MODELS = {
    "infinitalk/from-audio": Model(
        WITH_WEBP,
        10 * MB,
        {"480p": 3, "720p": 12},
        prompt_required=True,
        seconds=(120.0, 6.0),
    ),
    "kling/v1-avatar-standard": Model(WITH_WEBP, 10 * MB, {"": 8}),
    "kling/ai-avatar-standard": Model(JPEG_PNG, 100 * MB, {"": 8}, audio_seconds=300.0),
    "kling/ai-avatar-pro": Model(JPEG_PNG, 100 * MB, {"": 16}, audio_seconds=300.0),
    "kling/ai-avatar-v1-pro": Model(WITH_WEBP, 10 * MB, {"": 16}),
    "kling/v1-avatar-pro": Model(WITH_WEBP, 10 * MB, {"": 16}),
}
