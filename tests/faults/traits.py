"""What is not documented of a provider, or not kept: drawn once a run, each by its own name."""

from __future__ import annotations

from dataclasses import dataclass

from tests.faults.draws import Draws

HOUR = 3600.0


@dataclass(frozen=True)
class Traits:
    """The defaults are the documented ways. Times are seconds, `lookups_down` counts from the
    start."""

    charged_at: str = "end"  # create, start, end
    refunds: str = "at once"  # of a failed job: at once, late, half, never
    balance: str = "exact"  # exact, rounded, cached, shared
    takes_ids_twice: bool = False
    duplicate_words: str = "named"  # named, generic, parallel, server
    finds_theirs_only: bool = False
    list_lag: float = 0.0
    page_size: int = 500
    lookups_down: tuple[float, float] = (0.0, 0.0)
    callbacks_lost: bool = False
    speech_seconds: float = 0.0
    finds_upstream_ids: bool = True  # a gateway, by the vendor's ids behind it
    sure_refusals_lie: bool = False  # with words that are documented as a refusal
    records_omit: str = ""  # proof: our id, or the callback URL; dates


ORDINARY = Traits()


def drawn(draws: Draws) -> Traits:
    chosen: dict[str, object] = {}
    for name, share, choices in _CHOICES:
        chance = draws.chance(f"trait {name}")
        choice = chance.choice(choices)
        if chance.random() < share and draws.allows(f"trait {name}: {choice}"):
            chosen[name] = choice
    return Traits(**chosen)  # type: ignore[arg-type]


_CHOICES: tuple[tuple[str, float, tuple[object, ...]], ...] = (
    ("charged_at", 0.6, ("create", "start")),
    ("refunds", 0.5, ("late", "half", "never")),
    ("balance", 0.6, ("rounded", "cached", "shared")),
    ("takes_ids_twice", 0.5, (True,)),
    ("duplicate_words", 0.6, ("generic", "parallel", "server")),
    ("finds_theirs_only", 0.2, (True,)),
    ("list_lag", 0.4, (60.0, 900.0)),
    ("page_size", 0.3, (2,)),
    ("lookups_down", 0.3, ((60.0, 3 * HOUR), (600.0, 6 * HOUR), (30.0, 120.0), (0.0, HOUR))),
    ("callbacks_lost", 0.15, (True,)),
    ("speech_seconds", 0.5, (20.0, 900.0)),
    ("finds_upstream_ids", 0.3, (False,)),
    ("sure_refusals_lie", 0.2, (True,)),
    ("records_omit", 0.15, ("proof", "dates")),
)
