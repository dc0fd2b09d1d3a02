"""The stack: what runs where and what feeds it. infra/fleet.py says how each Lambda runs,
infra/grants.py what it may do."""

from __future__ import annotations

from typing import Any, cast

from aws_cdk import Annotations, CfnOutput, Duration, SecretValue, Size, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_secretsmanager as secrets
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from functions.tasks.table import NEWS
from infra import pieces_workflow, storage, workflow
from infra.bundle import code_of_the_bundle
from infra.context import Context
from infra.fleet import SUMMARY, fleet
from infra.function import Function
from infra.grants import ERROR_NOTES, OWN_IMPORTS, grant_all
from infra.http_api import TaskHttpApi
from infra.notices import Notices
from infra.operations import Operations
from infra.page import Page
from infra.workflow import Workflow

EMPTY_KEY = '{"api_key":""}'


class Talkdrop(Stack):
    """Everything, in one stack: one name to deploy, one to tear down."""

    def __init__(self, scope: Construct, name: str, *, context: Context, **more: Any) -> None:
        super().__init__(scope, name, **more)
        self.context = context
        self.options = context.parsed_options
        daily = {"summary": SUMMARY} if context.notify == "daily" else {}
        self.fleet = fleet(self.options) | daily
        self.key = storage.customer_key(self, context)
        self.inbox = storage.inbox(self, context, self.key)
        self.archived = storage.archive(self, context, self.key)
        self.tasks = storage.table(self, context, self.key)
        self.bus = events.EventBus(self, "Bus")
        self.provider_secrets = {
            name: self._provider_secret(name) for name in context.providers_in_use
        }
        self.callback_secret = self._callback_secret()
        self.http_api = TaskHttpApi(self, "Http", context=context)
        self._make_queues()
        notices = Notices(self, "Notices", context=context) if context.notify_email else None
        self.notice_topic = notices.topic if notices else None
        self._make_functions()
        self.http_api.route(api=self.functions["api"], callback=self.functions["callback"])
        self._feed_uploads()
        self._feed_intake_and_submit()
        self._feed_announce()
        self._feed_sweep()
        topics = {"AlarmTopic": Operations(self, "Operations", context=context).topic}
        if notices:
            topics["NoticeTopic"] = notices.topic
            self._feed_notices(notices)
        if context.page:
            buckets = {"inbox": self.inbox, "archive": self.archived}
            Page(self, "Page", context=context, api=self.http_api.api, **buckets)
        self._warn()
        self._output_names()
        for name, topic in topics.items():
            CfnOutput(self, name, value=topic.topic_arn)
        grant_all(self)

    def _provider_secret(self, provider: str) -> secrets.Secret:
        """Made empty; the key comes later by `aws secretsmanager put-secret-value`, and no
        deployment touches it."""
        return secrets.Secret(
            self,
            f"{provider.capitalize()}Key",
            description=f"Talkdrop: the API key of {provider}, as JSON",
            # Another text here would overwrite the keys of every stack that is deployed again.
            secret_string_value=SecretValue.unsafe_plain_text(EMPTY_KEY),
            encryption_key=self.key,
            removal_policy=storage.removal(self.context),
        )

    def _callback_secret(self) -> secrets.Secret:
        """{"current": "k1", "k1": "<random>"}: a second key, `k2`, is added by hand when it is time
        to rotate."""
        return secrets.Secret(
            self,
            "CallbackKey",
            description="Talkdrop: the keys of the callback URLs, and the providers' webhook keys",
            generate_secret_string=secrets.SecretStringGenerator(
                secret_string_template='{"current":"k1"}',  # noqa: S106 - names a key, is none
                generate_string_key="k1",
                password_length=48,
                exclude_punctuation=True,
            ),
            encryption_key=self.key,
            removal_policy=storage.removal(self.context),
        )

    def _make_queues(self) -> None:
        """Of each queue and each asynchronous invocation, a queue where its failures end."""
        names = ("Uploads", "Submissions", "Announcements", "Sweep")
        self.dead_letters = {name: self._dead_letters(name) for name in names}
        self.uploads = self._queue("Uploads", "intake", delay=self.options.drop_delay_seconds)
        self.submissions = self._queue("Submissions", "submit")

    def _queue(self, name: str, consumer: str, *, delay: int = 0) -> sqs.Queue:
        # Six times its function's timeout, as AWS advises: a message must not come back while it is
        # still worked on.
        # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
        return sqs.Queue(
            self,
            name,
            visibility_timeout=Duration.seconds(6 * self.fleet[consumer].seconds),
            delivery_delay=Duration.seconds(delay),
            retention_period=Duration.days(4),
            dead_letter_queue=sqs.DeadLetterQueue(
                queue=self.dead_letters[name], max_receive_count=5
            ),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
        )

    def _dead_letters(self, name: str) -> sqs.Queue:
        return sqs.Queue(
            self,
            f"{name}DeadLetters",
            # the longest there is: an alarm may have to outwait a holiday
            retention_period=Duration.days(14),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
        )

    def _make_functions(self) -> None:
        """The workflows call some of them, and others start the workflows: these lie between."""
        self.code = code_of_the_bundle(self.context.bundle)
        self.code_with_pyav = code_of_the_bundle(self.context.bundle, with_pyav=True)
        called = ("watch", "archive", "settle", "cut", "gather", "join")
        self.functions = {name: self._function(name) for name in called}
        self.workflow = self._workflow("Workflow", workflow.definition(), called[:3])
        self.pieces_workflow = self._workflow(
            "PiecesWorkflow", pieces_workflow.definition(), called[2:]
        )
        more: dict[str, dict[str, Any]] = {
            # A task that must wait goes back to the queue it came from, as often as it must.
            # Lambda would take that for a runaway loop after 16 rounds:
            # https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
            "submit": {"recursive_loop": lambda_.RecursiveLoop.ALLOW},
            # A folder is gone through by a chain of messages, as long as the folder is.
            "intake": {"recursive_loop": lambda_.RecursiveLoop.ALLOW},
            # A failed run is not repeated: the next comes soon.
            "sweep": {
                "retry_attempts": 0,
                "on_failure": destinations.SqsDestination(self.dead_letters["Sweep"]),
            },
            "summary": {"on_failure": destinations.SqsDestination(self.dead_letters["Sweep"])},
        }
        # In the table's order: a set's would change the template from run to run.
        for name in [name for name in self.fleet if name not in self.functions]:
            self.functions[name] = self._function(name, **more.get(name, {}))

    def _workflow(self, name: str, definition: dict[str, Any], calls: tuple[str, ...]) -> Workflow:
        steps = {step.capitalize(): self.functions[step] for step in calls}
        return Workflow(self, name, context=self.context, definition=definition, steps=steps)

    def _function(self, name: str, **more: Any) -> Function:
        row = self.fleet[name]
        return Function(
            self,
            name,
            code=self.code_with_pyav if row.has_pyav else self.code,
            context=self.context,
            timeout=Duration.seconds(row.seconds),
            memory=row.memory_mib,
            ephemeral_storage_size=Size.mebibytes(row.disk_mib) if row.disk_mib > 512 else None,
            environment={"options": self.context.options_json, **self._settings(row.settings)},
            reserved_concurrent_executions=self.context.reserved_for(name),
            **more,
        )

    def _settings(self, names: tuple[str, ...]) -> dict[str, str]:
        """The values of these fields of `functions.settings.Settings`."""
        values = {
            "table": lambda: self.tasks.table_name,
            "inbox": lambda: self.inbox.bucket_name,
            "archive": lambda: self.archived.bucket_name,
            "bus": lambda: self.bus.event_bus_name,
            "uploads_queue_url": lambda: self.uploads.queue_url,
            "submissions_queue_url": lambda: self.submissions.queue_url,
            "dead_letter_urls": lambda: self.to_json_string(
                {name: queue.queue_url for name, queue in self.dead_letters.items()}
            ),
            "workflow_arn": lambda: self.workflow.machine_arn,
            "pieces_workflow_arn": lambda: self.pieces_workflow.machine_arn,
            "notice_topic": lambda: cast(sns.Topic, self.notice_topic).topic_arn,
            "stack": lambda: self.context.stack_name,
            "callback_base_url": lambda: self.http_api.callback_base_url,
            "callback_secret": lambda: self.callback_secret.secret_arn,
            "provider_secrets": lambda: self.to_json_string(
                {name: secret.secret_arn for name, secret in self.provider_secrets.items()}
            ),
        }
        return {name: values[name]() for name in names}

    def _feed_uploads(self) -> None:
        """Every new object of the inbox, however it came, but for what we put there ourselves."""
        ours = {"anything-but": {"wildcard": [f"{OWN_IMPORTS}*", f"*{ERROR_NOTES}"]}}
        dropped = events.Rule(
            self,
            "Dropped",
            description="A file was dropped into Talkdrop's inbox",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={"bucket": {"name": [self.inbox.bucket_name]}, "object": {"key": [ours]}},
            ),
        )
        # The same dead letters as the queue's own: the same kind of message, mended and sent again
        # the same way.
        target = targets.SqsQueue(
            self.uploads,
            dead_letter_queue=self.dead_letters["Uploads"],
            max_event_age=Duration.hours(24),
            retry_attempts=185,
        )
        dropped.add_target(target)

    def _feed_intake_and_submit(self) -> None:
        # One message an invocation: media by URL may take most of intake's time, and a crash of
        # submit leaves one payment in doubt, not five. The limits keep a flood from taking every
        # Lambda of the account.
        for name, queue in (("intake", self.uploads), ("submit", self.submissions)):
            source = sources.SqsEventSource(
                queue,
                batch_size=1,
                max_concurrency=self.context.concurrency_of(name),
                report_batch_item_failures=True,
            )
            self.functions[name].add_event_source(source)

    def _feed_announce(self) -> None:
        # Of the writes of a task's row those that may have to be announced: not each poll, callback
        # and note. Limits, leases and the sweep's own notes are no news at all.
        news = {"dynamodb": {"NewImage": {"news": {"S": lambda_.FilterRule.is_equal(NEWS)}}}}
        lambda_.EventSourceMapping(
            self,
            "TasksToAnnounce",
            target=self.functions["announce"],
            event_source_arn=self.tasks.table_stream_arn,
            starting_position=lambda_.StartingPosition.TRIM_HORIZON,
            batch_size=25,
            parallelization_factor=4,
            report_batch_item_failures=True,
            bisect_batch_on_error=True,
            retry_attempts=20,
            max_record_age=Duration.hours(12),  # the stream itself forgets after 24
            on_failure=sources.SqsDlq(self.dead_letters["Announcements"]),
            filters=[lambda_.FilterCriteria.filter(news)],
        )

    def _feed_sweep(self) -> None:
        minutes = self.options.sweep_minutes
        target = targets.LambdaFunction(
            self.functions["sweep"],
            dead_letter_queue=self.dead_letters["Sweep"],
            max_event_age=Duration.minutes(max(1, minutes)),  # then the next run is due
            retry_attempts=2,
        )
        events.Rule(
            self,
            "SweepClock",
            schedule=events.Schedule.rate(Duration.minutes(minutes)),
            targets=[target],
        )

    def _feed_notices(self, notices: Notices) -> None:
        summary = self.functions.get("summary")
        if summary is None:
            notices.mail_each(self.bus)
            return
        target = targets.LambdaFunction(
            summary,
            dead_letter_queue=self.dead_letters["Sweep"],
            max_event_age=Duration.hours(12),
            retry_attempts=20,
        )
        six = events.Schedule.cron(minute="0", hour="6")  # UTC: a morning in Europe
        events.Rule(self, "SummaryClock", schedule=six, targets=[target])

    def _warn(self) -> None:
        """What the CDK's command line prints before it deploys."""
        if not self.context.alarm_email:
            text = "no alarm address: nobody hears of held tasks (alarm_email in cdk.json)"
            Annotations.of(self).add_warning_v2("talkdrop:no-alarm-address", text)
        if self.options.budget_usd_per_day is None and self.options.budget_usd_per_month is None:
            text = "no budget: whoever may drop files may spend without limit (budget_usd_per_day)"
            Annotations.of(self).add_warning_v2("talkdrop:no-budget", text)

    def _output_names(self) -> None:
        values = {
            "InboxBucket": self.inbox.bucket_name,
            "ArchiveBucket": self.archived.bucket_name,
            "ApiUrl": self.http_api.url,
            "CallbackUrl": self.http_api.callback_base_url,
            "EventBusName": self.bus.event_bus_name,
            "TaskTableName": self.tasks.table_name,
            "WorkflowArn": self.workflow.machine_arn,
            "PiecesWorkflowArn": self.pieces_workflow.machine_arn,
            "UploadsQueueUrl": self.uploads.queue_url,
            "SubmissionsQueueUrl": self.submissions.queue_url,
            "CallbackSecret": self.callback_secret.secret_arn,
        }
        for name, queue in self.dead_letters.items():
            values[f"{name}DeadLetterQueueUrl"] = queue.queue_url
        for name, secret in self.provider_secrets.items():
            values[f"ProviderSecret{name.capitalize()}"] = secret.secret_arn
        for name, value in values.items():
            CfnOutput(self, name, value=value)
