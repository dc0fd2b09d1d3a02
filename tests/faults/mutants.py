"""Seeded faults in our own source, one at a time: each must be caught, or the simulation proves nothing.

python -m tests.faults mutants              all of them, and what caught each
python -m tests.faults mutants NAME         one of them
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutant:
    """One change of the text of one module. `old` must stand there exactly once."""

    name: str
    module: str
    old: str
    new: str
    profile: str = "kie"
    scene: str = ""


MUTANTS = (
    Mutant("the claim has no condition", "tasks.claims", '    intent = tasks.step(task, S.SUBMITTING, come_from=[S.READY], due_at=lease)\n    intent.set(owner=owner, lease_until=lease, intended_at=stamp(now()), body_sha256=body_sha256, quote_usd=quote_usd)\n    # What is sent is the row as it was read: a file replaced since has made another one of it. And a bell that nobody\n    # has looked into may say that this attempt was accepted already.\n    intent.given("{changed_at} = :seen AND {rings} = {answered}", seen=task.changed_at)\n', '    intent = tasks.step(task, S.SUBMITTING, come_from=list(S), due_at=lease)\n    intent.set(owner=owner, lease_until=lease, intended_at=stamp(now()), body_sha256=body_sha256, quote_usd=quote_usd)\n'),
    Mutant("the claim is no transaction with the books", "tasks.claims", "        table.transact(*steps.values(), tries=3)\n", '        table.transact(steps["task"])\n'),
    Mutant("the claim does not look whether the row changed", "tasks.claims", '"{changed_at} = :seen AND {rings} = {answered}", seen=task.changed_at', '"{rings} = {answered}"', scene="a_replaced_face"),
    Mutant("a conflict is a refusal", "tasks.table", '_BUSY = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})', "_BUSY: frozenset[str] = frozenset()"),
    Mutant("an ambiguous answer is sent again", "handlers.submit", "        _doubt(claimed, str(error))\n", '        _return(claimed, "ambiguous")\n'),
    Mutant("a 5xx is a refusal for now", "providers.base", '        return Ambiguous, f"a job may have been made: look into the account at {self.name}"\n', '        return RejectedLater, "try again"\n'),
    Mutant("a read timeout is as good as not sent", "providers._http", "unsent=NotSent, broken=Ambiguous)", "unsent=NotSent, broken=NotSent)"),
    Mutant("the POST is repeated once", "providers.kie", "        job_id = base.opaque_id(_data(answer).get(\"taskId\"))\n        if _code(answer) == 200 and job_id:", "        if answer.status >= 500:\n            answer = base.paid_post(self.client, f\"{self.base_url}/api/v1/jobs/createTask\", headers=self._headers(), json_body={n: v for n, v in create.items() if v})\n        job_id = base.opaque_id(_data(answer).get(\"taskId\"))\n        if _code(answer) == 200 and job_id:"),
    Mutant("the note before the POST is never written", "handlers.submit", "        tasks.sending(task, claimed.owner)\n", ""),
    Mutant("what was not accepted in time is handed back", "handlers.watch", "    if is_lost and not task.sent_at:\n", "    if is_lost:\n"),
    Mutant("a doubtful submit fails after a while", "handlers.watch", '    _hold(\n        task, "AMBIGUOUS",\n', '    gate.fail(\n        task, "AMBIGUOUS", come_from=[S.SUBMITTING], message=\n'),
    Mutant("a hint is believed without proof", "handlers.watch", "            proved = links.same_bell(job.callback_url, task.provider, task.task_id, task.attempt)\n", "            proved = True\n"),
    Mutant("any credit proves that nothing was taken", "tasks.balance", "    return abs(Decimal(told[\"balance_usd\"]) - balance - charged) < _TOLERANCE_USD\n", "    return True\n"),
    Mutant("the callback's word is believed", "handlers.callback", "    logger.info(\"rang\",", "    if hint.final and hint.job_id and not task.job_id and task.status is S.SUBMITTING:\n        from functions import gate\n        gate.adopt(task, hint.job_id, come_from=[S.SUBMITTING])\n    logger.info(\"rang\","),
    Mutant("the MAC is not looked at", "links", "    genuine = hmac.compare_digest(expected.encode(), mac.encode(\"utf-8\", \"replace\"))\n", "    genuine = True\n"),
    Mutant("only the last hint is kept", "handlers.watch", "    for hint in task.job_hints:\n", "    for hint in [task.job_hint] if task.job_hint else []:\n", "relay", scene="forged_callbacks"),
    Mutant("two tasks may have one job", "tasks.claims", "    table.transact(update, unique, tries=20)", "    table.transact(update, tries=20)", scene="same_job_for_two"),
    Mutant("the lease is not given back", "tasks.claims", '            steps.append(Update(pk).drop_from("leases", current.external_id))\n        elif', "            pass\n        elif"),
    Mutant("the budget is looked at, not booked in the claim", "tasks.claims", '    return update.given("attribute_not_exists({spent_usd}) OR {spent_usd} <= :room", room=cap - quote_usd)\n', "    return update\n", scene="cap_of_a_few"),
    Mutant("a late success is not booked", "tasks.claims", "    if current.counted_usd is not None and charge != current.counted_usd:\n", "    if False:\n", scene="a_denied_job"),
    Mutant("the quote is not settled to the charge", "tasks.claims", "            steps.append(Update(pk).add(spent_usd=charge - quote))\n", "            pass\n"),
    Mutant("marked before it is published", "handlers.announce", "    if task.status in events.DETAIL_TYPES:\n        _publish(task)\n    if task.status in RESTING:\n        _mark(task)\n", "    if task.status in RESTING:\n        _mark(task)\n    if task.status in events.DETAIL_TYPES:\n        _publish(task)\n", scene="a_refusing_bus"),
    Mutant("the bus's refusal is not looked at", "handlers.announce", '    if answer["FailedEntryCount"]:\n', "    if False:\n"),
    Mutant("every repeat of an event has a new id", "tasks.steps", '        return f"{self.task_id}#{self.status}#{self.attempt}" + (f"#{times}" if times > 1 else "")\n', '        return f"{self.task_id}#{self.status}#{self.attempt}#{table.nonce()}"\n'),
    Mutant("what the sweep touches is no news", "handlers.announce", "    return moved or (task.announced != task.event_id and task.status in RESTING)\n", "    return moved\n", scene="a_refusing_bus"),
    Mutant("the sweep does not revive executions", "handlers.sweep", "    tasks.still_looking(task, seconds=3600, revived=executions.see_that_it_runs(task))\n", "    tasks.still_looking(task, seconds=3600, revived=task.revived)\n"),
    Mutant("the sweep sends nothing again to submit", "handlers.sweep", "    queues.submit(task.task_id, task.not_before, instant(task.not_before) if task.not_before else None)\n", ""),
    Mutant("the inbox is not walked", "handlers.sweep", "    found = _walk_inbox(context)\n", "    found = 0\n", scene="an_inbox_without_events"),
    Mutant("an unproved object counts as archived", "handlers.archive", '        return {"next": "settle", "archived": {}}  # settle sees the same, and ends it\n    path = paths.of(task)\n', '        return {"next": "settle", "archived": {}}\n    path = paths.of(task)\n    gone = {"bucket": path.bucket, "key": path.key, "version_id": "", "sha256": "", "manifest_key": path.manifest_key, "bytes": 1, "seconds": 1.0}\n    return {"next": "settle", "archived": gone}\n'),
    Mutant("the archive overwrites", "videos.bucket", '            IfNoneMatch="*",\n            ChecksumAlgorithm="SHA256",\n            **headers,\n        )\n\n\ndef put_small', '            ChecksumAlgorithm="SHA256",\n            **headers,\n        )\n\n\ndef put_small', scene="two_archivers"),
    Mutant("a dead link fails the task", "handlers.archive", "    with _open(task, ends_at) as video:\n        if _fits", "    from functions import gate\n    from functions.wire import FetchError\n    try:\n        _open(task, ends_at).close()\n    except FetchError as dead:\n        gate.fail(task, \"DEAD\", str(dead), come_from=[S.ARCHIVING])\n        raise\n    with _open(task, ends_at) as video:\n        if _fits"),
    Mutant("a lost submit of Kling gets a new id", "tasks.steps", '        return f"{self.task_id}-{self.attempt}"\n', '        return f"{self.task_id}-{self.attempt}-{self.returns}"\n', "kling"),
    Mutant("Kling's unknown job is sent again at once, without its id", "providers._kling_dialect", '            "external_task_id": request.external_id,\n', "", "kling"),
    Mutant("a held task rings no alarm", "handlers.announce", '        metrics.add_metric("TaskHeld", MetricUnit.Count, 1)\n', "        pass\n"),
    Mutant("the signed link stands in the log", "handlers.submit", '    if answer.status_code >= 400:  # httpx\'s own error would quote the link, signature and all\n', "    answer.raise_for_status()\n    if answer.status_code >= 400:\n"),
)  # fmt: skip


class _Loader(importlib.machinery.SourceFileLoader):
    """The module's source with the change in it; no cached byte code is read or written."""

    mutant: Mutant

    def get_code(self, fullname: str) -> Any:
        path = self.get_filename(fullname)
        source = Path(path).read_text()
        if source.count(self.mutant.old) != 1:
            raise AssertionError(
                f"{self.mutant.name!r}: its text stands {source.count(self.mutant.old)} times in {path}"
            )
        return compile(source.replace(self.mutant.old, self.mutant.new), path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        self.wanted = f"functions.{mutant.module}"

    def find_spec(self, fullname: str, _path: Any, _target: ModuleType | None = None) -> Any:
        if fullname != self.wanted:
            return None
        path = _ROOT / Path(*fullname.split(".")).with_suffix(".py")
        loader = _Loader(fullname, str(path))
        loader.mutant = self.mutant
        return importlib.util.spec_from_file_location(fullname, path, loader=loader)


def infect(name: str) -> Mutant:
    """From now on this process imports the mutant. To be called before anything of `functions` is imported."""
    if any(module.startswith("functions") for module in sys.modules):
        raise AssertionError("functions is imported already")
    mutant = next(one for one in MUTANTS if one.name == name)
    sys.meta_path.insert(0, _Finder(mutant))
    return mutant
