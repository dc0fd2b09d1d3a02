"""CometAPI: Kling's dialect behind a gateway of its own, https://api.cometapi.com/doc

What passes is in Kling's words. What the gateway itself refuses comes in another envelope,
`{"error": {...}}`, and a wrong path is answered with a redirect or an HTML page. Its id for a job
is not the one that Kling's callback names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar

from functions.providers import base, kling
from functions.providers.base import Model, RateLimit
from functions.providers.kling import Kling, Verdict

# https://api.cometapi.com/doc, "Individual queries" (2026): its list of paths has no avatar. Bots
# with a CometAPI key use the first, the page suggests the second. {id} stands for the job's.
QUERY_PATHS = ("/kling/v1/videos/avatar/image2video/{id}", "/kling/v1/videos/image2video/{id}")

# Newer pages (2026): "Required — the API rejects requests without this field".
NEUTRAL_PROMPT = "A person speaks to the camera."

# Texts of refusals that HTTP dresses as 400, 403, 429 or 500 alike: seen in clients of CometAPI and
# of new-api gateways.
CREDITS = re.compile(
    r"(?i)quota|balance not|insufficient (?:\w+ )?(?:balance|credit|fund)|enough credit|额度|余额"
)
TOO_MANY = re.compile(r"(?i)parallel task|concurren|rate limit|too (?:many|fast|frequent)|频繁")
NO_SUCH_JOB = re.compile(r"(?i)not[ _](?:exist|found)|不存在")

AVATAR = Model(
    id="avatar",
    limits=replace(kling.LIMITS, audio_max_seconds=60),  # seed of CometAPI; the rest as Kling
    settings={"mode": kling.MODE, "audio_id": kling.AVATAR.settings["audio_id"]},
    # CometAPI publishes no price for avatars: Kling's own, as an estimate for the budget
    usd_per_second=Decimal("0.056"),
    price_by="mode",
    prices=kling.AVATAR.prices,
    usual_seconds=300,
)


class Comet(Kling):
    name: ClassVar[str] = "comet"
    host: ClassVar[str] = "https://api.cometapi.com"
    models: ClassVar[Mapping[str, Model]] = {AVATAR.id: AVATAR}
    rate_limit: ClassVar[RateLimit] = RateLimit(submits=10, seconds=10)  # no numbers are published
    retention_days: ClassVar[int] = 30  # Kling's; CometAPI says only: copy it
    finds_by_task_id: ClassVar[bool] = False
    signs_callbacks: ClassVar[bool] = False
    speaks_text: ClassVar[bool] = False
    path: ClassVar[str] = "/kling/v1/videos/avatar/image2video"
    usd_per_unit: ClassVar[Decimal | None] = None

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key()}"}

    def body(self, request: base.Request, settings: Mapping[str, Any]) -> dict[str, Any]:
        return super().body(
            replace(request, prompt=request.prompt.strip() or NEUTRAL_PROMPT), settings
        )

    def fetch(self, job_id: str) -> base.Job:
        configured = str(self.credentials.get("query_path") or "")
        paths = (configured, *QUERY_PATHS) if configured else QUERY_PATHS
        told: base.Answer | None = None
        for path in paths:
            answer = base.ask(
                self.client, self.url(path.replace("{id}", job_id)), headers=self.headers()
            )
            if answer.body and answer.status != 404:
                return self.job(job_id, self.record(answer))
            told = answer if answer.body else told
        if told is not None:
            raise self.query_error(told)
        advice = f'no query path leads to the API: check "base_url" and "query_path" (secret of provider {self.name})'
        raise self.answered(base.Unavailable, f"HTTP {answer.status}", answer.excerpt(), advice)

    def probe(self) -> None:
        """Ask for a job that cannot be: a good key is told that there is none."""
        try:
            self.fetch("0")
        except base.JobNotFound:
            return

    def create_error(self, answer: base.Answer) -> base.ProviderError:
        word, said = refusal(answer)
        if not word:
            return super().create_error(answer)
        kind, advice = self.judge(answer.status, word, said)
        return self.answered(kind, f"{answer.status} {word}", said, advice, answer.headers)

    def judge(self, status: int, word: str, said: str) -> Verdict:
        """https://api.cometapi.com/doc, "Error codes" (2026): 500 with invalid_request is the
        caller's fault."""
        if kling.DUPLICATE.search(said):
            return kling.DOUBT
        if word == "invalid_request":
            return base.Rejected, "correct the task's settings, or its files"
        if word == "model_not_found":
            return base.RejectedLater, "no channel serves this model now; it will be sent again"
        if 400 <= status < 500 and TOO_MANY.search(said):
            return base.RejectedLater, "as many jobs run as allowed; it will be sent again"
        if 400 <= status < 500 and CREDITS.search(said):
            return (
                base.AccountRejected,
                f"top up the account or switch provider (secret of provider {self.name})",
            )
        return self.by_status(status)

    def query_error(self, answer: base.Answer) -> base.ProviderError:
        word, said = refusal(answer)
        if not word:
            return super().query_error(answer)
        kind: type[base.ProviderError] = base.Unavailable
        advice = "asked again later"
        if answer.status == 401:
            kind, advice = base.AccountRejected, f"check the key (secret of provider {self.name})"
        elif answer.status in (400, 404) and (
            word != "fail_to_fetch_task" or NO_SUCH_JOB.search(said)
        ):
            kind, advice = base.JobNotFound, "no such job, or not yet"
        return self.answered(kind, f"{answer.status} {word}", said, advice)


def refusal(answer: base.Answer) -> tuple[str, str]:
    """The word and the text of a gateway's own envelope; ("", "") where it is another. Its `code`
    is often empty."""
    error = answer.body.get("error")
    if isinstance(error, dict):
        word = error.get("code") or error.get("type") or "error"
        return str(word)[:60], str(error.get("message") or "no reason")
    if isinstance(error, str) and error:
        return "error", error
    return "", ""
