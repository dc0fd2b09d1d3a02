"""Media that a task of the API named by https URL: fetched once, kept beside the inbox's files,
judged like them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aws_lambda_powertools import Logger

from functions import providers
from functions.download import download
from functions.inputs import drops, request
from functions.inputs.drops import File
from functions.inputs.media import MOST_BYTES, Refusal
from functions.inputs.request import TaskRequest
from functions.settings import aws, get
from functions.tasks import queries, queues, steps
from functions.tasks.task import Status, Task

logger = Logger(child=True)

_SECONDS_EACH = 60.0


def bring_in(task_id: str) -> None:
    """Fetch what the task names, open its way or refuse it. Done again after a crash, it fetches
    again."""
    task = queries.load(task_id)
    if task is None or task.status not in {Status.WAITING, Status.READY} or not task.never_intended:
        return
    if task.status is Status.WAITING:
        task = _settle_media(task)
    if task.status is Status.READY:
        queues.submit(task_id, task.not_before)


def _settle_media(task: Task) -> Task:
    files: dict[str, File] = {}
    refusals: list[Refusal] = []
    for field in ("portrait", "audio"):
        try:
            file = _file(task, field)
        except download.SourceUnreachable as error:
            refusals.append(
                Refusal(
                    "UNREACHABLE", field, f"{_place(task, field)} could not be fetched: {error}"
                )
            )
        except download.FetchError as error:
            refusals.append(
                Refusal("REFUSED_URL", field, f"{_place(task, field)} was not fetched: {error}")
            )
        else:
            if file:
                files[field] = file
            elif field == "portrait" or task.audio:
                refusals.append(
                    Refusal(
                        "INPUT_GONE",
                        field,
                        f"the {field} is no longer in the inbox: upload it again",
                    )
                )
    if refusals:
        message = " ".join(refusal.message for refusal in refusals)
        judged = replace(
            task, status=Status.FAILED, error={"code": refusals[0].code, "message": message}
        )
    else:
        judged = judge(task, files)
    return steps.revise(judged, task, why="media fetched")


def judge(task: Task, files: dict[str, File]) -> Task:
    """READY or FAILED, by what these files are."""
    asked = TaskRequest(task.provider, task.model, task.prompt, task.settings)
    portrait, voice = (
        files[field].source() if field in files else None for field in ("portrait", "audio")
    )
    seen = replace(
        task, portrait=files["portrait"].named(), audio=files["audio"].named() if voice else {}
    )
    return request.apply(seen, request.judge(asked, portrait, voice))


def _file(task: Task, field: str) -> File | None:
    wanted: Any = getattr(task, field)
    if "key" in wanted:
        return drops.head(wanted["bucket"], wanted["key"])
    if field not in task.imports:
        return None
    limits = providers.get(task.provider).models[task.model].limits
    most = limits.image_bytes if field == "portrait" else limits.audio_bytes
    content = download.read(
        task.imports[field], max_bytes=min(most, MOST_BYTES), deadline_seconds=_SECONDS_EACH
    )
    name = download.bare(task.imports[field]).rpartition("/")[2] or field
    key = f"{drops.OURS}{task.task_id}/{field}-{name}"
    aws("s3").put_object(Bucket=get().inbox, Key=key, Body=content)
    return drops.head(get().inbox, key)


def _place(task: Task, field: str) -> str:
    return download.bare(task.imports.get(field, "")) or field
