"""CometAPI: Kling's dialect behind a gateway of its own, https://apidoc.cometapi.com

What passes is in Kling's words. What the gateway itself refuses comes in another envelope,
`{"error": {...}}`, and a wrong path is answered with a redirect or an HTML page. Its id for a job
is not the one that Kling's callback names.

Source: "Create a Kling avatar task", https://apidoc.cometapi.com/api/video/kling/avatar (2026).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from functions.providers import _kling_dialect as dialect
from functions.providers import base
from functions.providers._gateway import Gateway
from functions.providers.base import Model, RateLimit

# CometAPI's "Individual queries" (2026): its list of paths has no avatar. Bots with a CometAPI key
# use the first, the page suggests the second. {id} stands for the job's.
QUERY_PATHS = ("/kling/v1/videos/avatar/image2video/{id}", "/kling/v1/videos/image2video/{id}")

AVATAR = Model(
    id="avatar",
    # "Create a Kling avatar task": 2 to 60 seconds; the rest as Kling
    limits=replace(dialect.LIMITS, audio_max_seconds=60),
    settings={"mode": dialect.MODE, "audio_id": dialect.AUDIO_ID},
    # CometAPI publishes no price for avatars: Kling's own, as an estimate for the budget
    usd_per_second=dialect.PRICES["std"],
    price_by="mode",
    prices=dialect.PRICES,
    usual_seconds=300,
    # newer pages (2026): "Required — the API rejects requests without this field"
    neutral_prompt="A person speaks to the camera.",
)


class Comet(Gateway):
    name: ClassVar[str] = "comet"
    host: ClassVar[str] = "https://api.cometapi.com"
    models: ClassVar[Mapping[str, Model]] = {AVATAR.id: AVATAR}
    rate_limit: ClassVar[RateLimit] = RateLimit(submits=10, seconds=10)  # no numbers are published
    retention_days: ClassVar[int] = 30  # Kling's; CometAPI says only: copy it

    def fetch(self, job_id: str) -> base.Job:
        configured = str(self.credentials.get("query_path") or "")
        paths = (configured, *QUERY_PATHS) if configured else QUERY_PATHS
        refused: base.Answer | None = None
        for path in paths:
            answer = self.ask(path.replace("{id}", job_id))
            if answer.body and answer.status != 404:
                return self.job(job_id, self.record(answer), answer)
            refused = answer if answer.body else refused
        if refused is not None:
            raise self.query_error(refused)
        advice = (
            'no query path leads to the API: check "base_url" and "query_path" (secret of provider '
            f"{self.name})"
        )
        raise self.error_of(
            base.Unavailable, f"HTTP {answer.status}", answer.excerpt(), advice, answer
        )
