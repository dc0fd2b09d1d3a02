"""What the journey tests do to the embedded run and look for in it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.aws.cloud import KEY, REGION
from local.environment import Environment
from local.event_listener import Event

SAMPLES = Path(__file__).parents[2] / "local" / "samples"
PORTRAIT = (SAMPLES / "portrait.png").read_bytes()
VOICE = (SAMPLES / "voice.mp3").read_bytes()
VOICE_SECONDS = 7.3
PATIENCE_SECONDS = 90

# A task for each provider and way of asking: the file's stem, and its settings.
CASES: Mapping[str, Mapping[str, Any]] = {
    "kie-infinitalk": {
        "provider": "kie",
        "model": "infinitalk/from-audio",
        "resolution": "720p",
        "seed": 12345,
    },
    "kie-avatar": {"provider": "kie", "model": "kling/v1-avatar-standard", "prompt": "smiles"},
    "kling-std": {"provider": "kling", "mode": "std"},
    "kling-pro": {"provider": "kling", "mode": "pro"},
    "kling-text": {
        "provider": "kling",
        "text": "Good morning, and welcome to our show.",
        "voice_id": "genshin_vindi2",
    },
    "comet": {"provider": "comet"},
    "relay-pass-through": {"provider": "relay"},
}


@dataclass(frozen=True)
class Scene:
    """One embedded run, and what tests do to it."""

    environment: Environment

    def drop(self, key: str, content: bytes) -> dict[str, Any]:
        """Upload a file; answers the event that S3 sends of it, as EventBridge words it."""
        put = self.environment.cloud.client("s3").put_object(
            Bucket=self.environment.inbox, Key=key, Body=content
        )
        about = {
            "key": key,
            "size": len(content),
            "etag": put["ETag"].strip('"'),
            "version-id": put["VersionId"],
        }
        return {
            "version": "0",
            "source": "aws.s3",
            "detail-type": "Object Created",
            "detail": {
                "version": "0",
                "bucket": {"name": self.environment.inbox},
                "object": about,
                "reason": "PutObject",
            },
        }

    def drop_task(self, name: str, settings: Mapping[str, Any]) -> None:
        """The settings go first: the last file to come finds all there is."""
        if "text" not in settings:
            self.drop(f"all/{name}.json", json.dumps(dict(settings)).encode())
            self.drop(f"all/{name}.mp3", VOICE)
        self.drop(f"all/{name}.png", PORTRAIT)
        if "text" in settings:
            self.drop(f"all/{name}.json", json.dumps(dict(settings)).encode())

    def repeat(self, event: dict[str, Any]) -> None:
        """Send an event of S3 once more."""
        sqs = self.environment.cloud.client("sqs")
        sqs.send_message(
            QueueUrl=self.environment.stack.outputs["UploadsQueueUrl"],
            MessageBody=json.dumps(event),
        )

    def event(self, kind: str, voice_key: str) -> Event:
        """The event of this kind about the task of this voice, received already or to come."""
        return self.wait(
            lambda event: event["detail-type"] == kind and _voice_of(event) == voice_key
        )

    def event_of(self, kind: str, task_id: str) -> Event:
        return self.wait(
            lambda event: event["detail-type"] == kind and event["detail"]["task_id"] == task_id
        )

    def wait(self, wanted: Callable[[Event], bool]) -> Event:
        return self.environment.listener.until(wanted, PATIENCE_SECONDS)

    def completion_ids(self, voice_key: str) -> set[str]:
        """The distinct ids of the completion events about this voice."""
        while self.environment.listener.listen(seconds=1):
            pass
        done = [
            one
            for one in self.environment.listener.received
            if one["detail-type"] == "Task Completed"
        ]
        return {one["detail"]["event_id"] for one in done if _voice_of(one) == voice_key}

    def tasks_of(self, voice_key: str) -> list[dict[str, Any]]:
        """Every row of the table that is about this voice."""
        return [
            row for row in self.environment.tasks() if row.get("audio", {}).get("key") == voice_key
        ]

    def charges_of(self, voice_key: str) -> list[dict[str, Any]]:
        """Every line of the ledger about a task of this voice: known by its job, or by its
        callback URL."""
        assert self.environment.simulator is not None
        rows = self.tasks_of(voice_key)
        jobs = {row["job_id"] for row in rows if row.get("job_id")}
        return [
            line
            for line in self.environment.simulator.charges()
            if line["job_id"] in jobs or any(row["task_id"] in line["callback_url"] for row in rows)
        ]

    def archived(self, event: Event) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
        """The video of a completion event: its bytes, its manifest, and what S3 says of it."""
        video, s3 = event["detail"]["video"], self.environment.cloud.client("s3")
        got = s3.get_object(Bucket=video["bucket"], Key=video["key"], ChecksumMode="ENABLED")
        manifest = s3.get_object(Bucket=video["bucket"], Key=video["manifest_key"])
        return got["Body"].read(), json.load(manifest["Body"]), got

    def kill_lambda_processes(self) -> int:
        """As if every sandbox died at once, in the middle of whatever it did; answers how many
        there were."""
        found = self.environment.cloud.lambda_processes()
        for process in found:
            os.kill(process, signal.SIGKILL)
        return len(found)

    def post_task(
        self, body: dict[str, Any], *, key: str = "", signed: bool = True
    ) -> httpx.Response:
        """POST /tasks, signed with SigV4 as AWS wants it."""
        url = f"{self.environment.stack.outputs['ApiUrl']}/tasks"
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        content = json.dumps(body).encode()
        if signed:
            request = AWSRequest("POST", url, headers=headers, data=content)
            SigV4Auth(Credentials(KEY, KEY), "execute-api", REGION).add_auth(request)
            headers = dict(request.headers)
        return httpx.post(url, content=content, headers=headers, timeout=60)


def _voice_of(event: Event) -> str:
    return str((event["detail"].get("audio") or {}).get("key", ""))
