"""What the engine asks of every simulated provider."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from local.simulator.callbacks import Letter
from local.simulator.jobs import Job
from local.simulator.server import Request, Response


class RefusalError(Exception):
    """A create that makes no job. It carries the provider's answer."""

    def __init__(self, answer: Response) -> None:
        super().__init__(f"refused with HTTP {answer.status}")
        self.answer = answer


class Contract(ABC):
    """One API on one listener."""

    name: str
    too_fast: int
    """The code of its own for too many requests."""
    closed: int
    """And for maintenance."""
    prepaid = False
    """Charged when accepted, and refunded if it fails; otherwise charged on success only."""
    link_hours = 24.0 * 30

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
