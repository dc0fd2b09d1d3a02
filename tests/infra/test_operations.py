"""What a person hears of."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from functions.tasks.task import Status
from infra.operations import EMITTED, GAUGES, UNFINISHED
from tests.infra.template import Json, Template

ROOT = Path(__file__).parents[2]
FUNCTIONS = Path(__file__).parents[2] / "functions"


def alarms(template: Template) -> dict[str, Json]:
    found = template.of_type("AWS::CloudWatch::Alarm")
    return {name.removeprefix("Operations"): alarm for name, alarm in found.items()}


def test_every_alarm_reaches_one_topic_and_says_what_to_do_and_where_its_runbook_is(
    template: Template,
) -> None:
    runbook = (ROOT / "docs" / "operations.md").read_text()
    for name, alarm in alarms(template).items():
        assert [template.text(action) for action in alarm["AlarmActions"]] == ["OperationsAlarms"]
        title = alarm["AlarmName"].removeprefix("Talkdrop: ")
        assert alarm["AlarmDescription"].lower().startswith(f"{title.lower()}. ")
        assert alarm["AlarmDescription"].endswith("Runbook: docs/operations.md#alarms")
        assert f"| {title.lower()} | `{name}` |" in runbook


def test_a_mail_names_the_stage_and_what_happened(for_trying: Template) -> None:
    assert alarms(for_trying)["TaskHeld"]["AlarmName"] == "Talkdrop-dev: a task is held"


def test_whatever_ends_in_dead_letters_sets_off_an_alarm(template: Template) -> None:
    queues = {name for name in template.of_type("AWS::SQS::Queue") if name.endswith("DeadLetters")}
    assert queues == {name for name in alarms(template) if name.endswith("DeadLetters")}
    for name in queues:
        alarm = alarms(template)[name]
        assert alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
        assert (alarm["Threshold"], alarm["EvaluationPeriods"], alarm["Period"]) == (1, 1, 300)
        assert {one["Name"]: template.text(one["Value"]) for one in alarm["Dimensions"]} == {
            "QueueName": name
        }


@pytest.mark.parametrize("metric", [*EMITTED, *GAUGES])
def test_what_only_a_person_can_mend_sets_off_an_alarm_whichever_function_emits_it(
    template: Template, metric: str
) -> None:
    alarm = alarms(template)[metric]
    (expression,) = [one["Expression"] for one in alarm["Metrics"]]
    assert expression.endswith(f'("{metric}") FROM "Talkdrop"')
    assert alarm["TreatMissingData"] == "notBreaching"
    assert metric in emitted()


def test_every_metric_is_named_in_the_runbook() -> None:
    runbook = (ROOT / "docs" / "operations.md").read_text()
    assert {name for name in emitted() if name not in runbook} == set()


def test_one_stage_does_not_set_off_anothers_alarm(for_trying: Template) -> None:
    for name in ("TaskHeld", "StoppedProviders"):
        assert 'FROM "Talkdrop-dev"' in alarms(for_trying)[name]["Metrics"][0]["Expression"]


@pytest.mark.parametrize("name", ["submit", "watch", "settle", "gather"])
def test_a_step_that_goes_on_failing_sets_off_an_alarm(template: Template, name: str) -> None:
    alarm = alarms(template)[f"{name.capitalize()}Errors"]
    assert (alarm["MetricName"], alarm["Threshold"], alarm["Period"]) == ("Errors", 3, 900)
    (dimension,) = alarm["Dimensions"]
    assert template.text(dimension["Value"]) == f"{name.capitalize()}Function"


def test_an_execution_that_fails_sets_off_an_alarm(template: Template) -> None:
    """One that timed out, after a month, was overdue for weeks before."""
    assert alarms(template)["ExecutionsFailed"]["MetricName"] == "ExecutionsFailed"


def test_late_events_set_off_an_alarm_long_before_the_stream_forgets(template: Template) -> None:
    alarm = alarms(template)["AnnounceLags"]
    assert alarm["MetricName"] == "IteratorAge"
    assert alarm["Threshold"] == 600_000


def test_a_sweep_that_stops_sets_off_an_alarm_and_one_that_never_ran_does_not(
    template: Template, for_trying: Template
) -> None:
    for stage, period in ((template, 300), (for_trying, 600)):
        alarm = alarms(stage)["SweepIsSilent"]
        (runs,) = [one["MetricStat"] for one in alarm["Metrics"] if "MetricStat" in one]
        assert (runs["Metric"]["MetricName"], runs["Period"]) == ("Invocations", period)
        (expression,) = [one["Expression"] for one in alarm["Metrics"] if "Expression" in one]
        assert expression == "IF(FILL(runs, REPEAT) > 0, FILL(runs, 0))"
        assert alarm["ComparisonOperator"] == "LessThanThreshold"
        # three gaps of four; what has no data at all stays in the state it is in
        assert (alarm["DatapointsToAlarm"], alarm["EvaluationPeriods"]) == (3, 4)
        assert alarm["TreatMissingData"] == "ignore"


def test_alarms_cost_no_more_than_bench_cost_reckons(template: Template) -> None:
    """Each metric that an alarm watches is paid for; ten are free."""
    assert sum(_metrics(alarm) for alarm in alarms(template).values()) == 26


def _metrics(alarm: Json) -> int:
    parts = alarm.get("Metrics", [{"MetricStat": {}}])
    return sum("MetricStat" in one or "SELECT" in one["Expression"] for one in parts)


def test_a_budget_sets_off_an_alarm_before_its_end_and_at_it(template: Template) -> None:
    found = alarms(template)
    for name, percent in (("BudgetNearlyUsed", 80), ("BudgetUsedUp", 99)):
        (expression,) = [one["Expression"] for one in found[name]["Metrics"]]
        assert expression == 'SELECT MAX("BudgetUsedPercent") FROM "Talkdrop"'
        assert found[name]["Threshold"] == percent
    assert "BudgetUsedPercent" in emitted()


def test_many_failed_jobs_set_off_an_alarm_and_one_does_not(template: Template) -> None:
    alarm = alarms(template)["JobsFail"]
    (expression,) = [one["Expression"] for one in alarm["Metrics"] if "Expression" in one]
    assert expression == "IF(FILL(failed, 0) >= 5, 100 * failed / (failed + FILL(done, 0)), 0)"
    counted = {
        one["Id"]: one["MetricStat"]["Metric"] for one in alarm["Metrics"] if "MetricStat" in one
    }
    assert {name: one["MetricName"] for name, one in counted.items()} == {
        "failed": "JobFailed", "done": "Completed",
    }  # fmt: skip
    assert alarm["Threshold"] == 50


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("JobFailed", "announce"),
        ("Completed", "settle"),
        ("SpentUsd", "settle"),
        ("CallbackRefused", "callback"),
    ],
)
def test_a_metric_that_is_read_by_its_function_is_emitted_by_that_function(
    name: str, function: str
) -> None:
    """Powertools adds the function's name as the dimension `service`."""
    source = (FUNCTIONS / "handlers" / f"{function}.py").read_text()
    assert f'add_metric("{name}"' in source


