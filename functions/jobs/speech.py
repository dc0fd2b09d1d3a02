"""The speech of a text, bought at the provider before its video: a paid POST of its own, one a
task."""

from __future__ import annotations

from dataclasses import replace

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from functions.jobs import outcomes
from functions.providers import base
from functions.tasks import claims, steps
from functions.tasks.table import ConditionFailed
from functions.tasks.task import Task

logger = Logger(child=True)
metrics = Metrics()


def is_needed(task: Task) -> bool:
    """Is the voice a text whose speech must be bought first?"""
    has_voice = bool(task.audio.get("key") or task.settings.get("audio_id"))
    return not has_voice and bool(task.settings.get("text"))


def speak(
    claimed: claims.Claim, client: base.Provider, request: base.Request
) -> tuple[claims.Claim, base.Request] | None:
    """The speech is a paid POST of its own, and goes by the same order: the note, the POST, the
    answer. One that was bought and is not ready is only looked for. None where the video cannot be
    sent now."""
    try:
        if not claimed.task.settings.get("speech_id"):
            steps.speaking(claimed.task, claimed.owner)
        bought = client.speak(request)
    except ConditionFailed:
        logger.info("the claim was lost, or a speech is in doubt")
        return None
    except base.ProviderError as error:
        _not_spoken(claimed, error)
        return None
    logger.info("speech bought", bought=bought)
    task = steps.keep_speech(claimed.task, claimed.owner, bought)
    return replace(claimed, task=task), replace(request, settings=task.settings)


def _not_spoken(claimed: claims.Claim, error: base.ProviderError) -> None:
    if error.bought:
        logger.info("speech bought", bought=error.bought)
        task = steps.keep_speech(claimed.task, claimed.owner, error.bought)
        claimed = replace(claimed, task=task)
    elif isinstance(error, base.Ambiguous):
        _hold_speech(claimed.task, str(error))
        return
    outcomes.not_accepted(claimed, error)


def _hold_speech(task: Task, why: str) -> None:
    metrics.add_metric("Ambiguous", MetricUnit.Count, 1)
    message = (
        f"the answer of {task.provider} to the speech was lost, so it may be paid; no video was "
        f"asked for: resubmit to buy the speech anew, or fail the task ({why})"
    )
    steps.hold(task, "SPEECH_LOST", message)
