"""The stack: what runs where, how it hangs together and, last, who may do what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aws_cdk import CfnOutput, Duration, SecretValue, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_secretsmanager as secrets
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from functions import providers
from infra import storage
from infra.context import Context
from infra.function import Function, code_of_the_bundle
from infra.http_api import HttpDoor
from infra.operations import Operations
from infra.workflow import Workflow

# where intake puts media that a task named by URL, and sends them on their way itself
OWN_IMPORTS = "_talkdrop/"
INTAKE_SECONDS = 150
ERROR_NOTES = ".error.json"  # what intake lays beside a refused file


@dataclass(frozen=True)
class Lane:
    """A queue and where its failures end."""

    queue: sqs.Queue
    dead_letters: sqs.Queue


class Talkdrop(Stack):
    """Everything, in one stack: one name to deploy, one to tear down."""

    def __init__(self, scope: Construct, name: str, *, context: Context, **more: Any) -> None:
        super().__init__(scope, name, **more)
        self.context = context
        self.options = context.parsed_options
        # A submit must be over before its lease is, since then others look for its job. The POST
        # alone may take 90.
        self.submit_seconds = self.options.lease_seconds - 15
        self.inbox = storage.inbox(self, context)
        self.archived = storage.archive(self, context)
        self.tasks = storage.table(self, context)
        self.bus = events.EventBus(self, "Bus")
        self.provider_secrets = {name: self._provider_secret(name) for name in providers.NAMES}
        self.callback_secret = self._callback_secret()
        self.door = HttpDoor(self, "Http", context=context)
        self._make_lanes()
        self._make_functions()
        self.door.leads_to(api=self.api, callback=self.callback)
        self._feed_the_lanes()
        self._feed_the_functions()
        Operations(
            self,
            "Operations",
            context=context,
            lanes=self.dead_letters,
            announce=self.announce,
            sweep=self.sweep,
        )
        self._say_where_things_are()
        self._grant()

    def _provider_secret(self, provider: str) -> secrets.Secret:
        """Made empty; the key comes later by `aws secretsmanager put-secret-value`, and no
        deployment touches it."""
        return secrets.Secret(
            self,
            f"{provider.capitalize()}Key",
            description=f"Talkdrop: the API key of {provider}, as JSON",
            secret_string_value=SecretValue.unsafe_plain_text('{"api_key":""}'),
        )

    def _callback_secret(self) -> secrets.Secret:
        """{"current": "k1", "k1": "<random>"}: a second key, `k2`, is added by hand when it is time
        to rotate."""
        return secrets.Secret(
            self,
            "CallbackKey",
            description="Talkdrop: the keys of the callback addresses, and the providers' webhook keys",
            generate_secret_string=secrets.SecretStringGenerator(
                secret_string_template='{"current":"k1"}',  # noqa: S106 - names a key, is none
                generate_string_key="k1",
                password_length=48,
                exclude_punctuation=True,
            ),
        )

    def _make_lanes(self) -> None:
        # Six times its function's timeout, as AWS advises: a message must not come back while it is
        # still worked on.
        self.uploads = self._lane(
            "Uploads", visibility=6 * INTAKE_SECONDS, delay=self.options.drop_delay_seconds
        )
        self.submissions = self._lane("Submissions", visibility=6 * self.submit_seconds)
        self.dead_letters = {
            "Uploads": self.uploads.dead_letters,
            "Submissions": self.submissions.dead_letters,
            "Announcements": self._dead_letters("Announcements"),
            "Sweep": self._dead_letters("Sweep"),
        }

    def _lane(self, name: str, *, visibility: int, delay: int = 0) -> Lane:
        dead_letters = self._dead_letters(name)
        queue = sqs.Queue(
            self,
            name,
            visibility_timeout=Duration.seconds(visibility),
            delivery_delay=Duration.seconds(delay),
            retention_period=Duration.days(4),
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=5),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
        )
        return Lane(queue, dead_letters)

    def _dead_letters(self, name: str) -> sqs.Queue:
        return sqs.Queue(
            self,
            f"{name}DeadLetters",
            retention_period=Duration.days(14),  # the longest there is: somebody may be on holiday
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
        )

    def _make_functions(self) -> None:
        """Timeout and memory with their reasons. A share of a CPU comes with memory, and importing
        needs one."""
        self.code = code_of_the_bundle(self.context.bundle)
        # One query. What hangs for longer is asked again anyway, and must not pile up behind a
        # provider that hangs.
        self.watch = self._function(
            "watch", 30, 512, "table provider_secrets submissions_queue_url"
        )
        # The longest there is, since a video has no size we could know; a whole CPU for TLS in,
        # hash and TLS out.
        self.archive = self._function("archive", 900, 1769, "table archive")
        self.settle = self._function("settle", 30, 512, "table")
        self.workflow = Workflow(
            self,
            "Workflow",
            context=self.context,
            watch=self.watch,
            archive=self.archive,
            settle=self.settle,
        )
        # Reads the heads of files, or brings in two media by URL, a minute each.
        self.intake = self._function(
            "intake", INTAKE_SECONDS, 512, "table inbox uploads_queue_url submissions_queue_url"
        )
        # What the HTTP API waits for at most.
        self.api = self._function(
            "api", 29, 512, "table inbox uploads_queue_url submissions_queue_url"
        )
        # Two media of ten megabytes, as base64 and as JSON, may be in memory at once.
        self.submit = self._function(
            "submit", self.submit_seconds, 1024,
            "table inbox submissions_queue_url workflow_arn callback_base_url callback_secret "
            "provider_secrets",
            # A task that waits its turn goes back to the queue it came from, as often as it must.
            # Lambda would take that for a runaway loop after 16 rounds:
            # https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
            recursive_loop=lambda_.RecursiveLoop.ALLOW,
        )  # fmt: skip
        # A provider waits, kie for 15 seconds.
        self.callback = self._function("callback", 10, 512, "table workflow_arn callback_secret")
        self.announce = self._function("announce", 60, 512, "table bus")
        self.sweep = self._function(
            "sweep", 240, 512, "table inbox uploads_queue_url submissions_queue_url workflow_arn",
            # A failed turn is not repeated: the next comes soon.
            retry_attempts=0, on_failure=destinations.SqsDestination(self.dead_letters["Sweep"]),
        )  # fmt: skip

    def _function(self, name: str, seconds: int, memory: int, needs: str, **more: Any) -> Function:
        told = self._told(needs.split())
        return Function(
            self, name, code=self.code, context=self.context, timeout=Duration.seconds(seconds), memory=memory,
            environment={"options": self.context.options_json, **told}, **more,
        )  # fmt: skip

    def _told(self, needs: list[str]) -> dict[str, str]:
        """The settings of these names; each is a field of `functions.settings.Settings`."""
        values = {
            "table": lambda: self.tasks.table_name,
            "inbox": lambda: self.inbox.bucket_name,
            "archive": lambda: self.archived.bucket_name,
            "bus": lambda: self.bus.event_bus_name,
            "uploads_queue_url": lambda: self.uploads.queue.queue_url,
            "submissions_queue_url": lambda: self.submissions.queue.queue_url,
            "workflow_arn": lambda: self.workflow.machine_arn,
            "callback_base_url": lambda: self.door.callback_base_url,
            "callback_secret": lambda: self.callback_secret.secret_arn,
            "provider_secrets": lambda: self.to_json_string(
                {name: secret.secret_arn for name, secret in self.provider_secrets.items()}
            ),
        }
        return {name: values[name]() for name in needs}

    def _feed_the_lanes(self) -> None:
        """Every new object of the inbox, however it came, but for what we put there ourselves."""
        dropped = events.Rule(
            self,
            "Dropped",
            description="A file was dropped into Talkdrop's inbox",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={
                    "bucket": {"name": [self.inbox.bucket_name]},
                    "object": {
                        "key": [
                            {"anything-but": {"wildcard": [f"{OWN_IMPORTS}*", f"*{ERROR_NOTES}"]}}
                        ]
                    },
                },
            ),
        )
        # The same dead letters as the queue's own: the same kind of message, mended and sent again
        # the same way.
        dropped.add_target(
            targets.SqsQueue(
                self.uploads.queue,
                dead_letter_queue=self.uploads.dead_letters,
                max_event_age=Duration.hours(24),
                retry_attempts=185,
            )
        )

    def _feed_the_functions(self) -> None:
        # A few files at a time, so that one that is slow holds up few; the limit keeps a flood from
        # taking every Lambda of the account.
        self.intake.add_event_source(
            sources.SqsEventSource(
                self.uploads.queue,
                batch_size=5,
                max_concurrency=20,
                report_batch_item_failures=True,
            )
        )
        # One at a time: a crash then leaves one payment in doubt, not five.
        self.submit.add_event_source(
            sources.SqsEventSource(
                self.submissions.queue,
                batch_size=1,
                max_concurrency=10,
                report_batch_item_failures=True,
            )
        )
        lambda_.EventSourceMapping(
            self,
            "TasksToAnnounce",
            target=self.announce,
            event_source_arn=self.tasks.table_stream_arn,
            starting_position=lambda_.StartingPosition.TRIM_HORIZON,
            batch_size=25,
            parallelization_factor=4,
            report_batch_item_failures=True,
            bisect_batch_on_error=True,
            retry_attempts=20,
            max_record_age=Duration.hours(12),  # the stream itself forgets after 24
            on_failure=sources.SqsDlq(self.dead_letters["Announcements"]),
            # Books, leases and the sweep's own notes are nobody's news.
            filters=[
                lambda_.FilterCriteria.filter(
                    {"dynamodb": {"Keys": {"pk": {"S": lambda_.FilterRule.begins_with("task#")}}}}
                )
            ],
        )
        events.Rule(
            self,
            "SweepClock",
            schedule=events.Schedule.rate(Duration.minutes(self.options.sweep_minutes)),
            targets=[
                targets.LambdaFunction(
                    self.sweep,
                    dead_letter_queue=self.dead_letters["Sweep"],
                    max_event_age=Duration.minutes(
                        max(1, self.options.sweep_minutes)
                    ),  # an older turn is of no use
                    retry_attempts=2,
                )
            ],
        )

    def _say_where_things_are(self) -> None:
        places = {
            "InboxBucket": self.inbox.bucket_name,
            "ArchiveBucket": self.archived.bucket_name,
            "ApiUrl": self.door.url,
            "CallbackUrl": self.door.callback_base_url,
            "EventBusName": self.bus.event_bus_name,
            "TaskTableName": self.tasks.table_name,
            "WorkflowArn": self.workflow.machine_arn,
            "UploadsQueueUrl": self.uploads.queue.queue_url,
            "SubmissionsQueueUrl": self.submissions.queue.queue_url,
            "CallbackSecret": self.callback_secret.secret_arn,
            **{
                f"{lane}DeadLetterQueueUrl": queue.queue_url
                for lane, queue in self.dead_letters.items()
            },
            **{
                f"ProviderSecret{name.capitalize()}": one.secret_arn
                for name, one in self.provider_secrets.items()
            },
        }
        for name, value in places.items():
            CfnOutput(self, name, value=value)

    def _grant(self) -> None:
        """Who may do what: all of it. Nobody can both read a provider's key and fetch what a
        stranger names."""
        row, bell_key = [self.tasks.table_arn], [self.callback_secret.secret_arn]
        by_status, due = ([f"{self.tasks.table_arn}/index/{name}"] for name in ("by-status", "due"))
        stream, streams = [str(self.tasks.table_stream_arn)], [f"{self.tasks.table_arn}/stream/*"]
        provider_keys = [secret.secret_arn for secret in self.provider_secrets.values()]
        uploads, submissions = [self.uploads.queue.queue_arn], [self.submissions.queue.queue_arn]
        drops, inbox = [self.inbox.arn_for_objects("*")], [self.inbox.bucket_arn]
        notes = [self.inbox.arn_for_objects(f"*{ERROR_NOTES}")]
        imports = [self.inbox.arn_for_objects(f"{OWN_IMPORTS}*")]
        videos = [self.archived.arn_for_objects("videos/*")]
        machine, executions = [self.workflow.machine_arn], [self.workflow.execution_arns]

        for reader in (self.intake, self.api, self.submit):
            reader.may("s3:GetObject", "s3:GetObjectVersion", on=drops)
            reader.may(
                "s3:ListBucket", on=inbox
            )  # without it S3 answers 403 and not 404 for what is not there
        self.intake.may("s3:PutObject", on=[*notes, *imports])
        self.intake.may("s3:DeleteObject", on=notes)
        self.intake.may("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", on=row)
        self.intake.may("sqs:SendMessage", on=[*uploads, *submissions])

        self.api.may("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", on=row)
        self.api.may("dynamodb:Query", on=by_status)
        self.api.may("sqs:SendMessage", on=[*uploads, *submissions])

        self.submit.may(
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
            "dynamodb:ConditionCheckItem",
            on=row,
        )
        self.submit.may("secretsmanager:GetSecretValue", on=[*provider_keys, *bell_key])
        self.submit.may("states:StartExecution", on=machine)
        self.submit.may("sqs:SendMessage", on=submissions)

        self.callback.may("dynamodb:UpdateItem", on=row)
        self.callback.may("secretsmanager:GetSecretValue", on=bell_key)
        self.callback.may("states:StartExecution", on=machine)

        self.watch.may("dynamodb:GetItem", "dynamodb:UpdateItem", on=row)
        self.watch.may("secretsmanager:GetSecretValue", on=provider_keys)
        self.watch.may("sqs:SendMessage", on=submissions)
        self.workflow.may_be_answered_by(self.watch, self.callback)

        # Not s3:DeleteObject, like everybody: nothing of ours can remove a video. No listing of
        # objects either, so a missing one is a 403; uploads in parts are listed, to go on with one.
        self.archive.may("dynamodb:GetItem", on=row)
        self.archive.may(
            "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:PutObjectTagging", on=videos
        )
        self.archive.may("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", on=videos)
        self.archive.may("s3:ListBucketMultipartUploads", on=[self.archived.bucket_arn])

        self.settle.may("dynamodb:GetItem", "dynamodb:UpdateItem", on=row)

        self.announce.may("dynamodb:UpdateItem", on=row)
        self.announce.may(
            "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", on=stream
        )
        self.announce.may("dynamodb:ListStreams", on=streams)
        self.announce.may("events:PutEvents", on=[self.bus.event_bus_arn])

        self.sweep.may("s3:ListBucket", "s3:ListBucketVersions", on=inbox)
        self.sweep.may("dynamodb:Query", on=due)
        self.sweep.may("dynamodb:GetItem", "dynamodb:UpdateItem", on=row)
        self.sweep.may("sqs:SendMessage", on=[*uploads, *submissions])
        self.sweep.may("states:StartExecution", on=machine)
        self.sweep.may("states:DescribeExecution", on=executions)
