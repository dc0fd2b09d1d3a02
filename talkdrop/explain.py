"""Everything that is known of one task, on one page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, assert_never

from functions.providers.base import redact
from functions.settings import options
from functions.tasks import books, decisions, executions, plans, queries
from functions.tasks.table import now, stamp
from functions.tasks.task import RESTING, Status, Task

_REFUSED_CALLBACKS = (
    "refused callbacks are not in the table: see the log of the function callback and the metric "
    "CallbackRefused"
)


def page(task: Task) -> str:
    """Everything the table and the workflow know of this task, and what comes next."""
    parts = [
        _part("Task", _head(task)),
        _part("Files", _files(task)),
        _part("Money", _money(task)),
        *([_part("Pieces", _pieces(task))] if task.plan or task.parent else []),
        _part("Attempts", _attempts(task)),
        _part("Callbacks", _callbacks(task)),
        _part("Polls", _polls(task)),
        _part("Archive", _archive(task)),
        _part("Events", _events(task)),
        _part("History", (_line(line) for line in task.history)),
        _part("Next", _next(task)),
    ]
    return "\n\n".join(parts)


def _part(name: str, lines: Iterator[str]) -> str:
    return "\n".join([name, *(f"  {_printable(redact(line))}" for line in lines)])


def _printable(text: str) -> str:
    """Texts of others are in it: none of them may move the cursor."""
    return "".join(letter if letter.isprintable() else "·" for letter in text)


def _head(task: Task) -> Iterator[str]:
    yield f"{task.task_id}  {task.status}, attempt {task.attempt}  ({task.stem})"
    yield (
        f"opened {task.created_at} from {'files' if task.origin == 'files' else 'the API'}, "
        f"changed {task.changed_at}"
    )
    yield f"{task.provider or 'no provider'} {task.model}  {_pairs(task.settings)}".rstrip()
    if task.consent:
        yield "consent: " + ", ".join(f"{name} {text}" for name, text in task.consent.items())
    if task.prompt:
        yield f"prompt: {task.prompt[:200]}"
    if task.error:
        yield f"{task.error.get('code')}: {task.error.get('message')}"


def _files(task: Task) -> Iterator[str]:
    for name, file in (("portrait", task.portrait), ("voice", task.audio)):
        if file.get("key"):
            yield (
                f"{name:<9} s3://{file['bucket']}/{file['key']}  version "
                f"{file.get('version_id') or '(none)'}"
            )
            names = ("content_type", "bytes", "width", "height", "seconds")
            facts = {key: value for key, value in file.items() if key in names}
            if facts:
                yield f"{'':<9} {_pairs(facts)}"
        elif name in task.imports or (name == "voice" and "audio" in task.imports):
            yield f"{name:<9} to be fetched from a URL that the API was given"
        elif name == "voice" and task.settings.get("text"):
            yield f"{name:<9} spoken by the provider: {len(str(task.settings['text']))} characters"
        else:
            yield f"{name:<9} not there yet"


def _money(task: Task) -> Iterator[str]:
    yield f"quote {_usd(task.quote_usd)}, charge {_usd(task.charge_usd)}, of attempt {task.attempt}"
    if task.charge_differs:
        yield "the charge is more than a tenth away from the quote: is the price list still right?"
    if task.model_reason:
        yield f"the model was chosen for it: {task.model_reason}"
    if task.max_usd is not None:
        yield f"it may cost {_usd(task.max_usd)} at most, as it says itself"
    elif (most := options().max_usd_per_task) is not None:
        yield f"it may cost {_usd(most)} at most (option max_usd_per_task)"
    if options().budget_usd_per_day is None and options().budget_usd_per_month is None:
        yield "no budget is set: whoever may drop files may spend without limit"
    if task.booked:
        yield f"books still open: {', '.join(task.booked)}"


def _pieces(task: Task) -> Iterator[str]:
    if task.parent and task.segment:
        yield f"piece {_segment(task)} of the task {task.parent}"
        return
    found = queries.load_many(list(plans.ids_of_pieces(task))) if task.pieces else []
    done = sum(one.status is Status.COMPLETED for one in found)
    count = task.plan["pieces"] if task.plan else 0
    reused = task.plan.get("reused", 0) if task.plan else 0
    before = f", {reused} of them before, for another voice" if reused else ""
    yield f"{done} of {count} are made{before}; the voice is cut by s3://{_place(task)}"
    for one in found:
        if one.status is not Status.COMPLETED:
            error = f"  {one.error.get('code')}: {one.error.get('message')}" if one.error else ""
            yield f"piece {_segment(one)}  {one.task_id[:8]}  {one.status}{error}"


def _place(task: Task) -> str:
    return f"{task.plan['bucket']}/{task.plan['key']}" if task.plan else ""


def _segment(piece: Task) -> str:
    """Its number, and which seconds of the voice it is."""
    if not piece.segment:
        return "?"
    start, end = piece.segment["start_seconds"], piece.segment["end_seconds"]
    return f"{piece.segment['number']} ({start} s to {end} s)"


def _attempts(task: Task) -> Iterator[str]:
    for past in task.past:
        error = past.get("error") or {}
        yield (
            f"{past['attempt']}: job {past.get('job_id') or 'unknown'}, charge "
            f"{_usd(past.get('charge_usd'))}, "
            f"given up: {error.get('code')} {error.get('message')}"
        )
    if task.never_intended:
        yield "nothing was sent yet"
        return
    job = f"job {task.job_id} since {task.submitted_at}" if task.job_id else "no job id"
    unsent = f"; came back unsent {task.returns} times" if task.returns else ""
    yield f"{task.attempt}: {job}; last claimed at {task.intended_at}{unsent}"
    if task.doubt:
        yield f"its answer was lost at {task.doubt}: {task.doubt_why or 'no reason kept'}"
    if task.resends:
        yield f"the same id was sent again {task.resends} times since {task.first_sent_at}"
    for job_id in task.second_jobs:
        cure = "" if task.archived else "; if it has the video, adopt it"
        yield f"job {job_id} is one more of this attempt: perhaps a second charge{cure}"
    for hint in dict.fromkeys((*task.job_hints, task.job_hint)):
        if hint and hint != task.job_id:
            yield f"a callback named job {hint}: a hint, not proved"


def _callbacks(task: Task) -> Iterator[str]:
    last = f", the last at {task.last_callback_at}" if task.last_callback_at else ""
    yield f"{task.callbacks_received} genuine{last}; {task.callbacks_handled} handled by a query"
    extra = [line for line in task.history if line.get("what") == "PAST CALLBACK"]
    if extra:
        yield (
            f"{len(extra)} of an attempt that was given up, perhaps a second charge: "
            f"{extra[-1].get('why')}"
        )
    yield _REFUSED_CALLBACKS


def _polls(task: Task) -> Iterator[str]:
    if task.never_intended:
        yield "none yet"
        return
    yield f"{task.polls_done} queries that found it unfinished"
    yield f"watched by {'its' if executions.running(task) else 'no'} execution now"


def _archive(task: Task) -> Iterator[str]:
    video = task.archived
    if not video:
        yield "nothing yet"
        return
    yield f"s3://{video['bucket']}/{video['key']}  version {video.get('version_id') or '(none)'}"
    yield f"{video.get('bytes')} bytes, {video.get('seconds')} s, sha256 {video.get('sha256')}"
    if video.get("warning"):
        yield f"warning: {video['warning']}"
    yield f"manifest s3://{video['bucket']}/{video.get('manifest_key')}"


def _events(task: Task) -> Iterator[str]:
    if task.announced:
        yield f"announced last: {task.announced}"
    if task.status in RESTING and task.announced != task.event_id:
        yield f"not announced yet: {task.event_id}"
    elif not task.announced:
        yield "statuses under way are announced as they come, without a mark here"


def _line(entry: Mapping[str, Any]) -> str:
    why = f"  {entry['why']}" if entry.get("why") else ""
    return f"{entry['at']}  {entry['what']:<11} {entry['who']}{why}"


def _looked_up(task: Task) -> Iterator[str]:
    if task.is_looked_up:
        yield f"{task.provider} is queried about job {task.lookup['job_id']}, which a person named"
    elif task.lookup:
        yield f"job {task.lookup['job_id']} was not adopted: {task.lookup['refusal']}"


def _next(task: Task) -> Iterator[str]:
    yield from _looked_up(task)
    yield from _what_next(task)
    if task.is_waiting:
        yield "whoever leaves room calls it, and the sweep does should that be lost"
    elif task.due_at:
        is_due = " (due now)" if task.due_at <= stamp(now()) else ""
        yield f"the sweep checks it at {task.due_at}{is_due}, should nothing else happen"
    else:
        yield "the sweep leaves it alone"


def _what_next(task: Task) -> Iterator[str]:
    match task.status:
        case Status.WAITING if task.imports:
            yield "its media are being fetched"
        case Status.WAITING:
            yield "waits for its portrait, then expires; a portrait revives it"
        case Status.READY if task.is_long:
            yield from _ready(task)
            yield "then it is cut, and the whole quote is reserved before a piece is sent"
        case Status.READY:
            yield from _ready(task)
        case Status.IN_PIECES:
            yield "its pieces are made, each by itself; when all are, they are joined and archived"
        case Status.HELD if task.is_long:
            yield f"waits for a person: {decisions.doubt_of(task)}"
        case Status.SUBMITTING:
            yield (
                f"its submit has until {task.lease_until}; then it counts as lost, and its job is "
                "looked for, never sent blindly"
            )
        case Status.SUBMITTED:
            yield "the workflow polls at a callback or on schedule, and archives the video"
        case Status.ARCHIVING:
            yield (
                "the video is being fetched; if its link is dead, the provider is asked for a "
                "fresh one until its retention ends"
            )
        case Status.HELD:
            yield f"waits for a person: {decisions.doubt_of(task)}"
            if evidence := task.error.get("evidence"):
                yield evidence
            yield (
                "adopt it with the provider's job id, resubmit it, or fail it; a late callback "
                "still brings its video"
            )
        case Status.FAILED if task.never_intended:
            yield "nothing was sent: mend or replace the file and it goes on by itself"
        case Status.FAILED:
            yield (
                decisions.doubt_of(task)
                or "resubmit opens a new attempt; a late success is still archived"
            )
        case Status.EXPIRED:
            yield "a portrait revives it"
        case Status.COMPLETED | Status.CANCELLED:
            yield "nothing: it is over"
        case _:
            assert_never(task.status)


def _ready(task: Task) -> Iterator[str]:
    if why := books.stopped_since(task.provider):
        yield (
            f"{task.provider} is stopped: {why}; a free query every few minutes reopens it, or "
            f"talkdrop reopen {task.provider}"
        )
    if task.waits_for:
        yield f"waits: {task.waits_for}"
    if turn := queries.turn_numbers([task]).get(task.task_id):
        yield f"about number {turn} of those that wait for a turn at {task.provider}"
    yield (
        f"submitted at its turn, {task.not_before}"
        if task.not_before
        else "submitted as soon as the queue comes to it"
    )


def _pairs(facts: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items() if name != "text")


def _usd(amount: Any) -> str:
    return "unknown" if amount is None else f"{amount} USD"
