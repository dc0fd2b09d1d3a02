"""Is it well: queues, dead letters, held tasks, stopped providers, budgets."""

from __future__ import annotations

import json
from http import HTTPStatus

from aws_lambda_powertools.event_handler import Response
from typing_extensions import TypedDict

from functions import providers
from functions.api.app import answer, app
from functions.settings import aws, get, options
from functions.tasks import books, queries


class QueueView(TypedDict):
    """Messages, approximately: ready to be taken, taken, and delayed."""

    ready: int
    taken: int
    delayed: int


class HeldView(TypedDict):
    """`exact` is false when there are more than were counted."""

    tasks: int
    exact: bool


class StoppedView(TypedDict):
    provider: str
    why: str


class BudgetView(TypedDict):
    """`period` is a day (2026-11-21) or a month (2026-11), in UTC."""

    period: str
    spent_usd: float
    cap_usd: float


class Health(TypedDict):
    """`status`: ok, or attention when a person must look."""

    status: str
    submitting: bool
    held: HeldView
    stopped: list[StoppedView]
    queues: dict[str, QueueView]
    dead_letters: dict[str, int]
    budgets: list[BudgetView]


@app.get("/health")
def health() -> Response[str]:
    tasks, exact = queries.held()
    stopped: list[StoppedView] = [
        {"provider": name, "why": why}
        for name in providers.NAMES
        if (why := books.stopped_since(name)) is not None
    ]
    letters = {name: _queue(url) for name, url in json.loads(get().dead_letter_urls).items()}
    dead = {name: sum(queue.values()) for name, queue in letters.items()}  # type: ignore[arg-type]
    body: Health = {
        "status": "attention" if tasks or stopped or any(dead.values()) else "ok",
        "submitting": options().submit_enabled,
        "held": {"tasks": tasks, "exact": exact},
        "stopped": stopped,
        "queues": {
            "uploads": _queue(get().uploads_queue_url),
            "submissions": _queue(get().submissions_queue_url),
        },
        "dead_letters": dead,
        "budgets": [
            {"period": period, "spent_usd": float(books.spent(period)), "cap_usd": float(cap)}
            for period, cap in books.caps().items()
        ],
    }
    return answer(HTTPStatus.OK, body)


def _queue(url: str) -> QueueView:
    facts = aws("sqs").get_queue_attributes(
        QueueUrl=url,
        AttributeNames=[
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ],
    )["Attributes"]
    return {
        "ready": int(facts.get("ApproximateNumberOfMessages", 0)),
        "taken": int(facts.get("ApproximateNumberOfMessagesNotVisible", 0)),
        "delayed": int(facts.get("ApproximateNumberOfMessagesDelayed", 0)),
    }
