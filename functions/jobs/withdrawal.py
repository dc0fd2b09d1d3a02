"""What its owner took back is not paid: does the inbox still hold the files that a task was made
of?"""

from __future__ import annotations

from datetime import timedelta

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from functions.settings import aws
from functions.tasks import claims, queries, queues, steps
from functions.tasks.table import now
from functions.tasks.task import StoredFile, Task

logger = Logger(child=True)

_LOOK_AGAIN_SECONDS = 60


def is_withdrawn(task: Task) -> bool:
    """Is the latest version of a medium not the one that the task was made of? What its owner took
    back is not paid."""
    # The voice of a piece is a file of ours: its owner's is the whole one. The portrait that a
    # whole began with stays its face, whatever has replaced it since.
    whole = queries.load(task.parent) if task.parent else None
    spoken = whole or task
    for name, file, origin in (
        ("voice", spoken.audio, spoken.origin),
        ("portrait", task.portrait, task.origin),
    ):
        if not file.get("key") or not file.get("version_id"):
            continue
        latest, etag = _latest_version(file)
        if latest == file["version_id"] or (latest and origin != "files"):
            continue  # a task opened by the API names a file as it was then
        if name == "portrait" and etag == file.get("etag"):
            continue  # the same bytes again are the same portrait, to intake too
        _withdraw(task, name, str(file["key"]).rpartition("/")[2], is_replaced=bool(latest))
        return True
    return False


def _latest_version(file: StoredFile) -> tuple[str, str]:
    """The version and the ETag that lie there now; empty when it was deleted."""
    place = {"Bucket": file["bucket"], "Key": file["key"]}
    try:
        found = aws("s3").head_object(**place)  # type: ignore[arg-type]
        return str(found.get("VersionId") or file["version_id"]), found["ETag"].strip('"')
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] not in {403, 404}:
            raise
    # Without the right to list, S3 says 403 of what is not there: is the version itself readable?
    try:
        aws("s3").head_object(**place, VersionId=file["version_id"])  # type: ignore[arg-type]
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] not in {403, 404}:
            raise
        # Gone for good, or no rights: asking for its first byte tells.
        return file["version_id"], ""
    return "", ""


def _withdraw(task: Task, what: str, name: str, *, is_replaced: bool) -> None:
    if what == "portrait" and task.origin == "files" and task.never_intended:
        # Intake sees what lies there now: another portrait, or none, for which the task waits.
        queues.look_at([str(task.audio["key"])] if task.audio.get("key") else [])
        why = "its portrait was replaced or deleted: the files are looked at anew"
        raise claims.ClaimDeferred(why, now() + timedelta(seconds=_LOOK_AGAIN_SECONDS))
    done = "replaced in" if is_replaced else "deleted from"
    cure = "the new one is a task of its own" if is_replaced else "drop the voice again to make it"
    if is_replaced and what == "portrait":
        cure = "drop the voice again to make it with the new one"
    message = f"{name} was {done} the inbox before the task was sent; nothing was paid: {cure}"
    logger.warning("withdrawn", reason=message)
    steps.cancel(task, code="WITHDRAWN", message=message)
