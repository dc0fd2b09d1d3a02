"""What a person must hear of: alarms, all to one topic."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Aws, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.context import Context
from infra.function import Function

FIVE_MINUTES = Duration.minutes(5)


class Operations(Construct):
    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        context: Context,
        lanes: Mapping[str, sqs.Queue],
        announce: Function,
        sweep: Function,
    ) -> None:
        """`lanes`: by name, the queues where what failed for good ends."""
        super().__init__(scope, name)
        self.topic = self._topic(context)
        for lane, dead_letters in lanes.items():
            self._alarm(
                f"{lane}DeadLetters",
                dead_letters.metric_approximate_number_of_messages_visible(
                    period=FIVE_MINUTES, statistic="Maximum"
                ),
                says=f"Something of {lane.lower()} failed for good. Read the message, mend the cause, redrive the "
                "queue: repeating is harmless.",
            )
        self._alarm(
            "TaskHeld",
            self._ours(context, "TaskHeld"),
            says=(
                "A task waits for a person: going on by itself could pay twice or lose what was "
                "paid."
            ),
        )
        self._alarm(
            "CallbackForPastAttempt",
            self._ours(context, "CallbackForPastAttempt"),
            says=(
                "A provider rang for an attempt that was given up: perhaps a second charge. "
                "Explain the task, look there."
            ),
        )
        self._alarm(
            "AccountRejected",
            self._ours(context, "AccountRejected"),
            says=(
                "A provider refuses our account: key, credits or rights. Its submissions have "
                "stopped."
            ),
        )
        self._alarm(
            "AnnounceLags",
            announce.metric("IteratorAge", statistic="Maximum", period=FIVE_MINUTES),
            threshold=Duration.minutes(10).to_milliseconds(),
            says=(
                "Events are late: announce does not get on with the table's stream, which forgets "
                "after a day."
            ),
        )
        self._alarm(
            "SweepIsSilent",
            sweep.metric_invocations(
                period=Duration.minutes(3 * context.parsed_options.sweep_minutes)
            ),
            threshold=1,
            comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            missing=cloudwatch.TreatMissingData.BREACHING,
            says="The sweep has not run for three turns: what falls through now stays there.",
        )

    def _topic(self, context: Context) -> sns.Topic:
        topic = sns.Topic(self, "Alarms", enforce_ssl=True)
        # Refusing plain HTTP replaces the topic's default policy, and with it the leave of our own
        # alarms to speak.
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sns:Publish"],
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        if context.alarm_email:
            topic.add_subscription(subscriptions.EmailSubscription(context.alarm_email))
        return topic

    def _ours(self, context: Context, metric: str) -> cloudwatch.IMetric:
        """The sum of a metric that functions emit, whichever of them did and with whatever
        dimensions."""
        return cloudwatch.MathExpression(
            expression=f'SELECT SUM("{metric}") FROM "{context.stack_name}"',  # noqa: S608 - CloudWatch's own SQL, of our own words
            using_metrics={},
            period=FIVE_MINUTES,
            label=metric,
        )

    def _alarm(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        *,
        says: str,
        threshold: float = 1,
        comparison: cloudwatch.ComparisonOperator = (
            cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
        ),
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> None:
        alarm = cloudwatch.Alarm(
            self,
            name,
            metric=metric,
            threshold=threshold,
            evaluation_periods=1,
            comparison_operator=comparison,
            treat_missing_data=missing,
            alarm_description=says,
        )
        alarm.add_alarm_action(actions.SnsAction(self.topic))
