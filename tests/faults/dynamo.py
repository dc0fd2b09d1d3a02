"""The task table, in memory: conditional writes, transactions, indexes that may lag, a stream of
what changed."""

from __future__ import annotations

import bisect
import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.faults import expressions
from tests.faults.clockwork import Clock
from tests.faults.expressions import Invalid, Item, Scope

KEYS = {
    "by-status": ("status_shard", "created"),
    "by-created": ("list_shard", "created"),
    "by-id": ("id_shard", "pk"),
    "due": ("due_shard", "due_at"),
}
_KEYS_ONLY = frozenset({"by-id", "due"})  # what else they hold is not modelled
_TOKEN_SECONDS = 600
_TEXTS = ("ConditionExpression", "UpdateExpression")
# What the version before this one did not write; this one is deployed at `yesterday_until`.
_NEW_FIELDS = frozenset({"account", "announced_jobs", "doubt_why", "job_alias", "lookup"})


def _page(found: list[Item], limit: int) -> dict[str, Any]:
    """A page that is full says where it ended, whether or not more follows."""
    items = found[:limit]
    more = {"LastEvaluatedKey": {"pk": items[-1]["pk"]}} if len(items) == limit else {}
    return {"Items": items, "Count": len(items), **more}


def _take_out(places: list[tuple[str, str]], place: tuple[str, str]) -> None:
    del places[bisect.bisect_left(places, place)]


