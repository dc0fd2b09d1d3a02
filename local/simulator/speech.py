"""Kling's text to speech, where an `audio_id` comes from, and its list of voices."""

from __future__ import annotations

import uuid
from typing import Any

from local.simulator.faults import Subject
from local.simulator.provider import Provider, digits
from local.simulator.server import Request, Response, json_response

# Some of the voices that public clients name. The real list is longer, so an unknown voice is taken
# too.
NAMES = {
    "genshin_vindi2": "Sunny Boy",
    "zhinen_xuesheng": "Sensible Younger Brother",
    "tiyuxi_xuedi": "Sporty Boy",
    "ai_shatang": "Youthful Girl",
    "genshin_klee2": "Gentle Younger Sister",
    "genshin_kirara": "Lively Girl",
    "ai_kaiya": "Sunny Guy",
    "tiexin_nanyou": "Humorous Guy",
    "ai_chenjiahao_712": "Artistic Guy",
}


SPEECH_SECONDS = 8.0


class SpeechProvider(Provider):
    """Whose answers are wrapped as Kling wraps them."""

    def envelope(self, data: Any, *, request_id: bool = True) -> dict[str, Any]:
        fields: dict[str, Any] = {"code": 0, "message": "SUCCEED"}
        return fields | ({"request_id": str(uuid.uuid4())} if request_id else {}) | {"data": data}


class Speech:
    """A text becomes an audio in one answer, or is a job to be queried."""

    def __init__(self, provider: SpeechProvider) -> None:
        self._provider, self._engine = provider, provider.engine

    def query(self, task_id: str) -> Response:
        """A speech that was a job of its own (`--kling-tts job`)."""
        if disturbed := self._engine.disturb(self._provider, Subject(self._provider.name), "query"):
            return disturbed
        kept = self._engine.book.get("speech-job", task_id)
        if kept is None:
            return self._provider.refuse(1203, f"Task not found: {task_id}")
        if self._engine.clock.now() < kept["ready"]:
            return self._running(task_id)
        return json_response(self._provider.envelope(kept["data"]))

    def _running(self, task_id: str) -> Response:
        now = int(self._engine.clock.now() * 1000)
        data = {
            "task_id": task_id,
            "task_status": "processing",
            "task_status_msg": "",
            "task_result": {},
            "created_at": now,
            "updated_at": now,
        }
        return json_response(self._provider.envelope(data))

    def answer(self, request: Request) -> Response:
        if disturbed := self._engine.disturb(self._provider, Subject(self._provider.name), "query"):
            return disturbed
        return self._speak(request) if request.method == "POST" else self._voices(request)

    def _speak(self, request: Request) -> Response:
        try:
            body = request.json()
        except ValueError:
            return self._provider.refuse(1200, "The request body is not valid JSON")
        wrong = _wrong(body)
        if wrong:
            return self._provider.refuse(1201, wrong)
        spoken = self._engine.renderer.speech(
            body["text"], body["voice_language"], body.get("voice_speed", 1.0)
        )
        audio_id, now = digits(18, "82"), self._engine.clock.now()
        kept = {
            "id": audio_id,
            "provider": self._provider.name,
            "file": spoken.name,
            "created": now,
        }
        self._engine.book.put("speech", audio_id, kept)
        url = self._engine.publish(
            f"/tts/{audio_id}.mp3", f"media/{spoken.name}", "audio/mpeg", 24.0 * 30
        )
        data = {
            "task_id": digits(18, "88"),
            "task_status": "succeed",
            "task_status_msg": "",
            "task_result": {
                "audios": [{"id": audio_id, "url": url, "duration": f"{spoken.seconds:.3f}"}]
            },
            "final_unit_deduction": "0",
            "created_at": int(now * 1000),
            "updated_at": int(now * 1000),
        }
        if self._provider.options.kling_tts == "job":
            task_id = str(data["task_id"])
            ready = {"ready": now + SPEECH_SECONDS, "data": data}
            self._engine.book.put("speech-job", task_id, ready)
            return self._running(task_id)
        return json_response(self._provider.envelope(data))

    def _voices(self, request: Request) -> Response:
        try:
            page, size = (
                int(request.query.get("pageNum", 1)),
                int(request.query.get("pageSize", 30)),
            )
        except ValueError:
            return self._provider.refuse(1201, "pageNum and pageSize must be integers")
        now = int(self._engine.clock.now() * 1000)
        voices = [
            {
                "task_id": str(880000000000000100 + number),
                "task_status": "succeed",
                "task_result": {
                    "voices": [
                        {
                            "voice_id": voice,
                            "voice_name": name,
                            "trial_url": "",
                            "owned_by": "kling",
                        }
                    ]
                },
                "created_at": now,
                "updated_at": now,
            }
            for number, (voice, name) in enumerate(NAMES.items())
        ]
        if page < 1 or size < 1:
            return self._provider.refuse(1201, "pageNum and pageSize must be positive")
        return json_response(self._provider.envelope(voices[(page - 1) * size : page * size]))


def _wrong(body: Any) -> str:
    """What is wrong with the request, or ""."""
    if (
        not isinstance(body, dict)
        or not isinstance(body.get("text"), str)
        or not body["text"].strip()
    ):
        return "text is required"
    if len(body["text"]) > 1000:
        return "text must not exceed 1000 characters"
    if not isinstance(body.get("voice_id"), str) or not body["voice_id"]:
        return "voice_id is required"
    if body.get("voice_language") not in ("zh", "en"):
        return "voice_language must be zh or en"
    speed = body.get("voice_speed", 1.0)
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0.8 <= speed <= 2.0:
        return "voice_speed must be between 0.8 and 2.0"
    return ""
