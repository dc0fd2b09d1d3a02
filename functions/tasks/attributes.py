"""DynamoDB's typed values, and plain ones.

boto3 has both for its resources: to import it is a tenth of a cold start, and it takes twice the
time. https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Clamped, Context, Decimal, Inexact, Overflow, Rounded, Underflow
from typing import Any

Attributes = Mapping[str, Any]  # an item, or a part of one, in DynamoDB's typing

# DynamoDB keeps 38 digits; what it would round is refused here.
_NUMBERS = Context(
    prec=38, Emin=-128, Emax=126, traps=[Clamped, Inexact, Overflow, Rounded, Underflow]
)


def typed(value: Any) -> dict[str, Any]:
    """A plain value in DynamoDB's own typing; floats travel as decimals. Raises TypeError for what
    has no type there or is no number, and ArithmeticError for a number of too many digits."""
    match value:
        case str():
            return {"S": value}
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case int() | float() | Decimal():
            return {"N": _text(Decimal(str(value)))}
        case Mapping():
            return {"M": {str(name): typed(inner) for name, inner in value.items()}}
        case list() | tuple():
            return {"L": [typed(inner) for inner in value]}
        case _:
            raise TypeError(f"DynamoDB has no type for {type(value).__name__}: {value!r}")


def plain(item: Attributes) -> dict[str, Any]:
    """An item with plain values; a number is an int where it is whole."""
    return {name: _plain(value) for name, value in item.items()}


def _text(number: Decimal) -> str:
    if not number.is_finite():
        raise TypeError(f"DynamoDB keeps no {number}")
    return str(_NUMBERS.create_decimal(number))


def _plain(value: Attributes) -> Any:
    ((kind, inner),) = value.items()
    if kind in ("S", "BOOL"):
        return inner
    if kind == "N":
        return _number(inner)
    if kind == "M":
        return {name: _plain(one) for name, one in inner.items()}
    if kind == "L":
        return [_plain(one) for one in inner]
    if kind == "NULL":
        return None
    raise TypeError(f"a row of ours holds no {kind}")


def _number(text: str) -> int | Decimal:
    try:
        return int(text)
    except ValueError:
        number = Decimal(text)
    return int(number) if number == number.to_integral_value() else number
