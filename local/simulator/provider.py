"""What every simulated provider shares; the engine does the rest."""

from __future__ import annotations

import secrets

from local.simulator.contract import Contract
from local.simulator.engine import Engine


class Provider(Contract):
    """One API, over this engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.options = engine.options

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


def digits(count: int, start: str = "") -> str:
    """A decimal id of this length."""
    return start + "".join(secrets.choice("0123456789") for _ in range(count - len(start)))
