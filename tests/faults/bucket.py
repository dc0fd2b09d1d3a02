"""S3, in memory: versioned, strongly consistent, and served to strangers by presigned URLs."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.response import StreamingBody

from tests.faults.clockwork import Clock
from tests.faults.dynamo import Refused


@dataclass(frozen=True)
class Stored:
    key: str
    version_id: str
    body: bytes
    at: float

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'

    @property
    def modified_at(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    @property
    def checksum(self) -> str:
        return base64.b64encode(hashlib.sha256(self.body).digest()).decode()


class Buckets:
    """`on_object` hears of every new version: bucket and key."""

    def __init__(self, clock: Clock, on_object: Callable[[str, Stored], None]) -> None:
        self.clock = clock
        self.on_object = on_object
        self.versions: dict[str, dict[str, list[Stored | None]]] = {}  # None: a delete marker
        self._count = 0

    def latest(self, bucket: str, key: str) -> Stored | None:
        versions = self.versions.get(bucket, {}).get(key)
        return versions[-1] if versions else None

    def put(self, bucket: str, key: str, body: bytes) -> Stored:
        self._count += 1
        stored = Stored(key, f"v{self._count:06}", body, self.clock.now)
        self.versions.setdefault(bucket, {}).setdefault(key, []).append(stored)
        self.on_object(bucket, stored)
        return stored

    def find(self, bucket: str, key: str, version_id: str | None = None) -> Stored | None:
        if not version_id:
            return self.latest(bucket, key)
        for stored in self.versions.get(bucket, {}).get(key, []):
            if stored is not None and stored.version_id == version_id:
                return stored
        return None

    def put_object(
        self, Bucket: str, Key: str, Body: bytes = b"", IfNoneMatch: str = "", **_: Any
    ) -> dict[str, Any]:
        if IfNoneMatch == "*" and self.latest(Bucket, Key) is not None:
            raise Refused("PreconditionFailed", status=412)
        stored = self.put(Bucket, Key, Body)
        return {
            "ETag": stored.etag,
            "VersionId": stored.version_id,
            "ChecksumSHA256": stored.checksum,
        }

    def get_object(
        self, Bucket: str, Key: str, VersionId: str | None = None, Range: str = "", **_: Any
    ) -> dict[str, Any]:
        stored = self.find(Bucket, Key, VersionId)
        if stored is None:
            raise Refused("NoSuchKey", Key, status=404)
        body = stored.body
        if Range:
            first, last = Range.removeprefix("bytes=").split("-")
            body = body[int(first) : int(last) + 1]
        stream = StreamingBody(io.BytesIO(body), len(body))
        return {
            "Body": stream,
            "ContentLength": len(body),
            "ETag": stored.etag,
            "VersionId": stored.version_id,
        }

    def head_object(
        self, Bucket: str, Key: str, VersionId: str | None = None, **_: Any
    ) -> dict[str, Any]:
        stored = self.find(Bucket, Key, VersionId)
        if stored is None:
            raise Refused("404", "Not Found", status=404)
        return {
            "VersionId": stored.version_id, "ContentLength": len(stored.body), "ETag": stored.etag,
            "LastModified": stored.modified_at, "ChecksumSHA256": stored.checksum,
        }  # fmt: skip

    def put_object_tagging(self, Bucket: str, Key: str, Tagging: Any, **_: Any) -> dict[str, Any]:
        if self.latest(Bucket, Key) is None:
            raise Refused("NoSuchKey", Key, status=404)
        return {}

    def delete_object(self, Bucket: str, Key: str, **_: Any) -> dict[str, Any]:
        if self.latest(Bucket, Key) is not None:
            self.versions[Bucket][Key].append(None)
        return {}

    def remove(self, bucket: str, key: str, *, whole: bool) -> None:
        """Deleted by its owner: behind a delete marker, or in all its versions."""
        if whole:
            self.versions.get(bucket, {}).pop(key, None)
        else:
            self.delete_object(bucket, key)

    def list_objects_v2(
        self, Bucket: str, Prefix: str = "", Delimiter: str = "", StartAfter: str = "", **_: Any
    ) -> dict[str, Any]:
        found = []
        for key in sorted(self.versions.get(Bucket, {})):
            stored = self.latest(Bucket, key)
            if (
                stored is None
                or not key.startswith(Prefix)
                or key <= StartAfter
                or (Delimiter and Delimiter in key[len(Prefix) :])
            ):
                continue
            found.append(
                {
                    "Key": key,
                    "LastModified": stored.modified_at,
                    "ETag": stored.etag,
                    "Size": len(stored.body),
                }
            )
        return (
            {"Contents": found, "KeyCount": len(found), "IsTruncated": False}
            if found
            else {"IsTruncated": False}
        )

    def list_object_versions(self, Bucket: str, **_: Any) -> dict[str, Any]:
        found = [
            {
                "Key": key,
                "VersionId": one.version_id,
                "LastModified": one.modified_at,
                "IsLatest": one is versions[-1],
            }
            for key, versions in sorted(self.versions.get(Bucket, {}).items())
            for one in reversed(versions)
            if one is not None
        ]
        return {"Versions": found, "IsTruncated": False}

    def list_multipart_uploads(self, **_: Any) -> dict[str, Any]:
        return {"Uploads": [], "IsTruncated": False}