def test_an_idle_stack_pays_for_as_many_metrics_in_alarms_as_the_calculator_says(
    template: Template,
) -> None:
    watched = sum(
        len([one for one in alarm.get("Metrics", [{}]) if "Expression" not in one])
        or 1  # a query of CloudWatch's own is one metric
        for alarm in alarms(template).values()
    )
    assert f'"{watched} metrics in alarms' in (ROOT / "bench" / "cost.py").read_text()


def test_a_flood_of_refused_callbacks_sets_off_an_alarm(template: Template) -> None:
    alarm = alarms(template)["CallbacksRefused"]
    assert (alarm["MetricName"], alarm["Threshold"], alarm["Period"]) == (
        "CallbackRefused",
        50,
        900,
    )
    assert alarm["Dimensions"] == [{"Name": "service", "Value": "callback"}]


def test_the_oldest_task_of_each_unfinished_status_is_on_the_dashboard(template: Template) -> None:
    body = template.text(template.the_only("AWS::CloudWatch::Dashboard")["DashboardBody"])
    named = {status.title().replace("_", ""): status for status in Status}
    for status in UNFINISHED:
        assert f"Oldest{status}Seconds" in body
        assert status in named


def test_one_dashboard_shows_the_stack(template: Template, for_trying: Template) -> None:
    board = template.the_only("AWS::CloudWatch::Dashboard")
    assert board["DashboardName"] == "Talkdrop"
    assert for_trying.the_only("AWS::CloudWatch::Dashboard")["DashboardName"] == "Talkdrop-dev"
    body = str(board["DashboardBody"])
    for title in ("Alarms", "Tasks", "Providers", "From drop to video", "Errors"):
        assert title in body


def test_alarms_may_publish_to_the_topic_and_the_named_address_is_subscribed(
    template: Template, for_trying: Template
) -> None:
    statements = template.the_only("AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    allowed = [one["Principal"] for one in statements if one["Effect"] == "Allow"]
    assert allowed == [{"Service": "cloudwatch.amazonaws.com"}]
    assert not template.of_type("AWS::SNS::Subscription")
    subscribed = for_trying.of_type("AWS::SNS::Subscription").values()
    by_topic = {for_trying.text(one["TopicArn"]): one["Endpoint"] for one in subscribed}
    assert by_topic == {"OperationsAlarms": "a@example.com", "NoticesTopic": "n@example.com"}


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
