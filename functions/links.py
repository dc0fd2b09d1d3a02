"""Links to hand out: presigned media for a provider to fetch, and the callback URL."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypedDict
from urllib.parse import quote

from functions.settings import aws, get, options

_TASK_ID = re.compile(r"[0-9a-f]{32}")
_ATTEMPT = re.compile(r"[1-9][0-9]{0,3}")
_KID = re.compile(r"k[0-9]{1,4}")
_PROVIDER = re.compile(r"[a-z][a-z0-9_]{0,30}")
_WEEK_SECONDS = 7 * 24 * 3600


class LinkTooShort(Exception):
    """The signing credentials end before a provider would surely have fetched the media."""


@dataclass(frozen=True)
class CallbackRef:
    """A callback address of ours, opened: it was given to this attempt of this task alone
    it."""

    provider: str
    task_id: str
    attempt: int


def presign(
    bucket: str,
    key: str,
    version_id: str | None,
    *,
    seconds: int | None = None,
    save_as: str | None = None,
) -> str:
    """A URL by which a stranger may read exactly this version of this object, for
    `options().link_hours`; a browser saves it under the name `save_as`.

    A presigned URL dies with the credentials that signed it, whatever its own expiry says
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ShareObjectPreSignedURL.html), so these
    are looked at too. Raises LinkTooShort, and ValueError past the seven days that SigV4 allows.
    """
    lifetime = int(options().link_hours * 3600) if seconds is None else seconds
    if not 0 < lifetime <= _WEEK_SECONDS:
        raise ValueError(
            f"link_hours must lie between 0 and 168, not {lifetime / 3600:g}: SigV4 signs for a "
            "week"
        )
    s3 = aws("s3")
    left = _credential_seconds_left(s3)
    if left is not None and left < min(lifetime, 3600):
        raise LinkTooShort(
            f"the signing credentials end in {int(left)} s, before the provider would fetch the "
            "media"
        )
    target = _target(bucket, key, version_id, save_as)
    return s3.generate_presigned_url("get_object", Params=target, ExpiresIn=lifetime)


def _target(bucket: str, key: str, version_id: str | None, save_as: str | None) -> dict[str, str]:
    target = {"Bucket": bucket, "Key": key} | ({"VersionId": version_id} if version_id else {})
    if save_as:
        name = f"filename*=UTF-8''{quote(save_as, safe='')}"
        target["ResponseContentDisposition"] = f"attachment; {name}"
    return target


class UploadForm(TypedDict):
    """A browser form for one object: `fields` first, then the file."""

    url: str
    fields: dict[str, str]


def presign_post(
    bucket: str, key: str, content_type: str, *, length: int, seconds: int
) -> UploadForm:
    """A form by which exactly this key may be written once, with this type and at most this many
    bytes: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html"""
    form = aws("s3").generate_presigned_post(
        bucket,
        key,
        Fields={"Content-Type": content_type},
        Conditions=[{"Content-Type": content_type}, ["content-length-range", 1, length]],
        ExpiresIn=seconds,
    )
    return {"url": form["url"], "fields": form["fields"]}


def _credential_seconds_left(client: Any) -> float | None:
    """botocore keeps it to itself: https://github.com/boto/botocore/issues/2130"""
    credentials = client._request_signer._credentials
    ends_at: datetime | None = getattr(credentials, "_expiry_time", None)
    return None if ends_at is None else (ends_at - datetime.now(UTC)).total_seconds()


def callback_url(provider: str, task_id: str, attempt: int, keys: Mapping[str, object]) -> str:
    """The callback URL of one attempt: a MAC over exactly provider, task and attempt, and nothing
    to look up."""
    kid = str(keys["current"])
    mac = _mac(str(keys[kid]), provider, task_id, attempt)
    base = get().callback_base_url.rstrip("/")
    return f"{base}/callbacks/{provider}/{task_id}/{attempt}/{kid}.{mac}"


def verify_callback(
    path: Mapping[str, str] | None, keys: Mapping[str, object]
) -> CallbackRef | None:
    """Verify the MAC of a callback URL by its path parameters; None if it is not one of ours."""
    path = path or {}
    provider, task_id, attempt = (
        path.get("provider", ""),
        path.get("task_id", ""),
        path.get("attempt", ""),
    )
    kid, _, mac = path.get("signature", "").partition(".")
    well_formed = (
        _PROVIDER.fullmatch(provider) and _TASK_ID.fullmatch(task_id)
        and _ATTEMPT.fullmatch(attempt) and _KID.fullmatch(kid) and attempt.isascii()
    )  # fmt: skip
    # A key that is not ours is replaced and not skipped: a stranger's wrong key id costs us the
    # same work as a wrong MAC.
    secret = str(keys.get(kid) or keys[str(keys["current"])])
    expected = _mac(secret, provider, task_id, int(attempt) if well_formed else 0)
    genuine = hmac.compare_digest(expected.encode(), mac.encode("utf-8", "replace"))
    return (
        CallbackRef(provider, task_id, int(attempt))
        if well_formed and genuine and kid in keys
        else None
    )


def is_callback_url_of(url: str | None, provider: str, task_id: str, attempt: int) -> bool:
    """Is this the callback URL of this attempt? Asked of what a *provider* remembers, over our own
    connection."""
    return url is not None and f"/callbacks/{provider}/{task_id}/{attempt}/" in url


def task_of_callback_url(url: str) -> str:
    """The task that such a URL is of, whoever's it is; empty if it is none. As above: of what a
    provider remembers."""
    found = re.search(r"/callbacks/[a-z]+/([0-9a-f]{32})/", url)
    return found[1] if found else ""


def _mac(secret: str, provider: str, task_id: str, attempt: int) -> str:
    digest = hmac.new(
        secret.encode(), f"cb1|{provider}|{task_id}|{attempt}".encode(), hashlib.sha256
    ).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
