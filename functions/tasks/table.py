"""The one table at its wire: typed items in, plain values out, and every write conditional.

A conditional write that AWS's client repeated after a lost answer fails although it was ours (seen
in the field: aws-sdk-java#2667). So each step carries a nonce of its own, and a refusal that shows
our nonce is a success.
"""

from __future__ import annotations

import random
import re
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from functions import TalkdropError
from functions.settings import aws, get
from functions.tasks.attributes import plain, typed

Item = dict[str, Any]  # an item of the table, in plain values
Request = dict[str, Any]  # what a call of DynamoDB's is given

TASK_PREFIX = "task#"
# What the stream's filter looks at (infra/stack.py): only a write with NEWS invokes announce.
NEWS, NO_NEWS = "yes", "no"

# Refused before any condition was looked at. AWS's client does not repeat these by itself, and the
# books of a provider are in every one of its claims.
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
_BUSY = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
_TRIES = 6  # within a second or two


class ConditionFailed(TalkdropError):
    """The condition did not hold: another write came first. `item` is what stands there now,
    `reasons` a transaction's."""

    def __init__(self, item: Item | None = None, reasons: Sequence[str] = ()) -> None:
        super().__init__(", ".join(reasons) or "the condition did not hold")
        self.item = item
        self.reasons = reasons


def now() -> datetime:
    return datetime.now(UTC)


def stamp(at: datetime) -> str:
    """An instant as the table keeps it: UTC, to the millisecond, sortable as text."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def later(*, seconds: float) -> str:
    return stamp(now() + timedelta(seconds=seconds))


def nonce() -> str:
    return uuid.uuid4().hex


class Update:
    """One conditional update of one item, put together by name; `sets` and `condition` share one
    set of values. A task's row says of its last write whether it is news, and so may have to be
    announced: every write is, unless it says otherwise."""

    def __init__(self, pk: str, *, is_news: bool = True) -> None:
        self.pk = pk
        self.step = nonce()
        self._sets: list[str] = []
        self._adds: list[str] = []
        self._removes: list[str] = []
        self._conditions: list[str] = []
        self._names: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        if pk.startswith(TASK_PREFIX):
            self.set(news=NEWS if is_news else NO_NEWS)

    def set(self, **values: Any) -> Update:
        for name, value in values.items():
            self._sets.append(f"{self._name(name)} = {self._value(value)}")
        return self

    def set_once(self, **values: Any) -> Update:
        """Set only what is not there yet."""
        for name, value in values.items():
            path = self._name(name)
            self._sets.append(f"{path} = if_not_exists({path}, {self._value(value)})")
        return self

    def put_in(self, path: str, key: str, value: Any) -> Update:
        self._sets.append(f"{self._name(path)}.{self._name(key)} = {self._value(value)}")
        return self

    def put_in_once(self, path: str, key: str, value: Any) -> Update:
        """Put it in where nothing stands under that key yet."""
        place = f"{self._name(path)}.{self._name(key)}"
        self._sets.append(f"{place} = if_not_exists({place}, {self._value(value)})")
        return self

    def count_in(self, path: str, key: str) -> Update:
        place = f"{self._name(path)}.{self._name(key)}"
        self._sets.append(f"{place} = if_not_exists({place}, {self._value(0)}) + {self._value(1)}")
        return self

    def drop_from(self, path: str, key: str) -> Update:
        self._removes.append(f"{self._name(path)}.{self._name(key)}")
        return self

    def append(self, name: str, entry: Any) -> Update:
        path = self._name(name)
        self._sets.append(
            f"{path} = list_append(if_not_exists({path}, {self._value([])}), "
            f"{self._value([entry])})"
        )
        return self

    def add(self, **amounts: Any) -> Update:
        for name, amount in amounts.items():
            self._adds.append(f"{self._name(name)} {self._value(amount)}")
        return self

    def remove(self, *names: str) -> Update:
        self._removes += [self._name(name) for name in names]
        return self

    def given(self, condition: str, **values: Any) -> Update:
        """A condition in DynamoDB's words, with `{name}` for each attribute and `:name` for each
        value given."""
        for name, value in values.items():
            self._values[f":{name}"] = typed(value)
        self._conditions.append(f"({_Names(self).fill(condition)})")
        return self

    def given_room(self, path: str, key: str, most: int) -> Update:
        """The map has fewer than `most` entries, or this very one."""
        place = self._name(path)
        self._conditions.append(
            f"(size({place}) < {self._value(most)} OR attribute_exists({place}.{self._name(key)}))"
        )
        return self

    def given_in(self, name: str, allowed: Iterable[Any]) -> Update:
        self._conditions.append(
            f"{self._name(name)} IN ({', '.join(self._value(value) for value in allowed)})"
        )
        return self

    def request(self) -> Request:
        parts = [("SET", self._sets), ("ADD", self._adds), ("REMOVE", self._removes)]
        request: Request = {
            "TableName": get().table,
            "Key": {"pk": {"S": self.pk}},
            "UpdateExpression": " ".join(
                f"{verb} {', '.join(terms)}" for verb, terms in parts if terms
            ),
        }
        if self._conditions:
            request["ConditionExpression"] = " AND ".join(self._conditions)
        if self._names:
            request["ExpressionAttributeNames"] = self._names
        if self._values:
            request["ExpressionAttributeValues"] = self._values
        return request

    def run(self) -> Item:
        """Write it; the item as it is afterwards. Raises ConditionFailed with the item as it stands
        when the condition fails."""
        self.set(step=self.step)
        for tried in range(1, _TRIES):
            try:
                return self._write()
            except ClientError as error:
                if error.response["Error"]["Code"] != "TransactionConflictException":
                    raise
            pause(tried)
        return self._write()

    def _write(self) -> Item:
        try:
            answer = aws("dynamodb").update_item(
                **self.request(),
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            known = plain(error.response.get("Item") or {})  # type: ignore[arg-type]
            if known.get("step") == self.step:
                return known
            raise ConditionFailed(known or None) from error
        return plain(answer["Attributes"])

    def _name(self, name: str) -> str:
        placeholder = f"#n{len(self._names)}"
        for known, value in self._names.items():
            if value == name:
                return known
        self._names[placeholder] = name
        return placeholder

    def _value(self, value: Any) -> str:
        placeholder = f":v{len(self._values)}"
        self._values[placeholder] = typed(value)
        return placeholder


class _Names(dict[str, str]):
    def __init__(self, update: Update) -> None:
        super().__init__()
        self._of = update

    def __missing__(self, name: str) -> str:
        return self._of._name(name)

    def fill(self, condition: str) -> str:
        return condition.format_map(self)


def read(pk: str) -> Item | None:
    """The item as it is now: strongly consistent, since streams and indexes may lag."""
    answer = aws("dynamodb").get_item(
        TableName=get().table, Key={"pk": {"S": pk}}, ConsistentRead=True
    )
    return plain(answer["Item"]) if answer.get("Item") else None


def put_new(item: Mapping[str, Any]) -> None:
    """A new item; raises ConditionFailed with what stands there if there is one already."""
    try:
        aws("dynamodb").put_item(
            TableName=get().table,
            Item={name: typed(value) for name, value in item.items()},
            ConditionExpression="attribute_not_exists(pk)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        known = plain(error.response.get("Item") or {})  # type: ignore[arg-type]
        if known.get("step") is not None and known["step"] == item.get("step"):
            return
        raise ConditionFailed(known) from error


def transact(*steps: Update | Request, tries: int = _TRIES) -> None:
    """All of these or none, once: the token makes AWS's own repeats harmless. Raises
    ConditionFailed with a reason a step (`None`, `ConditionalCheckFailed`, `TransactionConflict`,
    `ThrottlingError`, `ValidationError`). What was only busy is asked again, later each time, since
    losing the write may lose what was bought."""
    for tried in range(1, tries):
        try:
            return _transact(steps)
        except ConditionFailed as lost:
            if not is_busy(lost):
                raise
        pause(tried)
    return _transact(steps)


def refused_writes(writes: Iterable[str], lost: ConditionFailed) -> list[str]:
    """Whose conditions failed, of a transaction's writes by name."""
    reasons = zip(writes, lost.reasons, strict=False)
    return [name for name, why in reasons if why == "ConditionalCheckFailed"]


