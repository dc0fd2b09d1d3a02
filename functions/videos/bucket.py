"""The archive bucket at its wire: an object appears there once, whole, and proved, or not at all.

botocore builds and signs the request and parses the answer; only sending the body is ours, since
botocore holds a part in memory or copies every 16 KiB. The bytes go out as they come in, the
SHA-256 follows them as a trailer, and S3 makes the object visible only if it agrees
(https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html).
"""

from __future__ import annotations

import base64
import http.client
import io
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import IO, TYPE_CHECKING, Any, TypedDict, Unpack, cast
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import get_cert_path

from functions.settings import aws, ca_bundle
from functions.videos.paths import ArchivePaths

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import GetObjectRequestTypeDef

# The answer to a PUT comes when S3 has stored it all.
ANSWER_SECONDS = 60.0
_MOST_ANSWER_BYTES = 1 << 20
# Without the right to list, S3 answers 403 for a key that is not there.
_MISSING = frozenset({"NoSuchKey", "404", "AccessDenied", "403"})

Send = Callable[[memoryview], None]


class ObjectHeaders(TypedDict, total=False):
    """What an object says of itself, for a reader who has nothing else of it."""

    ContentType: str
    Metadata: dict[str, str]
    Tagging: str


class ArchiveUnavailable(Exception):
    """S3 does not take it or does not answer: nothing was archived, try later."""


class AlreadyThere(Exception):
    """Another invocation was first: an object lies under this key."""


@dataclass(frozen=True)
class StoredObject:
    """An object that is there. `checksum` is S3's own SHA-256, base64; of an upload in parts, that
    of the parts'. `replication` is empty where nothing is replicated."""

    version_id: str
    etag: str
    bytes: int
    checksum: str
    stored_at: datetime
    replication: str


