"""What is sent: the request, with media as the provider takes them, each tried by ourselves before
anything is paid."""

from __future__ import annotations

from typing import cast

from botocore.exceptions import ClientError

from functions import TalkdropError, links, providers, secrets
from functions.providers import base
from functions.settings import aws, options
from functions.tasks.task import StoredFile, Task


class InputGone(TalkdropError):
    """Our own media cannot be read any more: the task fails, and nothing was sent."""


class LinkBroken(TalkdropError):
    """S3 does not serve our own link just now: the task comes again."""


def request_of(task: Task) -> base.Request:
    """What is sent, with media as this provider takes them, each tried by ourselves before anything
    is paid."""
    delivery = cast(
        base.Delivery,
        options().media_delivery.get(
            task.provider, providers.get(task.provider).media_deliveries[0]
        ),
    )
    url = links.callback_url(task.provider, task.task_id, task.attempt, secrets.callback_keys())
    return base.Request(
        external_id=task.external_id,
        model=task.model,
        portrait=_media(task.portrait, delivery, "drop the voice and its portrait again"),
        voice=_media(task.audio, delivery, "drop the voice again")
        if task.audio.get("key")
        else None,
        prompt=task.prompt,
        settings=task.settings,
        callback_url=url if options().callbacks else None,
    )


def _media(file: StoredFile, delivery: base.Delivery, cure: str) -> base.Media:
    name, kind = str(file["key"]).rsplit("/", 1)[-1], str(file.get("content_type", ""))
    if delivery in base.BY_LINK:
        url = links.presign(file["bucket"], file["key"], file.get("version_id"))
        _try_link(url, name, cure)
        return base.Media(name, kind, url=url, delivery=delivery)
    version = {"VersionId": file["version_id"]} if file.get("version_id") else {}
    try:
        body = aws("s3").get_object(Bucket=file["bucket"], Key=file["key"], **version)["Body"]  # type: ignore[arg-type]
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] not in {403, 404}:
            raise
        raise InputGone(f"{name} is no longer in the inbox: {cure}") from error
    return base.Media(name, kind, content=body.read(), delivery=delivery)


def _try_link(url: str, name: str, cure: str) -> None:
    """Ask for the first byte ourselves: a link that we cannot read, no provider can. A redirect is
    not followed, since a provider need not follow it; a body is not read."""
    first = {"Range": "bytes=0-0"}
    with secrets.wire().stream("GET", url, headers=first, timeout=10) as answer:
        status = answer.status_code
    if status in {403, 404}:
        raise InputGone(f"{name} cannot be read from the inbox any more ({status}): {cure}")
    if status not in {200, 206}:  # httpx's own error would quote the link, signature and all
        raise LinkBroken(f"S3 answered {status} for {name}")
