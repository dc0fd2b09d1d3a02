"""What needs attention: alarms, all to one topic, and one dashboard.

An alarm names what happened; its description says what to do and where its runbook is. What lasts
is a gauge, so its alarm lasts as long as the trouble does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_cdk import Aws, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.context import Context

if TYPE_CHECKING:
    from infra.stack import Talkdrop

FIVE_MINUTES = Duration.minutes(5)
QUARTER = Duration.minutes(15)
HOUR, DAY = Duration.hours(1), Duration.days(1)
RUNBOOK = "Runbook: docs/operations.md#alarms"
MISSING = cloudwatch.TreatMissingData
COMPARE = cloudwatch.ComparisonOperator

# Metrics that functions emit: the alarm's id is the metric's name. By id, its title and what to do.
EMITTED = {
    "TaskHeld": (
        "a task is held",
        "Going on by itself could pay twice or lose what was paid. Run `talkdrop explain`, then "
        "adopt, resubmit or fail the task.",
    ),
    "PossibleSecondCharge": (
        "a second job for one attempt",
        "Compare the two jobs at the provider. If the task failed and this one has the video, "
        "adopt it; else ask for the money back.",
    ),
    "CallbackForPastAttempt": (
        "a callback for an attempt that was given up",
        "Perhaps a second charge. Explain the task and compare its jobs at the provider.",
    ),
    "ArchiveFailed": (
        "a video cannot be archived",
        "It is paid, and the provider deletes it after its retention. Explain the task: is it the "
        "link, the file or the bucket?",
    ),
}
# Gauges that the sweep emits at each run: they are 0, or missing, when all is well.
GAUGES = {
    "HeldTasks": ("tasks are held", "They wait for a decision: `talkdrop list --status held`."),
    "StoppedProviders": (
        "a provider is stopped",
        "Nothing is submitted to it. Mend the account; a free query is tried at every sweep.",
    ),
    "OverdueTasks": (
        "tasks are overdue",
        "One stays READY, SUBMITTING, SUBMITTED or ARCHIVING for too long. The sweep's log names "
        "the status; explain its oldest task.",
    ),
}
UNFINISHED = ("Ready", "Submitting", "Submitted", "Archiving", "InPieces")
# What one repeat mends sets off nothing: three errors within a quarter of an hour do. The other
# functions' failures end in dead letters, as 5xx or as late events; a copy that fails for the third
# time is ArchiveFailed, and one that is handed over to another invocation is an error by its form.
STEPS_WITH_ERRORS = ("submit", "watch", "settle", "gather")


@dataclass(frozen=True)
class Threshold:
    """At `at` or more, in one of `periods` periods of the metric; missing data is fine unless
    `missing` says otherwise."""

    at: float = 1
    periods: int = 1
    breaching: int = 1
    compare: cloudwatch.ComparisonOperator = COMPARE.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
    missing: cloudwatch.TreatMissingData = MISSING.NOT_BREACHING


ONCE = Threshold()


class Operations(Construct):
    """`topic` gets every alarm; `dashboard` shows the stack as a whole."""

    def __init__(self, stack: Talkdrop, name: str, *, context: Context) -> None:
        super().__init__(stack, name)
        self.stack_name = context.stack_name
        self.alarms: list[cloudwatch.Alarm] = []
        self.topic = self._topic(context)
        self._alarm_on_what_functions_emit()
        self._alarm_on_money()
        self._alarm_on_refusals()
        self._alarm_on_dead_letters(stack)
        self._alarm_on_errors(stack)
        self._alarm_on_lag(stack)
        if context.archive_replica_bucket_arn:
            self._alarm_on_replication(stack, context.archive_replica_bucket_arn)
        self._dashboard(stack)

    def _topic(self, context: Context) -> sns.Topic:
        topic = sns.Topic(self, "Alarms", enforce_ssl=True)
        # Refusing plain HTTP replaces the topic's default policy, and with it the permission of our
        # own alarms to publish.
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

    def _alarm_on_what_functions_emit(self) -> None:
        for metric, (title, cure) in EMITTED.items():
            self._alarm(metric, title, self._emitted(metric, "SUM"), cure)
        for metric, (title, cure) in GAUGES.items():
            self._alarm(metric, title, self._emitted(metric, "MAX"), cure)

    def _alarm_on_money(self) -> None:
        used = self._emitted("BudgetUsedPercent", "MAX")
        self._alarm(
            "BudgetNearlyUsed",
            "80 % of the budget is used",
            used,
            "At its end tasks wait as READY until the next day or month, or a higher cap.",
            Threshold(80),
        )
        self._alarm(
            "BudgetUsedUp",
            "the budget is used up",
            used,
            "Tasks wait as READY until the next day or month: raise the cap, or let them wait.",
            Threshold(99),  # what is left is rarely the price of a video
        )

    def _alarm_on_refusals(self) -> None:
        counts = {
            "failed": self._of("announce", "JobFailed", HOUR),
            "done": self._of("settle", "Completed", HOUR),
        }
        share = cloudwatch.MathExpression(
            expression="IF(FILL(failed, 0) >= 5, 100 * failed / (failed + FILL(done, 0)), 0)",
            using_metrics=counts,
            period=HOUR,
            label="failed jobs, percent",
        )
        self._alarm(
            "JobsFail",
            "half of the jobs fail",
            share,
            "`talkdrop list --status failed` shows the provider's reasons: is it one model, one "
            "portrait, or the provider itself?",
            Threshold(50),
        )
        self._alarm(
            "CallbacksRefused",
            "callbacks are refused",
            self._of("callback", "CallbackRefused", QUARTER),
            "A scanner, or a provider whose webhook key is wrong here. Tasks go on by polling.",
            Threshold(50),
        )

    def _of(self, function: str, metric: str, period: Duration) -> cloudwatch.Metric:
        """How often one function emitted a metric without dimensions of its own."""
        return cloudwatch.Metric(
            namespace=self.stack_name,
            metric_name=metric,
            dimensions_map={"service": function},
            statistic="Sum",
            period=period,
        )

    def _alarm_on_dead_letters(self, stack: Talkdrop) -> None:
        for name, queue in stack.dead_letters.items():
            metric = queue.metric_approximate_number_of_messages_visible(
                period=FIVE_MINUTES, statistic="Maximum"
            )
            cure = "Read the message, mend the cause, redrive the queue: repeating is harmless."
            self._alarm(f"{name}DeadLetters", f"dead letters of {name.lower()}", metric, cure)

    def _alarm_on_errors(self, stack: Talkdrop) -> None:
        for name in STEPS_WITH_ERRORS:
            metric = stack.functions[name].metric_errors(period=QUARTER)
            cure = f"It is repeated. Look into the log of {name} for what it raises."
            self._alarm(f"{name.capitalize()}Errors", f"{name} fails", metric, cure, Threshold(3))
        self._alarm(
            "ExecutionsFailed",
            "an execution failed",
            stack.workflow.machine.metric_failed(period=FIVE_MINUTES),
            "The sweep starts another one. Find the state that failed in the execution's history.",
        )
        self._alarm(
            "ApiErrors",
            "the HTTP API answers 5xx",
            stack.http_api.api.metric_server_error(period=FIVE_MINUTES, statistic="Sum"),
            "Callers and callbacks get errors: look into the logs of api and callback.",
            Threshold(3),
        )
        self._alarm(
            "Throttles",
            "callbacks are throttled",
            stack.functions["callback"].metric_throttles(period=FIVE_MINUTES),
            "The account's concurrent executions are used up: raise the quota, see lambda_quota.",
            Threshold(10),
        )
        self._alarm(
            "TableThrottles",
            "writes to the task table are throttled",
            stack.tasks.metric("WriteThrottleEvents", period=FIVE_MINUTES, statistic="Sum"),
            "More writes to one item than DynamoDB takes, or a maximum set on the table.",
            Threshold(100),
        )

    def _alarm_on_lag(self, stack: Talkdrop) -> None:
        self._alarm(
            "AnnounceLags",
            "events are late",
            stack.functions["announce"].metric(
                "IteratorAge", statistic="Maximum", period=FIVE_MINUTES
            ),
            "announce does not keep up with the table's stream, which forgets after a day.",
            Threshold(Duration.minutes(10).to_milliseconds()),
        )
        every = Duration.minutes(stack.options.sweep_minutes)
        runs = stack.functions["sweep"].metric_invocations(period=every)
        # Before the first run there is nothing to repeat, so a new stack sets off nothing; later a
        # gap is 0. https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
        silent = cloudwatch.MathExpression(
            expression="IF(FILL(runs, REPEAT) > 0, FILL(runs, 0))",
            using_metrics={"runs": runs},
            period=every,
            label="runs of the sweep",
        )
        self._alarm(
            "SweepIsSilent",
            "the sweep does not run",
            silent,
            "What falls through stays there until it runs again: look at the rule SweepClock.",
            Threshold(1, 4, 3, COMPARE.LESS_THAN_THRESHOLD, MISSING.IGNORE),
        )

    def _alarm_on_replication(self, stack: Talkdrop, replica_arn: str) -> None:
        metric = cloudwatch.Metric(
            namespace="AWS/S3",
            metric_name="OperationsFailedReplication",
            dimensions_map={
                "SourceBucket": stack.archived.bucket_name,
                "DestinationBucket": replica_arn.rpartition(":")[2],
                "RuleId": "replica",
            },
            period=FIVE_MINUTES,
            statistic="Sum",
        )
        cure = "Its ReplicationStatus is FAILED: look at the other bucket's policy and lock."
        self._alarm("ReplicationFailed", "a video was not replicated", metric, cure)

    def _emitted(self, metric: str, statistic: str) -> cloudwatch.IMetric:
        """A metric that functions emit, whichever of them did and with whatever dimensions."""
        namespace = self.stack_name
        query = f'SELECT {statistic}("{metric}") FROM "{namespace}"'  # noqa: S608 - CloudWatch's SQL
        return cloudwatch.MathExpression(
            expression=query, using_metrics={}, period=FIVE_MINUTES, label=metric
        )

    def _alarm(
        self,
        name: str,
        title: str,
        metric: cloudwatch.IMetric,
        cure: str,
        threshold: Threshold = ONCE,
    ) -> None:
        alarm = cloudwatch.Alarm(
            self,
            name,
            # The subject of the mail: one of the few physical names, and it holds the stack's.
            alarm_name=f"{self.stack_name}: {title}",
            metric=metric,
            threshold=threshold.at,
            evaluation_periods=threshold.periods,
            datapoints_to_alarm=threshold.breaching,
            comparison_operator=threshold.compare,
            treat_missing_data=threshold.missing,
            alarm_description=f"{title.capitalize()}. {cure} {RUNBOOK}",
        )
        alarm.add_alarm_action(actions.SnsAction(self.topic))
        self.alarms.append(alarm)

    def _dashboard(self, stack: Talkdrop) -> cloudwatch.Dashboard:
        board = cloudwatch.Dashboard(
            self,
            "Dashboard",
            dashboard_name=self.stack_name,
            period_override=cloudwatch.PeriodOverride.AUTO,
        )
        board.add_widgets(
            cloudwatch.AlarmStatusWidget(title="Alarms", alarms=list(self.alarms), width=24)
        )
        board.add_widgets(
            self._counts(
                "Tasks",
                *("TaskOpened", "TaskReady", "TaskWaiting", "TaskFailed"),  # what doors opened
                *("Accepted", "Completed"),
            ),
            self._counts("For a decision", "TaskHeld", "Ambiguous", "PossibleSecondCharge"),
            self._counts(
                "Providers", "AccountRejected", "UnknownWord", "CallbackRefused", "ChargeDiffers"
            ),
        )
        board.add_widgets(
            _graph("From drop to video, seconds", self._emitted("SecondsToVideo", "AVG")),
            _graph("Running jobs", stack.workflow.machine.metric_started(), *_ended(stack)),
            _graph(
                "Oldest message, seconds",
                stack.uploads.metric_approximate_age_of_oldest_message(),
                stack.submissions.metric_approximate_age_of_oldest_message(),
            ),
        )
        board.add_widgets(
            _graph("Errors", *(one.metric_errors() for one in stack.functions.values())),
            _graph(
                "Duration",
                *(one.metric_duration(statistic="p95") for one in stack.functions.values()),
            ),
            _graph("Writes of the table", stack.tasks.metric_consumed_write_capacity_units()),
        )
        board.add_widgets(
            _graph("Spent, USD a day", self._of("settle", "SpentUsd", DAY)),
            _graph("Budget used, percent", self._emitted("BudgetUsedPercent", "MAX")),
            _graph(
                "Oldest task, seconds",
                *(self._emitted(f"Oldest{status}Seconds", "MAX") for status in UNFINISHED),
            ),
        )
        return board

    def _counts(self, title: str, *metrics: str) -> cloudwatch.GraphWidget:
        return _graph(title, *(self._emitted(metric, "SUM") for metric in metrics))


def _graph(title: str, *metrics: cloudwatch.IMetric) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=8)


def _ended(stack: Talkdrop) -> list[cloudwatch.IMetric]:
    machine = stack.workflow.machine
    return [machine.metric_succeeded(), machine.metric_failed(), machine.metric_timed_out()]