def put_stream(
    path: ArchivePaths, length: int, pour: Callable[[Send], bytes], **headers: Unpack[ObjectHeaders]
) -> None:
    """Create the object from `length` bytes that `pour` sends; it gives back their SHA-256, or
    raises and nothing was.

    Raises AlreadyThere, ArchiveUnavailable, and whatever `pour` raises.
    """
    sent: list[bool] = []

    def send_body(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        if sent:
            raise ArchiveUnavailable("S3 failed once, and the bytes are gone by")
        sent.append(True)
        return _send(request, length, pour)

    with (
        _hooked("before-call.s3.PutObject", _trail),
        _hooked("before-send.s3.PutObject", cast(Callable[..., None], send_body)),
        refusals(),
    ):
        aws("s3").put_object(
            Bucket=path.bucket,
            Key=path.key,
            Body=cast(IO[bytes], _Body(length)),
            IfNoneMatch="*",
            ChecksumAlgorithm="SHA256",
            **headers,
        )


def put_small(bucket: str, key: str, content: bytes, content_type: str) -> None:
    """Create a small object. Raises AlreadyThere or ArchiveUnavailable."""
    with refusals():
        aws("s3").put_object(
            Bucket=bucket,
            Key=key,
            Body=content,
            IfNoneMatch="*",
            ChecksumAlgorithm="SHA256",
            ContentType=content_type,
        )


def get_small(bucket: str, key: str) -> bytes | None:
    """A small object, None if there is none."""
    try:
        with refusals():
            return aws("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    except ArchiveUnavailable as error:
        if is_missing(error):
            return None
        raise


def tag(bucket: str, key: str, tags: Mapping[str, str]) -> None:
    """Give the object these tags, and no others."""
    given = [{"Key": name, "Value": value} for name, value in tags.items()]
    with refusals():
        aws("s3").put_object_tagging(Bucket=bucket, Key=key, Tagging={"TagSet": given})  # type: ignore[typeddict-item]


def find(path: ArchivePaths) -> StoredObject | None:
    """The object, None if there is none."""
    try:
        return look(path)
    except ArchiveUnavailable as error:
        if is_missing(error):
            return None
        raise


def look(path: ArchivePaths) -> StoredObject:
    with refusals():
        head = aws("s3").head_object(Bucket=path.bucket, Key=path.key, ChecksumMode="ENABLED")
    return StoredObject(
        version_id=head.get("VersionId", ""),
        etag=head["ETag"],
        bytes=head["ContentLength"],
        checksum=head.get("ChecksumSHA256", ""),
        stored_at=head["LastModified"],
        replication=str(head.get("ReplicationStatus", "")),
    )


def read_back(path: ArchivePaths, version_id: str) -> Iterator[bytes]:
    """The archived bytes themselves."""
    wanted: GetObjectRequestTypeDef = {"Bucket": path.bucket, "Key": path.key}
    if version_id:
        wanted["VersionId"] = version_id
    with refusals():
        yield from aws("s3").get_object(**wanted)["Body"].iter_chunks(1 << 18)


@contextmanager
def refusals() -> Iterator[None]:
    """S3's errors as AlreadyThere or ArchiveUnavailable."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in ("PreconditionFailed", "412"):
            raise AlreadyThere(f"{error.operation_name}: an object lies there") from error
        raise ArchiveUnavailable(f"S3 answered {error.operation_name} with {code}") from error
    except BotoCoreError as error:
        raise ArchiveUnavailable(f"S3 could not be reached: {error}") from error


def is_missing(error: ArchiveUnavailable) -> bool:
    """There is no such object, rather than no answer."""
    return s3_code_of(error) in _MISSING


def s3_code_of(error: Exception) -> str:
    cause = error.__cause__
    return str(cause.response["Error"]["Code"]) if isinstance(cause, ClientError) else ""


@contextmanager
def _hooked(event: str, act: Callable[..., None]) -> Iterator[None]:
    events = aws("s3").meta.events
    events.register(event, act)
    try:
        yield
    finally:
        events.unregister(event, act)


def _trail(params: dict[str, Any], **_: object) -> None:
    """The checksum follows the body even over plain http, where botocore would read the body twice
    to sign it."""
    params["context"]["checksum"]["request_algorithm"]["in"] = "trailer"


class _Body:
    """A placeholder until the request is signed: it has a length, and is never read."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __bool__(self) -> bool:
        return True

    def read(self, _: int = -1) -> bytes:
        raise AssertionError("the body is sent by _send")


class _Broken(Exception):
    """S3 closed the connection."""


def _send(request: AWSPreparedRequest, length: int, pour: Callable[[Send], bytes]) -> AWSResponse:
    """Send the signed request with the body that `pour` gives. It goes out as one aws-chunk, as
    AWS's Go SDK does."""
    connection = _connection(request.url)
    before, after = f"{length:x}\r\n".encode() if length else b"", b"\r\n" if length else b""
    trailer_bytes = len(f"0\r\nx-amz-checksum-sha256:{'=' * 44}\r\n\r\n")
    try:
        with _connected():
            _start(connection, request, len(before) + length + len(after) + trailer_bytes)
            connection.send(before)

        def send(view: memoryview) -> None:
            with _connected():
                connection.send(view)

        digest = base64.b64encode(pour(send))
        with _connected():
            connection.send(after + b"0\r\nx-amz-checksum-sha256:" + digest + b"\r\n\r\n")
        return _answer(connection, request.url)
    except _Broken as broken:
        if connection.sock is None:
            raise ArchiveUnavailable("S3 could not be reached") from broken
        try:
            return _answer(connection, request.url)  # S3 may say why before it closes
        except (OSError, http.client.HTTPException):
            raise ArchiveUnavailable("S3 broke off") from broken
    except (OSError, http.client.HTTPException) as error:
        raise ArchiveUnavailable(f"S3 did not answer: {type(error).__name__}") from error
    finally:
        connection.close()  # before the last byte, this aborts the PUT: S3 stores nothing


def _start(
    connection: http.client.HTTPConnection, request: AWSPreparedRequest, length: int
) -> None:
    parts = urlsplit(request.url)
    connection.putrequest(
        request.method,
        f"{parts.path}?{parts.query}" if parts.query else parts.path,
        skip_accept_encoding=True,
    )
    for name, value in request.headers.items():
        if name.lower() not in ("transfer-encoding", "expect", "content-length"):
            connection.putheader(name, value if isinstance(value, bytes) else str(value))
    connection.putheader("Content-Length", str(length))
    connection.endheaders()


def _answer(connection: http.client.HTTPConnection, url: str) -> AWSResponse:
    response = connection.getresponse()
    return AWSResponse(
        url,
        response.status,
        cast(HTTPHeaders, dict(response.headers)),
        _Raw(response.read(_MOST_ANSWER_BYTES)),
    )


class _Raw(io.BytesIO):
    """The body of an answer as botocore wants to read it."""

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


@contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _Broken from error


def _connection(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme == "http":  # an emulator: AWS's endpoints are https
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS)
    return http.client.HTTPSConnection(
        parts.hostname or "", parts.port, timeout=ANSWER_SECONDS, context=_tls()
    )


@cache
def _tls() -> ssl.SSLContext:
    """The certificates that botocore trusts."""
    return ssl.create_default_context(cafile=ca_bundle() or get_cert_path(True))
