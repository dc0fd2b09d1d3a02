"""The mails that `notify_email` asks for: a rule each, in words a person can read."""

from __future__ import annotations

import json
import re

import pytest

from infra.context import Context
from tests.events.test_samples import SAMPLES
from tests.infra.template import Json, Template

MAILS = {
    "Task Completed": ("NoticesCompleted", 'Your video "hello" is done.'),
    "Task Failed": ("NoticesFailed", 'There is no video of "hello".'),
    "Task Held": ("NoticesHeld", '"hello" waits for your decision'),
}


def mail(template: Template, detail_type: str, event: Json) -> str:
    """What EventBridge makes of the event: each line of the template is a JSON text in which
    `<name>` stands for the value at its path, or for nothing.
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html"""
    rules = template.of_type("AWS::Events::Rule")
    (target,) = rules[MAILS[detail_type][0]]["Targets"]
    transformer = target["InputTransformer"]
    values = {name: at(event, path) for name, path in transformer["InputPathsMap"].items()}
    lines = [json.loads(line) for line in template.text(transformer["InputTemplate"]).splitlines()]
    return re.sub(r"<([^<>]+)>", lambda found: values[found[1]], "\n".join(lines))


def at(event: Json, path: str) -> str:
    value: object = event
    for part in path.removeprefix("$.").split("."):
        value = value.get(part, "") if isinstance(value, dict) else ""
    return str(value)


def test_no_mail_is_sent_unless_an_address_was_named(template: Template) -> None:
    assert not [name for name in template.of_type("AWS::Events::Rule") if "Notices" in name]
    assert not [name for name in template.of_type("AWS::SNS::Topic") if "Notices" in name]


@pytest.mark.parametrize("detail_type", MAILS)
def test_a_mail_says_which_task_what_it_cost_and_what_to_type(
    for_trying: Template, detail_type: str
) -> None:
    (event,) = [one for one in SAMPLES.values() if one["detail-type"] == detail_type]
    text = mail(for_trying, detail_type, event)
    assert text.startswith(MAILS[detail_type][1])
    assert "Voice: ada/hello.mp3" in text
    assert f"talkdrop --stack Talkdrop-dev {'open' if 'done' in text else 'explain'} " in text
    assert event["detail"]["task_id"] in text
    assert "<" not in text
    assert event["detail"].get("error", {}).get("message", "") in text
    price = event["detail"].get("quote_usd", "")
    assert f"Quoted: {price} USD" in text


def test_a_mail_is_sent_for_this_stacks_own_events_alone(for_trying: Template) -> None:
    rules = for_trying.of_type("AWS::Events::Rule")
    for detail_type, (name, _) in MAILS.items():
        rule = rules[name]
        assert for_trying.text(rule["EventBusName"]) == "Bus"
        assert rule["EventPattern"] == {"source": ["talkdrop"], "detail-type": [detail_type]}


def test_only_this_accounts_event_rules_may_publish(for_trying: Template) -> None:
    policies = for_trying.of_type("AWS::SNS::TopicPolicy")
    statements = policies["NoticesTopicPolicy"]["PolicyDocument"]["Statement"]
    (allowed,) = [one for one in statements if one["Effect"] == "Allow"]
    assert allowed["Principal"] == {"Service": "events.amazonaws.com"}
    assert allowed["Condition"] == {
        "StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    }


def test_a_summary_a_day_takes_the_place_of_the_mails(with_summary: Template) -> None:
    rules = with_summary.of_type("AWS::Events::Rule")
    assert not [name for name in rules if name.startswith("Notices")]
    clock = rules["SummaryClock"]
    assert clock["ScheduleExpression"] == "cron(0 6 * * ? *)"
    (target,) = clock["Targets"]
    assert with_summary.text(target["Arn"]) == "SummaryFunction"
    assert with_summary.text(target["DeadLetterConfig"]["Arn"]) == "SweepDeadLetters"
    assert "InputTransformer" not in target  # the function reads the event's own time
    (subscription,) = with_summary.of_type("AWS::SNS::Subscription").values()
    assert with_summary.text(subscription["TopicArn"]) == "NoticesTopic"


def test_a_summary_that_fails_for_good_ends_in_dead_letters(with_summary: Template) -> None:
    (config,) = [
        one
        for one in with_summary.of_type("AWS::Lambda::EventInvokeConfig").values()
        if with_summary.text(one["FunctionName"]) == "SummaryFunction"
    ]
    (destination,) = config["DestinationConfig"].values()
    assert with_summary.text(destination["Destination"]) == "SweepDeadLetters"


def test_the_summary_reads_tasks_and_money_and_writes_nothing_but_its_mail(
    with_summary: Template,
) -> None:
    assert with_summary.grants("SummaryRole") == {
        "Tasks/index/by-status": {"dynamodb:Query"},
        "Tasks[budget#*, breaker#*]": {"dynamodb:GetItem"},
        "NoticesTopic": {"sns:Publish"},
        "SweepDeadLetters": {"sqs:SendMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl"},
        "SummaryLogs": {"logs:CreateLogStream", "logs:PutLogEvents"},
        "*": {"xray:PutTraceSegments", "xray:PutTelemetryRecords"},
    }
    statements = with_summary.of_type("AWS::SNS::TopicPolicy")["NoticesTopicPolicy"]
    effects = [one["Effect"] for one in statements["PolicyDocument"]["Statement"]]
    assert effects == ["Deny"]  # plain HTTP; the function's own role says what it may


def test_a_summary_needs_an_address() -> None:
    with pytest.raises(ValueError, match="notify_email names no address"):
        Context(notify="daily")
    assert Context(notify_email="a@example.com").notify == "each"
