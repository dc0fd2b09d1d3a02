"""A plain mail when a task is done, failed or held: a rule on the event bus and a topic; or one
summary a day, to the same topic. Off unless the context's `notify_email` names an address."""

from __future__ import annotations

from aws_cdk import Aws
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from functions.tasks.events import DETAIL_TYPES, SOURCE
from functions.tasks.task import Status
from infra.context import Context

# EventBridge leaves out what an event does not have, so a line may end early: a provider that does
# not say what it charged, a task whose voice is a text.
_TASK = """Task: <id>
Voice: <voice>
Provider: <provider>, <model>
Quoted: <quote> USD. Charged, where the provider says it: <charge> USD"""
# By status: what the mail says, a line each. `{talkdrop}` is the command that reaches this stack.
MAILS = {
    Status.COMPLETED: f"""Your video "<stem>" is done.
Open it: {{talkdrop}} open <id>
It lies at s3://<bucket>/<video>
{_TASK}""",
    Status.FAILED: f"""There is no video of "<stem>".
Why: <why>
More: {{talkdrop}} explain <id>
{_TASK}""",
    Status.HELD: f""""<stem>" waits for your decision: going on by itself could charge it twice.
Why: <why>
Look and decide: {{talkdrop}} explain <id>
{_TASK}""",
}
_PATHS = {
    "id": "$.detail.task_id",
    "stem": "$.detail.stem",
    "voice": "$.detail.audio.key",
    "provider": "$.detail.provider",
    "model": "$.detail.model",
    "quote": "$.detail.quote_usd",
    "charge": "$.detail.charge_usd",
    "bucket": "$.detail.video.bucket",
    "video": "$.detail.video.key",
    "why": "$.detail.error.message",
}


class Notices(Construct):
    """The topic; its subscription must be confirmed by who owns the address."""

    def __init__(self, scope: Construct, name: str, *, context: Context) -> None:
        super().__init__(scope, name)
        self.context = context
        self.topic = sns.Topic(self, "Topic", enforce_ssl=True)
        self.topic.add_subscription(subscriptions.EmailSubscription(str(context.notify_email)))

    def mail_each(self, bus: events.IEventBus) -> None:
        """A mail for each task: one rule for each kind of mail."""
        topic = self._may_be_published_to()
        for status, text in MAILS.items():
            named = "" if self.context.stage == "prod" else f" --stack {self.context.stack_name}"
            rule = events.Rule(
                self,
                status.title(),
                event_bus=bus,
                description=f"A mail for each task that is {status}",
                event_pattern=events.EventPattern(
                    source=[SOURCE], detail_type=[DETAIL_TYPES[status]]
                ),
            )
            message = _message(text.replace("{talkdrop}", f"talkdrop{named}"))
            rule.add_target(targets.SnsTopic(topic, message=message))

    def _may_be_published_to(self) -> sns.ITopic:
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sns:Publish"],
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        # By its ARN: to the topic itself the CDK would let the rules of any account publish.
        return sns.Topic.from_topic_arn(self, "ByArn", self.topic.topic_arn)


def _message(text: str) -> events.RuleTargetInput:
    """Each line is a text of its own: EventBridge would send the line breaks of one text as \\n."""
    for name, path in _PATHS.items():
        text = text.replace(f"<{name}>", events.EventField.from_path(path))
    return events.RuleTargetInput.from_multiline_text(text)
