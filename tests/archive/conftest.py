"""The archive's environment: an emulated S3 and DynamoDB, and a simulated internet around it."""

from __future__ import annotations

import gc
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from functions import settings
from functions.download import connection
from functions.handlers import archive
from functions.tasks import attributes
from local.aws import cloud
from tests.archive.internet import Authority, Internet, simulate


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def _old_objects_set_aside() -> Iterator[None]:
    """What other tests of this process left is collected once and looked at no more: to walk
    through it before each test of a module took most of the module's processor time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def flat_memory(_old_objects_set_aside: None) -> Iterator[None]:
    """This process grows by no more than 80 MB, whatever earlier tests needed: the kernel's mark is
    set back. 64 MB were passed by 92 KB once, in a worker of 563 MB: it is shared with other
    tests, and what they left is not all quiet."""
    mark, process = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if not mark.exists():
        pytest.skip("only Linux tells the peak of a while")
    gc.collect()
    mark.write_text("5")
    before = _peak_kb(process)
    yield
    assert _peak_kb(process) - before <= 80 << 10


def _peak_kb(process: Path) -> int:
    return int(process.read_text().split("VmHWM:")[1].split()[0])


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> Iterator[Internet]:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    connection._tls.cache_clear()
    yield from simulate(monkeypatch, authority)
    connection._tls.cache_clear()


@pytest.fixture(scope="package")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cloud.Cloud]:
    running = cloud.start(tmp_path_factory.mktemp("cloud") / "state")
    settings.forget()
    running.client("dynamodb").create_table(
        TableName="tasks",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield running
    running.stop()
    settings.forget()


@pytest.fixture(scope="package")
def s3(emulator: cloud.Cloud) -> Any:
    return emulator.client("s3")


@dataclass
class Context:
    """What Lambda gives a handler, as far as it is looked at."""

    seconds: float = 900.0

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


@dataclass
class Vault:
    """An empty archive and a table with one task in it; `run` is the handler's door."""

    s3: Any
    bucket: str
    task: dict[str, Any] = field(default_factory=dict)

    def open_task(self, url: str, **facts: Any) -> None:
        self.task = {
            "pk": f"task#{facts.get('task_id', self.bucket)}",
            "task_id": self.bucket,
            "status": "ARCHIVING",
            "attempt": 1,
            "created_at": "2026-11-21T05:00:00.000Z",
            "provider": "kie",
            "model": "kling/ai-avatar-standard",
            "job_id": "281e5b0f39b9",
            "stem": "hello",
            "prompt": "Speak calmly.",
            "settings": {"mode": "std"},
            "portrait": {"bucket": "inbox", "key": "hello.png", "version_id": "p1", "etag": "aa"},
            "audio": {
                "bucket": "inbox",
                "key": "hello.mp3",
                "version_id": "a1",
                "etag": "bb",
                "seconds": 11.52,
            },
            "video_url": url,
            **facts,
        }
        item = {name: attributes.typed(value) for name, value in self.task.items()}
        settings.aws("dynamodb").put_item(TableName="tasks", Item=item)

    def run(self, *, seconds: float = 900.0, attempt: int = 1) -> dict[str, Any]:
        event = {"task_id": self.task["task_id"], "attempt": attempt}
        answer = archive.handler(event, Context(seconds))  # type: ignore[arg-type]
        return dict(answer)

    def keys(self) -> list[str]:
        return [
            entry["Key"]
            for entry in self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        ]

    def versions(self) -> int:
        return len(self.s3.list_object_versions(Bucket=self.bucket).get("Versions", []))

    def uploads(self) -> int:
        return len(self.s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []))

    def read(self, key: str) -> bytes:
        content: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return content


@pytest.fixture
def vault(
    emulator: cloud.Cloud, s3: Any, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> Vault:
    address = urlsplit(emulator.url)
    internet.house.add((address.hostname or "", address.port or 0))
    name = uuid.uuid4().hex
    for variable, value in {
        "AWS_ENDPOINT_URL": emulator.url,
        "AWS_ACCESS_KEY_ID": cloud.KEY,
        "AWS_SECRET_ACCESS_KEY": cloud.KEY,
        "AWS_REGION": cloud.REGION,
        "AWS_DEFAULT_REGION": cloud.REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "TALKDROP_TABLE": "tasks",
        "TALKDROP_ARCHIVE": name,
    }.items():
        monkeypatch.setenv(variable, value)
    settings.get.cache_clear()  # the clients stay: all tests here speak to the same emulator
    vault = Vault(s3, name)
    vault.s3.create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": cloud.REGION}
    )
    vault.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return vault