def delete(update: Update) -> Request:
    """An item's end as a part of a transaction, under the conditions of `update`."""
    request = update.request()
    del request["UpdateExpression"]  # and what only it named: DynamoDB takes no word without a use
    used = set(re.findall(r"[#:]\w+", request.get("ConditionExpression", "")))
    for part in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
        kept = {name: value for name, value in request.pop(part, {}).items() if name in used}
        request |= {part: kept} if kept else {}
    return {"Delete": request}


def is_busy(lost: ConditionFailed) -> bool:
    """Was the write refused before any condition was looked at (a conflict with another
    transaction, throttling)? Then nothing is known of the row, and the step is to be repeated."""
    return bool(lost.reasons) and set(lost.reasons) - {"None"} <= _BUSY


def pause(tried: int) -> None:
    """Waiting here, against the rule of the house, since what an invocation knows of a paid call is
    known nowhere else."""
    time.sleep(min(random.uniform(0.01, 0.03) * 2**tried, 2.0))  # noqa: S311 - spreads, hides nothing


def _transact(steps: Sequence[Update | Request]) -> None:
    actions = [{"Update": step.request()} if isinstance(step, Update) else step for step in steps]
    try:
        aws("dynamodb").transact_write_items(TransactItems=actions, ClientRequestToken=nonce())  # type: ignore[arg-type]
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "TransactionInProgressException":
            raise ConditionFailed(None, ["TransactionConflict"]) from error
        if code != "TransactionCanceledException":
            raise
        reasons = [
            reason.get("Code", "None") for reason in error.response.get("CancellationReasons", [])
        ]
        raise ConditionFailed(None, reasons) from error
