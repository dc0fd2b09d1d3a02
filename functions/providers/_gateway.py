"""What gateways in front of Kling add to its dialect: a Bearer key, and refusals of their own.

Sources: CometAPI's "Error codes" page, https://apidoc.cometapi.com (2026), and the source of
new-api, https://github.com/QuantumNous/new-api (2026), which most relays run.
"""

from __future__ import annotations

import re
from typing import ClassVar

from functions.providers import _kling_dialect as dialect
from functions.providers import base
from functions.providers._kling_dialect import KlingDialect
from functions.providers.base import Outcome

# Texts of refusals that HTTP dresses as 400, 403, 429 or 500 alike: seen in clients of CometAPI and
# of new-api gateways.
CREDITS = re.compile(
    r"(?i)quota|balance not|insufficient (?:\w+ )?(?:balance|credit|fund)|enough credit|额度|余额"
)
TOO_MANY = re.compile(r"(?i)parallel task|concurren|rate limit|too (?:many|fast|frequent)|频繁")
NO_CHANNEL = re.compile(r"(?i)no available channel|无可用渠道|没有可用渠道")
NO_SUCH_JOB = re.compile(r"(?i)not[ _](?:exist|found)|不存在")


NO_CHANNEL_NOW: Outcome = (
    base.RejectedLater,
    "no channel serves this model now; it will be sent again",
)


class Gateway(KlingDialect):
    """Kling's dialect, with a second envelope for what the gateway itself refuses."""

    path: ClassVar[str] = "/kling/v1/videos/avatar/image2video"
    callbacks_name_jobs: ClassVar[bool] = False

    def headers(self) -> dict[str, str]:
        return self.bearer()

    def probe(self) -> None:
        """Ask for a job that cannot exist: with a good key the answer is that there is none."""
        try:
            self.fetch("0")
        except base.JobNotFound:
            return

    def refusal(self, answer: base.Answer) -> base.ProviderError:
        code, message = refusal(answer)
        if not code:
            return super().refusal(answer)
        kind, advice = self.classify(answer.status, code, message)
        if answer.status == 503 and _has_no_channel(answer):
            kind, advice = NO_CHANNEL_NOW
        return self.error_of(kind, f"{answer.status} {code}", message, advice, answer)

    def classify(self, status: int, code: str, message: str) -> Outcome:
        """CometAPI's error codes: 500 with invalid_request is the caller's fault."""
        if dialect.DUPLICATE.search(message):
            return dialect.DOUBT
        if code == "invalid_request" and status <= 500:
            return base.Rejected, "correct the task's settings, or its files"
        if code == "model_not_found":
            return NO_CHANNEL_NOW
        if 400 <= status < 500 and TOO_MANY.search(message):
            return base.RejectedLater, "as many jobs run as allowed; it will be sent again"
        if 400 <= status < 500 and CREDITS.search(message):
            return (
                base.AccountRejected,
                f"top up the account or switch provider (secret of provider {self.name})",
            )
        return self.by_status(status)

    def query_error(self, answer: base.Answer) -> base.ProviderError:
        code, message = refusal(answer)
        if not code:
            return super().query_error(answer)
        kind: type[base.ProviderError] = base.Unavailable
        advice = "asked again later"
        if answer.status == 401:
            kind, advice = base.AccountRejected, f"check the key (secret of provider {self.name})"
        elif answer.status in (400, 404) and (
            code != "fail_to_fetch_task" or NO_SUCH_JOB.search(message)
        ):
            kind, advice = base.JobNotFound, "no such job, or not yet"
        return self.error_of(kind, f"{answer.status} {code}", message, advice, answer)


def refusal(answer: base.Answer) -> tuple[str, str]:
    """The code and the message of a gateway's own envelope; ("", "") where it is another. Its
    `code` is often empty."""
    error = answer.body.get("error")
    if isinstance(error, dict):
        code = error.get("code") or error.get("type") or "error"
        return str(code)[:60], str(error.get("message") or "no reason")
    if isinstance(error, str) and error:
        return "error", error
    return "", ""


def _has_no_channel(answer: base.Answer) -> bool:
    """A 503 with an empty `code` comes from new-api's distributor, which found no channel and sent
    nothing on (middleware/distributor.go, 2026); newer versions say `model_not_found` there."""
    error = base.json_object(answer.body.get("error"))
    own = error.get("type") == "new_api_error"
    return not error.get("code") and (own or bool(NO_CHANNEL.search(str(error.get("message")))))
