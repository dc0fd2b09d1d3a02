"""Files arrived: which tasks do they make? Check the media, open the task.

Whatever event comes, however often and in whatever order, the inbox is asked what lies there now,
and the table is told that. A task that somebody may already have paid is never touched here.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import EventType
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.inputs import drops, request, url_inputs
from functions.inputs.drops import Drop, File
from functions.inputs.media import Refusal
from functions.inputs.request import TaskRequest
from functions.settings import aws, get
from functions.tasks import queries, queues, steps
from functions.tasks.table import ConditionFailed, now, stamp
from functions.tasks.task import Status, Task

logger = Logger()
metrics = Metrics()


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    return queues.each(event, EventType.SQS, _message, context)


def _message(record: SQSRecord) -> None:
    said = json.loads(record.body)
    if "import" in said:
        url_inputs.bring_in(said["import"])
    elif "audio" in said:
        _look(said["audio"]["key"])
    else:
        for key in _keys(said):
            _arrived(key)


def _keys(said: dict[str, Any]) -> list[str]:
    """The keys an event names, decoded once, as its transport demands: EventBridge's are raw, those
    of S3's own notifications are form-encoded. What is not about our inbox (s3:TestEvent, another
    bucket) names none."""
    if "Records" in said:
        records = [record["s3"] for record in said["Records"] if "s3" in record]
        return [
            unquote_plus(s3["object"]["key"])
            for s3 in records
            if s3["bucket"]["name"] == get().inbox
        ]
    detail = said.get("detail") or {}
    if (detail.get("bucket") or {}).get("name") != get().inbox:
        logger.warning("not an event of the inbox", names=sorted(said))
        return []
    return [detail["object"]["key"]]


def _arrived(key: str) -> None:
    voices = list(dict.fromkeys(drops.voices_for(get().inbox, key)))
    if len(voices) == 1:
        _look(voices[0])
    else:
        queues.look_at(voices)  # a portrait for a whole folder: each voice is a message of its own


def _look(voice_key: str) -> None:
    try:
        _see(voice_key)
    except ConditionFailed:
        _see(
            voice_key
        )  # the row moved while we looked: look once more, then let the queue bring it again


def _see(voice_key: str) -> None:
    voice = drops.head(get().inbox, voice_key)
    if voice is None:
        return
    # The row is read before the files: what is then seen can only be newer, and the write depends
    # on the row.
    standing = queries.load(drops.task_id_of(voice.bucket, voice_key, voice.version_id))
    if standing is not None and not (
        standing.never_intended and standing.status is not Status.COMPLETED
    ):
        return
    drop = drops.gather(get().inbox, voice_key)
    if drop is None or drop.voice.version_id != voice.version_id:
        return  # it was replaced meanwhile: the new version has an event of its own
    task = _task(drop)
    if task is None:
        return
    written = _write(task, standing)
    _leave_note(drop, task)
    if written.status is Status.READY:
        queues.submit(written.task_id, written.not_before)


def _write(task: Task, standing: Task | None) -> Task:
    if standing is None:
        metrics.add_metric(f"Task{task.status.title()}", MetricUnit.Count, 1)
        return steps.open_task(task)
    said = ("status", "provider", "model", "prompt", "settings", "portrait", "audio", "error")
    expired = standing.status is Status.EXPIRED and task.status is Status.WAITING
    if expired or all(_same(getattr(task, name), getattr(standing, name)) for name in said):
        return standing
    return steps.revise(task, standing, why="the files changed")


def _same(new: Any, old: Any) -> bool:
    return json.dumps(new, sort_keys=True, default=float) == json.dumps(
        old, sort_keys=True, default=float
    )


def _task(drop: Drop) -> Task | None:
    """The task that these files make; None if they make none (a settings file that carries no text
    to speak)."""
    task = Task(
        task_id=drops.task_id_of(drop.voice.bucket, drop.voice.key, drop.voice.version_id),
        status=Status.FAILED,
        created_at=stamp(now()),
        stem=drop.stem,
        audio=drop.voice.named(),
        portrait=drop.portrait.named() if drop.portrait else {},
    )
    spoken = drops.kind_of(drop.voice.key) is drops.Kind.SETTINGS
    try:
        asked = _brief(drop, spoken)
    except request.Refused as refused:
        return request.refuse(task, refused.refusals)
    if spoken and not asked.text:
        return None
    task = replace(
        task, provider=asked.provider, model=asked.model, prompt=asked.prompt, settings=dict(asked.settings),
        audio={} if spoken else task.audio,
    )  # fmt: skip
    if drop.portrait is None:
        return replace(task, status=Status.WAITING)
    judged = request.judge(asked, drop.portrait.source(), None if spoken else drop.voice.source())
    return request.apply(task, judged)


def _brief(drop: Drop, spoken: bool) -> TaskRequest:
    told: dict[str, Any] = {}
    for file in (*drop.settings, drop.voice) if spoken else drop.settings:
        told |= request.parse(_text(file), file.name)
    return request.compose(told, _text(drop.prompt) if drop.prompt else None)


def _text(file: File) -> str:
    try:
        return drops.read_text(file)
    except ValueError as error:
        raise request.Refused([Refusal("BAD_TEXT", "settings", str(error))]) from error


def _leave_note(drop: Drop, task: Task) -> None:
    """A refused voice gets its reason beside it; a mended one loses it."""
    s3 = aws("s3")
    if task.status is Status.FAILED:
        note = {
            "task_id": task.task_id,
            **task.error,
            "cure": "replace the file; this note goes when it is mended",
        }
        body = json.dumps(note, ensure_ascii=False, indent=1).encode()
        s3.put_object(
            Bucket=drop.voice.bucket, Key=drop.note_key, Body=body, ContentType="application/json"
        )
    elif drop.has_note:
        s3.delete_object(Bucket=drop.voice.bucket, Key=drop.note_key)
