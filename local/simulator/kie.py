"""kie.ai's job API: infinitalk and the Kling avatars behind one createTask and one recordInfo.

https://docs.kie.ai · its pages of both models · recorded traffic, where it differs from the
documentation.
"""

from __future__ import annotations

import hmac
import math
import secrets
import threading
import time
from collections import deque
from typing import Any, NoReturn

from local.simulator.callbacks import Letter, kie_signature
from local.simulator.contract import RefusalError
from local.simulator.engine import Engine
from local.simulator.faults import Subject
from local.simulator.jobs import FAILED, Job
from local.simulator.kie_files import Files
from local.simulator.kie_models import MB, MODELS, SOUNDS, Model
from local.simulator.kie_records import Records
from local.simulator.media import Medium, UnreachableError
from local.simulator.provider import Provider, digits
from local.simulator.server import Request, Response, json_response

CREATE, QUERY, CREDIT = "/api/v1/jobs/createTask", "/api/v1/jobs/recordInfo", "/api/v1/chat/credit"

TEXTS = {
    400: "taskId parameter is required",
    401: "You do not have access permissions",
    402: "Credits insufficient",
    404: "Not Found",
    408: "Request timeout",
    422: "recordInfo is null",
    429: "Your call frequency is too high. Please try again later.",
    433: "The usage of this key has exceeded its limit",
    451: "Failed to fetch the image",
    455: "The service is currently under maintenance",
    500: "Server exception, please try again later",
    501: "Generation failed",
    505: "This feature is currently disabled",
}
NO_KEY = (
    "Unauthorized – Authentication failed. "
    "Please check that your Authorization and Content-Type headers are correctly set."
)


