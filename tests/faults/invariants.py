"""What must hold after every write, at every event, and when all is quiet. Written from the design,
not from the code."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.faults.account import (
    API_KEY,
    ARCHIVE,
    CALLBACK_KEY,
    INBOX,
    NEXT_CALLBACK_KEY,
    NEXT_KEY,
    WEBHOOK_KEY,
    Account,
)
from tests.faults.bucket import Stored
from tests.faults.clockwork import Broke
from tests.faults.expressions import Item
from tests.faults.jobs import Job
from tests.faults.vendors import Vendor

# From which status to which, by design 5; and those that hold only until a paid POST was
# intended.
_EDGES = {
    ("WAITING", "READY"),
    ("WAITING", "FAILED"),
    ("WAITING", "EXPIRED"),
    ("READY", "SUBMITTING"),
    ("READY", "SUBMITTED"),
    ("SUBMITTING", "READY"),
    ("SUBMITTING", "SUBMITTED"),
    ("SUBMITTING", "FAILED"),
    ("SUBMITTING", "HELD"),
    ("SUBMITTED", "ARCHIVING"),
    ("SUBMITTED", "FAILED"),
    ("SUBMITTED", "HELD"),
    ("ARCHIVING", "COMPLETED"),
    ("ARCHIVING", "HELD"),
    ("HELD", "SUBMITTED"),
    ("HELD", "ARCHIVING"),
    ("HELD", "FAILED"),
    ("FAILED", "ARCHIVING"),
    ("FAILED", "SUBMITTED"),
    ("HELD", "COMPLETED"),
    ("READY", "HELD"),
    ("READY", "FAILED"),
    ("READY", "CANCELLED"),
    ("WAITING", "CANCELLED"),
    ("CANCELLED", "SUBMITTED"),
    ("CANCELLED", "ARCHIVING"),
    ("READY", "IN_PIECES"),
    ("IN_PIECES", "HELD"),
    ("HELD", "IN_PIECES"),
    ("IN_PIECES", "COMPLETED"),
}
_UNPAID_EDGES = {
    ("READY", "WAITING"),
    ("READY", "FAILED"),
    ("FAILED", "READY"),
    ("FAILED", "WAITING"),
    ("EXPIRED", "READY"),
    ("EXPIRED", "WAITING"),
    ("EXPIRED", "FAILED"),
}
_COUNTED = "lapsing_"  # and the hour: how many leases of a provider's running jobs
_AT_REST = {"COMPLETED", "FAILED", "HELD", "EXPIRED", "CANCELLED"}
_ANNOUNCED = _AT_REST | {"WAITING", "READY", "SUBMITTED"}
_SECRETS = re.compile(
    rf"{API_KEY}|{NEXT_KEY}|{CALLBACK_KEY}|{NEXT_CALLBACK_KEY}|{WEBHOOK_KEY}|canary-aws-secret|X-Amz-Signature|X-Amz-Credential|task-token-|/callbacks/\w+/\w+/\d+/k"
)


class Invariants:
    """Checks what the account writes and publishes, and raises Broke. `caps`: spending caps in USD
    by the length of their period's name. `resubmitted`, `given_up`: tasks for which a person took
    another attempt's charge, or the loss, on themselves."""

    def __init__(self, account: Account, vendor: Vendor, caps: dict[int, Decimal]) -> None:
        self.account = account
        self.vendor = vendor
        self.caps = caps
        self.unrested: set[str] = set()
        self.entered: dict[str, dict[str, int]] = {}
        self.completed_ids: dict[str, set[str]] = {}
        self.event_ids: set[str] = set()
        self.held: set[str] = set()
        self.is_unkind = False
        self.deleted: set[str] = set()  # stems of which a file was deleted by its owner
        self.resubmitted: set[str] = set()
        self.given_up: set[str] = set()
        self.since: dict[str, tuple[str, float]] = {}
        self.running_limit: int | None = None
        self._jobs: dict[str, list[Job]] = {}  # by their tasks
        self._known_jobs = 0
        self.leased: Counter[str] = Counter()  # what tasks have booked of providers' rows
        self.hold_hours = {"SUBMITTING": 4.0, "SUBMITTED": 12.0, "ARCHIVING": 12.0}
        account.on_write = self.on_write
        account.on_event = self.on_event

    @property
    def tasks(self) -> dict[str, Item]:
        items = self.account.table.items
        return {
            pk.removeprefix("task#"): item for pk, item in items.items() if pk.startswith("task#")
        }

    def _task(self, task_id: str) -> Item:
        return self.account.table.items[f"task#{task_id}"]

    # After every write.

    def on_write(self, pk: str, old: Item | None, new: Item | None) -> None:
        if new is None:
            return
        if pk.startswith("task#"):
            self._task_written(pk.removeprefix("task#"), old, new)
        elif pk.startswith("budget#"):
            self._budget_written(pk, new)
        elif pk.startswith("slots#"):
            self._slots_written(pk, new)
        elif pk.startswith("reserve#") and Decimal(new["left_usd"]["N"]) < 0:
            raise Broke("a reserve is never negative", f"{pk}: {new['left_usd']['N']}")

    def _task_written(self, task_id: str, old: Item | None, new: Item) -> None:
        status, attempt = _text(new, "status"), int(new["attempt"]["N"])
        before = _text(old, "status") if old else ""
        if old is not None:
            self._step_is_allowed(task_id, before, status, old, new)
        facts = [
            (one["status"], one["attempt"], one.get("changed_at")) for one in (old, new) if one
        ]
        if old is None or facts[0] != facts[1]:
            times = self.entered.setdefault(task_id, {})
            times[f"{status}#{attempt}"] = times.get(f"{status}#{attempt}", 0) + 1
        self._clocks(task_id, before, status, new)
        self.leased.subtract(_leases(old or {}))
        self.leased.update(_leases(new))
        if status == "HELD" and before != "HELD":
            self.held.add(task_id)
        if status == "COMPLETED" and before != "COMPLETED":
            self._object_of(task_id, new)
        if status == "SUBMITTING" and before == "READY" and _is_piece(new):
            self._is_reserved(task_id, new)
        if (
            before == "SUBMITTING"
            and status == "READY"
            and self._charges(task_id, attempt)
            and (self.vendor.name != "kling" or self.account.plan.traits.takes_ids_twice)
        ):
            raise Broke(
                "no second POST without proof",
                f"{task_id} is READY again although a job was accepted",
            )
        announced = new.get("announced", {}).get("S", "").split("#")[1:3] == [status, str(attempt)]
        # An ended task is looked after until its callbacks have an answer, which such a gateway
        # never gives: until it keeps nothing any more.
        is_looked_after = self.vendor.hides_its_callbacks_jobs and "job_hints" in new
        is_seen_to = status == "HELD" or "due_at" not in new or is_looked_after
        if status in _AT_REST and announced and is_seen_to:
            self.unrested.discard(task_id)
        else:
            self.unrested.add(task_id)

    def _step_is_allowed(
        self, task_id: str, before: str, status: str, old: Item, new: Item
    ) -> None:
        edge, unpaid = (before, status), "intended_at" not in old
        if old["attempt"] != new["attempt"] and task_id in self.resubmitted:
            return
        if before != status and edge not in _EDGES and not (unpaid and edge in _UNPAID_EDGES):
            raise Broke("rank is monotone", f"{task_id}: {before} → {status}")
        is_another = "job_id" in old and old["job_id"] != new.get("job_id")
        if is_another and not _is_corrected(old, new):
            raise Broke("job_id is write-once", f"{task_id}: {old['job_id']} → {new.get('job_id')}")
        if old["attempt"] != new["attempt"]:
            raise Broke(
                "no second attempt without proof", f"{task_id}: attempt {new['attempt']['N']}"
            )
        if "archived" in old and old["archived"]["M"] and old["archived"] != new.get("archived"):
            raise Broke("archived is write-once", task_id)

    def _is_reserved(self, task_id: str, item: Item) -> None:
        """A piece is claimed only while its whole is booked and has not ended."""
        parent = _text(item, "parent")
        held = self.account.table.items.get(f"reserve#{parent}")
        if held is None or "closed" in held:
            raise Broke("nothing is paid when the whole was refused", f"{task_id} of {parent}")
        if _text(self._task(parent), "status") not in ("IN_PIECES", "HELD"):
            raise Broke("a piece is paid only for a whole that is on its way", task_id)

    def _clocks(self, task_id: str, before: str, status: str, new: Item) -> None:
        if before != status:
            self.since[task_id] = (status, self.account.clock.now)
        if status == "SUBMITTING" and before == "READY":
            breaker = self.account.table.items.get(f"breaker#{self.vendor.name}", {})
            if "open" in breaker:
                raise Broke("an open breaker stops the claims", task_id)
        if "expires_at" in new and status not in _AT_REST - {"HELD"}:
            raise Broke("TTL takes no live row", f"{task_id} is {status}")

    def _slots_written(self, pk: str, new: Item) -> None:
        counts = {
            int(name.removeprefix(_COUNTED)): int(count["N"])
            for name, count in new.items()
            if name.startswith(_COUNTED)
        }
        turns = len(new["leases"]["M"]) if "leases" in new else 0
        running = turns + sum(max(0, count) for count in counts.values())
        if self.running_limit is not None and running > self.running_limit:
            raise Broke("running ≤ limit", f"{pk}: {running}")
        # A transaction writes the task's row first. A sandbox's clock may be off.
        live = self.account.clock.now / 3600 + 1
        booked = {
            int(name.partition(_COUNTED)[2]): count
            for name, count in self.leased.items()
            if count and name.startswith(pk)
        }
        for hour in counts.keys() | booked.keys():
            if hour > live and counts.get(hour, 0) != booked.get(hour, 0):
                counted = f"counts {counts.get(hour, 0)}, {booked.get(hour, 0)} tasks have booked"
                raise Broke("a lease is counted once", f"{pk} {counted}")

    def doubts_are_in_time(self) -> None:
        """HELD at the latest so long after the status was entered, and a look of six hours and a
        turn of the sweep."""
        for task_id, (status, since) in self.since.items():
            hours = (self.account.clock.now - since) / 3600
            if status in self.hold_hours and hours > self.hold_hours[status] + 7:
                raise Broke("HELD in time", f"{task_id} is {status} for {hours:.0f} hours")
        for task_id, item in self.tasks.items():
            self._first_doubt_is_in_time(task_id, item)

    def _first_doubt_is_in_time(self, task_id: str, item: Item) -> None:
        """However often the same id was sent since."""
        first = _text(item, "first_sent_at")
        if not first or _text(item, "status") not in ("READY", "SUBMITTING"):
            return
        hours = (self.account.clock.now - datetime.fromisoformat(first).timestamp()) / 3600
        if hours > self.hold_hours["SUBMITTING"] + 7:
            raise Broke("HELD in time", f"{task_id} is in doubt for {hours:.0f} hours")

    def _budget_written(self, pk: str, new: Item) -> None:
        spent, cap = Decimal(new["spent_usd"]["N"]), self.caps.get(len(pk.removeprefix("budget#")))
        if spent < 0:
            raise Broke("spend is never negative", f"{pk}: {spent}")
        if cap is not None and spent > cap + self._lied_about():
            raise Broke("spend ≤ cap", f"{pk}: {spent} of {cap}")

    def _lied_about(self) -> Decimal:
        """What was bought by jobs that were refused in sure words: it is spent before any cap can
        know of it."""
        lies = {job.task_id for job in self.vendor.jobs.values() if job.refused == "sure"}
        quotes = (self._task(task_id).get("quote_usd", {"N": "0"})["N"] for task_id in lies)
        return sum(map(Decimal, quotes), self._above_quotes())

    def _above_quotes(self) -> Decimal:
        """What was charged above the quote: how long a text's speech becomes is an estimate."""
        charged = (
            Decimal(item["charge_usd"]["N"]) - Decimal(item["quote_usd"]["N"])
            for item in self.tasks.values()
            if {"charge_usd", "quote_usd"} <= item.keys()
        )
        return sum((more for more in charged if more > 0), Decimal(0))

    def on_charge(self) -> None:
        newest = next(job for job in reversed(self.vendor.jobs.values()) if not job.is_twin)
        item = self.account.table.items.get(f"task#{newest.task_id}")
        if item is not None and _text(item, "status") == "CANCELLED":
            raise Broke("nothing is paid after a cancel", newest.task_id)
        self._excuse(newest)
        self._is_charged_once(newest.task_id, newest.attempt)

    def _is_charged_once(self, task_id: str, attempt: int) -> None:
        if self._charges(task_id, attempt) > 1:
            raise Broke(
                "charges(task, attempt) ≤ 1", f"{task_id} attempt {attempt} was accepted twice"
            )

    def on_speech(self) -> None:
        """A text is spoken once, unless a person accepted another attempt of its task."""
        spoken = Counter(text for text, _ in self.vendor.speeches)
        for text, times in spoken.items():
            if times > 1 and not self.resubmitted:
                raise Broke("one speech a task", f"{text!r} was bought {times} times")

    def _excuse(self, newest: Job) -> None:
        """A job that the provider denied in words documented as a refusal, and of which no callback
        told before the next POST, could not be known."""
        for job in self.vendor.jobs.values():
            if job is not newest and job.refused == "sure" and not job.callbacks_accepted:
                job.is_excused = True

    def _charges(self, task_id: str, attempt: int) -> int:
        """Jobs that were charged, or will be. A job that failed costs nothing, here as at every one
        of the providers."""
        now = self.account.clock.now
        return sum(
            job.status(now) != "fail"
            for job in self._jobs_of(task_id)
            if job.attempt == attempt
            and not (job.is_twin or job.is_excused or job.refused == "sure")
        )

    def _jobs_of(self, task_id: str) -> list[Job]:
        """Found again only when jobs have come: an attempt's task is never another."""
        if self._known_jobs < len(self.vendor.jobs):
            for job in itertools.islice(self.vendor.jobs.values(), self._known_jobs, None):
                self._jobs.setdefault(job.task_id, []).append(job)
            self._known_jobs = len(self.vendor.jobs)
        return self._jobs.get(task_id, [])

    def _object_of(self, task_id: str, item: Item) -> Stored:
        archived = item["archived"]["M"]
        if not archived:
            raise Broke("COMPLETED ⇒ object", f"{task_id} has no facts of its video")
        stored = self.account.buckets.find(
            ARCHIVE, _text(archived, "key"), _text(archived, "version_id")
        )
        if (
            stored is None
            or self.account.buckets.latest(ARCHIVE, _text(archived, "manifest_key")) is None
        ):
            raise Broke(
                "COMPLETED ⇒ object", f"{task_id} has no video or no manifest in the archive"
            )
        bought = [job.video for job in self._jobs_of(self._reused_of(task_id, item))]
        if "plan" in item:
            self._every_piece_is_made(task_id, item)
            bought = [stored.body]  # of all their videos; tests/segments holds what is joined
        if (
            _text(archived, "sha256") != hashlib.sha256(stored.body).hexdigest()
            or stored.body not in bought
        ):
            raise Broke(
                "COMPLETED ⇒ the right bytes", f"{task_id}: the archived bytes are not its job's"
            )
        return stored

    def _reused_of(self, task_id: str, item: Item) -> str:
        """The piece whose job made this one's video: itself, or one of the very same content."""
        if "reused" not in item:
            return task_id
        maker = _text(item["reused"]["M"], "task_id")
        if self._jobs_of(task_id):
            raise Broke("what was made before is not paid again", task_id)
        if self._content(item) != self._content(self.tasks[maker]):
            raise Broke("a video is reused for the same content alone", f"{task_id} of {maker}")
        return maker

    def _content(self, item: Item) -> list[object]:
        files = [item[name]["M"] for name in ("audio", "portrait")]
        found = [
            self.account.buckets.find(INBOX, _text(one, "key"), _text(one, "version_id"))
            for one in files
        ]
        names = ("provider", "model", "prompt", "settings")
        return [*(one and one.body for one in found), *(item.get(name) for name in names)]

    def _pieces_of(self, task_id: str) -> dict[str, Item]:
        return {name: one for name, one in self.tasks.items() if _text(one, "parent") == task_id}

    def _every_piece_is_made(self, task_id: str, item: Item) -> None:
        """Exactly once each, and the sum of their charges is the whole's."""
        pieces = self._pieces_of(task_id)
        numbers = sorted(int(one["segment"]["M"]["number"]["N"]) for one in pieces.values())
        if numbers != list(range(1, int(item["plan"]["M"]["pieces"]["N"]) + 1)):
            raise Broke("a whole has each piece once", f"{task_id}: {numbers}")
        if unmade := [name for name, one in pieces.items() if _text(one, "status") != "COMPLETED"]:
            raise Broke("a whole is COMPLETED when each piece is", f"{task_id}: {unmade}")
        charges = [one.get("charge_usd", {}).get("N") for one in pieces.values()]
        if "charge_usd" in item and None not in charges:
            charged = sum((Decimal(str(one)) for one in charges), Decimal(0))
            if charged != Decimal(item["charge_usd"]["N"]):
                raise Broke("the sum of charges is the whole's", f"{task_id}: {charged}")

    # At every event.

    def on_event(self, entry: dict[str, Any]) -> None:
        detail = json.loads(entry["Detail"])
        task_id, status, attempt, *times = detail["event_id"].split("#")
        if status == "SECOND_JOB":
            self._second_job_is_a_fact(task_id, times[0])
            self.event_ids.add(detail["event_id"])
            return
        if _is_piece(self._task(task_id)):
            raise Broke("a piece is no event", detail["event_id"])
        known = self.entered.get(task_id, {}).get(f"{status}#{attempt}", 0)
        if int(times[0] if times else 1) > known or entry["DetailType"] != f"Task {status.title()}":
            raise Broke("an event is a fact", f"{detail['event_id']} was announced and never was")
        self.event_ids.add(detail["event_id"])
        if status == "COMPLETED":
            ids = self.completed_ids.setdefault(task_id, set())
            ids.add(detail["event_id"])
            if len(ids) > 1:
                raise Broke("one event id", f"{task_id} was completed as {sorted(ids)}")

    def _second_job_is_a_fact(self, task_id: str, job_id: str) -> None:
        job, own = self.vendor.known_as(job_id), self._own_job(self._task(task_id))
        if job is None or job.task_id != task_id or job is own:
            raise Broke("an event is a fact", f"{job_id} is no second job of {task_id}")

    def _own_job(self, item: Item) -> Job | None:
        return self.vendor.known_as(_text(item, "job_id"))

    # When all is quiet.

    def at_rest(self, expected: set[str]) -> None:
        if self.vendor.jobs:
            self.on_charge()
        for task_id, attempt in {(job.task_id, job.attempt) for job in self.vendor.jobs.values()}:
            self._is_charged_once(task_id, attempt)
        tasks = self.tasks
        if missing := expected - set(tasks):
            raise Broke("nothing is lost", f"never became tasks: {sorted(missing)}")
        if self.unrested:
            left = {task_id: _text(tasks[task_id], "status") for task_id in sorted(self.unrested)}
            raise Broke("nothing is stuck", str(left))
        for task_id, item in tasks.items():
            self._ended_well(task_id, item)
        self._archive_is_explained(tasks)
        if not self.resubmitted:
            self._books_are_right(tasks)
        self._second_jobs_are_announced(tasks)
        self._alarm_was_raised(tasks)
        self._nothing_leaked()

    def _ended_well(self, task_id: str, item: Item) -> None:
        status, jobs = (
            _text(item, "status"),
            self._jobs_of(task_id),
        )
        # Of a task that failed, a job that was announced as its second is for a person to adopt.
        attempt = int(item["attempt"]["N"])
        known = self._announced_jobs(task_id, attempt) if status == "FAILED" else set()
        made = [job for job in jobs if self._must_be_kept(job, item) and job.job_id not in known]
        if made and status not in ("COMPLETED", "HELD") and task_id not in self.given_up:
            raise Broke(
                "paid and lost",
                f"{task_id} is {status} although job {made[0].job_id} was made and charged",
            )
        if status == "EXPIRED" and _text(item, "stem") not in self.deleted:
            raise Broke(
                "nothing is lost", f"{task_id} expired although its portrait lies beside it"
            )
        sent_for = [job for job in jobs if job.attempt == int(item["attempt"]["N"])]
        if any(
            _text(item["portrait"]["M"], "version_id") not in json.dumps(job.request)
            for job in sent_for
            if "versionId=" in json.dumps(job.request)  # else the bytes were sent themselves
        ):
            raise Broke(
                "what was sent is what the row says", f"{task_id} was sent with another portrait"
            )
        if status == "HELD" and not self.is_unkind and any(job.callbacks_accepted for job in jobs):
            raise Broke(
                "a delivered callback never ends in HELD", f"{task_id}: {item.get('error')}"
            )
        if "plan" in item and status not in ("READY", "FAILED"):
            self._whole_ended_well(task_id, status)
        if _is_piece(item):
            return
        if status == "COMPLETED" and not self.completed_ids.get(task_id):
            raise Broke("COMPLETED ⇒ event", task_id)
        if status in _ANNOUNCED and not any(
            one.startswith(f"{task_id}#{status}#") for one in self.event_ids
        ):
            raise Broke("every rest is announced", f"{task_id} {status}")

    def _whole_ended_well(self, task_id: str, status: str) -> None:
        pieces = {_text(one, "status") for one in self._pieces_of(task_id).values()}
        if (pieces == {"COMPLETED"}) != (status == "COMPLETED"):
            raise Broke("a whole ends as its pieces do", f"{task_id} is {status}: {pieces}")

    def _must_be_kept(self, job: Job, item: Item) -> bool:
        """A success that could be known: not one that flipped, and not one that was denied in sure
        words and never called back."""
        known = job.refused != "sure" or job.callbacks_accepted
        is_current = job.attempt == int(item["attempt"]["N"])
        has_flipped = job.script.fails_after > 0
        return bool(job.script.outcome == "success" and known and is_current and not has_flipped)

    def _second_jobs_are_announced(self, tasks: dict[str, Item]) -> None:
        """Two jobs of one attempt that both called back: an event must name the second, unless the
        callbacks name it by an id that the gateway does not know."""
        if not self.is_unkind or self.vendor.hides_its_callbacks_jobs:
            return
        for task_id, item in tasks.items():
            attempt = int(item["attempt"]["N"])
            known = [
                job
                for job in self.vendor.jobs.values()
                if (job.task_id, job.attempt) == (task_id, attempt) and job.callbacks_accepted
            ]
            if len(known) < 2 or _text(item, "status") == "HELD":
                continue
            others = {job.job_id for job in known if job is not self._own_job(item)}
            if silent := others - self._announced_jobs(task_id, attempt):
                raise Broke("a second job is announced", f"{task_id}: {sorted(silent)}")

    def _announced_jobs(self, task_id: str, attempt: int) -> set[str]:
        begin = f"{task_id}#SECOND_JOB#{attempt}#"
        named = (one.removeprefix(begin) for one in self.event_ids if one.startswith(begin))
        return {job.job_id for name in named if (job := self.vendor.known_as(name))}

    def _archive_is_explained(self, tasks: dict[str, Item]) -> None:
        for key in self.account.buckets.versions.get(ARCHIVE, {}):
            task_id = key.split("/")[2 if key.startswith("pieces/") else 4]
            if len(self.account.buckets.versions[ARCHIVE][key]) > 1:
                raise Broke("an archived object is written once", key)
            if task_id not in tasks and self._is_copy_too_many(key):
                continue
            item = tasks[task_id]
            # What is HELD with a link is looked for in the archive again after six hours, which no
            # run waits for.
            is_looked_for = _text(item, "status") == "HELD" and bool(_text(item, "video_url"))
            if _text(item, "status") != "COMPLETED" and not is_looked_for:
                raise Broke("object ⇒ COMPLETED", f"{key}: {_text(item, 'status')}")
        for task_id, item in tasks.items():
            if _text(item, "status") == "COMPLETED":
                self._object_of(task_id, item)

    def _is_copy_too_many(self, key: str) -> bool:
        """A copy of an earlier piece's video, for a long voice that came no further: it expires."""
        copy = self.account.buckets.latest(ARCHIVE, key)
        parent = self.tasks[key.split("/")[1]] if key.startswith("pieces/") else {}
        is_video = any(copy and job.video == copy.body for job in self.vendor.jobs.values())
        is_explained = is_video or key.endswith(".json")
        return is_explained and _text(parent, "status") in {"READY", "HELD", "FAILED"}

    def _books_are_right(self, tasks: dict[str, Item]) -> None:
        owed: dict[int, Decimal] = {}
        for task_id, item in tasks.items():
            if _leases(item) and _text(item, "status") != "HELD":
                raise Broke("slots return to zero", f"{task_id} keeps {_leases(item)}")
            if "intended_at" not in item or "plan" in item or _was_free(item):
                continue
            open_books = _text(item, "status") == "HELD"
            amount = Decimal(
                ((not open_books and item.get("charge_usd")) or item["quote_usd"])["N"]
            )
            for length in self.caps:
                owed[length] = owed.get(length, Decimal(0)) + amount
        for pk, item in self.account.table.items.items():
            if pk.startswith("slots#"):
                self._slots_written(pk, item)
                for turn, until in item["leases"]["M"].items():
                    if not self._has_lapsed(until):
                        raise Broke("slots return to zero", f"{pk} keeps {turn}")
        reserved = sum(
            (Decimal(item["left_usd"]["N"]) for pk, item in self.account.table.items.items()
             if pk.startswith("reserve#")), Decimal(0),
        )  # fmt: skip
        owed = {length: amount + reserved for length, amount in owed.items()}
        for length, amount in owed.items():
            spent = sum(
                (Decimal(item["spent_usd"]["N"]) for pk, item in self.account.table.items.items()
                 if pk.startswith("budget#") and len(pk) == length + 7), Decimal(0),
            )  # fmt: skip
            if spent != amount:
                raise Broke("the budget adds up", f"booked {spent}, owed {amount}")

    def _has_lapsed(self, until: Item) -> bool:
        """A turn that was given to a task which had ended by then lapses within minutes, and holds
        nothing up."""
        return "N" in until and float(until["N"]) / 1000 < self.account.clock.now

    def _alarm_was_raised(self, tasks: dict[str, Item]) -> None:
        held = [
            task_id
            for task_id, item in tasks.items()
            if _text(item, "status") == "HELD" and not _is_piece(item)
        ]
        raised = sum(
            sum(json.loads(line)["TaskHeld"])
            for _, line in self.account.lines
            if '"TaskHeld":' in line
        )
        if raised < len(held):
            raise Broke(
                "HELD raises the alarm",
                f"{len(held)} tasks are held, TaskHeld was counted {raised:g} times",
            )

    def _nothing_leaked(self) -> None:
        texts = [f"{name}: {line}" for name, line in self.account.lines]
        texts += [f"event: {entry['Detail']}" for entry in self.account.events]
        texts += [f"execution: {text}" for text in self.account.workflow.inputs]
        texts += [
            f"message: {body}"
            for queue in (self.account.uploads, self.account.submissions)
            for body in queue.sent
        ]
        for line in texts:
            if _SECRETS.search(line):
                raise Broke("no secret in a log, event or input", line[:600])


def _is_corrected(old: Item, new: Item) -> bool:
    """A person named this job: instead of what a person had named, or a second one of the
    attempt."""
    seconds = old.get("second_jobs", {"L": []})["L"]
    return "adopted_by" in new and ("adopted_by" in old or new.get("job_id") in seconds)


def _was_free(item: Item) -> bool:
    """It ended before a POST of it left, though one was intended once."""
    code = item.get("error", {}).get("M", {}).get("code", {}).get("S", "")
    ended = _text(item, "status") == "CANCELLED" or code in {"OVER_BUDGET", "GAVE_UP"}
    return ended and "job_id" not in item


def _leases(item: Item) -> list[str]:
    """The rows and hours of the leases that a task's row has booked."""
    booked = [one["S"] for one in item.get("booked", {"L": []})["L"]]
    rows = [one for one in booked if one.startswith("slots#")]
    hours = [one for one in booked if one.startswith(_COUNTED)]
    return [" ".join(pair) for pair in zip(rows, hours, strict=True)]


def _is_piece(item: Item) -> bool:
    return bool(_text(item, "parent"))


def _text(item: Item, name: str) -> str:
    return str(item.get(name, {}).get("S", ""))
