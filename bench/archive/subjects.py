"""What is measured: each subject brings one film from the source to the sink, in a process of its
own.

`python -m bench.archive.subjects NAME URL` prints what it cost as JSON. The source's name leads to
this machine, the bench's own certificate authority is trusted; everything else is as it is in a
Lambda.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import socket
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

BUCKET, KEY = "bench", "video.mp4"


def archive_function(_url: str) -> None:
    from functions.handlers import archive

    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 900_000

    answer = archive.handler({"task_id": "bench", "attempt": 1}, Context())  # type: ignore[arg-type]
    assert answer["next"] == "settle", answer


def httpx_and_put_object(url: str) -> None:
    import httpx

    content = httpx.get(url, timeout=600).content
    _s3().put_object(Bucket=BUCKET, Key=KEY, Body=content, ChecksumAlgorithm="SHA256")


def upload_fileobj(url: str) -> None:
    import urllib.request

    with urllib.request.urlopen(url) as response:
        client = _s3_of_boto3()
        client.upload_fileobj(response, BUCKET, KEY, ExtraArgs={"ChecksumAlgorithm": "SHA256"})


def download_by_fetch(url: str) -> None:
    from functions.download import download

    buffer = memoryview(bytearray(256 << 10))
    with download.open_url(url, max_bytes=1 << 40, deadline_seconds=800) as film:
        while film.readinto(buffer):
            pass


def download_by_httpx(url: str) -> None:
    import httpx

    with httpx.stream("GET", url, timeout=600) as response:
        for _ in response.iter_raw():
            pass


def download_by_http_client(url: str) -> None:
    import urllib.request

    buffer = memoryview(bytearray(256 << 10))
    with urllib.request.urlopen(url) as response:
        while response.readinto(buffer):
            pass


def checksum_in_memory(url: str) -> None:
    block, digest = bytes(256 << 10), hashlib.sha256()
    for _ in range(int(url.rsplit("/", 1)[1].partition(".")[0]) // len(block)):
        digest.update(block)


SUBJECTS = {
    "archive": archive_function,
    "put_object": httpx_and_put_object,
    "upload_fileobj": upload_fileobj,
    "fetch": download_by_fetch,
    "httpx": download_by_httpx,
    "http.client": download_by_http_client,
    "checksum": checksum_in_memory,
}


def _s3() -> Any:
    from functions.settings import aws

    return aws("s3")


@cache
def _s3_of_boto3() -> Any:
    """With the same settings: the bundle has botocore alone, which uploads no streams in parts."""
    import boto3

    from functions.settings import aws, ca_bundle

    return boto3.client("s3", config=aws("s3").meta.config, verify=ca_bundle())


def warm(name: str) -> None:
    """What a Lambda's sandbox has done before its second task: imports, clients, certificates."""
    if name == "upload_fileobj":
        _s3_of_boto3()
    if name in ("archive", "put_object"):
        from functions.settings import aws

        aws("s3")
    if name == "archive":
        from functions.download import connection
        from functions.handlers import archive
        from functions.settings import aws
        from functions.videos import bucket

        assert archive
        aws("dynamodb")
        bucket._tls()
        connection._tls()
    if name == "fetch":
        from functions.download import download

        assert download
    if name in ("http.client", "upload_fileobj"):
        import urllib.request

        assert urllib.request
    if name in ("put_object", "httpx"):
        import httpx

        httpx.create_ssl_context()


def lead_home(name: str, port: int) -> None:
    resolve, dial = socket.getaddrinfo, socket.socket.connect

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != name:
            return resolve(host, *args, **kwargs)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443))]

    def connect(self: socket.socket, address: Any) -> None:
        dial(self, ("127.0.0.1", port) if address[0] == "93.184.216.34" else address)

    socket.getaddrinfo = getaddrinfo
    socket.socket.connect = connect  # type: ignore[assignment, method-assign]


def peak_mb() -> float:
    """Of this program alone: getrusage's figure would begin with the parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1e3


def main() -> None:
    name, url = sys.argv[1:]
    lead_home("video.example.com", int(os.environ["BENCH_SOURCE_PORT"]))
    warm(name)
    base, before, began = peak_mb(), resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    SUBJECTS[name](url)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"wall": wall, "cpu": cpu, "base_mb": base, "peak_mb": peak_mb()}))


if __name__ == "__main__":
    main()