class Kie(Provider):
    """createTask, recordInfo, credit, download-url, and the file upload host on the same
    listener."""

    name = "kie"
    too_fast, closed = 429, 455

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.link_hours = self.options.kie_link_hours
        self._counting = threading.Lock()
        self._creates: deque[float] = deque()
        self._queries: deque[float] = deque()
        self._files = Files(engine)
        self._records = Records(engine)

    @property
    def key(self) -> str:
        return self.options.kie_key

    def answer(self, request: Request) -> Response:
        answer = self._answer(request)
        if self.options.kie_encoding != "plain":
            answer.encoding = self.options.kie_encoding
        return answer

    def _answer(self, request: Request) -> Response:
        given = request.headers.get("authorization", "")
        if not given:
            return self.refuse(401, NO_KEY)
        if not hmac.compare_digest(given.encode(errors="replace"), f"Bearer {self.key}".encode()):
            return self.refuse(401)
        route = (request.method, request.path)
        if route == ("POST", CREATE):
            return self._create(request)
        if route == ("GET", QUERY):
            return self._query(request)
        if route == ("GET", CREDIT):
            return self._ok(round(self.credits(), 2))
        if route == ("POST", "/api/v1/common/download-url"):
            return self._download_url(request)
        return self._files.answer(request) or self.refuse(404)

    def credits(self) -> float:
        return float(self.options.kie_credits - self.engine.book.spent(self.name))

    def refuse(self, code: int, why: str = "") -> Response:
        status = code if self.options.kie_status == "real" and 400 <= code < 600 else 200
        headers = self.limit_headers(self.options.kie_creates_per_10s, 10) if code == 429 else {}
        body = {"code": code, "msg": why or TEXTS.get(code, "error"), "data": None}
        return json_response(body, status, **headers)

    def failure(self, reason: str) -> tuple[str, str]:
        known = {
            "internal": ("500", "Internal Error"),
            "moderation": ("422", "Your content was flagged by the content moderation system"),
            "generation": ("GENERATION_FAILED", "Generation failed"),
        }
        return known.get(reason, ("500", reason))

    def new_id(self) -> str:
        return secrets.token_hex(16)

    def new_link(self, job: Job) -> str:
        if job.model.startswith("kling/"):
            return f"/k/{job.id}_1_{int(job.ended or 0)}_{digits(4)}.mp4"
        return f"/{job.model}/{int((job.ended or 0) * 1000)}-{secrets.token_hex(5)}.mp4"

    # Create

    def _create(self, request: Request) -> Response:
        try:
            body = request.json()
        except ValueError:
            return self.refuse(422, "The request body is not valid JSON")
        if not isinstance(body, dict) or not isinstance(body.get("input"), dict):
            return self.refuse(422, "input is required")
        job_id, prompt = (
            self._fresh_id(str(body.get("model", ""))),
            str(body["input"].get("prompt", "")),
        )
        subject = Subject(self.name, job_id, "", str(body.get("callBackUrl") or ""), prompt)
        try:
            return self.engine.receive(self, subject, lambda: self._make(job_id, body))
        except RefusalError as refusal:
            return refusal.answer

    def _make(self, job_id: str, body: dict[str, Any]) -> Response:
        model = self._check(body)
        self._keep_rate()
        inputs = body["input"]
        portrait, voice = self._fetch(inputs["image_url"]), self._fetch(inputs["audio_url"])
        self._check_media(model, portrait, voice)
        if self.options.kie_long_voice == "refuse" and self._is_too_long(body["model"], voice):
            self._invalid(f"audio_url: {self._too_long()}")
        mode = inputs.get("resolution") if "" not in model.prices else ""
        mode = mode or next(iter(model.prices))
        price = float(model.prices[mode] * math.floor(voice.seconds))
        if price > self.credits():
            raise RefusalError(self.refuse(402))
        job = Job(
            job_id,
            self.name,
            body["model"],
            self.engine.clock.now(),
            prompt=inputs["prompt"],
            callback_url=body.get("callBackUrl") or "",
            upstream_id=job_id,
            request=body,
            portrait=portrait.name,
            voice=voice.name,
            seconds=voice.seconds,
            mode=mode,
            price=price,
            unit="credits",
            error=self._too_long_later(body["model"], voice),
        )
        self.engine.accept(job, model.seconds)
        data = {"taskId": job_id} | ({"recordId": job_id} if self._records.are_recorded else {})
        return self._ok(data)

    def _check(self, body: dict[str, Any]) -> Model:
        model, inputs = MODELS.get(str(body.get("model"))), body["input"]
        if model is None:
            self._invalid("Page does not exist or is not published")
        for name in ("image_url", "audio_url", "prompt"):
            if not isinstance(inputs.get(name), str) or (name != "prompt" and not inputs[name]):
                self._invalid(f"{name} is required")
        if model.prompt_required and not inputs["prompt"].strip():
            self._invalid("prompt is required")
        if len(inputs["prompt"]) > 5000:
            self._invalid("prompt cannot exceed 5000 characters")
        if not isinstance(body.get("callBackUrl") or "", str):
            self._invalid("callBackUrl is not a valid URL")
        resolution = inputs.get("resolution") or "480p"
        if not isinstance(resolution, str) or (
            "" not in model.prices and resolution not in model.prices
        ):
            self._invalid("resolution is not within the range of allowed options")
        seed = inputs.get("seed")
        number = isinstance(seed, int | float) and not isinstance(seed, bool)
        if (
            "" not in model.prices
            and seed is not None
            and not (number and 10_000 <= seed <= 1_000_000)
        ):
            self._invalid("seed must be between 10000 and 1000000")
        return model

    def _keep_rate(self) -> None:
        """A sliding window over what was let through; what is refused is not queued and does not
        count."""
        with self._counting:
            passed = _let_through(
                self._creates, self.engine.clock.now(), 10.0, self.options.kie_creates_per_10s
            )
        if not passed:
            raise RefusalError(self.refuse(429))

    def _fetch(self, url: str) -> Medium:
        try:
            return self.engine.library.fetch(url)
        except UnreachableError:
            raise RefusalError(self.refuse(500)) from None

    def _check_media(self, model: Model, portrait: Medium, voice: Medium) -> None:
        if portrait.kind not in model.images or not portrait.width:
            self._invalid("image_url: File type not supported")
        if portrait.size > 10 * MB:
            self._invalid("image_url: File size exceeds the limit of 10MB")
        if voice.kind not in SOUNDS or not voice.seconds:
            self._invalid("audio_url: File type not supported")
        if voice.size > model.audio_bytes:
            self._invalid(f"audio_url: File size exceeds the limit of {model.audio_bytes // MB}MB")
        if voice.seconds > model.audio_seconds:
            self._invalid(
                f"audio_url: The audio must not be longer than {model.audio_seconds:.0f} seconds"
            )

    def _is_too_long(self, model: str, voice: Medium) -> bool:
        most = self.options.kie_infinitalk_seconds
        return bool(model == "infinitalk/from-audio" and most and voice.seconds > most + 0.1)

    def _too_long(self) -> str:
        return f"The audio must not be longer than {self.options.kie_infinitalk_seconds:g} seconds"

    def _too_long_later(self, model: str, voice: Medium) -> tuple[str, str] | None:
        return ("422", self._too_long()) if self._is_too_long(model, voice) else None

    def _invalid(self, why: str) -> NoReturn:
        raise RefusalError(self.refuse(422, why))

    def _fresh_id(self, model: str) -> str:
        if self._records.are_recorded:
            return self.new_id()
        family, ms = model.partition("/")[0] or "task", int(self.engine.clock.now() * 1000)
        while self.engine.book.by_id(f"task_{family}_{ms}"):
            ms += 1
        return f"task_{family}_{ms}"

    # Query and callback

    def _query(self, request: Request) -> Response:
        limit = self.options.kie_queries_per_second
        with self._counting:
            passed = not limit or _let_through(self._queries, self.engine.clock.now(), 1.0, limit)
        if not passed:
            return self.refuse(429)
        job_id = request.query.get("taskId", "")
        if not job_id:
            return self.refuse(400)
        job = self.engine.find(self.name, job_id)
        if disturbed := self.engine.disturb(
            self, job.subject if job else Subject(self.name), "query"
        ):
            return disturbed
        if job and job.status == FAILED and self.options.kie_failures == "envelope":
            return self.refuse(501, job.error[1] if job.error else "")
        return self._ok(self._records.of(job, by_query=True)) if job else self.refuse(422)

    def notice(self, job: Job) -> dict[str, Any] | None:
        return self._records.notice(job)

    def signature(self, letter: Letter) -> dict[str, str]:
        key, timestamp = self.options.kie_hmac_key, int(time.time())
        if not key:
            return {}
        signed = kie_signature(
            key if letter.genuine else "a forger's guess", letter.body["data"]["taskId"], timestamp
        )
        return {"X-Webhook-Timestamp": str(timestamp), "X-Webhook-Signature": signed}

    # The rest

    def _download_url(self, request: Request) -> Response:
        """A temporary link of 20 minutes for a file of kie's own."""
        try:
            url = str(request.json()["url"])
        except (ValueError, KeyError, TypeError, IndexError):
            return self.refuse(422, "url is required")
        results = self.engine.addresses["results"]
        link = self.engine.book.get("link", url.removeprefix(results))
        if not url.startswith(results) or link is None:
            return self.refuse(422, "url is wrong")
        path = f"/temporary/{secrets.token_hex(8)}/{url.rpartition('/')[2]}"
        return self._ok(
            self.engine.publish(path, link["file"], link["type"], 20 / 60, link["job_id"])
        )

    def _ok(self, data: Any) -> Response:
        cookie = f"JSESSIONID={secrets.token_hex(16).upper()}; Path=/; HttpOnly"
        return json_response({"code": 200, "msg": "success", "data": data}, Set_Cookie=cookie)


def _let_through(passed: deque[float], now: float, window: float, most: int) -> bool:
    while passed and passed[0] <= now - window:
        passed.popleft()
    if len(passed) >= most:
        return False
    passed.append(now)
    return True
