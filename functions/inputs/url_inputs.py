"""Media that a task of the API names by https URL: fetched once, kept beside the inbox's files and
validated like them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from functions.download import download
from functions.inputs import drops, request, validation
from functions.inputs.drops import File
from functions.inputs.refusals import MOST_BYTES, Refusal
from functions.inputs.request import REFUSE, TaskRequest
from functions.inputs.validation import Validation
from functions.settings import aws, get
from functions.tasks import queries, queues, steps
from functions.tasks.task import Status, Task

_SECONDS_EACH = 60.0


def bring_in(task_id: str) -> None:
    """Fetch what the task names; then it is READY or refused. Done again after a crash, it fetches
    again."""
    task = queries.load(task_id)
    if task is None or task.status not in {Status.WAITING, Status.READY} or not task.never_intended:
        return
    if task.status is Status.WAITING:
        task = _fetch_media(task)
    if task.status is Status.READY:
        queues.submit(task_id, task.not_before)


def check(field: str, url: str) -> Refusal | None:
    """Why a URL can never be fetched, before anything is connected; None if it may be."""
    try:
        download.target_of(url, "")
    except download.FetchError as error:
        cure = "give a public https URL, or a key of the inbox"
        return Refusal("BAD_URL", field, f"{field} cannot be fetched: {error}; {cure}")
    return None


def validate(task: Task, files: Mapping[str, File]) -> tuple[Task, Validation]:
    """The task READY or FAILED, by what these files are."""
    wanted = _request(task)
    portrait, voice = (
        files[field].source() if field in files else None for field in ("portrait", "audio")
    )
    found = validation.validate(wanted, portrait, voice)
    with_files = replace(
        task, portrait=files["portrait"].named(), audio=files["audio"].named() if voice else {}
    )
    return validation.apply(with_files, found), found


def _request(task: Task) -> TaskRequest:
    max_usd = None if task.max_usd is None else Decimal(task.max_usd)
    long_voice = task.long_voice or REFUSE
    return TaskRequest(
        task.provider,
        task.model,
        task.prompt,
        task.settings,
        max_usd,
        long_voice=long_voice,
        reuse=task.reuse,
    )


def _fetch_media(task: Task) -> Task:
    files: dict[str, File] = {}
    refusals: list[Refusal] = []
    for field in ("portrait", "audio"):
        try:
            if file := _file(task, field):
                files[field] = file
        except request.Refused as refused:
            refusals += refused.refusals
    fetched = validation.refuse(task, refusals) if refusals else validate(task, files)[0]
    return steps.revise(fetched, task, why="media fetched")


def _file(task: Task, field: str) -> File | None:
    """The file of this field, in the inbox; None where the task has none. Raises Refused."""
    media = task.portrait if field == "portrait" else task.audio
    if "key" in media:
        if file := drops.head(media["bucket"], media["key"]):
            return file
        message = f"the {field} is no longer in the inbox: upload it again"
        raise request.Refused(Refusal("INPUT_GONE", field, message))
    return _fetch(task, field) if field in task.imports else None


def _fetch(task: Task, field: str) -> File:
    url = task.imports[field]
    most = validation.largest(_request(task))[field == "audio"]
    try:
        content = download.read(
            url, max_bytes=min(most, MOST_BYTES), deadline_seconds=_SECONDS_EACH
        )
    except download.SourceUnreachable as error:
        message = f"{download.bare(url)} could not be fetched: {error}"
        raise request.Refused(Refusal("UNREACHABLE", field, message)) from error
    except download.FetchError as error:
        message = f"{download.bare(url)} was not fetched: {error}"
        raise request.Refused(Refusal("REFUSED_URL", field, message)) from error
    name = download.bare(url).rpartition("/")[2] or field
    key = f"{drops.OURS}{task.task_id}/{field}-{name}"
    aws("s3").put_object(Bucket=get().inbox, Key=key, Body=content)
    file = drops.head(get().inbox, key)
    if file is None:
        message = f"the {field} was deleted from the inbox while it was fetched: open a new task"
        raise request.Refused(Refusal("INPUT_GONE", field, message))
    return file
