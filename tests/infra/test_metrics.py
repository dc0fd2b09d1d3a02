"""Every metric on the dashboard and behind an alarm is emitted by a function or by AWS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench import dashboard, day
from functions import secrets, settings
from infra.operations import EMITTED, GAUGES
from tests.faults import wires
from tests.infra.template import Template

# AWS's own metrics that are used here: the dimension, whose value is a resource of this type.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/aws-services-cloudwatch-metrics.html
OF_AWS = {
    "AWS/ApiGateway": ("ApiId", "AWS::ApiGatewayV2::Api", {"5xx"}),
    "AWS/DynamoDB": (
        "TableName", "AWS::DynamoDB::Table", {"ConsumedWriteCapacityUnits", "WriteThrottleEvents"},
    ),
    "AWS/Lambda": (
        "FunctionName", "AWS::Lambda::Function",
        {"Duration", "Errors", "Invocations", "IteratorAge", "Throttles"},
    ),
    "AWS/SQS": (
        "QueueName", "AWS::SQS::Queue",
        {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"},
    ),
    "AWS/States": (
        "StateMachineArn", "AWS::StepFunctions::StateMachine",
        {"ExecutionsFailed", "ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsTimedOut"},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def a_day(template: Template) -> Iterator[day.Metrics]:
    settings.forget()
    secrets.forget()
    yield day.play(dashboard.environments(template))
    wires.release()
    settings.forget()
    secrets.forget()


def watched(template: Template) -> list[dashboard.Metric]:
    on_the_board = [one for widget in dashboard.widgets(template) for one in widget.metrics]
    behind = [one for alarm in dashboard.alarms(template).values() for one in alarm.metrics]
    return [*on_the_board, *behind]


def test_every_metric_of_ours_that_is_watched_is_emitted_in_a_day_as_it_is_named(
    template: Template, a_day: day.Metrics
) -> None:
    """Under that name, in that namespace, and where a function is named by that function."""
    ours = [one for one in watched(template) if not one.namespace.startswith("AWS/")]
    assert {one.namespace for one in ours} == {"Talkdrop"}
    # No voice of this day comes before its portrait, and no pieces are made.
    silent = {one.name for one in ours if not one.values(a_day)} - {"TaskWaiting"}
    assert silent == set()
    assert {*EMITTED, *GAUGES} <= {one.name for one in ours}


def test_every_metric_of_aws_that_is_watched_is_of_a_resource_of_this_stack(
    template: Template,
) -> None:
    for one in watched(template):
        if not one.namespace.startswith("AWS/"):
            continue
        dimension, kind, names = OF_AWS[one.namespace]
        assert one.name in names
        assert one.dimensions is not None
        ((name, title),) = one.dimensions
        assert (name, title in template.of_type(kind)) == (dimension, True), one


def test_the_age_of_a_stream_is_watched_where_a_stream_is_read(template: Template) -> None:
    mappings = template.of_type("AWS::Lambda::EventSourceMapping").values()
    reading = {template.text(one["FunctionName"]) for one in mappings if "StartingPosition" in one}
    ages = {one.dimensions for one in watched(template) if one.name == "IteratorAge"}
    assert ages == {frozenset({("FunctionName", name)}) for name in reading}


def test_what_goes_wrong_in_a_day_sets_off_its_alarms_and_no_others(
    template: Template, a_day: day.Metrics
) -> None:
    reckoned = {name: one for name, one in dashboard.alarms(template).items() if not one.is_math}
    set_off = {
        name.removeprefix("Operations")
        for name, one in reckoned.items()
        if any(dashboard.in_alarm(one, a_day))
    }
    assert set_off == {
        "TaskHeld", "HeldTasks", "PossibleSecondCharge", "CallbackForPastAttempt", "ArchiveFailed",
        "StoppedProviders", "CallbacksRefused",
    }  # fmt: skip


def test_the_picture_shows_every_widget_and_says_what_it_is(
    template: Template, a_day: day.Metrics
) -> None:
    drawn, kept = dashboard.draw(template, a_day), dashboard.PICTURE.read_text()
    for widget in dashboard.widgets(template):
        assert f">{widget.title}</text>" in drawn
        assert f">{widget.title}</text>" in kept, "make it anew: python -m bench.dashboard"
    for picture in (drawn, kept):
        assert "No picture of CloudWatch" in picture
