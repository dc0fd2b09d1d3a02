"""S3, in memory: versioned, strongly consistent, and served to strangers by presigned URLs."""

from __future__ import annotations

import base64
import bisect
import hashlib
import io
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
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
    composite: str = ""  # the checksum of one that was made of parts

    @cached_property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'

    @property
    def modified_at(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    @cached_property
    def checksum(self) -> str:
        return self.composite or checksum_of(self.body)


def checksum_of(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


@dataclass
class Upload:
    """An upload in parts that is open, its parts by their numbers."""

    bucket: str
    key: str
    at: float
    parts: dict[int, bytes] = field(default_factory=dict)


class Buckets:
    """`on_object` hears of every new version: bucket and key."""

    def __init__(self, clock: Clock, on_object: Callable[[str, Stored], None]) -> None:
        self.clock = clock
        self.on_object = on_object
        self.versions: dict[str, dict[str, list[Stored | None]]] = {}  # None: a delete marker
        self.uploads: dict[str, Upload] = {}
        self.joined: set[tuple[str, str]] = set()  # bucket and key of what is tagged so
        self._keys: dict[str, list[str]] = {}  # all that ever were, in their order
        self._count = 0

    def latest(self, bucket: str, key: str) -> Stored | None:
        versions = self.versions.get(bucket, {}).get(key)
        return versions[-1] if versions else None

    def put(self, bucket: str, key: str, body: bytes, composite: str = "") -> Stored:
        self._count += 1
        stored = Stored(key, f"v{self._count:06}", body, self.clock.now, composite)
        self.versions.setdefault(bucket, {}).setdefault(key, []).append(stored)
        keys = self._keys.setdefault(bucket, [])
        place = bisect.bisect_left(keys, key)
        if keys[place : place + 1] != [key]:
            keys.insert(place, key)
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
        if {"Key": "joined", "Value": "true"} in Tagging["TagSet"]:
            self.joined.add((Bucket, Key))
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
        keys = self._keys.get(Bucket, [])
        first = bisect.bisect_left(keys, Prefix)
        of_prefix = itertools.takewhile(
            lambda key: key.startswith(Prefix), itertools.islice(keys, first, None)
        )
        for key in of_prefix:
            stored = self.latest(Bucket, key)
            if (
                stored is None
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

    # Uploads in parts.

    def list_multipart_uploads(self, Bucket: str, Prefix: str = "", **_: Any) -> dict[str, Any]:
        found = [
            {
                "Key": one.key,
                "UploadId": upload_id,
                "Initiated": datetime.fromtimestamp(one.at, UTC),
            }
            for upload_id, one in self.uploads.items()
            if one.bucket == Bucket and one.key.startswith(Prefix)
        ]
        return {"Uploads": found, "IsTruncated": False}

    def create_multipart_upload(self, Bucket: str, Key: str, **_: Any) -> dict[str, Any]:
        self._count += 1
        self.uploads[f"u{self._count}"] = Upload(Bucket, Key, self.clock.now)
        return {"UploadId": f"u{self._count}"}

    def _upload(self, upload_id: str) -> Upload:
        if upload_id not in self.uploads:
            raise Refused("NoSuchUpload", upload_id, status=404)
        return self.uploads[upload_id]

    def upload_part(
        self, UploadId: str, PartNumber: int, Body: bytes, ChecksumSHA256: str = "", **_: Any
    ) -> dict[str, Any]:
        content = bytes(Body)
        if ChecksumSHA256 != checksum_of(content):
            raise Refused("BadDigest", UploadId)
        self._upload(UploadId).parts[PartNumber] = content
        return {"ETag": f'"p{PartNumber}"', "ChecksumSHA256": ChecksumSHA256}

    def list_parts(self, UploadId: str, **_: Any) -> dict[str, Any]:
        parts = [
            {
                "PartNumber": number,
                "Size": len(content),
                "ETag": f'"p{number}"',
                "ChecksumSHA256": checksum_of(content),
            }
            for number, content in sorted(self._upload(UploadId).parts.items())
        ]
        return {"Parts": parts, "IsTruncated": False}

    def complete_multipart_upload(
        self, UploadId: str, MultipartUpload: Any, IfNoneMatch: str, MpuObjectSize: int, **_: Any
    ) -> dict[str, Any]:
        one = self._upload(UploadId)
        parts = [one.parts[part["PartNumber"]] for part in MultipartUpload["Parts"]]
        checksums = [part["ChecksumSHA256"] for part in MultipartUpload["Parts"]]
        if sum(map(len, parts)) != MpuObjectSize or checksums != [checksum_of(p) for p in parts]:
            raise Refused("InvalidRequest", UploadId)
        if IfNoneMatch == "*" and self.latest(one.bucket, one.key) is not None:
            raise Refused("PreconditionFailed", status=412)
        del self.uploads[UploadId]
        digests = b"".join(hashlib.sha256(part).digest() for part in parts)
        composite = f"{checksum_of(digests)}-{len(parts)}"
        stored = self.put(one.bucket, one.key, b"".join(parts), composite)
        return {"ETag": stored.etag, "VersionId": stored.version_id}

    def abort_multipart_upload(self, UploadId: str, **_: Any) -> dict[str, Any]:
        self._upload(UploadId)
        del self.uploads[UploadId]
        return {}
