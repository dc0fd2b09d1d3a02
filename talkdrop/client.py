"""A client of the tasks API: submit, wait, download. Synchronous, typed, and safe to repeat.

from talkdrop import Client

client = Client.of_stack()
task = client.submit("ada.png", "hello.mp3", folder="episode-12", max_usd=1)
client.download(client.wait(task["task_id"]), "out/")
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

import httpx
from botocore.credentials import Credentials

from functions.api.health import Health
from functions.api.offers import Models, QuoteView, UploadView
from functions.api.views import TaskPage, TaskView
from functions.tasks.task import Status, id_of
from talkdrop import files, stack
from talkdrop.wire import ApiError, Unreachable, Wire

RESTING = frozenset(
    {Status.COMPLETED, Status.FAILED, Status.HELD, Status.EXPIRED, Status.CANCELLED}
)
_ID = re.compile(r"[0-9a-f]{4,32}")
_CHUNK_BYTES = 1 << 20

Progress = Callable[[int, int], None]  # bytes so far, bytes in all


class Damaged(Exception):
    """The downloaded video is not the archived one."""


class Client:
    """Speaks to one Talkdrop. Requests are signed with SigV4, or carry `token` where the stack has
    a JWT authorizer. `http` replaces the wire in tests."""

    def __init__(
        self,
        api_url: str,
        *,
        region: str | None = None,
        credentials: Credentials | None = None,
        token: str = "",
        http: httpx.Client | None = None,
    ) -> None:
        self.api_url = api_url.rstrip("/")
        self._http = http or httpx.Client(timeout=httpx.Timeout(60, connect=10))
        self._wire = Wire(
            self.api_url, self._http, region=region, credentials=credentials, token=token
        )

    @classmethod
    def of_stack(cls, name: str = stack.DEFAULT) -> Self:
        """The client of a deployed stack, or of the embedded run that is up. With TALKDROP_TOKEN
        and TALKDROP_API it needs no AWS credentials. Raises `stack.NoStack`."""
        token, api_url = os.environ.get("TALKDROP_TOKEN", ""), os.environ.get("TALKDROP_API", "")
        if token and api_url:
            return cls(api_url, token=token)
        found = stack.connect(name)
        return cls(found.outputs["ApiUrl"], region=found.region, token=token)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What there is.

    def models(self) -> Models:
        found: Models = self._wire.call("GET", "/models")
        return found

    def health(self) -> Health:
        found: Health = self._wire.call("GET", "/health")
        return found

    def quote(self, **request: Any) -> QuoteView:
        """`audio_seconds` or keys of the inbox; provider, model and settings as for a task."""
        found: QuoteView = self._wire.call("POST", "/quote", body=request)
        return found

    def task(self, name: str) -> TaskView:
        """By id, by a unique beginning of it, or by its voice's key in the inbox."""
        found: TaskView = self._wire.call("GET", self._path(name))
        return found

    def _path(self, name: str) -> str:
        """A key is looked up first: in a path its slashes would not survive every gateway."""
        if not _ID.fullmatch(name):
            tasks = self.page(key=name)["tasks"]
            if not tasks:
                raise ApiError(404, f"there is no task {name!r}: talkdrop list shows them", [])
            name = tasks[0]["task_id"]
        return f"/tasks/{name}"

    def page(self, **filters: str | int | None) -> TaskPage:
        wanted = {name: str(value) for name, value in filters.items() if value not in (None, "")}
        found: TaskPage = self._wire.call("GET", "/tasks", query=wanted)
        return found

    def tasks(self, **filters: str | int | None) -> Iterator[TaskView]:
        """All tasks that match, newest first: status, since, until, prefix, provider, q."""
        cursor: str | None = ""
        while cursor is not None:
            page = self.page(**{"limit": 200, **filters, "cursor": cursor})
            yield from page["tasks"]
            cursor = page["cursor"]

    # What is done.

    def submit(
        self,
        face: str | Path,
        voice: str | Path | None,
        *,
        folder: str = "",
        prompt: str = "",
        provider: str | None = None,
        model: str | None = None,
        settings: Mapping[str, Any] | None = None,
        max_usd: float | Decimal | None = None,
        consent: Mapping[str, Any] | None = None,
        long_voice: str | None = None,
        reuse: bool | None = None,
        idempotency_key: str = "",
        progress: Progress | None = None,
    ) -> TaskView:
        """Upload both and open their task. The same files, folder and settings are the same task,
        however often this is called and wherever it was interrupted; `idempotency_key` replaces
        that rule."""
        request: dict[str, Any] = {
            "prompt": prompt, "provider": provider, "model": model,
            "settings": dict(settings or {}),
        }  # fmt: skip
        if max_usd is not None:
            request["max_usd"] = float(max_usd)
        if consent is not None:
            request["consent"] = dict(consent)
        if long_voice is not None:
            request["long_voice"] = long_voice
        if reuse is not None:
            request["reuse"] = reuse
        media = {"portrait": Path(face)} | ({"audio": Path(voice)} if voice else {})
        key = idempotency_key or submission_key(folder, media, request)
        request |= {name: files.upload_key(folder, path.name) for name, path in media.items()}
        if not self.is_open(key):
            for path in media.values():
                self.upload(path, folder, progress)
        opened: TaskView = self._wire.call(
            "POST", "/tasks", body=request, headers={"Idempotency-Key": key}
        )
        return opened

    def is_open(self, idempotency_key: str) -> bool:
        """Was a task opened with this key before? Then its files need not be sent again."""
        try:
            self.task(id_of("api", idempotency_key))
        except ApiError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise
            return False
        return True

    def upload(self, path: Path, folder: str = "", progress: Progress | None = None) -> str:
        """Put a file into the inbox; answers its key. It makes no task by itself."""
        size = path.stat().st_size
        body = {
            "name": path.name,
            "folder": folder,
            "content_type": files.content_type(path),
            "bytes": size,
        }
        form: UploadView = self._wire.call("POST", "/uploads", body=body)
        with path.open("rb") as content:
            counted = files.Counted(content, size, progress)
            try:
                answer = self._http.post(
                    form["url"],
                    data=form["fields"],
                    files={"file": (path.name, cast(BinaryIO, counted))},
                )
            except httpx.TransportError as error:
                raise Unreachable(
                    f"{path} could not be uploaded ({error}): run it again"
                ) from error
        if answer.is_error:
            raise ApiError(answer.status_code, f"S3 refused {path}: {answer.text[:300]}", [])
        return form["key"]

    def wait(
        self, name: str, *, timeout_seconds: float = 3600, poll_seconds: float = 3
    ) -> TaskView:
        """The task when it needs no more waiting: completed, failed, held, expired, cancelled.
        Raises TimeoutError."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            task = self.task(name)
            if task["status"] in RESTING:
                return task
            if time.monotonic() >= deadline:
                raise TimeoutError(f"task {name} is still {task['status']}")
            time.sleep(poll_seconds)

    def download(self, task: TaskView, to: str | Path, *, progress: Progress | None = None) -> Path:
        """The video to the directory `to`, checked against the archive's sha256; one that is there
        already is left. Raises Damaged, Unreachable, ApiError."""
        if not task["video"]:
            raise ApiError(404, f"task {task['task_id']} is {task['status']} and has no video", [])
        target = Path(to) / f"{task['stem']}.mp4"
        wanted = task["video"]["sha256"]
        if target.exists() and files.sha256(target) == wanted:
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            found = self._stream(self.link(task["task_id"], "video"), part, progress)
            if found != wanted:
                raise Damaged(f"{target} has the sha256 {found}, the archive's is {wanted}")
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def link(self, name: str, what: str) -> str:
        """A presigned link to the task's video, portrait, voice or manifest: a quarter of an
        hour."""
        answer = self._wire.send("GET", f"{self._path(name)}/{what}", {}, b"", {})
        return str(answer.headers["location"])

    def cancel(self, name: str, why: str = "cancelled by its owner") -> str:
        return self._decide(name, "cancel", {"why": why})

    def cancel_folder(self, prefix: str, why: str = "cancelled by its owner") -> dict[str, Any]:
        """Every task below `prefix` that was not sent yet."""
        cancelled: list[str] = []
        refused: list[dict[str, str]] = []
        cursor: str | None = ""
        while cursor is not None:
            body = {"prefix": prefix, "why": why, "cursor": cursor}
            page = self._wire.call("POST", "/cancel", body=body)
            cancelled += page["cancelled"]
            refused += page["refused"]
            cursor = page["cursor"]
        return {"cancelled": cancelled, "refused": refused}

    def adopt(self, name: str, job_id: str, why: str) -> str:
        return self._decide(name, "adopt", {"job_id": job_id, "why": why})

    def resubmit(self, name: str, why: str, *, i_accept_a_second_charge: bool = False) -> str:
        accepts = {"i_accept_a_second_charge": i_accept_a_second_charge}
        return self._decide(name, "resubmit", {"why": why, **accepts})

    def fail(self, name: str, why: str) -> str:
        return self._decide(name, "fail", {"why": why})

    # The wire.

    def _decide(self, name: str, what: str, body: Mapping[str, Any]) -> str:
        path = f"{self._path(name)}/{what}"
        return str(self._wire.call("POST", path, body=body)["result"])

    def _stream(self, url: str, to: Path, progress: Progress | None) -> str:
        """The file behind a presigned link; answers its sha256."""
        digest = hashlib.sha256()
        try:
            with self._http.stream("GET", url) as answer, to.open("wb") as file:
                if answer.is_error:
                    answer.read()
                    raise ApiError(answer.status_code, f"S3 refused: {answer.text[:300]}", [])
                total = int(answer.headers.get("content-length", 0))
                for piece in answer.iter_bytes(_CHUNK_BYTES):
                    digest.update(piece)
                    file.write(piece)
                    if progress:
                        progress(file.tell(), total)
        except httpx.TransportError as error:
            raise Unreachable(f"the download broke off ({error}): run it again") from error
        return digest.hexdigest()


def submission_key(folder: str, media: Mapping[str, Path], request: Mapping[str, Any]) -> str:
    """One key for the same contents, names, folder and settings: what is run again after any
    interruption finds its task."""
    facts = {name: (path.name, files.sha256(path)) for name, path in media.items()}
    text = json.dumps([folder, facts, dict(request)], sort_keys=True, default=str)
    return f"submit-{hashlib.sha256(text.encode()).hexdigest()}"
