"""DynamoDB's condition and update expressions, over items in DynamoDB's own typing. Parsed once a
text, run often.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

Item = dict[str, Any]
Path = tuple[str, ...]
_WORD = re.compile(r"\s*(<>|<=|>=|[=<>(),.+-]|[#:]?[A-Za-z_][A-Za-z0-9_]*)")
_COMPARES: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b, "<>": lambda a, b: a != b, "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}  # fmt: skip


class Invalid(Exception):
    """What DynamoDB answers with a ValidationException."""


class Scope:
    """An item, and the names and values of one request."""

    def __init__(
        self, item: Item | None, names: Mapping[str, str], values: Mapping[str, Any]
    ) -> None:
        self.item = item or {}
        self.names = names
        self.values = values

    def path(self, path: Path) -> Path:
        if not _has_names(path):
            return path
        return tuple(self.names[part] if part.startswith("#") else part for part in path)

    def read(self, path: Path) -> Any | None:
        found, inside = None, self.item
        for part in self.path(path):
            if part not in inside:
                return None
            found = inside[part]
            inside = found.get("M", {})
        return found


@cache
def _has_names(path: Path) -> bool:
    return any(part.startswith("#") for part in path)


Read = Callable[[Scope], Any]


def bare(value: Any) -> Any:
    """A typed value as one that Python compares; the type stays beside it."""
    ((kind, inner),) = value.items()
    if kind == "S":
        return kind, inner
    if kind == "N":
        return kind, Decimal(inner)
    if kind == "M":
        return kind, {name: bare(one) for name, one in inner.items()}
    if kind == "L":
        return kind, [bare(one) for one in inner]
    return kind, inner


class _Words:
    def __init__(self, text: str) -> None:
        self.words: list[str] = []
        position = 0
        while position < len(text.rstrip()):
            found = _WORD.match(text, position)
            if found is None:
                raise Invalid(f"not an expression: {text[position:]!r}")
            self.words.append(found[1])
            position = found.end()
        self.at = 0

    def peek(self) -> str:
        return self.words[self.at] if self.at < len(self.words) else ""

    def take(self) -> str:
        self.at += 1
        return self.words[self.at - 1]

    def accept(self, word: str) -> bool:
        if self.peek().upper() != word:
            return False
        self.at += 1
        return True

    def expect(self, word: str) -> None:
        if not self.accept(word):
            raise Invalid(f"expected {word!r} before {self.peek()!r}")

    def path(self) -> Path:
        path = [self.take()]
        while self.accept("."):
            path.append(self.take())
        return tuple(path)


@cache
def mismatch(texts: tuple[str, ...], names: frozenset[str], values: frozenset[str]) -> str:
    """Why DynamoDB refuses these expressions with the names and values beside them, or "": each
    must be defined, and each must be used."""
    words = {word for text in texts for word in _Words(text).words}
    used = {word for word in words if word[0] in "#:"}
    if missing := used - names - values:
        return f"not defined in the expressions' names and values: {sorted(missing)}"
    if idle := (names | values) - used:
        return f"value or name unused in expressions: {sorted(idle)}"
    return ""


@cache
def condition(text: str) -> Callable[[Scope], bool]:
    words = _Words(text)
    parsed = _either(words)
    if words.peek():
        raise Invalid(f"left over: {words.peek()!r}")
    return parsed


def _either(words: _Words) -> Callable[[Scope], bool]:
    terms = [_both(words)]
    while words.accept("OR"):
        terms.append(_both(words))
    return terms[0] if len(terms) == 1 else lambda scope: any(term(scope) for term in terms)


def _both(words: _Words) -> Callable[[Scope], bool]:
    terms = [_term(words)]
    while words.accept("AND"):
        terms.append(_term(words))
    return terms[0] if len(terms) == 1 else lambda scope: all(term(scope) for term in terms)


def _term(words: _Words) -> Callable[[Scope], bool]:
    if words.accept("NOT"):
        inner = _term(words)
        return lambda scope: not inner(scope)
    if words.accept("("):
        inner = _either(words)
        words.expect(")")
        return inner
    if words.peek() in ("attribute_exists", "attribute_not_exists"):
        wanted = words.take() == "attribute_exists"
        words.expect("(")
        path = words.path()
        words.expect(")")
        return lambda scope: (scope.read(path) is not None) is wanted
    if words.peek() == "contains":
        words.take()
        words.expect("(")
        path = words.path()
        words.expect(",")
        wanted_value = _operand(words)
        words.expect(")")

        def contains(scope: Scope) -> bool:
            found = scope.read(path) or {}
            return any(bare(one) == bare(wanted_value(scope)) for one in found.get("L", []))

        return contains
    if words.accept("BEGINS_WITH"):
        words.expect("(")
        whole = _operand(words)
        words.expect(",")
        start = _operand(words)
        words.expect(")")
        return lambda scope: whole(scope)["S"].startswith(start(scope)["S"])
    left = _operand(words)
    if words.accept("IN"):
        words.expect("(")
        among = [_operand(words)]
        while words.accept(","):
            among.append(_operand(words))
        words.expect(")")
        return lambda scope: any(_compare("=", left(scope), one(scope)) for one in among)
    if words.accept("BETWEEN"):
        least = _operand(words)
        words.expect("AND")
        most = _operand(words)
        return lambda scope: (
            _compare(">=", left(scope), least(scope)) and _compare("<=", left(scope), most(scope))
        )
    sign = words.take()
    right = _operand(words)
    return lambda scope: _compare(sign, left(scope), right(scope))


def _compare(sign: str, left: Any, right: Any) -> bool:
    if left is None or right is None:  # an attribute that is not there compares with nothing
        return False
    (kind, one), (other_kind, other) = bare(left), bare(right)
    if kind != other_kind:
        return sign == "<>"
    return _COMPARES[sign](one, other)


def _operand(words: _Words) -> Read:
    if words.peek().startswith(":"):
        name = words.take()
        return lambda scope: scope.values[name]
    if words.peek() == "size":
        words.take()
        words.expect("(")
        path = words.path()
        words.expect(")")

        def size(scope: Scope) -> Any:
            value = scope.read(path)
            return None if value is None else {"N": str(len(next(iter(value.values()))))}

        return size
    path = words.path()
    return lambda scope: scope.read(path)


Change = Callable[[Scope], tuple[Path, Any]]  # the path, and its new value (None: remove it)


@cache
def update(text: str) -> list[Change]:
    words = _Words(text)
    changes: list[Change] = []
    while words.peek():
        verb = words.take().upper()
        changes.append(_change(verb, words))
        while words.accept(","):
            changes.append(_change(verb, words))
    return changes


def _change(verb: str, words: _Words) -> Change:
    path = words.path()
    if verb == "REMOVE":
        return lambda scope: (scope.path(path), None)
    if verb == "ADD":
        amount = _operand(words)
        return lambda scope: (
            scope.path(path),
            _sum(scope.read(path) or {"N": "0"}, amount(scope), 1),
        )
    if verb != "SET":
        raise Invalid(f"no verb: {verb}")
    words.expect("=")
    value = _sum_of(words)
    return lambda scope: (scope.path(path), value(scope))


def _sum_of(words: _Words) -> Read:
    left = _new_value(words)
    if words.peek() not in ("+", "-"):
        return left
    sign = 1 if words.take() == "+" else -1
    right = _new_value(words)
    return lambda scope: _sum(left(scope), right(scope), sign)


def _new_value(words: _Words) -> Read:
    name = words.peek()
    if name not in ("if_not_exists", "list_append"):
        return _operand(words)
    words.take()
    words.expect("(")
    first = words.path() if name == "if_not_exists" else _new_value(words)
    words.expect(",")
    second = _new_value(words)
    words.expect(")")
    if name == "if_not_exists":
        return lambda scope: found if (found := scope.read(first)) is not None else second(scope)  # type: ignore[arg-type]

    def appended(scope: Scope) -> Any:
        head, tail = first(scope), second(scope)  # type: ignore[operator]
        if head is None or "L" not in head or "L" not in tail:
            raise Invalid("list_append wants two lists")
        return {"L": [*head["L"], *tail["L"]]}

    return appended


def _sum(left: Any, right: Any, sign: int) -> Any:
    if left is None or "N" not in left or "N" not in right:
        raise Invalid("an operand of the sum is no number")
    return {"N": str(Decimal(left["N"]) + sign * Decimal(right["N"]))}


def apply(item: Item, text: str, names: Mapping[str, str], values: Mapping[str, Any]) -> Item:
    """The item as the update leaves it; the one given is not touched. Raises Invalid."""
    scope = Scope(item, names, values)
    changes = [change(scope) for change in update(text)]
    paths = [path for path, _ in changes]
    for number, path in enumerate(paths):
        if any(
            other[: len(path)] == path or path[: len(other)] == other for other in paths[:number]
        ):
            raise Invalid(f"two document paths overlap: {path}")
    made = dict(item)
    for path, value in changes:
        _place(made, path, value)
    return made


def _place(item: Item, path: Path, value: Any) -> None:
    place = item
    for part in path[:-1]:
        if part not in place or "M" not in place[part]:
            raise Invalid("the document path is invalid for update")
        place[part] = {"M": dict(place[part]["M"])}
        place = place[part]["M"]
    if value is None:
        place.pop(path[-1], None)
    elif value is not None:
        place[path[-1]] = value
