"""The reserve of a long voice: its whole quote, booked against the budgets before the first piece
is paid, so that no cap can close between two pieces.

    opening      READY → IN_PIECES       with the bookings of the whole quote, or none of it
    draw         a piece's claim         less by the piece's quote
    giving_back  a piece cost nothing    more by the piece's quote: it may be claimed again
    closing      the parent's end        what is left goes back to the budgets

A reserve is an item of its own, so that a claim does not write the parent's row. Once it is closed
no piece can be claimed any more. What a piece was charged beside its quote is the budgets' own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from functions.settings import options
from functions.tasks import table
from functions.tasks.table import ConditionFailed, Update, now

_PREFIX = "reserve#"
_DAY = 86400


@dataclass(frozen=True)
class Reserve:
    """`periods` are the budgets that it was booked against, by their keys."""

    left_usd: Decimal
    periods: tuple[str, ...]
    is_closed: bool


def key_of(parent: str) -> str:
    return f"{_PREFIX}{parent}"


def is_reserve(pk: str) -> bool:
    return pk.startswith(_PREFIX)


def read(parent: str) -> Reserve:
    """As it is now. Raises ConditionFailed where there is none."""
    item = table.read(key_of(parent))
    if item is None:
        raise ConditionFailed
    return Reserve(Decimal(item["left_usd"]), tuple(item["periods"]), "closed" in item)


def opening(parent: str, quote_usd: Decimal, periods: Iterable[str]) -> Update:
    update = Update(key_of(parent)).set(left_usd=quote_usd, periods=list(periods))
    return update.given("attribute_not_exists({pk})")


def draw(parent: str, quote_usd: Decimal) -> Update:
    """0 only checks that the parent has not ended."""
    update = Update(key_of(parent)).add(left_usd=-quote_usd)
    return update.given(
        "attribute_exists({pk}) AND attribute_not_exists({closed}) AND {left_usd} >= :quote",
        quote=quote_usd,
    )


def giving_back(parent: str, quote_usd: Decimal) -> Update:
    update = Update(key_of(parent)).add(left_usd=quote_usd)
    return update.given("attribute_exists({pk}) AND attribute_not_exists({closed})")


def closing(parent: str, seen: Reserve) -> list[Update]:
    """The reserve's end, and what is left of it back to the budgets. It holds only for the reserve
    as it was seen."""
    kept_until = int(now().timestamp()) + options().row_retention_days * _DAY
    update = Update(key_of(parent)).set(closed=True, left_usd=Decimal(0), expires_at=kept_until)
    update.given(
        "{left_usd} = :left AND attribute_not_exists({closed})",
        left=seen.left_usd,
    )
    return [update, *correction(seen, -seen.left_usd)]


def correction(reserve: Reserve, usd: Decimal) -> list[Update]:
    """What the budgets that the reserve was booked against count more, or less."""
    return [Update(period).add(spent_usd=usd) for period in reserve.periods if usd]
