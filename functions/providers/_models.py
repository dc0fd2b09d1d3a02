"""What a provider's models take, refuse and cost: the tables that inputs are checked against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

# The larger reading of a vendor's "MB": what lies between the two readings is for the vendor to
# refuse.
MB = 1 << 20


@dataclass(frozen=True)
class Reported:
    """A limit that others met and no documentation states: where it was seen, and what helps, as
    sentences for the person whose input is refused."""

    source: str
    cures: tuple[str, ...]


@dataclass(frozen=True)
class Limits:
    """What the provider's documentation refuses. `None`: no limit is documented.

    `reported` names those of these fields that are not documented but were met by others; an
    installation may lift them (`lifted`).

    Types are MIME types in one spelling: image/jpeg image/png image/webp, audio/mpeg audio/wav
    audio/aac audio/mp4 (m4a) audio/ogg.
    """

    image_types: frozenset[str]
    audio_types: frozenset[str]
    image_bytes: int = 10 * MB
    audio_bytes: int = 10 * MB
    image_min_pixels: int | None = None
    image_max_ratio: float | None = None
    audio_min_seconds: float | None = None
    audio_max_seconds: float | None = None
    prompt_characters: int = 5000
    reported: Mapping[str, Reported] = field(default_factory=dict)

    def lifted(self) -> Limits:
        """These limits without the reported ones: only what the documentation states."""
        documented: dict[str, Any] = dict.fromkeys(self.reported)
        return replace(self, reported={}, **documented)


@dataclass(frozen=True)
class Setting:
    """One setting a model takes: its type, the values it allows, or its range; and the setting it
    `needs` beside it."""

    kind: type
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    needs: str = ""


@dataclass(frozen=True)
class Model:
    """One model: its name, limits, settings and price, and how long it is known to need.

    `usd_per_second` is the price per second of voice, as of the date in the provider's table; for a
    model whose price depends on a setting, `price_by` names the setting and `prices` its values.
    `neutral_prompt` is sent where the task has no prompt and the vendor refuses an empty one.
    """

    id: str
    limits: Limits
    usd_per_second: Decimal
    settings: Mapping[str, Setting] = field(default_factory=dict)
    price_by: str = ""
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    first_seconds: int = 60
    usual_seconds: int = 360
    neutral_prompt: str = ""

    def price(self, seconds: float, settings: Mapping[str, object]) -> Decimal:
        """What this provider's price list asks for `seconds` of voice, in USD: begun seconds are
        counted whole."""
        rate = self.prices.get(str(settings.get(self.price_by, "")), self.usd_per_second)
        whole = int(seconds) + (seconds > int(seconds))
        return rate * max(whole, 1)

    def prompt(self, prompt: str) -> str:
        return prompt if prompt.strip() or not self.neutral_prompt else self.neutral_prompt

    def taken(self, settings: Mapping[str, object]) -> dict[str, object]:
        """Those of `settings` that this model takes, each in its own type (a table gives numbers
        back as Decimal)."""
        return {
            name: one.kind(settings[name])
            for name, one in self.settings.items()
            if settings.get(name) is not None
        }


@dataclass(frozen=True)
class RateLimit:
    """How fast and how many: `submits` in any `seconds`, `running` jobs at once (None: not
    limited)."""

    submits: int
    seconds: int
    running: int | None = None
