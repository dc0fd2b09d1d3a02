"""The one paid POST of a claimed task: prepare, note that it leaves, send, record what came of it.

The order is the protocol. Nothing stands between the note and the POST, and no layer repeats it.
"""

from __future__ import annotations

from aws_lambda_powertools import Logger

from functions import secrets
from functions.jobs import media, outcomes, speech
from functions.providers import base
from functions.tasks import balance, claims, steps
from functions.tasks.table import ConditionFailed, now
from functions.tasks.task import Task, is_over

logger = Logger(child=True)


def pay(claimed: claims.Claim) -> None:
    if is_over(claimed.task.consent, now().date()):  # it waited until the day after
        until = claimed.task.consent["until"]
        outcomes.refuse(claimed, "CONSENT_ENDED", f"the consent to this video ended on {until}")
        return
    try:
        client = secrets.client(claimed.task.provider)
        request = client.prepare(media.request_of(claimed.task))
    except (base.AccountRejected, base.NotSent, base.Rejected, base.RejectedLater) as error:
        outcomes.not_accepted(claimed, error)
        return
    except media.InputGone as gone:
        outcomes.refuse(claimed, "INPUT_GONE", str(gone))
        return
    except Exception as error:
        logger.exception("could not prepare the submit")
        outcomes.come_again(claimed, f"could not prepare the submit: {type(error).__name__}")
        return
    if speech.is_needed(claimed.task):
        spoken = speech.speak(claimed, client, request)
        if spoken is None:
            return
        claimed, request = spoken
    _post(claimed, request, client)


def _post(claimed: claims.Claim, request: base.Request, client: base.Provider) -> None:
    """The paid POST, with nothing between the note that it leaves and itself."""
    _note_balance(claimed.task, client)
    try:
        steps.sending(claimed.task, claimed.owner, secrets.account_of(claimed.task.provider))
    except ConditionFailed:
        logger.info("the claim was lost, or the account is not the one of the first POST")
        if claimed.task.first_sent_at:
            outcomes.doubt(
                claimed, "the key is not that of the first POST: nothing is known of its account"
            )
        return
    try:
        job = client.submit(request)
    except base.ProviderError as error:
        outcomes.not_accepted(claimed, error)
    else:
        outcomes.accepted(claimed, job.job_id)


def _note_balance(task: Task, client: base.Provider) -> None:
    try:
        balance.checkpoint(task, client)
    except base.ProviderError as error:
        logger.warning("the balance could not be noted", reason=str(error))