class Refused(Exception):
    """An answer that is an error: becomes botocore's ClientError at the wire."""

    def __init__(self, code: str, message: str = "", status: int = 400, **more: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.more = more


class Table:
    """`on_write` hears every change of an item: its old image and its new one."""

    def __init__(
        self, clock: Clock, on_write: Callable[[str, Item | None, Item | None], None]
    ) -> None:
        self.clock = clock
        self.items: dict[str, Item] = {}
        self.yesterday_until = 0.0
        self.on_write = on_write
        self._history: list[tuple[float, str, Item | None]] = []
        self._sorted: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self._tokens: dict[str, tuple[float, str]] = {}

    def get_item(self, Key: Item, ConsistentRead: bool = False, **_: Any) -> dict[str, Any]:
        item = self._as_seen(Key["pk"]["S"], ConsistentRead)
        return {"Item": item} if item else {}

    def batch_get_item(self, RequestItems: Item) -> dict[str, Any]:
        """Small batches of one table, which are always answered whole."""
        ((name, wanted),) = RequestItems.items()
        found = (
            self._as_seen(key["pk"]["S"], wanted.get("ConsistentRead", False))
            for key in wanted["Keys"]
        )
        return {"Responses": {name: [item for item in found if item]}, "UnprocessedKeys": {}}

    def put_item(self, Item: Item, **parameters: Any) -> dict[str, Any]:
        pk = Item["pk"]["S"]
        self._require(pk, parameters)
        self._write(pk, dict(Item))
        return {}

    def update_item(self, Key: Item, **parameters: Any) -> dict[str, Any]:
        pk = Key["pk"]["S"]
        self._require(pk, parameters)
        try:
            made = self._updated(pk, parameters)
        except Invalid as invalid:
            raise Refused("ValidationException", str(invalid)) from invalid
        self._write(pk, made)
        return {"Attributes": made}

    def transact_write_items(
        self, TransactItems: list[dict[str, Any]], ClientRequestToken: str = ""
    ) -> dict[str, Any]:
        written = json.dumps(TransactItems, sort_keys=True, default=str)
        at, known = self._tokens.get(ClientRequestToken, (0.0, ""))
        if known and self.clock.now - at < _TOKEN_SECONDS:
            if known != written:
                raise Refused("IdempotentParameterMismatchException")
            return {}
        made: dict[str, Item] = {}
        reasons: list[dict[str, Any]] = []
        for one in TransactItems:
            ((verb, parameters),) = one.items()
            pk = (parameters.get("Key") or parameters["Item"])["pk"]["S"]
            if pk in made:
                raise Refused(
                    "ValidationException",
                    "Transaction request cannot include multiple operations on one item",
                )
            reasons.append(self._reason(verb, pk, parameters, made))
        if any(reason["Code"] != "None" for reason in reasons):
            raise Refused("TransactionCanceledException", str(reasons), CancellationReasons=reasons)
        for pk, item in made.items():
            if item is not None:
                self._write(pk, item)
        for one in TransactItems:
            if "Delete" in one:
                self.forget(one["Delete"]["Key"]["pk"]["S"])
        if ClientRequestToken:
            self._tokens[ClientRequestToken] = (self.clock.now, written)
        return {}

    def query(
        self,
        IndexName: str,
        KeyConditionExpression: str,
        ExpressionAttributeValues: Item,
        ScanIndexForward: bool = True,
        Limit: int = 10**9,
        FilterExpression: str = "",
        **_: Any,
    ) -> dict[str, Any]:
        """One page, as long as is asked for. An index is a copy that may lag behind."""
        texts = (KeyConditionExpression, FilterExpression)
        if unlike := expressions.mismatch(texts, frozenset(), frozenset(ExpressionAttributeValues)):
            raise Refused("ValidationException", unlike)
        partition, sort = KEYS[IndexName]
        lag = self._lag()
        found = []
        for pk in self._of_partition(IndexName, KeyConditionExpression, ExpressionAttributeValues):
            item = self._as_of(pk, lag) if lag else self.items.get(pk)
            if item is None or partition not in item or sort not in item:
                continue
            if expressions.condition(KeyConditionExpression)(
                Scope(item, {}, ExpressionAttributeValues)
            ):
                found.append({"pk": item["pk"]} if IndexName in _KEYS_ONLY else item)
                if not lag and ScanIndexForward and len(found) >= Limit:
                    break
        if lag or not ScanIndexForward:
            found.sort(
                key=lambda one: self.items.get(one["pk"]["S"], {}).get(sort, {"S": ""})["S"],
                reverse=not ScanIndexForward,
            )
        page = _page(found, Limit)
        if FilterExpression:  # a page is as long as was asked for before it is filtered
            passes = expressions.condition(FilterExpression)
            kept = [i for i in page["Items"] if passes(Scope(i, {}, ExpressionAttributeValues))]
            page |= {"Items": kept, "Count": len(kept)}
        return page

    def _of_partition(self, index: str, condition: str, values: Item) -> list[str]:
        """The keys of one partition of the index in their order; all where the index lags."""
        if self._lag():
            return list(self.items)
        partition = values[condition.split("=")[1].split()[0]]["S"]
        return [pk for _, pk in self._sorted.get((index, partition), [])]

    def _keep_sorted(self, pk: str, old: Item | None, new: Item | None) -> None:
        for index, (partition, sort) in KEYS.items():
            for item, change in ((old, _take_out), (new, bisect.insort)):
                if item and partition in item and sort in item:
                    place = self._sorted.setdefault((index, item[partition]["S"]), [])
                    change(place, (item[sort]["S"], pk))

    def forget(self, pk: str) -> None:
        """Time to live: DynamoDB removes the item itself."""
        old = self.items.pop(pk, None)
        self._keep_sorted(pk, old, None)
        self._history.append((self.clock.now, pk, None))
        self.on_write(pk, old, None)

    def _reason(self, verb: str, pk: str, parameters: Item, made: dict[str, Any]) -> dict[str, Any]:
        made[pk] = None
        scope = self._scope(pk, parameters)
        if "ConditionExpression" in parameters and not expressions.condition(
            parameters["ConditionExpression"]
        )(scope):
            return {"Code": "ConditionalCheckFailed"}
        try:
            if verb == "Update":
                made[pk] = self._updated(pk, parameters)
            elif verb == "Put":
                made[pk] = dict(parameters["Item"])
        except Invalid as invalid:
            return {"Code": "ValidationError", "Message": str(invalid)}
        return {"Code": "None"}

    def _scope(self, pk: str, parameters: Mapping[str, Any]) -> Scope:
        names = parameters.get("ExpressionAttributeNames", {})
        values = parameters.get("ExpressionAttributeValues", {})
        texts = tuple(parameters.get(name, "") for name in _TEXTS)
        if unlike := expressions.mismatch(texts, frozenset(names), frozenset(values)):
            raise Refused("ValidationException", unlike)
        return Scope(self.items.get(pk), names, values)

    def _require(self, pk: str, parameters: Mapping[str, Any]) -> None:
        text, scope = parameters.get("ConditionExpression"), self._scope(pk, parameters)
        if text and not expressions.condition(text)(scope):
            standing = self.items.get(pk)
            wants_item = (
                parameters.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" and standing
            )
            more: dict[str, Any] = {"Item": standing} if wants_item else {}
            raise Refused("ConditionalCheckFailedException", **more)

    def _updated(self, pk: str, parameters: Mapping[str, Any]) -> Item:
        if "UpdateExpression" not in parameters:
            raise Invalid("an update without an expression")
        names, values = (
            parameters.get("ExpressionAttributeNames", {}),
            parameters.get("ExpressionAttributeValues", {}),
        )
        return expressions.apply(
            self.items.get(pk) or {"pk": {"S": pk}}, parameters["UpdateExpression"], names, values
        )

    def _write(self, pk: str, item: Item) -> None:
        old = self.items.get(pk)
        if pk.startswith("task#") and self.clock.now < self.yesterday_until:
            item = {name: value for name, value in item.items() if name not in _NEW_FIELDS}
        self.items[pk] = item
        self._keep_sorted(pk, old, item)
        if pk.startswith("task#"):
            self._history.append((self.clock.now, pk, item))
        if old != item:  # a write that changes nothing makes no stream record
            self.on_write(pk, old, item)

    def _lag(self) -> float:
        one = self.clock.current
        return one.fault.seconds if one is not None and one.fault is not None else 0.0

    def _as_seen(self, pk: str, consistent: bool) -> Item | None:
        lag = 0.0 if consistent else self._lag()
        return self._as_of(pk, lag) if lag else self.items.get(pk)

    def _as_of(self, pk: str, lag: float) -> Item | None:
        then = self.clock.now - lag
        standing = None
        for at, key, item in self._history:
            if at > then:
                break
            if key == pk:
                standing = item
        return standing
