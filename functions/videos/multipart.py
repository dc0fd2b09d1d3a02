"""An upload in parts: for a video whose length is not known, or that does not fit into one request
or one invocation.

Nothing about it is remembered on our side: its key is the task's, and S3 knows which parts it has.
An upload that is never completed is ended by the bucket's lifecycle rule.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict, Unpack, cast

from functions.settings import aws
from functions.videos.bucket import (
    AlreadyThere,
    ArchiveUnavailable,
    ObjectHeaders,
    refusals,
    s3_code_of,
)
from functions.videos.paths import ArchivePaths

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES = 8 << 20  # all that is ever held in memory; 10,000 of them are 80 GB


class _UploadNames(TypedDict):
    Bucket: str
    Key: str
    UploadId: str


@dataclass(frozen=True)
class Part:
    number: int
    bytes: int
    etag: str
    checksum: str


@dataclass
class Upload:
    """An upload that S3 has open."""

    path: ArchivePaths
    upload_id: str
    parts: list[Part] = field(default_factory=list)

    @property
    def total_bytes(self) -> int:
        return sum(part.bytes for part in self.parts)

    def add(self, content: bytes | bytearray) -> None:
        """The next part. Every part but the last has PART_BYTES, so that where a part begins need
        not be kept."""
        number, checksum = len(self.parts) + 1, checksum_of(content)
        with refusals():
            answer = aws("s3").upload_part(
                **self._names(),
                PartNumber=number,
                Body=cast(bytes, content),
                ChecksumSHA256=checksum,
            )
        if answer.get("ChecksumSHA256", checksum) != checksum:
            raise ArchiveUnavailable(f"S3 stored another part {number} than it was sent")
        self.parts.append(Part(number, len(content), answer["ETag"], checksum))

    def complete(self) -> None:
        """Make the object of its parts. Raises AlreadyThere, and the parts are gone, if another
        invocation was first."""
        parts: list[CompletedPartTypeDef] = [
            {"PartNumber": p.number, "ETag": p.etag, "ChecksumSHA256": p.checksum}
            for p in self.parts
        ]
        try:
            with refusals():
                aws("s3").complete_multipart_upload(
                    **self._names(),
                    MultipartUpload={"Parts": parts},
                    IfNoneMatch="*",
                    MpuObjectSize=self.total_bytes,
                )
        except AlreadyThere:
            self.abort()
            raise

    def abort(self) -> None:
        """End it. One that is gone already is fine: a completion whose answer was lost did it."""
        try:
            with refusals():
                aws("s3").abort_multipart_upload(**self._names())
        except ArchiveUnavailable as error:
            if s3_code_of(error) != "NoSuchUpload":
                raise

    def _names(self) -> _UploadNames:
        return {"Bucket": self.path.bucket, "Key": self.path.key, "UploadId": self.upload_id}


def checksum_of(content: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def checksum_of_parts(parts: list[Part]) -> str:
    """S3's checksum of an object made of these parts: the SHA-256 of their SHA-256s, and how many
    they were."""
    return _composite([base64.b64decode(part.checksum) for part in parts])


def _composite(digests: list[bytes]) -> str:
    return f"{checksum_of(b''.join(digests))}-{len(digests)}"


class Reading:
    """Bytes that are read back, compared with S3's checksum: that of the whole, or of its parts."""

    def __init__(self, checksum: str) -> None:
        self.sha256 = hashlib.sha256()
        self.bytes = 0
        self._stored = checksum
        self._is_in_parts = "-" in checksum
        self._part = hashlib.sha256()
        self._digests: list[bytes] = []

    def update(self, piece: bytes) -> None:
        self.sha256.update(piece)
        view = memoryview(piece)
        while view and self._is_in_parts:
            room = PART_BYTES - self.bytes % PART_BYTES
            self._part.update(view[:room])
            self.bytes += len(view[:room])
            view = view[room:]
            if self.bytes % PART_BYTES == 0:
                self._end_part()
        self.bytes += len(view)

    def agrees(self) -> bool:
        """True also where S3 keeps no checksum, or where the parts were of another size."""
        if self._is_in_parts and self.bytes % PART_BYTES:
            self._end_part()
        of_other_parts = not self._stored.endswith(f"-{len(self._digests)}")
        if not self._stored or (self._is_in_parts and of_other_parts):
            return True
        computed = (
            _composite(self._digests)
            if self._is_in_parts
            else base64.b64encode(self.sha256.digest()).decode()
        )
        return computed == self._stored

    def _end_part(self) -> None:
        self._digests.append(self._part.digest())
        self._part = hashlib.sha256()


def start(path: ArchivePaths, **headers: Unpack[ObjectHeaders]) -> Upload:
    with refusals():
        answer = aws("s3").create_multipart_upload(
            Bucket=path.bucket,
            Key=path.key,
            ChecksumAlgorithm="SHA256",
            ChecksumType="COMPOSITE",
            **headers,
        )
    return Upload(path, answer["UploadId"])


def find(path: ArchivePaths) -> Upload | None:
    """The upload that an earlier invocation left open for this video, with the parts that can be
    gone on from."""
    with refusals():
        listed = aws("s3").list_multipart_uploads(Bucket=path.bucket, Prefix=path.key)
    ours = [entry for entry in listed.get("Uploads", []) if entry["Key"] == path.key]
    if not ours:
        return None
    newest = max(ours, key=lambda entry: entry["Initiated"])
    upload = Upload(path, newest["UploadId"])
    with refusals():
        for page in aws("s3").get_paginator("list_parts").paginate(**upload._names()):
            for part in page.get("Parts", []):
                if part["PartNumber"] != len(upload.parts) + 1 or part["Size"] != PART_BYTES:
                    return upload
                upload.parts.append(
                    Part(
                        part["PartNumber"],
                        part["Size"],
                        part["ETag"],
                        part.get("ChecksumSHA256", ""),
                    )
                )
    return upload
