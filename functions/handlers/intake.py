"""Files arrived: which tasks do they make? Validate the media, open the task.

Whatever event comes, however often and in whatever order, the inbox is asked what lies there now,
and the table is given that. A task that may already be paid for is never touched here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TypedDict
from urllib.parse import unquote_plus

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.inputs import consent, drops, request, url_inputs, validation
from functions.inputs.audio import inspect_audio
from functions.inputs.drops import Drop, File
from functions.inputs.refusals import NotMedia, Refusal
from functions.inputs.request import TaskRequest
from functions.inputs.source import Source
from functions.settings import aws, get, options
from functions.tasks import queries, queues, steps
from functions.tasks.table import ConditionFailed, instant, now, stamp
from functions.tasks.task import Status, StoredFile, Task

logger = Logger()
metrics = Metrics()
_UNDER_WAY_SECONDS = 10  # a message that failed comes again after 15, at the soonest

_PAGES_OF_A_FOLDER = 10  # of 1,000 keys, an invocation: some 1,000 calls of SQS


class _Bucket(TypedDict, total=False):
    name: str


class _Object(TypedDict):
    key: str


class _Place(TypedDict, total=False):
    bucket: _Bucket
    object: _Object


class _Notification(TypedDict, total=False):
    s3: _Place


class InboxEvent(TypedDict, total=False):
    """EventBridge's word of an object, or S3's own."""

    detail: _Place
    Records: list[_Notification]


@metrics.log_metrics
def handler(event: queues.Batch, context: LambdaContext) -> queues.BatchAnswer:
    return queues.each(event, _message)


def _message(body: str) -> None:
    message = json.loads(body)
    if "import" in message:
        url_inputs.bring_in(message["import"])
    elif "folder" in message:
        _fan_out(message["folder"]["key"], message["folder"]["after"])
    elif "audio" in message:
        _look(message["audio"]["key"])
    else:
        for key in _keys(message):
            _arrived(key)


def _keys(message: InboxEvent) -> list[str]:
    """The keys an event names, decoded once, as its transport demands: EventBridge's are raw, those
    of S3's own notifications are form-encoded. What is not about our inbox (s3:TestEvent, another
    bucket) names none."""
    if "Records" in message:
        records = [record["s3"] for record in message["Records"] if "s3" in record]
        return [
            unquote_plus(s3["object"]["key"])
            for s3 in records
            if s3["bucket"]["name"] == get().inbox
        ]
    detail = message.get("detail") or _Place()
    if (detail.get("bucket") or _Bucket()).get("name") != get().inbox:
        logger.warning("not an event of the inbox", names=sorted(message))
        return []
    return [detail["object"]["key"]]


def _arrived(key: str) -> None:
    voices = list(dict.fromkeys(drops.voices_for(get().inbox, key)))
    if len(voices) == 1:
        _look(voices[0])
    elif voices:
        queues.look_at(voices)
    elif drops.is_lone_portrait(key) and drops.head(get().inbox, key):
        _ask_for_voice(key)
    if drops.is_of_folder(key):
        _fan_out(key)


def _fan_out(key: str, after: str = "") -> None:
    """A file for a whole folder: each voice is a message of its own. A large folder is gone through
    by several invocations, each from where the one before came to."""
    for page, (voices, last) in enumerate(drops.voices_in(get().inbox, key, after), 1):
        queues.look_at(voices)
        if page == _PAGES_OF_A_FOLDER:
            queues.go_on_in_folder(key, last)
            return


def _look(voice_key: str) -> None:
    try:
        _see(voice_key)
    except ConditionFailed:
        _see(voice_key)  # the row moved meanwhile: once more, then the queue brings it again


def _see(voice_key: str) -> None:
    voice = drops.head(get().inbox, voice_key)
    if voice is None:
        return
    # The row is read before the files: what is then seen can only be newer, and the write depends
    # on the row.
    row = queries.load(drops.task_id_of(voice.bucket, voice_key, voice.version_id))
    if row is not None and not row.follows_its_files:
        return
    drop = drops.gather(get().inbox, voice_key)
    if drop is None or drop.voice.version_id != voice.version_id:
        return  # it was replaced meanwhile: the new version has an event of its own
    task = _task(drop)
    if task is None:
        return
    written = _write(task, row)
    _leave_note(drop, task)
    if written.status is Status.READY and not _is_under_way(written, row):
        queues.submit(written.task_id, written.not_before)


def _is_under_way(written: Task, row: Task | None) -> bool:
    """The two events of a drop look at it twice: the first look sent the message a moment ago, or
    the task waits for its turn. A look that crashed before it sent comes again later than that."""
    if written is not row:
        return False
    age = now() - instant(row.changed_at)
    return row.is_waiting or age < timedelta(seconds=_UNDER_WAY_SECONDS)


def _write(task: Task, row: Task | None) -> Task:
    if row is None:
        metrics.add_metric(f"Task{task.status.title()}", MetricUnit.Count, 1)
        return steps.open_task(task)
    expired = row.status is Status.EXPIRED and task.status is Status.WAITING
    if expired or _is_same(task, row):
        return row
    return steps.revise(task, row, why="the files changed")


def _is_same(task: Task, row: Task) -> bool:
    """The same result on the same bytes: a portrait uploaded again as it was changes nothing."""
    compared = ("status", "provider", "model", "prompt", "settings", "max_usd", "consent", "error")
    return all(
        _plain(getattr(task, name)) == _plain(getattr(row, name)) for name in compared
    ) and all(_same_file(getattr(task, name), getattr(row, name)) for name in ("portrait", "audio"))


def _same_file(new: StoredFile, old: StoredFile) -> bool:
    # A listing shows no checksum; the ETag tells another content.
    not_compared = {"version_id": "", "checksum": ""}
    return _plain({**new, **not_compared}) == _plain({**old, **not_compared})


def _plain(value: object) -> str:
    """A value as it can be compared: the table gives every number back as a Decimal."""
    return json.dumps(value, sort_keys=True, default=_number)


def _number(value: object) -> object:
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} does not stand in a row")


def _task(drop: Drop) -> Task | None:
    """The task that these files make; None if they make none (a settings file that carries no text
    to speak)."""
    task = _of_files(drop)
    spoken = drops.kind_of(drop.voice.key) is drops.Role.SETTINGS
    try:
        composed = _request(drop, spoken)
    except request.Refused as refused:
        return validation.refuse(task, refused.refusals)
    if spoken and not composed.text:
        return None
    task = _as_requested(task, composed)
    task = replace(task, audio={}) if spoken else task
    if lacking := consent.missing(composed.consent):
        return validation.refuse(task, lacking)
    voice = None if spoken else drop.voice.source()
    if drop.portrait is None:
        return _without_portrait(task, drop, composed, voice)
    return validation.apply(task, validation.validate(composed, drop.portrait.source(), voice))


def _of_files(drop: Drop) -> Task:
    return Task(
        task_id=drops.task_id_of(drop.voice.bucket, drop.voice.key, drop.voice.version_id),
        status=Status.FAILED,
        created_at=stamp(now()),
        stem=drop.stem,
        audio=drop.voice.named(),
        portrait=drop.portrait.named() if drop.portrait else {},
    )


def _as_requested(task: Task, composed: TaskRequest) -> Task:
    return replace(
        task,
        provider=composed.provider,
        model=composed.model,
        prompt=composed.prompt,
        settings=dict(composed.settings),
        max_usd=composed.max_usd,
        consent=composed.consent,
        long_voice=composed.long_voice,
        reuse=composed.reuse,
    )


def _without_portrait(task: Task, drop: Drop, composed: TaskRequest, voice: Source | None) -> Task:
    """WAITING, with the reason; what is wrong already is refused at once."""
    refusals = validation.without_media(composed, has_audio=voice is not None)
    try:
        if voice:
            inspect_audio(voice)
    except NotMedia as error:
        refusals.append(error.refusal)
    if refusals:
        return validation.refuse(task, refusals)
    folder, stem, _ = drops.split(drop.voice.key)
    message = (
        f"{drop.voice.name} waits for its portrait: drop {folder}{stem}.png or "
        f"{folder}portrait.png (or .jpg) within {options().waiting_hours:g} hours."
    )
    return replace(
        task, status=Status.WAITING, error={"code": "WAITS_FOR_PORTRAIT", "message": message}
    )


def _request(drop: Drop, spoken: bool) -> TaskRequest:
    settings: dict[str, object] = {}
    for file in (*drop.settings, drop.voice) if spoken else drop.settings:
        settings |= request.parse(_text(file), file.name)
    return request.compose(settings, _text(drop.prompt) if drop.prompt else None)


def _text(file: File) -> str:
    try:
        return drops.read_text(file)
    except ValueError as error:
        raise request.Refused(Refusal("BAD_TEXT", "settings", str(error))) from error


def _leave_note(drop: Drop, task: Task) -> None:
    """A refused voice gets its reason beside it; a mended one loses it."""
    if task.status is Status.FAILED:
        _put_note(drop.note_key, {"task_id": task.task_id, **task.error})
    elif drop.has_note:
        aws("s3").delete_object(Bucket=drop.voice.bucket, Key=drop.note_key)


def _ask_for_voice(portrait_key: str) -> None:
    """A portrait without a voice makes no task: the note beside it says what is missing."""
    folder, stem, _ = drops.split(portrait_key)
    name = portrait_key.rpartition("/")[2]
    message = (
        f"{name} waits for its voice: drop {folder}{stem}.mp3 (or .wav, .m4a), or name the picture "
        f"{folder}portrait.png to use it for every voice of the folder."
    )
    _put_note(f"{folder}{stem}.error.json", {"code": "WAITS_FOR_VOICE", "message": message})


def _put_note(key: str, facts: Mapping[str, object]) -> None:
    note = {**facts, "cure": "replace the file; this note goes when it is mended"}
    body = json.dumps(note, ensure_ascii=False, indent=1).encode()
    aws("s3").put_object(Bucket=get().inbox, Key=key, Body=body, ContentType="application/json")
