"""What a person hears of."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.infra.template import Json, Template

FUNCTIONS = Path(__file__).parents[2] / "functions"


def alarms(template: Template) -> dict[str, Json]:
    found = template.of_type("AWS::CloudWatch::Alarm")
    return {name.removeprefix("Operations"): alarm for name, alarm in found.items()}


def test_every_alarm_reaches_one_topic_and_says_what_to_do(template: Template) -> None:
    for alarm in alarms(template).values():
        assert [template.text(action) for action in alarm["AlarmActions"]] == ["OperationsAlarms"]
        assert len(alarm["AlarmDescription"]) > 40


def test_whatever_ends_in_dead_letters_rings(template: Template) -> None:
    queues = {name for name in template.of_type("AWS::SQS::Queue") if name.endswith("DeadLetters")}
    assert queues == {name for name in alarms(template) if name.endswith("DeadLetters")}
    for name in queues:
        alarm = alarms(template)[name]
        assert alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
        assert (alarm["Threshold"], alarm["EvaluationPeriods"], alarm["Period"]) == (1, 1, 300)
        assert {one["Name"]: template.text(one["Value"]) for one in alarm["Dimensions"]} == {
            "QueueName": name
        }


@pytest.mark.parametrize("metric", ["TaskHeld", "CallbackForPastAttempt", "AccountRejected"])
def test_what_only_a_person_can_mend_rings_whichever_function_says_so(
    template: Template, metric: str
) -> None:
    alarm = alarms(template)[metric]
    assert [one["Expression"] for one in alarm["Metrics"]] == [
        f'SELECT SUM("{metric}") FROM "Talkdrop"'
    ]
    assert alarm["TreatMissingData"] == "notBreaching"
    assert metric in emitted()


def test_one_stage_does_not_ring_anothers_alarm(for_trying: Template) -> None:
    for name in ("TaskHeld", "AccountRejected"):
        assert 'FROM "Talkdrop-dev"' in alarms(for_trying)[name]["Metrics"][0]["Expression"]


def test_late_events_ring_long_before_the_stream_forgets(template: Template) -> None:
    alarm = alarms(template)["AnnounceLags"]
    assert alarm["MetricName"] == "IteratorAge"
    assert alarm["Threshold"] == 600_000


def test_a_sweep_that_does_not_run_rings(template: Template, for_trying: Template) -> None:
    for stage, period in ((template, 900), (for_trying, 1800)):
        alarm = alarms(stage)["SweepIsSilent"]
        assert (alarm["MetricName"], alarm["Period"]) == ("Invocations", period)
        assert alarm["ComparisonOperator"] == "LessThanThreshold"
        assert alarm["TreatMissingData"] == "breaching"


def test_alarms_may_speak_to_the_topic_and_the_named_person_hears(
    template: Template, for_trying: Template
) -> None:
    statements = template.the_only("AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    allowed = [one["Principal"] for one in statements if one["Effect"] == "Allow"]
    assert allowed == [{"Service": "cloudwatch.amazonaws.com"}]
    assert not template.of_type("AWS::SNS::Subscription")
    assert for_trying.the_only("AWS::SNS::Subscription")["Endpoint"] == "a@example.com"


def emitted() -> set[str]:
    """The metrics that the functions' sources name."""
    found = set()
    for path in FUNCTIONS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "add_metric"
            ):
                found |= {
                    str(argument.value)
                    for argument in node.args[:1]
                    if isinstance(argument, ast.Constant)
                }
    return found
