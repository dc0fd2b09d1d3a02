"""Callbacks: signed, sent in order, sent again when no answer comes; remembered until they are
through."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

from local.simulator.clock import Clock
from local.simulator.jobs import Book, Job
from local.simulator.media import trusted
from local.simulator.server import as_json

# kie: 15 s, stop after the third failed retry (documented for its siblings). How long it waits
# between: not documented.
TIMEOUT = httpx.Timeout(15.0)
RETRY_AFTER = (30.0, 60.0, 120.0)
SENDERS = 16


@dataclass(frozen=True)
class Letter:
    """A callback at the moment it is sent: what a signature is made from."""

    provider: str
    id: str
    body: dict[str, Any]
    content: bytes
    genuine: bool


Sign = Callable[[Letter], dict[str, str]]


class Post:
    """Each callback is a record from the moment it is decided on until it is delivered or given
    up."""

    def __init__(self, book: Book, clock: Clock, sign: Sign) -> None:
        self._book, self._clock, self._sign = book, clock, sign
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[dict[str, Any]]] = {}
        self._senders = ThreadPoolExecutor(SENDERS, thread_name_prefix="simulator-callbacks")
        self._client = httpx.Client(
            timeout=TIMEOUT, verify=trusted(), trust_env=False, follow_redirects=False
        )
        self._number = itertools.count(
            1 + max((int(notice["id"]) for notice in book.all("notice")), default=0)
        )

    def send(
        self, job: Job, body: dict[str, Any], due: float, *, genuine: bool = True, url: str = ""
    ) -> None:
        """Decide on a callback. It leaves at `due`, a simulator time."""
        with self._lock:
            number = f"{next(self._number):09d}"
        notice = {
            "id": number,
            "provider": job.provider,
            "job_id": job.id,
            "url": url or job.callback_url,
            "body": body,
            "due": due,
            "failures": 0,
            "genuine": genuine,
        }
        self._book.put("notice", number, notice)
        self._clock.at(due, lambda: self._line_up(notice))

    def resume(self) -> None:
        """After a restart: all that was decided on and did not get through."""
        for notice in self._book.all("notice"):
            self._clock.at(notice["due"], lambda notice=notice: self._line_up(notice))  # type: ignore[misc]

    def close(self) -> None:
        self._senders.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _line_up(self, notice: dict[str, Any]) -> None:
        """One callback of a job at a time, so that they arrive in order unless a fault says
        otherwise."""
        with self._lock:
            line = self._waiting.setdefault(notice["job_id"], deque())
            line.append(notice)
            if len(line) == 1:
                self._senders.submit(self._work_off, notice["job_id"])

    def _work_off(self, job_id: str) -> None:
        while True:
            with self._lock:
                notice = self._waiting[job_id][0]
            self._deliver(notice)
            with self._lock:
                self._waiting[job_id].popleft()
                if not self._waiting[job_id]:
                    del self._waiting[job_id]
                    return

    def _deliver(self, notice: dict[str, Any]) -> None:
        if self._post(notice):
            self._book.drop("notice", notice["id"])
            return
        notice["failures"] += 1
        if notice["failures"] > len(RETRY_AFTER):
            self._book.drop("notice", notice["id"])
            return
        notice["due"] = self._clock.now() + RETRY_AFTER[notice["failures"] - 1]
        self._book.put("notice", notice["id"], notice)
        self._clock.at(notice["due"], lambda: self._line_up(notice))

    def _post(self, notice: dict[str, Any]) -> bool:
        content = as_json(notice["body"])
        signed = self._sign(
            Letter(notice["provider"], notice["id"], notice["body"], content, notice["genuine"])
        )
        headers = {"Content-Type": "application/json"} | signed
        try:
            return self._client.post(notice["url"], content=content, headers=headers).is_success
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return False  # as the provider sees it: it was not taken; it is sent again


def kie_signature(key: str, task_id: str, timestamp: int) -> str:
    """X-Webhook-Signature. Not the body is signed, only the id and the time; the key is plain text.

    https://docs.kie.ai/common-api/webhook-verification
    """
    return base64.b64encode(
        hmac.digest(key.encode(), f"{task_id}.{timestamp}".encode(), hashlib.sha256)
    ).decode()


def standard_webhooks_signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """webhook-signature by one `whsec_…` secret. https://www.standardwebhooks.com"""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
