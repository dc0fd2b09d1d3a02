"""A Lambda with the house defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.bundle import lambda_minor
from infra.context import Context


class Function(lambda_.Function):
    """One module of the bundle: its own role, its own log group, arm64, traced."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        code: lambda_.Code,
        context: Context,
        timeout: Duration,
        memory: int,
        environment: Mapping[str, str],
        **more: Any,
    ) -> None:
        """`name` is the module; `memory` in MiB, and the share of a CPU grows with it (1,769 are
        one)."""
        title = name.capitalize()
        role, log_group = _role_and_logs(scope, title, context.log_days)
        super().__init__(
            scope,
            f"{title}Function",
            code=code,
            handler=f"functions.handlers.{name}.handler",
            runtime=runtime(),
            architecture=lambda_.Architecture.ARM_64,
            timeout=timeout,
            memory_size=memory,
            role=role,
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE,
            environment=_variables(name, context.stack_name, environment),
            **more,
        )

    def may(self, *actions: str, on: Sequence[str]) -> None:
        """Grant exactly these actions on exactly these ARNs."""
        self.add_to_role_policy(iam.PolicyStatement(actions=list(actions), resources=list(on)))

    def may_on_rows(self, *actions: str, table: dynamodb.ITable, keys: str | list[str]) -> None:
        """Grant these actions on the items whose partition key matches one of `keys`.
        https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
        """
        leading = [keys] if isinstance(keys, str) else keys
        of_these_keys = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": leading}}
        statement = iam.PolicyStatement(
            actions=list(actions), resources=[table.table_arn], conditions=of_these_keys
        )
        self.add_to_role_policy(statement)


def _role_and_logs(scope: Construct, title: str, days: int) -> tuple[iam.Role, logs.LogGroup]:
    """A role of our own: the CDK's default one brings AWS's managed policy, which may write every
    log there is."""
    service = iam.ServicePrincipal("lambda.amazonaws.com")
    role = iam.Role(scope, f"{title}Role", assumed_by=service)
    log_group = logs.LogGroup(
        scope,
        f"{title}Logs",
        retention=log_retention(days),
        removal_policy=RemovalPolicy.DESTROY,
    )
    log_group.grant_write(role)
    return role, log_group


def _variables(name: str, stack_name: str, environment: Mapping[str, str]) -> dict[str, str]:
    return {
        **{f"TALKDROP_{key.upper()}": value for key, value in environment.items()},
        "POWERTOOLS_SERVICE_NAME": name,
        # so that one stage does not set off another's alarm
        "POWERTOOLS_METRICS_NAMESPACE": stack_name,
        "POWERTOOLS_LOG_LEVEL": "INFO",
    }


def log_retention(days: int) -> logs.RetentionDays:
    names = {
        1: "ONE_DAY",
        3: "THREE_DAYS",
        5: "FIVE_DAYS",
        7: "ONE_WEEK",
        14: "TWO_WEEKS",
        30: "ONE_MONTH",
        60: "TWO_MONTHS",
        90: "THREE_MONTHS",
        120: "FOUR_MONTHS",
        150: "FIVE_MONTHS",
        180: "SIX_MONTHS",
        365: "ONE_YEAR",
        400: "THIRTEEN_MONTHS",
        545: "EIGHTEEN_MONTHS",
        731: "TWO_YEARS",
        1827: "FIVE_YEARS",
        3653: "TEN_YEARS",
    }
    return logs.RetentionDays[names[days]]


def runtime() -> lambda_.Runtime:
    """That of the Python that builds, where Lambda has it: its byte code is shipped."""
    return lambda_.Runtime(f"python3.{lambda_minor()}", lambda_.RuntimeFamily.PYTHON)
