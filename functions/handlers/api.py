"""The tasks API, behind API Gateway: routes and shapes are in `functions/api/`. Who may call it is
decided there, by IAM or a token; whoever may, may see every task."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.api import decisions, health, offers, reference, tasks  # noqa: F401 - their routes
from functions.api.app import app

metrics = Metrics()


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return app.resolve(event, context)
