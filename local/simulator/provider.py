"""What every simulated provider has to say for itself; the engine does the rest."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from local.simulator.callbacks import Letter
from local.simulator.jobs import Job
from local.simulator.server import Request, Response

if TYPE_CHECKING:
    from local.simulator.engine import Engine


class RefusalError(Exception):
    """A create that makes no job. It carries the provider's answer."""

    def __init__(self, answer: Response) -> None:
        super().__init__(f"refused with HTTP {answer.status}")
        self.answer = answer


class Provider(ABC):
    """One API on one listener."""

    name: str
    too_fast: int
    """The code of its own for too many requests."""
    closed: int
    """And for maintenance."""
    prepaid = False
    """Charged when accepted, and refunded if it fails; otherwise charged on success only."""
    link_hours = 24.0 * 30

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.options = engine.options

    @property
    @abstractmethod
    def key(self) -> str:
        """The API key it accepts."""

    @abstractmethod
    def answer(self, request: Request) -> Response:
        """Every request that comes to this listener."""

    @abstractmethod
    def refuse(self, code: int, why: str = "") -> Response:
        """A refusal with this code as this provider words it; `why` replaces its usual text."""

    @abstractmethod
    def notice(self, job: Job) -> dict[str, Any] | None:
        """The body of a callback about this job as it is now; None: this provider is silent about
        this status."""

    @abstractmethod
    def signature(self, letter: Letter) -> dict[str, str]:
        """Headers that sign a callback, none if no key is set. A forger does not have the key."""

    def limit_headers(self, limit: int, seconds: int) -> dict[str, str]:
        """Headers of a refusal for too many requests, where they are wanted. Keywords of
        `json_response`."""
        if not self.options.rate_limit_headers:
            return {}
        return {
            "Retry_After": str(seconds),
            "X_RateLimit_Limit": str(limit),
            "X_RateLimit_Remaining": "0",
            "X_RateLimit_Reset": str(int(self.engine.clock.now()) + seconds),
        }

    def failure(self, reason: str) -> tuple[str, str]:
        """Code and message of a job that the fault `failed` strikes; other words are taken as the
        message."""
        return "500", reason

    def late(self) -> Response:
        """What the client gets when the job appears later."""
        return Response(wire="cut")

    @abstractmethod
    def new_link(self, job: Job) -> str:
        """The path of the video, as this provider makes them."""

    @abstractmethod
    def new_id(self) -> str:
        """A job id, as this provider makes them."""


def digits(count: int, start: str = "") -> str:
    """A decimal id of this length."""
    return start + "".join(secrets.choice("0123456789") for _ in range(count - len(start)))
