"""The control endpoint: look at the simulator, set its clock, make things go wrong."""

from __future__ import annotations

from typing import Any

from local.simulator.engine import Engine
from local.simulator.faults import KINDS
from local.simulator.jobs import Job, without_secrets
from local.simulator.server import Request, Response, json_response


class Control:
    """JSON in, JSON out; a wrong request gets 400 and a sentence."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def answer(self, request: Request) -> Response:
        known = {
            ("GET", "/control/state"): self._state,
            ("GET", "/control/ledger"): self._ledger,
            ("GET", "/control/faults"): self._faults,
            ("POST", "/control/faults"): self._add_fault,
            ("DELETE", "/control/faults"): self._remove_faults,
            ("POST", "/control/clock"): self._clock,
            ("POST", "/control/callbacks"): self._callbacks,
        }
        method, path = request.method, request.path.rstrip("/")
        if method == "DELETE" and path.startswith("/control/faults/"):
            gone = self._engine.faults.remove(path.rpartition("/")[2])
            return json_response({"removed": gone}, 200 if gone else 404)
        act = known.get((method, path))
        if act is None:
            return json_response(
                {"error": "there is: " + ", ".join(f"{verb} {where}" for verb, where in known)}, 404
            )
        try:
            body = request.json() if method == "POST" else {}
            if not isinstance(body, dict):
                raise ValueError("the body is a JSON object")
            return json_response(act(body))
        except (ValueError, TypeError) as error:
            return json_response({"error": str(error)}, 400)

    def _state(self, _: dict[str, Any]) -> dict[str, Any]:
        engine = self._engine
        return {
            "clock": {"now": engine.clock.now(), "speed": engine.clock.speed},
            "callbacks": engine.callbacks,
            "callbacks_waiting": len(engine.book.all("notice")),
            "addresses": engine.addresses,
            "faults": engine.faults.all(),
            "jobs": [_shown(job) for job in engine.book.jobs()],
        }

    def _ledger(self, _: dict[str, Any]) -> dict[str, Any]:
        book = self._engine.book
        return {
            "charges": book.ledger(),
            "spent": {name: book.spent(name) for name in self._engine.providers},
        }

    def _faults(self, _: dict[str, Any]) -> dict[str, Any]:
        kinds = {
            kind: {"does": does, "settings": settings} for kind, (does, settings) in KINDS.items()
        }
        return {"faults": self._engine.faults.all(), "kinds": kinds}

    def _add_fault(self, body: dict[str, Any]) -> dict[str, Any]:
        provider = body.get("provider")
        if provider is not None and provider not in self._engine.providers:
            raise ValueError(f"provider is one of: {', '.join(self._engine.providers)}")
        return self._engine.faults.add(body, self._engine.clock.now())

    def _remove_faults(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"removed": self._engine.faults.remove()}

    def _clock(self, body: dict[str, Any]) -> dict[str, Any]:
        speed = body.get("speed")
        if isinstance(speed, bool) or not isinstance(speed, int | float):
            raise ValueError('the body is {"speed": <simulator seconds in a real second>}')
        self._engine.set_speed(float(speed))
        return {"now": self._engine.clock.now(), "speed": self._engine.clock.speed}

    def _callbacks(self, body: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(body.get("enabled"), bool):
            raise ValueError('the body is {"enabled": true} or {"enabled": false}')
        self._engine.callbacks = body["enabled"]
        return {"enabled": self._engine.callbacks}


def _shown(job: Job) -> dict[str, Any]:
    """A job for eyes: not what it was asked for, which holds links that grant access."""
    names = (
        "id", "provider", "model", "mode", "external_id", "upstream_id", "status", "created",
        "processing_at", "ends_at",
        "ended", "seconds", "price", "unit", "error", "link", "flaw",
    )  # fmt: skip
    return {name: getattr(job, name) for name in names} | {
        "callback_url": without_secrets(job.callback_url)
    }
